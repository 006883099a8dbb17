"""The embedding model: rows of six bits a value, and the vocabulary as a table from hashes of pieces of words to rows."""

import json
import math
import struct
from pathlib import Path

DIMENSIONS = 256
LEVELS = 64
BUCKET_BITS = 14


def build(sources, folder: Path):
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = json.loads(sources["tokenizer"].read_text())["model"]["vocab"]
    rows = tensor(sources["weights"], len(vocabulary))
    (folder / "vocabulary.bin").write_bytes(table(vocabulary))
    # The largest step of all rows becomes 65,535: vectors are normalised in the end, so that only proportions matter.
    steps = [best_step(row) for row in rows]
    unit = max(steps) / 0xFFFF
    packed = [pack(row, max(1, round(step / unit)), unit) for row, step in zip(rows, steps, strict=True)]
    (folder / "rows.bin").write_bytes(b"".join(packed))


def table(vocabulary):
    """The ends of all buckets (u16), then hash (u32) and row (u16) of each piece by bucket; read in src/model.rs."""
    buckets = [[] for _ in range(1 << BUCKET_BITS)]
    for piece, row in vocabulary.items():
        found = piece_hash(piece)
        buckets[found >> 64 - BUCKET_BITS].append((found & 0xFFFFFFFF, row))
    ends, body, total = bytearray(), bytearray(), 0
    for bucket in buckets:
        assert len({found for found, _ in bucket}) == len(bucket), "two pieces have the same hash"
        total += len(bucket)
        ends += struct.pack("<H", total)
        for found, row in sorted(bucket):
            body += struct.pack("<IH", found, row)
    return bytes(ends + body)


def piece_hash(piece):
    """FNV-1a of 64 bits from one of two starts, and a last stir; the same in src/model.rs."""
    inner = piece.startswith("##") and len(piece) > 2
    found = 0x84222325CBF29CE4 if inner else 0xCBF29CE484222325
    for byte in (piece[2:] if inner else piece).encode():
        found = (found ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return (found ^ found >> 32) * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF


def tensor(path, rows):
    """The only tensor of a safetensors file, as lists of floats."""
    raw = path.read_bytes()
    (head,) = struct.unpack_from("<Q", raw)
    (about,) = (value for name, value in json.loads(raw[8 : 8 + head]).items() if name != "__metadata__")
    assert about["dtype"] == "F32" and about["shape"] == [rows, DIMENSIONS], about
    values = struct.iter_unpack(f"<{DIMENSIONS}f", raw[8 + head :])
    return list(values)


def best_step(row):
    """The distance between two levels with the least sum of squared errors, of a few tried."""
    widest = max(abs(value) for value in row) / (LEVELS / 2)
    return min((widest * (0.6 + 0.05 * tried) for tried in range(9)), key=lambda step: error(row, step))


def error(row, step):
    return math.fsum((value - (2 * level(value, step) + 1 - LEVELS) * step / 2) ** 2 for value in row)


def level(value, step):
    return max(0, min(LEVELS - 1, math.floor(value / step) + LEVELS // 2))


def pack(row, weight, unit):
    """Two bytes of step, then the low four bits of values n and n + 128, then the high two of n, n + 64, n + 128, n + 192."""
    levels = [level(value, weight * unit) for value in row]
    low = bytes((levels[at] & 15) | (levels[at + 128] & 15) << 4 for at in range(128))
    high = bytes(sum((levels[at + 64 * of] >> 4) << 2 * of for of in range(4)) for at in range(64))
    return struct.pack("<H", weight) + low + high
