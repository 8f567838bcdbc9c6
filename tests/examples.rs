//! The examples run as they stand, one after the other, and stay short.

use std::path::Path;
use std::process::Command;

fn run(example: &str, arguments: &[&Path]) -> String {
    // Cargo builds examples beside the tests before it runs any of them.
    let test = std::env::current_exe().unwrap();
    let program = test.parent().unwrap().parent().unwrap().join("examples").join(example);
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{example}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn backup_verify_and_restore_work_on_a_database() {
    let folder = tempfile::tempdir().unwrap();
    let [database, vault, key, restored] = ["app.db", "vault", "key", "restored"].map(|name| folder.path().join(name));
    std::fs::write(&key, [7; 32]).unwrap();
    let connection = rusqlite::Connection::open(&database).unwrap();
    connection
        .execute_batch("CREATE TABLE audit(id INTEGER PRIMARY KEY, what TEXT); INSERT INTO audit(what) VALUES ('a'), ('b');")
        .unwrap();
    drop(connection);

    let sealed = run("backup", &[&database, &vault, &key]);
    assert!(sealed.starts_with("main: 1 tables, 2 rows, check: ok\n"), "{sealed}");
    let bundle = Path::new(sealed.lines().last().unwrap());
    assert_eq!(run("verify", &[bundle]), "sound at L0\n");
    assert_eq!(run("verify", &[bundle, &key]), "main: ok, proven to L4\nsound at L4\n");
    run("restore", &[bundle, &restored, &key]);
    let copy = rusqlite::Connection::open(restored.join("main.db")).unwrap();
    assert_eq!(copy.query_row("SELECT count(*) FROM audit", [], |row| row.get::<_, i64>(0)).unwrap(), 2);
}

#[test]
fn a_program_guards_its_own_migration() {
    let folder = tempfile::tempdir().unwrap();
    let [database, vault, key] = ["app.db", "vault", "key"].map(|name| folder.path().join(name));
    std::fs::write(&key, [7; 32]).unwrap();
    let connection = rusqlite::Connection::open(&database).unwrap();
    connection.execute_batch("CREATE TABLE task(id INTEGER PRIMARY KEY, title TEXT)").unwrap();
    let version = || connection.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0)).unwrap();
    let migrate = || run("guard_migration", &[&database, &vault, &key]);

    assert!(migrate().ends_with("not migrated, everything is as before: Query returned no rows\n"), "there is no task that has an owner");
    assert_eq!(version(), 0);
    connection.execute("INSERT INTO task(title) VALUES ('Ann')", []).unwrap();
    assert!(migrate().ends_with("migrated\n"));
    assert_eq!(version(), 2);
}

#[test]
fn examples_stay_below_forty_lines() {
    for item in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples")).unwrap() {
        let path = item.unwrap().path();
        assert!(std::fs::read_to_string(&path).unwrap().lines().count() < 40, "{}", path.display());
    }
}
