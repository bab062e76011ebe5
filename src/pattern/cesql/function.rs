//! The built-in functions (section 3.5 and the casts of section 3.7).

use super::RESULT_BYTES;
use super::evaluate::Reason;
use super::value::{Type, Value};
use std::borrow::Cow;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Function {
    Length,
    Concat,
    ConcatWs,
    Lower,
    Upper,
    Trim,
    Left,
    Right,
    Substring,
    Abs,
    Int,
    Bool,
    String,
}

/// How a function is called.
#[derive(Debug)]
pub(super) struct Signature {
    pub(super) function: Function,
    pub(super) name: &'static str,
    /// For people.
    pub(super) usage: &'static str,
    /// Arguments, at least and at most.
    pub(super) arity: (usize, usize),
}

const ANY: usize = usize::MAX;

const fn signature(function: Function, name: &'static str, usage: &'static str, arity: (usize, usize)) -> Signature {
    Signature { function, name, usage, arity }
}

pub(super) static SIGNATURES: [Signature; 13] = [
    signature(Function::Length, "LENGTH", "LENGTH(text)", (1, 1)),
    signature(Function::Concat, "CONCAT", "CONCAT(text, …)", (0, ANY)),
    signature(Function::ConcatWs, "CONCAT_WS", "CONCAT_WS(delimiter, text, …)", (1, ANY)),
    signature(Function::Lower, "LOWER", "LOWER(text)", (1, 1)),
    signature(Function::Upper, "UPPER", "UPPER(text)", (1, 1)),
    signature(Function::Trim, "TRIM", "TRIM(text)", (1, 1)),
    signature(Function::Left, "LEFT", "LEFT(text, count)", (2, 2)),
    signature(Function::Right, "RIGHT", "RIGHT(text, count)", (2, 2)),
    signature(Function::Substring, "SUBSTRING", "SUBSTRING(text, from) or SUBSTRING(text, from, count)", (2, 3)),
    signature(Function::Abs, "ABS", "ABS(number)", (1, 1)),
    signature(Function::Int, "INT", "INT(value)", (1, 1)),
    signature(Function::Bool, "BOOL", "BOOL(value)", (1, 1)),
    signature(Function::String, "STRING", "STRING(value)", (1, 1)),
];

impl Function {
    /// The type that it gives.
    pub(super) fn returns(self) -> Type {
        match self {
            Self::Length | Self::Abs | Self::Int => Type::Integer,
            Self::Bool => Type::Boolean,
            Self::Concat
            | Self::ConcatWs
            | Self::Lower
            | Self::Upper
            | Self::Trim
            | Self::Left
            | Self::Right
            | Self::Substring
            | Self::String => Type::String,
        }
    }

    /// The type that an argument is cast to; `None` takes any.
    pub(super) fn takes(self, argument: usize) -> Option<Type> {
        match self {
            Self::Int | Self::Bool | Self::String => None,
            Self::Abs => Some(Type::Integer),
            Self::Left | Self::Right | Self::Substring if argument > 0 => Some(Type::Integer),
            Self::Left
            | Self::Right
            | Self::Substring
            | Self::Length
            | Self::Concat
            | Self::ConcatWs
            | Self::Lower
            | Self::Upper
            | Self::Trim => Some(Type::String),
        }
    }

