//! `airkeep man`.

use std::path::{Path, PathBuf};

use airkeep::Failure;
use airkeep::files::FileError;
use clap::{Args, Command, CommandFactory};
use clap_mangen::Man;
use serde_json::json;

use super::exit::{self, Exit};
use super::explain::Explained;
use super::{Report, screen};

/// Print the manual page, or write the pages of all commands
///
/// The pages are made from the same definitions as the help.
#[derive(Args)]
#[command(after_long_help = after_help())]
pub struct Arguments {
    /// Write a page for each command into this folder, replacing older ones
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

impl Arguments {
    /// Runs the command.
    pub fn run(self) -> Result<Report, Explained> {
        let mut command = super::Arguments::command();
        command.build();
        let Some(folder) = self.out else {
            let text = String::from_utf8_lossy(&page(command)).into_owned();
            let json = [("text".to_owned(), json!(text))].into_iter().collect();
            return Ok(Report { text, json, warnings: Vec::new(), error: None });
        };
        let mut files = Vec::new();
        write(&command, &folder, &mut files)?;
        let text = files.iter().map(|file| format!("wrote     {}\n", screen::escape(file))).collect();
        let json = [("files".to_owned(), json!(files))].into_iter().collect();
        Ok(Report { text, json, warnings: Vec::new(), error: None })
    }

    /// Whether the page itself is what was asked for.
    pub fn is_printed(&self) -> bool {
        self.out.is_none()
    }
}

/// Writes the page of a command and those of the commands in it.
fn write(command: &Command, folder: &Path, files: &mut Vec<String>) -> Result<(), Explained> {
    // With dashes, as `git-commit` has it.
    let name = command.get_display_name().unwrap_or_else(|| command.get_name());
    let path = folder.join(format!("{name}.1"));
    std::fs::write(&path, page(command.clone())).map_err(|error| Failure::from(FileError::io("write", &path)(error)))?;
    files.push(path.to_string_lossy().into_owned());
    for part in command.get_subcommands().filter(|part| part.get_name() != "help") {
        write(part, folder, files)?;
    }
    Ok(())
}

fn page(command: Command) -> Vec<u8> {
    let mut text = Vec::new();
    Man::new(command).render(&mut text).expect("memory takes every byte");
    text
}

fn after_help() -> String {
    format!(
        "Examples:\n  airkeep man | man -l -\n  airkeep man --out /usr/local/share/man/man1\n\n{}",
        exit::table(&[Exit::Success, Exit::Failed, Exit::Usage, Exit::NotFound])
    )
}
