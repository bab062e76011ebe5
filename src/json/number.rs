//! Numbers compared exactly, as spelled (event-patterns.md rules 5, 13, 19): by sign, exponent and digits.
//!
//! Nothing is rounded and no exponent is written out, so `1e1000000000` costs no more than `1`.

use std::cmp::Ordering;

/// Exponents of more decimal digits than this are kept as text.
const SMALL_DIGITS: usize = 37;
/// The first size that is kept as text.
const HUGE: u128 = 10_u128.pow(37);

/// A number by its value: 300, 300.0 and 3e2 are the same. `S` holds the digits: `&str` for a number in an event,
/// `Box<str>` for one that is kept.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Number<S> {
    /// Below zero; never set for zero.
    negative: bool,
    /// The digits d1 d2 d3 … of 0.d1d2d3… × 10^exponent in two pieces, d1 not 0, the last not 0. Zero has none.
    head: S,
    tail: S,
    exponent: Exponent,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Exponent {
    /// Less than 10^37 in size.
    Small(i128),
    /// Anything else: sign, and digits without leading zeros.
    Huge { negative: bool, digits: Box<str> },
}

impl<'a> Number<&'a str> {
    /// Reads a number of checked JSON.
    #[must_use]
    pub fn of(text: &'a str) -> Self {
        let (negative, text) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (digits, power) = match text.find(['e', 'E']) {
            Some(at) => (text.get(..at).unwrap_or_default(), text.get(at + 1..).unwrap_or_default()),
            None => (text, "0"),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let whole = whole.trim_start_matches('0');
        let significant = if whole.is_empty() { fraction.trim_start_matches('0') } else { fraction };
        let shift = if whole.is_empty() {
            -i128::try_from(fraction.len() - significant.len()).unwrap_or_default()
        } else {
            i128::try_from(whole.len()).unwrap_or_default()
        };
        let tail = significant.trim_end_matches('0');
        let head = if tail.is_empty() { whole.trim_end_matches('0') } else { whole };
        if head.is_empty() && tail.is_empty() {
            return Self { negative: false, head, tail, exponent: Exponent::Small(0) };
        }
        Self { negative, head, tail, exponent: Exponent::of(power, shift) }
    }

    /// A copy that owns its digits.
    #[must_use]
    pub fn into_owned(self) -> Number<Box<str>> {
        Number { negative: self.negative, head: self.head.into(), tail: self.tail.into(), exponent: self.exponent }
    }
}

impl<S: AsRef<str>> Number<S> {
    /// Orders by value.
    #[must_use]
    pub fn compare<T: AsRef<str>>(&self, other: &Number<T>) -> Ordering {
        match (self.sign(), other.sign()) {
            (0, 0) => Ordering::Equal,
            (a, b) if a != b => a.cmp(&b),
            (1, _) => self.compare_size(other),
            _ => other.compare_size(self),
        }
    }

    /// Whether both are the same value.
    #[must_use]
    pub fn equals<T: AsRef<str>>(&self, other: &Number<T>) -> bool {
        self.compare(other) == Ordering::Equal
    }

    /// The value times 10^`places`, if that is a whole number of at most 18 digits.
    #[must_use]
    pub fn scaled(&self, places: u8) -> Option<i64> {
        let digits = self.head.as_ref().len() + self.tail.as_ref().len();
        let Exponent::Small(exponent) = self.exponent else { return None };
        let wanted = usize::try_from(exponent + i128::from(places)).ok().filter(|wanted| *wanted <= 18);
        if digits == 0 {
            return Some(0);
        }
        let wanted = wanted.filter(|wanted| *wanted >= digits)?;
        let zeros = std::iter::repeat_n(b'0', wanted - digits);
        let size = self.digits().chain(zeros).fold(0_i64, |sum, b| sum * 10 + i64::from(b - b'0'));
        Some(if self.negative { -size } else { size })
    }

    fn sign(&self) -> i8 {
        if self.head.as_ref().is_empty() && self.tail.as_ref().is_empty() {
            0
        } else if self.negative {
            -1
        } else {
            1
        }
    }

    fn compare_size<T: AsRef<str>>(&self, other: &Number<T>) -> Ordering {
        self.exponent.compare(&other.exponent).then_with(|| self.digits().cmp(other.digits()))
    }

    fn digits(&self) -> impl Iterator<Item = u8> {
        self.head.as_ref().bytes().chain(self.tail.as_ref().bytes())
    }
}

impl Exponent {
    /// The written exponent plus `shift`, which is never larger than a text is long.
    fn of(written: &str, shift: i128) -> Self {
        let (negative, digits) = match written.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, written.strip_prefix('+').unwrap_or(written)),
        };
        let digits = digits.trim_start_matches('0');
        if digits.len() <= SMALL_DIGITS {
            let size = digits.bytes().fold(0_i128, |sum, b| sum * 10 + i128::from(b - b'0'));
            return Self::sum(if negative { -size } else { size } + shift);
        }
        // Far from zero: the shift changes the size, never the sign.
        let size = add(digits, if negative { -shift } else { shift });
        if size.len() <= SMALL_DIGITS {
            let size = size.bytes().fold(0_i128, |sum, b| sum * 10 + i128::from(b - b'0'));
            return Self::Small(if negative { -size } else { size });
        }
        Self::Huge { negative, digits: size.into() }
    }

    fn sum(value: i128) -> Self {
        let size = value.unsigned_abs();
        if size < HUGE {
            Self::Small(value)
        } else {
            Self::Huge { negative: value < 0, digits: size.to_string().into() }
        }
    }

    fn compare(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Small(a), Self::Small(b)) => a.cmp(b),
            (Self::Small(_), Self::Huge { negative, .. }) => {
                if *negative {
                    Ordering::Greater
                } else {
                    Ordering::Less
                }
            }
            (Self::Huge { .. }, Self::Small(_)) => other.compare(self).reverse(),
            (Self::Huge { negative: a, digits: x }, Self::Huge { negative: b, digits: y }) => match (a, b) {
                (false, true) => Ordering::Greater,
                (true, false) => Ordering::Less,
                (false, false) => x.len().cmp(&y.len()).then_with(|| x.cmp(y)),
                (true, true) => y.len().cmp(&x.len()).then_with(|| y.cmp(x)),
            },
        }
    }
}

