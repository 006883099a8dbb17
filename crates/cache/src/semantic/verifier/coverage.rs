//! Texts that are not looked for in other words, by the look of them, before anything else is done.

use super::rule::Reason;

/// More words than this may hide one that decides. Seen: with 150 words in common, no measure of likeness tells two
/// questions apart that differ in one.
pub(crate) const MOST_WORDS: usize = 100;
/// A text of so many bytes has more words than that in any language.
const MOST_BYTES: usize = 1_500;

/// Why a text is found only as it was said.
pub(crate) fn reason(text: &str) -> Option<Reason> {
    if text.trim().is_empty() {
        return Some(Reason::Empty);
    }
    if text.len() > MOST_BYTES {
        return Some(Reason::Long);
    }
    let trimmed = text.trim();
    let data = (trimmed.starts_with('{') && trimmed.ends_with('}'))
        || (trimmed.starts_with('[') && trimmed.ends_with(']'))
        || (trimmed.starts_with('<') && trimmed.ends_with('>'))
        || trimmed.contains("\":")
        || trimmed.contains('\0');
    if data {
        return Some(Reason::Data);
    }
    let lines = trimmed.lines().filter(|line| !line.trim().is_empty()).count();
    let tables =
        trimmed.lines().filter(|line| line.matches('|').count() >= 2 || line.matches('\t').count() >= 2).count();
    if lines > 6 || tables > 1 {
        return Some(Reason::Data);
    }
    code(trimmed).then_some(Reason::Code)
}

/// Fences, lines that end as in a program, calls with arguments, arrows and assignments.
fn code(text: &str) -> bool {
    if text.contains("```") || text.contains("=>") || text.contains("->") || text.contains("::") || text.contains("&&")
    {
        return true;
    }
    if text.contains("==") || text.contains("!=") || text.contains("||") || text.contains("+=") || text.contains("</") {
        return true;
    }
    text.lines().any(|line| line.ends_with(';') || line.ends_with('{') || line.trim_start().starts_with('}'))
}
