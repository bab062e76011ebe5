//! `wildcard` (event-patterns.md rule 16): `*` is any run of characters; the rest is literal.

use super::needle::Needle;

/// A wildcard, cut at its stars.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Wildcard {
    /// No star: the whole text.
    Whole(Box<str>),
    /// Text before the first star, between stars, after the last.
    Parts { head: Box<str>, middle: Box<[Needle]>, tail: Box<str> },
}

impl Wildcard {
    /// Reads an operand; the error says what is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let mut parts = vec![String::new()];
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            let literal = match c {
                '*' if chars.peek() == Some(&'*') => return Err("has two `*` in a row; one says the same"),
                '*' => {
                    parts.push(String::new());
                    continue;
                }
                '\\' => match chars.next() {
                    Some(escaped @ ('*' | '\\')) => escaped,
                    Some(_) => return Err("has a backslash that escapes neither `*` nor `\\`"),
                    None => return Err("ends in a backslash that escapes nothing"),
                },
                other => other,
            };
            if let Some(part) = parts.last_mut() {
                part.push(literal);
            }
        }
        let tail = parts.pop().unwrap_or_default().into();
        let mut parts = parts.into_iter();
        let Some(head) = parts.next() else { return Ok(Self::Whole(tail)) };
        let middle = parts.map(|part| Needle::new(&part)).collect();
        Ok(Self::Parts { head: head.into(), middle, tail })
    }

    /// Whether it describes `value` from end to end. The first place where a part fits is as good as any later one, so
    /// nothing is tried twice.
    pub(super) fn describes(&self, value: &str) -> bool {
        match self {
            Self::Whole(text) => **text == *value,
            Self::Parts { head, middle, tail } => {
                let inner = value.strip_prefix(&**head).and_then(|rest| rest.strip_suffix(&**tail));
                let Some(inner) = inner else { return false };
                let mut rest = inner.as_bytes();
                middle.iter().all(|part| match part.find(rest) {
                    Some(at) => {
                        rest = rest.get(at + part.len()..).unwrap_or_default();
                        true
                    }
                    None => false,
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition, by trying everything.
    fn naive(pattern: &[char], value: &[char]) -> bool {
        match pattern {
            [] => value.is_empty(),
            ['*', rest @ ..] => (0..=value.len()).any(|skip| naive(rest, &value[skip..])),
            ['\\', c, rest @ ..] | [c, rest @ ..] => value.first() == Some(c) && naive(rest, &value[1..]),
        }
    }

    #[test]
    fn refuses() {
        for bad in ["a**b", "***", "a\\b", "a\\", "\\\"", "*\\**\\"] {
            assert!(Wildcard::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_hostile_value_costs_one_pass() {
        let pattern = Wildcard::parse(&format!("{}b", "*a".repeat(30_000))).unwrap();
        assert!(!pattern.describes(&"a".repeat(1_000_000)));
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(pattern in "([ab日]|\\\\\\*|\\\\\\\\|\\*[ab]){0,6}\\*?", value in "[ab日*\\\\]{0,8}") {
            let chars: (Vec<char>, Vec<char>) = (pattern.chars().collect(), value.chars().collect());
            prop_assert_eq!(Wildcard::parse(&pattern).unwrap().describes(&value), naive(&chars.0, &chars.1));
        }
    }
}
