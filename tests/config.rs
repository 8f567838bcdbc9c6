//! One configuration for a whole system: what it means, and what each error in it says.

mod cli;

use std::path::Path;

use airkeep::config::Config;
use cli::Home;
use rusqlite::Connection;
use serde_json::json;

/// Wrong configurations, and the exact words behind the file's name.
const WRONG: &[(&str, &str)] = &[
    ("set", "1:4: not TOML: expected an equals, found eof"),
    ("set = 'a'\nset = 'b'", "2:1: not TOML: duplicate key: `set`"),
    ("[keys\n", "1:6: not TOML: expected a right bracket, found a newline"),
    ("vault = 'unterminated", "1:9: not TOML: unterminated string"),
    ("vualt = 'x'", "1:1: unknown key 'vualt', did you mean 'vault'?"),
    ("\n\n  sett = 'x'", "3:3: unknown key 'sett', did you mean 'set'?"),
    ("zzz = 1", "1:1: unknown key 'zzz', known are: hook, keys, marking, sealing, set, sources, start, stop, vault"),
    ("[sealing]\ncomplession = 'none'", "2:1: unknown key 'complession', did you mean 'compression'?"),
    ("[sealing]\nhash_tables = true", "2:1: unknown key 'hash_tables', did you mean 'hash-tables'?"),
    ("[keys]\nkey-file = 'x'", "2:1: unknown key 'key-file', did you mean 'key-files'?"),
    ("[keys]\npassphrase = 'secret'", "2:1: unknown key 'passphrase', did you mean 'passphrase-env'?"),
    ("[source.main]\nsqlite = 'x'", "1:2: unknown key 'source', did you mean 'sources'?"),
    ("[sources.main]\nsqlite = 'x'\nrequire = true", "3:1: unknown key 'require', did you mean 'required'?"),
    ("[sources.main]\nsqlite = 'x'\npath = 'x'", "3:1: unknown key 'path', known are: append-only, assert, check, group, required, sqlite"),
    ("set = 1", "1:7: 'set' is a number, expected text"),
    (
        "set = 'Not Allowed'",
        "1:8: 'set': set name 'Not Allowed' is not allowed: it may have a-z, 0-9, '.', '_', '-', begins with a letter or digit, and has at most 64 bytes",
    ),
    ("vault = ''", "1:9: 'vault': it is empty"),
    ("keys = 'x'", "1:9: 'keys' is text, expected a table"),
    ("[keys]\nkey-files = 7", "2:13: 'key-files' is a number, expected text or a list of texts"),
    ("[keys]\nkey-files = ''", "2:13: 'key-files': it is empty"),
    ("[keys]\npassphrase-files = ['a', '']", "2:26: 'passphrase-files': it is empty"),
    ("[sources.main]\nsqlite = 'x'\nappend-only = ['']", "3:16: 'append-only': it is empty"),
    ("[keys]\nkey-files = ['a', 7]", "2:19: 'key-files' is a number, expected text"),
    ("[sealing]\ncompression = 'lzma'", "2:16: 'compression': expected gzip, gzip:1 to gzip:9, zstd, zstd:1 to zstd:19, or none"),
    ("[sealing]\ncheck = 'thorough'", "2:10: 'check': 'thorough' is none of full, quick, none"),
    ("[sealing]\nhash-tables = 'yes'", "2:16: 'hash-tables' is text, expected true or false"),
    ("[sealing]\nbusy-timeout = -1", "2:16: 'busy-timeout': expected 0 to 86400 seconds"),
    ("[sealing]\nbusy-timeout = '5'", "2:17: 'busy-timeout' is text, expected a number of seconds"),
    ("sources = []", "1:11: 'sources' is a list, expected a table"),
    ("[sources]\nmain = 'x'", "2:9: 'main' is text, expected a table"),
    ("[sources.main]", "1:1: 'main': it has none of the keys 'sqlite', 'files', 'env'"),
    ("[sources.main]\nsqlite = 'x'\nenv = '.env'", "1:1: 'main': 'sqlite' and 'env' are two sources, each with a table of its own"),
    (
        "[sources.main]\nsqlite = 'x'\nassert = ['tasks']",
        "3:12: 'assert': 'tasks' is neither a query nor a number of rows, as 'tasks >= 10000'",
    ),
    ("[sources.main]\nsqlit = 'x'", "2:1: unknown key 'sqlit', did you mean 'sqlite'?"),
    ("[sources.main]\nsqlite = 'x'\ncheck = 'node mc.js'", "3:10: 'check' is text, expected a list of texts"),
    ("[sources.main]\nsqlite = 'x'\ncheck = []", "1:1: 'check': it names no program"),
    ("[sources.logs]\nfiles = 'logs/'", "2:10: 'files': 'logs/' names a folder; 'logs/**/*' stands for all files in it"),
    ("[sources.logs]\nfiles = ['../x']", "2:9: 'files': '../x' leads upward with '..'"),
    ("[sources.logs]\nfiles = []", "2:9: 'files': no pattern is given"),
    ("[sources.logs]\nfiles = 'a*'\nnewer-than = 'week'", "3:15: 'newer-than': expected a span of time, as 12h or 7d"),
    ("[sources.logs]\nfiles = 'a*'\nmax-size = '10 pounds'", "3:13: 'max-size': expected a number of bytes, as 500M or 20G"),
    (
        "[sources.logs]\nfiles = 'a*'\nredact = 'X*'",
        "3:1: unknown key 'redact', known are: exclude, files, max-file-size, max-size, newer-than, required",
    ),
    ("[sources.env]\nenv = '.env'\nnewer-than = '7d'", "3:1: unknown key 'newer-than', known are: env, exclude, keep, redact, required"),
    (
        "[sources.\"tenants/*\"]\nfiles = 'a*'",
        "1:1: 'tenants/*': label 'tenants/*' is not allowed: it may have a-z, 0-9, '.', '_', '-', begins with a letter or digit, and has at most 64 bytes",
    ),
    (
        "[sources.Main]\nsqlite = 'x'",
        "1:1: 'Main': label 'Main' is not allowed: it may have a-z, 0-9, '.', '_', '-', begins with a letter or digit, and has at most 64 bytes",
    ),
    (
        "[sources.\"../up\"]\nsqlite = 'x'",
        "1:1: '../up': label '../up' is not allowed: it may have a-z, 0-9, '.', '_', '-', begins with a letter or digit, and has at most 64 bytes",
    ),
    ("[sources.main]\nsqlite = 'data/*.db'", "1:1: 'main': a pattern needs the name \"tenants/*\""),
    (
        "[sources.\"tenants/*\"]\nsqlite = 'x.db'",
        "1:1: 'tenants/*': the path of 'tenants/*' needs a '*' in the file's name, which becomes the label",
    ),
    (
        "[sources.main]\nsqlite = 'sqlite:///x.db'",
        "2:11: 'sqlite': 'sqlite:///x.db' means 'relative' to some libraries and 'absolute' to others; write the path",
    ),
    ("[sources.main]\nsqlite = 'sqlite::memory:'", "2:11: 'sqlite': 'sqlite::memory:' names no file"),
    ("[keys]\npassphrase-env = 7", "2:18: 'passphrase-env' is a number, expected text"),
    ("[keys]\npassphrase-env = ''", "2:18: 'passphrase-env': it is empty"),
    (
        "[keys]\npassphrase-env = 'correct horse'",
        "2:19: 'passphrase-env': expected the name of an environment variable: letters, digits and '_'",
    ),
    ("[keys]\npassphrase-env = '7UP'", "2:19: 'passphrase-env': expected the name of an environment variable: letters, digits and '_'"),
    ("[keys]\npassphrase-enf = 'X'", "2:1: unknown key 'passphrase-enf', did you mean 'passphrase-env'?"),
    ("[keys]\ncredential = '../x'", "2:15: 'credential': expected the name of a service credential, without '/'"),
    ("[keys]\ncredential = ['x']", "2:14: 'credential' is a list, expected text"),
    ("[sealing]\niterations = '600000'", "2:15: 'iterations' is text, expected a whole number"),
    ("[sealing]\niterations = 600000.0", "2:14: 'iterations' is a number, expected a whole number"),
    ("[sealing]\niterations = 599999", "2:14: 'iterations': expected 600000 to 10000000 iterations"),
    ("[sealing]\niterations = 10000001", "2:14: 'iterations': expected 600000 to 10000000 iterations"),
    ("marking = 7", "1:11: 'marking' is a number, expected text or a table"),
    ("marking = ''", "1:11: 'marking': it is empty"),
    ("marking = 'FOUO'", "1:12: 'marking': a marking begins with CUI or CONTROLLED, not with 'FOUO'"),
    (
        "marking = 'CUI//CTI/SP-EXPT'",
        "1:12: 'marking': 'SP-EXPT' stands behind 'CTI': each category once, Specified (SP-) first, and both by the alphabet",
    ),
    ("[marking]\ncontroled-by = 'x'", "1:1: 'marking' has no key 'controlled-by'"),
    ("[marking]\nbanner = 'CUI//CTI'", "2:11: 'banner': 'CUI//CTI' is none of CUI"),
    ("[marking]\ncontrolled-by = 'a'", "1:1: 'marking' has no key 'category'"),
    ("[marking]\ncontrolled-by = 'a'\ncategory = 7", "3:12: 'category' is a number, expected text or a list of texts"),
    ("[marking]\ncontrolled-by = 'a'\ncategory = 'CTI'", "1:1: 'marking' has no key 'poc'"),
    (
        "[marking]\ncontrolled-by = 'a; b'\ncategory = 'CTI'\npoc = 'c'",
        "1:1: 'marking': 'a; b' cannot stand behind 'Controlled by: ': it must not be empty, begin or end with a blank, or hold ';' or a control character",
    ),
    (
        "[marking]\ncontrolled-by = 'a'\ncategory = 'CTI'\npoc = 'c'\ndistribuition = 'D'",
        "5:1: unknown key 'distribuition', did you mean 'distribution'?",
    ),
];

