use super::*;

const DIFFERENT: [&str; 3] = [
    include_str!("tests/different.txt"),
    include_str!("tests/different_builds.txt"),
    include_str!("tests/different_others.txt"),
];

fn pairs(text: &'static str) -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    let mut section = "";
    text.lines().filter(|line| !line.is_empty() && !line.starts_with("# ")).filter_map(move |line| {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            section = name;
            return None;
        }
        line.split_once(" | ").map(|(a, b)| (section, a, b))
    })
}

fn judged(a: &str, b: &str) -> Verdict {
    verify(&Prepared::new(a), &Prepared::new(b))
}

#[test]
fn tables_can_be_read() {
    for language in Language::ALL {
        let bad: Vec<String> = grammar::Grammar::of(language).bad.iter().map(ToString::to_string).collect();
        assert!(bad.is_empty(), "{language:?}: {bad:#?}");
    }
}

#[test]
fn what_asks_something_else_is_different() {
    let mut served = Vec::new();
    for text in DIFFERENT {
        for (section, a, b) in pairs(text) {
            for (a, b) in [(a, b), (b, a)] {
                if let Verdict::Serves { score } = judged(a, b) {
                    served.push(format!(
                        "{section}: {a} | {b}: {score}: {} | {}",
                        Prepared::new(a).normal(),
                        Prepared::new(b).normal()
                    ));
                }
            }
        }
    }
    assert!(served.is_empty(), "{served:#?}");
}

#[test]
fn every_rule_has_a_pair_that_it_tells_apart() {
    let mut met: Vec<Rule> = Vec::new();
    for text in DIFFERENT {
        for (_, a, b) in pairs(text) {
            if let Verdict::Different(rule) = judged(a, b) {
                met.push(rule);
            }
        }
    }
    if let Verdict::Different(rule) = judged("Give me another example", "Give me an example") {
        met.push(rule);
    }
    let missing: Vec<&str> = Rule::ALL.iter().filter(|rule| !met.contains(rule)).map(|rule| rule.name()).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn what_asks_the_same_is_served() {
    let mut refused = Vec::new();
    for (section, a, b) in pairs(include_str!("tests/serves.txt")) {
        for (a, b) in [(a, b), (b, a)] {
            match judged(a, b) {
                Verdict::Serves { score } if score >= 0.95 => {}
                verdict => refused.push(format!(
                    "{section}: {a} | {b}: {verdict:?}: {} | {}",
                    Prepared::new(a).normal(),
                    Prepared::new(b).normal()
                )),
            }
        }
    }
    assert!(refused.is_empty(), "{refused:#?}");
}

/// Sentences of all kinds, as the beginnings of what the properties below try.
fn sentences() -> Vec<&'static str> {
    DIFFERENT
        .into_iter()
        .chain([include_str!("tests/serves.txt")])
        .flat_map(pairs)
        .flat_map(|(_, a, b)| [a, b])
        .collect()
}

#[test]
fn a_question_serves_itself() {
    for text in sentences() {
        assert_eq!(judged(text, text), Verdict::Serves { score: 1.0 }, "{text}");
    }
}

#[test]
fn neither_is_the_first() {
    let all = sentences();
    for (a, b) in all.iter().zip(all.iter().skip(1)) {
        assert_eq!(judged(a, b), judged(b, a), "{a} | {b}");
    }
}

#[test]
fn one_word_more_is_another_question() {
    // Words of meaning, numbers and negations, none of which is in the sentences.
    let words =
        ["walrus", "not", "never", "without", "17", "purple", "only", "except", "Gdansk", "unless", "yesterday"];
    let mut random = fastrand::Rng::with_seed(7);
    for (_, a, b) in pairs(include_str!("tests/serves.txt")) {
        let pieces: Vec<&str> = b.split(' ').collect();
        for word in words {
            let at = random.usize(0..=pieces.len());
            let mut longer = pieces.clone();
            longer.insert(at, word);
            let longer = longer.join(" ");
            assert!(
                matches!(judged(a, &longer), Verdict::Different(_)),
                "{a} | {longer}: {}",
                Prepared::new(&longer).normal()
            );
        }
    }
}

