//! Patterns: from the text or map that others print to ours, and what our compiler refuses in them.

use super::draft::Draft;
use crate::config::json_file;
use crate::model::node::{Kind, Node};
use crate::pattern::{self, Options};

/// A pattern that was printed as a text of JSON, as a map, or not at all well.
///
/// # Errors
/// Why it is no pattern.
pub(super) fn node(written: &Node) -> Result<Node, String> {
    match &written.kind {
        Kind::Map(_) => Ok(written.clone()),
        Kind::String(text) => json(text.masked()),
        Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::List(_) => Err("it is no JSON object".to_owned()),
    }
}

/// JSON within a text.
///
/// # Errors
/// What is wrong with it.
pub(super) fn json(text: &str) -> Result<Node, String> {
    let mut faults = Vec::new();
    let node = json_file::read(&"".into(), text, &mut faults);
    match (faults.first(), node) {
        (Some(fault), _) => {
            let place = fault.place.clone().unwrap_or_default();
            Err(format!("{} (line {}, column {} of the text)", fault.message, place.line, place.column))
        }
        (None, Some(node)) => Ok(node),
        (None, None) => Err("it is empty".to_owned()),
    }
}

/// Says what our compiler does not take; true if there is anything.
pub(super) fn refused(draft: &mut Draft, about: &str, key: &str, pattern: &Node, options: &Options) -> bool {
    let Err(faults) = pattern::compile(&pattern.to_json(), options) else { return false };
    for fault in &faults {
        let pointer = if fault.pointer.is_empty() { String::new() } else { format!("{}: ", fault.pointer) };
        draft.lost(about, key, format!("{pointer}{} ({})", fault.message, fault.code), fault.cure.clone());
    }
    !faults.is_empty()
}
