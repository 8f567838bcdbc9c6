//! Comparisons against what random changes are known to have done.

use std::collections::BTreeMap;

use super::*;

/// A linear congruential generator: the same changes in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

fn changes(first: &Connection, second: &Connection) -> ContentChanges {
    let space = ScratchSpace::new(std::env::temp_dir(), |key| key.fill(7)).with_memory_limit(0);
    let side = |connection| Compared { connection, known: BTreeMap::new() };
    content_changes(&side(first), &side(second), &space, &|| false).unwrap()
}

const SCHEMA: &str = "CREATE TABLE a(id INTEGER PRIMARY KEY, v); CREATE TABLE b(v, x, y TEXT, PRIMARY KEY(x, y)) WITHOUT ROWID;
    CREATE TABLE c(id TEXT PRIMARY KEY, v); CREATE TABLE m(v);";

/// Keys of the three tables that have some, and the values of the one that has none; a value by its key, a count by its value.
type Model = [BTreeMap<u64, u64>; 4];

fn random(dice: &mut Dice, from: Option<&Model>) -> Model {
    let mut model: Model = from.cloned().unwrap_or_default();
    for _ in 0..dice.below(25) {
        let (table, key, value) = (dice.below(4) as usize, dice.below(12), dice.below(4));
        match (dice.below(3), table) {
            (0, _) => drop(model[table].remove(&key)),
            (_, 3) => *model[3].entry(value).or_default() += 1,
            _ => drop(model[table].insert(key, value)),
        }
    }
    model
}

fn database(dice: &mut Dice, model: &Model) -> Connection {
    let connection = Connection::open_in_memory().unwrap();
    connection.execute_batch(SCHEMA).unwrap();
    let inserts = ["INSERT INTO a VALUES(?1, ?2)", "INSERT INTO b VALUES(?2, ?1 % 3, ?1)", "INSERT INTO c VALUES('k' || ?1, ?2)"];
    for (sql, rows) in inserts.iter().zip(model) {
        let mut rows: Vec<_> = rows.iter().collect();
        // The order in which rows came is no difference.
        let places = dice.below(rows.len().max(1) as u64) as usize;
        rows.rotate_left(places);
        for (key, value) in rows {
            connection.execute(sql, [*key as i64, *value as i64]).unwrap();
        }
    }
    for (value, count) in &model[3] {
        for _ in 0..*count {
            connection.execute("INSERT INTO m VALUES(?1)", [*value as i64]).unwrap();
        }
    }
    connection
}

/// Added, removed, changed, common.
fn expected(table: usize, first: &BTreeMap<u64, u64>, second: &BTreeMap<u64, u64>) -> [u64; 4] {
    let mut counts = [0; 4];
    let keys: BTreeSet<&u64> = first.keys().chain(second.keys()).collect();
    for key in keys {
        let (one, other) = (first.get(key), second.get(key));
        if table == 3 {
            let (one, other) = (one.copied().unwrap_or(0), other.copied().unwrap_or(0));
            counts[0] += other.saturating_sub(one);
            counts[1] += one.saturating_sub(other);
            counts[3] += one.min(other);
            continue;
        }
        let place = match (one, other) {
            (None, _) => 0,
            (_, None) => 1,
            (Some(one), Some(other)) => {
                if one == other {
                    3
                } else {
                    2
                }
            }
        };
        counts[place] += 1;
    }
    counts
}

#[test]
fn random_changes_are_counted_exactly() {
    let mut dice = Dice(20_261_121);
    for _ in 0..150 {
        let one = random(&mut dice, None);
        let other = random(&mut dice, Some(&one));
        let found = changes(&database(&mut dice, &one), &database(&mut dice, &other));
        assert!(found.objects.is_empty());
        for (table, name) in ["a", "b", "c", "m"].into_iter().enumerate() {
            let expected = expected(table, &one[table], &other[table]);
            let told = found.tables.iter().find(|told| told.name == name);
            assert_eq!(told.is_some(), expected[..3] != [0; 3], "{name}: {one:?} {other:?}");
            let Some(told) = told else { continue };
            let rows = told.rows.as_ref().unwrap();
            assert_eq!([rows.added, rows.removed, rows.changed, rows.common], expected, "{name}: {one:?} {other:?}");
            assert_eq!((&told.doubt, told.sides), (&None, Sides::Both));
            assert_eq!(told.first_rows, Some(expected[1..].iter().sum()));
        }
        assert_eq!(found.same_tables as usize, 4 - found.tables.len());
    }
}

#[test]
fn a_table_in_other_letters_is_the_same_table_with_another_schema() {
    let [one, other] = ["CREATE TABLE T(a); INSERT INTO t VALUES(1)", "CREATE TABLE t(a); INSERT INTO t VALUES(1), (2)"].map(|sql| {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(sql).unwrap();
        connection
    });
    let found = changes(&one, &other);
    assert_eq!((found.objects.len(), found.tables.len()), (1, 1));
    let table = &found.tables[0];
    assert_eq!((table.is_schema_changed, table.rows.as_ref().map(|rows| (rows.added, rows.common))), (true, Some((1, 1))));
}

#[test]
fn a_table_and_a_view_of_one_name_are_a_table_less_and_a_view_more() {
    let [one, other] = ["CREATE TABLE t(a); INSERT INTO t VALUES(1)", "CREATE VIEW t AS SELECT 1 AS a"].map(|sql| {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(sql).unwrap();
        connection
    });
    let found = changes(&one, &other);
    let objects: Vec<_> = found.objects.iter().map(|object| (object.kind.as_str(), object.first.is_some())).collect();
    assert_eq!(objects, [("table", true), ("view", false)]);
    assert_eq!((found.tables.len(), found.tables[0].sides, found.tables[0].first_rows), (1, Sides::First, Some(1)));
    assert!(changes(&one, &one).is_empty() && changes(&other, &other).is_empty());
}
