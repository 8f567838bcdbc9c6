//! `airkeep restore --in-place` and `--onto`: the plan, the question, the outcome.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use airkeep::bundle::{Kind, PublicCore};
use airkeep::database::{Comparison, InstallReport, Links, Marker, Others, Way};
use airkeep::ops::{
    InPlace, InPlaceReport, PlannedTarget, Present, RestorePlan, Service, SigningKeyPlace, SiteCommand, TargetOutcome, TargetResult,
};
use airkeep::{Environment, Keyring, Label, TrustedSigners};
use clap::Args;
use serde_json::{Map, Value, json};

use super::confirm;
use crate::cli::exit::Exit;
use crate::cli::explain::{self, Explained};
use crate::cli::record::RecordArguments;
use crate::cli::selection::append_only;
use crate::cli::{Report, backup, gap_text, json, screen, settings};

/// The flags of a restore in place.
#[derive(Args)]
#[command(next_help_heading = "In place")]
pub struct PlaceArguments {
    /// Show what would be replaced and lost, and change nothing
    #[arg(long, requires = "place")]
    dry_run: bool,
    /// Do not ask
    #[arg(long, requires = "place")]
    force: bool,
    /// Replace a database in WAL mode while others stay connected; what they keep in memory will not fit the restored content
    #[arg(long, requires = "place")]
    online: bool,
    /// A table whose lost rows are to be counted and kept (default: those on record, else those that their triggers protect); a file
    /// that ends in .json holds a list
    #[arg(long, value_name = "[LABEL:]TABLE|FILE.json", requires = "place")]
    append_only: Vec<String>,
    /// Put the lost rows of append-only tables back into the restored database, with their keys and values
    #[arg(long, requires = "place")]
    graft: bool,
    /// Write one row into the application's own audit table, as the application would: {lost} {altered} {resurrected} {tables} {first}
    /// {last} {bundle} {snapshot} {time} {operator} {reason} {gap} stand for what there is to tell; a backslash takes the meaning
    /// from a comma
    #[arg(long, value_name = "TABLE:COLUMN=VALUE,…", requires = "place", value_parser = Marker::parse)]
    marker: Option<Marker>,
    /// The open restore, by its id, that this one finishes or undoes; it is closed with it
    #[arg(long, value_name = "ID", requires = "place")]
    resolves: Option<String>,
    /// A number under which others know of this; stands in the journal
    #[arg(long, value_name = "TEXT", requires = "place")]
    ticket: Option<String>,
    /// Run this before anything is locked, never through a shell; if it fails, nothing is replaced
    #[arg(long, value_name = "COMMAND", requires = "place", value_parser = SiteCommand::parse)]
    stop_with: Option<SiteCommand>,
    /// Run this at the end, however it went
    #[arg(long, value_name = "COMMAND", requires = "place", value_parser = SiteCommand::parse)]
    start_with: Option<SiteCommand>,
    /// Replace although the present state cannot be kept; needs --reason
    #[arg(long, requires = "place")]
    no_safety_bundle: bool,
    /// Follow symbolic links, and replace files that have other names
    #[arg(long, requires = "place")]
    follow_links: bool,
    /// Put a snapshot back that was corrupt when it was captured
    #[arg(long, requires = "place")]
    accept_corrupt: bool,
    /// Replace a database with another application_id, or a full one by an empty one
    #[arg(long, requires = "place")]
    accept_other: bool,
    /// Put a snapshot back that is not what airkeep.toml demands of it ('assert')
    #[arg(long, requires = "place")]
    accept_unmet: bool,
    /// How long to wait for a locked database
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = backup::seconds, allow_negative_numbers = true, requires = "place")]
    busy_timeout: Duration,
    /// Where encrypted scratch goes (default: /var/tmp)
    #[arg(long, value_name = "DIR", requires = "place")]
    scratch: Option<PathBuf>,
}

impl PlaceArguments {
    /// Whether only the plan is wanted.
    pub fn is_dry_run(&self) -> bool {
        self.dry_run
    }

