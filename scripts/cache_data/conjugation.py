"""What an ending of a verb says of its form, by language and by the ending of the infinitive.

The grammar of school books, for telling tenses apart: `{infinitive: {inflection: endings}}`. A form may be several things.
"""

ES_PAST_ER = "í iste ió imos isteis ieron yó yeron"
ES_SUBJUNCTIVE_ER = "iera ieras iéramos ierais ieran iese ieses iésemos ieseis iesen yera yeran yese yesen a as amos áis an"
ES_FUTURE = "é ás á emos éis án"
ES_CONDITIONAL = "ía ías íamos íais ían"
ES_IMPERFECT = "ía ías íamos íais ían"


def after(infinitive, endings):
    return " ".join(infinitive + ending for ending in endings.split())


SPANISH = {
    "ar": {
        "present": "o as a amos áis an",
        "past": "é aste ó amos asteis aron",
        "imperfect": "aba abas ábamos abais aban",
        "future": after("ar", ES_FUTURE),
        "conditional": after("ar", ES_CONDITIONAL),
        "subjunctive": "e es emos éis en ara aras áramos arais aran ase ases ásemos aseis asen",
        "imperative": "ad",
        "gerund": "ando",
        "participle": "ado ada ados adas",
    },
    "er": {
        "present": "o es e emos éis en",
        "past": ES_PAST_ER,
        "imperfect": ES_IMPERFECT,
        "future": after("er", ES_FUTURE),
        "conditional": after("er", ES_CONDITIONAL),
        "subjunctive": ES_SUBJUNCTIVE_ER,
        "imperative": "ed",
        "gerund": "iendo yendo",
        "participle": "ido ida idos idas ído ída ídos ídas",
    },
    "ir": {
        "present": "o es e imos ís en",
        "past": ES_PAST_ER,
        "imperfect": ES_IMPERFECT,
        "future": after("ir", ES_FUTURE),
        "conditional": after("ir", ES_CONDITIONAL),
        "subjunctive": ES_SUBJUNCTIVE_ER,
        "imperative": "id",
        "gerund": "iendo yendo",
        "participle": "ido ida idos idas ído ída ídos ídas",
    },
}

PT_FUTURE = "ei ás á emos eis ão"
PT_CONDITIONAL = "ia ias íamos íeis iam"

PORTUGUESE = {
    "ar": {
        "present": "o as a amos ais am",
        "past": "ei aste ou amos ámos astes aram ara aras áramos",
        "imperfect": "ava avas ávamos áveis avam",
        "future": after("ar", PT_FUTURE),
        "conditional": after("ar", PT_CONDITIONAL),
        "subjunctive": "e es emos eis em asse asses ássemos ásseis assem ares armos ardes arem",
        "imperative": "ai",
        "gerund": "ando",
        "participle": "ado ada ados adas",
    },
    "er": {
        "present": "o es e emos eis em",
        "past": "i este eu emos estes eram era eras êramos",
        "imperfect": "ia ias íamos íeis iam",
        "future": after("er", PT_FUTURE),
        "conditional": after("er", PT_CONDITIONAL),
        "subjunctive": "a as amos ais am esse esses êssemos êsseis essem eres ermos erdes erem",
        "imperative": "ei",
        "gerund": "endo",
        "participle": "ido ida idos idas ído ída ídos ídas",
    },
    "ir": {
        "present": "o es e imos is em",
        "past": "i iste iu imos istes iram ira iras íramos",
        "imperfect": "ia ias íamos íeis iam",
        "future": after("ir", PT_FUTURE),
        "conditional": after("ir", PT_CONDITIONAL),
        "subjunctive": "a as amos ais am isse isses íssemos ísseis issem ires irmos irdes irem",
        "imperative": "i",
        "gerund": "indo",
        "participle": "ido ida idos idas ído ída ídos ídas",
    },
}
PORTUGUESE["or"] = {"gerund": "ondo"}

FR_FUTURE = "ai as a ons ez ont"
FR_CONDITIONAL = "ais ait ions iez aient"
FR_IMPERFECT = "ais ait ions iez aient"

FRENCH = {
    "er": {
        "present": "e es ons ez ent",
        "past": "ai as a âmes âtes èrent",
        "imperfect": FR_IMPERFECT,
        "future": after("er", FR_FUTURE),
        "conditional": after("er", FR_CONDITIONAL),
        "subjunctive": "ions iez asse asses ât assions assiez assent",
        "gerund": "ant",
        "participle": "é ée és ées",
    },
    "ir": {
        "present": "is it issons issez issent s t ons ez ent e es",
        "past": "is it îmes îtes irent",
        "imperfect": " ".join("iss" + ending for ending in FR_IMPERFECT.split()) + " " + FR_IMPERFECT,
        "future": after("ir", FR_FUTURE),
        "conditional": after("ir", FR_CONDITIONAL),
        "subjunctive": "isse isses ît issions issiez issent ions iez e es ent",
        "gerund": "issant ant",
        "participle": "i ie is ies u ue us ues ert erte erts ertes",
    },
    "re": {
        "present": "s t ons ez ent",
        "past": "is it îmes îtes irent",
        "imperfect": FR_IMPERFECT,
        "future": after("r", FR_FUTURE),
        "conditional": after("r", FR_CONDITIONAL),
        "subjunctive": "e es ions iez ent",
        "gerund": "ant",
        "participle": "u ue us ues t te ts tes",
    },
}

