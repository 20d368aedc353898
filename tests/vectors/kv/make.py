#!/usr/bin/env python3
"""Makes the golden vectors of the data format, from docs/formats/data-format.md and nothing else.

A second implementation, slow and simple, that shares no code with src/: every tree is built from the whole set of keys,
every hash comes from hashlib or from the lines below, and real git names each tree, blob and commit again (git mktree,
git hash-object). Run it in this folder: it writes names.json, records.json, etags.json, trees.json and history.json.
"""

import hashlib
import json
import struct
import subprocess
import tempfile

SAFE = set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-.")
FORMATS = ("sha1", "sha256")


# --- section 3: names ---------------------------------------------------------------------------------------------------


def percent(data):
    return "".join(chr(b) if b in SAFE else "%%%02X" % b for b in data)


def digits(key):
    return hashlib.sha256(key).hexdigest()


def name_of(key):
    parts = [percent(bytes([b])) for b in key]
    dots = {0, len(parts) - 1}
    for suffix in (b".manifest.json", b".meta", b".ref", b".del"):
        if key.endswith(suffix):
            dots.add(len(key) - len(suffix))
    for i in dots:
        if parts[i] == ".":
            parts[i] = "%2E"
    name = "".join(parts)
    if len(name) <= 200:
        return name
    cut = ""
    for part in parts:
        if len(cut) + len(part) > 120:
            break
        cut += part
    return cut + "~" + digits(key)


# --- git objects --------------------------------------------------------------------------------------------------------


def object_id(fmt, kind, data):
    return hashlib.new(fmt, b"%s %d\0" % (kind.encode(), len(data)) + data).hexdigest()


class Trees:
    """Trees by id, remembered so that git can be asked about each."""

    def __init__(self, fmt):
        self.fmt = fmt
        self.made = {}

    def tree(self, entries):
        """entries: (mode, name, oid)"""
        entries = sorted(entries, key=lambda e: e[1].encode() + (b"/" if e[0] == "40000" else b""))
        data = b"".join(b"%s %s\0" % (m.encode(), n.encode()) + bytes.fromhex(o) for m, n, o in entries)
        oid = object_id(self.fmt, "tree", data)
        self.made[oid] = entries
        return oid

    def ask_git(self):
        """git names every tree as we did."""
        oids = list(self.made)
        lines = []
        for oid in oids:
            for mode, name, child in self.made[oid]:
                kind = "tree" if mode == "40000" else "blob"
                lines.append("%s %s %s\t%s\n" % (mode.zfill(6), kind, child, name))
            lines.append("\n")
        out = git(self.fmt, "".join(lines).encode(), "mktree", "--missing", "--batch").split()
        assert out == oids, "git names the trees otherwise"


REPOSITORIES = {}


def git(fmt, data, *args):
    if fmt not in REPOSITORIES:
        REPOSITORIES[fmt] = tempfile.TemporaryDirectory()
        subprocess.run(["git", "init", "-q", "--bare", "--object-format=" + fmt, REPOSITORIES[fmt].name], check=True)
    command = ["git", "-C", REPOSITORIES[fmt].name, *args]
    return subprocess.run(command, input=data, stdout=subprocess.PIPE, check=True).stdout.decode()


# --- section 4: the tries of the ledger ---------------------------------------------------------------------------------


def trie(trees, files, depth=0):
    """files: (digits, file name, oid); None where there are none."""
    if not files:
        return None
    if len(files) <= 256:
        return trees.tree([("100644", name, oid) for _, name, oid in files])
    entries = []
    for digit in "0123456789abcdef":
        group = [f for f in files if f[0][depth] == digit]
        if group:
            entries.append(("40000", digit, trie(trees, group, depth + 1)))
    return trees.tree(entries)


# --- section 5: the kv-index --------------------------------------------------------------------------------------------


def index(trees, files, prefix=b""):
    """files: (key, file name, oid), sorted by key"""
    if len(files) <= 256:
        return trees.tree([("100644", name, oid) for _, name, oid in files])
    entries = []
    groups = {}
    for key, name, oid in files:
        if key == prefix:
            entries.append(("100644", name, oid))
        else:
            groups.setdefault(key[len(prefix)], []).append((key, name, oid))
    for group in groups.values():
        if len(group) == 1:
            entries.append(("100644", group[0][1], group[0][2]))
            continue
        first, last = group[0][0], group[-1][0]
        length = len(prefix)
        while length < min(len(first), len(last)) and first[length] == last[length]:
            length += 1
        label = first[len(prefix) : length][:64]
        entries.append(("40000", percent(label) + "~", index(trees, group, prefix + label)))
    return trees.tree(entries)