    /// The request that the flags make.
    pub fn request(
        &self,
        bundle: PathBuf,
        labels: Vec<Label>,
        onto: Option<PathBuf>,
        signers: TrustedSigners,
        signing_key: Option<SigningKeyPlace>,
    ) -> Result<InPlace, Explained> {
        if !self.force && !self.dry_run {
            confirm::require_somebody()?;
        }
        let mut request = InPlace::new(bundle);
        request.labels = labels;
        request.onto = onto;
        request.others = if self.online { Others::Keep } else { Others::Refuse };
        request.links = if self.follow_links { Links::Follow } else { Links::Refuse };
        request.omit_safety = self.no_safety_bundle;
        for text in &self.append_only {
            request.append_only.extend(append_only(text)?);
        }
        request.graft = self.graft;
        request.marker.clone_from(&self.marker);
        request.resolves.clone_from(&self.resolves);
        request.ticket.clone_from(&self.ticket);
        request.service = Service { stop: self.stop_with.clone(), start: self.start_with.clone() };
        request.signers = signers;
        request.signing_key = signing_key;
        request.accept_corrupt = self.accept_corrupt;
        request.accept_other = self.accept_other;
        request.accept_unmet = self.accept_unmet;
        request.busy_timeout = self.busy_timeout;
        request.scratch.clone_from(&self.scratch);
        request.marking = settings::config().and_then(|config| config.marking.clone());
        Ok(request)
    }

    /// The site's commands that will run, in their order.
    fn commands_text(&self, plan: &RestorePlan) -> String {
        let mut text = String::new();
        let mut row = |name: &str, words: &str| {
            let _ = writeln!(text, "{name:<10}{}", screen::escape(words));
        };
        self.stop_with.iter().for_each(|stop| row("stop", &stop.to_string()));
        for target in &plan.targets {
            let check = settings::config().and_then(|config| config.database_of(&target.source.label)?.check.as_ref());
            check.into_iter().for_each(|check| row("check", &check.join(" ")));
        }
        self.start_with.iter().for_each(|start| row("start", &start.to_string()));
        text
    }

    /// Shows the plan, asks, and replaces.
    pub fn run(&self, request: InPlace, ring: Keyring, record: &RecordArguments, notes: Vec<String>) -> Result<Report, Explained> {
        let mut environment = record.environment();
        let bundle = request.bundle.clone();
        let prepared = request.prepare(&ring, &mut environment)?;
        let warnings = [notes, prepared.plan().warnings.clone()].concat();
        let plan = plan_text(prepared.plan(), prepared.core(), self.no_safety_bundle) + &self.commands_text(prepared.plan());
        if self.dry_run {
            let json = plan_json(prepared.plan(), prepared.core(), &bundle);
            return Ok(Report { text: plan, json, warnings, error: None });
        }
        if !self.force {
            screen::print_error(&plan);
            warnings.iter().for_each(|warning| screen::warning_line(warning));
            confirm::ask(&format!("Replace {}?", screen::count(prepared.plan().targets.len() as u64, "database")))?;
        }
        let mut json = plan_json(prepared.plan(), prepared.core(), &bundle);
        let warnings = if self.force { warnings } else { Vec::new() };
        let report = prepared.run(ring, &mut environment)?;
        json.extend(outcome_json(&report));
        Ok(finish(&report, json, warnings, environment))
    }
}

/// The report of a restore that ran.
fn finish(report: &InPlaceReport, json: Map<String, Value>, mut warnings: Vec<String>, environment: Environment) -> Report {
    warnings.extend(warnings_of(report));
    Report { text: outcome_text(report), json, warnings, error: failed(report) }.with_shortfalls(environment)
}

/// What a person should know of targets that were replaced.
pub fn warnings_of(report: &InPlaceReport) -> Vec<String> {
    let overtaken = |outcome: &TargetOutcome| match &outcome.result {
        TargetResult::Replaced(InstallReport { comparison: Comparison::Overtaken, path, .. }) => {
            Some(format!("others wrote to '{}' before it could be compared", path.display()))
        }
        TargetResult::Replaced(InstallReport { uncompared, path, .. }) if !uncompared.is_empty() => {
            Some(format!("'{}': tables that could not be compared: {}", path.display(), uncompared.join(", ")))
        }
        _ => None,
    };
    report.outcomes.iter().filter_map(overtaken).collect()
}

