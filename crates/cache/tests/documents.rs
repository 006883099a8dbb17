//! What operators read of the rules is what the program says.

use gateway_cache::semantic::verifier::{Reason, Rule};

#[test]
fn every_rule_and_every_reason_is_a_row_of_the_documents() {
    let page = include_str!("../../../docs/cache.md");
    let names = Rule::ALL.iter().map(|rule| rule.name()).chain(Reason::ALL.iter().map(|reason| reason.name()));
    for name in names {
        assert!(page.contains(&format!("\n| `{name}` | ")), "docs/cache.md has no row for `{name}`");
    }
}
