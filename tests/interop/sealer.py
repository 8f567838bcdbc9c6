#!/usr/bin/env python3
"""A small independent writer of airkeep bundles, format 1, for tests; not for real backups (keys show in `ps`).

    sealer.py OUT.akb [--codec gzip|zstd|none] [--frame-size BYTES] [--passphrase-file F]… [--key-file F]… LABEL=FILE…
    sealer.py --attacks DIR     makes DIR/good.akb, DIR/key, and one damaged twin per line of DIR/cases.tsv:
                                name, exit status expected with the key, exit status expected at level 0

A twin is made as its attacker would: all sums that need no key are made anew; where the attacker holds the key, the MACs,
the digest over the tags and the index are made anew too, so that only the one defect is left to be found.
AES comes from Python's `cryptography` if it is installed, else from the `openssl` command.
"""
import argparse
import base64
import copy
import hashlib
import json
import os
import re
import secrets
import subprocess
import sys
import zlib

import ed25519
from reader import (additional_data, hmac256, is_label, padding, read_key_file, read_passphrase, sha256, subkey, sum_list, tar_header)

try:
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
except ImportError:
    Cipher = None

RECOVER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "src", "bundle", "RECOVER.txt")
PUBLIC_ORDER = ["bundle.json", "slots.json", "slots.mac", "slots.sha256", "slots.sha256.sig", "RECOVER.txt"]


# ---- Primitives ----------------------------------------------------------------------------------------------------


def encrypt(mode, key, data, iv=None):
    if Cipher:
        step = Cipher(algorithms.AES(key), modes.CBC(iv) if mode == "cbc" else modes.ECB()).encryptor()
        return step.update(data) + step.finalize()
    command = ["openssl", "enc", "-e", f"-aes-256-{mode}", "-nopad", "-K", key.hex()] + (["-iv", iv.hex()] if iv else [])
    return subprocess.run(command, input=data, stdout=subprocess.PIPE, check=True).stdout


def wrap(kek, root):
    """RFC 3394 section 2.2.1."""
    a, r = b"\xa6" * 8, [root[i:i + 8] for i in range(0, 32, 8)]
    for t in range(1, 25):
        i = (t - 1) % 4
        block = encrypt("ecb", kek, a + r[i])
        a, r[i] = (int.from_bytes(block[:8], "big") ^ t).to_bytes(8, "big"), block[8:]
    return a + b"".join(r)


def compress(codec, plain, level=1):
    if codec == "gzip":
        stream = zlib.compressobj(level, zlib.DEFLATED, -15)
        trailer = zlib.crc32(plain).to_bytes(4, "little") + len(plain).to_bytes(4, "little")
        return b"\x1f\x8b\x08" + bytes(6) + b"\xff" + stream.compress(plain) + stream.flush() + trailer
    if codec == "zstd":
        return subprocess.run(["zstd", "-cq1"], input=plain, stdout=subprocess.PIPE, check=True).stdout
    return plain


def pkcs7(data):
    count = 16 - len(data) % 16
    return data + bytes([count]) * count


def compact(value):
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


# ---- A bundle in the making ----------------------------------------------------------------------------------------