/// The error, if a target was not replaced.
pub fn failed(report: &InPlaceReport) -> Option<Explained> {
    let (outcome, error) = report.outcomes.iter().find_map(|outcome| match &outcome.result {
        TargetResult::Failed(error) | TargetResult::Unconfirmed(error) => Some((outcome, error)),
        _ => None,
    })?;
    let before = report.outcomes.iter().filter(|outcome| outcome.is_confirmed()).count();
    let mut others = match (outcome.is_replaced(), before) {
        (true, _) => "it was replaced, and that could not be confirmed".to_owned(),
        (false, 0) => "nothing was replaced".to_owned(),
        (false, _) => "it was not replaced".to_owned(),
    };
    if before > 0 {
        others.push_str(&format!(", {} before it", screen::count(before as u64, "database")));
    }
    let causes = explain::causes_of(error);
    Some(Explained {
        exit: Exit::of_install(error),
        message: format!("cannot restore '{}' in place, {others}", outcome.label),
        causes,
        hint: explain::install_hint(error).map(str::to_owned),
    })
}

fn plan_text(plan: &RestorePlan, core: &PublicCore, omits_safety: bool) -> String {
    let what = if core.kind == Kind::Safety { ", a SAFETY bundle: what an earlier restore replaced" } else { "" };
    let mut text = format!("bundle    {} of {}, sealed {}{what}\n", core.sequence, core.set.name, core.created_at);
    for target in &plan.targets {
        let path = screen::escape(&target.path.to_string_lossy());
        let _ = writeln!(text, "replace   {path}");
        let _ = writeln!(text, "          now: {}", present(&target.present));
        let source = &target.source;
        let _ = writeln!(text, "          then: '{}' {}, {}", source.label, explain::moment(source), screen::size(source.size_bytes));
        if !target.holders.is_empty() {
            let holders: Vec<String> = target.holders.iter().map(|process| format!("{} ({})", process.pid, process.name)).collect();
            let _ = writeln!(text, "          open in {}", screen::escape(&holders.join(", ")));
        }
        let _ = writeln!(text, "          {}", way_words(target));
        match &target.gap {
            Some(gap) => text.push_str(&gap_text::lines(&source.label, gap, "lose")),
            None => text.push_str("lose      to be found out under the lock\n"),
        }
    }
    match omits_safety {
        true => text.push_str("keep      nothing (--no-safety-bundle)\n"),
        false if !plan.targets.iter().any(|target| matches!(target.present, Present::Live(_) | Present::Locked)) => {
            text.push_str("keep      no safety bundle: there is no database that could be sealed\n");
        }
        false => text.push_str(&format!(
            "keep      the present state and those rows, as a safety bundle in {}\n",
            screen::escape(&plan.vault.to_string_lossy())
        )),
    }
    let _ = writeln!(text, "lock      about {:.1} s", plan.lock_seconds);
    text
}

fn present(present: &Present) -> String {
    match present {
        Present::Missing => "no file".to_owned(),
        Present::Unopenable(why) => format!("no database that can be opened ({}); it is kept beside", screen::escape(why)),
        Present::Locked => "locked".to_owned(),
        Present::Live(facts) => {
            let rows = facts.tables.iter().filter_map(|table| table.rows).sum();
            format!(
                "{}, {}, {}",
                screen::size(facts.size_bytes),
                screen::count(facts.tables.len() as u64, "table"),
                screen::count(rows, "row")
            )
        }
    }
}

fn way_words(target: &PlannedTarget) -> &'static str {
    match target.way {
        Way::Replace if matches!(target.present, Present::Missing) => "by a new file, of the folder's owner, mode 600",
        Way::Exclusive => "exclusively: nobody else can use it meanwhile",
        Way::Online => "online: others stay connected",
        Way::Replace => "by a new file, what is there is moved aside",
    }
}

