#!/usr/bin/env python3
"""Random histories of append-only tables, and what a restore would take away, by plain Python and SQL.

    gap_oracle.py FOLDER FIRST COUNT      makes FOLDER/N/{snapshot.db,live.db,expected.json} for each seed N

Shares no code with the program: rows are compared as whole lists in memory.
"""
import collections
import json
import math
import os
import random
import shutil
import sqlite3
import struct
import sys

SCHEMAS = {
    "alias": ("id INTEGER PRIMARY KEY, at TEXT, what", ["id"], True),
    "auto": ("id INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT, what", ["id"], True),
    "uuid": ("id TEXT PRIMARY KEY, at TEXT, what", ["id"], False),
    "folded": ("id TEXT COLLATE NOCASE PRIMARY KEY, at TEXT, what", ["id"], False),
    "pair": ("at TEXT, what, a TEXT, b INTEGER, PRIMARY KEY(b, a)", ["b", "a"], False),
    "tight": ("at TEXT, what, a TEXT, b INTEGER, PRIMARY KEY(b DESC, a)", ["b", "a"], False),
    "bare": ("at TEXT, what", [], False),
    "real": ("id REAL PRIMARY KEY, at TEXT, what", ["id"], False),
}


def q(name):
    return '"' + name.replace('"', '""') + '"'


class History:
    def __init__(self, seed, path):
        self.r = random.Random(seed)
        self.db = sqlite3.connect(path, isolation_level=None)
        self.db.execute(f"PRAGMA encoding='{self.r.choice(['UTF-8', 'UTF-8', 'UTF-16le', 'UTF-16be'])}'")
        self.db.execute("PRAGMA synchronous=OFF")
        self.db.execute(f"PRAGMA page_size={self.r.choice([512, 1024, 4096])}")
        self.kinds = {}
        self.next = 0
        for kind in self.r.sample(sorted(SCHEMAS), self.r.randint(2, 5)):
            self.create(kind)

    def create(self, kind):
        self.next += 1
        name = f'{kind} "{self.next}'
        tail = " WITHOUT ROWID" if kind == "tight" else ""
        self.db.execute(f"CREATE TABLE {q(name)}({SCHEMAS[kind][0]}){tail}")
        if self.r.random() < 0.5:
            for event in ("UPDATE", "DELETE"):
                self.db.execute(f"CREATE TRIGGER {q(name + event)} BEFORE {event} ON {q(name)} BEGIN SELECT RAISE(ABORT, 'append only'); END")
        self.kinds[name] = kind

    def value(self):
        r = self.r
        return r.choice([
            None, r.randint(-3, 3), r.randint(-2**63, 2**63 - 1), 2**53 + r.randint(-1, 1), r.random(), -0.0, 0.0, 1.0, math.inf, -math.inf,
            "", "text", "é\U0001f512\n", "a\0b", str(r.randint(0, 3)), b"", b"\xff\0", r.randbytes(r.randint(0, 2000)), "x" * r.randint(0, 900)])

    def row(self, kind):
        r = self.r
        at = r.choice(["2026-11-20 21:55:%02d" % r.randint(0, 59), "2026-11-20T21:55:%02dZ" % r.randint(0, 59), None, "soon"])
        row = {"at": at, "what": self.value()}
        if kind in ("uuid", "folded"):
            row["id"] = r.choice([None, "%08x" % r.getrandbits(32), "%X" % r.randint(0, 40), "%x" % r.randint(0, 40)])
        elif kind == "real":
            row["id"] = r.choice([None, r.randint(0, 40), r.random(), -0.0, 0.0, "words", b"w"])
        elif kind in ("pair", "tight"):
            row["a"], row["b"] = r.choice("pqrst") * r.randint(1, 3), r.choice([r.randint(0, 9), r.randint(0, 9), "t", 0.5])
            if kind == "pair" and r.random() < 0.1:
                row["b"] = None
        elif kind in ("alias", "auto") and r.random() < 0.1:
            row["id"] = r.choice([r.randint(-5, 60), r.randint(-5, 60), r.randint(100, 2**40)])
        return row

    def insert(self, name, verb="INSERT OR IGNORE"):
        row = self.row(self.kinds[name])
        if self.r.random() < 0.15:
            row = {"at": "2026-11-20 00:00:00", "what": "same"} | {k: v for k, v in row.items() if k not in ("at", "what")}
        columns = [c[1] for c in self.db.execute(f"PRAGMA table_info({q(name)})")]
        row = {k: v for k, v in row.items() if k in columns}
        for extra in columns:
            if extra.startswith("added") and self.r.random() < 0.5:
                row[extra] = self.value()
        names = ",".join(map(q, row)) or q(columns[0])
        marks = ",".join("?" * len(row)) or "NULL"
        self.db.execute(f"{verb} INTO {q(name)}({names}) VALUES ({marks})", list(row.values()))

    def past_triggers(self, statement):
        """As an attacker or a repair would."""
        triggers = self.db.execute("SELECT name, sql FROM sqlite_schema WHERE type='trigger'").fetchall()
        for name, _ in triggers:
            self.db.execute(f"DROP TRIGGER {q(name)}")
        try:
            statement()
        except sqlite3.Error:
            pass
        for _, sql in triggers:
            try:
                self.db.execute(sql)
            except sqlite3.Error:
                pass

    def step(self):
        r = self.r
        if not self.kinds:
            return self.create(r.choice(sorted(SCHEMAS)))
        name = r.choice(sorted(self.kinds))
        kind = self.kinds[name]
        pick = r.random()
        some = f"SELECT {q('at')} FROM {q(name)}"
        if pick < 0.62:
            for _ in range(r.choice([1, 1, 5, 30])):
                self.insert(name)
        elif pick < 0.70:
            self.insert(name, "INSERT OR REPLACE")
        elif pick < 0.78:
            limit = r.choice([1, 3])
            if kind == "tight":
                self.past_triggers(lambda: self.db.execute(f"DELETE FROM {q(name)} WHERE a=(SELECT a FROM {q(name)} LIMIT 1)"))
            else:
                self.past_triggers(lambda: self.db.execute(f"DELETE FROM {q(name)} WHERE rowid IN (SELECT rowid FROM {q(name)} ORDER BY random() LIMIT {limit})"))
        elif pick < 0.84:
            value = self.value()
            self.past_triggers(lambda: self.db.execute(f"UPDATE {q(name)} SET what=? WHERE at=({some} ORDER BY random() LIMIT 1)", [value]))
        elif pick < 0.89:
            self.db.execute("VACUUM")
        elif pick < 0.92:
            self.next += 1
            default = r.choice(["", " DEFAULT 7"])
            self.db.execute(f"ALTER TABLE {q(name)} ADD COLUMN {q('added%d' % self.next)}{default}")
        elif pick < 0.94:
            self.past_triggers(lambda: self.db.execute(f"ALTER TABLE {q(name)} DROP COLUMN what"))
        elif pick < 0.96:
            self.next += 1
            new = f"renamed {self.next}"
            self.db.execute(f"ALTER TABLE {q(name)} RENAME TO {q(new)}")
            self.kinds[new] = self.kinds.pop(name)
        elif pick < 0.98:
            self.create(r.choice(sorted(SCHEMAS)))
        else:
            self.db.execute(f"DROP TABLE {q(name)}")
            del self.kinds[name]