class Draft:
    """A bundle whose parts can be changed at every stage; `seal` runs the stages, `assemble` makes the file.

    Stages: core → keys → payload (plaintexts of the frames) → frames → index → slots → sums → tar.
    """

    def __init__(self, files, codec="gzip", frame_size=262144, slots=(), **core):
        """`files`: [(label, content, sql or None)], `slots`: [("passphrase", text) or ("key-file", key)]."""
        with open(RECOVER, "rb") as file:
            self.recover = file.read()
        self.files, self.slot_keys = files, list(slots)
        self.core = {
            "format": "airkeep-bundle/1", "id": secrets.token_hex(16), "set": {"id": secrets.token_hex(16), "name": "trial"},
            "sequence": 7, "kind": "manual", "created_at": "2026-01-02T03:04:05Z", "marking": None, "suite": 1, "codec": codec,
            "frame_size": frame_size, "predecessor": None, "journal_head": None, "signer": None,
            "recover_sha256": sha256(self.recover), **core}
        self.root = secrets.token_bytes(32)
        self.extra = {}                     # members nobody expects, or signatures
        self.wrapped = {}                   # slot key: (salt, wrapped), so that PBKDF2 runs once per slot
        self.last_of = lambda number, count: number == count - 1
        self.last_of_mac = self.last_of

    def seal(self):
        self.make_keys()
        self.make_payload()
        self.make_frames()
        self.make_index()
        self.make_slots()
        self.make_sums()
        return self

    def make_keys(self):
        self.core_data = (compact(self.core) + "\n").encode()
        self.bundle_id = bytes.fromhex(self.core["id"])
        self.k_enc, self.k_mac, self.k_header = (
            subkey(self.root, b"airkeep/1/" + name, self.bundle_id, self.core_data) for name in (b"enc", b"mac", b"header"))

    def make_manifest(self):
        sources = [{"label": label, "kind": "sqlite", "path": f"/srv/{label}.db", "captured_at": "2026-01-02T03:04:05Z",
                    "device": 1, "inode": 2, "consistency": "independent",
                    "capture": {"pages": "sqlite_dbpage", "route": "stream", "recovered": False},
                    "size_bytes": len(content), "sha256": sha256(content), "journal_mode": "wal", "page_size": 4096,
                    "page_count": 1, "encoding": "UTF-8", "auto_vacuum": "none", "application_id": -1, "user_version": 0,
                    "tables": [{"name": "audit", "rows": 3, "logical": {"columns": ["id", "what"], "rows": 3, "sha256": sha256(b"rows")}},
                               {"name": "broken", "rows": None, "logical": None}], "append_only": ["audit"],
                    "check": {"kind": "quick", "verdict": "ok", "messages": []}, "git": None,
                    "schema": None if sql is None else {"sha256": sha256(sql), "objects": 1}} for label, content, sql in self.files]
        host = {"name": "trial", "os": "linux", "arch": "x86_64", "user": "operator", "uid": 1000}
        return {"format": "airkeep-manifest/1", "bundle": self.core["id"], "host": host,
                "tool": {"name": "sealer.py", "version": "1", "sqlite": "3.0"}, "started_at": "2026-01-02T03:04:05Z",
                "duration_ms": 1, "tag": None, "note": None, "sources": sources}

    def make_payload(self):
        """The entries, and the plaintext of each frame (section 6)."""
        entries = []
        for label, content, sql in self.files:
            entries.append((f"databases/{label}.db", content))
            if sql is not None:
                entries.append((f"schema/{label}.sql", sql))
        self.manifest = compact(self.make_manifest()).encode()
        entries.append(("manifest.json", self.manifest))
        entries.append(("SHA256SUMS", sum_list((path, sha256(content)) for path, content in entries)))
        frame_size = self.core["frame_size"]
        self.plain, self.entries = [], []
        for path, content in entries:
            self.entries.append([path, len(content), sha256(content), len(self.plain)])
            self.plain.append(tar_header(path, len(content)))
            padded = content + bytes(padding(len(content)))
            self.plain += [padded[i:i + frame_size] for i in range(0, len(padded), frame_size)]
        self.plain.append(bytes(1024))
        self.packed = [compress(self.core["codec"], plain) for plain in self.plain]

    def sealed(self, domain, number, last, member, padded=None):
        iv = secrets.token_bytes(16)
        ciphertext = encrypt("cbc", self.k_enc, padded or pkcs7(member), iv)
        data = additional_data(domain, self.bundle_id, number, last, len(ciphertext)) + iv + ciphertext
        return iv + ciphertext + hmac256(self.k_mac, data)

    def make_frames(self, padded=None):
        """`padded`: {frame number: what to encrypt in place of the padded member}."""
        count = len(self.packed)
        self.frames = [self.sealed(b"airkeep/1/frame", i, self.last_of(i, count), member, (padded or {}).get(i))
                       for i, member in enumerate(self.packed)]

    def index_text(self):
        offsets, at = [], 0
        for frame in self.frames:
            offsets.append(at)
            at += 512 + len(frame) + padding(len(frame))
        tags = sha256(b"".join(frame[-32:] for frame in self.frames))
        lines = ["airkeep-index 1", f"frames {len(self.frames)}", f"tags {tags}", f"entries {len(self.entries)}"]
        lines += [" ".join(map(str, entry)) for entry in self.entries]
        lines += [f"offsets {len(self.frames)}", *map(str, offsets), f"manifest {len(self.manifest)}", ""]
        return "\n".join(lines).encode() + self.manifest

    def make_index(self, text=None):
        member = compress(self.core["codec"], self.index_text() if text is None else text)
        self.index = self.sealed(b"airkeep/1/index", len(self.frames), 0, member)

    def slot(self, kind, secret, iterations=600_000):
        if (kind, secret) not in self.wrapped:
            salt = secrets.token_bytes(16)
            kek = hashlib.pbkdf2_hmac("sha256", secret, salt, iterations, 32) if kind == "passphrase" else secret
            self.wrapped[kind, secret] = (secrets.token_hex(4), salt.hex(), wrap(kek, self.root).hex())
        name, salt, wrapped = self.wrapped[kind, secret]
        derived = {"iterations": iterations, "salt": salt} if kind == "passphrase" else {}
        return {"id": name, "type": kind, **derived, "wrapped": wrapped}

    def slots_text(self, slots, **head):
        head = {"format": "airkeep-slots/1", "bundle": self.core["id"], "core_sha256": sha256(self.core_data),
                "generation": 1, **head}
        return (compact(head)[:-1] + ',"slots":[\n' + ",\n".join(map(compact, slots)) + "\n]}").encode()

    def make_slots(self, text=None):
        if text is None:
            text = self.slots_text([self.slot(*key) for key in self.slot_keys])
        self.slots = text if len(text) == 8192 else text.ljust(8191) + b"\n"
        self.slots_mac = hmac256(self.k_header, b"airkeep/1/slots\0" + self.slots).hex().encode() + b"\n"

    def make_sums(self):
        """All that needs no key: the attacker's part too."""
        names = [f"frames/{i:08}" for i in range(len(self.frames))]
        self.members = {"bundle.json": self.core_data, "slots.json": self.slots, "slots.mac": self.slots_mac,
                        "RECOVER.txt": self.recover, **dict(zip(names, self.frames)), "index": self.index}
        self.members["slots.sha256"] = sum_list((one, sha256(self.members[one])) for one in ("bundle.json", "slots.json", "slots.mac"))
        self.members["SHA256SUMS"] = sum_list(
            (one, sha256(self.members[one])) for one in ("bundle.json", "RECOVER.txt", *names, "index"))
        self.members.update(self.extra)
        order = [*PUBLIC_ORDER, *names, "index", "SHA256SUMS", "SHA256SUMS.sig", "end"]
        self.order = [name for name in order if name in self.members or name == "end"]
        at = dict(zip(self.order[self.order.index("frames/00000000"):], self.positions(names)))
        end = f"airkeep-end 1\nframes {len(names)}\nindex {at['index']}\nsums {at['SHA256SUMS']}\n"
        self.members["end"] = end.encode().ljust(511) + b"\n"

    def positions(self, names):
        at = 0
        for content in [*self.frames, self.index, b""]:
            yield at
            at += 512 + len(content) + padding(len(content))

    def assemble(self, header=tar_header, fill=b"\0", tail=bytes(1024)):
        parts = []
        for name in self.order:
            content = self.members[name]
            parts += [header(name, len(content)), content, fill * padding(len(content))]
        return b"".join(parts) + tail


