//! Why an expression is not true of an event, in words.

use super::Expression;
use super::evaluate::{Error, Reason, evaluate};
use super::tree::{Logic, Node, Operator, Part, Span};
use super::value::{Type, Value};
use crate::json::document::Document;
use crate::pattern::attribute::Attribute;
use crate::pattern::explain::shortened;

/// Attributes that are shown.
const SHOWN: usize = 4;

pub(super) fn explain(expression: &Expression, document: &Document<'_>) -> String {
    match expression.evaluate(document) {
        Ok(Value::Boolean(true)) => format!("`{}` is true", part(expression, expression.root.span)),
        Ok(Value::Boolean(false)) => {
            let culprit = culprit(&expression.root, document);
            format!("`{}` is false{}", part(expression, culprit.span), attributes(culprit, document))
        }
        Ok(value @ (Value::String(_) | Value::Integer(_))) => {
            let text = part(expression, expression.root.span);
            format!("`{text}` is {}, not true or false", shortened(&value.to_string()))
        }
        Err(Error { reason, at, .. }) => {
            format!("`{}` errs: {} ({})", part(expression, at), words(&reason), reason.kind().as_str())
        }
    }
}

/// A reason as a clause.
pub(super) fn words(reason: &Reason<'_>) -> String {
    match reason {
        Reason::MissingAttribute(name) => format!("the event has no attribute `{name}`"),
        Reason::DivisionByZero => "a division by 0".to_owned(),
        Reason::Overflow => "the result does not fit into 32 bits".to_owned(),
        Reason::Cast(value @ Value::Integer(_), Type::Boolean) => {
            format!("NOT takes true or false, not {value}")
        }
        Reason::Cast(value, to) => format!("{} is not {}", shortened(&value.to_string()), to.noun()),
        Reason::Function(message) => (*message).to_owned(),
    }
}

fn part(expression: &Expression, span: Span) -> String {
    shortened(expression.text.get(span.start..span.end).unwrap_or_default()).into_owned()
}

/// The part that makes it false: of conditions that are all joined by AND, the first that is.
fn culprit<'n>(node: &'n Node, document: &Document<'_>) -> &'n Node {
    let Part::Chain(first, rest) = &node.part else { return node };
    if !rest.iter().all(|(operator, _)| *operator == Operator::Logic(Logic::And)) {
        return node;
    }
    let operands = std::iter::once(&**first).chain(rest.iter().map(|(_, operand)| operand));
    let is_false = |operand: &&Node| evaluate(operand, document).is_ok_and(|value| value.boolean() == Some(false));
    operands.into_iter().find(is_false).map_or(node, |operand| culprit(operand, document))
}

/// What the event has of the attributes in a part.
fn attributes(node: &Node, document: &Document<'_>) -> String {
    let names = node.attributes();
    let told = names.iter().take(SHOWN).map(|name| match Attribute::of(document, name) {
        Some(Attribute::Text(text)) => format!("`{name}` is '{}'", shortened(&text)),
        Some(value @ (Attribute::Number(_) | Attribute::Bool(_))) => format!("`{name}` is {}", value.text()),
        None => format!("`{name}` is absent"),
    });
    let told = told.collect::<Vec<_>>().join(", ");
    if told.is_empty() { told } else { format!(": {told}") }
}
