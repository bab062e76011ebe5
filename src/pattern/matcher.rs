//! What one scalar of the event is compared with (event-patterns.md rules 12–21).

use super::amount::{Amount, fixed};
use super::fold::Folded;
use super::needle::Needle;
use super::network::{Range, address_of};
use super::wildcard::Wildcard;
use crate::json::number::is_float;
use crate::json::value::Json;
use crate::model::resources::Dialect;
use smallvec::SmallVec;
use std::borrow::Cow;
use std::cell::OnceCell;
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

/// The matchers of one field: one of them must accept. Patterns that say the same of a field may share it.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Leaf {
    /// One of these accepts.
    pub(super) tests: SmallVec<[Test; 1]>,
    /// One of the matchers is `exists: false`.
    pub(super) absent: bool,
    /// Kept for explanations only.
    pub(super) written: Option<Box<Written>>,
}

/// The matchers of a field in the words of the pattern.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Written {
    /// Where they stand (RFC 6901).
    pub(super) pointer: Box<str>,
    pub(super) matchers: Vec<Matcher>,
}

/// A scalar or an operator object of a pattern.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Matcher {
    /// As written.
    pub(super) text: Box<str>,
}

/// One condition on a scalar. A rule set holds very many of them, so what is large is boxed.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) enum Test {
    /// `exists: true`
    Any,
    Null,
    Bool(bool),
    Number(Amount),
    /// A number that the dialect compares by its spelling.
    Spelled(Box<str>),
    Text(Box<str>),
    /// A string literal of the `aws` dialect that is an address.
    Address(IpAddr),
    Prefix(Box<str>),
    Suffix(Box<str>),
    Contains(Box<Needle>),
    Wildcard(Box<Wildcard>),
    EqualsFolded(Box<Folded>),
    PrefixFolded(Box<Folded>),
    SuffixFolded(Box<Folded>),
    Cidr(Range),
    Numeric {
        comparison: Comparison,
        /// The `aws` dialect cannot compare numbers that no float holds.
        floats_only: bool,
        bound: Amount,
    },
    /// Several operators: all of these accept the same value.
    All(Box<[Test]>),
    /// `anything-but`: none of these accepts.
    Not(Box<[Test]>),
}

/// What has been computed of one scalar of the event: each form once, when it is first asked for.
#[derive(Debug, Default, Clone)]
pub(super) struct Forms {
    millionths: OnceCell<Option<i64>>,
    address: OnceCell<Option<IpAddr>>,
    key: OnceCell<Option<u32>>,
}

impl Forms {
    /// The number in millionths, see [`fixed`].
    pub(super) fn millionths(&self, number: &str) -> Option<i64> {
        *self.millionths.get_or_init(|| fixed(number))
    }

    /// The key of the value in the index that looks at it.
    pub(super) fn key(&self, find: impl FnOnce() -> Option<u32>) -> Option<u32> {
        *self.key.get_or_init(find)
    }

    /// The address that a text spells. All patterns that are asked about a value are of one dialect.
    pub(super) fn address(&self, text: &str, dialect: Dialect) -> Option<IpAddr> {
        *self.address.get_or_init(|| address_of(text, dialect))
    }
}

/// The comparisons of `numeric`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Matcher {
    /// Whether it is `exists: false`.
    pub(super) fn is_absent(&self) -> bool {
        Json::trusted(&self.text).get("exists").is_some_and(|operand| operand.text() == "false")
    }
}

impl Leaf {
    pub(super) fn accepts(&self, value: &Scalar<'_>, forms: &Forms) -> bool {
        self.tests.iter().any(|test| test.accepts(value, forms))
    }
}

impl Test {
    /// A number literal.
    pub(super) fn number(text: &str, dialect: Dialect) -> Self {
        let by_spelling = match dialect {
            Dialect::Tidegate => false,
            Dialect::Aws => !is_float(text),
        };
        if by_spelling { Self::Spelled(text.into()) } else { Self::Number(Amount::of(text)) }
    }

    /// A string that stands as a matcher.
    pub(super) fn literal(text: &str, dialect: Dialect) -> Self {
        let address = match dialect {
            Dialect::Tidegate => None,
            Dialect::Aws => address_of(text, dialect),
        };
        address.map_or_else(|| Self::Text(text.into()), Self::Address)
    }

    pub(super) fn accepts(&self, value: &Scalar<'_>, forms: &Forms) -> bool {
        match self {
            Self::Any => true,
            Self::Null => *value == Scalar::Null,
            Self::Bool(wanted) => *value == Scalar::Bool(*wanted),
            Self::Number(_) | Self::Spelled(_) | Self::Numeric { .. } => match value {
                Scalar::Number(text) => self.accepts_number(text, forms),
                Scalar::Null | Scalar::Bool(_) | Scalar::Text(_) => false,
            },
            Self::All(tests) => tests.iter().all(|test| test.accepts(value, forms)),
            Self::Not(excluded) => !excluded.iter().any(|test| test.accepts(value, forms)),
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
                Scalar::Text(text) => self.accepts_text(text, forms),
                Scalar::Null | Scalar::Bool(_) | Scalar::Number(_) => false,
            },
        }
    }

    fn accepts_number(&self, text: &str, forms: &Forms) -> bool {
        match self {
            Self::Number(wanted) => wanted.compare(text, forms.millionths(text)).is_eq(),
            Self::Spelled(wanted) => **wanted == *text,
            Self::Numeric { comparison, floats_only, bound } => {
                comparison.holds(bound.compare(text, forms.millionths(text))) && (!floats_only || is_float(text))
            }
            Self::Any
            | Self::Null
            | Self::Bool(_)
            | Self::Text(_)
            | Self::Address(_)
            | Self::Prefix(_)
            | Self::Suffix(_)
            | Self::Contains(_)
            | Self::Wildcard(_)
            | Self::EqualsFolded(_)
            | Self::PrefixFolded(_)
            | Self::SuffixFolded(_)
            | Self::Cidr(_)
            | Self::All(_)
            | Self::Not(_) => false,
        }
    }

    fn accepts_text(&self, text: &str, forms: &Forms) -> bool {
        match self {
            Self::Text(wanted) => **wanted == *text,
            Self::Address(wanted) => forms.address(text, Dialect::Aws) == Some(*wanted),
            Self::Prefix(prefix) => text.starts_with(&**prefix),
            Self::Suffix(suffix) => text.ends_with(&**suffix),
            Self::Contains(part) => part.find(text.as_bytes()).is_some(),
            Self::Wildcard(wildcard) => wildcard.describes(text),
            Self::EqualsFolded(folded) => folded.equals(text),
            Self::PrefixFolded(folded) => folded.starts(text),
            Self::SuffixFolded(folded) => folded.ends(text),
            Self::Cidr(range) => range.holds(forms.address(text, range.dialect())),
            Self::Any
            | Self::Null
            | Self::Bool(_)
            | Self::Number(_)
            | Self::Spelled(_)
            | Self::Numeric { .. }
            | Self::All(_)
            | Self::Not(_) => false,
        }
    }
}

impl Comparison {
    /// All of them.
    pub(super) const ALL: [Self; 6] =
        [Self::Equal, Self::NotEqual, Self::Less, Self::LessOrEqual, Self::Greater, Self::GreaterOrEqual];

    /// As it is written.
    pub(super) fn sign(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        }
    }

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
