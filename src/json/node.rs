//! JSON as a [`Node`]: what people would have written in YAML. For `eval` and tests; its parts have no place.

use super::value::{Json, Kind};
use super::write::unique_members;
use crate::model::fault::Place;
use crate::model::node::{self, Key, Node};
use crate::model::text::Text;

/// Reads checked JSON as a written value. Numbers keep their spelling; of duplicate keys the last value stands at the
/// first place.
#[must_use]
pub fn node_from_json(json: Json<'_>) -> Node {
    Node::unplaced(match json.kind() {
        Kind::Null => node::Kind::Null,
        Kind::Bool => node::Kind::Bool(json.text() == "true"),
        Kind::Number => node::Kind::Number(json.text().to_owned()),
        Kind::String => node::Kind::String(Text::Plain(json.as_str().unwrap_or_default().into_owned())),
        Kind::Array => node::Kind::List(json.elements().into_iter().flatten().map(node_from_json).collect()),
        Kind::Object => {
            let entry = |(name, value): (std::borrow::Cow<'_, str>, _)| {
                (Key { name: name.into_owned(), place: Place::default() }, node_from_json(value))
            };
            node::Kind::Map(unique_members(json).into_iter().map(entry).collect())
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spelling_and_order_survive() {
        let json = Json::check(br#"{"b":[1.10,true,null,"\u00e9"],"a":{"x":1},"b2":-0,"a":2}"#).unwrap();
        assert_eq!(node_from_json(json).to_json(), "{\"b\":[1.10,true,null,\"é\"],\"a\":2,\"b2\":-0}");
    }
}
