//! `airkeep guard`.

mod child;

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use airkeep::bundle::Marking;
use airkeep::database::Others;
use airkeep::ops::{Guard, GuardReport, InPlaceReport};
use airkeep::{Backup, Compression, Environment, Failure};
use clap::Args;
use serde_json::json;

use super::exit::{self, Exit};
use super::explain::{Explained, causes_of};
use super::keys::{self, KeyArguments, Purpose};
use super::record::RecordArguments;
use super::restore::{failed_target, outcome_of, warnings_of};
use super::selection::append_only;
use super::signers::SigningKeyArguments;
use super::{Report, backup, json, screen, selection, settings};
use child::Ended;

/// Back up databases, run a command, and put them back if it fails
///
/// For migrations and other work that must not leave a database half done. First the databases are sealed into a verified bundle of
/// the kind 'pre-migration'. Then the command runs, never through a shell, with this terminal and this standard input, without the
/// passphrase in its environment. If it fails, each database is restored in place: what the command had made of it is sealed into a safety
/// bundle first, with the append-only rows that it wrote, and all of it stands in the journal.
///
/// The command's exit code goes through, as from a shell: 128 and its number if a signal ended it. 125 to 127 are guard's own.
#[derive(Args)]
#[command(after_long_help = after_help())]
pub struct Arguments {
    /// A database that is guarded, with the label it gets in the bundle, or a source of airkeep.toml (default: all of these)
    #[arg(long, required = true, value_name = "[LABEL=]DATABASE")]
    db: Vec<OsString>,
    /// The command and its arguments, behind '--'
    #[arg(required = true, last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
    /// The folder of bundles; made if it is missing
    #[arg(long, value_name = "DIR", env = "AIRKEEP_VAULT", default_value = "airkeep-vault")]
    vault: PathBuf,
    /// Put nothing back; only back up, run the command and record it
    #[arg(long)]
    no_restore: bool,
    /// Put a database in WAL mode back while others stay connected; what they keep in memory will not fit the restored content
    #[arg(long, conflicts_with = "no_restore")]
    online: bool,
    /// A table whose rows are accounted for if a database is put back (default: those on record, else those that their triggers
    /// protect); a file that ends in .json holds a list
    #[arg(long, value_name = "[LABEL:]TABLE|FILE.json")]
    append_only: Vec<String>,
    /// How bundles must be handled, public in them: a CUI banner as CUI//SP-CTI//NOFORN. Its form is checked, and nothing else
    #[arg(long, value_name = "TEXT", value_parser = Marking::parse)]
    marking: Option<Marking>,
    /// How bundles are compressed: gzip[:1-9], zstd[:1-19] or none
    #[arg(long, value_name = "CODEC", default_value_t = Compression::DEFAULT)]
    compression: Compression,
    /// How long to wait for a locked database
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = backup::seconds, allow_negative_numbers = true)]
    busy_timeout: Duration,
    /// Where encrypted scratch goes (default: the vault)
    #[arg(long, value_name = "DIR")]
    scratch: Option<PathBuf>,
    /// Print one JSON object at the end; what the command prints goes to standard error then
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    keys: KeyArguments,
    #[command(flatten)]
    signing: SigningKeyArguments,
    #[command(flatten)]
    record: RecordArguments,
}

impl Arguments {
    /// Where it works: a vault.
    pub fn place(&self) -> Option<&Path> {
        Some(&self.vault)
    }

    /// Runs the command.
    pub fn run(self) -> Result<Report, Explained> {
        // A typing error should cost nothing.
        let program = child::find(&self.command[0])?;
        let own = |error: Explained| Explained { exit: Exit::Guard, ..error };
        let (guard, missing) = self.guard().map_err(own)?;
        let ring = self.keys.ring(Purpose::Seal).map_err(own)?;
        let mut environment = self.record.environment();
        environment.shortfalls.extend(missing);
        let mut ended = None;
        let report = guard.run(ring, &mut environment, || {
            screen::print_error(&format!("airkeep: running {}\n", screen::escape(&self.command[0].to_string_lossy())));
            let end = child::run(&program, &self.command[1..], self.json);
            let work = end.work();
            ended = Some(end);
            work
        });
        let report = report.map_err(|failure| own(failure.into()))?;
        let ended = ended.unwrap_or(Ended::Lost);
        Ok(render(&report, &ended, environment))
    }