# --- canonical JSON -----------------------------------------------------------------------------------------------------

ESCAPES = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def quote(text):
    out = []
    for c in text:
        if c in ESCAPES:
            out.append(ESCAPES[c])
        elif ord(c) < 0x20 or 0xD800 <= ord(c) <= 0xDFFF:
            out.append("\\u%04x" % ord(c))
        else:
            out.append(c)
    return '"' + "".join(out) + '"'


def metadata(m):
    fields = ['"v":1', '"key":' + quote(m["key"]), '"type":"inline"', '"size":%d' % m["size"], '"etag":"%s"' % m["etag"]]
    fields += ['"ctype":' + quote(m["ctype"]), '"rev":%d' % m["rev"]]
    if m.get("base"):
        fields.append('"base":"%s"' % m["base"])
    if m.get("expires") is not None:
        fields.append('"expires":%d' % m["expires"])
    if m.get("labels"):
        names = sorted(m["labels"], key=lambda n: n.encode("utf-16-be", "surrogatepass"))
        fields.append('"labels":{%s}' % ",".join(quote(n) + ":" + quote(m["labels"][n]) for n in names))
    return "{" + ",".join(fields) + "}"


def pointer(m, oid):
    fields = ['"v":1', '"key":' + quote(m["key"]), '"type":"inline"', '"oid":"%s"' % oid, '"size":%d' % m["size"]]
    return "{" + ",".join(fields + ['"ctype":' + quote(m["ctype"]), '"rev":%d' % m["rev"]]) + "}"


def tombstone(key, rev, base):
    fields = ['"v":1', '"key":' + quote(key), '"type":"deleted"', '"rev":%d' % rev]
    return "{" + ",".join(fields + (['"base":"%s"' % base] if base else [])) + "}"


# --- BLAKE3, from its specification (github.com/BLAKE3-team/BLAKE3-specs) -----------------------------------------------

IV = (0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19)
PERMUTATION = (2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8)
CHUNK_START, CHUNK_END, PARENT, ROOT = 1, 2, 4, 8


def compress(chaining, block, counter, length, flags):
    v = list(chaining) + list(IV[:4]) + [counter & 0xFFFFFFFF, counter >> 32, length, flags]
    m = list(struct.unpack("<16I", block))

    def g(a, b, c, d, x, y):
        v[a] = (v[a] + v[b] + x) & 0xFFFFFFFF
        v[d] = rotate(v[d] ^ v[a], 16)
        v[c] = (v[c] + v[d]) & 0xFFFFFFFF
        v[b] = rotate(v[b] ^ v[c], 12)
        v[a] = (v[a] + v[b] + y) & 0xFFFFFFFF
        v[d] = rotate(v[d] ^ v[a], 8)
        v[c] = (v[c] + v[d]) & 0xFFFFFFFF
        v[b] = rotate(v[b] ^ v[c], 7)

    for _ in range(7):
        for i in range(4):
            g(i, 4 + i, 8 + i, 12 + i, m[2 * i], m[2 * i + 1])
        for i in range(4):
            g(i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4, m[8 + 2 * i], m[9 + 2 * i])
        m = [m[p] for p in PERMUTATION]
    return [v[i] ^ v[i + 8] for i in range(8)]


def rotate(x, n):
    return (x >> n | x << (32 - n)) & 0xFFFFFFFF