def exact(value):
    """A value with its type, so that 1, 1.0 and True, 0.0 and -0.0 differ."""
    if isinstance(value, float):
        return ("real", struct.pack(">d", value).hex())
    return (type(value).__name__, value.hex() if isinstance(value, bytes) else value)


def as_json(value):
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return {"blob_hex": value.hex()}
    if isinstance(value, float):
        return {"real": struct.pack(">d", value).hex()}
    return value if abs(value) < 2**53 else {"integer": str(value)}


class Table:
    def __init__(self, db, name):
        info = db.execute(f"PRAGMA table_info({q(name)})").fetchall()
        self.name, self.columns = name, [c[1] for c in info]
        self.key = [c[1] for c in sorted(info, key=lambda c: c[5]) if c[5]]
        self.rows = [dict(zip(self.columns, row)) for row in db.execute(f"SELECT * FROM {q(name)}")]
        self.sql = db.execute("SELECT sql FROM sqlite_schema WHERE name=?", [name]).fetchone()[0]
        self.is_alias = self.key == ["id"] and "id INTEGER" in self.sql
        sequence = 0
        if "AUTOINCREMENT" in self.sql:
            sequence = (db.execute("SELECT max(seq) FROM sqlite_sequence WHERE name=?", [name]).fetchone()[0]) or 0
        self.highest = max([sequence, 0] + [row["id"] for row in self.rows]) if self.is_alias else None


def compare(live, snapshot):
    """Counts and lines of a pair, of which one may be missing."""
    here, there = live or snapshot, snapshot or live
    common = [c for c in here.columns if c in there.columns]
    key = here.key if sorted(here.key) == sorted(there.key) else []
    content = lambda row: tuple(exact(row[c]) for c in common)
    rows = [live.rows if live else [], snapshot.rows if snapshot else []]
    keyed, loose = [{}, {}], [[], []]
    for side in (0, 1):
        for row in rows[side]:
            if key and all(row[c] is not None for c in key):
                place = tuple(exact(row[c]) for c in key)
                assert place not in keyed[side], "a key is unique"
                keyed[side][place] = row
            else:
                loose[side].append(row)
    lost = [row for place, row in keyed[0].items() if place not in keyed[1]]
    resurrected = sum(place not in keyed[0] for place in keyed[1])
    both = [place for place in keyed[0] if place in keyed[1]]
    altered = [(keyed[0][p], keyed[1][p]) for p in both if content(keyed[0][p]) != content(keyed[1][p])]
    counts = [collections.Counter(content(row) for row in side) for side in loose]
    if not common:
        counts = [collections.Counter({("live",): len(loose[0])}), collections.Counter({("snapshot",): len(loose[1])})]
    loosely_lost = counts[0] - counts[1]
    return {
        "key": key, "common_columns": common, "lost": len(lost) + sum(loosely_lost.values()),
        "resurrected": resurrected + sum((counts[1] - counts[0]).values()), "altered": len(altered),
        "common": len(both) - len(altered) + sum((counts[0] & counts[1]).values()),
        "lines": [{"what": "lost", "row": row} for row in lost] + [{"what": "altered", "row": row, "was": was} for row, was in altered],
        "loose": loosely_lost, "lost_rows": lost,
    }