    /// Calls it with arguments of the types that it takes; the error has the value that it returns all the same.
    pub(super) fn call<'v>(self, arguments: &mut [Value<'v>]) -> Result<Value<'v>, (Value<'v>, Reason<'v>)> {
        let wrong = |message| (self.returns().zero(), Reason::Function(message));
        match self {
            Self::Length => {
                let count = text(arguments, 0).chars().count();
                i32::try_from(count).map(Value::Integer).map_err(|_| wrong("the text is too long to be counted"))
            }
            Self::Concat => concat(arguments, "").ok_or_else(|| wrong(TOO_LONG)),
            Self::ConcatWs => {
                let delimiter = text(arguments, 0);
                concat(arguments.get_mut(1..).unwrap_or_default(), &delimiter).ok_or_else(|| wrong(TOO_LONG))
            }
            Self::Lower => Ok(Value::String(text(arguments, 0).to_lowercase().into())),
            Self::Upper => Ok(Value::String(text(arguments, 0).to_uppercase().into())),
            Self::Trim => {
                let text = text(arguments, 0);
                let start = text.len() - text.trim_start().len();
                let end = text.trim_end().len().max(start);
                Ok(cut(text, start, end))
            }
            Self::Left | Self::Right => {
                let (text, count) = (text(arguments, 0), integer(arguments, 1));
                let Ok(count) = usize::try_from(count) else {
                    return Err((Value::String(text), Reason::Function("the count is below 0")));
                };
                let len = text.len();
                Ok(if self == Self::Left {
                    let end = byte_of(&text, count);
                    cut(text, 0, end)
                } else {
                    let start = match count.checked_sub(1) {
                        Some(last) => text.char_indices().rev().nth(last).map_or(0, |(at, _)| at),
                        None => len,
                    };
                    cut(text, start, len)
                })
            }
            Self::Substring => {
                let (text, from) = (text(arguments, 0), integer(arguments, 1));
                let count = (arguments.len() > 2).then(|| usize::try_from(integer(arguments, 2)));
                substring(text, from, count.transpose().map_err(|_| wrong("the count is below 0"))?)
                    .ok_or_else(|| wrong("the text is shorter than where to begin"))
            }
            Self::Abs => {
                let value = integer(arguments, 0);
                value.checked_abs().map(Value::Integer).ok_or((Value::Integer(i32::MAX), Reason::Overflow))
            }
            Self::Int => cast(arguments, Type::Integer),
            Self::Bool => cast(arguments, Type::Boolean),
            Self::String => cast(arguments, Type::String),
        }
    }
}

const TOO_LONG: &str = "the result is longer than 1 MiB";

fn take<'v>(arguments: &mut [Value<'v>], index: usize) -> Value<'v> {
    let zero = Type::String.zero();
    arguments.get_mut(index).map_or(zero.clone(), |argument| std::mem::replace(argument, zero))
}

fn text<'v>(arguments: &mut [Value<'v>], index: usize) -> Cow<'v, str> {
    take(arguments, index).string()
}

fn integer(arguments: &[Value<'_>], index: usize) -> i32 {
    arguments.get(index).and_then(Value::integer).unwrap_or_default()
}

fn cast<'v>(arguments: &mut [Value<'v>], to: Type) -> Result<Value<'v>, (Value<'v>, Reason<'v>)> {
    take(arguments, 0).cast(to).map_err(|value| (to.zero(), Reason::Cast(value, to)))
}

/// The texts with the delimiter between them; `None` if that is too long.
fn concat<'v>(texts: &mut [Value<'v>], delimiter: &str) -> Option<Value<'v>> {
    let mut out = String::new();
    for index in 0..texts.len() {
        let text = text(texts, index);
        if index > 0 {
            out.push_str(delimiter);
        }
        if out.len() + text.len() > RESULT_BYTES {
            return None;
        }
        out.push_str(&text);
    }
    Some(Value::String(out.into()))
}

/// `None` if the text is shorter than `from`, which counts characters from 1, or from the end if it is below 0.
fn substring(text: Cow<'_, str>, from: i32, count: Option<usize>) -> Option<Value<'_>> {
    let len = text.chars().count();
    let distance = usize::try_from(from.unsigned_abs()).ok()?;
    if distance > len {
        return None;
    }
    let first = if from > 0 { distance - 1 } else { len - distance };
    let start = if from == 0 { text.len() } else { byte_of(&text, first) };
    let rest = text.get(start..).unwrap_or_default();
    let end = start + count.map_or(rest.len(), |count| byte_of(rest, count));
    Some(cut(text, start, end))
}

/// Where the character of that number begins, or the end.
fn byte_of(text: &str, character: usize) -> usize {
    text.char_indices().nth(character).map_or(text.len(), |(at, _)| at)
}

fn cut(text: Cow<'_, str>, start: usize, end: usize) -> Value<'_> {
    Value::String(match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.get(start..end).unwrap_or_default()),
        Cow::Owned(text) => Cow::Owned(text.get(start..end).unwrap_or_default().to_owned()),
    })
}
