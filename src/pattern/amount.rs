//! Numbers of a pattern, small and quick to compare, and still exact (event-patterns.md rules 13, 19).

use crate::json::number::Number;
use std::cmp::Ordering;

/// Decimal places that [`fixed`] keeps.
const PLACES: u8 = 6;

/// Digits before the decimal point that [`fixed`] keeps.
const WHOLE_DIGITS: usize = 12;

/// A number of a pattern.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) enum Amount {
    /// In millionths: whatever has up to 12 digits before the point and 6 after it.
    Fixed(i64),
    /// Any other.
    Exact(Box<Number<Box<str>>>),
}

impl Amount {
    /// Reads a number of checked JSON.
    pub(super) fn of(text: &str) -> Self {
        fixed(text).map_or_else(|| Self::Exact(Box::new(Number::of(text).into_owned())), Self::Fixed)
    }

    /// How a number of an event, and what [`fixed`] says of it, compares with this one.
    pub(super) fn compare(&self, text: &str, millionths: Option<i64>) -> Ordering {
        match (self, millionths) {
            (Self::Fixed(bound), Some(value)) => value.cmp(bound),
            (Self::Fixed(bound), None) => Number::of(text).compare(&Number::of(&format!("{bound}e-{PLACES}"))),
            (Self::Exact(bound), _) => Number::of(text).compare(bound),
        }
    }
}

/// The value in millionths, however it is spelled, if it has few enough digits. Two numbers with a result compare as
/// their results do; a number with one never equals a number without.
pub(super) fn fixed(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let mut size: i64 = 0;
    let mut whole = 0;
    let mut places: Option<u8> = None;
    for byte in digits.bytes() {
        match (byte, places) {
            (b'0'..=b'9', None) => {
                whole += 1;
                if whole > WHOLE_DIGITS {
                    return Number::of(text).scaled(PLACES);
                }
                size = size * 10 + i64::from(byte - b'0');
            }
            (b'0'..=b'9', Some(found)) if found < PLACES => {
                size = size * 10 + i64::from(byte - b'0');
                places = Some(found + 1);
            }
            (b'0', Some(_)) => {}
            (b'.', None) => places = Some(0),
            // More digits, or an exponent.
            _ => return Number::of(text).scaled(PLACES),
        }
    }
    for _ in places.unwrap_or_default()..PLACES {
        size *= 10;
    }
    Some(if negative { -size } else { size })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn by_value_not_by_spelling() {
        for text in ["300", "300.0", "3e2", "0.3E+3", "300.0000000000", "30000e-2", "3000000000000e-10"] {
            assert_eq!(fixed(text), Some(300_000_000), "{text}");
        }
        for (text, value) in [
            ("-0", Some(0)),
            ("0e999999999999999999999999", Some(0)),
            ("-0.000001", Some(-1)),
            ("1e-7", None),
            ("0.0000001", None),
            ("999999999999.999999", Some(999_999_999_999_999_999)),
            ("1000000000000", None),
            ("1e12", None),
            ("1e99999999999999999999999999999999999999999", None),
        ] {
            assert_eq!(fixed(text), value, "{text}");
        }
    }

    proptest! {
        #[test]
        fn agrees_with_exact_numbers(a in number(), b in number()) {
            let exact = Number::of(&a).compare(&Number::of(&b));
            prop_assert_eq!(Amount::of(&b).compare(&a, fixed(&a)), exact, "{} {}", a, b);
            if let (Some(x), Some(y)) = (fixed(&a), fixed(&b)) {
                prop_assert_eq!(x.cmp(&y), exact);
            }
            if exact == Ordering::Equal {
                prop_assert_eq!(fixed(&a), fixed(&b));
            }
        }
    }

    fn number() -> impl Strategy<Value = String> {
        "-?(0|[1-9][0-9]{0,2}|1?0{11,13})(\\.[0-3]{1,2}(0{0,8}1?))?([eE][+-]?[0-9]{1,2})?"
    }
}
