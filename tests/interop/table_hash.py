#!/usr/bin/env python3
"""The logical hash of a table, written from docs/format.md section 8.1 alone.

    table_hash.py DATABASE TABLE        prints the SHA-256 and the number of rows
"""
import hashlib
import sqlite3
import struct
import sys


def text(data):
    return struct.pack(">Q", len(data)) + data


def value(kind, data):
    return {
        "null": lambda: b"\0",
        "integer": lambda: b"\1" + struct.pack(">q", data),
        "real": lambda: b"\2" + struct.pack(">d", data),
        "text": lambda: b"\3" + text(data),
        "blob": lambda: b"\4" + text(data),
    }[kind]()


def quoted(name):
    return '"' + name.replace('"', '""') + '"'


def table_hash(connection, table):
    connection.text_factory = bytes
    listed = connection.execute(f"PRAGMA table_xinfo({quoted(table)})").fetchall()
    columns = [row[1] for row in listed if row[6] in (0, 3)]
    names = [quoted(column.decode()) for column in columns]
    wanted = ",".join(f"typeof({name}),{name}" for name in names)
    digest, count = hashlib.sha256(b"\1" + struct.pack(">I", len(columns)) + b"".join(map(text, columns))), 0
    for row in connection.execute(f"SELECT {wanted} FROM {quoted(table)} NOT INDEXED"):
        cells = [value(row[i].decode(), row[i + 1]) for i in range(0, len(row), 2)]
        digest.update(hashlib.sha256(b"\0" + struct.pack(">I", len(columns)) + b"".join(cells)).digest())
        count += 1
    digest.update(struct.pack(">Q", count))
    return digest.hexdigest(), count


if __name__ == "__main__":
    print(*table_hash(sqlite3.connect(sys.argv[1]), sys.argv[2]))
