//! Two words that stand in each other's place: what makes them say the same, and how sure that is.

use gateway_cache_data::words::{self, Inflection, Language, Lemma, Part};

use super::align::{J, JE};
use super::grammar::{Class, Grammar};
use super::order::TURNED;
use super::rule::Rule;
use super::unit::{Reading, Readings, Unit};
use crate::semantic::text::accents;
use crate::semantic::text::hash::word_hash;
use crate::semantic::text::tokens::{Case, Kind};

/// Two words with what is around them.
pub(crate) struct Place<'p> {
    pub(crate) language: Language,
    /// The words, with the texts they are in.
    pub(crate) ours: (&'p [Unit], &'p str),
    pub(crate) theirs: (&'p [Unit], &'p str),
    /// The text asks which, or for one: a plural is another question there.
    pub(crate) counted: [usize; 2],
    /// Nothing in the text as it was typed has an accent.
    pub(crate) ascii: [bool; 2],
    /// Capitals say something in both texts.
    pub(crate) careful: bool,
}

/// How sure each kind of difference is to change nothing.
mod sure {
    pub(super) const AGREEMENT: f32 = 0.995;
    pub(super) const PLURAL: f32 = 0.985;
    pub(super) const TURNED: f32 = 0.975;
    /// The verb of who asks how, and of nobody in particular.
    pub(super) const ANYBODY: f32 = 0.985;
    pub(super) const WHEN: f32 = 0.97;
    /// The same word in another case, where nothing else can be meant.
    pub(super) const CASE: f32 = 0.99;
    pub(super) const GERUND: f32 = 0.985;
    pub(super) const SYNONYM: f32 = 0.97;
    pub(super) const WEAK_SYNONYM: f32 = 0.955;
    pub(super) const ACCENTS: f32 = 0.99;
    pub(super) const TYPO: f32 = 0.985;
    pub(super) const TERM: f32 = 0.985;
}

/// Letters of a word that few others differ from in an accent alone.
const LONG: usize = 9;
/// A synonym: of all uses of each of the words, this share has the meaning in common.
const FREQUENT: f32 = 0.65;
const WEAK: f32 = 0.48;

