//! `airkeep compare` and `airkeep size`: every kind of difference, and that nothing is written; migration ledgers.

mod cli;

use cli::{Home, assert_same_tree};
use rusqlite::Connection;
use serde_json::{Value, json};

const SCHEMA: &str = "CREATE TABLE account(id INTEGER PRIMARY KEY, name TEXT); CREATE TABLE word(text TEXT);
    CREATE TABLE price(item TEXT, day TEXT, cents INTEGER, PRIMARY KEY(item, day)) WITHOUT ROWID;
    CREATE INDEX account_name ON account(name);
    INSERT INTO account VALUES(1, 'a'), (2, 'b'), (3, 'c'); INSERT INTO word VALUES('x'), ('x'), ('y');
    INSERT INTO price VALUES('tea', '01', 5), ('tea', '02', 6), ('rum', '01', 7);";

/// A home with a key, `app.db`, and its first bundle.
fn home() -> (Home, Connection) {
    let home = Home::new();
    home.key("key");
    let live = database(&home, "app.db", SCHEMA);
    back_up(&home, &["app.db"]);
    (home, live)
}

fn database(home: &Home, name: &str, sql: &str) -> Connection {
    let connection = Connection::open(home.path(name)).unwrap();
    connection.execute_batch(sql).unwrap();
    connection
}

fn back_up(home: &Home, arguments: &[&str]) -> Value {
    home.json(&[&["backup", "--key-file", "key", "--json"], arguments].concat())
}

/// Compares, and insists that no file changed meanwhile.
fn compare(home: &Home, arguments: &[&str]) -> Value {
    let before = home.tree();
    let report = home.json(&[&["compare", "--key-file", "key", "--json"], arguments].concat());
    assert_same_tree(&before, &home.tree());
    report
}

/// The only source of a report, with what it says of each table: added, removed, changed.
fn tables(report: &Value) -> Vec<(String, String, [Option<u64>; 3])> {
    let counts = |table: &Value| ["added", "removed", "changed"].map(|name| table[name].as_u64());
    let text = |table: &Value, name: &str| table[name].as_str().unwrap().to_owned();
    let list = report["sources"][0]["tables"].as_array().unwrap();
    list.iter().map(|table| (text(table, "table"), text(table, "sides"), counts(table))).collect()
}

#[test]
fn what_is_equal_is_the_same_whatever_the_pages_look_like() {
    let (home, live) = home();
    live.execute_batch("DELETE FROM account WHERE id=3; VACUUM; INSERT INTO account VALUES(3, 'c'); PRAGMA journal_mode=WAL").unwrap();
    let report = compare(&home, &["1"]);
    assert_eq!((&report["same"], &report["second"]), (&json!(true), &json!(null)));
    assert_eq!(report["sources"][0]["same_tables"], 3);
    back_up(&home, &["app.db"]);
    assert_eq!(compare(&home, &["1", "2"])["same"], true);
    assert_eq!(compare(&home, &["latest", "live", "--exit-code"])["same"], true);
    let text = home.succeeds(&["compare", "1", "--key-file", "key"]);
    assert!(text.ends_with("source   app: the same, 3 tables\n"), "{text}");
}

#[test]
fn the_order_of_rows_without_a_key_is_no_difference() {
    let (home, live) = home();
    live.execute_batch("DELETE FROM word; INSERT INTO word VALUES('y'), ('x'), ('x')").unwrap();
    assert_eq!(compare(&home, &["1"])["same"], true);
    live.execute_batch("DELETE FROM word; INSERT INTO word VALUES('y'), ('y'), ('x')").unwrap();
    assert_eq!(tables(&compare(&home, &["1"])), [("word".into(), "both".into(), [Some(1), Some(1), Some(0)])], "multisets");
}

