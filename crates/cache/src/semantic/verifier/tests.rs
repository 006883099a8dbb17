#[test]
fn tables_can_be_read() {
    for language in super::Language::ALL {
        let bad: Vec<String> = super::grammar::Grammar::of(language).bad.iter().map(ToString::to_string).collect();
        assert!(bad.is_empty(), "{language:?}: {bad:#?}");
    }
}