# ---- Attacks -------------------------------------------------------------------------------------------------------

DAMAGE, UNSUPPORTED, KEY = 13, 14, 12


def attacks(key_file):
    """Yields (name, file, exit status with the key, exit status without)."""
    files = [("app", bytes(range(256)) * 2500, b"CREATE TABLE t(x);\n"), ("tenants/a1", b"image of a1" * 9, None), ("empty", b"", b"")]
    seal = lambda **core: Draft(files, slots=[("key-file", key_file)], **core).seal()
    good, twin = seal(), seal()
    yield "good", good.assemble(), 0, 0

    def case(name, change, expected=DAMAGE, public=0, base=good, **assembly):
        draft = copy.deepcopy(base)
        change(draft)
        return name, draft.assemble(**assembly), expected, public

    def no_key(name, change, expected=DAMAGE, public=0, base=good):
        return case(name, lambda d: (change(d), d.make_sums()), expected, public, base)

    def key_holder(name, change, base=good, index=None, public=0):
        def make(d):
            change(d)
            d.make_index(index and index(d.index_text()))
            d.make_sums()
        return case(name, make, DAMAGE, public, base)

    # Attackers without the key.
    def swap(d): d.frames[1], d.frames[2] = d.frames[2], d.frames[1]
    yield no_key("frames-swapped", swap)
    yield no_key("last-frame-cut", lambda d: d.frames.pop())
    yield no_key("frame-duplicated", lambda d: d.frames.insert(2, d.frames[2]))
    yield no_key("frame-dropped", lambda d: d.frames.pop(2))
    yield no_key("index-as-extra-frame", lambda d: d.frames.append(d.index))
    yield no_key("frame-as-index", lambda d: setattr(d, "index", d.frames[-1]))
    yield no_key("index-as-last-frame", lambda d: d.frames.__setitem__(-1, d.index))
    yield no_key("frame-of-twin", lambda d: d.frames.__setitem__(1, twin.frames[1]))
    yield no_key("index-of-twin", lambda d: setattr(d, "index", twin.index))
    yield no_key("frame-flipped", lambda d: d.frames.__setitem__(1, d.frames[1][:99] + bytes([d.frames[1][99] ^ 1]) + d.frames[1][100:]))
    yield no_key("frame-grown", lambda d: d.frames.__setitem__(1, d.frames[1][:-32] + bytes(16) + d.frames[1][-32:]))
    yield no_key("frame-not-blocks", lambda d: d.frames.__setitem__(1, d.frames[1] + b"x"), public=DAMAGE)
    yield no_key("frame-too-long", lambda d: d.frames.__setitem__(1, bytes(262144 + 32768 + 4096 + 16)), public=DAMAGE)
    yield no_key("frame-too-short", lambda d: d.frames.__setitem__(1, bytes(48)), public=DAMAGE)

    def foreign_slots(d): d.slots, d.slots_mac = twin.slots, twin.slots_mac
    yield no_key("slots-of-twin", foreign_slots, DAMAGE, DAMAGE)

    def foreign_wrap(d):
        d.slots = twin.slots.replace(twin.core["id"].encode(), d.core["id"].encode()).replace(
            sha256(twin.core_data).encode(), sha256(d.core_data).encode())
    yield no_key("slots-of-twin-renamed", foreign_wrap)

    def slots_edit(old, new, regex=False):
        def change(d):
            text = re.sub(old, new, d.slots, count=1) if regex else d.slots.replace(old, new, 1)
            assert text != d.slots
            d.slots = text.rstrip(b" \n").ljust(8191) + b"\n"
        return change
    yield no_key("slots-extra-key", slots_edit(b'"generation":1', b'"generation":1,"x":1'), DAMAGE, DAMAGE)
    yield no_key("slots-slot-extra-key", slots_edit(b'{"id"', b'{"x":1,"id"'), DAMAGE, DAMAGE)
    yield no_key("slots-repeated-key", slots_edit(b'"generation":1', b'"generation":1,"generation":1'), DAMAGE, DAMAGE)
    yield no_key("slots-other-generation", slots_edit(b'"generation":1', b'"generation":2'))
    yield no_key("slots-white-space", slots_edit(b'"slots":[', b'"slots": ['))
    yield no_key("slots-other-id", slots_edit(rb'\{"id":"[0-9a-f]{8}', b'{"id":"00000000', True))
    yield no_key("slots-bad-hex", slots_edit(rb'"id":"[0-9a-f]{8}', b'"id":"0000000A', True), DAMAGE, DAMAGE)
    yield no_key("slots-fraction", slots_edit(b'"generation":1', b'"generation":1.0'), DAMAGE, DAMAGE)
    yield no_key("slots-unknown-type", slots_edit(b"key-file", b"key-disk"), DAMAGE, DAMAGE)
    yield no_key("slots-unknown-format", slots_edit(b"airkeep-slots/1", b"airkeep-slots/2"), UNSUPPORTED, UNSUPPORTED)
    yield no_key("slots-text-behind", slots_edit(b"]}", b"]}x"), DAMAGE, DAMAGE)
    deep = b'"generation":' + b"[" * 3000 + b"]" * 3000
    yield no_key("slots-deep", slots_edit(b'"generation":1', deep), DAMAGE, DAMAGE)
    yield no_key("slots-mac-changed", lambda d: setattr(d, "slots_mac", b"0" * 64 + b"\n"))
    yield no_key("slots-mac-upper-case", lambda d: setattr(d, "slots_mac", d.slots_mac.upper()), DAMAGE, DAMAGE)
    few = '{"id":"00000001","type":"passphrase","iterations":%d,"salt":"%s","wrapped":"%s"},\n{"id"'
    for name, count in (("few", 599_999), ("many", 10_000_001), ("huge", 10 ** 15)):
        yield no_key(f"slots-too-{name}-iterations", slots_edit(b'{"id"', (few % (count, "00" * 16, "00" * 40)).encode()),
                     UNSUPPORTED, "any")
    slot = b'{"id":"%08d","type":"key-file","wrapped":"' + b"00" * 40 + b'"},\n'
    yield no_key("slots-seventeen", slots_edit(b'{"id"', b"".join(slot % i for i in range(16)) + b'{"id"'), "13|14", "any")
    yield no_key("slots-twice-one-id", slots_edit(b'{"id"', slot % 1 + slot % 1 + b'{"id"'), DAMAGE, DAMAGE)
    yield no_key("recover-changed", lambda d: setattr(d, "recover", d.recover + b"sh evil\n"), DAMAGE, DAMAGE)

    def core_edit(value, key, text=None):
        """The core changed, and every public hash of it made anew."""
        def change(d):
            old = sha256(d.core_data)
            if text:
                d.core_data = text(d.core_data)
            else:
                d.core[key] = value
                d.core_data = (compact(d.core) + "\n").encode()
            d.slots = d.slots.replace(old.encode(), sha256(d.core_data).encode())
            if key == "id":
                d.slots = d.slots.replace(good.core["id"].encode(), value.encode())
        return change
    other = "0123456789abcdef" * 4
    legal = {"id": other[:32], "set": {"id": other[:32], "name": "trial"}, "sequence": 8, "kind": "safety",
             "created_at": "2026-01-02T03:04:06Z", "marking": "CUI", "codec": "none", "frame_size": 1048576,
             "predecessor": {"id": other[:32], "sequence": 6, "seal_sha256": other}, "journal_head": {"sequence": 6, "sha256": other}}
    for key, value in legal.items():
        yield no_key(f"core-{key}-changed", core_edit(value, key))
    yield no_key("core-set-name-changed", core_edit({**good.core["set"], "name": "other"}, "set"))
    yield no_key("core-recover_sha256-changed", core_edit(other, "recover_sha256"), DAMAGE, DAMAGE)

    def new_recover(d):
        d.recover += b"sh evil\n"
        core_edit(sha256(d.recover), "recover_sha256")(d)
    yield no_key("core-and-recover-changed", new_recover)
    yield no_key("core-format-changed", core_edit("airkeep-bundle/2", "format"), UNSUPPORTED, UNSUPPORTED)
    yield no_key("core-suite-changed", core_edit(2, "suite"), UNSUPPORTED, UNSUPPORTED)
    yield no_key("core-frame_size-illegal", core_edit(524288, "frame_size"), DAMAGE, DAMAGE)
    yield no_key("core-sequence-zero", core_edit(0, "sequence"), DAMAGE, DAMAGE)
    illegal = {"id": other[:31], "set": {"id": other[:32]}, "sequence": "7", "kind": "weekly", "created_at": "2026-13-02T03:04:06Z",
               "marking": "", "codec": "xz", "suite": True, "predecessor": {}, "journal_head": [], "signer": "ssh-rsa AAAA",
               "recover_sha256": other.upper()}
    for key, value in illegal.items():
        yield no_key(f"core-{key}-illegal", core_edit(value, key), "13|14", "13|14")
    yield no_key("core-unknown-key", core_edit(1, "x"), DAMAGE, DAMAGE)
    for name, text in {
            "repeated-key": lambda data: data.replace(b'"suite":1', b'"suite":1,"suite":1'), "text-behind": lambda data: data + b"{}",
            "bom": lambda data: b"\xef\xbb\xbf" + data, "not-utf8": lambda data: data.replace(b"null", b'"\xff"', 1),
            "surrogate": lambda data: data.replace(b'"marking":null', b'"marking":"\\ud800"'),
            "control": lambda data: data.replace(b'"marking":null', b'"marking":"\\u0007"'),
            "exponent": lambda data: data.replace(b'"sequence":7', b'"sequence":7e0'),
            "too-long": lambda data: data + b" " * 16384}.items():
        yield no_key(f"core-{name}", core_edit(None, None, text), DAMAGE, DAMAGE)
    signer = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI" + "A" * 43
    yield no_key("signer-without-signature", core_edit(signer, "signer"), DAMAGE, DAMAGE)

    # Signatures. The seeds are those of the signer and of an attacker.
    mine, foreign = b"s" * 32, b"f" * 32
    signed_by = ed25519.key_text(ed25519.public_key(mine))
    signed_well = seal(signer=signed_by)
    yield no_key("signer-weak", core_edit("ssh-ed25519 " + base64.b64encode(ed25519.key_blob(b"\1" + bytes(31))).decode(), "signer"),
                 DAMAGE, DAMAGE)
    yield no_key("signer-with-comment", core_edit(signed_by + " me", "signer"), DAMAGE, DAMAGE)

    def sign(d, seed=mine, named=None, namespace="bundle@airkeep", slots="slots@airkeep", spell=lambda text: text):
        d.extra = {}
        d.make_sums()
        signature = ed25519.sign(seed, ed25519.signed_data(namespace, d.members["SHA256SUMS"]))
        d.extra["SHA256SUMS.sig"] = spell(ed25519.armor(named or ed25519.public_key(seed), namespace, signature))
        if slots:
            d.extra["slots.sha256.sig"] = ed25519.ssh_sign(seed, slots, d.members["slots.sha256"])

    def signing(name, expected=DAMAGE, public=DAMAGE, change=lambda d: None, **how):
        return no_key(name, lambda d: (sign(d, **how), change(d)), expected, public, signed_well)
    yield signing("signed", 0, 0)
    yield signing("signed-slots-unsigned", 0, 0, slots=None)
    yield signing("signed-signature-stripped", change=lambda d: d.extra.pop("SHA256SUMS.sig"))
    yield signing("signed-both-stripped", change=lambda d: d.extra.clear())
    yield signing("signed-by-foreign", seed=foreign)
    yield signing("signed-by-foreign-as-mine", seed=foreign, named=ed25519.public_key(mine))
    yield signing("signed-in-other-namespace", namespace="slots@airkeep")
    yield signing("signed-slots-in-other-namespace", slots="bundle@airkeep")
    yield signing("signed-signatures-swapped", change=lambda d: d.extra.update(
        {"SHA256SUMS.sig": d.extra["slots.sha256.sig"], "slots.sha256.sig": d.extra["SHA256SUMS.sig"]}))
    yield signing("signed-other-sums", change=swap)
    yield signing("signed-slots-of-twin", change=lambda d: d.extra.update(
        {"slots.sha256.sig": ed25519.ssh_sign(mine, "slots@airkeep", b"other slots")}))
    for name, spell in {
            "crlf": lambda text: text.replace(b"\n", b"\r\n"), "no-line-end": lambda text: text[:-1],
            "two-line-ends": lambda text: text + b"\n", "long-line": lambda text: text.replace(b"\n", b"", 2),
            "blank-line": lambda text: text.replace(b"\n", b"\n\n", 1), "empty": lambda text: b"", "comment": lambda text: b"# me\n" + text,
            "huge": lambda text: text * 200}.items():
        yield signing(f"signed-spelling-{name}", spell=spell)

    def response(d):
        """The same signature with the group's order added, which lax verifiers take."""
        signature = ed25519.sign(mine, ed25519.signed_data("bundle@airkeep", d.members["SHA256SUMS"]))
        again = signature[:32] + (int.from_bytes(signature[32:], "little") + ed25519.Q).to_bytes(32, "little")
        d.extra["SHA256SUMS.sig"] = ed25519.armor(ed25519.public_key(mine), "bundle@airkeep", again)
    yield signing("signed-malleated", change=response)
    yield no_key("signature-without-signer", lambda d: setattr(d, "extra", {"SHA256SUMS.sig": b"x"}), DAMAGE, DAMAGE)
    yield no_key("slots-signature-without-signer", lambda d: setattr(d, "extra", {"slots.sha256.sig": b"x"}), DAMAGE, DAMAGE)

    # Damage to the archive.
    def edit(name, change):
        def make(d): d.members[name] = change(d.members[name])
        return make
    flip = lambda at: lambda data: data[:at] + bytes([data[at] ^ 1]) + data[at + 1:]
    for name in good.order:
        yield case(f"flip-{name.replace('/', '-')}", edit(name, flip(len(good.members[name]) // 2)), "13|14", "13|14")
    yield case("end-wrong-offset", edit("end", lambda data: data.replace(b"sums ", b"sums 1")[:511] + b"\n"), DAMAGE, DAMAGE)
    for field, at in {"mode": 104, "uid": 114, "mtime": 146, "checksum": 150, "type": 156, "link": 160, "magic": 262, "user": 270,
                      "prefix": 345, "last-byte": 511}.items():
        yield case(f"tar-{field}", lambda d: None, DAMAGE, DAMAGE, header=lambda name, size, at=at: (
            flip(at)(tar_header(name, size)) if name == "index" else tar_header(name, size)))
    yield case("tar-padding", lambda d: None, DAMAGE, DAMAGE, fill=b"\1")
    yield case("tar-one-zero-block", lambda d: None, DAMAGE, DAMAGE, tail=bytes(512))
    yield case("tar-three-zero-blocks", lambda d: None, DAMAGE, DAMAGE, tail=bytes(1536))
    yield case("tar-byte-behind", lambda d: None, DAMAGE, DAMAGE, tail=bytes(1024) + b"\n")
    yield case("tar-cut", lambda d: None, DAMAGE, DAMAGE, tail=b"")

    def extra_member(d):
        d.order.insert(-1, "extra")
        d.members["extra"] = b"x"
    yield case("tar-extra-member", extra_member, DAMAGE, DAMAGE)
    for name in good.order:
        yield case(f"missing-{name.replace('/', '-')}", lambda d, name=name: d.order.remove(name), DAMAGE, DAMAGE)

    def exchange(a, b):
        def make(d):
            i, j = d.order.index(a), d.order.index(b)
            d.order[i], d.order[j] = b, a
        return make
    yield case("order-slots", exchange("slots.json", "slots.mac"), DAMAGE, DAMAGE)
    yield case("order-frames", exchange("frames/00000000", "frames/00000001"), DAMAGE, DAMAGE)
    yield case("order-sums", exchange("index", "SHA256SUMS"), DAMAGE, DAMAGE)
    yield case("member-twice", lambda d: d.order.insert(5, "RECOVER.txt"), DAMAGE, DAMAGE)

    # Attackers who hold the key: everything is made anew but the one defect.
    def packed(number, change):
        def make(d):
            d.packed[number] = change(d.packed[number], d.plain[number])
            d.make_frames()
        return make
    split = lambda codec, plain: compress(codec, plain[:100]) + compress(codec, plain[100:])
    yield key_holder("two-codec-members", packed(1, lambda member, plain: split("gzip", plain)))
    yield key_holder("empty-second-codec-member", packed(1, lambda member, plain: member + compress("gzip", b"")))
    yield key_holder("byte-behind-codec-member", packed(1, lambda member, plain: member + b"\0"))
    yield key_holder("codec-member-longer-than-frame", packed(1, lambda member, plain: compress("gzip", plain + plain)))
    yield key_holder("codec-member-bomb", packed(1, lambda member, plain: compress("gzip", bytes(20_000_000))))
    yield key_holder("codec-member-shorter", packed(1, lambda member, plain: compress("gzip", plain[:-1])))
    yield key_holder("codec-member-empty", packed(1, lambda member, plain: compress("gzip", b"")))
    yield key_holder("codec-member-cut", packed(1, lambda member, plain: member[:-1]))
    yield key_holder("codec-wrong-crc", packed(1, lambda member, plain: flip(-8 + len(member))(member)))
    yield key_holder("codec-wrong-isize", packed(1, lambda member, plain: flip(-1 + len(member))(member)))
    yield key_holder("gzip-with-flags", packed(1, lambda member, plain: member[:3] + b"\x08" + member[4:10] + b"n\0" + member[10:]))
    yield key_holder("content-flipped", packed(1, lambda member, plain: compress("gzip", flip(7)(plain))))
    yield key_holder("payload-padding", packed(7, lambda member, plain: compress("gzip", plain[:-1] + b"x")))
    yield key_holder("payload-header", packed(0, lambda member, plain: compress("gzip", flip(104)(plain))))
    yield key_holder("payload-end", packed(-1, lambda member, plain: compress("gzip", bytes(1536))))
    for codec in ("zstd", "none"):
        base = seal(codec=codec)
        yield f"good-{codec}", base.assemble(), 0, 0
        yield key_holder(f"{codec}-longer", packed(1, lambda member, plain, c=codec: compress(c, plain + plain)), base, public="any")
        if codec == "zstd":
            skippable = b"\x50\x2a\x4d\x18" + (4).to_bytes(4, "little") + b"skip"
            yield key_holder("zstd-two-frames", packed(1, lambda member, plain: split("zstd", plain)), base)
            yield key_holder("zstd-empty-second", packed(1, lambda member, plain: member + compress("zstd", b"")), base)
            yield key_holder("zstd-skippable-behind", packed(1, lambda member, plain: member + skippable), base)
            yield key_holder("zstd-skippable-before", packed(1, lambda member, plain: skippable + member), base)
            yield key_holder("zstd-bomb", packed(1, lambda member, plain: compress("zstd", bytes(20_000_000))), base)
            yield key_holder("zstd-wrong-checksum", packed(1, lambda member, plain: flip(-1 + len(member))(member)), base)

    def last_of(rule):
        def make(d):
            d.last_of = rule
            d.make_frames()
        return make
    yield key_holder("last-on-frame-0", last_of(lambda number, count: number in (0, count - 1)))
    yield key_holder("last-on-no-frame", last_of(lambda number, count: False))

    def padded(change):
        """In a frame whose member needs more than one byte of padding; all but the padding stays right."""
        def make(d):
            number = next(i for i, member in enumerate(d.packed) if 1 < -len(member) % 16 < 16)
            d.make_frames({number: change(d.packed[number], -len(d.packed[number]) % 16)})
        return make
    yield key_holder("bad-padding-zero", padded(lambda member, count: member + bytes(count)))
    yield key_holder("bad-padding-more-than-a-block", padded(lambda member, count: member + bytes([count + 16]) * (count + 16)))
    yield key_holder("bad-padding-bytes", padded(lambda member, count: member + bytes(count - 1) + bytes([count])))
    nothing = lambda d: None

    def extra_frame(d):
        d.plain.insert(-1, bytes(512))
        d.packed.insert(-1, compress("gzip", bytes(512)))
        d.make_frames()
    yield key_holder("payload-extra-frame", extra_frame)

    def own_slots(change):
        """slots.json changed by one who can make its MAC."""
        def make(d): d.make_slots(change(d.slots.rstrip(b" \n")))
        return make
    yield key_holder("slots-line-behind", own_slots(lambda text: text + b"\n"), public=DAMAGE)
    yield key_holder("slots-tab-behind", own_slots(lambda text: text + b"\t"), public=DAMAGE)
    yield key_holder("slots-no-line-end", own_slots(lambda text: text.ljust(8192)), public=DAMAGE)
    yield key_holder("slots-two-of-one-id", own_slots(lambda text: text.replace(b"[\n", b"[\n" + re.search(
        rb"\{\"id.*\}", text)[0] + b",\n")), public=DAMAGE)
    yield key_holder("slots-of-other-core", own_slots(lambda text: text.replace(sha256(good.core_data).encode(), other.encode())),
                     public=DAMAGE)
    yield key_holder("slots-of-other-bundle", own_slots(lambda text: text.replace(good.core["id"].encode(), other[:32].encode())),
                     public=DAMAGE)
    yield no_key("slots-for-another-key", slots_edit(rb'"wrapped":"[0-9a-f]{8}', b'"wrapped":"00000000', True), KEY)
    mac = lambda change: lambda d: setattr(d, "slots_mac", change(d.slots_mac))
    yield no_key("slots-mac-no-line-end", mac(lambda text: text[:64] + b" "), DAMAGE, DAMAGE)
    yield no_key("slots-mac-too-short", mac(lambda text: text[:63]), DAMAGE, DAMAGE)
    edit_text = lambda old, new: lambda text: text.replace(old, new, 1)
    for name, change in {
            "tags": lambda text: re.sub(rb"tags .", b"tags 0" if b"tags 1" in text else b"tags 1", text),
            "frames": edit_text(b"frames ", b"frames 1"), "leading-zero": edit_text(b"frames ", b"frames 0"),
            "offset": edit_text(b"\n0\n", b"\n1\n"), "size": edit_text(b".db 640000", b".db 640001"),
            "first-frame": edit_text(b" 0\n", b" 1\n"), "path": edit_text(b"databases/app", b"databases/apq"),
            "dot-dot": edit_text(b"databases/app", b"databases/../a"), "byte-behind": lambda text: text + b"\n",
            "manifest-length": lambda text: re.sub(rb"manifest \d+", b"manifest 1", text), "manifest-cut": lambda text: text[:-1], "two-spaces": edit_text(b".db ", b".db  "),
            "cr-lf": lambda text: text.replace(b"\n", b"\r\n", 1), "version": edit_text(b"index 1", b"index 2"),
            "manifest-differs": edit_text(b'"kind"', b'"kinD"'), "empty": lambda text: b"x",
            "entries-fewer": lambda text: re.sub(rb"entries \d+", b"entries 3", text),
            "entries-more": lambda text: re.sub(rb"entries \d+", b"entries 99", text),
            "digest": lambda text: re.sub(rb"(app.db \d+ )[0-9a-f]{4}", rb"\g<1>0000", text)}.items():
        yield key_holder(f"index-{name}", nothing, index=change)

    def remake(change):
        """Changes how payload and manifest are made, then makes everything anew."""
        def make(d):
            change(d)
            d.make_payload()
            d.make_frames()
        return make

    def manifest(change):
        def make(d):
            value = d.make_manifest()
            text = change(value)
            d.make_manifest = lambda: value
            if isinstance(text, bytes):
                global compact
                plain, compact = compact, lambda whole: text.decode() if whole is value else plain(whole)
                remake(lambda _: None)(d)
                compact = plain
            else:
                remake(lambda _: None)(d)
        return make
    source = lambda value: value["sources"][0]
    def relabel(label):
        def make(d): d.files = [(label, *d.files[0][1:])]
        return remake(make)
    for name, label in {"dot-dot": "../app", "upper": "App", "dot": ".app", "too-long": "a" * 65, "folder": "tenants/a/b"}.items():
        yield key_holder(f"label-{name}", relabel(label))
    for name, change in {
            "format": lambda value: value.update(format="airkeep-manifest/2"), "other-bundle": lambda value: value.update(bundle=twin.core["id"]), "label-twice": lambda value: value["sources"].append(source(value)),
            "source-missing": lambda value: value["sources"].pop() and None, "schema-null": lambda value: source(value).update(schema=None),
            "wrong-size": lambda value: source(value).update(size_bytes=1), "wrong-sha256": lambda value: source(value).update(sha256=other),
            "wrong-schema-sha256": lambda value: source(value)["schema"].update(sha256=other),
            "illegal-label": lambda value: source(value).update(label="../app"), "order": lambda value: value["sources"].reverse(),
            "repeated-key": lambda value: compact(value).replace('"kind"', '"kind":"","kind"', 1).encode(),
            "no-json": lambda value: b"{", "no-object": lambda value: b"[]"}.items():
        yield key_holder(f"manifest-{name}", manifest(change))

    def unknown_key(d): manifest(lambda value: value.update(later={"x": -1.5e3}))(d)
    name, file, _, public = key_holder("good-manifest-unknown-key", unknown_key)
    yield name, file, 0, public

    def wrong_list(d):
        d.files = d.files[:1]
        global sum_list
        plain, sum_list = sum_list, lambda pairs: plain(list(pairs)[::-1])
        remake(lambda _: None)(d)
        sum_list = plain
    yield key_holder("payload-sums-order", wrong_list)


def make_attacks(folder):
    os.makedirs(folder, exist_ok=True)
    key = secrets.token_bytes(32)
    with open(os.path.join(folder, "key"), "wb") as file:
        file.write(key)
    with open(os.path.join(folder, "cases.tsv"), "w") as table:
        for name, data, expected, public in attacks(key):
            with open(os.path.join(folder, name + ".akb"), "wb") as file:
                file.write(data)
            table.write(f"{name}\t{expected}\t{public}\n")


def main():
    parser = argparse.ArgumentParser(description="independent writer of airkeep bundles for tests")
    parser.add_argument("--attacks", metavar="DIR")
    parser.add_argument("out", nargs="?")
    parser.add_argument("source", nargs="*", metavar="LABEL=FILE")
    parser.add_argument("--codec", default="gzip", choices=["gzip", "zstd", "none"])
    parser.add_argument("--frame-size", type=int, default=262144)
    parser.add_argument("--passphrase-file", action="append", default=[])
    parser.add_argument("--key-file", action="append", default=[])
    parser.add_argument("--field", action="append", default=[], metavar="KEY=JSON", help="another value in bundle.json")
    args = parser.parse_intermixed_args()
    if args.attacks:
        return make_attacks(args.attacks)
    slots = [("passphrase", read_passphrase(path)) for path in args.passphrase_file]
    slots += [("key-file", read_key_file(path)) for path in args.key_file]
    files = []
    for one in args.source:
        label, _, path = one.partition("=")
        assert is_label(label), label
        with open(path, "rb") as file:
            files.append((label, file.read(), f"-- {label}\n".encode()))
    core = {key: json.loads(value) for key, _, value in (field.partition("=") for field in args.field)}
    with open(args.out, "wb") as file:
        file.write(Draft(files, args.codec, args.frame_size, slots, **core).seal().assemble())


if __name__ == "__main__":
    sys.exit(main())