impl Place<'_> {
    /// How sure it is that `ours[i]` and `theirs[j]` say the same, or why they do not.
    pub(crate) fn explain(&self, i: usize, j: usize) -> Result<f32, Rule> {
        let (a, b) = (&self.ours.0[i], &self.theirs.0[j]);
        let (word, other) = (a.word(self.ours.1), b.word(self.theirs.1));
        if a.kind != b.kind {
            if let Some(sure) = self.term(i, j) {
                return Ok(sure);
            }
            return Err(of_kind(a.kind).or(of_kind(b.kind)).unwrap_or(Rule::Unexplained));
        }
        if a.hash == b.hash && word == other {
            return self.same(a, b);
        }
        if let Some(rule) = of_kind(a.kind) {
            return Err(rule);
        }
        let agrees =
            |unit: &Unit| matches!(unit.class, Class::Auxiliary | Class::Pronoun | Class::Possessive | Class::Modal);
        if a.class == b.class && agrees(a) && self.agreement(i, j) {
            return Ok(sure::AGREEMENT);
        }
        if self.when(a.hash, b.hash, self.theirs) || self.when(b.hash, a.hash, self.ours) {
            return Ok(sure::WHEN);
        }
        match (a.class, b.class) {
            (Class::Content, Class::Content) => self.content(i, j),
            (Class::Content, class) | (class, Class::Content) => {
                self.accents(a, b).or_else(|| self.typo(a, b)).ok_or(class.rule())
            }
            (Class::Article, Class::Article) | (Class::Possessive, Class::Possessive) => {
                self.declined(word, other).ok_or(a.class.rule())
            }
            (class, other) if class == other => Err(class.rule()),
            (Class::Article, class) | (class, _) => Err(class.rule()),
        }
    }

    /// Who asks when is told the date or the year, and the hour of what has one every day; who asks for one of these is not
    /// told another one.
    fn when(&self, asked: u64, exact: u64, (units, text): (&[Unit], &str)) -> bool {
        let daily = || units.iter().any(|unit| DAILY.contains(&unit.word(text)));
        ["cuándo", "quand", "wann", "quando"].iter().any(|word| asked == word_hash(word))
            && (["@date", "@year"].iter().any(|mark| exact == word_hash(mark))
                || exact == word_hash("@hour") && daily())
    }

    /// "Un" and "unos", "le" and "les" for who asks how; in German "ein" and "einen", "mein" and "meine", where a question
    /// has lost its subject ("wie lösche ich mein Konto"), so that no case says who it is.
    fn declined(&self, word: &str, other: &str) -> Option<f32> {
        const KINDS: [&[&str]; 8] = [
            &["un", "unos"],
            &["una", "unas"],
            &["un", "des"],
            &["une", "des"],
            &["um", "uns"],
            &["uma", "umas"],
            &["ein", "einen"],
            &["der", "den"],
        ];
        let how = |units: &[Unit]| units[0].hash == word_hash("@how");
        if !how(self.ours.0) || !how(self.theirs.0) {
            return None;
        }
        if self.language != Language::German {
            let kinds = KINDS.iter().take(6);
            return kinds.into_iter().any(|kind| kind.contains(&word) && kind.contains(&other)).then_some(sure::PLURAL);
        }
        let turned = |units: &[Unit]| units.get(1).is_some_and(|verb| verb.form == TURNED);
        if !turned(self.ours.0) || !turned(self.theirs.0) {
            return None;
        }
        let stem = |word: &str| ["mein", "dein", "unser"].into_iter().find(|stem| word.starts_with(stem));
        let article = KINDS.iter().skip(6).any(|kind| kind.contains(&word) && kind.contains(&other));
        (article || stem(word).is_some() && stem(word) == stem(other)).then_some(sure::CASE)
    }

    /// The one word of which it is asked what it means, with quotation marks or without.
    fn term(&self, i: usize, j: usize) -> Option<f32> {
        const MEANS: u64 = word_hash("@means");
        let (ours, theirs) = (self.ours.0, self.theirs.0);
        let quoted = |unit: &Unit| matches!(unit.kind, Kind::Quoted | Kind::Word);
        let asked = i == 1 && j == 1 && ours[0].hash == MEANS && theirs[0].hash == MEANS;
        let same = ours[i].word(self.ours.1) == theirs[j].word(self.theirs.1);
        (asked && same && quoted(&ours[i]) && quoted(&theirs[j])).then_some(sure::TERM)
    }

    /// "Is a spider", "are spiders": the verb and the pronoun go with a subject that means any of its kind on both sides.
    fn agreement(&self, i: usize, j: usize) -> bool {
        const PAIRS: [[&str; 2]; 5] =
            [["is", "are"], ["its", "their"], ["itself", "themselves"], ["it", "they"], ["it", "them"]];
        let (word, other) = (self.ours.0[i].word(self.ours.1), self.theirs.0[j].word(self.theirs.1));
        if self.language != Language::English {
            return false;
        }
        if word.trim_end_matches('s') == "need" && other.trim_end_matches('s') == "need" {
            return true;
        }
        let is = |one: &str, many: &str| PAIRS.contains(&[one, many]);
        is(word, other) && self.generic(self.ours, i, self.theirs, j)
            || is(other, word) && self.generic(self.theirs, j, self.ours, i)
    }

    /// Whether one text speaks of "a spider" where the other speaks of "spiders": of any, on both sides, and near these words.
    fn generic(&self, one: (&[Unit], &str), i: usize, many: (&[Unit], &str), j: usize) -> bool {
        let nouns = |units: &[Unit], at: usize, inflection| -> Vec<Lemma> {
            let run = units.iter().skip(at).take(3).take_while(|unit| unit.class == Class::Content);
            let readings = run.flat_map(|unit| unit.readings().copied().collect::<Vec<_>>());
            let nouns = readings.filter(|reading| reading.part == Part::Noun && reading.inflection == inflection);
            nouns.map(|reading| reading.lemma).collect()
        };
        let articles = one.0.iter().enumerate().take(i + 2).filter(|(_, unit)| matches!(unit.word(one.1), "a" | "an"));
        let single: Vec<Lemma> = articles.flat_map(|(at, _)| nouns(one.0, at + 1, Inflection::Base)).collect();
        (0..(j + 2).min(many.0.len())).any(|at| {
            // Not the spiders, nor two of them.
            let free = at == 0
                || matches!(
                    many.0[at - 1].class,
                    Class::Auxiliary | Class::Question | Class::Frame | Class::Conjunction
                );
            free && nouns(many.0, at, Inflection::Plural).iter().any(|noun| single.contains(noun))
        })
    }

    fn same(&self, a: &Unit, b: &Unit) -> Result<f32, Rule> {
        let capital = |unit: &Unit| unit.case != Case::Lower && !unit.first;
        if a.form == 0 && b.form == 0 && capital(a) != capital(b) && Grammar::of(self.language).cased(a.hash) {
            return Err(Rule::Case);
        }
        // "Chrome" is no chrome; where one is typed without a capital anywhere, nothing is known.
        let common = a.class == Class::Content && a.readings[0].is_some_and(|first| first.part != Part::Name);
        if self.careful && common && a.case != b.case && !a.first && !b.first && a.form == 0 && b.form == 0 {
            return Err(Rule::Case);
        }
        if a.form == b.form {
            return Ok(1.0);
        }
        // "Wie ruft man Anna an", "wie ruft Anna an": in one of them nobody in particular does it.
        if self.language != Language::English && (a.form == TURNED) != (b.form == TURNED) {
            return Err(Rule::Person);
        }
        // Each of two wordings is only nearly the third; elsewhere tables are made for that.
        let weight = if self.language != Language::English || a.form == 0 || b.form == 0 {
            a.weight.min(b.weight).into()
        } else {
            f32::from(a.weight) * f32::from(b.weight) / 100.0
        };
        Ok(weight / 100.0)
    }

    fn content(&self, i: usize, j: usize) -> Result<f32, Rule> {
        let (a, b) = (&self.ours.0[i], &self.theirs.0[j]);
        let words = words::of(self.language);
        if let Some(sure) = self.accents(a, b) {
            return Ok(sure);
        }
        if self.language == Language::German {
            let (word, other) = (a.word(self.ours.1), b.word(self.theirs.1));
            if past(word, other) || past(other, word) {
                return Err(Rule::Tense);
            }
        }
        let mut refused = None;
        // A noun that can be a verb as well: "the best plan", "the longest walks".
        let behind = |units: &[Unit], at: usize| {
            at.checked_sub(1).map(|before| &units[before]).is_some_and(|before| {
                matches!(before.class, Class::Article | Class::Degree | Class::Possessive)
                    || before.can_be(Part::Adjective, Inflection::Superlative)
            })
        };
        let nouns = [a, b].iter().any(|unit| unit.readings[0].is_some_and(|first| first.part == Part::Noun))
            || behind(self.ours.0, i) && behind(self.theirs.0, j);
        let mut agreed = None;
        for one in a.readings() {
            for other in b.readings().filter(|other| other.part == one.part && other.lemma == one.lemma) {
                match self.inflection(one, other, i, j) {
                    Ok(sure) if !a.name && !b.name => agreed = agreed.or(Some(sure)),
                    Ok(_) => refused = Some(Rule::Entity),
                    Err(rule) => refused = refused.or(Some(rule)),
                }
            }
        }
        if let Some(sure) = agreed.filter(|_| refused != Some(Rule::Plural) || !nouns) {
            return Ok(sure);
        }
        if let Some(rule) = refused {
            return Err(rule);
        }
        if let Some(sure) = self.typo(a, b) {
            return Ok(sure);
        }
        let (Some(one), Some(other)) = (a.readings().next(), b.readings().next()) else {
            return Err(if a.name || b.name { Rule::Entity } else { Rule::Unexplained });
        };
        if words.antonyms(one.lemma, other.lemma) {
            return Err(Rule::Opposite);
        }
        if a.name || b.name {
            return Err(Rule::Entity);
        }
        self.synonyms(&a.readings, &b.readings, i, j)
    }

    /// How sure it is that two words, or expressions, of these readings say the same.
    pub(crate) fn synonyms(&self, ours: &Readings, theirs: &Readings, i: usize, j: usize) -> Result<f32, Rule> {
        let words = words::of(self.language);
        let grammar = Grammar::of(self.language);
        let lexical = |units: &[Unit]| units.iter().any(|unit| grammar.lexical(unit.hash));
        if lexical(self.ours.0) || lexical(self.theirs.0) {
            return Err(Rule::Unexplained);
        }
        let mut best: f32 = 0.0;
        for one in ours.iter().flatten() {
            for other in theirs.iter().flatten().filter(|other| other.part == one.part) {
                if words.antonyms(one.lemma, other.lemma) {
                    return Err(Rule::Opposite);
                }
                let listed = grammar.same(one.part, one.lemma, other.lemma);
                // A dictionary knows what a word can mean; what is no common reading of either word is none here.
                let common = |readings: &Readings| readings[0].is_some_and(|first| first.part == one.part);
                if listed.is_none() && !(common(ours) && common(theirs)) {
                    continue;
                }
                let sure = listed.or_else(|| match words.synonyms_as(one.part, one.lemma, other.lemma)?.least() {
                    least if least >= FREQUENT => Some(sure::SYNONYM),
                    least if least >= WEAK => Some(sure::WEAK_SYNONYM),
                    _ => None,
                });
                let Some(sure) = sure else { continue };
                if let Ok(form) = self.same_form(one, other, i, j) {
                    best = best.max(sure * form);
                }
            }
        }
        if best > 0.0 { Ok(best) } else { Err(Rule::Unexplained) }
    }

    /// Whether two forms say the same where they are.
    fn inflection(&self, a: &Reading, b: &Reading, i: usize, j: usize) -> Result<f32, Rule> {
        use Inflection as I;
        if self.language != Language::English {
            return self.ending(a, b, i, j);
        }
        if a.inflection == b.inflection {
            return Ok(1.0);
        }
        match (a.part, a.inflection, b.inflection) {
            (Part::Verb, I::Base, I::Third) | (Part::Verb, I::Third, I::Base) => Ok(sure::AGREEMENT),
            (Part::Noun, I::Base, I::Plural) | (Part::Noun, I::Plural, I::Base) => {
                let definite =
                    i > 0 && j > 0 && self.definite(self.ours.0, i - 1) && self.definite(self.theirs.0, j - 1);
                let asked = i < self.counted[0] || j < self.counted[1];
                if asked || definite { Err(Rule::Plural) } else { Ok(sure::PLURAL) }
            }
            (Part::Verb, I::Base, I::Past) | (Part::Verb, I::Past, I::Base)
                if self.ours.0[i].form == TURNED || self.theirs.0[j].form == TURNED =>
            {
                Ok(sure::TURNED)
            }
            (Part::Verb, I::Base, I::Gerund) if self.gerund((self.ours.0, i), (self.theirs.0, j)) => Ok(sure::GERUND),
            (Part::Verb, I::Gerund, I::Base) if self.gerund((self.theirs.0, j), (self.ours.0, i)) => Ok(sure::GERUND),
            (
                Part::Adjective,
                I::Base | I::Feminine | I::Plural | I::FemininePlural | I::Declined,
                I::Base | I::Feminine | I::Plural | I::FemininePlural | I::Declined,
            ) => Ok(sure::AGREEMENT),
            (_, I::Comparative | I::Superlative, _) | (_, _, I::Comparative | I::Superlative) => Err(Rule::Degree),
            (Part::Verb, ..) => Err(Rule::Tense),
            (Part::Noun, ..) => Err(Rule::Plural),
            _ => Err(Rule::Unexplained),
        }
    }

    /// Whether a verb behind the beginning of a question says who asks, or nobody: "cómo cancelo", "cómo se cancela",
    /// "comment j'annule".
    fn first_person(&self, at: usize, word: &str, units: &[Unit]) -> bool {
        let before = at.checked_sub(1).map_or(0, |before| units[before].hash);
        match self.language {
            Language::Spanish | Language::Portuguese => word.ends_with('o'),
            Language::French => before == JE || before == J,
            Language::English | Language::German => false,
        }
    }

    /// Whether two words of which each has an ending of its own are in the same form.
    fn same_form(&self, a: &Reading, b: &Reading, i: usize, j: usize) -> Result<f32, Rule> {
        if self.language == Language::English {
            return self.inflection(a, b, i, j);
        }
        if a.part == Part::Verb
            && let Some(sure) = self.asker(i, j)
        {
            return Ok(sure);
        }
        let end = |unit: &Unit, text: &str| unit.word(text).chars().last();
        let agree = end(&self.ours.0[i], self.ours.1) == end(&self.theirs.0[j], self.theirs.1);
        if a.inflection == b.inflection && (a.part != Part::Verb || agree) { Ok(1.0) } else { Err(Rule::Unexplained) }
    }

    /// How sure it is that two forms of a verb behind the beginning of a question only differ in that one of them says who
    /// asks, or nobody in particular, and the other one nothing of who does it.
    fn asker(&self, i: usize, j: usize) -> Option<f32> {
        let (one, other) = (&self.ours.0[i], &self.theirs.0[j]);
        let (word, twin) = (one.word(self.ours.1), other.word(self.theirs.1));
        // "Wie fand man Gold": a strong past.
        let strong = |word: &str, twin: &str| !word.ends_with(['t', 'e', 'n']) && !twin.starts_with(word);
        if self.language == Language::German && (strong(word, twin) || strong(twin, word)) {
            return None;
        }
        let begins = |unit: &Unit| matches!(unit.class, Class::Frame | Class::Question);
        let asked = |units: &[Unit], at: usize| {
            begins(&units[0]) && (at == 1 || (at == 2 && matches!(units[1].class, Class::Pronoun | Class::Frame)))
        };
        if !asked(self.ours.0, i) || !asked(self.theirs.0, j) {
            return None;
        }
        // "Wie ändere ich", "wie kann ich ändern", "cómo se limpian", "comment fait-on": the verb was put where the other one has
        // it.
        let turned = |unit: &Unit, at: usize| unit.form == TURNED && at == 1;
        let told =
            |unit: &Unit, at: usize, word: &str, units: &[Unit]| turned(unit, at) || self.first_person(at, word, units);
        let (ours, theirs) = (told(one, i, word, self.ours.0), told(other, j, twin, self.theirs.0));
        let both = ours && theirs && (turned(one, i) || turned(other, j));
        (both || ours && infinitive(twin) || theirs && infinitive(word)).then_some(sure::ANYBODY)
    }

    /// Whether two endings of a word say the same, in the languages whose endings say who and when: only the plural of a noun,
    /// what an adjective takes from its noun, and the first person and the infinitive of who asks how.
    fn ending(&self, a: &Reading, b: &Reading, i: usize, j: usize) -> Result<f32, Rule> {
        use Inflection as I;
        let (one, other) = (&self.ours.0[i], &self.theirs.0[j]);
        let (word, twin) = (one.word(self.ours.1), other.word(self.theirs.1));
        if word == twin {
            return Ok(1.0);
        }
        match a.part {
            Part::Noun => {
                let (short, long) = if word.len() < twin.len() { (word, twin) } else { (twin, word) };
                let ends = long.strip_prefix(short);
                let plural = match self.language {
                    Language::German => {
                        matches!(ends, Some("n" | "en" | "e" | "s" | "er"))
                            && (a.inflection == I::Plural) != (b.inflection == I::Plural)
                    }
                    _ => matches!(ends, Some("s" | "es" | "x")),
                };
                let another = ANOTHER_PLURAL.contains(&[short, long]);
                if !plural || another || i < self.counted[0] || j < self.counted[1] {
                    Err(Rule::Plural)
                } else {
                    Ok(sure::PLURAL)
                }
            }
            Part::Adjective => {
                let noun = |unit: &Unit| unit.readings().any(|reading| reading.part == Part::Noun);
                if noun(one)
                    || noun(other)
                    || matches!(a.inflection, I::Comparative | I::Superlative)
                        != matches!(b.inflection, I::Comparative | I::Superlative)
                {
                    Err(Rule::Degree)
                } else {
                    Ok(sure::AGREEMENT)
                }
            }
            Part::Verb => self.asker(i, j).ok_or(Rule::Tense),
            _ => Err(Rule::Unexplained),
        }
    }

    /// The same word typed without its accents. That makes another word of some ("papa", "papá"), so what was typed must not be
    /// one, and where it is the only such word of its text, the accent must not be on the last letter.
    fn accents(&self, a: &Unit, b: &Unit) -> Option<f32> {
        let (word, twin) = (a.word(self.ours.1), b.word(self.theirs.1));
        let marks = |word: &str| word.chars().filter(|char| !char.is_ascii()).count();
        if self.language == Language::English || marks(word) == marks(twin) {
            return None;
        }
        let (bare, full, typed, ascii) =
            if marks(word) < marks(twin) { (word, twin, a, self.ascii[0]) } else { (twin, word, b, self.ascii[1]) };
        let plain = accents::plain(full, self.language)?;
        if typed.class != Class::Content || plain != accents::plain(bare, self.language)? {
            return None;
        }
        // Nothing in the whole text has an accent, and in the other one more than one word has.
        let other = if marks(word) < marks(twin) { self.theirs.1 } else { self.ours.1 };
        let careless = ascii && marks(other) > 1;
        let last = full.chars().last().is_some_and(|char| !char.is_ascii());
        // What the lists have without an accent, and can say nothing of, is a careless spelling; so is a long word that is rare
        // in a text that has no accent at all.
        let rare = |reading: &Reading| {
            reading.part != Part::Verb && words::of(self.language).rank_below(reading.lemma).is_none()
        };
        let known = typed.readings().any(|reading| !(careless && bare.len() >= LONG && rare(reading)));
        // "Pate" is "pâte" as well as "pâté".
        if last && self.without_last_accent(full) {
            return None;
        }
        let long = bare.len() >= if careless { 3 } else { 4 };
        (long && ((!known && !last) || (careless && (!known || !last)))).then_some(sure::ACCENTS)
    }

    /// Whether the word is another one with a bare last letter.
    fn without_last_accent(&self, word: &str) -> bool {
        let Some((at, _)) = word.char_indices().next_back() else { return false };
        let bare = accents::plain(&word[at..], self.language).map(|last| [&word[..at], &last].concat());
        bare.is_some_and(|bare| words::of(self.language).known(&bare))
    }

    /// Whether the word says that this one is meant, or these: "the president", "my sons". Who asks how means any.
    fn definite(&self, units: &[Unit], at: usize) -> bool {
        let word = &units[at];
        let how = units[0].class == Class::Frame && units[0].hash != word_hash("@what");
        // In "the refunds process" it is the process that is meant.
        let before_another =
            units.get(at + 2).filter(|next| next.class == Class::Content && next.kind == Kind::Word).is_some_and(
                |next| next.readings().next().is_none_or(|reading| matches!(reading.part, Part::Noun | Part::Name)),
            );
        !how && !before_another && (word.class == Class::Possessive || word.hash == word_hash("the"))
    }

    /// Whether a gerund only names the action: behind a preposition or at the beginning of what is asked. "Training" is no
    /// train: where the base form is a thing, it is something else.
    fn gerund(&self, (base, at): (&[Unit], usize), (gerund, place): (&[Unit], usize)) -> bool {
        let before = |units: &[Unit], at: usize| at.checked_sub(1).map(|before| units[before].class);
        let thing = base[at].readings[0].is_some_and(|first| first.part == Part::Noun)
            || before(base, at) == Some(Class::Article);
        let named = matches!(before(gerund, place), None | Some(Class::Preposition | Class::Frame));
        !thing && (named || place == 2 && gerund[0].class == Class::Frame)
    }

    /// A word that is none, where the other text has the one word it can be meant for.
    fn typo(&self, a: &Unit, b: &Unit) -> Option<f32> {
        let (wrong, right, wrong_word, right_word) = match (a.known, b.known) {
            (false, true) => (a, b, a.word(self.ours.1), b.word(self.theirs.1)),
            (true, false) => (b, a, b.word(self.theirs.1), a.word(self.ours.1)),
            _ => return None,
        };
        let name =
            right.class == Class::Content && right.readings().next().is_none_or(|reading| reading.part == Part::Name);
        // Days and months have a capital and are no names.
        let capital = |unit: &Unit| unit.case != Case::Lower && !unit.first && right.class == Class::Content;
        if matches!(wrong.case, Case::Upper | Case::Mixed) || name || capital(right) || capital(wrong) {
            return None;
        }
        // What nobody knows may be a rare word, and so is no error for another rare one.
        let frequent = right.class != Class::Content
            || right.readings().any(|reading| {
                words::of(self.language)
                    .rank_below(reading.lemma)
                    .is_some_and(|rank| rank <= if self.language == Language::English { 25_000 } else { 12_000 })
            });
        // Long lists of words that lack one, and a long word that is all but the same, leave little room for another.
        let frequent = frequent
            || (!matches!(self.language, Language::English | Language::German) && right_word.chars().count() >= 8);
        if !frequent {
            return None;
        }
        let letters = right_word.chars().count();
        let most = match letters {
            0..=4 => return None,
            5..=7 => 1,
            _ if self.language != Language::English => 1,
            _ => 2,
        };
        if wrong_word.chars().next() != right_word.chars().next() {
            return None;
        }
        // Endings say who and when there, and an accent is more than a slip: see `accents`.
        if self.language != Language::English {
            let tail = |word: &str| word.char_indices().rev().nth(1).map(|(at, _)| word[at..].to_owned());
            let plain = |word: &str| accents::plain(word, self.language);
            // "Bloguear" is no error for "bloquear": new verbs are made every day.
            let verb = right_word.ends_with('r') && right.readings().any(|reading| reading.part == Part::Verb);
            if verb || tail(wrong_word) != tail(right_word) || plain(wrong_word)? == plain(right_word)? {
                return None;
            }
        }
        slips(wrong_word, right_word, most).map(|_| sure::TYPO)
    }
}

