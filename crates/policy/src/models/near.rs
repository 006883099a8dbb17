//! "Did you mean": names that are near to one that nobody has.

const SHOWN: usize = 3;
/// Of a name; this bounds the work.
const COMPARED_CHARS: usize = 64;
/// A part of a name that is shorter says nothing about it.
const TELLING_LETTERS: usize = 3;

/// How a known name is akin to the asked one; the nearest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kin {
    /// Apart from case and separators.
    Same,
    /// The asked name is its beginning: `claude-sonnet`. How many letters follow.
    Longer(usize),
    /// How many letters are wrong.
    Misspelt(usize),
    /// The asked name is somewhere in it: `haiku`. How many letters are around it.
    Part(usize),
}

pub(super) fn nearest<'a>(asked: &str, known: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<String> {
    let asked = letters(asked);
    let mut found: Vec<(Kin, &str, &str)> = known
        .filter_map(|(vendor, name)| {
            // A reseller's names have the maker in front, which people leave out.
            let bare = name.rsplit_once('/').map(|(_, bare)| bare);
            let kin = [Some(name), bare].into_iter().flatten().filter_map(|name| kin(&asked, &letters(name)));
            kin.min().map(|kin| (kin, vendor, name))
        })
        .collect();
    // Stable: of equally near ones, the makers' come before the resellers'.
    found.sort_by_key(|&(kin, ..)| kin);
    found.into_iter().take(SHOWN).map(|(_, vendor, name)| format!("{vendor}/{name}")).collect()
}

fn kin(asked: &str, name: &str) -> Option<Kin> {
    let more = name.len().abs_diff(asked.len());
    let wrong_at_most = asked.len() / 4;
    if asked == name {
        return Some(Kin::Same);
    }
    if asked.len() >= TELLING_LETTERS && name.starts_with(asked) {
        return Some(Kin::Longer(more));
    }
    if more <= wrong_at_most {
        let wrong = strsim::osa_distance(asked, name);
        if wrong <= wrong_at_most {
            return Some(Kin::Misspelt(wrong));
        }
    }
    (asked.len() >= TELLING_LETTERS && name.contains(asked)).then_some(Kin::Part(more))
}

/// Without case and separators: nobody remembers where a vendor writes 4.5, 4-5 or 45.
fn letters(name: &str) -> String {
    let letters = name.chars().filter(|c| !matches!(c, '-' | '.' | '_' | ':' | ' '));
    letters.take(COMPARED_CHARS).map(|c| c.to_ascii_lowercase()).collect()
}