GERMAN = {
    "en": {
        "present": "e st t est et",
        "past": "te test ten tet ete etest eten etet",
        "gerund": "end ende endem enden ender endes",
    },
    "n": {
        "present": "e le re st t",
        "past": "te test ten tet",
        "gerund": "nd nde ndem nden nder ndes",
    },
}

# What the last vowels and consonants of a stem become before some endings: what stands in the form, and in the infinitive.
CHANGES = {
    "es": [
        ("ie", "e"),
        ("ue", "o"),
        ("ue", "u"),
        ("i", "e"),
        ("u", "o"),
        ("zc", "c"),
        ("j", "g"),
        ("qu", "c"),
        ("gu", "g"),
        ("c", "z"),
        ("g", "gu"),
        ("í", "i"),
        ("ú", "u"),
        ("y", ""),
        ("z", "c"),
        ("ü", "u"),
        ("güe", "go"),
    ],
    "pt": [
        ("qu", "c"),
        ("gu", "g"),
        ("ç", "c"),
        ("j", "g"),
        ("c", "ç"),
        ("i", "e"),
        ("u", "o"),
        ("ei", "e"),
        ("oi", "o"),
        ("g", "gu"),
    ],
    "fr": [("è", "e"), ("è", "é"), ("ç", "c"), ("ge", "g"), ("ll", "l"), ("tt", "t"), ("i", "y")],
    "de": [],
}
TABLES = {"es": SPANISH, "pt": PORTUGUESE, "fr": FRENCH, "de": GERMAN}


# Stems of the past that are another than the infinitive's, and would be taken for a present.
STRONG = {
    "es": {
        "poder": "pud",
        "venir": "vin",
        "tener": "tuv",
        "estar": "estuv",
        "andar": "anduv",
        "haber": "hub",
        "poner": "pus",
        "saber": "sup",
        "querer": "quis",
        "hacer": "hic",
        "decir": "dij",
        "traer": "traj",
        "ducir": "duj",
    },
    "pt": {
        "poder": "pud",
        "ter": "tiv",
        "estar": "estiv",
        "fazer": "fiz",
        "querer": "quis",
        "saber": "soub",
        "trazer": "troux",
        "dizer": "diss",
    },
}
STRONG_ENDINGS = "e iste o imos isteis ieron eron este emos estes eram".split()


def strong(language, form, lemma):
    for verb, stem in STRONG.get(language, {}).items():
        if lemma.endswith(verb):
            start = lemma.removesuffix(verb)
            return form.startswith(start + stem) and form.removeprefix(start + stem) in STRONG_ENDINGS
    return False


def regular(language, lemma):
    """All forms of a verb that is regular. In French "mangeons" and "plaçons" keep their sound."""
    for infinitive, table in TABLES[language].items():
        if lemma.endswith(infinitive):
            stem = lemma.removesuffix(infinitive)
            for ending in " ".join(table.values()).split():
                soft = (
                    {"g": stem + "e", "c": stem[:-1] + "ç"}.get(stem[-1], stem)
                    if language == "fr" and ending[0] in "aâo"
                    else stem
                )
                yield soft + ending
            return


def inflections(language, form, lemma):
    """What the form can be of the verb, or nothing where its stem is another than the infinitive's."""
    if strong(language, form, lemma):
        return ["past"]
    found = []
    for infinitive, table in TABLES[language].items():
        if not lemma.endswith(infinitive):
            continue
        stem = lemma.removesuffix(infinitive)
        for inflection, endings in table.items():
            if any(form.endswith(ending) and same(language, form.removesuffix(ending), stem) for ending in endings.split()):
                found.append(inflection)
        break
    if language == "de" and participle(form, lemma):
        return [*found, "participle"]
    return found


def same(language, stem, of_lemma):
    if stem == of_lemma:
        return True
    for here, there in CHANGES[language]:
        at = stem.rfind(here)
        if at >= 0 and stem[:at] + there + stem[at + len(here) :] == of_lemma:
            return True
    return False


def participle(form, lemma):
    """German: "gemacht", "eingestellt", "eingestellte" of verbs without a change of stem."""
    stem = lemma.removesuffix("en") if lemma.endswith("en") else lemma.removesuffix("n")
    bare = form
    for ending in ("em", "en", "er", "es", "e"):
        if form.endswith("t" + ending):
            bare = form.removesuffix(ending)
            break
    if bare in (stem + "t", stem + "et"):
        # "installiert", "verkauft": without "ge".
        return lemma.endswith("ieren") or lemma.startswith(
            ("be", "ver", "er", "ent", "zer", "ge", "miss", "über", "unter", "wider")
        )
    if bare in ("ge" + stem + "t", "ge" + stem + "et"):
        return True
    at = bare.find("ge", 1)
    return at > 0 and bare.endswith("t") and bare[:at] + bare[at + 2 :] in (stem + "t", stem + "et")
