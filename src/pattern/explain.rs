//! Why an event does not match, in words (event-patterns.md rule 31).
//!
//! The verdict is that of the engine. What is said about it is found by a walk of its own, which knows where in the event
//! everything stands: the fields that fail by themselves in the alternative that comes closest; else the element of an
//! array in which most of them hold, and what fails there.

use super::hint::{self, Likeness};
use super::matcher::{Forms, Leaf, Matcher};
use super::near::{self, Seen, Spot};
use super::{EvaluationLimit, Field, Goal, Group, Pattern};
use crate::json::document::Document;
use serde::Serialize;
use std::borrow::Cow;
use std::cell::OnceCell;

/// Values that are shown of a field.
const SHOWN: usize = 3;
/// Other fields that are named.
const NAMED: usize = 3;
/// Characters of a value or matcher that are shown in a sentence.
const SHOWN_CHARS: usize = 100;
/// Pairs of matcher and value that are looked at for the closest.
const PAIRS: usize = 20_000;
/// Elements that are looked at for the closest.
const ELEMENTS: usize = 200;

/// The answer to "why?".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The verdict.
    pub matched: Result<bool, EvaluationLimit>,
    /// The field that failed: the first of those that fail by themselves, or in the element of an array that comes
    /// closest.
    pub field: Option<FailedField>,
    /// Where what failed stands (RFC 6901): in the pattern, or of a filter from the rule: `/filters/…`.
    pub pointer: Option<String>,
    /// One sentence for people.
    pub sentence: String,
}

/// A field that no value satisfies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FailedField {
    /// Its path, keys joined with dots.
    pub path: String,
    /// Where its matchers stand in the pattern (RFC 6901); of a filter, from the rule: `/filters/…`.
    pub pointer: String,
    /// The values found, as JSON; at most three, none if it is absent.
    pub found: Vec<String>,
    /// The matcher that comes closest, as written.
    pub closest: String,
    /// Where the value stands that comes closest to it, elements numbered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// What is easily overlooked: case, type, a bound, a key that is spelled otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

pub(super) fn explain(pattern: &Pattern, document: &Document<'_>) -> Explanation {
    let matched = pattern.matches(document);
    let answer = |field: Option<FailedField>, sentence: String| {
        let pointer = field.as_ref().map(|field| field.pointer.clone());
        Explanation { matched, field, pointer, sentence }
    };
    match matched {
        Ok(true) => return answer(None, "the event matches".to_owned()),
        Err(limit) => return answer(None, limit.to_string()),
        Ok(false) => {}
    }
    let view = View {
        pattern,
        document,
        seen: pattern.paths.iter().map(|_| OnceCell::new()).collect(),
        nothing: Seen::default(),
    };
    let failed = pattern.alternatives.iter().map(|group| view.failed(group)).min_by_key(Vec::len).unwrap_or_default();
    if let Some(first) = failed.first() {
        let spots: Vec<&Spot<'_>> = view.seen(first).spots.iter().collect();
        let (field, mut sentence) = view.describe(first, &spots);
        if let Some(branch) = branch(&first.leaf) {
            sentence.push_str(&format!(" (branch {branch} of `$or` comes closest)"));
        }
        sentence.push_str(&view.others(&failed));
        return answer(Some(field), sentence);
    }
    let (field, sentence) = view.apart();
    answer(field, sentence)
}

/// A document as a pattern sees it; each path is looked along once.
struct View<'v, 'a> {
    pattern: &'v Pattern,
    document: &'v Document<'a>,
    seen: Vec<OnceCell<Seen<'v>>>,
    nothing: Seen<'v>,
}

/// Elements chosen of arrays: where the array stands, and which.
type Elements<'s> = &'s [(String, usize)];

