//! The value of an expression for an event. Nothing is copied but what functions make.

use super::Kind;
use super::function::Function;
use super::tree::{Arithmetic, Compare, Logic, Node, Operator, Part, Span};
use super::value::{Type, Value};
use crate::json::document::Document;
use crate::pattern::attribute::{self, Attribute};
use smallvec::SmallVec;
use std::cmp::Ordering;

/// The first error of an evaluation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Error<'v> {
    /// What the whole returns all the same: what the part that failed returns, or, if that is inside another part, the
    /// zero value of the type that the other returns (section 3.2).
    pub(super) value: Value<'v>,
    pub(super) reason: Reason<'v>,
    /// The part that failed.
    pub(super) at: Span,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reason<'v> {
    MissingAttribute(&'v str),
    DivisionByZero,
    Overflow,
    Cast(Value<'v>, Type),
    Function(&'static str),
}

impl Reason<'_> {
    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::MissingAttribute(_) => Kind::MissingAttribute,
            Self::DivisionByZero | Self::Overflow => Kind::Math,
            Self::Cast(..) => Kind::Cast,
            Self::Function(_) => Kind::FunctionEvaluation,
        }
    }
}

type Evaluated<'v> = Result<Value<'v>, Error<'v>>;

pub(super) fn evaluate<'v>(node: &'v Node, document: &'v Document<'_>) -> Evaluated<'v> {
    let fail = |(value, reason)| Error { value, reason, at: node.span };
    match &node.part {
        Part::Literal(value) => Ok(borrowed(value)),
        Part::Attribute(name) => match Attribute::of(document, name) {
            Some(Attribute::Text(text)) => Ok(Value::String(text)),
            // Beyond 32 bits or not whole: by its text.
            Some(Attribute::Number(text)) => Ok(text.parse().map_or(Value::String(text.into()), Value::Integer)),
            Some(Attribute::Bool(value)) => Ok(Value::Boolean(value)),
            None => Err(fail((Value::Boolean(false), Reason::MissingAttribute(name)))),
        },
        // Every event has them, for without them it is none (section 3.4.4).
        Part::Exists(name) => {
            Ok(Value::Boolean(attribute::is_required(name) || Attribute::of(document, name).is_some()))
        }
        Part::Not(inner) => not(operand(inner, document, Type::Boolean)?).map_err(fail),
        Part::Negate(inner) => {
            let value = operand(inner, document, Type::Integer)?;
            let integer = integer(value).map_err(fail)?;
            let out = (Value::Integer(i32::MAX), Reason::Overflow);
            integer.checked_neg().map(Value::Integer).ok_or(out).map_err(fail)
        }
        Part::Like { operand: inner, pattern, negated } => {
            let text = operand(inner, document, Type::Boolean)?.string();
            Ok(Value::Boolean(pattern.describes(&text) != *negated))
        }
        Part::In { operand: inner, set, texts, negated } => {
            let value = operand(inner, document, Type::Boolean)?;
            let found = match (texts, &value) {
                (Some(texts), Value::String(text)) => texts.binary_search_by(|other| (**other).cmp(text)).is_ok(),
                _ => is_in(&value, set, document, node.span)?,
            };
            Ok(Value::Boolean(found != *negated))
        }
        Part::Chain(first, rest) => chain(first, rest, document, node.span),
        Part::Call(function, arguments) => call(*function, arguments, document, node.span),
    }
}

/// The value of a part of another, which returns `returns`.
fn operand<'v>(node: &'v Node, document: &'v Document<'_>, returns: Type) -> Evaluated<'v> {
    evaluate(node, document).map_err(|error| Error { value: returns.zero(), ..error })
}

fn borrowed<'v>(value: &'v Value<'static>) -> Value<'v> {
    match value {
        Value::String(text) => Value::String((&**text).into()),
        Value::Integer(value) => Value::Integer(*value),
        Value::Boolean(value) => Value::Boolean(*value),
    }
}

type Failed<'v> = (Value<'v>, Reason<'v>);

/// What the cast gives is negated even if it failed, as the conformance tests have it.
fn not(value: Value<'_>) -> Result<Value<'_>, Failed<'_>> {
    match value {
        Value::Boolean(value) => Ok(Value::Boolean(!value)),
        Value::String(_) => match value.boolean() {
            Some(value) => Ok(Value::Boolean(!value)),
            None => Err((Value::Boolean(true), Reason::Cast(value, Type::Boolean))),
        },
        Value::Integer(_) => Err((Value::Boolean(true), Reason::Cast(value, Type::Boolean))),
    }
}

