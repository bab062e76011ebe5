//! Looking at what other systems print: keys in whatever case, texts that may be a function of a template.

use crate::model::node::{Kind, Node};

/// A text as far as the input tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Given {
    /// The text.
    Text(String),
    /// A function of a template that only a deployment resolves, as JSON.
    Unresolved(String),
}

impl Given {
    /// The text, if it is known.
    pub(super) fn known(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Unresolved(_) => None,
        }
    }
}

/// The value of a key, whatever the case of its letters; null is as good as absent.
pub(super) fn find<'n>(node: &'n Node, key: &str) -> Option<&'n Node> {
    let found = node.entries().iter().find(|(k, _)| k.name.eq_ignore_ascii_case(key)).map(|(_, value)| value);
    found.filter(|value| !matches!(value.kind, Kind::Null))
}

/// The value at the end of keys.
pub(super) fn at<'n>(node: &'n Node, keys: &[&str]) -> Option<&'n Node> {
    keys.iter().try_fold(node, |node, key| find(node, key))
}

/// A text; numbers and booleans count, empty texts do not.
pub(super) fn given(node: &Node, key: &str) -> Option<Given> {
    of(find(node, key)?).filter(|given| given.known().is_none_or(|text| !text.is_empty()))
}

/// The text that a node holds.
pub(super) fn of(node: &Node) -> Option<Given> {
    match &node.kind {
        Kind::String(text) => Some(Given::Text(text.masked().to_owned())),
        Kind::Number(spelled) => Some(Given::Text(spelled.clone())),
        Kind::Bool(value) => Some(Given::Text(value.to_string())),
        Kind::Map(_) if function(node).is_some() => Some(Given::Unresolved(node.to_json())),
        Kind::Null | Kind::List(_) | Kind::Map(_) => None,
    }
}

/// A text that is known.
pub(super) fn plain(node: &Node, key: &str) -> Option<String> {
    given(node, key).and_then(|given| given.known().map(str::to_owned))
}

/// Whether a flag is set; `true` may stand in quotes.
pub(super) fn flag(node: &Node, key: &str) -> bool {
    plain(node, key).is_some_and(|text| text.eq_ignore_ascii_case("true"))
}

/// The items of a list; none if it is absent.
pub(super) fn items<'n>(node: &'n Node, key: &str) -> &'n [Node] {
    find(node, key).map(elements).unwrap_or_default()
}

/// The items, if this is a list.
pub(super) fn elements(node: &Node) -> &[Node] {
    match &node.kind {
        Kind::List(items) => items,
        Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::String(_) | Kind::Map(_) => &[],
    }
}

/// The function of a template and its argument, if this is one. What a pattern holds is never a text, so a pattern's
/// field of that name is none.
pub(super) fn function(node: &Node) -> Option<(&str, &Node)> {
    let [(key, argument)] = node.entries() else { return None };
    let name = key.name.as_str();
    let is = name.starts_with("Fn::") || matches!((name, &argument.kind), ("Ref", Kind::String(_)));
    is.then_some((name, argument))
}

/// The first function of a template anywhere in a value, as JSON.
pub(super) fn unresolved(node: &Node) -> Option<String> {
    if function(node).is_some() {
        return Some(node.to_json());
    }
    elements(node).iter().chain(node.entries().iter().map(|(_, value)| value)).find_map(unresolved)
}

/// The resource of the same template that a function names: `Ref` and `Fn::GetAtt`.
pub(super) fn referred(node: &Node) -> Option<&str> {
    let (name, argument) = function(node)?;
    match name {
        "Ref" => argument.as_plain(),
        "Fn::GetAtt" => elements(argument).first()?.as_plain(),
        _ => None,
    }
}
