//! `airkeep recover-text`.

use airkeep::bundle::RECOVER_TEXT;
use clap::Args;
use serde_json::json;

use super::Report;
use super::exit::{self, Exit};
use super::explain::Explained;

/// Print the text that every bundle carries: how to check and open it with stock tools
///
/// A text on a medium that came from elsewhere is advice from a stranger. Compare it with this one before you follow it.
#[derive(Args)]
#[command(after_long_help = after_help())]
pub struct Arguments {
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

impl Arguments {
    /// Runs the command.
    pub fn run(self) -> Result<Report, Explained> {
        let json = [("text".to_owned(), json!(RECOVER_TEXT))].into_iter().collect();
        Ok(Report { text: RECOVER_TEXT.to_owned(), json, warnings: Vec::new(), error: None })
    }
}

fn after_help() -> String {
    format!(
        "Examples:\n  airkeep recover-text > trusted.txt\n  tar -xOf BUNDLE.akb RECOVER.txt | diff - trusted.txt\n\n{}",
        exit::table(&[Exit::Success, Exit::Failed, Exit::Usage])
    )
}