    /// What is guarded, and what is missing of it.
    fn guard(&self) -> Result<(Guard, Vec<String>), Explained> {
        let mut backup = Backup::new(Vec::new(), &self.vault);
        let missing = selection::choose(&mut backup, &self.db, settings::config())?;
        backup.set = settings::config().and_then(|config| config.set.clone());
        backup.marking.clone_from(&self.marking);
        backup.compression = self.compression;
        backup.busy_timeout = self.busy_timeout;
        backup.scratch.clone_from(&self.scratch);
        backup.signing_key = self.signing.place();
        backup.check_sources()?;
        let mut guard = Guard::new(backup, self.command[0].to_string_lossy());
        guard.restore = !self.no_restore;
        guard.config = settings::config().cloned().map(Arc::new);
        guard.others = if self.online { Others::Keep } else { Others::Refuse };
        for text in &self.append_only {
            guard.append_only.extend(append_only(text)?);
        }
        Ok((guard, missing))
    }
}

fn render(report: &GuardReport, ended: &Ended, environment: Environment) -> Report {
    let backup = &report.backup;
    let mut text = format!("sealed    {}\n", screen::escape(&backup.path.to_string_lossy()));
    let seconds = Duration::from_millis(report.duration_ms).as_secs_f64();
    let _ = match &report.work {
        Ok(()) => writeln!(text, "done      in {seconds:.1} s, nothing had to be put back"),
        Err(why) => writeln!(text, "failed    after {seconds:.1} s: {why}"),
    };
    let mut object = json!({
        "bundle": json::bundle(&backup.path, backup.size_bytes, &backup.core),
        "command_code": ended.code(),
        "command_error": report.work.as_ref().err(),
        "duration_ms": report.duration_ms,
        "restore": null,
        "safety": null,
        "targets": [],
    });
    let mut warnings = backup.warnings.clone();
    if let Some(Ok(restored)) = &report.restored {
        warnings.extend(warnings_of(restored));
        let (lines, members) = outcome_of(restored);
        text.push_str(&lines);
        object.as_object_mut().expect("an object").extend(members);
    }
    // The command's code goes through; what could not be recorded is told all the same.
    warnings.extend(environment.shortfalls);
    let error = failed(report, ended, &backup.path);
    Report { text, json: object.as_object().cloned().unwrap_or_default(), warnings, error }
}

/// The exit code is the command's, unless its databases could not be put back.
fn failed(report: &GuardReport, ended: &Ended, bundle: &Path) -> Option<Explained> {
    let by_hand = || format!("by hand: airkeep restore '{}' --in-place", bundle.display());
    match (&report.work, &report.restored) {
        (Ok(()), _) => None,
        (Err(why), None) => {
            Some(Explained { hint: Some(by_hand()), ..Explained::new(ended.exit(), format!("{why}; nothing was put back"), None) })
        }
        (Err(why), Some(_)) if report.is_put_back() => {
            Some(Explained::new(ended.exit(), format!("{why}; the databases are as they were before"), None))
        }
        (Err(_), Some(outcome)) => {
            let explained = not_put_back(outcome);
            Some(Explained { exit: Exit::Guard, hint: Some(explained.hint.unwrap_or_else(by_hand)), ..explained })
        }
    }
}

fn not_put_back(outcome: &Result<InPlaceReport, Failure>) -> Explained {
    let causes = match outcome {
        Ok(report) => failed_target(report).map_or_else(Vec::new, |error| [vec![error.message], error.causes].concat()),
        Err(failure) => causes_of(failure),
    };
    Explained { exit: Exit::Guard, message: "the command failed, and the databases could not be put back".to_owned(), causes, hint: None }
}

fn after_help() -> String {
    format!(
        "Examples:\n  airkeep guard --db app.db -- ./migrate.sh\n  \
         airkeep guard --db app.db --key-file backup.key -- npx prisma migrate deploy\n\n{}\n\n{}",
        keys::HELP,
        exit::table(&[Exit::Success, Exit::Usage, Exit::Guard, Exit::NotExecutable, Exit::NoCommand])
    )
}
