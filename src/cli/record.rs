//! What a command says of itself to the journal and to the site's own audit system: the flags of all commands that are recorded.

use airkeep::Environment;
use airkeep::ops::Hook;
use clap::Args;

/// The flags.
#[derive(Args)]
#[command(next_help_heading = "Record")]
pub struct RecordArguments {
    /// Who does this, in their own words; stands in the journal beside the account
    #[arg(long, value_name = "NAME", env = "AIRKEEP_OPERATOR", hide_env_values = true)]
    operator: Option<String>,
    /// Why it is done; stands in the journal
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// A command that is told every event, never through a shell: JSON on its standard input, {event}, {actor}, {action}, {reason},
    /// {bundle} and more in its arguments (docs/hooks.md)
    #[arg(long, value_name = "COMMAND", env = "AIRKEEP_HOOK", value_parser = Hook::parse, hide_env_values = true)]
    hook: Option<Hook>,
}

impl RecordArguments {
    /// The environment of an operation that is recorded.
    pub fn environment(&self) -> Environment {
        let mut environment = super::environment();
        if let Some(operator) = self.operator.clone().filter(|name| !name.is_empty()) {
            environment.actor.operator = Some(operator);
        }
        environment.reason.clone_from(&self.reason);
        environment.hook.clone_from(&self.hook);
        environment
    }
}
