"""What the tokenizer and the model say themselves, for the tests of crates/cache/src/semantic/embedder.rs.

Needs the packages tokenizers and numpy; nothing else of the build does.
"""

import json
from pathlib import Path

SUBJECTS = [
    "kettle",
    "spreadsheet",
    "mortgage",
    "photosynthesis",
    "printer",
    "guinea pig",
    "PostgreSQL",
    "Île de Ré",
    "Größe",
    "naïveté",
]
QUESTIONS = [
    "How do I clean a {}?",
    "what's the cheapest {} you'd recommend",
    "Explain {} to a 10-year-old, in 3 sentences.",
    "{}: pros & cons?",
    "Why is my {} so slow after the v2.4.1 update (build #8812)?",
    "¿Cómo funciona {}?",
    "Was kostet ein {} im Durchschnitt – über 5 Jahre gerechnet?",
    "Pourquoi l'{} n'est-il plus vendu en 2021 ?",
    "Preciso de ajuda com {}, já tentei tudo…",
    'translate "{}" into Italian, please!!',
    "Is {} > 5% better than the rest? I'd say so; they wouldn't.",
    "compare {}/alternatives @ home: cost=$4,200.50, time=07:45",
    "Summarise everything about {} as a table\nwith columns:\tname, date, price",
    "I THINK {} IS OVERRATED",
    "antidisestablishmentarianism, floccinaucinihilipilification and {}",
    "Where can I get {} repaired in Łódź, Kraków or Gdańsk?",
    "write_code(for={}, lang='C++')  # 100% done",
    "{} https://example.org/a/b?c=d&e=f#g",
    "My e-mail is jane.doe+{}@example.com",
    "what's the Krankenversicherungsbeitragssatz of {}",
    "{} ½ cup, 20 °C, 5 µm, ∑ x² ≤ 10, → left",
    "“Smart quotes” around ‘{}’ — and dashes – here",
    "don't, can't, won't, it's, they're: {}",
    "日本語で{}を説明してください",
    "расскажи про {} подробно",
    "اشرح لي {} من فضلك",
]
SINGLE = [
    "",
    " ",
    "\n\t ",
    "a",
    "?",
    "!!!",
    "...",
    "x" * 99,
    "x" * 100,
    "x" * 101,
    "é" * 100,
    "中文",
    "中文 和 English混合 text",
    "한국어 문장입니다",
    "हिन्दी में समझाओ",
    "ไทย",
    "e\u0301te\u0301",
    "été",
    "ＦＵＬＬＷＩＤＴＨ　ｔｅｘｔ",
    "zero\u200bwidth",
    "soft\u00adhyphen",
    "bell\u0007here",
    "tab\tnew\r\nline",
    "no\u00a0break",
    "İstanbul",
    "ﬁne ﬂow",
    "ß ẞ",
    "Ω ω Ω",
    "emoji 😀 here 👩‍👩‍👧",
    "𝒻𝒶𝓃𝒸𝓎",
    "a_b-c.d,e;f",
    "[CLS] [SEP] [MASK] [PAD] [UNK]",
    "##ing ##s",
    "\ufffd",
    "a\ufffdb",
    "x\u0000y",
    "don’t",
    "O’Neill",
    "3,141.59",
    "1e-9",
    "I/O",
    "R&D",
    "AT&T",
    "C#",
    "C++",
    ".NET",
    "HTTP/2",
    "2024-02-29T12:00:00Z",
    "(((nested)))",
    "½¼¾",
    "supercalifragilisticexpialidocious",
    "qwrtzpsdf",
    "Donaudampfschifffahrtsgesellschaft",
    "nai\u0308ve",
    "Ålesund",
    "Ñandú",
    "ǅ",
    "ŉ",
    "€100",
    "£5",
    "¥7",
    "¡Hola!",
]
PAIRS = [
    ("How do I clean a kettle?", "What is the best way to clean a kettle?"),
    ("How do I clean a kettle?", "How long does a kettle last?"),
    ("Turn the heating on at six", "Turn the heating off at six"),
    ("Which rivers flow through Paris?", "Name the rivers of Paris."),
    ("Which rivers flow through Paris?", "Quels fleuves traversent Paris ?"),
    ("Convert 5 miles to kilometres", "Convert 50 miles to kilometres"),
    ("my printer prints blank pages", "printer output is empty"),
    ("Why is the sky blue?", "Write a poem about autumn leaves and an old bicycle"),
    ("the", "of"),
    ("Explain recursion", "Explain recursion like I'm five"),
]


def texts():
    made = [question.format(subject) for question in QUESTIONS for subject in SUBJECTS]
    return made + SINGLE + ["word " * 700]


def build(sources, folder: Path):
    import numpy
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(sources["tokenizer"]))
    tokenizer.encode_special_tokens = True  # who writes "[SEP]" means these five characters
    raw = sources["weights"].read_bytes()
    start = 8 + int.from_bytes(raw[:8], "little")
    rows = numpy.frombuffer(raw[start:], "<f4").reshape(-1, 256)
    unknown = tokenizer.token_to_id("[UNK]")

    def pieces(text):
        return [piece for piece in tokenizer.encode(text, add_special_tokens=False).ids if piece != unknown][:512]

    def vector(text):
        mean = rows[pieces(text)].mean(axis=0)
        return mean / numpy.linalg.norm(mean)

    with (folder / "pieces.jsonl").open("w") as file:
        for text in texts():
            file.write(json.dumps([text, pieces(text)], ensure_ascii=False) + "\n")
    with (folder / "cosines.jsonl").open("w") as file:
        for a, b in PAIRS:
            file.write(json.dumps([a, b, round(float(vector(a) @ vector(b)), 5)], ensure_ascii=False) + "\n")