#[test]
fn another_number_is_another_question() {
    let numbers = ["2", "3", "12", "30", "31", "1999", "2,000", "0.5", "seven", "forty", "a thousand"];
    for (at, one) in numbers.iter().enumerate() {
        for other in &numbers[at + 1..] {
            let ask = |number: &str| format!("How do I split a pot among {number} players?");
            assert!(matches!(judged(&ask(one), &ask(other)), Verdict::Different(_)), "{one} {other}");
        }
    }
}

#[test]
fn what_is_not_judged_says_why() {
    let reason = |text: &str| Prepared::new(text).reason();
    assert_eq!(reason(""), Some(Reason::Empty));
    assert_eq!(reason("???"), Some(Reason::Empty));
    assert_eq!(reason("{\"a\": 1}"), Some(Reason::Data));
    assert_eq!(reason("fn main() {\n    run();\n}"), Some(Reason::Code));
    assert_eq!(reason(&"why is it so ".repeat(40)), Some(Reason::Long));
    assert_eq!(reason("Как включить свет?"), Some(Reason::Script));
    assert_eq!(reason("Hoe zet ik de verwarming aan?"), Some(Reason::Language));
    assert_eq!(reason("How do I say dónde está la estación en el centro?"), Some(Reason::Language));
    assert_eq!(reason("Who plays today?"), Some(Reason::Now));
    assert_eq!(reason("Give me another example"), Some(Reason::Again));
    assert_eq!(reason("What is wrong with the above sentence?"), Some(Reason::Pointing));
    assert_eq!(reason("How do I peel a mango?"), None);
    assert!(matches!(Prepared::new("{}").coverage(), Coverage::Exact(Reason::Data)));
}

#[test]
fn in_other_languages_only_spelling_may_differ() {
    let same = |a, b| {
        let (a, b) = (Prepared::new(a), Prepared::new(b));
        a.canonical().is_some() && a.canonical() == b.canonical()
    };
    assert!(same("Hoe werkt een warmtepomp?", "hoe werkt een  warmtepomp ?"));
    assert!(same("如何打开灯？", "如何打开灯?"));
    assert!(!same("你吃了", "你吃了？"));
    assert!(!same("Jak włączyć telewizor?", "Jak wlaczyc telewizor?"));
    assert!(same("Ｃafé", "Café"));
}

/// Every word and expression of a language's tables.
fn table_words() -> Vec<&'static str> {
    let tables = [
        include_str!("tables/en.txt"),
        include_str!("tables/es.txt"),
        include_str!("tables/fr.txt"),
        include_str!("tables/de.txt"),
        include_str!("tables/pt.txt"),
    ];
    tables.into_iter().flat_map(|table| table.split(|char: char| !char.is_alphabetic() && char != '\'')).collect()
}

#[test]
fn politeness_alone_is_found_as_it_was_said() {
    for text in
        ["Bonjour", "Merci", "Bitte", "Danke!", "Guten Tag", "Je ne sais pas", "Ich weiß nicht", "Please?", "Por favor"]
    {
        assert_eq!(judged(text, text), Verdict::Serves { score: 1.0 }, "{text}");
        assert!(matches!(judged(text, "How do I peel a mango?"), Verdict::Different(_)), "{text}");
    }
}

proptest::proptest! {
    #[test]
    fn what_the_tables_know_is_judged_without_harm(words in proptest::collection::vec(proptest::sample::select(table_words()), 1..9)) {
        let text = words.join(" ");
        let _ = verify(&Prepared::new(&text), &Prepared::new("How do I peel a mango?"));
    }

    #[test]
    fn any_text_is_judged_without_harm(a in "\\PC{0,200}", b in "\\PC{0,200}") {
        let (a, b) = (Prepared::new(&a), Prepared::new(&b));
        let _ = verify(&a, &b);
        proptest::prop_assert!(a.bytes() < 64 * 1024);
    }

    #[test]
    fn any_words_are_judged_without_harm(words in proptest::collection::vec("[a-z'’0-9,.?!\"$-]{1,9}|how|what|is|the|do|i|not|by|was|'s|of|and|if|in|ß|İ|é", 0..60)) {
        let text = words.join(" ");
        let one = Prepared::new(&text);
        if one.canonical().is_some() {
            proptest::prop_assert_eq!(verify(&one, &Prepared::new(&text)), Verdict::Serves { score: 1.0 });
        }
    }
}
