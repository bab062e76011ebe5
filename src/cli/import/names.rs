//! Names of other systems → names of ours: 1 to 63 letters, digits, `-`, `_`, each once in its kind; and the names of
//! the environment variables that hold secrets.

use super::draft::Kind;
use crate::model::name::Name;
use std::collections::{HashMap, HashSet};

/// Longest name.
const MAX: usize = 63;

/// The names that were given.
#[derive(Debug, Default)]
pub(super) struct Names {
    taken: HashSet<(Kind, String)>,
    variables: HashMap<String, String>,
    /// Names that had to be rewritten: kind, theirs, ours.
    pub(super) rewritten: Vec<(Kind, String, String)>,
}

impl Names {
    /// A name for what another system calls `theirs`; not given before.
    pub(super) fn take(&mut self, kind: Kind, theirs: &str) -> String {
        let ours = free(&clean(theirs, kind.noun()), |name| !self.taken.contains(&(kind, name.to_owned())));
        self.taken.insert((kind, ours.clone()));
        if ours != theirs {
            self.rewritten.push((kind, theirs.to_owned(), ours.clone()));
        }
        ours
    }

    /// A variable for `what`, the same each time it is asked for; `wanted` is its name unless that means something else.
    pub(super) fn variable(&mut self, wanted: &str, what: &str) -> String {
        let upper: String =
            wanted.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect();
        let upper = if upper.starts_with(|c: char| c.is_ascii_digit()) { format!("_{upper}") } else { upper };
        let fits = |name: &str| self.variables.get(name).is_none_or(|known| known == what);
        let mut name = upper.clone();
        let mut number = 2;
        while !fits(&name) {
            name = format!("{upper}_{number}");
            number += 1;
        }
        self.variables.insert(name.clone(), what.to_owned());
        name
    }
}

/// A name for a target; `seen` are those of its rule.
pub(super) fn target(theirs: &str, seen: &[String]) -> String {
    free(&clean(theirs, "target"), |name| !seen.iter().any(|other| other == name))
}

/// Every character that no name may have becomes `-`.
fn clean(theirs: &str, otherwise: &str) -> String {
    let letters = theirs.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '-' });
    let name: String = letters.take(MAX).collect();
    if Name::new(&name).is_some() && name.contains(|c: char| c.is_ascii_alphanumeric()) {
        return name;
    }
    otherwise.to_owned()
}

fn free(name: &str, is_free: impl Fn(&str) -> bool) -> String {
    let mut candidate = name.to_owned();
    let mut number = 2;
    while !is_free(&candidate) {
        let suffix = format!("-{number}");
        let room = MAX.saturating_sub(suffix.len());
        // Names are ASCII by now.
        candidate = format!("{}{suffix}", name.get(..room).unwrap_or(name));
        number += 1;
    }
    candidate
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_and_are_told_apart() {
        let mut names = Names::default();
        for (theirs, ours) in [
            ("orders", "orders"),
            ("my.orders/é", "my-orders--"),
            ("my-orders/.", "my-orders---2"),
            ("。", "rule"),
            ("", "rule-2"),
        ] {
            assert_eq!(names.take(Kind::Rule, theirs), ours, "{theirs}");
        }
        assert_eq!(names.take(Kind::Destination, "orders"), "orders");
        let long = "x".repeat(70);
        assert_eq!(names.take(Kind::Rule, &long), "x".repeat(63));
        assert_eq!(names.take(Kind::Rule, &long), format!("{}-2", "x".repeat(61)));
        assert_eq!(names.rewritten.first(), Some(&(Kind::Rule, "my.orders/é".to_owned(), "my-orders--".to_owned())));
        assert_eq!(target("a b", &["a-b".to_owned()]), "a-b-2");
    }

    #[test]
    fn variables_mean_one_thing_each() {
        let mut names = Names::default();
        assert_eq!(names.variable("my-crm_password", "a"), "MY_CRM_PASSWORD");
        assert_eq!(names.variable("my.crm_password", "b"), "MY_CRM_PASSWORD_2");
        assert_eq!(names.variable("my-crm_password", "a"), "MY_CRM_PASSWORD");
        assert_eq!(names.variable("3scale_key", "c"), "_3SCALE_KEY");
    }
}
