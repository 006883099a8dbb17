"""English: WordNet's words and meanings, SCOWL's forms and spellings, spaCy's frequencies."""

import gzip
import json
import math
import re
from collections import defaultdict

from cache_data.lexicon import LEAST_SHARE, Lexicon

PARTS = {"n": "noun", "v": "verb", "a": "adjective", "s": "adjective", "r": "adverb"}
FILES = {"noun": "noun", "verb": "verb", "adjective": "adj", "adverb": "adv"}
WORD = re.compile(r"[a-z]+(?:[-'][a-z]+)*(?: [a-z]+(?:[-'][a-z]+)*){0,3}")
# How often a word is met: one of a million, and what a synonym must reach to be worth an expression of several words.
FREQUENT, RARE = 1e-6, 2e-7
OF_BE = {"am": "present", "are": "present", "is": "third", "was": "past", "were": "past", "been": "past"}
# A word may be taken as British where one of these makes an American one of it, which the British lists do not have.
SPELLINGS = [
    ("our", "or"),
    ("ise", "ize"),
    ("isation", "ization"),
    ("ising", "izing"),
    ("ised", "ized"),
    ("iser", "izer"),
    ("isable", "izable"),
    ("yse", "yze"),
    ("ysing", "yzing"),
    ("ysed", "yzed"),
    ("yser", "yzer"),
    ("tre", "ter"),
    ("bre", "ber"),
    ("ogue", "og"),
    ("ogues", "ogs"),
    ("lled", "led"),
    ("lling", "ling"),
    ("ller", "ler"),
    ("llor", "lor"),
    ("elling", "eling"),
    ("ence", "ense"),
    ("ae", "e"),
    ("oe", "e"),
    ("gramme", "gram"),
    ("grey", "gray"),
    ("tyre", "tire"),
    ("plough", "plow"),
    ("mould", "mold"),
    ("aluminium", "aluminum"),
    ("sceptic", "skeptic"),
    ("lment", "llment"),
    ("lful", "llful"),
    ("pyjama", "pajama"),
    ("cosy", "cozy"),
    ("moustache", "mustache"),
    ("judgement", "judgment"),
    ("acknowledgement", "acknowledgment"),
    ("ageing", "aging"),
    ("programme", "program"),
    ("doughnut", "donut"),
    ("artefact", "artifact"),
    ("axe", "ax"),
    ("jewellery", "jewelry"),
]


class Dictionary:
    """WordNet's files, read."""

    def __init__(self, folder):
        self.synsets = {}  # (part, offset) -> [(word as written, lex id)]
        self.pointers = []  # (symbol, from word, to part and offset, to word number)
        self.order = {}  # (lemma, part) -> offsets, the most frequent sense first
        self.exceptions = defaultdict(list)  # part -> (form, lemma)
        self.counts = {}  # (lemma, part number, lex file, lex id) -> how often tagged
        for part, name in FILES.items():
            for line in (folder / f"data.{name}").read_text().splitlines():
                if not line.startswith("  "):
                    self._synset(part, line)
            for line in (folder / f"index.{name}").read_text().splitlines():
                if not line.startswith("  "):
                    fields = line.split()
                    senses = int(fields[2])
                    self.order[clean(fields[0]), part] = [int(offset) for offset in fields[-senses:]]
            for line in (folder / f"{name}.exc").read_text().splitlines():
                form, *lemmas = line.split()
                self.exceptions[part] += [(clean(form), clean(lemma)) for lemma in lemmas]
        tagged = defaultdict(dict)
        numbers = {1: "noun", 2: "verb", 3: "adjective", 4: "adverb", 5: "adjective"}
        for line in (folder / "cntlist.rev").read_text().splitlines():
            key, sense, count = line.split()
            lemma, rest = key.split("%")
            tagged[clean(lemma), numbers[int(rest.split(":")[0])]][int(sense)] = int(count)
        self.tagged = tagged

    def _synset(self, part, line):
        fields = line.split(" | ")[0].split()
        offset, words = int(fields[0]), int(fields[3], 16)
        names = [re.sub(r"\((a|p|ip)\)$", "", fields[4 + 2 * at]) for at in range(words)]
        self.synsets[part, offset] = names
        at = 4 + 2 * words
        for number in range(int(fields[at])):
            symbol, target, target_part, ends = fields[at + 1 + 4 * number : at + 5 + 4 * number]
            source, sink = int(ends[:2], 16), int(ends[2:], 16)
            if source and symbol in ("!", "+", "\\"):
                self.pointers.append((symbol, names[source - 1], (PARTS[target_part], int(target)), sink - 1))

    def shares(self, lemma, part):
        """How the uses of the lemma divide among its senses: what was counted, and less the later a sense is listed."""
        offsets = self.order[lemma, part]
        counted = self.tagged.get((lemma, part), {})
        weights = [counted.get(rank, 0) + 1 / rank for rank in range(1, len(offsets) + 1)]
        return {offset: weight / sum(weights) for offset, weight in zip(offsets, weights, strict=True)}

    def count(self, lemma, part):
        return sum(self.tagged.get((lemma, part), {}).values())


