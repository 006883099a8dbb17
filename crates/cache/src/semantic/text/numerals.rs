//! Numbers in words and in digits, as one spelling.

/// Adds the next number word to what the words before have made: `(30, 2)` is 32, `(2, 100)` is 200. `None`: it begins
/// another number, as in "two three".
///
/// `by_scores`: as in French, where sixty goes on to seventy-nine and four twenties are eighty.
pub(crate) fn join(total: u64, next: u64, by_scores: bool) -> Option<u64> {
    match next {
        20 if by_scores && total % 100 == 4 => total.checked_add(76),
        10..=19 if by_scores && matches!(total % 100, 60 | 80) => total.checked_add(next),
        7..=9 if by_scores && total % 100 % 20 == 10 => total.checked_add(next),
        100 if (1..100).contains(&total) => Some(total * 100),
        1_000 | 1_000_000 | 1_000_000_000 => {
            // Only what is smaller than the next word counts it: "two million three thousand".
            let low = total % (next * 1_000);
            let counted = low % next;
            (counted > 0 && low == counted).then(|| (total - low).checked_add(counted.checked_mul(next)?)).flatten()
        }
        1..=9 if total >= 20 && total.is_multiple_of(10) => total.checked_add(next),
        10..=99 if total >= 100 && total.is_multiple_of(100) => total.checked_add(next),
        100..=999 if total >= 1_000 && total.is_multiple_of(1_000) => total.checked_add(next),
        _ => None,
    }
}

/// A number in digits without its separators: `1,000` and `1000` are one where `thousands` is a comma. A separator that is
/// not between groups of three stays.
pub(crate) fn plain(digits: &str, thousands: char, out: &mut String) {
    let mut groups = digits.split(thousands);
    let first = groups.next().unwrap_or_default();
    let mut rest = groups.peekable();
    let grouped = rest.peek().is_some()
        && (1..=3).contains(&first.len())
        && first.bytes().all(|byte| byte.is_ascii_digit())
        && digits.split(thousands).skip(1).enumerate().all(|(index, group)| {
            let last = index + 2 == digits.split(thousands).count();
            let whole =
                if last { group.split(|char: char| !char.is_ascii_digit()).next().unwrap_or_default() } else { group };
            whole.len() == 3 && whole.bytes().all(|byte| byte.is_ascii_digit())
        });
    if grouped {
        out.extend(digits.chars().filter(|char| *char != thousands));
    } else {
        out.push_str(digits);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(words: &[u64]) -> Option<u64> {
        words[1..].iter().try_fold(words[0], |total, next| join(total, *next, false))
    }

    #[test]
    fn words_make_one_number_or_two() {
        assert_eq!(said(&[30, 2]), Some(32));
        assert_eq!(said(&[2, 100]), Some(200));
        assert_eq!(said(&[2, 100, 40, 6]), Some(246));
        assert_eq!(
            said(&[3, 1_000, 2, 100]),
            None,
            "2 after 3,000 is of the hundred that follows: not joined from the left"
        );
        assert_eq!(said(&[5, 1_000]), Some(5_000));
        assert_eq!(said(&[2, 1_000_000]), Some(2_000_000));
        assert_eq!(said(&[2, 3]), None);
        assert_eq!(said(&[20, 14]), None);
    }

    #[test]
    fn separators_go_where_they_are_between_groups_of_three() {
        let plain = |digits, thousands| {
            let mut out = String::new();
            plain(digits, thousands, &mut out);
            out
        };
        assert_eq!(plain("1,000", ','), "1000");
        assert_eq!(plain("1,000,000.50", ','), "1000000.50");
        assert_eq!(plain("1,5", ','), "1,5");
        assert_eq!(plain("3.11", ','), "3.11");
        assert_eq!(plain("1.000", '.'), "1000");
        assert_eq!(plain("1.000,50", '.'), "1000,50");
        assert_eq!(plain("12,34,567", ','), "12,34,567");
        assert_eq!(plain("2024", '.'), "2024");
    }
}