impl<'v> View<'v, '_> {
    fn path(&self, field: &Field) -> &'v str {
        self.pattern.paths.get(field.path).map(|path| &*path.name).unwrap_or_default()
    }

    fn seen(&self, field: &Field) -> &Seen<'v> {
        let look = || near::look(self.document, self.path(field), self.pattern.options.dialect);
        self.seen.get(field.path).map_or(&self.nothing, |cell| cell.get_or_init(look))
    }

    /// Whether a field can hold by itself.
    fn holds(&self, field: &Field) -> bool {
        let spots = &self.seen(field).spots;
        (field.leaf.absent && spots.iter().all(|spot| !spot.elements.is_empty()))
            || spots.iter().any(|spot| accepts(&field.leaf, spot))
    }

    /// The fields that fail by themselves; of alternatives, those of the one with the fewest.
    fn failed(&self, group: &'v Group) -> Vec<&'v Field> {
        let mut failures = Vec::new();
        for goal in &group.goals {
            match goal {
                Goal::Field(field) if self.holds(field) => {}
                Goal::Field(field) => failures.push(field),
                Goal::Or(branches) => {
                    let fewest = branches.iter().map(|branch| self.failed(branch)).min_by_key(Vec::len);
                    failures.extend(fewest.unwrap_or_default());
                }
            }
        }
        failures
    }

    /// The fields of a group, with those of the branches in which every field can hold by itself.
    fn fields(&self, group: &'v Group, into: &mut Vec<&'v Field>) {
        for goal in &group.goals {
            match goal {
                Goal::Field(field) => into.push(field),
                Goal::Or(branches) => {
                    let viable = branches.iter().find(|branch| self.failed(branch).is_empty());
                    viable.into_iter().for_each(|branch| self.fields(branch, into));
                }
            }
        }
    }

    /// What is said when every field can hold by itself: they never do together.
    fn apart(&self) -> (Option<FailedField>, String) {
        let mut fields = Vec::new();
        let viable = self.pattern.alternatives.iter().find(|group| self.failed(group).is_empty());
        viable.into_iter().for_each(|group| self.fields(group, &mut fields));
        let repeated = |field: &&&Field| self.pattern.paths.get(field.path).is_some_and(|path| path.repeated);
        if let Some(field) =
            fields.iter().find(repeated).filter(|_| !fields.iter().any(|field| self.is_in_array(field)))
        {
            let sentence = format!("no single value of `{}` satisfies all conditions on it", self.path(field));
            return (None, sentence);
        }
        let together: Vec<&Field> = fields.iter().copied().filter(|field| self.is_in_array(field)).collect();
        let names: Vec<&str> = together.iter().map(|field| self.path(field)).collect();
        let mut sentence =
            format!("{} each match somewhere, but never together in one element of an array", joined(&names));
        let Some((elements, failing)) = self.closest_element(&together) else { return (None, sentence) };
        let spots: Vec<&Spot<'_>> =
            self.seen(failing).spots.iter().filter(|spot| agree(&spot.elements, elements)).collect();
        let (field, what) = self.describe(failing, &spots);
        if let Some((array, element)) = elements.last() {
            sentence.push_str(&format!("; `{array}[{element}]` comes closest: there {what}"));
        }
        (Some(field), sentence)
    }

    fn is_in_array(&self, field: &Field) -> bool {
        self.seen(field).spots.iter().any(|spot| !spot.elements.is_empty())
    }

    /// The elements in which most fields hold, and the first field that does not.
    fn closest_element(&self, fields: &[&'v Field]) -> Option<(Elements<'_>, &'v Field)> {
        let accepted = |field: &&'v Field| {
            let leaf = &field.leaf;
            self.seen(field).spots.iter().filter(|spot| accepts(leaf, spot)).map(|spot| spot.elements.as_slice())
        };
        let mut best: Option<(usize, Elements<'_>, &'v Field)> = None;
        for elements in fields.iter().flat_map(accepted).filter(|elements| !elements.is_empty()).take(ELEMENTS) {
            let mut failing = fields.iter().filter(|field| !self.holds_within(field, elements));
            let Some(first) = failing.next() else { continue };
            let count = 1 + failing.count();
            if best.is_none_or(|(fewest, ..)| count < fewest) {
                best = Some((count, elements, first));
            }
        }
        best.map(|(_, elements, field)| (elements, field))
    }

    fn holds_within(&self, field: &Field, elements: Elements<'_>) -> bool {
        let mut within = self.seen(field).spots.iter().filter(|spot| agree(&spot.elements, elements)).peekable();
        (field.leaf.absent && within.peek().is_none()) || within.any(|spot| accepts(&field.leaf, spot))
    }

    /// The names of the fields that fail besides the first.
    fn others(&self, failed: &[&Field]) -> String {
        let mut names: Vec<&str> = Vec::new();
        for name in failed.iter().map(|field| self.path(field)) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let Some(names) = names.get(1..).filter(|names| !names.is_empty()) else { return String::new() };
        match names.len() {
            1 => format!("; {} fails too", joined(names)),
            count if count <= NAMED => format!("; {} fail too", joined(names)),
            count => {
                let named = names.get(..NAMED).unwrap_or_default();
                let named: Vec<String> = named.iter().map(|name| format!("`{name}`")).collect();
                format!("; {} and {} more fail too", named.join(", "), count - NAMED)
            }
        }
    }

    /// A field that fails with these values, and the sentence that says so.
    fn describe(&self, field: &Field, spots: &[&Spot<'_>]) -> (FailedField, String) {
        let path = self.path(field);
        let found: Vec<String> = spots.iter().take(SHOWN).map(|spot| hint::json(&spot.value)).collect();
        let (pointer, matchers) = match &field.leaf.written {
            Some(written) => (&*written.pointer, written.matchers.as_slice()),
            None => ("", &[][..]),
        };
        let closest = closest(matchers, spots);
        let (matcher, spot) = match &closest {
            Some((matcher, spot, _)) => (Some(*matcher), Some(*spot)),
            None => (matchers.first(), None),
        };
        let wanted = matcher.map(|matcher| &*matcher.text).unwrap_or_default();
        let hint = match spot {
            Some(spot) => hint::why(wanted, &spot.value, self.pattern.options.dialect),
            None if self.seen(field).container || !self.seen(field).spots.is_empty() => None,
            None => Some(near::instead(self.document, path, self.seen(field))).filter(|instead| !instead.is_empty()),
        };
        let is = match (spot, found.as_slice()) {
            (None, _) if self.seen(field).container => " is an object or a list without values of its own".to_owned(),
            (None, _) => match &hint {
                Some(instead) => format!(" is absent ({instead})"),
                None => " is absent".to_owned(),
            },
            (Some(_), found) if spots.len() > found.len() => {
                format!(" is {}, … ({} values)", shortened(&found.join(", ")), spots.len())
            }
            (Some(_), found) => format!(" is {}", shortened(&found.join(", "))),
        };
        let others = match matchers.len() {
            0 | 1 => String::new(),
            2 => " or one other".to_owned(),
            count => format!(" or one of {} others", count - 1),
        };
        let mut sentence = format!("`{path}`{is}; the pattern wants {}{others}", shortened(wanted));
        if matcher.is_some_and(Matcher::is_absent) && spot.is_some() {
            sentence = format!("`{path}`{is}; the pattern wants it absent{others}");
        }
        let place = spot.map(|spot| spot.place.clone()).filter(|place| place != path);
        if let (Some(spot), Some(place), Some((.., likeness))) = (spot, &place, &closest)
            && spots.len() > 1
            && likeness.is_telling()
        {
            sentence.push_str(&format!("; `{place}` comes closest: {}", shortened(&hint::json(&spot.value))));
        }
        if let (Some(_), Some(hint)) = (spot, &hint) {
            sentence.push_str(&format!(" ({hint})"));
        }
        (
            FailedField {
                path: path.to_owned(),
                pointer: pointer.to_owned(),
                found,
                closest: wanted.to_owned(),
                place,
                hint,
            },
            sentence,
        )
    }
}

fn accepts(leaf: &Leaf, spot: &Spot<'_>) -> bool {
    leaf.accepts(&spot.value, &Forms::default())
}

/// Whether no array has different elements in both.
fn agree(a: Elements<'_>, b: Elements<'_>) -> bool {
    a.iter().all(|(array, element)| b.iter().all(|(other, chosen)| other != array || chosen == element))
}

/// The branch of the innermost `$or` that a field stands in, counted from 1.
fn branch(leaf: &Leaf) -> Option<usize> {
    let (_, rest) = leaf.written.as_ref()?.pointer.rsplit_once("/$or/")?;
    let number: usize = rest.split_once('/')?.0.parse().ok()?;
    Some(number + 1)
}

/// The matcher and the value that have most in common.
fn closest<'m, 's, 'd>(
    matchers: &'m [Matcher],
    spots: &[&'s Spot<'d>],
) -> Option<(&'m Matcher, &'s Spot<'d>, Likeness)> {
    let pairs = matchers.iter().flat_map(|matcher| spots.iter().map(move |spot| (matcher, *spot))).take(PAIRS);
    let with_likeness = pairs.map(|(matcher, spot)| (matcher, spot, hint::likeness(&matcher.text, &spot.value)));
    // Of equals, the first as written.
    with_likeness.reduce(|best, next| if next.2.is_closer(best.2) { next } else { best })
}

fn joined(names: &[&str]) -> String {
    let mut names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    names.dedup();
    match names.as_slice() {
        [] => "its fields".to_owned(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// As much of a text as a sentence bears.
pub(super) fn shortened(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()).into(),
        None => text.into(),
    }
}