fn integer(value: Value<'_>) -> Result<i32, Failed<'_>> {
    value.integer().ok_or((Value::Integer(0), Reason::Cast(value, Type::Integer)))
}

fn boolean(value: Value<'_>) -> Result<bool, Failed<'_>> {
    value.boolean().ok_or((Value::Boolean(false), Reason::Cast(value, Type::Boolean)))
}

/// Whether the set has the value; what stands in it is cast to its type, until one is equal.
fn is_in<'v>(value: &Value<'v>, set: &'v [Node], document: &'v Document<'_>, at: Span) -> Result<bool, Error<'v>> {
    for node in set {
        let item = operand(node, document, Type::Boolean)?;
        let wrong = |item| Error { value: Value::Boolean(false), reason: Reason::Cast(item, value.kind()), at };
        if item.cast(value.kind()).map_err(wrong)? == *value {
            return Ok(true);
        }
    }
    Ok(false)
}

fn chain<'v>(first: &'v Node, rest: &'v [(Operator, Node)], document: &'v Document<'_>, at: Span) -> Evaluated<'v> {
    let returns = rest.first().map_or(Type::Boolean, |(operator, _)| operator.returns());
    let mut value = operand(first, document, returns)?;
    for (operator, node) in rest {
        let fail = |(value, reason)| Error { value, reason, at };
        let right = || operand(node, document, returns);
        value = match operator {
            Operator::Logic(Logic::And) => {
                Value::Boolean(boolean(value).map_err(fail)? && boolean(right()?).map_err(fail)?)
            }
            Operator::Logic(Logic::Or) => {
                Value::Boolean(boolean(value).map_err(fail)? || boolean(right()?).map_err(fail)?)
            }
            Operator::Logic(Logic::Xor) => {
                // Both are evaluated before one is cast.
                let right = right()?;
                Value::Boolean(boolean(value).map_err(fail)? != boolean(right).map_err(fail)?)
            }
            Operator::Compare(operator) => compare(*operator, value, right()?).map_err(fail)?,
            Operator::Arithmetic(operator) => arithmetic(*operator, value, right()?).map_err(fail)?,
        };
    }
    Ok(value)
}

fn compare<'v>(operator: Compare, left: Value<'v>, right: Value<'v>) -> Result<Value<'v>, Failed<'v>> {
    let ordered = |accepts: fn(Ordering) -> bool, left, right| {
        let integer = |value| integer(value).map_err(|(_, reason)| (Value::Boolean(false), reason));
        Ok(accepts(integer(left)?.cmp(&integer(right)?)))
    };
    let verdict = match operator {
        Compare::Equal => equal(left, &right),
        Compare::NotEqual => equal(left, &right).map(|equal| !equal),
        Compare::Less => ordered(Ordering::is_lt, left, right),
        Compare::LessOrEqual => ordered(Ordering::is_le, left, right),
        Compare::Greater => ordered(Ordering::is_gt, left, right),
        Compare::GreaterOrEqual => ordered(Ordering::is_ge, left, right),
    };
    verdict.map(Value::Boolean)
}

/// The left side is cast to the type of the right (section 3.7).
fn equal<'v>(left: Value<'v>, right: &Value<'v>) -> Result<bool, Failed<'v>> {
    let to = right.kind();
    Ok(left.cast(to).map_err(|left| (Value::Boolean(false), Reason::Cast(left, to)))? == *right)
}

fn arithmetic<'v>(operator: Arithmetic, left: Value<'v>, right: Value<'v>) -> Result<Value<'v>, Failed<'v>> {
    let (left, right) = (integer(left)?, integer(right)?);
    let (exact, nearest) = match operator {
        Arithmetic::Divide | Arithmetic::Remainder if right == 0 => {
            return Err((Value::Integer(0), Reason::DivisionByZero));
        }
        Arithmetic::Multiply => (left.checked_mul(right), left.saturating_mul(right)),
        Arithmetic::Divide => (left.checked_div(right), left.saturating_div(right)),
        Arithmetic::Remainder => (Some(left.wrapping_rem(right)), 0),
        Arithmetic::Add => (left.checked_add(right), left.saturating_add(right)),
        Arithmetic::Subtract => (left.checked_sub(right), left.saturating_sub(right)),
    };
    exact.map(Value::Integer).ok_or((Value::Integer(nearest), Reason::Overflow))
}

fn call<'v>(function: Function, arguments: &'v [Node], document: &'v Document<'_>, at: Span) -> Evaluated<'v> {
    let returns = function.returns();
    let mut values: SmallVec<[Value<'v>; 4]> = SmallVec::new();
    for (index, node) in arguments.iter().enumerate() {
        let value = operand(node, document, returns)?;
        values.push(match function.takes(index) {
            None => value,
            Some(to) => {
                let wrong = |value| Error { value: returns.zero(), reason: Reason::Cast(value, to), at: node.span };
                value.cast(to).map_err(wrong)?
            }
        });
    }
    function.call(&mut values).map_err(|(value, reason)| Error { value, reason, at })
}