#[test]
fn each_kind_of_difference_is_told() {
    let (home, live) = home();
    live.execute_batch(
        "INSERT INTO account VALUES(4, 'd'), (5, 'e'); DELETE FROM account WHERE id=1; UPDATE account SET name='B' WHERE id=2;
         UPDATE price SET cents=9 WHERE item='tea' AND day='02'; DELETE FROM price WHERE item='rum';
         DROP TABLE word; CREATE TABLE event(id INTEGER PRIMARY KEY); INSERT INTO event VALUES(1), (2);
         DROP INDEX account_name; CREATE VIEW names AS SELECT name FROM account; PRAGMA user_version=7; PRAGMA application_id=9;",
    )
    .unwrap();
    let report = compare(&home, &["1"]);
    let expected = [
        ("account".to_owned(), "both".to_owned(), [Some(2), Some(1), Some(1)]),
        ("event".into(), "second".into(), [None; 3]),
        ("price".into(), "both".into(), [Some(0), Some(1), Some(1)]),
        ("word".into(), "first".into(), [None; 3]),
    ];
    assert_eq!(tables(&report), expected);
    let source = &report["sources"][0];
    assert_eq!((&source["same"], &source["same_tables"]), (&json!(false), &json!(0)));
    assert_eq!(source["user_version"], json!({ "first": 0, "second": 7 }));
    assert_eq!(source["application_id"], json!({ "first": 0, "second": 9 }));
    assert_eq!(source["tables"][0]["key"], json!(["id"]));
    assert_eq!(source["tables"][2]["key"], json!(["item", "day"]));
    assert_eq!((&source["tables"][1]["second_rows"], &source["tables"][3]["first_rows"]), (&json!(2), &json!(3)));
    let objects = source["objects"].as_array().unwrap();
    let objects: Vec<_> = objects.iter().map(|object| ["kind", "name", "change"].map(|name| object[name].as_str().unwrap())).collect();
    let expected =
        [["index", "account_name", "dropped"], ["table", "event", "added"], ["table", "word", "dropped"], ["view", "names", "added"]];
    assert_eq!(objects, expected);
    let text = home.succeeds(&["compare", "1", "--key-file", "key"]);
    for words in [
        "source   app: 4 tables differ, 0 the same\n",
        "table account: 2 rows added; 1 row removed; 1 row changed\n",
        "table event: added, 2 rows\n",
        "table word: dropped, 3 rows\n",
        "user_version: 0, then 7\n",
        "index account_name: dropped\n",
    ] {
        assert!(text.contains(words), "'{words}' is missing in {text}");
    }
    assert!(!text.contains("table word: dropped\n"), "{text}");
    // The other way round: what was added is removed.
    back_up(&home, &["app.db"]);
    assert_eq!(tables(&compare(&home, &["2", "1"]))[0].2, [Some(1), Some(2), Some(1)]);
}

#[test]
fn a_changed_schema_is_told_with_its_columns() {
    let (home, live) = home();
    live.execute_batch("ALTER TABLE account ADD COLUMN mail TEXT").unwrap();
    let report = compare(&home, &["1"]);
    let table = &report["sources"][0]["tables"][0];
    assert_eq!((&table["schema_changed"], &table["only_second_columns"]), (&json!(true), &json!(["mail"])));
    assert_eq!((&table["added"], &table["common"], &table["doubt"]), (&json!(0), &json!(3), &json!(null)));
    let object = &report["sources"][0]["objects"][0];
    assert_eq!(object["change"], "changed");
    assert!(!object["first"].as_str().unwrap().contains("mail") && object["second"].as_str().unwrap().contains("mail TEXT"));
    let text = home.succeeds(&["compare", "1", "--key-file", "key"]);
    assert!(text.contains("table account: schema changed; columns only on the second side: mail\n"), "{text}");
}

#[test]
fn bundles_with_logical_hashes_are_compared_without_taking_anything_out() {
    let (home, live) = home();
    back_up(&home, &["app.db", "--hash-tables"]);
    live.execute_batch("PRAGMA page_size=8192; VACUUM").unwrap();
    let third = back_up(&home, &["app.db", "--hash-tables"]);
    // The manifests say that all is the same, so damage in a frame is not even met.
    let path = third["bundle"]["path"].as_str().unwrap();
    let mut hurt = home.read(path);
    cli::surgery::flip(&mut hurt, "frames/00000001");
    home.write("hurt.akb", &hurt, 0o600);
    let report = compare(&home, &["2", "hurt.akb"]);
    assert_eq!((&report["same"], &report["sources"][0]["same_tables"]), (&json!(true), &json!(3)));
    home.refuses(13, "nothing was compared", &["compare", "1", "hurt.akb", "--key-file", "key"]);
    live.execute_batch("INSERT INTO account VALUES(9, 'i')").unwrap();
    back_up(&home, &["app.db", "--hash-tables"]);
    assert_eq!(tables(&compare(&home, &["2", "4"])), [("account".into(), "both".into(), [Some(1), Some(0), Some(0)])]);
}

