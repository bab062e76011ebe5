//! Which `$or` stands for alternatives, and which is an ordinary field (event-patterns.md rule 11).

use super::Options;
use crate::json::value::{Json, Kind};
use crate::model::resources::Dialect;

/// Keys that keep `$or` from being special in any of its branches (rule 11).
const RESERVED: [&str; 9] =
    ["exactly", "prefix", "suffix", "equals-ignore-case", "wildcard", "anything-but", "numeric", "cidr", "exists"];

/// What the `aws` dialect reserves besides.
const RESERVED_AWS: [&str; 15] = [
    "=",
    "<",
    "<=",
    ">",
    ">=",
    "regex",
    "not-wildcard",
    "not-equals-ignore-case",
    "date-after",
    "date-on-or-after",
    "date-before",
    "date-on-or-before",
    "in-date-range",
    "ip-address-in-range",
    "ip-address-not-in-range",
];

/// Whether a key keeps `$or` from being special in the branch that has it.
pub(super) fn reserves(key: &str, dialect: Dialect) -> bool {
    RESERVED.contains(&key) || (dialect == Dialect::Aws && RESERVED_AWS.contains(&key))
}

/// Whether `$or` in an object at this depth, with this value, means alternatives.
pub(super) fn qualifies(value: Json<'_>, options: &Options, depth: usize) -> bool {
    match options.dialect {
        Dialect::Tidegate => are_branches(value, |branch| {
            has_members(branch) && keys(branch).all(|(key, _)| !RESERVED.contains(&key.as_str()))
        }),
        Dialect::Aws => {
            let depth = options.limits.depth.saturating_sub(depth);
            are_branches(value, |branch| reserves_nothing(branch, depth))
        }
    }
}

fn are_branches(value: Json<'_>, branch_qualifies: impl Fn(Json<'_>) -> bool) -> bool {
    let branches = || value.elements().into_iter().flatten();
    branches().count() >= 2 && branches().all(branch_qualifies)
}

/// Whether no key in a branch is reserved by the `aws` dialect, `depth` objects deep; deeper ones are refused anyway.
fn reserves_nothing(branch: Json<'_>, depth: usize) -> bool {
    has_members(branch)
        && keys(branch).all(|(key, value)| {
            !RESERVED.contains(&key.as_str())
                && !RESERVED_AWS.contains(&key.as_str())
                && (value.kind() != Kind::Object || depth == 0 || reserves_nothing(value, depth - 1))
        })
}

/// Whether every `$or` in an object, `depth` objects deep, has alternatives as its value.
pub(super) fn all_qualify(object: Json<'_>, depth: usize) -> bool {
    let Some(depth) = depth.checked_sub(1) else { return true };
    keys(object).all(|(key, value)| {
        if key == "$or" {
            are_branches(value, |branch| reserves_nothing(branch, depth) && all_qualify(branch, depth))
        } else {
            all_qualify(value, depth)
        }
    })
}

fn has_members(value: Json<'_>) -> bool {
    keys(value).next().is_some()
}

/// The members of an object, keys decoded; of anything else, none.
fn keys(value: Json<'_>) -> impl Iterator<Item = (String, Json<'_>)> {
    value.members().into_iter().flatten().map(|(key, value)| (key.decode().into_owned(), value))
}
