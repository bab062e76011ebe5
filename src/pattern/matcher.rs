//! What one scalar of the event is compared with (event-patterns.md rules 12–21).

use super::fold::Folded;
use super::network::{Range, address_of};
use super::wildcard::Wildcard;
use crate::json::number::{Number, is_float};
use crate::model::resources::Dialect;
use memchr::memmem::Finder;
use smallvec::SmallVec;
use std::borrow::Cow;
use std::cmp::Ordering;
use std::net::IpAddr;

/// A scalar of the event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Scalar<'d> {
    Null,
    Bool(bool),
    /// As spelled.
    Number(&'d str),
    /// Decoded.
    Text(Cow<'d, str>),
}

/// The matchers of one field: one of them must accept.
#[derive(Debug)]
pub(super) struct Leaf {
    pub(super) matchers: Vec<Matcher>,
    /// One of the matchers is `exists: false`.
    pub(super) absent: bool,
    /// Where it stands in the pattern (RFC 6901).
    pub(super) pointer: Box<str>,
}

/// A scalar or an operator object of a pattern.
#[derive(Debug)]
pub(super) struct Matcher {
    pub(super) kind: Kind,
    /// As written.
    pub(super) text: Box<str>,
}

/// The kinds of matchers.
#[derive(Debug)]
pub(super) enum Kind {
    /// `exists: false`
    Absent,
    /// All of these accept the same value.
    Value(Vec<Test>),
}

/// One condition on a scalar.
#[derive(Debug)]
pub(super) enum Test {
    /// `exists: true`
    Any,
    Null,
    Bool(bool),
    Number {
        value: Number<Box<str>>,
        /// Set if the dialect compares this number by its spelling.
        spelling: Option<Box<str>>,
    },
    Text(Box<str>),
    /// A string literal of the `aws` dialect that is an address.
    Address(IpAddr),
    Prefix(Box<str>),
    Suffix(Box<str>),
    Contains(Finder<'static>),
    Wildcard(Wildcard),
    EqualsFolded(Folded),
    PrefixFolded(Folded),
    SuffixFolded(Folded),
    Cidr(Range),
    Numeric {
        bounds: SmallVec<[(Comparison, Number<Box<str>>); 2]>,
        /// The `aws` dialect cannot compare numbers that no float holds.
        floats_only: bool,
    },
    /// `anything-but`: none of these accepts.
    Not(Vec<Test>),
}

/// The comparisons of `numeric`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Leaf {
    pub(super) fn accepts(&self, value: &Scalar<'_>) -> bool {
        self.matchers.iter().any(|matcher| match &matcher.kind {
            Kind::Absent => false,
            Kind::Value(tests) => tests.iter().all(|test| test.accepts(value)),
        })
    }
}

impl Test {
    /// A number literal.
    pub(super) fn number(text: &str, dialect: Dialect) -> Self {
        let by_spelling = match dialect {
            Dialect::Tidegate => false,
            Dialect::Aws => !is_float(text),
        };
        Self::Number { value: Number::of(text).into_owned(), spelling: by_spelling.then(|| text.into()) }
    }

    /// A string that stands as a matcher.
    pub(super) fn literal(text: &str, dialect: Dialect) -> Self {
        let address = match dialect {
            Dialect::Tidegate => None,
            Dialect::Aws => address_of(text, dialect),
        };
        address.map_or_else(|| Self::Text(text.into()), Self::Address)
    }

    pub(super) fn accepts(&self, value: &Scalar<'_>) -> bool {
        match self {
            Self::Any => true,
            Self::Null => *value == Scalar::Null,
            Self::Bool(wanted) => *value == Scalar::Bool(*wanted),
            Self::Number { value: wanted, spelling } => match value {
                Scalar::Number(text) => {
                    wanted.equals(&Number::of(text)) && spelling.as_deref().is_none_or(|wanted| wanted == *text)
                }
                Scalar::Null | Scalar::Bool(_) | Scalar::Text(_) => false,
            },
            Self::Numeric { bounds, floats_only } => match value {
                Scalar::Number(text) => {
                    let number = Number::of(text);
                    bounds.iter().all(|(comparison, bound)| comparison.holds(number.compare(bound)))
                        && (!floats_only || is_float(text))
                }
                Scalar::Null | Scalar::Bool(_) | Scalar::Text(_) => false,
            },
            Self::Not(excluded) => !excluded.iter().any(|test| test.accepts(value)),
            Self::Text(_)
            | Self::Address(_)
            | Self::Prefix(_)
            | Self::Suffix(_)
            | Self::Contains(_)
            | Self::Wildcard(_)
            | Self::EqualsFolded(_)
            | Self::PrefixFolded(_)
            | Self::SuffixFolded(_)
            | Self::Cidr(_) => match value {
                Scalar::Text(text) => self.accepts_text(text),
                Scalar::Null | Scalar::Bool(_) | Scalar::Number(_) => false,
            },
        }
    }

    fn accepts_text(&self, text: &str) -> bool {
        match self {
            Self::Text(wanted) => **wanted == *text,
            Self::Address(wanted) => address_of(text, Dialect::Aws) == Some(*wanted),
            Self::Prefix(prefix) => text.starts_with(&**prefix),
            Self::Suffix(suffix) => text.ends_with(&**suffix),
            Self::Contains(part) => part.find(text.as_bytes()).is_some(),
            Self::Wildcard(wildcard) => wildcard.describes(text),
            Self::EqualsFolded(folded) => folded.equals(text),
            Self::PrefixFolded(folded) => folded.starts(text),
            Self::SuffixFolded(folded) => folded.ends(text),
            Self::Cidr(range) => range.holds(text),
            Self::Any | Self::Null | Self::Bool(_) | Self::Number { .. } | Self::Numeric { .. } | Self::Not(_) => false,
        }
    }
}

impl Comparison {
    /// All of them, as they are written.
    pub(super) const ALL: [(&'static str, Self); 6] = [
        ("=", Self::Equal),
        ("!=", Self::NotEqual),
        ("<", Self::Less),
        ("<=", Self::LessOrEqual),
        (">", Self::Greater),
        (">=", Self::GreaterOrEqual),
    ];

    fn holds(self, ordering: Ordering) -> bool {
        match self {
            Self::Equal => ordering.is_eq(),
            Self::NotEqual => ordering.is_ne(),
            Self::Less => ordering.is_lt(),
            Self::LessOrEqual => ordering.is_le(),
            Self::Greater => ordering.is_gt(),
            Self::GreaterOrEqual => ordering.is_ge(),
        }
    }

    /// Whether it is a lower bound.
    pub(super) fn is_lower(self) -> bool {
        matches!(self, Self::Greater | Self::GreaterOrEqual)
    }

    /// Whether it is an upper bound.
    pub(super) fn is_upper(self) -> bool {
        matches!(self, Self::Less | Self::LessOrEqual)
    }

    /// Whether the bound itself satisfies it.
    pub(super) fn is_inclusive(self) -> bool {
        matches!(self, Self::Equal | Self::LessOrEqual | Self::GreaterOrEqual)
    }
}