#[test]
fn several_sources_and_labels() {
    let (home, _live) = home();
    let other = database(&home, "other.db", "CREATE TABLE t(a); INSERT INTO t VALUES(1)");
    back_up(&home, &["app.db", "other.db"]);
    other.execute_batch("INSERT INTO t VALUES(2)").unwrap();
    let report = compare(&home, &["2"]);
    let same: Vec<_> = report["sources"].as_array().unwrap().iter().map(|source| (&source["label"], &source["same"])).collect();
    assert_eq!(same, [(&json!("app"), &json!(true)), (&json!("other"), &json!(false))]);
    assert_eq!(compare(&home, &["2", "--label", "app"])["same"], true);
    assert_eq!(compare(&home, &["2", "live", "--label", "app", "--label", "other"])["same"], false);
    let between = compare(&home, &["1", "2"]);
    assert_eq!((&between["same"], &between["sources"][1]["sides"]), (&json!(false), &json!("second")));
    home.refuses(10, "has no source 'nope', it has: app, other", &["compare", "2", "--label", "nope", "--key-file", "key"]);
}

#[test]
fn a_live_database_that_is_gone_is_a_difference() {
    let (home, live) = home();
    drop(live);
    std::fs::remove_file(home.path("app.db")).unwrap();
    let report = compare(&home, &["1"]);
    assert_eq!((&report["same"], &report["sources"][0]["sides"]), (&json!(false), &json!("first")));
    let text = home.succeeds(&["compare", "1", "--key-file", "key"]);
    assert!(text.contains("source   app: only on the first side; there is no '"), "{text}");
    home.write(
        "app.db",
        "no database at all, and longer than a header of a hundred bytes would be, if it were one, so that it is read",
        0o600,
    );
    home.refuses(14, "cannot compare 'app'", &["compare", "1", "--key-file", "key"]);
}

#[test]
fn the_configuration_says_where_live_databases_are() {
    let (home, live) = home();
    drop(live);
    home.folder("data");
    std::fs::rename(home.path("app.db"), home.path("data/moved.db")).unwrap();
    drop(database(&home, "data/new.db", "CREATE TABLE t(a)"));
    let config = "[sources.app]\nsqlite='data/moved.db'\n[sources.new]\nsqlite='data/new.db'\n[sources.later]\nsqlite='data/later.db'\n";
    home.write("airkeep.toml", config, 0o600);
    let report = compare(&home, &["1"]);
    let sources: Vec<_> = report["sources"].as_array().unwrap().iter().map(|source| (&source["label"], &source["sides"])).collect();
    assert_eq!(sources, [(&json!("app"), &json!("both")), (&json!("new"), &json!("second"))]);
    assert_eq!(report["sources"][0]["same"], true);
}

#[test]
fn other_commands_find_bundles_as_this_one_does() {
    let (home, _live) = home();
    back_up(&home, &["app.db"]);
    home.folder("elsewhere");
    let bundles = home.bundles();
    let path = |report: &Value| report["bundle"]["path"].as_str().unwrap().to_owned();
    for command in [&["info", "--key-file", "key", "--json"][..], &["verify", "--level", "0", "--json"]] {
        let with = |more: &[&str]| home.json(&[command, more].concat());
        assert_eq!((path(&with(&["latest"])), path(&with(&["1"]))), (bundles[1].clone(), bundles[0].clone()), "{command:?}");
        assert_eq!(path(&with(&["2", "--vault", "./airkeep-vault"])), format!("./{}", bundles[1]), "{command:?}");
    }
    let two = home.json(&["verify", "latest", &bundles[0], "--level", "0", "--json"]);
    assert_eq!(two["bundles"].as_array().unwrap().len(), 2);
    home.refuses(10, "there is no bundle 7 in", &["info", "7"]);
    home.refuses(10, "there is no bundle 7 in", &["verify", "7"]);
    home.refuses(10, "there is no vault", &["info", "latest", "--vault", "elsewhere"]);
    home.refuses(10, "there is no bundle 7 in", &["gap", "export", "7", "--to", "rows", "--key-file", "key"]);
    home.refuses(10, "holds no rows that a restore took away", &["gap", "export", "1", "--to", "rows", "--key-file", "key"]);
    std::fs::copy(home.path(&bundles[0]), home.path("2")).unwrap();
    assert_eq!(path(&home.json(&["verify", "2", "--level", "0", "--json"])), "2", "what is there as a file is that file");
}

