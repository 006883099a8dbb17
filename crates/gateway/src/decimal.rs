//! Whole numbers and decimals as text. By hand: every answer has three of them in its headers and its log line six, and
//! `format!` takes a thousand instructions for each.

use std::ops::Deref;

use http::HeaderValue;

/// Room for the digits of any `u64`, a point and a zero before it.
const LENGTH: usize = 22;

/// A number as it is written.
#[derive(Debug, Clone, Copy)]
pub struct Decimal {
    text: [u8; LENGTH],
    start: usize,
}

impl Decimal {
    /// A number of units of which 10^`places` are one, with all its places and at least one digit before the point.
    pub fn new(mut value: u64, places: usize) -> Self {
        let (mut text, mut start) = ([b'0'; LENGTH], LENGTH);
        if places > 0 {
            for digit in text[LENGTH - places..].iter_mut().rev() {
                *digit = b'0' + (value % 10) as u8;
                value /= 10;
            }
            start -= places + 1;
            text[start] = b'.';
        }
        loop {
            start -= 1;
            text[start] = b'0' + (value % 10) as u8;
            value /= 10;
            if value == 0 {
                return Decimal { text, start };
            }
        }
    }

    /// The same without zeros at its end, but one behind the point: as JSON is mostly written.
    pub fn short(mut value: u64, mut places: usize) -> Self {
        while places > 1 && value.is_multiple_of(10) {
            value /= 10;
            places -= 1;
        }
        Decimal::new(value, places)
    }

    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self).unwrap_or_default()
    }

    pub fn header(&self) -> HeaderValue {
        // Digits make a valid header.
        HeaderValue::from_bytes(self).unwrap_or(HeaderValue::from_static("0"))
    }

    /// Milliseconds, to the microsecond.
    pub fn millis(ms: f64) -> Self {
        Decimal::short((ms * 1e3).round() as u64, 3)
    }
}

impl Deref for Decimal {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.text[self.start..]
    }
}

#[cfg(test)]
mod tests {
    use super::Decimal;

    #[test]
    fn decimals_have_all_their_places_and_one_digit_before_the_point() {
        for (value, places, text) in [
            (0, 0, "0"),
            (70, 0, "70"),
            (u64::MAX, 0, "18446744073709551615"),
            (0, 3, "0.000"),
            (42, 3, "0.042"),
            (1_234_567, 3, "1234.567"),
            (10, 9, "0.000000010"),
            (u64::MAX, 9, "18446744073.709551615"),
        ] {
            assert_eq!(&*Decimal::new(value, places), text.as_bytes());
        }
        for (ms, text) in [(0.0, "0.0"), (10.0, "10.0"), (619.06, "619.06"), (0.001, "0.001"), (1.23449, "1.234")] {
            assert_eq!(&*Decimal::millis(ms), text.as_bytes());
        }
        assert_eq!(&*Decimal::short(70, 0), b"70");
    }
}
