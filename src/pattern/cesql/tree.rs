//! The tree of an expression.

use super::function::Function;
use super::like::Like;
use super::value::{Type, Value};

/// A part of an expression and where it stands in the text, in bytes.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) part: Part,
    pub(super) span: Span,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: usize,
    pub(super) end: usize,
}

#[derive(Debug)]
pub(super) enum Part {
    Literal(Value<'static>),
    Attribute(Box<str>),
    Exists(Box<str>),
    Not(Box<Node>),
    Negate(Box<Node>),
    Like {
        operand: Box<Node>,
        pattern: Box<Like>,
        negated: bool,
    },
    In {
        operand: Box<Node>,
        set: Box<[Node]>,
        /// The texts of the set, sorted, if all of it is literal and there are many.
        texts: Option<Box<[Box<str>]>>,
        negated: bool,
    },
    /// Operators of one precedence, from left to right. A chain instead of nested pairs, so that a thousand terms are
    /// not a thousand deep.
    Chain(Box<Node>, Vec<(Operator, Node)>),
    Call(Function, Vec<Node>),
}

/// A binary operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Arithmetic(Arithmetic),
    Compare(Compare),
    Logic(Logic),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arithmetic {
    Multiply,
    Divide,
    Remainder,
    Add,
    Subtract,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compare {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Logic {
    And,
    Or,
    Xor,
}

/// Operators of one precedence; a later level binds tighter (section 3.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    Logic,
    Compare,
    Additive,
    Multiplicative,
}

impl Level {
    /// The level that binds tighter.
    pub(super) fn tighter(self) -> Option<Self> {
        match self {
            Self::Logic => Some(Self::Compare),
            Self::Compare => Some(Self::Additive),
            Self::Additive => Some(Self::Multiplicative),
            Self::Multiplicative => None,
        }
    }
}

impl Operator {
    pub(super) fn level(self) -> Level {
        match self {
            Self::Logic(_) => Level::Logic,
            Self::Compare(_) => Level::Compare,
            Self::Arithmetic(Arithmetic::Add | Arithmetic::Subtract) => Level::Additive,
            Self::Arithmetic(Arithmetic::Multiply | Arithmetic::Divide | Arithmetic::Remainder) => {
                Level::Multiplicative
            }
        }
    }

    /// The type that it gives.
    pub(super) fn returns(self) -> Type {
        match self {
            Self::Arithmetic(_) => Type::Integer,
            Self::Compare(_) | Self::Logic(_) => Type::Boolean,
        }
    }
}

impl Node {
    /// The type that it gives; `None` for an attribute, which has its own.
    pub(super) fn returns(&self) -> Option<Type> {
        match &self.part {
            Part::Literal(value) => Some(value.kind()),
            Part::Attribute(_) => None,
            Part::Exists(_) | Part::Not(_) | Part::Like { .. } | Part::In { .. } => Some(Type::Boolean),
            Part::Negate(_) => Some(Type::Integer),
            Part::Chain(_, rest) => rest.first().map(|(operator, _)| operator.returns()),
            Part::Call(function, _) => Some(function.returns()),
        }
    }

    /// The nodes directly below it.
    pub(super) fn children(&self) -> Vec<&Self> {
        match &self.part {
            Part::Literal(_) | Part::Attribute(_) | Part::Exists(_) => Vec::new(),
            Part::Not(inner) | Part::Negate(inner) | Part::Like { operand: inner, .. } => vec![inner],
            Part::In { operand, set, .. } => std::iter::once(&**operand).chain(set).collect(),
            Part::Chain(first, rest) => std::iter::once(&**first).chain(rest.iter().map(|(_, node)| node)).collect(),
            Part::Call(_, arguments) => arguments.iter().collect(),
        }
    }

    /// The names of the attributes in it, each once, in order.
    pub(super) fn attributes(&self) -> Vec<&str> {
        let mut names = Vec::new();
        self.collect_attributes(&mut names);
        names
    }

    fn collect_attributes<'n>(&'n self, names: &mut Vec<&'n str>) {
        if let Part::Attribute(name) | Part::Exists(name) = &self.part
            && !names.contains(&&**name)
        {
            names.push(name);
        }
        for child in self.children() {
            child.collect_attributes(names);
        }
    }
}
