"""A language's words as `words` of the crate reads them: forms.fst, rules.bin, senses.bin, opposites.bin, derived.bin."""

import struct
import subprocess
import tempfile
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

PARTS = ["noun", "verb", "adjective", "adverb", "name", "function", "other"]
INFLECTIONS = [
    "base",
    "plural",
    "past",
    "participle",
    "gerund",
    "third",
    "comparative",
    "superlative",
    "feminine",
    "feminine_plural",
    "present",
    "imperfect",
    "future",
    "conditional",
    "subjunctive",
    "imperative",
    "declined",
    "conjugated",
]
MAX_ANALYSES = 8
# Of a sense, besides its synset: two bits of part of speech, six of share.
SHARES = 63
# A meaning that makes less of a word's uses is not listed: nobody may rely on it.
LEAST_SHARE = 0.03
BLOCK = 32
# Classes of frequency: a lemma is in the first class whose bound is above its rank.
RANKS = [200, 1000, 3000, 6000, 12000, 25000, 50000]


@dataclass
class Lexicon:
    # (form, lemma, part, inflection, variant) -> how probable, to order what a form can be
    analyses: dict = field(default_factory=dict)
    # words of which only the existence is known
    known: set = field(default_factory=set)
    # lemma -> how frequent
    frequency: dict = field(default_factory=dict)
    # a meaning: (part, {lemma: share of the lemma's uses as this part})
    meanings: list = field(default_factory=list)
    opposites: set = field(default_factory=set)
    derived: set = field(default_factory=set)

    def add(self, form, lemma, part, inflection, weight, variant=False):
        key = (form, lemma, part, inflection, variant)
        self.analyses[key] = max(weight, self.analyses.get(key, 0.0))

    def write(self, folder: Path, repo: Path):
        folder.mkdir(parents=True, exist_ok=True)
        self.part_hashes()
        self._write_forms(folder, repo)
        self._write_senses(folder / "senses.bin")
        write_pairs(folder / "opposites.bin", self.opposites)
        write_pairs(folder / "derived.bin", self.derived)

    def part_hashes(self):
        """Of two lemmas with the same hash the rarer one is given up: its forms are then no more than known."""
        found = {}
        for lemma in sorted({key[1] for key in self.analyses}, key=lambda lemma: (-self.frequency.get(lemma, 0.0), lemma)):
            found.setdefault(lemma_hash(lemma), lemma)
        given_up = {key for key in self.analyses if found[lemma_hash(key[1])] != key[1]}
        self.known |= {key[0] for key in given_up}
        for key in given_up:
            del self.analyses[key]
        lost = {key[1] for key in given_up}
        self.meanings = [(part, {lemma: share for lemma, share in of.items() if lemma not in lost}) for part, of in self.meanings]

    def _write_forms(self, folder, repo):
        by_form = defaultdict(list)
        for (form, lemma, part, inflection, variant), weight in self.analyses.items():
            by_form[form].append((-weight, lemma, part, inflection, variant))
        rules = defaultdict(list)
        for form, found in by_form.items():
            rule = b"".join(rule_bytes(form, *analysis[1:]) for analysis in sorted(found)[:MAX_ANALYSES])
            rules[rule].append(form)
        # The most frequent rules get the smallest numbers, which take the fewest bytes.
        ranked = sorted(rules, key=lambda rule: (-len(rules[rule]), rule))
        rows = [(form.encode(), number) for number, rule in enumerate(ranked, 1) for form in rules[rule]]
        rows += [(word.encode(), 0) for word in self.known - by_form.keys()]
        write_fst(folder / "forms.fst", rows, repo)
        ends, total = [], 0
        for rule in ranked:
            total += len(rule)
            ends.append(total)
        head = struct.pack(f"<{len(ends) + 1}I", len(ends), *ends)
        (folder / "rules.bin").write_bytes(head + b"".join(ranked))

    def _write_senses(self, path):
        senses = defaultdict(list)
        number = 0
        for part, shares in self.meanings:
            shares = {lemma: share for lemma, share in shares.items() if share >= LEAST_SHARE}
            if len(shares) < 2:
                continue
            for lemma, share in sorted(shares.items()):
                packed = PARTS.index(part) << 6 | max(1, min(SHARES, round(share * SHARES)))
                senses[lemma].append((number, packed))
            number += 1
        assert number <= 0xFFFF, f"{path}: {number} meanings do not fit in two bytes"
        ranked = sorted({key[1] for key in self.analyses}, key=lambda lemma: (-self.frequency.get(lemma, 0.0), lemma))
        rank = {lemma: at for at, lemma in enumerate(ranked)}
        rows = sorted((lemma_hash(lemma), lemma) for lemma in senses.keys() | set(ranked[: RANKS[-1] if senses else RANKS[3]]))
        hashes, counts, bases, body, total = bytearray(), bytearray(), bytearray(), bytearray(), 0
        for at, (number, lemma) in enumerate(rows):
            if at % BLOCK == 0:
                bases += struct.pack("<I", total)
            own = sorted(senses.get(lemma, []))
            assert len(own) < 32, f"{lemma} has {len(own)} senses"
            hashes += struct.pack("<I", number)
            counts.append(sum(rank[lemma] >= most for most in RANKS) << 5 | len(own))
            total += len(own)
            for synset, packed in own:
                body += struct.pack("<HB", synset, packed)
        path.write_bytes(struct.pack("<I", len(rows)) + hashes + bases + counts + body)


def lemma_hash(lemma):
    """FNV-1a over the bytes, and a last stir; the same in words/forms.rs."""
    found = 0x811C9DC5
    for byte in lemma.encode():
        found = (found ^ byte) * 0x01000193 & 0xFFFFFFFF
    return (found ^ found >> 15) * 0x2C1B3C6D & 0xFFFFFFFF


def rule_bytes(form, lemma, part, inflection, variant):
    """How to get from the form to the lemma, and what the form is."""
    same = next((at for at, (a, b) in enumerate(zip(form, lemma, strict=False)) if a != b), min(len(form), len(lemma)))
    strip, suffix = len(form[same:].encode()), lemma[same:].encode()
    assert strip < 256 and len(suffix) < 128
    return bytes([strip, PARTS.index(part) << 5 | INFLECTIONS.index(inflection), variant << 7 | len(suffix)]) + suffix


def write_pairs(path, pairs):
    found = {tuple(sorted((lemma_hash(a), lemma_hash(b)))) for a, b in pairs if a != b}
    path.write_bytes(b"".join(struct.pack("<II", a, b) for a, b in sorted(found)))


def write_fst(path, rows, repo):
    """The map from bytes to numbers, made by the crate's own example: there is no builder in Python."""
    rows.sort()
    with tempfile.NamedTemporaryFile() as text:
        for key, value in rows:
            text.write(b"%d\t%s\n" % (value, key))
        text.flush()
        subprocess.run(
            ["cargo", "run", "--quiet", "--offline", "-p", "gateway-cache-data", "--example", "compile", text.name, path],
            check=True,
            cwd=repo,
        )