def clean(word):
    return word.replace("_", " ").lower()


def scowl(folder, kinds, most):
    """The words of SCOWL's lists up to a size, by the variety of English of the list."""
    found = defaultdict(set)
    for path in sorted(folder.iterdir()):
        name, size = path.name.rsplit(".", 1)
        variety, kind = name.split("-", 1)
        if kind in kinds and int(size) <= most and size.isdigit():
            found[variety] |= {word.removesuffix("'s") for word in path.read_text("latin-1").split()}
    return found


def frequencies(path):
    """Words in lower case to how often they are met, from log probabilities."""
    found = defaultdict(float)
    for word, probability in json.loads(gzip.decompress(path.read_bytes())).items():
        found[word.lower()] += math.exp(probability)
    return found


def build(sources):
    lexicon = Lexicon()
    wordnet = Dictionary(sources["wordnet"])
    lists = scowl(sources["scowl"], ("words", "upper"), 70)
    words = {word for found in lists.values() for word in found}
    met = frequencies(sources["frequencies"])
    lemmas = choose(wordnet, met)
    spellings = american(lists, {lemma for lemma, _ in lemmas})
    for (lemma, part), name in sorted(lemmas.items()):
        main = spellings.get(lemma, lemma)
        weight = max(wordnet.count(word, part) for word in (lemma, main)) + 0.5 + 1e4 * met.get(lemma, 0.0)
        shown = "name" if name else part
        lexicon.add(lemma, main, shown, "base", weight, main != lemma)
        for form, inflection in forms(lemma, part, words, wordnet) if not name else []:
            lexicon.add(form, main, part, inflection, weight / 2, main != lemma or form in spellings)
    for form, lemma in sorted({key[:2] for key in lexicon.analyses}):
        lexicon.frequency[lemma] = lexicon.frequency.get(lemma, 0.0) + met.get(form, 0.0)
    meanings(lexicon, wordnet, lemmas, spellings, met)
    names = scowl(sources["scowl"], ("proper-names", "abbreviations", "contractions"), 70)
    lexicon.known = {word.lower() for found in (*lists.values(), *names.values()) for word in found}
    return lexicon


def choose(wordnet, met):
    """(lemma, part) -> whether it is a name. All single words; expressions only of frequent words, that say what others say."""
    chosen = {}
    for (part, offset), names in wordnet.synsets.items():
        for written in names:
            lemma = clean(written)
            if not WORD.fullmatch(lemma) or (" " in lemma and not useful(wordnet, met, lemma, part, offset, names)):
                continue
            name = written != written.lower()
            chosen[lemma, part] = chosen.get((lemma, part), True) and name
    return chosen


def useful(wordnet, met, lemma, part, offset, names):
    return (
        len({clean(name) for name in names}) > 1
        and lemma.count(" ") <= 2
        and all(met.get(word, 0.0) >= FREQUENT for word in lemma.split())
        and wordnet.shares(lemma, part)[offset] >= LEAST_SHARE
        and any(met.get(clean(name), FREQUENT if " " in clean(name) else 0.0) >= RARE for name in names if clean(name) != lemma)
    )


