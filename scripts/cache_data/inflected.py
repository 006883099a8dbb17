"""Spanish, French, German and Portuguese: whose form a word is, and which. Of spaCy's tables of lemmas, trimmed to the words
that pyspellchecker counts, with what the endings say (conjugation.py)."""

import gzip
import json
import math
import re
from collections import defaultdict

from cache_data.conjugation import inflections, regular
from cache_data.lexicon import Lexicon

WORD = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*")
INFINITIVE = {
    "es": ("ar", "er", "ir", "ír"),
    "pt": ("ar", "er", "ir", "or", "ôr"),
    "fr": ("er", "ir", "re", "oir"),
    "de": ("en", "ern", "eln"),
}
ADVERB = {"es": "mente", "pt": "mente", "fr": "ment", "de": "weise"}
# The counts give this to words of dictionaries that were never met.
NEVER_MET = 50
# Of a lemma that is met more often, all forms are listed, and not only those that are in the counts.
FREQUENT = {"es": 1000, "fr": 60, "de": 1 << 62, "pt": 2000}
# Words of spaCy's frequencies are taken from here on; below there are as many errors of typing as words.
PROBABILITIES = {"es": 250, "de": 60}
# How a plural is made, by the end of the word; the first that fits.
PLURALS = {
    "es": [
        ("ión", "iones"),
        ("ón", "ones"),
        ("án", "anes"),
        ("ín", "ines"),
        ("és", "eses"),
        ("z", "ces"),
        *((vowel, vowel + "s") for vowel in "aeiouáéó"),
        *((last, last + "es") for last in "dlnrjy"),
    ],
    "pt": [
        ("ão", "ões"),
        ("m", "ns"),
        ("al", "ais"),
        ("el", "eis"),
        ("ol", "ois"),
        ("r", "res"),
        ("z", "zes"),
        *((vowel, vowel + "s") for vowel in "aeiouáéãê"),
    ],
}
NUMBERS = ("plural", "feminine_plural")
FRENCH_PARTS = {"noun": "noun", "verb": "verb", "aux": "verb", "adj": "adjective", "adv": "adverb"}
GERMAN_CASES = ("e", "em", "en", "er", "es", "n", "s", "ern", "nen", "se", "sen")


def lookups(sources, name):
    return json.loads(gzip.decompress((sources["lookups"] / f"{name}.json.gz").read_bytes()))


def build(language, sources):
    counts = json.loads(gzip.decompress((sources["counts"] / f"{language}.json.gz").read_bytes()))
    counts = {word: count for word, count in counts.items() if WORD.fullmatch(word)}
    if language in PROBABILITIES:
        # The counts are of subtitles, which know no files and no passwords: the greater of the two frequencies counts.
        total = sum(counts.values())
        for word, probability in lookups(sources, f"{language}_lexeme_prob").items():
            expected = round(math.exp(probability) * total)
            if expected > PROBABILITIES[language] and WORD.fullmatch(word):
                counts[word.lower()] = max(expected, counts.get(word.lower(), 0))
    lexicon = Lexicon()
    pairs = list(french(sources) if language == "fr" else looked_up(language, sources))
    lemmas = {lemma for form, lemma, _ in pairs if counts.get(form, 0) > NEVER_MET}
    pairs += missing(language, counts, {lemma for _, lemma, _ in pairs}, {form for form, _, _ in pairs})
    lemmas |= {lemma for _, lemma, _ in pairs if lemma in counts and counts[lemma] > NEVER_MET}
    verbs = verbs_of(language, pairs)
    listed = {name: set(lookups(sources, "es_lemma_index")[name]) for name in ("noun", "adj")} if language == "es" else {}
    for form, lemma, part in pairs:
        if lemma not in lemmas or (form not in counts and form != lemma and counts.get(lemma, 0) < FREQUENT[language]):
            continue
        kinds = [part] if part else parts(language, lemma, verbs, listed)
        for kind in kinds:
            for inflection in whats(language, form, lemma, kind):
                lexicon.add(form, lemma, kind, inflection, weight(counts, form, lemma, kind))
    plurals(language, lexicon, counts)
    for word in sorted(counts):
        if word.endswith(ADVERB[language]) and language != "de" and len(word) > 8:
            lexicon.add(word, word, "adverb", "base", counts[word])
    for (form, lemma, *_), _ in sorted(lexicon.analyses.items()):
        lexicon.frequency[lemma] = lexicon.frequency.get(lemma, 0) + counts.get(form, 0)
    lexicon.known = {word for word, count in counts.items() if count > NEVER_MET or language != "de"}
    return lexicon


def missing(language, counts, lemmas, forms):
    """Regular verbs and nouns that the tables do not have, where enough of their forms are met."""
    found = []
    for word in sorted(counts.keys() - lemmas - forms if language in ("es", "pt") else ()):
        if word.endswith(("ar", "er", "ir")) and len(word) > 4:
            made = sorted(set(regular(language, word)))
            if sum(form in counts for form in made) >= (2 if counts[word] > 200 else 4):
                found += [(form, word, "verb") for form in [word, *made]]
        elif word + "s" in counts and word + "s" not in forms and len(word) > 3:
            found += [(word, word, "noun"), (word + "s", word, "noun")]
    return found