/// A noun, and the plural that is another one in its usual sense.
const ANOTHER_PLURAL: [[&str; 2]; 4] =
    [["celo", "celos"], ["kiefer", "kiefern"], ["esposa", "esposas"], ["vacance", "vacances"]];
/// What has an hour every day.
const DAILY: [&str; 40] = [
    "abre",
    "abren",
    "cierra",
    "cierran",
    "empieza",
    "empiezan",
    "comienza",
    "comienzan",
    "sale",
    "salen",
    "llega",
    "llegan",
    "ouvre",
    "ouvrent",
    "ferme",
    "ferment",
    "commence",
    "commencent",
    "part",
    "partent",
    "arrive",
    "arrivent",
    "öffnet",
    "öffnen",
    "schliesst",
    "schliessen",
    "beginnt",
    "beginnen",
    "macht",
    "machen",
    "fährt",
    "fahren",
    "abrem",
    "fecha",
    "fecham",
    "começa",
    "começam",
    "sai",
    "chega",
    "chegam",
];

/// "Baute" beside "baut": the weak past of a verb, which the lists of German words do not tell from its present.
fn past(word: &str, other: &str) -> bool {
    let stem = word.strip_suffix("ten").or_else(|| word.strip_suffix("te"));
    let rest = stem.and_then(|stem| other.strip_prefix(stem));
    matches!(rest, Some("t" | "e" | "en"))
}

