//! `airkeep.toml`: one short file that names everything that belongs to a system (docs/configuration.md).
//!
//! It is parsed strictly: what is not understood is an error with its line and column, never passed over. Paths in it are relative to the
//! folder that it is in. It names commands that are run and files that hold keys, so it is believed only if nobody else could have
//! written it.

mod error;
mod marking;
mod reader;
mod sources;
mod starter;
mod values;

use std::path::{Path, PathBuf};
use std::time::Duration;

pub use error::{ConfigError, Problem};
pub use sources::{Expanded, FilesConfig, Location, SourceConfig, SourceKind, SqliteConfig};
pub use starter::{Found, starter};
pub use values::{parse_size, parse_span};

use crate::bundle::{Compression, Iterations, Label, Marking, SetName};
use crate::files::{FileError, read_trusted_file};
use reader::{Reader, Table};

/// The name of the file.
pub const CONFIG: &str = "airkeep.toml";

/// Everything that the file says.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file.
    pub path: PathBuf,
    /// The set's name.
    pub set: Option<SetName>,
    /// The vault.
    pub vault: Option<PathBuf>,
    /// How the system's bundles must be handled.
    pub marking: Option<Marking>,
    /// Where keys come from.
    pub keys: KeyConfig,
    /// How bundles are made.
    pub sealing: SealingConfig,
    /// The command that is told every event.
    pub hook: Option<String>,
    /// What stops the application for a restore in place.
    pub stop: Option<String>,
    /// What starts it again.
    pub start: Option<String>,
    /// The sources, as they stand in the file.
    pub sources: Vec<SourceConfig>,
}

/// Where keys come from; no key itself ever stands in the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyConfig {
    /// Files with a passphrase.
    pub passphrase_files: Vec<PathBuf>,
    /// Key files.
    pub key_files: Vec<PathBuf>,
    /// The environment variable that holds a passphrase.
    pub passphrase_env: Option<String>,
    /// The service credential that holds a passphrase: a file of `$CREDENTIALS_DIRECTORY`.
    pub credential: Option<String>,
    /// The private key that signs.
    pub signing_key: Option<PathBuf>,
}

/// How bundles are made.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SealingConfig {
    /// How frames are compressed.
    pub compression: Option<Compression>,
    /// `full`, `quick` or `none`.
    pub check: Option<String>,
    /// Whether every table is hashed.
    pub hash_tables: bool,
    /// What it costs to try a passphrase.
    pub iterations: Option<Iterations>,
    /// How long to wait for a lock.
    pub busy_timeout: Option<Duration>,
    /// Where encrypted scratch goes.
    pub scratch: Option<PathBuf>,
}

impl Config {
    /// Looks for the file in a folder and in those above it.
    pub fn find(from: &Path) -> Option<PathBuf> {
        from.ancestors().map(|folder| folder.join(CONFIG)).find(|path| path.is_file())
    }

    /// Reads and parses the file.
    ///
    /// # Errors
    /// [`ConfigError`]; a file that others can write is refused.
    pub fn load(path: &Path) -> Result<Config, ConfigError> {
        let unusable = |source| ConfigError::File { path: path.to_owned(), source };
        let path = &path.canonicalize().map_err(FileError::io("read", path)).map_err(unusable)?;
        let text = read_trusted_file(path).map_err(unusable)?;
        Config::parse(path, &text)
    }

    /// What it says of the database of a label, by its name, else by a pattern.
    #[must_use]
    pub fn database_of(&self, label: &Label) -> Option<&SqliteConfig> {
        let known = || self.sources.iter().filter_map(SourceConfig::sqlite).filter(|sqlite| sqlite.path_of(label).is_some());
        known().find(|sqlite| matches!(sqlite.location, Location::Path { .. })).or_else(|| known().next())
    }

    /// Where the database of a label belongs, whether it is there or not.
    #[must_use]
    pub fn place_of(&self, label: &Label) -> Option<PathBuf> {
        self.database_of(label)?.path_of(label)
    }

    /// The vault that it names, else `airkeep-vault` in its folder.
    #[must_use]
    pub fn vault_or_default(&self) -> PathBuf {
        self.vault.clone().unwrap_or_else(|| self.folder().join("airkeep-vault"))
    }

    /// The folder that it is in.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("/"))
    }

    /// Parses the text of a file that lies at this path.
    ///
    /// # Errors
    /// [`ConfigError::Syntax`].
    pub fn parse(path: &Path, text: &str) -> Result<Config, ConfigError> {
        let reader = Reader::new(path, text);
        let mut top = reader.table()?;
        let config = Config {
            path: path.to_owned(),
            set: top.parsed("set", SetName::parse)?,
            vault: top.path("vault")?,
            marking: marking::read(&mut top)?,
            keys: keys(top.section("keys")?)?,
            sealing: sealing(top.section("sealing")?)?,
            hook: top.text("hook")?,
            stop: top.text("stop")?,
            start: top.text("start")?,
            sources: sources::read(top.section("sources")?)?,
        };
        top.finish()?;
        Ok(config)
    }
}

fn keys(table: Option<Table<'_>>) -> Result<KeyConfig, ConfigError> {
    let Some(mut table) = table else { return Ok(KeyConfig::default()) };
    let keys = KeyConfig {
        passphrase_files: table.paths("passphrase-files")?,
        key_files: table.paths("key-files")?,
        passphrase_env: table.parsed("passphrase-env", variable)?,
        credential: table.parsed("credential", credential)?,
        signing_key: table.path("signing-key")?,
    };
    table.finish().map(|()| keys)
}

/// The name of an environment variable (POSIX.1, 3.230), so that a passphrase put there by mistake is not taken for one and shown.
fn variable(text: &str) -> Result<String, &'static str> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    match text.chars().all(is_name) && !text.starts_with(|c: char| c.is_ascii_digit()) {
        true => Ok(text.to_owned()),
        false => Err("expected the name of an environment variable: letters, digits and '_'"),
    }
}

/// The name of a file that cannot lead out of its folder.
fn credential(text: &str) -> Result<String, &'static str> {
    match text.contains(['/', '\0']) || text == "." || text == ".." {
        true => Err("expected the name of a service credential, without '/'"),
        false => Ok(text.to_owned()),
    }
}

fn sealing(table: Option<Table<'_>>) -> Result<SealingConfig, ConfigError> {
    let Some(mut table) = table else { return Ok(SealingConfig::default()) };
    let sealing = SealingConfig {
        compression: table.parsed("compression", |text| text.parse::<Compression>())?,
        check: table.one_of("check", &["full", "quick", "none"])?,
        hash_tables: table.flag("hash-tables")?.unwrap_or(false),
        iterations: table.whole("iterations", Iterations::parse)?,
        busy_timeout: table.seconds("busy-timeout")?,
        scratch: table.path("scratch")?,
    };
    table.finish().map(|()| sealing)
}
