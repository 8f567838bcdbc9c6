//! `airkeep demo`: a guided run that shows what airkeep is for, and checks each thing that it claims.
//!
//! What is printed is what runs: this program itself, once for each command, in a folder and an environment of its own.

mod place;
mod stage;
mod writer;

use std::collections::BTreeSet;

use airkeep::database::sample::{SampleApplication, TRAIL};
use clap::Args;
use serde_json::{Value, json};

use super::exit::{self, Exit};
use super::explain::Explained;
use super::{Report, screen, signals};
use place::{Place, failed};
use stage::Stage;
use writer::Writer;

/// Watch a restore account for every row, in a minute and in a folder of its own
///
/// Makes a small database with an audit trail and an application that writes to it all the time; seals, verifies, and restores it in
/// place while the application writes on; shows which audit rows that took away and gets them back; proves the journal, and finds one
/// changed byte. Each command is printed before it runs, each result is checked, and in the end every row that was ever committed is
/// accounted for. Nothing outside of the folder is touched, no key of yours is used, and the folder is removed.
#[derive(Args)]
#[command(after_long_help = after_help())]
pub struct Arguments {
    /// Keep the folder, to look around in it
    #[arg(long)]
    keep: bool,
    /// Wait for Enter between the steps
    #[arg(long, conflicts_with = "json")]
    pause: bool,
    /// Print one JSON object, and no show
    #[arg(long)]
    pub json: bool,
}

/// Where each committed row is.
struct Account {
    committed: u64,
    in_database: u64,
    in_capsule: u64,
    /// In neither.
    unaccounted: u64,
}

impl Arguments {
    /// Runs the command.
    pub fn run(self) -> Result<Report, Explained> {
        let mut stage = Stage::new(Place::make(self.keep)?, !self.json, self.pause);
        let account = play(&mut stage)?;
        let (place, steps) = stage.into_parts();
        Ok(report(&account, &steps, &place))
    }
}

fn report(account: &Account, steps: &[Value], place: &Place) -> Report {
    let Account { committed, in_database, in_capsule, unaccounted } = *account;
    let grouped = screen::grouped;
    let mut text = format!(
        "\n{} committed, {} in the database, {} in the capsule, {} unaccounted\n",
        screen::count(committed, "row"),
        grouped(in_database),
        grouped(in_capsule),
        grouped(unaccounted)
    );
    if let Some(folder) = place.kept() {
        text += &format!("kept      {} (the key is demo.key)\n", screen::escape(&folder.to_string_lossy()));
    }
    let json = json!({
        "folder": place.kept().map(|folder| folder.to_string_lossy()),
        "steps": steps,
        "committed": committed,
        "in_database": in_database,
        "in_capsule": in_capsule,
        "unaccounted": unaccounted,
    });
    let is_right = unaccounted == 0 && in_database + in_capsule == committed && in_capsule > 0;
    let error = (!is_right).then(|| Explained::new(Exit::Failed, "not every row is where it should be, exactly once", None));
    Report { text, json: json.as_object().cloned().unwrap_or_default(), warnings: Vec::new(), error }
}

/// The play, up to the account.
fn play(stage: &mut Stage) -> Result<Account, Explained> {
    stage.tell(&format!(
        "This happens in {}. An application database is made there, app.db, whose table {TRAIL}\nonly grows: triggers refuse to \
         change or delete its rows. An application begins to write, and goes on until the end.",
        screen::escape(&stage.place.folder().to_string_lossy())
    ))?;
    let writer = Writer::start(&stage.place.folder().join("app.db"))?;
    writer.wait_for_more(ROWS_BEFORE)?;
    seal(stage)?;
    writer.wait_for_more(ROWS_BETWEEN)?;
    restore(stage, &writer)?;
    writer.wait_for_more(ROWS_AFTER)?;
    let capsule = show_gap(stage)?;
    stage.tell("The application stops now: what it committed, entry by entry, is compared with what is there.")?;
    let committed = writer.stop()?;
    let account = account(stage, committed, &capsule)?;
    prove(stage)?;
    Ok(account)
}

fn seal(stage: &mut Stage) -> Result<(), Explained> {
    stage.run(
        "A key file stands in for a passphrase, so that nothing has to be typed.",
        &["key", "new", "demo.key"],
        Exit::Success,
        ALL,
    )?;
    stage.run(
        "The backup: one consistent moment of the database, sealed and read back, while the application writes.",
        &["backup", "app.db", "--key-file", "demo.key"],
        Exit::Success,
        ALL,
    )?;
    stage.run(
        "Anybody can verify it without the key: a courier, or a machine that is not trusted.",
        &["verify", "airkeep-vault", "--level", "0"],
        Exit::Success,
        ALL,
    )?;
    Ok(())
}

