#!/usr/bin/env python3
"""An independent reader of airkeep bundles, format 1, written from docs/format.md alone.

    reader.py BUNDLE                                                 level 0: all that can be checked without a key
    reader.py BUNDLE --passphrase-file F | --key-file F [--out DIR]  level 3: everything; then the payload goes to DIR

Prints one JSON line. Exit status: 0 ok, 2 wrong use, 12 key rejected, 13 damage, 14 not supported. DIR must not exist; it
gets its name only after every check has passed. Numbers in comments are sections of docs/format.md.

Needs Python 3.9, the `openssl` command for AES and, for codec zstd, the `zstd` command. Keys can be seen in the arguments
of `openssl` while it runs: a reference to test against, for a machine of your own.
"""
import argparse
import base64
import hashlib
import hmac
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unicodedata
import zlib

import ed25519

KEY_REJECTED, DAMAGE, UNSUPPORTED = 12, 13, 14
MAX_FRAMES, MAX_ENTRIES = 1 << 20, 65_536
MAX_INDEX, MAX_MANIFEST = 33_554_432, 16_777_216
MAX_INTEGER = (1 << 53) - 1
MAX_RECOVER = 65_536
NAME = "[a-z0-9][a-z0-9._-]*"


class Rejected(Exception):
    """A bundle or a key that is refused; `code` is the exit status."""

    def __init__(self, code, text):
        super().__init__(text)
        self.code = code


def check(holds, text, code=DAMAGE):
    if not holds:
        raise Rejected(code, text)


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def hmac256(key, data):
    return hmac.new(key, data, hashlib.sha256).digest()


def sum_list(names_and_sums):
    """3.3: the lines that `sha256sum` writes."""
    return "".join(f"{digest}  {name}\n" for name, digest in names_and_sums).encode()


# ---- Tar: 2 ----


def tar_header(name, size):
    """The one header that a member of this name and size can have."""
    size_field = b"%011o\0" % size if size < 1 << 33 else b"\x80" + size.to_bytes(11, "big")
    header = b"".join([
        name.encode().ljust(100, b"\0"), b"0000600\0", b"0000000\0", b"0000000\0", size_field, b"00000000000\0", b" " * 8, b"0",
        bytes(100), b"ustar\0", b"00", bytes(64), b"0000000\0", b"0000000\0", bytes(167)])
    return header[:148] + b"%06o\0 " % sum(header) + header[156:]


def padding(size):
    return -size % 512


class Walk:
    """Steps through the outer tar; whatever is not canonical is damage."""

    def __init__(self, data):
        self.data, self.at = data, 0
        self.members, self.offsets = {}, {}

    def next_is(self, name):
        return self.data[self.at:self.at + 100].rstrip(b"\0") == name.encode()

    def take(self, name, least, most):
        header = self.data[self.at:self.at + 512]
        check(re.fullmatch(rb"[0-7]{11}\0", header[124:136]), f"no header for {name} at byte {self.at}")
        size = int(header[124:135], 8)
        check(header == tar_header(name, size), f"the header at byte {self.at} is not the one of {name}")
        check(least <= size <= most, f"{name} has {size} bytes")
        start, end, after = self.at + 512, self.at + 512 + size, self.at + 512 + size + padding(size)
        check(after <= len(self.data), f"{name} is cut off")
        check(not any(self.data[end:after]), f"the padding of {name} is not zero")
        self.members[name], self.offsets[name], self.at = self.data[start:end], self.at, after
        return self.members[name]

    def take_sealed(self, name, most):
        check(len(self.take(name, 64, most)) % 16 == 0, f"{name} is not IV, blocks and tag")

    def finish(self):
        check(self.data[self.at:] == bytes(1024), "the archive does not end in two zero blocks and nothing else")


# ---- JSON: 3.1 ----


def parse_json(data, what, integers_only=True):
    """Strict JSON: UTF-8, no repeated key, at most eight levels, no lone surrogate, nothing but white space behind."""
    def unique(pairs):
        check(len(dict(pairs)) == len(pairs), f"{what} has a repeated key")
        return dict(pairs)

    def refuse(text):
        raise ValueError(f"the number {text[:20]}")

    try:
        text, depth = data.decode("utf-8"), 0
        for mark in re.findall(r"[][{}]", re.sub(r'"(?:[^"\\]|\\.)*"', "", text, flags=re.S)):
            depth += 1 if mark in "[{" else -1
            check(depth <= 8, f"{what} is nested too deeply")
        parse_float = refuse if integers_only else float
        value = json.loads(text, object_pairs_hook=unique, parse_constant=refuse, parse_float=parse_float)
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except ValueError as error:
        raise Rejected(DAMAGE, f"{what} is not legal JSON: {error}") from None
    check(type(value) is dict, f"{what} is not an object")
    return value


