#!/usr/bin/env python3
"""Makes the golden vectors of the cut points, from docs/formats/data-format.md, section 6, and nothing else.

Byte by byte, sharing no code with src/ or with the module that cuts there. Run it in this folder: it writes cuts.json. The
inputs are made of SHAKE128, so that a test can make them again from what cuts.json says of them.
"""

import hashlib
import json
import math
import pathlib

GEAR = [int(n) for n in (pathlib.Path(__file__).parent / "../../../docs/formats/fastcdc-gear.txt").read_text().split()]
assert len(GEAR) == 256

KIB = 1024
DEFAULT = (64 * KIB, 256 * KIB, 1024 * KIB)


def noise(seed, size):
    """The first `size` bytes of SHAKE128 of the seed."""
    return hashlib.shake_128(seed.encode()).digest(size)


def content(kind, size):
    if kind == "zeros":
        return bytes(size)
    if kind == "repeated":  # 1,000 bytes again and again
        return (noise("repeated", 1000) * (size // 1000 + 1))[:size]
    if kind == "text":  # lines of hexadecimal digits
        raw = noise("text", size // 2 + 1)
        return b"\n".join(raw[at : at + 32].hex().encode() for at in range(0, len(raw), 32))[:size]
    return noise(kind, size)


def piece_size(data, at, small, average, large):
    left = len(data) - at
    if left <= small:
        return left
    bits = round(math.log2(average))
    limit = min(left, large)
    centre = min(limit, average - min(average, small + (small + 1) // 2))
    value = 0
    for n in range(small, limit):
        value = ((value >> 1) + GEAR[data[at + n]]) % 2**32
        if value & ((1 << (bits + 1 if n < centre else bits - 1)) - 1) == 0:
            return n + 1
    return limit


def pieces(data, sizes):
    found = []
    at = 0
    while at < len(data):
        found.append(piece_size(data, at, *sizes))
        at += found[-1]
    return found


INPUTS = [
    *(("a", size, DEFAULT) for size in (0, 1, 64 * KIB, 64 * KIB + 1, 1024 * KIB, 1024 * KIB + 1)),
    ("b", 18_000_000, DEFAULT),
    ("zeros", 3_000_000, DEFAULT),
    ("repeated", 5_000_000, DEFAULT),
    ("text", 5_000_000, DEFAULT),
    ("c", 1_000_000, (KIB, KIB, KIB)),
    ("d", 1_000_000, (KIB, 4 * KIB, 16 * KIB)),
    ("e", 1_000_000, (1500, 5000, 7001)),
    ("f", 1_000_000, (16 * KIB, 16 * KIB, 64 * KIB)),
    ("g", 2_000_000, (100_000, 150_001, 999_999)),
    ("h", 2_000_000, (KIB, 1024 * KIB, 1024 * KIB)),
]

vectors = []
for kind, size, sizes in INPUTS:
    data = content(kind, size)
    assert len(data) == size
    vectors.append(
        {
            "content": kind,
            "size": size,
            "sha256": hashlib.sha256(data).hexdigest(),
            **dict(zip(("min", "avg", "max"), sizes)),
            "pieces": pieces(data, sizes),
        }
    )
lines = ",\n".join(json.dumps(v, separators=(",", ":")) for v in vectors)
pathlib.Path("cuts.json").write_text("[\n%s\n]\n" % lines)
