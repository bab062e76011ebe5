//! Why an event does not match, in words (event-patterns.md rule 31).

use super::leaves::FoundLeaf;
use super::matcher::{Matcher, Scalar};
use super::verdict::Evaluation;
use super::{EvaluationLimit, Field, Goal, Group, Pattern};
use crate::json::document::Document;
use crate::model::node::write_json_string;

/// Values that are shown of a field.
const SHOWN: usize = 3;

/// Characters of a value or matcher that are shown in a sentence.
const SHOWN_CHARS: usize = 100;

/// The answer to "why?".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The verdict.
    pub matched: Result<bool, EvaluationLimit>,
    /// The field that failed, if one field alone did.
    pub field: Option<FailedField>,
    /// One sentence for people.
    pub sentence: String,
}

/// A field that no value satisfies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedField {
    /// Its path, keys joined with dots.
    pub path: String,
    /// Where its matchers stand in the pattern (RFC 6901); of a filter, from the rule: `/filters/…`.
    pub pointer: String,
    /// The values found, as JSON; at most three, none if it is absent.
    pub found: Vec<String>,
    /// The matcher that comes closest, as written.
    pub closest: String,
}

pub(super) fn explain(pattern: &Pattern, document: &Document<'_>) -> Explanation {
    let evaluation = Evaluation::new(pattern, document);
    let matched = evaluation.matches();
    let answer = |field, sentence: &str| Explanation { matched, field, sentence: sentence.to_owned() };
    match matched {
        Ok(true) => return answer(None, "the event matches"),
        Err(limit) => return answer(None, &limit.to_string()),
        Ok(false) => {}
    }
    let failed = pattern.alternatives.iter().map(|group| failed(&evaluation, group)).min_by_key(Vec::len);
    match failed.unwrap_or_default().first() {
        Some(field) => {
            let several = pattern.alternatives.len() > 1 || in_or(pattern, field);
            let (field, mut sentence) = describe(&evaluation, field);
            if several {
                sentence.push_str(" (in the alternative that comes closest)");
            }
            answer(Some(field), &sentence)
        }
        None => {
            let together = interacting(&evaluation, pattern);
            answer(None, &format!("{together} each match somewhere, but never together in one element of an array"))
        }
    }
}

/// The fields that fail by themselves; of alternatives, those of the one with the fewest.
fn failed<'e>(evaluation: &Evaluation<'e, '_>, group: &'e Group) -> Vec<&'e Field> {
    let mut failures = Vec::new();
    for goal in &group.goals {
        match goal {
            Goal::Field(field) if evaluation.field_viable(field) => {}
            Goal::Field(field) => failures.push(field),
            Goal::Or(branches) => {
                let fewest = branches.iter().map(|branch| failed(evaluation, branch)).min_by_key(Vec::len);
                failures.extend(fewest.unwrap_or_default());
            }
        }
    }
    failures
}

/// Whether a field stands in a branch of `$or`.
fn in_or(pattern: &Pattern, field: &Field) -> bool {
    let outside = |goal: &Goal| matches!(goal, Goal::Field(other) if other.number == field.number);
    !pattern.alternatives.iter().flat_map(|group| &group.goals).any(outside)
}