/// The lines about targets that were replaced.
pub fn outcome_text(report: &InPlaceReport) -> String {
    let mut text = String::new();
    if let Some(safety) = &report.safety {
        let _ = writeln!(text, "kept      {} (safety bundle: the state before)", screen::escape(&safety.path.to_string_lossy()));
    }
    for outcome in &report.outcomes {
        let path = screen::escape(&outcome.path.to_string_lossy());
        let _ = match &outcome.result {
            TargetResult::Replaced(done) => {
                let compared = match done.comparison {
                    Comparison::Equal => "compared: equal",
                    Comparison::Overtaken => "not compared: others write to it",
                };
                let _ = writeln!(text, "restored  {path} ('{}' as of {}, {compared})", outcome.label, outcome.captured_at);
                match &done.aside {
                    Some(aside) => writeln!(text, "aside     {}", screen::escape(&aside.to_string_lossy())),
                    None => Ok(()),
                }
            }
            TargetResult::Unconfirmed(_) => {
                writeln!(text, "restored  {path} ('{}' as of {}, NOT CONFIRMED)", outcome.label, outcome.captured_at)
            }
            TargetResult::Failed(_) => writeln!(text, "FAILED    {path} ('{}')", outcome.label),
            TargetResult::NotTried => writeln!(text, "untouched {path} ('{}')", outcome.label),
        };
        if outcome.is_replaced() {
            text.push_str(&gap_text::lines(&outcome.label, &outcome.gap, "lost"));
        }
    }
    text
}

fn plan_json(plan: &RestorePlan, core: &PublicCore, bundle: &Path) -> Map<String, Value> {
    let size_bytes = bundle.metadata().map_or(0, |metadata| metadata.len());
    let json = json!({
        "bundle": json::bundle(bundle, size_bytes, core),
        "level": "L4",
        "plan": {
            "vault": plan.vault.to_string_lossy(),
            "lock_ms": (plan.lock_seconds * 1000.0) as u64,
            "targets": plan.targets.iter().map(target_json).collect::<Vec<_>>(),
        },
    });
    json.as_object().cloned().unwrap_or_default()
}

fn target_json(target: &PlannedTarget) -> Value {
    let (state, size_bytes, why) = match &target.present {
        Present::Missing => ("missing", None, None),
        Present::Unopenable(why) => ("unopenable", None, Some(why.clone())),
        Present::Locked => ("locked", None, None),
        Present::Live(facts) => ("live", Some(facts.size_bytes), None),
    };
    let holders: Vec<Value> = target.holders.iter().map(|process| json!({ "pid": process.pid, "name": process.name })).collect();
    json!({
        "label": target.source.label,
        "path": target.path.to_string_lossy(),
        "captured_at": target.source.captured_at,
        "state": state,
        "why": why,
        "size_bytes": size_bytes,
        "way": target.way.name(),
        "holders": holders,
        "gap": target.gap,
    })
}

/// What the object says once the targets were replaced.
pub fn outcome_json(report: &InPlaceReport) -> Map<String, Value> {
    let safety = report.safety.as_ref().map(|safety| json::bundle(&safety.path, safety.size_bytes, &safety.core));
    let targets: Vec<Value> = report.outcomes.iter().map(one_outcome).collect();
    let json = json!({ "restore": report.id, "safety": safety, "targets": targets });
    json.as_object().cloned().unwrap_or_default()
}

fn one_outcome(outcome: &TargetOutcome) -> Value {
    let (result, comparison, aside, error) = match &outcome.result {
        TargetResult::Replaced(report) => ("replaced", Some(report.comparison.name()), report.aside.as_ref(), None),
        TargetResult::Unconfirmed(error) => ("unconfirmed", None, None, Some(error.to_string())),
        TargetResult::Failed(error) => ("failed", None, None, Some(error.to_string())),
        TargetResult::NotTried => ("untouched", None, None, None),
    };
    json!({
        "label": outcome.label,
        "path": outcome.path.to_string_lossy(),
        "way": outcome.way.name(),
        "captured_at": outcome.captured_at,
        "result": result,
        "comparison": comparison,
        "aside": aside.map(|path| path.to_string_lossy()),
        "error": error,
        "incarnation": outcome.incarnation,
        "gap": outcome.gap,
    })
}
