"""Sets of pairs of questions: where they are read, and which of them may be shown one by one."""

import json
import random
from dataclasses import dataclass
from pathlib import Path

PAIRS = Path(__file__).resolve().parent / "pairs"
HELD_OUT = "held_out"
# Pairs that were written later are added to a half in a file of their own: `tune_more.jsonl`.
MORE = "_more"


@dataclass(frozen=True)
class Pair:
    a: str
    b: str
    # Whether a good answer to `a` fully serves who asked `b`.
    same: bool
    kind: str


@dataclass(frozen=True)
class PairSet:
    # `en/tune`, `en/held_out`; of a file that has no halves its stem.
    name: str
    pairs: tuple[Pair, ...]

    @property
    def half(self):
        return self.name.rpartition("/")[2]

    @property
    def secret(self):
        """Only totals of it are shown: who sees what fails would make rules for it."""
        return self.half == HELD_OUT

    def sample(self, count):
        """Some of the pairs, the same ones each time."""
        return PairSet(self.name, tuple(random.Random(1).sample(self.pairs, min(count, len(self.pairs)))))


def read(paths, name):
    rows = [json.loads(line) for path in paths for line in path.read_text().splitlines() if line.strip()]
    return PairSet(name, tuple(Pair(row["a"], row["b"], row["same"] == 1, row.get("kind") or row["cat"]) for row in rows))


def sets(folder):
    """All sets of a folder: its own files, and those of the folders in it, each of which is a language."""
    alone = [read([path], path.stem) for path in sorted(folder.glob("*.jsonl"))]
    halves = {}
    for path in sorted(folder.glob("*/*.jsonl")):
        halves.setdefault(f"{path.parent.name}/{path.stem.removesuffix(MORE)}", []).append(path)
    # Of each language what may be seen comes first.
    named = [read(paths, name) for name, paths in sorted(halves.items(), reverse=True)]
    return alone + sorted(named, key=lambda one: one.name.partition("/")[0])


class Labels:
    """Which questions of a set may have each other's answer: those of pairs with `same`, and theirs."""

    def __init__(self, pairs):
        self._parent = {}
        for pair in pairs:
            if pair.same:
                self._parent[self._root(pair.a)] = self._root(pair.b)
        self._different = {(pair.a, pair.b) for pair in pairs if not pair.same}

    def _root(self, question):
        while (parent := self._parent.get(question, question)) != question:
            question = parent
        return question

    def serves(self, stored, asked):
        return (stored, asked) not in self._different and self._root(stored) == self._root(asked)