/// The names of the paths whose choices rule each other out.
fn interacting(evaluation: &Evaluation<'_, '_>, pattern: &Pattern) -> String {
    let numbered = pattern.paths.iter().enumerate();
    let names: Vec<String> = numbered
        .filter(|(number, path)| {
            path.repeated || evaluation.leaves(*number).iter().any(|leaf| !leaf.bindings.is_empty())
        })
        .map(|(_, path)| format!("`{}`", path.name))
        .collect();
    match names.as_slice() {
        [] => "its fields".to_owned(),
        [only] => format!("the conditions on {only}"),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

fn describe(evaluation: &Evaluation<'_, '_>, field: &Field) -> (FailedField, String) {
    let path = evaluation.pattern.paths.get(field.path).map(|path| path.name.to_string()).unwrap_or_default();
    let leaves = evaluation.leaves(field.path);
    let found: Vec<String> = leaves.iter().take(SHOWN).map(|leaf| json(&leaf.value)).collect();
    let (pointer, matchers) = match &field.leaf.written {
        Some(written) => (&*written.pointer, &*written.matchers),
        None => ("", &[][..]),
    };
    let closest = closest(matchers, leaves);
    let wanted = closest.map(|(matcher, _)| &*matcher.text).unwrap_or_default();
    let others = match matchers.len() {
        0 | 1 => String::new(),
        2 => " or one other".to_owned(),
        count => format!(" or one of {} others", count - 1),
    };
    let is = if found.is_empty() {
        match evaluation.found(field.path) {
            Some(found) if found.container => "is an object or a list without values of its own".to_owned(),
            Some(_) | None => "is absent".to_owned(),
        }
    } else if leaves.len() > found.len() {
        format!("is {}, … ({} values)", shortened(&found.join(", ")), leaves.len())
    } else {
        format!("is {}", shortened(&found.join(", ")))
    };
    let hint = closest.and_then(|(matcher, value)| hint(matcher, value?)).unwrap_or_default();
    let sentence = format!("`{path}` {is}; the pattern wants {}{others}{hint}", shortened(wanted));
    let field = FailedField { path, pointer: pointer.to_owned(), found, closest: wanted.to_owned() };
    (field, sentence)
}

/// As much of a text as a sentence bears.
pub(super) fn shortened(text: &str) -> std::borrow::Cow<'_, str> {
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()).into(),
        None => text.into(),
    }
}

/// The matcher and the value that have most in common.
fn closest<'m, 'l, 'e>(
    matchers: &'m [Matcher],
    leaves: &'l [FoundLeaf<'e>],
) -> Option<(&'m Matcher, Option<&'l Scalar<'e>>)> {
    let pairs = matchers.iter().flat_map(|matcher| {
        leaves.iter().take(SHOWN).map(move |leaf| (likeness(matcher, &leaf.value), matcher, &leaf.value))
    });
    // Of equals, the first as written.
    let best = pairs.reduce(|best, next| if next.0 > best.0 { next } else { best });
    match best {
        Some((_, matcher, value)) => Some((matcher, Some(value))),
        None => matchers.first().map(|matcher| (matcher, None)),
    }
}

/// How much a value looks like what a matcher wants: an oversight, else the characters they begin with alike, then the
/// same type.
fn likeness(matcher: &Matcher, value: &Scalar<'_>) -> usize {
    if hint(matcher, value).is_some() {
        return usize::MAX;
    }
    let value = json(value);
    let same_type = kind(&matcher.text) == kind(&value);
    let alike = matcher.text.chars().zip(value.chars()).take_while(|(a, b)| a.eq_ignore_ascii_case(b)).count();
    2 * alike + usize::from(same_type)
}

/// The type of JSON text by its first character.
fn kind(json: &str) -> char {
    match json.chars().next() {
        Some('-' | '0'..='9') => '0',
        Some('t' | 'f') => 't',
        other => other.unwrap_or('0'),
    }
}

/// What people most often overlook.
fn hint(matcher: &Matcher, value: &Scalar<'_>) -> Option<&'static str> {
    let wanted = &*matcher.text;
    let value = json(value);
    let inner = |text: &str| text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).map(str::to_owned);
    match (inner(wanted), inner(&value)) {
        (Some(wanted), None) if wanted == value => Some(" (a string never equals a number, true, false or null)"),
        (None, Some(value)) if wanted == value => Some(" (the value is a string, the pattern names none)"),
        (Some(wanted), Some(value)) if wanted.trim() == value.trim() => Some(" (white space counts)"),
        (Some(wanted), Some(value)) if wanted.to_lowercase() == value.to_lowercase() => Some(" (case matters)"),
        _ => None,
    }
}

/// A value as JSON.
fn json(value: &Scalar<'_>) -> String {
    match value {
        Scalar::Null => "null".to_owned(),
        Scalar::Bool(value) => value.to_string(),
        Scalar::Number(text) => (*text).to_owned(),
        Scalar::Text(text) => {
            let mut out = String::new();
            write_json_string(text, &mut out);
            out
        }
    }
}
