//! Comparing without regard to case (event-patterns.md rule 15). No locale, no context.

use smallvec::SmallVec;

/// An operand of `equals-ignore-case`, prepared.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Folded {
    /// `tidegate`: the folded operand; values are folded too, character by character.
    Text(Box<str>),
    /// `aws`: the lower-case and the upper-case form of each character of the operand; values stay as they are.
    Forms(Box<[Forms]>),
    /// `aws`: the operand has a character beyond U+FFFF. That engine looks for the halves of its surrogate pair, which
    /// no text has.
    Never,
}

/// The two forms of one character.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Forms {
    lower: Box<str>,
    upper: Box<str>,
}

impl Folded {
    pub(super) fn tidegate(operand: &str) -> Self {
        Self::Text(fold(operand).collect::<String>().into())
    }

    pub(super) fn aws(operand: &str) -> Self {
        if operand.chars().any(|c| c > '\u{ffff}') {
            return Self::Never;
        }
        let forms = operand.chars().map(|c| Forms {
            lower: c.to_lowercase().collect::<String>().into(),
            upper: c.to_uppercase().collect::<String>().into(),
        });
        Self::Forms(forms.collect())
    }

    /// What [`folded_within`] makes of each text that it equals, and of no other, if there is one such text.
    pub(super) fn whole(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Forms(_) | Self::Never => None,
        }
    }

    pub(super) fn equals(&self, value: &str) -> bool {
        match self {
            // An ASCII text folds to its lower case.
            Self::Text(text) if value.is_ascii() => text.eq_ignore_ascii_case(value),
            Self::Text(text) => fold(value).eq(text.chars()),
            Self::Forms(forms) => after(forms, value) == Some(""),
            Self::Never => false,
        }
    }

    pub(super) fn starts(&self, value: &str) -> bool {
        match self {
            Self::Text(text) => covers(text.chars(), fold(value)),
            Self::Forms(forms) => after(forms, value).is_some(),
            Self::Never => false,
        }
    }

    pub(super) fn ends(&self, value: &str) -> bool {
        match self {
            Self::Text(text) => covers(text.chars().rev(), fold(value).rev()),
            Self::Forms(forms) => {
                let strip = |rest: &str, form: &Forms| {
                    let lower = rest.strip_suffix(&*form.lower).or_else(|| rest.strip_suffix(&*form.upper));
                    lower.map(str::len)
                };
                let mut rest = value;
                forms.iter().rev().all(|form| match strip(rest, form) {
                    Some(len) => {
                        rest = rest.get(..len).unwrap_or_default();
                        true
                    }
                    None => false,
                })
            }
            Self::Never => false,
        }
    }
}

/// A text folded as `tidegate` does; `None` if that has more than `limit` bytes.
pub(super) fn folded_within(text: &str, limit: usize) -> Option<SmallVec<[u8; 48]>> {
    if text.is_ascii() {
        return (text.len() <= limit).then(|| text.bytes().map(|byte| byte.to_ascii_lowercase()).collect());
    }
    let mut folded = SmallVec::new();
    for c in fold(text) {
        folded.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        if folded.len() > limit {
            return None;
        }
    }
    Some(folded)
}

/// Each character to its full upper case, each result to its full lower case.
fn fold(text: &str) -> impl DoubleEndedIterator<Item = char> {
    text.chars().flat_map(|c| c.to_uppercase().flat_map(char::to_lowercase))
}

/// Whether `of` begins with all of `wanted`.
fn covers(wanted: impl Iterator<Item = char>, mut of: impl Iterator<Item = char>) -> bool {
    for c in wanted {
        if of.next() != Some(c) {
            return false;
        }
    }
    true
}

/// What follows in `value` after one form of each character. A character's two forms never begin or end alike, so the
/// first that fits is the only one.
fn after<'v>(forms: &[Forms], value: &'v str) -> Option<&'v str> {
    forms
        .iter()
        .try_fold(value, |rest, form| rest.strip_prefix(&*form.lower).or_else(|| rest.strip_prefix(&*form.upper)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_a_character_never_begin_or_end_alike() {
        // What `after` and `ends` rely on, for every character there is.
        for c in '\u{0}'..='\u{ffff}' {
            let (lower, upper): (String, String) = (c.to_lowercase().collect(), c.to_uppercase().collect());
            if lower != upper {
                assert!(!lower.starts_with(&upper) && !upper.starts_with(&lower), "{c}");
                assert!(!lower.ends_with(&upper) && !upper.ends_with(&lower), "{c}");
            }
        }
    }

    #[test]
    fn tidegate_folds_both_sides() {
        for (a, b) in
            [("ß", "SS"), ("ß", "ss"), ("σ", "ς"), ("é", "É"), ("İ", "i\u{307}"), ("K", "k"), ("ﬁ", "FI"), ("𐐀", "𐐨")]
        {
            assert!(Folded::tidegate(a).equals(b) && Folded::tidegate(b).equals(a), "{a} {b}");
        }
        assert!(!Folded::tidegate("İ").equals("i"));
        assert!(Folded::tidegate("STRAS").starts("straße") && !Folded::tidegate("STRASSEN").starts("straße"));
        assert!(Folded::tidegate("SSE").ends("straße") && Folded::tidegate("").ends(""));
    }

    #[test]
    fn folds_no_further_than_wanted() {
        for text in ["Straße", "ULM", "", "İ", "𐐀b"] {
            let folded = Folded::tidegate(text);
            let whole = folded.whole().unwrap().as_bytes();
            assert_eq!(folded_within(text, whole.len()).as_deref(), Some(whole), "{text}");
            assert!(whole.is_empty() || folded_within(text, whole.len() - 1).is_none(), "{text}");
        }
    }

    #[test]
    fn aws_folds_the_operand_alone() {
        let operand = Folded::aws("straße");
        assert!(operand.equals("STRASSE") && operand.equals("straße") && !operand.equals("strasse"));
        assert!(operand.starts("StraßeN") && operand.ends("die STRASSE") && !operand.ends("trasse"));
        assert!(!Folded::aws("STRASSE").equals("straße"));
        assert!(!Folded::aws("😀").equals("😀"));
        assert!(Folded::aws("").equals("") && !Folded::aws("").equals("a"));
    }
}
