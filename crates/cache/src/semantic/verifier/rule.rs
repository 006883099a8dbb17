//! By what two questions are told apart. A closed set: metrics and explanations name it.

macro_rules! named {
    ($(#[$meta:meta])* $type:ident { $($(#[doc = $doc:literal])* $variant:ident = $name:literal,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $type { $($(#[doc = $doc])* $variant,)* }

        impl $type {
            pub const ALL: &[$type] = &[$($type::$variant,)*];

            /// For metrics and explanations: snake_case, and never another one.
            pub const fn name(self) -> &'static str {
                match self { $($type::$variant => $name,)* }
            }
        }
    };
}

named! {
    /// Why the answer to one question does not serve the other.
    Rule {
        /// A word is left over, or two words stand in each other's place, and nothing says that they mean the same.
        Unexplained = "unexplained",
        /// One denies what the other says: not, never, without, un-.
        Negation = "negation",
        /// Two words in one place, of which one is the opposite of the other.
        Opposite = "opposite",
        /// Another number, or one more.
        Number = "number",
        /// The same number of something else.
        Unit = "unit",
        /// Another month, day, hour or season; before against after.
        Time = "time",
        /// A name, or a word nobody knows: names have no synonyms, and one letter makes another name.
        Entity = "entity",
        /// What stands between quotation marks is the matter itself.
        Quoted = "quoted",
        /// Symbols and whatever holds them: versions, files, code.
        Symbol = "symbol",
        /// The same words in an order that gives them other parts to play.
        Order = "order",
        /// How is not why, and whether is neither.
        Frame = "frame",
        /// What was is not what will be.
        Tense = "tense",
        /// Mine is not yours.
        Person = "person",
        /// May, can, should and must are four questions.
        Modality = "modality",
        /// All, some, one, none.
        Quantifier = "quantifier",
        /// Very is not slightly, and best is not better.
        Degree = "degree",
        /// If, unless, except, only: a condition or a part of the whole.
        Condition = "condition",
        /// From is not to: the small words between the others.
        Relation = "relation",
        /// One thing is not several of them, where the question is which.
        Plural = "plural",
        /// A word that means something else with a capital.
        Case = "case",
        /// They are in two languages, or one of them in a language that is not judged.
        Language = "language",
        /// One of them is found only as it was said; see [`Reason`].
        Uncovered = "uncovered",
        /// So many words of one are not in the other that nothing can make up for it.
        Distance = "distance",
    }
}

named! {
    /// Why a text is not looked for in other words.
    Reason {
        /// It holds code, or what looks like it.
        Code = "code",
        /// It is data: JSON, a table, lines of a log.
        Data = "data",
        /// A detail that decides may hide in so many words.
        Long = "long",
        /// It holds nothing to compare.
        Empty = "empty",
        /// It holds letters of a script that is not judged.
        Script = "script",
        /// Its language is not known, or there are two of them.
        Language = "language",
        /// It asks about now: "today", "latest". The answer of yesterday does not serve, unless answers live that short.
        Now = "now",
        /// It asks for more than was given before: "another one", "continue".
        Again = "again",
        /// It speaks of something that is not in it: "the above", "your last answer".
        Pointing = "pointing",
    }
}

/// How a text may be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coverage {
    /// In other words.
    Semantic,
    /// In its normal form, which differs in spelling, spacing and politeness alone. See [`super::Prepared::reason`].
    Canonical,
    /// As it was said alone, and why.
    Exact(Reason),
}

/// Whether the answer to one question serves the other.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Verdict {
    /// In 0..=1: 1 where both have the same normal form, above 0.95 where each difference is a sure one.
    Serves { score: f32 },
    /// It does not, or nothing shows that it does.
    Different(Rule),
}
