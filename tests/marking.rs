//! Markings: given once, they stand on every bundle of a system, also on those that nobody asked for by name.

mod cli;

use cli::Home;
use rusqlite::Connection;

const DOD: &str = "[marking]\nbanner = \"CUI\"\ncontrolled-by = \"Plant 7\"\ncategory = [\"CTI\", \"EXPT\"]\n\
    distribution = \"Distribution Statement D\"\npoc = \"J. Brown, 703-555-0135\"\n";
const DOD_LINE: &str =
    "CUI; Controlled by: Plant 7; CUI Category: CTI, EXPT; Distribution: Distribution Statement D; POC: J. Brown, 703-555-0135";

fn marking_of(home: &Home, arguments: &[&str]) -> serde_json::Value {
    home.json(&[arguments, &["--key-file", "key", "--json"]].concat())["bundle"]["marking"].clone()
}

fn home() -> Home {
    let home = Home::new();
    home.database("app.db");
    home.key("key");
    home
}

#[test]
fn a_flag_counts_more_than_the_configuration() {
    let home = home();
    assert!(marking_of(&home, &["backup", "app.db"]).is_null());
    assert!(!home.succeeds(&["list"]).contains("marking"), "a column of nothing says nothing");
    home.write("airkeep.toml", DOD, 0o600);
    assert_eq!(marking_of(&home, &["backup", "app.db"]), DOD_LINE);
    assert_eq!(marking_of(&home, &["backup", "app.db", "--marking", "CUI//SP-CTI"]), "CUI//SP-CTI");
    home.write("airkeep.toml", "marking = 'CUI//SP-CTI/PRVCY//FED ONLY'", 0o600);
    let told = home.succeeds(&["backup", "app.db", "--key-file", "key"]);
    assert!(told.contains("\nmarked    CUI//SP-CTI/PRVCY//FED ONLY\n"), "{told}");
    assert!(home.succeeds(&["config", "show"]).contains("\nmarking   CUI//SP-CTI/PRVCY//FED ONLY\n"));
    let listed = home.succeeds(&["list"]);
    assert!(listed.lines().next().unwrap().ends_with("marking") && listed.contains("  CUI\n") && listed.contains("  -\n"), "{listed}");
    assert_eq!(home.json(&["list", "--json"])["bundles"][1]["marking"], "CUI//SP-CTI");
    home.refuses(2, "'cui' is no category marking", &["backup", "app.db", "--key-file", "key", "--marking", "CUI//cui"]);
}

#[test]
fn adopted_and_guarded_databases_are_marked_too() {
    let home = home();
    home.write("airkeep.toml", "marking = 'CUI'", 0o600);
    assert_eq!(marking_of(&home, &["import", "app.db"]), "CUI");
    assert_eq!(home.json(&["guard", "--db", "app.db", "--key-file", "key", "--json", "--", "true"])["bundle"]["marking"], "CUI");
    let marking = ["--marking", "CUI//CTI"];
    assert_eq!(marking_of(&home, &[&["import", "app.db"][..], &marking].concat()), "CUI//CTI");
    let guard = ["guard", "--db", "app.db", "--key-file", "key", "--json", "--marking", "CUI//CTI", "--", "true"];
    assert_eq!(home.json(&guard)["bundle"]["marking"], "CUI//CTI");
}

#[test]
fn a_safety_bundle_is_marked_as_the_system_is_else_as_what_is_restored() {
    let home = home();
    let change = || Connection::open(home.path("app.db")).unwrap().execute_batch("PRAGMA user_version = 7; CREATE TABLE x(y)").map(drop);
    marking_of(&home, &["backup", "app.db", "--marking", "CUI//SP-CTI//NOFORN"]);
    change().unwrap();
    home.succeeds(&["restore", "1", "--in-place", "--force", "--key-file", "key"]);
    let newest = || home.json(&["list", "--json"])["bundles"][0].clone();
    assert_eq!((newest()["kind"].clone(), newest()["marking"].clone()), ("safety".into(), "CUI//SP-CTI//NOFORN".into()));
    home.write("airkeep.toml", "marking = 'CUI'", 0o600);
    change().unwrap();
    home.succeeds(&["restore", "1", "--in-place", "--force", "--key-file", "key"]);
    assert_eq!((newest()["kind"].clone(), newest()["marking"].clone()), ("safety".into(), "CUI".into()));
}
