//! Small closed tables, written by hand: `data/tables/en.txt` and so on. `[table]`, then lines `word = value`, or a word alone.

use std::collections::HashMap;

/// A table of words whose meaning the grammar or a convention fixes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Table {
    /// Words of the grammar; value: their class, as "article" or "preposition".
    Function,
    /// "don't" = "do not".
    Contraction,
    /// Abbreviations with one expansion: "approx" = "approximately".
    Abbreviation,
    /// "twelve" = "12"; "million" = "1000000".
    Number,
    /// "third" = "3".
    Ordinal,
    /// All names of a unit to one sign: "kilometres" = "km".
    Unit,
    /// ISO 4217: "euros" = "EUR". Names of several currencies ("dollars") have one only with a country before.
    Currency,
    /// "march" = "3".
    Month,
    /// "monday" = "1".
    Day,
    /// ISO 3166: "france" = "FR". People and adjectives: "french" = "FR+".
    Country,
    /// What asks nothing: "please", "could you tell me".
    Politeness,
    /// Pairs that say the opposite, which dictionaries do not list: "on" = "off".
    Opposite,
    /// What makes the answer depend on when it is asked: "today".
    Time,
    /// What asks for another answer than the one before: "again".
    Again,
}

impl Table {
    pub const ALL: [Self; 14] = [
        Self::Function,
        Self::Contraction,
        Self::Abbreviation,
        Self::Number,
        Self::Ordinal,
        Self::Unit,
        Self::Currency,
        Self::Month,
        Self::Day,
        Self::Country,
        Self::Politeness,
        Self::Opposite,
        Self::Time,
        Self::Again,
    ];

    /// As the files write it between brackets.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Function => "function",
            Self::Contraction => "contraction",
            Self::Abbreviation => "abbreviation",
            Self::Number => "number",
            Self::Ordinal => "ordinal",
            Self::Unit => "unit",
            Self::Currency => "currency",
            Self::Month => "month",
            Self::Day => "day",
            Self::Country => "country",
            Self::Politeness => "politeness",
            Self::Opposite => "opposite",
            Self::Time => "time",
            Self::Again => "again",
        }
    }
}

/// A row of a table, without its word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    pub table: Table,
    /// Empty where the table is a list.
    pub value: &'static str,
}

pub(super) struct Tables {
    rows: Vec<(&'static str, Entry)>,
    by_word: HashMap<&'static str, Vec<Entry>>,
}

impl Tables {
    /// Takes well below a millisecond; done when a language is first used.
    pub(super) fn parse(text: &'static str) -> Self {
        let mut table = None;
        let mut rows = Vec::new();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
                table = Table::ALL.into_iter().find(|table| table.name() == name);
            } else if let Some(table) = table {
                let (words, value) = line.split_once(" = ").unwrap_or((line, ""));
                rows.extend(words.split(", ").map(|word| (word, Entry { table, value })));
            }
        }
        let mut by_word: HashMap<_, Vec<_>> = HashMap::with_capacity(rows.len());
        for (word, entry) in &rows {
            by_word.entry(*word).or_default().push(*entry);
        }
        Self { rows, by_word }
    }

    pub(super) fn entries(&self, word: &str) -> &[Entry] {
        self.by_word.get(word).map_or(&[], Vec::as_slice)
    }

    pub(super) fn rows(&self, table: Table) -> impl Iterator<Item = (&'static str, &'static str)> {
        self.rows.iter().filter(move |(_, entry)| entry.table == table).map(|(word, entry)| (*word, entry.value))
    }
}