def american(lists, lemmas):
    """British word -> American word, where the lists of both say so."""
    british = set().union(*(found for name, found in lists.items() if name.startswith(("british", "australian", "canadian"))))
    ours = lists["american"] | lists["english"]
    found = {}
    for word in sorted(word for word in british - ours if word.islower() and not word.endswith(("ae", "oe", "oes"))):
        for old, new in SPELLINGS:
            candidates = {word.replace(old, new, 1), word[::-1].replace(old[::-1], new[::-1], 1)[::-1]} - {word}
            match = sorted(candidate for candidate in candidates if candidate in ours)
            if match:
                found[word] = match[0]
                break
    return found


def forms(lemma, part, words, wordnet):
    """The forms of a lemma, with what they are. Of an expression the first word (verbs) or the last (nouns) is inflected."""
    if part == "adverb":
        return
    head, tail = lemma, ""
    if " " in lemma:
        if part == "verb":
            head, tail = lemma.split(" ", 1)
            tail = " " + tail
        elif part == "noun":
            start, head = lemma.rsplit(" ", 1)
            for form, inflection in forms(head, part, words, wordnet):
                yield f"{start} {form}", inflection
            return
        else:
            return
    if not hasattr(wordnet, "irregular"):
        wordnet.irregular = defaultdict(lambda: defaultdict(list))
        for kind, pairs in wordnet.exceptions.items():
            for form, base in pairs:
                wordnet.irregular[kind][base].append(form)
    irregular = [form for form in wordnet.irregular[part][head] if form != head]
    for form in irregular:
        yield form + tail, inflection_of(form, part)
    kinds = {inflection_of(form, part) for form in irregular}
    for inflection, candidates in regular(head, part).items():
        met = [form for form in candidates if form in words and form != head]
        if met and not (inflection in kinds and inflection in ("past", "plural")):
            for form in met:
                yield form + tail, inflection


def inflection_of(form, part):
    if form in OF_BE:
        return OF_BE[form]
    if part == "noun":
        return "plural"
    if part == "adjective":
        return "superlative" if form.endswith("st") else "comparative"
    if form.endswith("ing"):
        return "gerund"
    return "third" if form.endswith("s") and not form.endswith("ss") else "past"


def regular(word, part):
    sibilant = re.search(r"(s|x|z|ch|sh)$", word)
    to_i = re.search(r"[^aeiou]y$", word)
    ends = (
        [word + "es"]
        if sibilant
        else [word[:-1] + "ies"]
        if to_i
        else [word + "s", word + "es"]
        if word.endswith("o")
        else [word + "s"]
    )
    if part == "noun":
        return {"plural": ends}
    double = word + word[-1]
    stem = word[:-1] if word.endswith("e") else word
    if part == "verb":
        soft = word[:-2] + "y" if word.endswith("ie") else stem
        past = [word[:-1] + "ied"] if to_i else [word + "d"] if word.endswith("e") else [word + "ed", double + "ed"]
        gerund = [soft + "ing", double + "ing"] if not word.endswith(("ee", "oe", "ye")) else [word + "ing"]
        return {"third": ends, "past": past, "gerund": gerund}
    base = word[:-1] + "i" if to_i else stem
    return {"comparative": [base + "er", double + "er"], "superlative": [base + "est", double + "est"]}


def meanings(lexicon, wordnet, lemmas, spellings, met):
    shares = {key: wordnet.shares(*key) for key in lemmas if key in wordnet.order}
    for (part, offset), names in sorted(wordnet.synsets.items()):
        found = {}
        for lemma in sorted({clean(name) for name in names}):
            share = shares.get((lemma, part), {}).get(offset)
            if share is not None and (" " in lemma or met.get(lemma, 0.0) >= RARE):
                main = spellings.get(lemma, lemma)
                found[main] = max(share, found.get(main, 0.0))
        lexicon.meanings.append((part, found))
    known = {key[1] for key in lexicon.analyses}
    for symbol, source, target, number in wordnet.pointers:
        pair = tuple(spellings.get(word, word) for word in (clean(source), clean(wordnet.synsets[target][number])))
        if all(word in known and (symbol == "!" or met.get(word, 0.0) >= FREQUENT / 2) for word in pair):
            (lexicon.opposites if symbol == "!" else lexicon.derived).add(pair)