def check_object(value, rules, what):
    """Exactly the keys of `rules`, and each value passes its rule."""
    check(type(value) is dict and set(value) == set(rules), f"{what} does not have exactly its keys")
    for key, rule in rules.items():
        check(rule(value[key]), f"{what}: {key} is not legal")


def anything(_):
    return True


def is_integer(value):
    return type(value) is int


def is_place(value):
    return is_integer(value) and 1 <= value <= MAX_INTEGER


def is_match(pattern):
    return lambda value: isinstance(value, str) and re.fullmatch(pattern, value) is not None


def is_hex(digits):
    return is_match(f"[0-9a-f]{{{digits}}}")


def is_label(value):
    return is_match(f"(tenants/)?{NAME}")(value) and len(value) <= 64


def is_marking(value):
    return isinstance(value, str) and 1 <= len(value.encode()) <= 256 and not any(
        unicodedata.category(character) == "Cc" for character in value)


def is_signer(value):
    key = base64.b64decode(value[12:]) if is_match("ssh-ed25519 [A-Za-z0-9+/]{68}")(value) else b""
    return key.startswith(b"\0\0\0\x0bssh-ed25519\0\0\0\x20") and ed25519.is_strong(key[19:])


def or_null(rule):
    return lambda value: value is None or rule(value)


IS_TIME = is_match("[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3])(:[0-5][0-9]){2}Z")
CORE = {
    "format": anything, "id": is_hex(32), "set": anything, "sequence": is_integer,
    "kind": is_match("manual|scheduled|safety|pre-migration|imported"), "created_at": IS_TIME, "marking": or_null(is_marking),
    "suite": is_integer, "codec": is_match("gzip|zstd|none"), "frame_size": is_integer, "predecessor": anything,
    "journal_head": anything, "signer": or_null(is_signer), "recover_sha256": is_hex(64)}
SET = {"id": is_hex(32), "name": lambda value: is_match(NAME)(value) and len(value) <= 64}
PREDECESSOR = {"id": is_hex(32), "sequence": is_place, "seal_sha256": is_hex(64)}
JOURNAL_HEAD = {"sequence": is_place, "sha256": is_hex(64)}
SLOTS = {"format": anything, "bundle": is_hex(32), "core_sha256": is_hex(64), "generation": is_integer,
         "slots": lambda value: type(value) is list}
SLOT = {
    "key-file": {"id": is_hex(8), "type": anything, "wrapped": is_hex(80)},
    "passphrase": {"id": is_hex(8), "type": anything, "iterations": is_integer, "salt": is_match("([0-9a-f]{2}){16,64}"),
                   "wrapped": is_hex(80)}}


def parse_core(data):
    core = parse_json(data, "bundle.json")
    check(core.get("format") == "airkeep-bundle/1", "unknown format of bundle.json", UNSUPPORTED)
    check(not is_integer(core.get("suite")) or core["suite"] == 1, "unknown suite", UNSUPPORTED)
    check_object(core, CORE, "bundle.json")
    check(core["frame_size"] in (262144, 1048576, 4194304), "frame_size is none of the three")
    check(1 <= core["sequence"] <= MAX_INTEGER, "sequence is outside its limits")
    check_object(core["set"], SET, "set")
    for key, rules in (("predecessor", PREDECESSOR), ("journal_head", JOURNAL_HEAD)):
        if core[key] is not None:
            check_object(core[key], rules, key)
    check(core["predecessor"] is None or core["predecessor"]["sequence"] < core["sequence"], "the predecessor comes later")
    return core


def parse_slots(data):
    """3.2: no number is used before all of them are within their limits."""
    check(data.endswith(b"\n") and data[:-1].rstrip(b" ").endswith(b"}"), "slots.json is not padded as it must be")
    slots = parse_json(data, "slots.json")
    check(slots.get("format") == "airkeep-slots/1", "unknown format of slots.json", UNSUPPORTED)
    check_object(slots, SLOTS, "slots.json")
    for slot in slots["slots"]:
        check(type(slot) is dict and slot.get("type") in list(SLOT), "slots.json has a slot of unknown type")
        check_object(slot, SLOT[slot["type"]], "slot")
    check(len({slot["id"] for slot in slots["slots"]}) == len(slots["slots"]), "two slots have one id")
    iterations = [slot["iterations"] for slot in slots["slots"] if slot["type"] == "passphrase"]
    legal = (1 <= len(slots["slots"]) <= 16
             and all(600_000 <= count <= 10_000_000 for count in iterations) and sum(iterations) <= 20_000_000)
    check(legal, "slots.json has a number outside its limits", UNSUPPORTED)
    check(1 <= slots["generation"] <= MAX_INTEGER, "generation is outside its limits")
    return slots