#[test]
fn the_exit_code_tells_of_differences_only_if_asked() {
    let (home, live) = home();
    live.execute_batch("INSERT INTO word VALUES('z')").unwrap();
    assert_eq!(home.run(["compare", "1", "--key-file", "key"]).code, 0);
    let run = home.run(["compare", "1", "--key-file", "key", "--exit-code"]);
    assert_eq!((run.code, run.stderr.as_str()), (1, "airkeep: error: the two sides differ\n"));
    assert!(run.stdout.contains("table word: 1 row added\n"), "{}", run.stdout);
    home.refuses(12, "no passphrase or key was given", &["compare", "1"]);
    home.key("other");
    home.refuses(12, "cannot open bundle", &["compare", "1", "--key-file", "other"]);
    home.refuses(10, "there is no bundle 7 in", &["compare", "7", "--key-file", "key"]);
    home.refuses(10, "does not exist", &["compare", "1", "nowhere.akb", "--key-file", "key"]);
}

#[test]
fn ledgers_are_recorded_shown_compared_and_warned_of() {
    let (home, live) = home();
    let source = |report: &Value| report["sources"][0].clone();
    assert_eq!(source(&home.json(&["info", &home.bundles()[0], "--key-file", "key", "--json"])).get("migrations"), None);
    live.execute_batch("CREATE TABLE schema_migrations(version TEXT); INSERT INTO schema_migrations VALUES('20260101'), ('20260102')")
        .unwrap();
    back_up(&home, &["app.db"]);
    let bundle = &home.bundles()[1];
    let info = home.json(&["info", bundle, "--key-file", "key", "--json"]);
    assert_eq!(source(&info)["migrations"], json!({ "table": "schema_migrations", "count": 2, "last": "20260102" }));
    let text = home.succeeds(&["info", bundle, "--key-file", "key"]);
    assert!(text.contains("  migrations 2 in 'schema_migrations', the newest '20260102'\n"), "{text}");

    let plan = |number: &str| {
        let plan = home.json(&["restore", number, "--in-place", "--dry-run", "--key-file", "key", "--vault", "airkeep-vault", "--json"]);
        let warnings = plan["warnings"].as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned());
        warnings.filter(|text| !text.contains("is open in")).collect::<Vec<_>>()
    };
    assert_eq!(plan("2"), Vec::<String>::new());
    live.execute_batch("INSERT INTO schema_migrations VALUES('20260301'); PRAGMA user_version=3").unwrap();
    let report = compare(&home, &["2"]);
    assert_eq!(source(&report)["migrations"]["second"], json!({ "table": "schema_migrations", "count": 3, "last": "20260301" }));
    assert_eq!(source(&compare(&home, &["1"]))["migrations"]["first"], json!(null));
    let warnings = plan("2");
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].contains(
        "app: the snapshot has other migrations than the live database (2 in 'schema_migrations', the newest '20260102'; live 3 "
    ));
    assert!(warnings[1].contains("app: the snapshot's user_version is 0, the live database's 3"));
    assert!(plan("1")[0].contains("(none; live 3 in 'schema_migrations'"));
}

#[test]
fn sizes_are_public_and_with_a_key_compared_with_what_is_in_it() {
    let (home, live) = home();
    live.execute_batch("INSERT INTO word SELECT hex(zeroblob(100000))").unwrap();
    back_up(&home, &["app.db"]);
    let public = home.json(&["size", "--json"]);
    let bytes: Vec<u64> = home.bundles().iter().map(|bundle| home.read(bundle).len() as u64).collect();
    assert_eq!((&public["size_bytes"], &public["source_bytes"]), (&json!(bytes[0] + bytes[1]), &json!(null)));
    assert_eq!((&public["bundles"][1]["size_bytes"], &public["labels"]), (&json!(bytes[1]), &json!([])));
    let known = home.json(&["size", "--json", "--key-file", "key"]);
    let sources: u64 = (0..2).map(|number| known["bundles"][number]["sources"][0]["size_bytes"].as_u64().unwrap()).sum();
    assert_eq!((&known["source_bytes"], &known["labels"][0]["source_bytes"]), (&json!(sources), &json!(sources)));
    assert_eq!(known["labels"][0]["bundles"], 2);
    assert_eq!(home.json(&["size", "2", "--json"])["size_bytes"], json!(bytes[1]));
    assert!(home.succeeds(&["size", "--key-file", "key"]).contains("in all"));
    home.key("other");
    let run = home.run(["size", "--key-file", "other", "--json"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let locked: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!((&locked["size_bytes"], locked["warnings"].as_array().unwrap().len()), (&public["size_bytes"], 2));
    home.refuses(12, "cannot open bundle", &["size", "1", "--key-file", "other"]);
    home.refuses(10, "there is no vault 'nowhere'", &["size", "--vault", "nowhere"]);
}
