//! The three types of CESQL and their casts (sections 3.1 and 3.7).

use std::borrow::Cow;
use std::fmt;

/// A value. Text borrows from the event or the expression where it can.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value<'v> {
    String(Cow<'v, str>),
    Integer(i32),
    Boolean(bool),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    String,
    Integer,
    Boolean,
}

impl Type {
    /// What stands for a value that there is not.
    pub(super) fn zero(self) -> Value<'static> {
        match self {
            Self::String => Value::String(Cow::Borrowed("")),
            Self::Integer => Value::Integer(0),
            Self::Boolean => Value::Boolean(false),
        }
    }

    /// Its name, with its article.
    pub(super) fn noun(self) -> &'static str {
        match self {
            Self::String => "a string",
            Self::Integer => "an integer of 32 bits",
            Self::Boolean => "true or false",
        }
    }
}

impl<'v> Value<'v> {
    pub(super) fn kind(&self) -> Type {
        match self {
            Self::String(_) => Type::String,
            Self::Integer(_) => Type::Integer,
            Self::Boolean(_) => Type::Boolean,
        }
    }

    /// Cast to an integer: decimal digits, perhaps after a sign.
    pub(super) fn integer(&self) -> Option<i32> {
        match self {
            Self::String(text) => text.parse().ok(),
            Self::Integer(value) => Some(*value),
            Self::Boolean(value) => Some(i32::from(*value)),
        }
    }

    /// Cast to a boolean: `true` or `false` in any case, or an integer.
    pub(super) fn boolean(&self) -> Option<bool> {
        match self {
            Self::String(text) if text.eq_ignore_ascii_case("true") => Some(true),
            Self::String(text) if text.eq_ignore_ascii_case("false") => Some(false),
            Self::String(_) => None,
            Self::Integer(value) => Some(*value != 0),
            Self::Boolean(value) => Some(*value),
        }
    }

    /// Cast to a string; that is always possible.
    pub(super) fn string(self) -> Cow<'v, str> {
        match self {
            Self::String(text) => text,
            Self::Integer(value) => Cow::Owned(value.to_string()),
            Self::Boolean(true) => Cow::Borrowed("true"),
            Self::Boolean(false) => Cow::Borrowed("false"),
        }
    }

    /// Cast to a type; gives itself back if that is impossible.
    pub(super) fn cast(self, to: Type) -> Result<Self, Self> {
        match to {
            Type::String => Ok(Self::String(self.string())),
            Type::Integer => self.integer().map(Self::Integer).ok_or(self),
            Type::Boolean => self.boolean().map(Self::Boolean).ok_or(self),
        }
    }

    pub(super) fn into_owned(self) -> Value<'static> {
        match self {
            Self::String(text) => Value::String(Cow::Owned(text.into_owned())),
            Self::Integer(value) => Value::Integer(value),
            Self::Boolean(value) => Value::Boolean(value),
        }
    }
}

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::String(text) => write!(f, "'{text}'"),
            Self::Integer(value) => write!(f, "{value}"),
            Self::Boolean(value) => write!(f, "{value}"),
        }
    }
}