def smaller(found):
    return min(found["lost"], found["resurrected"]) + found["altered"] + found["common"]


def expected(name, live, snapshot):
    """live, snapshot: all tables by name."""
    pair = [live.get(name), snapshot.get(name)]
    certainty, presence = "exact", "both"
    if not any(pair):
        return {"presence": "neither"}
    if not all(pair):
        side = 0 if pair[0] is None else 1
        present, pool, others = pair[1 - side], [live, snapshot][side], [snapshot, live][side]
        candidates = [t for n, t in sorted(pool.items()) if n not in others and sorted(t.key) == sorted(present.key)
                      and (set(t.columns) <= set(present.columns) or set(t.columns) >= set(present.columns))]
        likely = []
        for table in candidates:
            found = compare(*((table, present) if side == 0 else (present, table)))
            if found["common"] and found["common"] * 2 >= smaller(found):
                likely.append(table)
        if len(likely) == 1:
            pair[side], presence = likely[0], "renamed"
        else:
            certainty = "lower_bound" if candidates else "exact"
            presence = "snapshot_only" if side == 0 else "live_only"
    found = compare(*pair)
    # A copy of a table may have lost its key.
    if presence == "both" and found["resurrected"] and any(
            n not in snapshot and 0 < len(set(t.columns) & set(pair[1].columns)) == min(len(t.columns), len(pair[1].columns))
            for n, t in live.items()):
        certainty = "lower_bound"  # rows that are gone may be there
    reused = None
    if pair[0] and pair[0].is_alias and (pair[1] is None or pair[1].is_alias):
        floor = pair[1].highest if pair[1] else 0
        reused = [floor + 1, pair[0].highest] if pair[0].highest > floor else None
    lost_rows = found.pop("lost_rows")
    ids = [row["id"] for row in lost_rows] if found["key"] and pair[0] and pair[0].is_alias else []
    loose = found.pop("loose")
    text = lambda row: {c: as_json(v) for c, v in row.items()}
    lines = [{k: text(v) if isinstance(v, dict) else v for k, v in line.items()} for line in found.pop("lines")]
    columns = found["common_columns"]
    # Of equal rows without key it is not said which is lost: only what is common counts.
    found["loose"] = [json.dumps([list(v) for v in content]) for content, n in loose.items() for _ in range(n)] if columns else None
    found["loose_count"] = sum(loose.values())
    return found | {"presence": presence, "certainty": certainty, "lines": lines, "reused": reused,
                    "pair": sorted([t.name for t in pair if t]), "id_range": [str(min(ids)), str(max(ids))] if ids else None}


def tables(path):
    db = sqlite3.connect(path)
    names = [n for (n,) in db.execute("SELECT name FROM sqlite_schema WHERE type='table' AND name NOT LIKE 'sqlite%'")]
    return {name: Table(db, name) for name in names}


def make(folder, seed):
    os.makedirs(folder)
    before, after = os.path.join(folder, "snapshot.db"), os.path.join(folder, "live.db")
    history = History(seed, after)
    for _ in range(history.r.randint(0, 25)):
        history.step()
    declared = set(history.kinds)
    shutil.copyfile(after, before)
    for _ in range(history.r.choice([0, 1, 3, 10, 30])):
        history.step()
    declared |= set(history.kinds)
    history.db.close()
    live, snapshot = tables(after), tables(before)
    result, seen = [], set()
    for name in sorted(declared | {"nowhere"}):
        found = expected(name, live, snapshot)
        pair = tuple(found.get("pair", []))
        if len(pair) == 2 and found["presence"] in ("both", "renamed"):
            if pair in seen and found["presence"] == "renamed":
                continue
            seen.add(pair)
        result.append(found | {"name": name})
    with open(os.path.join(folder, "expected.json"), "w") as file:
        json.dump(result, file)


if __name__ == "__main__":
    for number in range(int(sys.argv[2]), int(sys.argv[2]) + int(sys.argv[3])):
        make(os.path.join(sys.argv[1], str(number)), number)
