//! A value that stands in a flag, as JSON or YAML, with the place of every part.

use super::{json_file, yaml};
use crate::json::value::Json;
use crate::model::fault::Fault;
use crate::model::node::{Kind, Node};
use std::sync::Arc;

/// Reads one value; `name` takes the place of a file's.
///
/// # Errors
/// It is no YAML, or not one value.
pub fn written(name: &str, text: &str) -> Result<Node, Vec<Fault>> {
    let name: Arc<str> = Arc::from(name);
    let mut faults = Vec::new();
    // JSON is nearly YAML, but not quite.
    let nodes: Vec<Node> = if Json::check(text.as_bytes()).is_ok() {
        json_file::read(&name, text, &mut faults).into_iter().collect()
    } else {
        yaml::read(&name, text, &mut faults)
    };
    match (nodes.into_iter().next(), faults.is_empty()) {
        (Some(node), true) => Ok(node),
        (None, true) => Ok(Node::unplaced(Kind::Null)),
        (Some(_) | None, false) => Err(faults),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_and_yaml_have_places() {
        for (text, column) in [("{\"a\": [1]}", 7), ("{a: [1]}", 5), ("a: [1]", 4)] {
            let node = written("--where", text).expect(text);
            let place = node.place_of("/a");
            assert_eq!((&*place.file, place.line, place.column), ("--where", 1, column), "{text}");
        }
        assert_eq!(
            written("--where", "{a: [1}").expect_err("broken").first().map(|fault| fault.code),
            Some("CONFIG_SYNTAX")
        );
        assert_eq!(
            written("--where", "{\"a\":1,\"a\":2}").expect_err("twice").first().map(|f| f.code),
            Some("CONFIG_DUPLICATE_KEY")
        );
    }
}
