//! `airkeep completions`.

use clap::{Args, CommandFactory};
use clap_complete::Shell;
use serde_json::json;

use super::Report;
use super::exit::{self, Exit};
use super::explain::Explained;

/// Print a script that completes commands and options in a shell
///
/// The script is made from the same definitions as the help. It goes where the shell looks for completions.
#[derive(Args)]
#[command(after_long_help = after_help())]
pub struct Arguments {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

impl Arguments {
    /// Runs the command.
    pub fn run(self) -> Result<Report, Explained> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut super::Arguments::command(), "airkeep", &mut script);
        let text = String::from_utf8_lossy(&script).into_owned();
        let json = [("text".to_owned(), json!(text))].into_iter().collect();
        Ok(Report { text, json, warnings: Vec::new(), error: None })
    }
}

fn after_help() -> String {
    format!(
        "Examples:\n  airkeep completions bash > ~/.local/share/bash-completion/completions/airkeep\n  \
         airkeep completions zsh > ~/.zfunc/_airkeep\n  airkeep completions fish > ~/.config/fish/completions/airkeep.fish\n\n{}",
        exit::table(&[Exit::Success, Exit::Failed, Exit::Usage])
    )
}