def blake3_node(data, counter, root):
    """Chaining value of the subtree over data, whose first chunk has this number."""
    if len(data) <= 1024:
        blocks = [data[i : i + 64] for i in range(0, len(data), 64)] or [b""]
        value = IV
        for i, block in enumerate(blocks):
            flags = (CHUNK_START if i == 0 else 0) | ((CHUNK_END | root) if i == len(blocks) - 1 else 0)
            value = compress(value, block.ljust(64, b"\0"), counter, len(block), flags)
        return value
    chunks = (len(data) - 1) // 1024
    left = 1024 << (chunks.bit_length() - 1)
    pair = blake3_node(data[:left], counter, 0) + blake3_node(data[left:], counter + left // 1024, 0)
    return compress(IV, struct.pack("<16I", *pair), 0, 64, PARENT | root)


def etag(data):
    return "blake3:" + struct.pack("<8I", *blake3_node(data, 0, ROOT)).hex()


# --- section 7: a history -----------------------------------------------------------------------------------------------

WHO = "Vector Maker <vectors@example.com> 1767322800 +0130"
OCTETS = "application/octet-stream"


class Namespace:
    def __init__(self, fmt, ns):
        self.fmt, self.ns, self.trees = fmt, ns, Trees(fmt)
        self.keys = {}
        self.ledger = self.index = self.tree = None
        self.seq = 0
        self.blobs = {}

    def blob(self, text):
        data = text if isinstance(text, bytes) else text.encode()
        oid = object_id(self.fmt, "blob", data)
        self.blobs[oid] = data
        return oid

    def commit(self, step, txn):
        self.seq += 1
        sets = dels = 0
        for op in step["operations"]:
            key = op["key"].encode()
            rev = self.keys.get(key, {"rev": 0})["rev"] + 1
            if op["op"] == "del":
                dels += 1
                self.keys[key] = {"key": op["key"], "rev": rev, "deleted": True, "base": self.ledger}
                continue
            sets += 1
            value = op["value"].encode()
            self.keys[key] = dict(
                key=op["key"], rev=rev, deleted=False, base=self.ledger, value=value, size=len(value), etag=etag(value),
                ctype=op.get("ctype", OCTETS), expires=op.get("expires"), labels=op.get("labels"),
            )
        data, meta, refs = [], [], []
        for key, m in sorted(self.keys.items()):
            name = name_of(key)
            if m["deleted"]:
                refs.append((key, name + ".del", self.blob(tombstone(m["key"], m["rev"], m["base"]))))
                continue
            oid = self.blob(m["value"])
            data.append((digits(key), name, oid))
            meta.append((digits(key), name + ".meta", self.blob(metadata(m))))
            at = "" if m["expires"] is None else "@%d" % m["expires"]
            refs.append((key, name + at + ".ref", self.blob(pointer(m, oid))))
        kv_json = self.blob('{"v":1,"ns":"%s","object_format":"%s"}' % (self.ns, self.fmt))
        root = [("100644", "kv.json", kv_json)]
        for directory, files in (("data", data), ("meta", meta)):
            oid = trie(self.trees, files)
            if oid:
                root.append(("40000", directory, oid))
        tree, index_tree = self.trees.tree(root), index(self.trees, refs)
        block = [
            ("KV-NS", self.ns), ("KV-Txn", txn), ("KV-Seq", self.seq), ("Base-Tree", self.tree or "-"),
            ("KV-Index-Tree", index_tree), ("KV-Chunks-Tree", "-"), ("KV-Policy", "-"), ("Epoch", "e1"),
            ("Keys-Set", sets), ("Keys-Del", dels),
        ]
        ledger, ledger_text = self.write(tree, self.ledger, step["subject"], block)
        block = [("KV-NS", self.ns), ("KV-Txn", txn), ("KV-Seq", self.seq), ("KV-Ledger-Tree", tree)]
        index_commit, index_text = self.write(index_tree, self.index, "kv-index: " + step["subject"].split("\n")[0], block)
        self.ledger, self.index, self.tree = ledger, index_commit, tree
        texts = {"ledger_text": ledger_text, "index_text": index_text}
        return {"ledger": ledger, "index": index_commit, "tree": tree, "index_tree": index_tree, **texts}

    def write(self, tree, parent, text, block):
        lines = ["tree " + tree] + (["parent " + parent] if parent else []) + ["author " + WHO, "committer " + WHO]
        message = text + "\n\n" + "".join("%s: %s\n" % pair for pair in block)
        data = ("\n".join(lines) + "\n\n" + message).encode()
        oid = git(self.fmt, data, "hash-object", "-t", "commit", "-w", "--stdin").strip()
        assert oid == object_id(self.fmt, "commit", data)
        return oid, data.decode()

    def ask_git(self):
        """git takes every object, and finds nothing wrong with the history."""
        for oid, data in self.blobs.items():
            assert git(self.fmt, data, "hash-object", "-w", "--stdin").strip() == oid
        self.trees.ask_git()
        for ref, oid in (("refs/kv/" + self.ns, self.ledger), ("refs/kv-index/" + self.ns, self.index)):
            git(self.fmt, b"", "update-ref", ref, oid)
        git(self.fmt, b"", "fsck", "--strict", "--no-dangling")


# --- what is asked ------------------------------------------------------------------------------------------------------


def name_cases():
    suffixes = (".manifest.json", ".meta", ".ref", ".del")
    keys = ["a", "Z", "0", "_", "-", "a.b", "user:1", "a/b/c", "a b", "%", "%41", "100%", "a~b", "a@1", "~", "@", "\\", '"', "*?<>|"]
    keys += [".", "..", "...", ".a", "a.", ".a.", "a..b", "a.b."]
    for s in suffixes:
        keys += [s, "a" + s, "a" + s + s, "a" + s + ".", "a." + s, s + "a", s[1:], "a" + s.upper(), s + ".x"]
    keys += ["a.meta.ref", "a.json", "a.manifest", "é", "日本語", "😀", "é.ref", "\u0080", "\u00a0", "\u2028", "\ufeff", "\U0010ffff"]
    keys += ["e\u0301", "k@1700000000.ref", "k@5", "x~", "CON", "con", "aux.txt"]
    for n in (117, 118, 119, 120, 121, 199, 200, 201, 202, 1023, 1024):
        keys.append("x" * n)
    for pad in range(4):
        keys.append("x" * (116 + pad) + "é" * 30)
        keys.append("x" * (117 + pad) + ":" + "y" * 90)
    keys += ["x" * 197 + ":", "x" * 198 + ":", "x" * 196 + ".ref", "x" * 194 + ".ref", "x" * 195 + ".ref", "x" * 199 + ".", "x" * 198 + "."]
    keys += ["." + "x" * 199, "." + "x" * 197, "." + "x" * 198, "é" * 33, "é" * 34, "é" * 512, "日" * 341, ":" * 66, ":" * 67, "." * 200, "x" * 1020 + ".ref"]
    return list(dict.fromkeys(keys))


RECORDS = [
    {"key": "a", "size": 0, "ctype": OCTETS, "rev": 1},
    {"key": "a", "size": 5, "ctype": "text/plain", "rev": 2, "base": True},
    {"key": "a", "size": 9007199254740991, "ctype": OCTETS, "rev": 9007199254740991, "base": True, "expires": 0},
    {"key": "a", "size": 1, "ctype": OCTETS, "rev": 1, "expires": 253402300799},
    {"key": 'quote " backslash \\ slash /', "size": 1, "ctype": 'a/b; c="d"', "rev": 1, "labels": {"l": "x"}},
    {"key": "é日本😀\u2028\u0080", "size": 1, "ctype": OCTETS, "rev": 1, "base": True, "expires": 1767322800, "labels": {"é": "😀", "e": "\u2029"}},
    {"key": "a", "size": 1, "ctype": OCTETS, "rev": 1, "labels": {"10": "ten", "9": "nine", "2": "two", "b": "", "a": "x", "B": "y"}},
    {"key": "a", "size": 1, "ctype": OCTETS, "rev": 1, "labels": {"tab\t": "line\nfeed\r\b\f\u0000\u001f\u007f", "q\"": "\\"}},
    {"key": "a", "size": 1, "ctype": OCTETS, "rev": 1, "labels": {"\uffee": "1", "\U00010000": "2", "__proto__": "3", "constructor": "4"}},
    {"key": "a", "size": 1, "ctype": OCTETS, "rev": 1, "labels": {}},
]

TREES = [
    ("no key", []),
    ("one key", [{"prefix": "key-", "from": 0, "to": 1, "pad": 6}]),
    ("256 keys", [{"prefix": "key-", "from": 0, "to": 256, "pad": 6}]),
    ("257 keys", [{"prefix": "key-", "from": 0, "to": 257, "pad": 6}]),
    ("100,000 keys", [{"prefix": "key-", "from": 0, "to": 100000, "pad": 6}]),
    ("5,000 keys of one user", [{"prefix": "user:", "from": 0, "to": 5000}]),
    ("300 keys after 64 bytes", [{"prefix": "p" * 64, "from": 0, "to": 300}]),
    ("300 keys after 65 bytes", [{"prefix": "p" * 65, "from": 0, "to": 300}]),
    ("300 keys after 130 bytes and one apart", [{"prefix": "p" * 130, "from": 0, "to": 300}, {"key": "q"}]),
    ("300 keys after 200 bytes, their names cut", [{"prefix": "deep/" * 40, "from": 0, "to": 300, "pad": 3}]),
    ("a key others begin with", [{"prefix": "user:", "from": 0, "to": 400}, {"key": "user:"}, {"key": "user"}, {"key": "use"}]),
    ("two prefixes, one inside the other", [{"prefix": "a", "from": 0, "to": 300}, {"prefix": "a1/", "from": 0, "to": 300}]),
    ("groups of one beside a large one", [{"prefix": "m", "from": 0, "to": 300}] + [{"key": c} for c in "abcdefghijkl"]),
    ("non-ASCII", [{"prefix": "é", "from": 0, "to": 150}, {"prefix": "è", "from": 0, "to": 150}, {"prefix": "日本", "from": 0, "to": 260}]),
    ("a label cut inside a character", [{"prefix": "x" * 63 + "é", "from": 0, "to": 260}]),
    ("suffixes", [{"prefix": "", "from": 0, "to": 100, "suffix": s} for s in ("", ".ref", ".del", ".meta", ".manifest.json", "~", "@1")]),
    ("keys of 1,024 bytes", [{"prefix": "k" * 1020, "from": 1000, "to": 1300}]),
    ("everything", [{"prefix": p, "from": 0, "to": 120} for p in ("", "user:", "cfg/", "x" * 100, "deep/" * 40, "é", ".")]),
]

STEPS = [
    {"subject": "init vectors", "operations": []},
    {"subject": "set a", "operations": [{"op": "set", "key": "a", "value": "1"}]},
    {"subject": "set a", "operations": [{"op": "set", "key": "a", "value": "2", "ctype": "text/plain", "labels": {"x": "y", "10": "z"}}]},
    {"subject": "mset: 3 set, 1 del", "operations": [
        {"op": "set", "key": "user:é", "value": "{}", "ctype": "application/json", "expires": 1767326400},
        {"op": "set", "key": "k" * 300, "value": "long"}, {"op": "del", "key": "a"}, {"op": "set", "key": "a.ref", "value": ""}]},
    {"subject": "a subject\n\na body\nof two lines", "operations": [{"op": "set", "key": "a", "value": "3"}]},
    {"subject": "mset: 300 set, 0 del", "operations": [{"op": "set", "key": "bulk/%d" % i, "value": "value %d" % i} for i in range(300)]},
    {"subject": "del user:é", "operations": [{"op": "del", "key": "user:é"}]},
    {"subject": "mset: 0 set, 60 del", "operations": [{"op": "del", "key": "bulk/%d" % i} for i in range(60)]},
]


def expand(parts):
    keys = []
    for p in parts:
        if "key" in p:
            keys.append(p["key"])
        else:
            keys += [p["prefix"] + str(i).zfill(p.get("pad", 0)) + p.get("suffix", "") for i in range(p["from"], p["to"])]
    return sorted(set(k.encode() for k in keys))


def index_suffix(n):
    return ".del" if n % 7 == 3 else "@%d.ref" % (1700000000 + n) if n % 5 == 4 else ".ref"


def tree_case(label, parts):
    case = {"label": label, "keys": parts}
    keys = expand(parts)
    places = [(k, digits(k), name_of(k)) for k in keys]
    for fmt in FORMATS:
        trees = Trees(fmt)
        blob = lambda kind, key: object_id(fmt, "blob", kind + b":" + key)
        record = lambda key: object_id(fmt, "blob", tombstone(key.decode(), 1, None).encode())
        case[fmt] = {
            "data": trie(trees, [(d, n, blob(b"data", k)) for k, d, n in places]),
            "meta": trie(trees, [(d, n + ".meta", blob(b"meta", k)) for k, d, n in places]),
            "index": index(trees, [(k, n + index_suffix(i), record(k)) for i, (k, _, n) in enumerate(places)]),
        }
        trees.ask_git()
    return case


def write(name, what):
    with open(name, "w", encoding="utf-8") as out:
        out.write("[\n" + ",\n".join(json.dumps(each, separators=(",", ":")) for each in what) + "\n]\n")


def main():
    write("names.json", [{"key": k, "name": name_of(k.encode()), "digits": digits(k.encode())} for k in name_cases()])
    # The published vectors of BLAKE3 use the same input.
    inputs = [bytes(i % 251 for i in range(n)) for n in (0, 1, 2, 63, 64, 65, 1023, 1024, 1025, 2048, 2049, 3072, 8192, 31744)]
    assert etag(b"") == "blake3:af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
    write("etags.json", [{"size": len(data), "etag": etag(data)} for data in inputs])
    records = []
    for record in RECORDS:
        m = dict(record, etag="blake3:" + "ab" * 32)
        if m.pop("base", False):
            m["base"] = "1" * 40
        texts = {"metadata": metadata(m), "pointer": pointer(m, "2" * 40), "tombstone": tombstone(m["key"], m["rev"], m.get("base"))}
        ids = {kind: git("sha1", text.encode(), "hash-object", "--stdin").strip() for kind, text in texts.items()}
        records.append({"input": m, **texts, "ids": ids})
    write("records.json", records)
    write("trees.json", [tree_case(label, parts) for label, parts in TREES])
    spaces = {fmt: Namespace(fmt, "vectors") for fmt in FORMATS}
    history = []
    for i, step in enumerate(STEPS):
        txn = "01JBAXF5Z8J8M7R2TK%08d" % (i + 1)
        history.append({**step, "txn": txn, **{fmt: space.commit(step, txn) for fmt, space in spaces.items()}})
    for space in spaces.values():
        space.ask_git()
    write("history.json", history)


main()