/// `digits` + `shift` in decimal, without leading zeros. `digits` must be the larger.
fn add(digits: &str, shift: i128) -> String {
    let mut carry = shift;
    let mut sum: Vec<u8> = digits
        .bytes()
        .rev()
        .map(|b| {
            let here = i128::from(b - b'0') + carry;
            carry = here.div_euclid(10);
            b'0' + u8::try_from(here.rem_euclid(10)).unwrap_or_default()
        })
        .collect();
    while carry > 0 {
        sum.push(b'0' + u8::try_from(carry % 10).unwrap_or_default());
        carry /= 10;
    }
    while sum.last() == Some(&b'0') {
        sum.pop();
    }
    sum.iter().rev().map(|&b| char::from(b)).collect()
}

/// Whether the value of a JSON number is that of the shortest decimal text of a finite 64-bit float. Other numbers
/// are compared by spelling in the `aws` dialect (event-patterns.md rule 13).
#[must_use]
pub fn is_float(text: &str) -> bool {
    match text.parse::<f64>() {
        Ok(float) if float.is_finite() => Number::of(&format!("{float:e}")).equals(&Number::of(text)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn compare(a: &str, b: &str) -> Ordering {
        Number::of(a).compare(&Number::of(b))
    }

    #[test]
    fn same_value_in_many_spellings() {
        let same = [
            &["300", "300.0", "3e2", "3.0E+2", "0.3e3", "30000e-2", "3e0000000000000000000000000000000000000000000002"]
                [..],
            &["0", "-0", "0.0", "-0.0e99", "0e99999999999999999999999999999999999999999999"],
            &["1e400", "10e399", "0.1e401"],
            &["1e-400", "0.01e-398"],
            &["-1.25", "-125e-2"],
            &[
                "1e99999999999999999999999999999999999999999999",
                "10e99999999999999999999999999999999999999999998",
                "0.1e100000000000000000000000000000000000000000000",
            ],
            &["1e9999999999999999999999999999999999999", "0.1e10000000000000000000000000000000000000"],
            &["1e-9999999999999999999999999999999999999", "10e-10000000000000000000000000000000000000"],
            &["12345678901234567890123", "12345678901234567890123.0"],
        ];
        for group in same {
            for a in group {
                for b in group {
                    assert_eq!(compare(a, b), Ordering::Equal, "{a} {b}");
                    assert!(Number::of(a).into_owned().equals(&Number::of(b)));
                }
            }
        }
    }

    #[test]
    fn ascending() {
        let ascending = [
            "-1e99999999999999999999999999999999999999999999",
            "-1e400",
            "-10",
            "-1.25",
            "-1.2",
            "-1e-400",
            "-1e-99999999999999999999999999999999999999999999",
            "0",
            "1e-99999999999999999999999999999999999999999999",
            "1e-9999999999999999999999999999999999998",
            "1e-400",
            "0.1",
            "0.10000000000000000001",
            "0.11",
            "1",
            "1.0000000001",
            "2",
            "10",
            "12345678901234567890123",
            "12345678901234567890124",
            "1e400",
            "1e401",
            "1e9999999999999999999999999999999999999",
            "1e99999999999999999999999999999999999999999998",
            "1e99999999999999999999999999999999999999999999",
        ];
        for (i, a) in ascending.iter().enumerate() {
            for (j, b) in ascending.iter().enumerate() {
                assert_eq!(compare(a, b), i.cmp(&j), "{a} {b}");
            }
        }
    }

    #[test]
    fn what_a_float_can_say() {
        for yes in ["0", "-0", "0.1", "300", "3e2", "9007199254740992", "1e308", "5e-324", "0.10"] {
            assert!(is_float(yes), "{yes}");
        }
        for no in ["9007199254740993", "1e400", "1e-400", "0.1000000000000000001", "12345678901234567890123"] {
            assert!(!is_float(no), "{no}");
        }
    }

    proptest! {
        #[test]
        fn agrees_with_integers(a in -2000_i64..2000, b in -2000_i64..2000, shift in 0_usize..6) {
            // a and b spelled with a point somewhere or an exponent that undoes it.
            let spelled = format!("{a}{}e-{shift}", "0".repeat(shift));
            prop_assert_eq!(compare(&spelled, &b.to_string()), a.cmp(&b));
            let point = format!("{b}.{}", "0".repeat(shift + 1));
            prop_assert_eq!(compare(&a.to_string(), &point), a.cmp(&b));
        }

        #[test]
        fn agrees_with_floats(a in any::<f64>(), b in any::<f64>()) {
            prop_assume!(a.is_finite() && b.is_finite());
            prop_assert_eq!(compare(&format!("{a:e}"), &format!("{b:?}")), a.partial_cmp(&b).unwrap());
        }
    }
}