def looked_up(language, sources):
    for form, lemma in sorted(lookups(sources, f"{language}_lemma_lookup").items()):
        part = None
        if language == "de" and lemma[:1].isupper():
            part = "noun"
        form, lemma = form.lower(), lemma.lower()
        if WORD.fullmatch(form) and WORD.fullmatch(lemma):
            yield form, lemma, part
            yield lemma, lemma, part
    if language == "es":
        for name, part in (("noun", "noun"), ("adj", "adjective"), ("verb", "verb")):
            for lemma in lookups(sources, "es_lemma_index")[name]:
                if WORD.fullmatch(lemma):
                    yield lemma, lemma, part


def french(sources):
    exceptions, index = lookups(sources, "fr_lemma_exc"), lookups(sources, "fr_lemma_index")
    for name, part in FRENCH_PARTS.items():
        for form, found in sorted(exceptions.get(name, {}).items()):
            for lemma in found:
                if WORD.fullmatch(form) and WORD.fullmatch(lemma):
                    yield form, lemma, part
                    yield lemma, lemma, part
        for lemma in sorted(index.get(name, [])):
            if WORD.fullmatch(lemma):
                yield lemma, lemma, part
                if part == "verb" and lemma.endswith("er"):
                    for form in regular("fr", lemma):
                        yield form, lemma, part
                # Regular plurals are not in the table of exceptions.
                if part in ("noun", "adjective") and lemma[-1] not in "sxz":
                    yield lemma + "s", lemma, part
                if part == "adjective" and lemma[-1] not in "sxze":
                    yield lemma + "e", lemma, part
                    yield lemma + "es", lemma, part


def verbs_of(language, pairs):
    """What has the ending of an infinitive and forms as a verb has them."""
    forms = defaultdict(set)
    for form, lemma, _ in pairs:
        if form != lemma and lemma.endswith(INFINITIVE[language]):
            forms[lemma].add(form)
    return {
        lemma
        for lemma, found in forms.items()
        if sum(bool(inflections(language, form, lemma)) for form in found) >= 2 or (len(found) > 6 and language != "de")
    }


def parts(language, lemma, verbs, listed):
    if lemma in verbs:
        return ["verb"]
    if listed and (lemma in listed["noun"]) != (lemma in listed["adj"]):
        return ["noun"] if lemma in listed["noun"] else ["adjective"]
    if lemma.endswith(ADVERB[language]):
        return ["adverb"]
    return ["adjective", "adverb"] if language == "de" else ["noun", "adjective"]


def whats(language, form, lemma, part):
    if form == lemma:
        return ["base"]
    if part == "verb":
        return inflections(language, form, lemma) or ["conjugated"]
    if part == "adverb":
        return ["comparative"] if language == "de" and form.endswith("er") else ["declined"]
    if language == "de":
        return [german(form, lemma, part)]
    if form in (
        lemma + "s",
        lemma + "es",
        lemma[:-1] + "ces",
        lemma[:-1] + "ns",
        lemma[:-1] + "is",
        lemma[:-1] + "x",
        lemma + "x",
    ):
        return ["plural"]
    if form.endswith("s") and not lemma.endswith("s"):
        return ["feminine_plural"] if form.endswith(("as", "es")) and part == "adjective" else ["plural"]
    return ["feminine"] if form.endswith(("a", "e")) else ["declined"]


def german(form, lemma, part):
    if part == "adjective":
        bare = re.sub(r"e[mnrs]?$", "", form)
        if bare.endswith("st") and not lemma.endswith("st"):
            return "superlative"
        if bare.endswith("er") and not lemma.endswith("er"):
            return "comparative"
    # "Computers" may be a genitive; "Dateien", "Hunde" and what has a new umlaut are more than one.
    umlauts = sum(map(form.count, "äöü")) > sum(map(lemma.count, "äöü"))
    if part == "noun" and (umlauts or form in (lemma + "e", lemma + "er", lemma + "en", lemma + "n")):
        return "plural"
    return "declined"


def weight(counts, form, lemma, part):
    """How probable the analysis is among those of its form: by what else of the lemma is met."""
    met = counts.get(lemma, 0) if form != lemma else 2 * counts.get(form, 0)
    return met + (1.5 if part == "noun" else 1)


def plurals(language, lexicon, counts):
    """A form of a verb may also be a noun ("casa"): where its plural is met, it is one."""
    if language not in ("es", "pt"):
        return
    of_verbs = sorted({key[0] for key in lexicon.analyses if key[2:4] == ("verb", "present") and key[0][-1] in "aeo"})
    for form in of_verbs:
        if form in counts and form + "s" in counts:
            lexicon.add(form, form, "noun", "base", 2 * counts[form + "s"])
            lexicon.add(form + "s", form, "noun", "plural", counts[form])
    ends = PLURALS[language]
    for word, lemma, part in sorted(
        {key[:3] for key in lexicon.analyses if key[2] in ("noun", "adjective") and key[3] == "base"}
    ):
        made = next((word[: len(word) - len(old)] + new for old, new in ends if word.endswith(old)), word)
        if made in counts and made != word and not any((made, lemma, part, kind, False) in lexicon.analyses for kind in NUMBERS):
            lexicon.add(made, lemma, part, "plural", counts.get(word, 0))