# ---- The public part: 9, steps 1 and 2 ----


class Public:
    """A bundle that has passed level 0."""

    def __init__(self, data):
        walk = Walk(data)
        self.members = walk.members
        self.core_data = walk.take("bundle.json", 0, 16_384)
        walk.take("slots.json", 8192, 8192)
        walk.take("slots.mac", 65, 65)
        walk.take("slots.sha256", 0, 1024)
        self.check_list("slots.sha256", ["bundle.json", "slots.json", "slots.mac"])
        self.core = parse_core(self.core_data)
        if self.core["signer"] is not None and walk.next_is("slots.sha256.sig"):
            walk.take("slots.sha256.sig", 0, MAX_RECOVER)
            self.check_signature("slots.sha256", "slots@airkeep")
        walk.take("RECOVER.txt", 0, MAX_RECOVER)
        self.check_front()
        self.frames = []
        while not self.frames or not walk.next_is("index"):
            check(len(self.frames) < MAX_FRAMES, "too many frames", UNSUPPORTED)
            self.frames.append(f"frames/{len(self.frames):08}")
            walk.take_sealed(self.frames[-1], self.core["frame_size"] * 9 // 8 + 4096)
        walk.take_sealed("index", MAX_INDEX + 4_194_304 + 4096)
        walk.take("SHA256SUMS", 0, 128 * (len(self.frames) + 3))
        if self.core["signer"] is not None:
            walk.take("SHA256SUMS.sig", 0, MAX_RECOVER)
            self.check_signature("SHA256SUMS", "bundle@airkeep")
        walk.take("end", 512, 512)
        walk.finish()
        self.offsets = {name: at - walk.offsets[self.frames[0]] for name, at in walk.offsets.items()}
        self.check_list("SHA256SUMS", ["bundle.json", "RECOVER.txt", *self.frames, "index"])
        end = f"airkeep-end 1\nframes {len(self.frames)}\nindex {self.offsets['index']}\nsums {self.offsets['SHA256SUMS']}\n"
        check(self.members["end"] == end.encode().ljust(511) + b"\n", "end does not match the members")

    def check_signature(self, name, namespace):
        public = base64.b64decode(self.core["signer"][12:])[19:]
        signed = ed25519.ssh_verify(public, namespace, self.members[name], self.members[name + ".sig"])
        check(signed, f"{name}.sig is not a signature by the signer")

    def check_list(self, name, listed):
        anew = sum_list((member, sha256(self.members[member])) for member in listed)
        check(self.members[name] == anew, f"{name} does not match the members")

    def check_front(self):
        recover = sha256(self.members["RECOVER.txt"])
        check(self.core["recover_sha256"] == recover, "RECOVER.txt is not the one that bundle.json names")
        check(re.fullmatch(rb"[0-9a-f]{64}\n", self.members["slots.mac"]), "slots.mac is not 64 hex digits")
        self.slots = parse_slots(self.members["slots.json"])
        check(self.slots["bundle"] == self.core["id"], "slots.json is of another bundle")
        check(self.slots["core_sha256"] == sha256(self.core_data), "slots.json is of another bundle.json")


# ---- Keys, sealed members, codecs: 5 ----


def openssl_decrypt(cipher, key, data, iv=None):
    command = ["openssl", "enc", "-d", f"-{cipher}", "-nopad", "-K", key.hex()] + (["-iv", iv.hex()] if iv else [])
    return subprocess.run(command, input=data, stdout=subprocess.PIPE, check=True).stdout


def unwrap(kek, wrapped):
    """RFC 3394, 2.2.2, over AES-256 in ECB mode, which every `openssl` has; None if the key is wrong."""
    a, *r = (wrapped[i:i + 8] for i in range(0, 40, 8))
    for t in range(24, 0, -1):
        i = (t - 1) % 4
        block = openssl_decrypt("aes-256-ecb", kek, (int.from_bytes(a, "big") ^ t).to_bytes(8, "big") + r[i])
        a, r[i] = block[:8], block[8:]
    return b"".join(r) if hmac.compare_digest(a, b"\xa6" * 8) else None


def root_key(slots, passphrases, key_files):
    """9, step 3."""
    for slot in slots["slots"]:
        for secret in passphrases if slot["type"] == "passphrase" else key_files:
            if slot["type"] == "passphrase":
                secret = hashlib.pbkdf2_hmac("sha256", secret, bytes.fromhex(slot["salt"]), slot["iterations"], 32)
            root = unwrap(secret, bytes.fromhex(slot["wrapped"]))
            if root is not None:
                return root
    raise Rejected(KEY_REJECTED, "no slot opens with this key")


def subkey(root, label, bundle_id, core_data):
    context = bundle_id + hashlib.sha256(core_data).digest()
    return hmac256(root, b"\0\0\0\1" + label + b"\0" + context + b"\0\0\1\0")


def additional_data(domain, bundle_id, number, last, c):
    return domain + b"\0" + bundle_id + number.to_bytes(8, "big") + bytes([last]) + c.to_bytes(8, "big")


def decrypt(k_enc, iv, ciphertext):
    padded = openssl_decrypt("aes-256-cbc", k_enc, ciphertext, iv)
    count = padded[-1]
    check(1 <= count <= 16 and padded.endswith(bytes([count]) * count), "bad padding behind a valid MAC")
    return padded[:-count]


def expand(codec, member, limit):
    """Opens exactly one codec member of at most `limit` bytes."""
    plain = {"gzip": expand_gzip, "zstd": expand_zstd, "none": lambda data, _: data}[codec](member, limit)
    check(1 <= len(plain) <= limit, "a codec member holds nothing or too much")
    return plain


def expand_gzip(member, limit):
    check(member[:4] == b"\x1f\x8b\x08\0", "not a gzip member with flags 0")
    stream = zlib.decompressobj(wbits=31)
    try:
        plain = stream.decompress(member, limit + 1)
    except zlib.error as error:
        raise Rejected(DAMAGE, f"gzip: {error}") from None
    check(len(plain) > limit or stream.eof and not stream.unused_data, "not exactly one gzip member")
    return plain


def expand_zstd(member, limit):
    check(zstd_frame_length(member) == len(member), "not exactly one zstd frame")
    with tempfile.TemporaryFile() as source:
        source.write(member)
        source.seek(0)
        with subprocess.Popen(["zstd", "-dcq"], stdin=source, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
            plain = process.stdout.read(limit + 1)
    check(len(plain) > limit or process.returncode == 0, "zstd: the frame does not open")
    return plain


def zstd_frame_length(data):
    """The length of the frame at the start of `data` (RFC 8878, 3.1.1), -1 if there is none."""
    if data[:4] != b"\x28\xb5\x2f\xfd" or len(data) < 6:
        return -1
    flags, single = data[4], data[4] >> 5 & 1
    at, last = 5 + (1 - single) + (0, 1, 2, 4)[flags & 3] + (single, 2, 4, 8)[flags >> 6], False
    while not last:
        if at + 3 > len(data):
            return -1
        block = int.from_bytes(data[at:at + 3], "little")
        last, kind, size = block & 1, block >> 1 & 3, block >> 3
        at += 3 + (1 if kind == 1 else size)
    return at + (4 if flags & 4 else 0)


# ---- The sealed part: 6 to 8, and 9, steps 3 to 7 ----


class Opened:
    """A bundle that has passed level 3. Each entry goes to the file `sink(path)` while it is checked."""

    def __init__(self, public, passphrases, key_files, sink):
        self.public, self.core, self.bundle_id = public, public.core, bytes.fromhex(public.core["id"])
        root = root_key(public.slots, passphrases, key_files)
        self.k_enc, self.k_mac, k_header = (subkey(root, b"airkeep/1/" + name, self.bundle_id, public.core_data)
                                            for name in (b"enc", b"mac", b"header"))
        slots_mac = hmac256(k_header, b"airkeep/1/slots\0" + public.members["slots.json"]).hex() + "\n"
        check(hmac.compare_digest(slots_mac.encode(), public.members["slots.mac"]), "slots.mac is wrong")
        self.authenticate("index", b"airkeep/1/index", len(public.frames), 0)
        self.parse_index(self.open("index", MAX_INDEX))
        self.check_manifest()
        self.check_tags()
        self.check_payload(sink)

    def authenticate(self, name, domain, number, last):
        """The tag of a member, once its MAC is found right."""
        body, tag = self.public.members[name][:-32], self.public.members[name][-32:]
        mac = hmac256(self.k_mac, additional_data(domain, self.bundle_id, number, last, len(body) - 16) + body)
        check(hmac.compare_digest(mac, tag), f"the MAC of {name} is wrong")
        return tag

    def open(self, name, limit):
        stored = self.public.members[name]
        return expand(self.core["codec"], decrypt(self.k_enc, stored[:16], stored[16:-32]), limit)

    def open_frame(self, number):
        return self.open(self.public.frames[number], self.core["frame_size"])

    def parse_index(self, data):
        """7: take the values out, write the index anew from them, compare all bytes."""
        count, frame = len(self.public.frames), 0
        head = re.match(rb"airkeep-index 1\nframes \d+\ntags ([0-9a-f]{64})\nentries (\d{1,5})\n", data)
        check(head and 2 <= int(head[2]) <= MAX_ENTRIES, "the index has no legal head")
        self.tags_sha256, self.entries = head[1].decode(), []
        for line in data[head.end():].split(b"\n", int(head[2]))[:-1]:
            entry = re.fullmatch(rb"([a-zA-Z0-9._/-]{1,96}) (\d{1,18}) ([0-9a-f]{64}) \d+", line)
            check(entry, "the index has an illegal entry")
            self.entries.append((entry[1].decode(), int(entry[2]), entry[3].decode(), frame))
            frame += 1 + -(-int(entry[2]) // self.core["frame_size"])
        check(frame == count - 1, "the entries do not fill the frames")
        anew = [f"airkeep-index 1\nframes {count}\ntags {self.tags_sha256}\nentries {len(self.entries)}\n"]
        anew += [f"{path} {size} {digest} {first}\n" for path, size, digest, first in self.entries]
        anew += [f"offsets {count}\n"] + [f"{self.public.offsets[name]}\n" for name in self.public.frames]
        front = "".join(anew).encode()
        check(data.startswith(front), "the index does not match the bundle")
        length, _, self.manifest = data[len(front):].partition(b"\n")
        legal = length == b"manifest %d" % len(self.manifest) and len(self.manifest) <= MAX_MANIFEST
        check(legal, "the index does not end in its manifest")

    def check_manifest(self):
        """8, and the paths of 4."""
        manifest = parse_json(self.manifest, "manifest.json", integers_only=False)
        check(manifest.get("format") == "airkeep-manifest/1", "unknown format of the manifest")
        check(manifest.get("bundle") == self.core["id"], "the manifest is of another bundle")
        sources = manifest.get("sources")
        legal = type(sources) is list and all(type(one) is dict and is_label(one.get("label")) for one in sources)
        check(legal, "the manifest has no list of sources with labels")
        found, expected = {path: (size, digest) for path, size, digest, _ in self.entries}, []
        for source in sources:
            path, size, schema = f"databases/{source['label']}.db", source.get("size_bytes"), source.get("schema", False)
            legal = is_integer(size) and found.get(path) == (size, source.get("sha256"))
            check(legal, f"{path} is not as the manifest says")
            expected.append(path)
            if schema is not None:
                path = f"schema/{source['label']}.sql"
                legal = type(schema) is dict and path in found and found[path][1] == schema.get("sha256")
                check(legal, f"{path} is not as the manifest says")
                expected.append(path)
            capsule = type(source.get("gap")) is dict and source["gap"].get("capsule")
            if capsule:
                path = f"capsule/{source['label']}.jsonl"
                legal = type(capsule) is dict and found.get(path) == (capsule.get("size_bytes"), capsule.get("sha256"))
                check(legal, f"{path} is not as the manifest says")
                expected.append(path)
        for one in manifest.get("files", []):
            check(type(one) is dict and is_label(one.get("label")), "a set of files has no label")
            path = f"files/{one['label']}.tar"
            check(found.get(path) == (one.get("size_bytes"), one.get("sha256")), f"{path} is not as the manifest says")
            expected.append(path)
        paths = [path for path, *_ in self.entries]
        check(paths == expected + ["manifest.json", "SHA256SUMS"], "the entries are not those of the manifest, in its order")
        labels = [one["label"] for one in sources + manifest.get("files", [])]
        check(len(labels) == len(set(labels)), "two sources have one label")

    def check_tags(self):
        """9, step 6: level 2."""
        last = len(self.public.frames) - 1
        tags = [self.authenticate(name, b"airkeep/1/frame", i, i == last) for i, name in enumerate(self.public.frames)]
        check(sha256(b"".join(tags)) == self.tags_sha256, "the tags are not those of the index")

    def check_payload(self, sink):
        """9, step 7: level 3."""
        listed = sum_list((path, digest) for path, _, digest, _ in self.entries[:-1])
        for path, size, digest, first in self.entries:
            check(self.open_frame(first) == tar_header(path, size), f"frame {first} is not the header of {path}")
            seen = hashlib.sha256()
            with sink(path) as output:
                for part in self.content(path, size, first):
                    seen.update(part)
                    output.write(part)
            check(seen.hexdigest() == digest, f"{path} does not have the SHA-256 in the index")
            known = {"manifest.json": self.manifest, "SHA256SUMS": listed}.get(path)
            check(known is None or (size, digest) == (len(known), sha256(known)), f"{path} is not what it must be")
        check(self.open_frame(len(self.public.frames) - 1) == bytes(1024), "the payload does not end in two zero blocks")

    def content(self, path, size, first):
        """6: the parts of an entry, each one frame, checked for length and padding."""
        for start in range(0, size, self.core["frame_size"]):
            first += 1
            length = min(self.core["frame_size"], size - start)
            fill = padding(size) if start + length == size else 0
            plain = self.open_frame(first)
            check(len(plain) == length + fill and not any(plain[length:]), f"frame {first} does not hold its part of {path}")
            yield plain[:length]


# ---- Command line ----


def read_passphrase(path):
    """5: from a file exactly one final LF or CR LF is dropped; then NFC."""
    with open(path, "rb") as file:
        text = re.sub(rb"\r?\n\Z", b"", file.read()).decode("utf-8")
    passphrase = unicodedata.normalize("NFC", text).encode("utf-8")
    if not 1 <= len(passphrase) <= 1024 or b"\0" in passphrase:
        raise ValueError(f"{path}: a passphrase has 1 to 1024 bytes, none of them zero")
    return passphrase


def read_key_file(path):
    with open(path, "rb") as file:
        key = file.read(33)
    if len(key) != 32:
        raise ValueError(f"{path}: a key file has exactly 32 bytes")
    return key


def read_bundle(args, passphrases, key_files, workshop):
    """Checks as far as the keys allow; the payload goes to the folder `workshop`, if there is one."""
    def sink(path):
        target = os.path.join(workshop, path) if workshop else os.devnull
        os.makedirs(os.path.dirname(target), mode=0o700, exist_ok=True)
        return open(target, "wb")

    with open(args.bundle, "rb") as file:
        public = Public(file.read())
    result = {"status": "ok", "level": 0, "id": public.core["id"], "frames": len(public.frames),
              "seal_sha256": sha256(public.members["SHA256SUMS"])}
    if passphrases or key_files:
        opened = Opened(public, passphrases, key_files, sink)
        result.update(level=3, entries=[{"path": path, "size": size} for path, size, *_ in opened.entries])
    return result


def main():
    parser = argparse.ArgumentParser(description="independent reader of airkeep bundles, format 1")
    parser.add_argument("bundle", metavar="BUNDLE")
    parser.add_argument("--passphrase-file", action="append", default=[], metavar="F")
    parser.add_argument("--key-file", action="append", default=[], metavar="F")
    parser.add_argument("--out", metavar="DIR", help="must not exist")
    args, workshop = parser.parse_args(), None
    try:
        passphrases = [read_passphrase(path) for path in args.passphrase_file]
        key_files = [read_key_file(path) for path in args.key_file]
        if args.out:
            if os.path.lexists(args.out) or not (passphrases or key_files):
                raise ValueError("--out needs a key, and a name that is free")
            workshop = tempfile.mkdtemp(prefix=".reader-", dir=os.path.dirname(os.path.abspath(args.out)))
        result, code = read_bundle(args, passphrases, key_files, workshop), 0
        if workshop:
            os.rename(workshop, args.out)
    except Rejected as rejected:
        result, code = {"status": "rejected", "code": rejected.code, "error": str(rejected)}, rejected.code
    except (OSError, ValueError, subprocess.CalledProcessError) as error:
        result, code = {"status": "error", "code": 2, "error": str(error)}, 2
    finally:
        if workshop:
            shutil.rmtree(workshop, ignore_errors=True)
    print(json.dumps(result))
    return code


if __name__ == "__main__":
    sys.exit(main())