/// Of the languages with an infinitive in "-r"; in French also "-re".
fn infinitive(word: &str) -> bool {
    word.ends_with('r') || word.ends_with("re")
}

fn of_kind(kind: Kind) -> Option<Rule> {
    match kind {
        Kind::Word => None,
        Kind::Number => Some(Rule::Number),
        Kind::Opaque => Some(Rule::Symbol),
        Kind::Quoted => Some(Rule::Quoted),
    }
}

/// How many letters are missing, too many, wrong or the other way round; `None`: more than `most`.
fn slips(a: &str, b: &str, most: usize) -> Option<usize> {
    const LONGEST: usize = 24;
    let mut first = ['\0'; LONGEST];
    let mut second = ['\0'; LONGEST];
    let mut lengths = [0; 2];
    for (length, (word, into)) in lengths.iter_mut().zip([(a, &mut first), (b, &mut second)]) {
        for char in word.chars() {
            *into.get_mut(*length)? = char;
            *length += 1;
        }
    }
    let [n, m] = lengths;
    if n.abs_diff(m) > most {
        return None;
    }
    let mut before = [0_usize; LONGEST + 1];
    let mut last: [usize; LONGEST + 1] = std::array::from_fn(|at| at);
    for i in 1..=n {
        let mut row = [i; LONGEST + 1];
        for j in 1..=m {
            let wrong = usize::from(first[i - 1] != second[j - 1]);
            let mut cell = (last[j] + 1).min(row[j - 1] + 1).min(last[j - 1] + wrong);
            if i > 1 && j > 1 && first[i - 1] == second[j - 2] && first[i - 2] == second[j - 1] {
                cell = cell.min(before[j - 2] + 1);
            }
            row[j] = cell;
        }
        before = last;
        last = row;
    }
    Some(last[m]).filter(|slips| *slips <= most)
}
