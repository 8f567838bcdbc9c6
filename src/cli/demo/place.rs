//! Where the demo plays: a private folder that is gone in the end, and this program run in it with an environment of its own.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use airkeep::crypto::{encode_hex, random};
use airkeep::files::make_private_folder;
use airkeep::ops::OsEntropy;

use super::super::exit::Exit;
use super::super::explain::Explained;
use super::super::{screen, signals};

/// The folder, until it is dropped.
pub(super) struct Place {
    folder: PathBuf,
    program: PathBuf,
    is_kept: bool,
}

/// How a run of the program ended.
pub(super) struct Run {
    pub(super) code: i32,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

impl Place {
    /// Makes a folder of a new name, mode 0700, in $TMPDIR.
    pub(super) fn make(is_kept: bool) -> Result<Place, Explained> {
        let program = std::env::current_exe().map_err(|error| failed("find this program", &error))?;
        let folder = std::env::temp_dir().join(format!("airkeep-demo-{}", encode_hex(&random::<8>(&mut OsEntropy))));
        make_private_folder(&folder).map_err(|error| Explained::from(airkeep::Failure::from(error)))?;
        // Its database must have the same name for every process, whatever leads to the folder.
        let folder = folder.canonicalize().unwrap_or(folder);
        Ok(Place { folder, program, is_kept })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The folder, if it stays.
    pub(super) fn kept(&self) -> Option<&Path> {
        self.is_kept.then_some(&*self.folder)
    }

    /// Runs this program in the folder. Nothing that the caller has set reaches it but where programs are.
    pub(super) fn airkeep(&self, arguments: &[&str]) -> Result<Run, Explained> {
        let path = std::env::var_os("PATH").unwrap_or_else(|| OsString::from("/usr/bin:/bin"));
        let output = Command::new(&self.program)
            .args(arguments)
            .current_dir(&self.folder)
            .env_clear()
            .env("PATH", path)
            .env("HOME", &self.folder)
            .env("TMPDIR", &self.folder)
            .env("XDG_CONFIG_HOME", self.folder.join("config"))
            .env("XDG_STATE_HOME", self.folder.join("state"))
            .stdin(Stdio::null())
            .output()
            .map_err(|error| failed("run this program", &error))?;
        if signals::caught().is_some() {
            return Err(airkeep::Failure::Cancelled.into());
        }
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ok(Run { code: output.status.code().unwrap_or(-1), stdout: text(output.stdout), stderr: text(output.stderr) })
    }

    /// Names of the bundles in the vault, oldest first.
    pub(super) fn bundles(&self) -> Vec<String> {
        let vault = self.folder.join(VAULT);
        let names = std::fs::read_dir(vault).into_iter().flatten().filter_map(|item| item.ok()?.file_name().into_string().ok());
        let mut bundles: Vec<String> = names.filter(|name| name.ends_with(".akb")).map(|name| format!("{VAULT}/{name}")).collect();
        bundles.sort();
        bundles
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.is_kept
            && let Err(error) = std::fs::remove_dir_all(&self.folder)
        {
            screen::warning_line(&format!("cannot remove '{}': {error}", self.folder.display()));
        }
    }
}

/// What the system said.
pub(super) fn failed(action: &str, error: &std::io::Error) -> Explained {
    Explained { causes: vec![error.to_string()], ..Explained::new(Exit::Failed, format!("cannot {action}"), None) }
}

/// The vault that airkeep makes where none is named.
pub(super) const VAULT: &str = "airkeep-vault";