#[test]
fn each_error_names_its_place_and_what_was_expected() {
    let mut wrong = Vec::new();
    for (text, expected) in WRONG {
        let error = Config::parse(Path::new("airkeep.toml"), text).expect_err(text).to_string();
        if error != format!("airkeep.toml:{expected}") {
            wrong.push(format!("{text:?}\n  {error}\n  airkeep.toml:{expected}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A system: a main database with an audit table, and tenants.
fn system(more: &str) -> Home {
    let home = Home::new();
    home.key("key");
    for folder in ["data", "data/tenants"] {
        home.folder(folder);
    }
    for name in ["main", "tenants/acme", "tenants/beta"] {
        let database = Connection::open(home.path(format!("data/{name}.db"))).unwrap();
        database.execute_batch("CREATE TABLE audit(id INTEGER PRIMARY KEY); INSERT INTO audit VALUES(1)").unwrap();
    }
    let text = "set = 'plant'\nvault = 'vault'\n[keys]\nkey-files = ['key']\n[sources.main]\nsqlite = 'file:data/main.db?mode=ro'\nrequired = true\n\
        append-only = 'audit'\n[sources.\"tenants/*\"]\nsqlite = 'data/tenants/*.db'\n";
    home.write("airkeep.toml", format!("{text}{more}"), 0o600);
    home
}

#[test]
fn a_backup_without_a_word_takes_all_and_words_choose() {
    let home = system("");
    let labels = |arguments: &[&str]| {
        let report = home.json(&[&["backup", "--json"], arguments].concat());
        assert_eq!(report["bundle"]["set"]["name"], "plant");
        report["sources"].as_array().unwrap().iter().map(|source| source["label"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(labels(&[]), ["main", "tenants/acme", "tenants/beta"]);
    assert_eq!(labels(&["tenants/*"]), ["tenants/acme", "tenants/beta"]);
    assert_eq!(labels(&["tenants/beta", "main"]), ["main", "tenants/beta"]);
    assert_eq!(labels(&["tenants/b*", "m?in"]), ["main", "tenants/beta"]);
    assert_eq!(labels(&["data/main.db"]), ["main"], "the name of a file is a file");
    assert_eq!(home.json(&["audit", "continuity", "--json"])["tables"].as_array().unwrap().len(), 1, "the audit table is watched");
    let mut below = home.airkeep(["list", "--json"]);
    let run = cli::finish(below.current_dir(home.path("data/tenants")));
    assert_eq!(run.code, 0, "found upward: {}", run.stderr);
    home.refuses(10, "'tenants/gamma' is neither a source of airkeep.toml nor a file", &["backup", "main", "tenants/gamma"]);
    home.database("else.db");
    assert_eq!(labels(&["main", "other=else.db"]), ["other", "main"], "words of both kinds");
}

#[test]
fn what_is_not_required_may_be_missing_and_is_told() {
    let home = system("[sources.late]\nsqlite = 'data/late.db'\n");
    home.write("data/tenants/Not A Slug.db", "", 0o600);
    home.write("data/tenants/broken.db", "no database", 0o600);
    let run = home.run(["backup", "--json"]);
    assert_eq!(run.code, 3, "{}", run.stderr);
    for words in
        ["source 'late' is not in this bundle", "source 'tenants/broken' is not in this bundle", "Not A Slug.db' cannot become a label"]
    {
        assert!(run.stderr.contains(words), "{words}: {}", run.stderr);
    }
    let report: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(report["sources"].as_array().unwrap().len(), 3);
    std::fs::remove_file(home.path("data/main.db")).unwrap();
    home.refuses(10, "cannot back up 'main'", &["backup"]);
    home.refuses(10, "no source could be captured", &["backup", "late"]);
    home.refuses(10, "does not exist", &["config", "check"]);
}

#[test]
fn a_watched_table_that_is_gone_or_out_of_reach_stops_no_backup() {
    let home = system("[sources.late]\nsqlite = 'data/late.db'\nappend-only = 'hooks'\n");
    let run = home.run(["backup"]);
    assert!(run.code == 3 && run.stderr.contains("source 'late' is not in this bundle"), "{}", run.stderr);
    let late = Connection::open(home.path("data/late.db")).unwrap();
    late.execute_batch("CREATE TABLE other(x)").unwrap();
    home.refuses(10, "no source 'late' has a table 'hooks'", &["backup"]);
    late.execute_batch("CREATE TABLE hooks(id INTEGER PRIMARY KEY); INSERT INTO hooks VALUES(1)").unwrap();
    home.succeeds(&["backup"]);
    late.execute_batch("ALTER TABLE hooks RENAME TO hooks_2").unwrap();
    let run = home.run(["backup"]);
    assert!(run.code == 3 && run.stderr.contains("the table with the 1 rows that backup 2 sealed is gone"), "{}", run.stderr);
    // Told once; from then on it is not missed again.
    assert_eq!(home.run(["backup"]).code, 0);
}

#[test]
fn a_group_is_cut_without_members_that_are_missing_and_not_required() {
    let home = system("[sources.one]\nsqlite = 'data/one.db'\ngroup = 'g'\n[sources.late]\nsqlite = 'data/late.db'\ngroup = 'g'\n");
    drop(home.database("data/one.db"));
    let run = home.run(["backup", "--json"]);
    assert!(run.code == 3 && run.stderr.contains("source 'late' is not in this bundle: database "), "{}", run.stderr);
    let report: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    let labels: Vec<&str> = report["sources"].as_array().unwrap().iter().map(|source| source["label"].as_str().unwrap()).collect();
    assert_eq!(labels, ["main", "tenants/acme", "tenants/beta", "one"]);
    assert_eq!(report["sources"][3]["consistency"], "group:g");
    home.refuses(10, "no source could be captured", &["backup", "late"]);
}

#[test]
fn flags_count_more_than_the_configuration() {
    let home = system("[sealing]\ncompression = 'none'\n");
    assert_eq!(home.json(&["backup", "--json"])["compression"], "none");
    assert_eq!(home.json(&["backup", "--json", "--compression", "gzip:1"])["compression"], "gzip:1");
    let other = home.json(&["backup", "--json", "--vault", "other"]);
    assert!(other["bundle"]["path"].as_str().unwrap().starts_with("other/"));
    home.key("second");
    home.refuses(12, "do not open the newest bundle", &["backup", "--key-file", "second"]);
    let mut elsewhere = home.airkeep(["list", "--json"]);
    let run = cli::finish(elsewhere.current_dir("/").env("AIRKEEP_CONFIG", home.path("airkeep.toml")));
    assert_eq!(run.code, 0, "{}", run.stderr);
    home.refuses(10, "cannot use configuration", &["list", "--config", "nowhere.toml"]);
}

#[test]
fn a_configuration_that_others_could_have_written_is_not_believed() {
    let home = system("");
    home.chmod("airkeep.toml", 0o666);
    home.refuses(2, "could have been written by others: its mode is 666", &["list"]);
    home.chmod("airkeep.toml", 0o620);
    home.refuses(2, "its mode is 620", &["backup"]);
    home.chmod("airkeep.toml", 0o644);
    home.succeeds(&["backup", "-q"]);
    if cli::is_root() {
        std::os::unix::fs::chown(home.path("airkeep.toml"), Some(65534), None).unwrap();
        home.refuses(2, "it belongs to account 65534", &["list"]);
        std::os::unix::fs::chown(home.path("airkeep.toml"), Some(0), None).unwrap();
        let folder = |uid: u32, gid: u32, mode: u32| {
            std::os::unix::fs::chown(home.path(""), Some(uid), Some(gid)).unwrap();
            home.chmod("", mode);
        };
        folder(65534, 0, 0o700);
        home.refuses(2, "' belongs to account 65534", &["list"]);
        folder(65534, 0, 0o1777);
        home.refuses(2, "' belongs to account 65534", &["list"]);
        folder(0, 65534, 0o770);
        home.refuses(2, "group 65534 can write to '", &["list"]);
        folder(0, 65534, 0o1777);
        home.succeeds(&["list"]);
        folder(0, 65534, 0o755);
        home.succeeds(&["list"]);
        // Whoever can rename a folder above can put another one in its place.
        home.folder("above");
        home.folder("above/below");
        std::fs::copy(home.path("airkeep.toml"), home.path("above/below/airkeep.toml")).unwrap();
        std::os::unix::fs::chown(home.path("above"), Some(65534), None).unwrap();
        home.refuses(2, "above' belongs to account 65534", &["list", "--config", "above/below/airkeep.toml"]);
        // The group that is this account's own has nobody else in it.
        folder(0, 0, 0o775);
        home.succeeds(&["list"]);
    }
    home.chmod("", 0o777);
    home.refuses(2, "everybody can write to '", &["list"]);
    home.chmod("", 0o700);
    let fifo = (rustix::fs::FileType::Fifo, rustix::fs::Mode::from_raw_mode(0o600));
    rustix::fs::mknodat(rustix::fs::CWD, home.path("pipe.toml"), fifo.0, fifo.1, 0).unwrap();
    assert_eq!(home.run(["list", "--config", "pipe.toml"]).code, 2, "nobody waits for who never writes");
    home.write("large.toml", "#".repeat(2 << 20), 0o600);
    assert_ne!(home.run(["list", "--config", "large.toml"]).code, 0);
    assert_eq!(home.run(["recover-text"]).code, 0, "what is for the worst day depends on no file");
}

#[test]
fn commands_are_looked_for_beside_the_configuration() {
    let home = Home::new();
    home.database("app.db");
    home.key("key");
    home.folder("it's {odd}");
    home.folder("work");
    let text = "vault = '../vault'\nhook = './note.sh \"{event}\"'\n[keys]\nkey-files = '../key'\n[sources.app]\nsqlite = '../app.db'\n";
    home.write("it's {odd}/airkeep.toml", text, 0o600);
    home.write("it's {odd}/note.sh", "#!/bin/sh\necho \"$1\" >> told\n", 0o700);
    let mut backup = home.airkeep(["backup", "--config", "../it's {odd}/airkeep.toml"]);
    let run = cli::finish(backup.current_dir(home.path("work")));
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(String::from_utf8(home.read("work/told")).unwrap().contains("backup"));
    for key in ["hook", "stop", "start"] {
        home.write("airkeep.toml", format!("{key} = \"log 'x\""), 0o600);
        let words = format!("airkeep.toml: '{key}': the command line has a ' that is not closed");
        home.refuses(2, &words, &["config", "check"]);
    }
}

#[test]
fn what_cannot_be_read_says_why() {
    let home = system("");
    let causes = |name: &str| home.run(["list", "--config", name]).stderr;
    assert!(causes("nowhere.toml").contains("No such file or directory"), "{}", causes("nowhere.toml"));
    home.write("latin.toml", b"set = '\xe4'\n", 0o600);
    assert!(causes("latin.toml").contains("UTF-8"), "{}", causes("latin.toml"));
    if !cli::is_root() {
        home.write("closed.toml", "", 0o000);
        assert!(causes("closed.toml").contains("Permission denied"), "{}", causes("closed.toml"));
    }
}

#[test]
fn check_and_show_tell_what_it_means() {
    let home = system("");
    assert!(home.succeeds(&["config", "check"]).starts_with("ok        "));
    let shown = home.json(&["config", "show", "--json"]);
    let labels = |place: usize| {
        shown["config"]["sources"][place]["databases"].as_array().unwrap().iter().map(|d| d["label"].clone()).collect::<Vec<_>>()
    };
    assert_eq!((labels(0), labels(1)), (vec![json!("main")], vec![json!("tenants/acme"), json!("tenants/beta")]));
    let empty = Home::new();
    empty.refuses(10, "there is no airkeep.toml", &["config", "show"]);
    empty.write("airkeep.toml", "set = 'plant'\n", 0o600);
    let run = empty.run(["config", "check"]);
    assert!(run.code == 0 && run.stderr.contains("it names no sources"), "{}", run.stderr);
}

#[test]
fn show_leaves_nothing_out() {
    let home = system(
        "[sources.more]\nsqlite = 'data/more.db'\ngroup = 'g'\nassert = ['account > 1', 'note = 0']\ncheck = ['true', '{path}']\n\
        [sources.plain]\nfiles = ['data/*', 'vault/*']\n[sealing]\ncompression = 'zstd:3'\nscratch = 'data'\nbusy-timeout = 7\n",
    );
    drop(home.database("data/more.db"));
    home.write("data/notes.txt", "x", 0o600);
    home.succeeds(&["backup", "main"]);
    let text = String::from_utf8(home.read("airkeep.toml")).unwrap();
    home.write("airkeep.toml", format!("hook = 'true {{event}}'\nstop = 'true'\nstart = './go now'\n{text}"), 0o600);
    home.write("go", "", 0o700);
    let shown = home.succeeds(&["config", "show"]);
    for words in [
        "\nhook      true {event}\n",
        "\nstop      true\n",
        "/go now\n",
        "\nsealing   compression zstd:3\n",
        "waits 7 s",
        "scratch in '",
        "more.db, group g\n",
        "append-only: audit\n",
        "assert: account > 1\n",
        "check: true {path}\n",
        "plain: 1 file in ",
    ] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    let config = &home.json(&["config", "show", "--json"])["config"];
    assert_eq!((&config["hook"], &config["stop"]), (&json!("true {event}"), &json!("true")));
    assert_eq!((&config["sealing"]["compression"], &config["sealing"]["busy_timeout_seconds"]), (&json!("zstd:3"), &json!(7.0)));
    let more = &config["sources"][2];
    assert_eq!(
        (&more["group"], &more["demands"], &more["check"]),
        (&json!("g"), &json!(["account > 1", "note = 0"]), &json!(["true", "{path}"]))
    );
    assert_eq!(config["sources"][3]["files"].as_array().unwrap().len(), 1, "databases, vault and keys are not counted");
}

#[test]
fn check_finds_what_would_fail() {
    let home = system("");
    home.write("short", "brief", 0o600);
    home.write("open", "a passphrase that is long enough", 0o644);
    home.write("list.json", "{}", 0o600);
    home.write("data/text.db", "this is no database at all, and long enough", 0o600);
    home.write("stop.sh", "", 0o600);
    for (top, keys, more, words) in [
        ("", "signing-key = 'nowhere'", "", "signing key '"),
        ("", "", "[sealing]\nscratch = 'nowhere'", "scratch folder '"),
        ("", "", "[sources.a]\nsqlite = 'data/main.db'\nappend-only = 'nowhere.json'", "No such file"),
        ("", "", "[sources.a]\nsqlite = 'list.json'\nappend-only = 'list.json'", "as a list of append-only tables"),
        ("stop = './stop.sh'", "", "", "'stop': program '"),
        ("start = 'no-such-program x'", "", "", "'start': program 'no-such-program' is not on PATH"),
        ("hook = 'nowhere/log'", "", "", "nowhere/log' does not exist"),
        ("", "", "[sources.a]\nsqlite = 'app.db'\ncheck = ['no-such-program']", "source 'a': 'check': program 'no-such-program'"),
        ("", "", "[sources.a]\nsqlite = 'data/main.db'", "sources 'main' and 'a' are the same file"),
        ("", "passphrase-files = 'open'", "", "can be read by others (mode 644)"),
        ("", "passphrase-files = 'short'", "", "short': "),
        ("", "passphrase-files = 'stop.sh'", "", "stop.sh'"),
        ("", "", "[sources.a]\nsqlite = 'data/text.db'", "is not a SQLite database"),
        ("", "", "[sources.a]\nfiles = 'data/*.db'\n[sources.b]\nfiles = '*.json'\nmax-size = '1'", "source 'b': its files have 2 bytes"),
    ] {
        home.write("airkeep.toml", CHECKED.replace("TOP", top).replace("KEYS", keys) + more, 0o600);
        home.refuses(10, words, &["config", "check"]);
        assert!(home.run(["config", "show"]).stderr.contains(words));
    }
    home.write("airkeep.toml", CHECKED.replace("TOP", "").replace("KEYS", ""), 0o600);
    home.succeeds(&["config", "check"]);
    home.succeeds(&["backup"]);
    home.write("airkeep.toml", CHECKED.replace("TOP", "").replace("KEYS", "").replace("'plant'", "'other'"), 0o600);
    home.refuses(10, "plant", &["config", "check"]);
    home.write("airkeep.toml", CHECKED.replace("TOP", "stop = 'nowhere/a'").replace("KEYS", "signing-key = 'nowhere'"), 0o600);
    let run = home.run(["config", "check"]);
    assert!(run.stderr.contains("signing key") && run.stderr.contains("nowhere/a"), "all is told: {}", run.stderr);
}

const CHECKED: &str = "set = 'plant'\nvault = 'vault'\nTOP\n[keys]\nkey-files = ['key']\nKEYS\n[sources.main]\nsqlite = 'data/main.db'\n";

#[test]
fn the_newest_is_the_newest_that_holds_what_is_wanted() {
    let home = system("");
    for words in [&[][..], &["main"], &["tenants/acme"]] {
        home.succeeds(&[&["backup", "-q"], words].concat());
    }
    let taken = |arguments: &[&str]| home.json(&[arguments, &["--json"]].concat())["bundle"]["sequence"].clone();
    assert_eq!(taken(&["restore", "latest", "tenants/acme", "--to", "out1"]), 3);
    assert_eq!(taken(&["restore", "latest", "main", "--to", "out2"]), 2);
    assert_eq!(taken(&["restore", "latest", "main", "tenants/beta", "--to", "out3"]), 1);
    assert_eq!(taken(&["restore", "--before", "2999-01-01", "main", "--to", "out4"]), 2);
    assert_eq!(taken(&["extract", "latest", "tenants/beta", "--to", "out5"]), 1);
    assert_eq!(taken(&["restore", "3", "--to", "out6"]), 3);
    assert_eq!(home.json(&["compare", "latest", "--label", "tenants/beta", "--json"])["first"]["sequence"], 1);
    home.refuses(
        10,
        "there is no bundle with main, late (safety and imported ones are passed over) in",
        &["restore", "latest", "main", "late", "--to", "x"],
    );
    for arguments in [&["latest", "--to", "out7"][..], &["--before", "2999-01-01", "--to", "out8"], &["latest", "--in-place", "--dry-run"]]
    {
        let run = home.run([&["restore"], arguments].concat());
        for words in ["number 3 has not: main; the newest with it is 2", "number 3 has not: tenants/beta; the newest with it is 1"] {
            assert!(run.code == 0 && run.stderr.contains(words), "{arguments:?}: {}", run.stderr);
        }
    }
    home.succeeds(&["backup", "-q"]);
    assert!(!home.run(["restore", "latest", "--to", "out9"]).stderr.contains("has not"));
    // What nobody remembers counts: it may be all that is left.
    std::fs::remove_file(home.path("vault/journal.jsonl")).unwrap();
    assert_eq!(taken(&["restore", "latest", "main", "--to", "out10"]), 4);
}

#[test]
fn bundles_have_names_that_need_no_path() {
    let home = system("");
    for number in 2..=4 {
        home.succeeds(&["backup", "-q"]);
        let database = Connection::open(home.path("data/main.db")).unwrap();
        database.execute("INSERT INTO audit VALUES(?1)", [number]).unwrap();
    }
    let rows = || -> i64 {
        Connection::open(home.path("data/main.db")).unwrap().query_row("SELECT count(*) FROM audit", [], |row| row.get(0)).unwrap()
    };
    home.succeeds(&["restore", "2", "main", "--in-place", "--force"]);
    assert_eq!(rows(), 2);
    home.succeeds(&["restore", "latest", "main", "--in-place", "--force"]);
    assert_eq!(rows(), 3, "safety bundles are not meant");
    home.succeeds(&["restore", "4", "main", "--in-place", "--force"]);
    assert_eq!(rows(), 4, "but have numbers: this is the state before the first restore");
    home.refuses(10, "there is no bundle 17 in", &["restore", "17", "--in-place", "--force"]);
    home.refuses(10, "there is no bundle with main from before 2001-01-01", &["restore", "--before", "2001-01-01", "main", "--to", "old"]);
    home.succeeds(&["restore", "--before", "2999-01-01", "main", "--to", "new"]);
    assert!(home.path("new/main.db").exists() && !home.path("new/tenants").exists());
    home.refuses(2, "label 'Main' is not allowed", &["restore", "--before", "2999-01-01", "Main", "--to", "other"]);
    home.succeeds(&["restore", "latest", "--in-place", "--force"]);
    assert_eq!(rows(), 3, "all databases go back where the configuration says");
}