fn restore(stage: &mut Stage, writer: &Writer) -> Result<(), Explained> {
    let bundle = nth_bundle(stage, 0)?;
    let sentence = format!(
        "{} were committed by now. The snapshot takes the place of the live database, without stopping the\napplication. The audit \
         rows that this takes away are counted under the lock, and sealed with the state before.",
        screen::count(writer.committed(), "row")
    );
    let why = ["--reason", "demonstration of a bad import", "--ticket", "DEMO-1"];
    let arguments =
        [&["restore", &bundle, "--in-place", "--online", "--force", "--scratch", ".", "--key-file", "demo.key"], &why[..]].concat();
    stage.run(&sentence, &arguments, Exit::Success, ALL)?;
    Ok(())
}

/// Shows the gap; gives the lines of the capsule.
fn show_gap(stage: &mut Stage) -> Result<String, Explained> {
    stage.run("The journal tells what was lost, to whoever has to account for it, without a key.", &["gap", "show"], Exit::Success, ALL)?;
    let safety = nth_bundle(stage, 1)?;
    let sentence = "The rows themselves are in the safety bundle, each in full.";
    let rows = stage.run(sentence, &["gap", "export", &safety, "--to", "-", "--key-file", "demo.key"], Exit::Success, HEAD)?;
    Ok(rows.stdout)
}

/// Journal and medium.
fn prove(stage: &mut Stage) -> Result<(), Explained> {
    stage.run(
        "All of this stands in the journal, and no record was changed, removed or added.",
        &["audit", "verify"],
        Exit::Success,
        ALL,
    )?;
    let place = flip(stage)?;
    let sentence =
        format!("One bit of a copy of the bundle was flipped, in byte {}. It is found, and the exit code is 13.", screen::grouped(place));
    stage.run(&sentence, &["verify", "flipped.akb", "--level", "0"], Exit::Integrity, ALL)?;
    Ok(())
}

/// Makes a copy with one wrong bit in its first data frame; tells in which byte.
fn flip(stage: &Stage) -> Result<u64, Explained> {
    let folder = stage.place.folder();
    let mut bytes = std::fs::read(folder.join(nth_bundle(stage, 0)?)).map_err(|error| failed("read the bundle", &error))?;
    // The outer container is a plain tar file: the member's name, and 512 bytes behind it its content.
    let name = bytes.windows(FRAME.len()).position(|window| window == FRAME);
    let place = name.map_or(bytes.len() / 2, |name| name + 512);
    bytes[place] ^= 1;
    std::fs::write(folder.join("flipped.akb"), bytes).map_err(|error| failed("write a copy of the bundle", &error))?;
    Ok(place as u64)
}

fn nth_bundle(stage: &Stage, index: usize) -> Result<String, Explained> {
    let missing = || Explained::new(Exit::Failed, format!("there is no bundle {} in the vault", index + 1), None);
    stage.place.bundles().into_iter().nth(index).ok_or_else(missing)
}

/// Looks for each committed entry in the database and in the capsule.
fn account(stage: &Stage, committed: u64, capsule: &str) -> Result<Account, Explained> {
    let database = SampleApplication::open(&stage.place.folder().join("app.db")).and_then(|application| application.numbers());
    let database = database.map_err(|error| writer::failed(&error))?;
    let number = |line: &str| serde_json::from_str::<Value>(line).ok()?["row"]["number"].as_u64();
    let capsule: Vec<u64> = capsule.lines().filter_map(number).collect();
    let found: BTreeSet<u64> = database.iter().chain(&capsule).copied().collect();
    let unaccounted = (1..=committed).filter(|number| !found.contains(number)).count() as u64;
    if signals::caught().is_some() {
        return Err(airkeep::Failure::Cancelled.into());
    }
    Ok(Account { committed, in_database: database.len() as u64, in_capsule: capsule.len() as u64, unaccounted })
}

const ROWS_BEFORE: u64 = 200;
const ROWS_BETWEEN: u64 = 100;
const ROWS_AFTER: u64 = 50;
const FRAME: &[u8] = b"frames/00000001";
/// Every line of an output.
const ALL: usize = usize::MAX;
/// As many rows as show what they are.
const HEAD: usize = 3;

fn after_help() -> String {
    let exits = [Exit::Success, Exit::Failed, Exit::Usage, Exit::Bug];
    format!("Examples:\n  airkeep demo\n  airkeep demo --pause\n  airkeep demo --keep\n\n{}", exit::table(&exits))
}
