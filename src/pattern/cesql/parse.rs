//! From tokens to a tree (section 2, precedence of section 3.6): by recursive descent, at most [`DEPTH`] deep. What is
//! constant is computed here.

use super::evaluate::{Reason, evaluate};
use super::explain::words;
use super::function::{SIGNATURES, Signature};
use super::lex::{Token, TokenKind, tokens};
use super::like::Like;
use super::tree::{Arithmetic, Level, Logic, Node, Operator, Part, Span};
use super::value::{Type, Value};
use super::{DEPTH, Kind, Problem, SEGMENT_CHARS};
use crate::json::document::Document;
use crate::model::nearest::nearest;
use crate::pattern::attribute;
use std::borrow::Cow;

/// A set of more literals than this is sorted, to be searched by halves.
const SORTED: usize = 8;

/// What people call some functions elsewhere.
const OTHER_NAMES: [(&str, &str); 10] = [
    ("SUBSTR", "SUBSTRING"),
    ("LEN", "LENGTH"),
    ("CHAR_LENGTH", "LENGTH"),
    ("TO_LOWER", "LOWER"),
    ("TO_UPPER", "UPPER"),
    ("TO_STRING", "STRING"),
    ("STR", "STRING"),
    ("INTEGER", "INT"),
    ("TO_INT", "INT"),
    ("BOOLEAN", "BOOL"),
];

/// Parsing cannot go on; the fault has been noted.
struct Stop;

type Parsed = Result<Node, Stop>;

/// The tree of a text and what is doubtful about it, or its faults.
pub(super) fn parse(text: &str) -> Result<(Node, Vec<Problem>), Vec<Problem>> {
    let tokens = tokens(text).map_err(|fault| vec![fault])?;
    let mut parser = Parser { text, tokens, at: 0, faults: Vec::new(), warnings: Vec::new() };
    let root = parser.whole();
    match root {
        Ok(root) if parser.faults.is_empty() => Ok((root, parser.warnings)),
        Ok(_) | Err(Stop) => Err(parser.faults),
    }
}

struct Parser<'t> {
    text: &'t str,
    tokens: Vec<Token>,
    /// The next token.
    at: usize,
    faults: Vec<Problem>,
    warnings: Vec<Problem>,
}

impl Parser<'_> {
    fn peek(&self) -> Option<&TokenKind> {
        self.tokens.get(self.at).map(|token| &token.kind)
    }

    fn next(&mut self) -> Option<Token> {
        let token = self.tokens.get(self.at).cloned();
        self.at += 1;
        token
    }

    /// Where the next token stands, or the end of the text.
    fn here(&self) -> Span {
        let end = Span { start: self.text.len(), end: self.text.len() };
        self.tokens.get(self.at).map_or(end, |token| token.span)
    }

    /// Where the last token ended.
    fn last_end(&self) -> usize {
        self.at.checked_sub(1).and_then(|at| self.tokens.get(at)).map_or(0, |token| token.span.end)
    }

    fn slice(&self, span: Span) -> &str {
        self.text.get(span.start..span.end).unwrap_or_default()
    }

    fn fault(&mut self, kind: Kind, offset: usize, message: impl Into<String>, cure: impl Into<String>) -> Stop {
        self.faults.push(Problem { kind, offset, message: message.into(), cure: cure.into() });
        Stop
    }

    fn warn(&mut self, kind: Kind, span: Span, message: impl Into<String>, cure: impl Into<String>) {
        self.warnings.push(Problem { kind, offset: span.start, message: message.into(), cure: cure.into() });
    }

    /// The next token is not what was wanted.
    fn unexpected(&mut self, wanted: &str, cure: &str) -> Stop {
        let here = self.here();
        let found = match self.slice(here) {
            "" => "the end".to_owned(),
            text => format!("`{text}`"),
        };
        self.fault(Kind::Parse, here.start, format!("found {found} where {wanted} is expected"), cure)
    }

    fn whole(&mut self) -> Parsed {
        let root = self.level(Level::Logic, 0)?;
        if self.at < self.tokens.len() {
            let cure = match self.peek() {
                Some(TokenKind::String(_)) => "inside a string, write a quote as \\' or \\\"",
                Some(TokenKind::Close) => "it closes what was never opened",
                _ => "join conditions with AND or OR",
            };
            return Err(self.unexpected("an operator or the end", cure));
        }
        self.doubt_root(&root);
        Ok(root)
    }

    /// Operators of a level, and what binds tighter.
    fn level(&mut self, level: Level, depth: usize) -> Parsed {
        let tighter = |parser: &mut Self| match level.tighter() {
            Some(tighter) => parser.level(tighter, depth),
            None => parser.postfix(depth),
        };
        let first = tighter(self)?;
        let mut rest: Vec<(Operator, Node)> = Vec::new();
        while let Some(TokenKind::Operator(operator)) = self.peek()
            && operator.level() == level
        {
            let operator = *operator;
            self.at += 1;
            rest.push((operator, tighter(self)?));
        }
        let Some((_, last)) = rest.last() else { return Ok(first) };
        let span = Span { start: first.span.start, end: last.span.end };
        match level {
            Level::Logic => self.doubt_order(&rest, span),
            Level::Compare => self.doubt_not(&first),
            Level::Additive | Level::Multiplicative => {}
        }
        Ok(self.folded(Part::Chain(Box::new(first), rest), span))
    }

    /// LIKE and IN after an operand.
    fn postfix(&mut self, depth: usize) -> Parsed {
        let mut node = self.unary(depth)?;
        let mut deeper = depth;
        loop {
            let negated = self.peek() == Some(&TokenKind::Not);
            let after = if negated { self.tokens.get(self.at + 1).map(|token| &token.kind) } else { self.peek() };
            let like = match after {
                Some(TokenKind::Like) => true,
                Some(TokenKind::In) => false,
                _ if negated => {
                    self.at += 1;
                    return Err(self.unexpected("LIKE or IN after NOT", "NOT of a condition stands before it"));
                }
                _ => return Ok(node),
            };
            self.at += if negated { 2 } else { 1 };
            deeper += 1;
            self.check_depth(deeper)?;
            self.doubt_not(&node);
            let start = node.span.start;
            let operand = Box::new(node);
            let part = if like {
                Part::Like { operand, pattern: Box::new(self.pattern()?), negated }
            } else {
                let set = self.list(deeper, "`(` and what the set holds", false)?;
                Part::In { operand, texts: sorted(&set), set: set.into(), negated }
            };
            node = self.folded(part, Span { start, end: self.last_end() });
        }
    }

    fn check_depth(&mut self, depth: usize) -> Result<(), Stop> {
        if depth <= DEPTH {
            return Ok(());
        }
        let at = self.here().start;
        Err(self.fault(
            Kind::Generic,
            at,
            format!("more than {DEPTH} parts in each other"),
            "split it into several filters",
        ))
    }

    fn pattern(&mut self) -> Result<Like, Stop> {
        let Some(TokenKind::String(text)) = self.peek() else {
            return Err(self.unexpected("a pattern in quotes", "LIKE takes a literal string: 'order.%'"));
        };
        let Some(pattern) = Like::parse(text) else {
            let at = self.here().start;
            let message = format!("more than {SEGMENT_CHARS} characters with `_` between two `%`");
            return Err(self.fault(Kind::Generic, at, message, "shorten it"));
        };
        self.at += 1;
        Ok(pattern)
    }

    fn unary(&mut self, depth: usize) -> Parsed {
        self.check_depth(depth)?;
        let here = self.here();
        match self.peek() {
            Some(TokenKind::Not) => {
                self.at += 1;
                let inner = self.unary(depth + 1)?;
                let span = Span { end: inner.span.end, ..here };
                Ok(self.folded(Part::Not(Box::new(inner)), span))
            }
            Some(TokenKind::Operator(Operator::Arithmetic(sign @ (Arithmetic::Add | Arithmetic::Subtract)))) => {
                let minus = *sign == Arithmetic::Subtract;
                self.at += 1;
                match self.peek() {
                    Some(TokenKind::Digits) => self.integer(if minus { "-" } else { "" }, here.start),
                    _ if minus => {
                        let inner = self.unary(depth + 1)?;
                        let span = Span { end: inner.span.end, ..here };
                        Ok(self.folded(Part::Negate(Box::new(inner)), span))
                    }
                    _ => Err(self.unexpected("a number after the sign `+`", "leave out `+`")),
                }
            }
            _ => self.primary(depth),
        }
    }

    fn integer(&mut self, sign: &str, start: usize) -> Parsed {
        let here = self.here();
        self.at += 1;
        let span = Span { start, end: here.end };
        match format!("{sign}{}", self.slice(here)).parse() {
            Ok(value) => Ok(Node { part: Part::Literal(Value::Integer(value)), span }),
            Err(_) => {
                let message = format!("`{}` does not fit into 32 bits", self.slice(span));
                Err(self.fault(Kind::Parse, start, message, "integers go from -2147483648 to 2147483647"))
            }
        }
    }

    fn primary(&mut self, depth: usize) -> Parsed {
        let here = self.here();
        let literal = |value| Ok(Node { part: Part::Literal(value), span: here });
        match self.peek() {
            Some(TokenKind::True) => {
                self.at += 1;
                literal(Value::Boolean(true))
            }
            Some(TokenKind::False) => {
                self.at += 1;
                literal(Value::Boolean(false))
            }
            Some(TokenKind::String(text)) => {
                let value = Value::String(Cow::Owned(text.clone()));
                self.at += 1;
                literal(value)
            }
            Some(TokenKind::Digits) => self.integer("", here.start),
            Some(TokenKind::Open) => {
                self.at += 1;
                let inner = self.level(Level::Logic, depth + 1)?;
                if self.peek() != Some(&TokenKind::Close) {
                    return Err(self.unexpected("`)`", "close the parenthesis"));
                }
                let end = self.here().end;
                self.at += 1;
                Ok(Node { span: Span { end, ..here }, ..inner })
            }
            Some(TokenKind::Exists) => {
                self.at += 1;
                let name = self.here();
                if self.peek() != Some(&TokenKind::Word) && self.peek() != Some(&TokenKind::Digits) {
                    return Err(self.unexpected("the name of an attribute", "write EXISTS subject"));
                }
                self.at += 1;
                let name = self.attribute(name)?;
                Ok(Node { part: Part::Exists(name), span: Span { end: self.last_end(), ..here } })
            }
            Some(TokenKind::Word) => {
                self.at += 1;
                if self.peek() == Some(&TokenKind::Open) {
                    return self.call(here, depth);
                }
                let name = self.attribute(here)?;
                Ok(Node { part: Part::Attribute(name), span: here })
            }
            Some(TokenKind::Operator(_) | TokenKind::Not | TokenKind::Like | TokenKind::In)
            | Some(TokenKind::Close | TokenKind::Comma)
            | None => {
                Err(self.unexpected("a value", "a value is an attribute, 'text', a number, TRUE, FALSE or a function"))
            }
        }
    }

    /// The name of an attribute; keywords and names are written in any case.
    fn attribute(&mut self, span: Span) -> Result<Box<str>, Stop> {
        let name = self.slice(span).to_ascii_lowercase();
        if attribute::is_payload(&name) {
            if let Some((message, cure)) = attribute::doubt(&name) {
                self.warn(Kind::MissingAttribute, span, message, cure);
            }
        } else if name.contains('_') {
            let message = format!("`{name}` is no name of an attribute: those are letters and digits");
            let cure = "text stands in quotes, and a function has its arguments in parentheses";
            return Err(self.fault(Kind::Parse, span.start, message, cure));
        }
        Ok(name.into())
    }

    /// A function whose name has been read.
    fn call(&mut self, name: Span, depth: usize) -> Parsed {
        let arguments = self.list(depth + 1, "`(`", true)?;
        let span = Span { end: self.last_end(), ..name };
        let written = self.slice(name).to_owned();
        let known = SIGNATURES.iter().find(|signature| signature.name.eq_ignore_ascii_case(&written));
        let Some(signature) = known else {
            let names: Vec<_> = SIGNATURES.iter().map(|signature| signature.name).collect();
            let cure = match meant(&written) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("there are {}", names.join(", ")),
            };
            self.fault(Kind::MissingFunction, name.start, format!("there is no function `{written}`"), cure);
            // Its arguments may have faults, too, and so may what follows.
            return Ok(Node { part: Part::Attribute("".into()), span });
        };
        let Signature { function, name: known, usage, arity: (least, most) } = signature;
        let count = arguments.len();
        if count < *least || count > *most {
            let takes = match (least, most) {
                (least, most) if least == most => format!("{least}"),
                (least, &usize::MAX) => format!("{least} or more"),
                (least, most) => format!("{least} or {most}"),
            };
            let message = format!("there is no `{known}` of {count} arguments: it takes {takes}");
            self.fault(Kind::MissingFunction, name.start, message, format!("write {usage}"));
        }
        Ok(self.folded(Part::Call(*function, arguments), span))
    }

    /// A list in parentheses.
    fn list(&mut self, depth: usize, wanted: &str, may_be_empty: bool) -> Result<Vec<Node>, Stop> {
        if self.peek() != Some(&TokenKind::Open) {
            return Err(self.unexpected(wanted, "write ('a', 'b')"));
        }
        self.at += 1;
        let mut items = Vec::new();
        if may_be_empty && self.peek() == Some(&TokenKind::Close) {
            self.at += 1;
            return Ok(items);
        }
        loop {
            items.push(self.level(Level::Logic, depth)?);
            match self.next().map(|token| token.kind) {
                Some(TokenKind::Close) => return Ok(items),
                Some(TokenKind::Comma) => {}
                _ => {
                    self.at -= 1;
                    return Err(self.unexpected("`,` or `)`", "close the parenthesis"));
                }
            }
        }
    }

    /// A node, or its value if all in it is literal. What errs stays, for it may never be reached.
    fn folded(&mut self, part: Part, span: Span) -> Node {
        let node = Node { part, span };
        if !self.faults.is_empty() || !node.children().iter().all(|child| matches!(child.part, Part::Literal(_))) {
            return node;
        }
        let value = match evaluate(&node, &Document::default()) {
            Ok(value) => value.into_owned(),
            Err(error) => {
                let (kind, words) = (error.reason.kind(), words(&error.reason));
                let message = format!("`{}` always errs: {words}", self.slice(span));
                if !matches!(error.reason, Reason::MissingAttribute(_)) {
                    self.warn(kind, span, message, "an expression that errs is false");
                }
                return node;
            }
        };
        Node { part: Part::Literal(value), span }
    }

    /// `NOT a = b` is `(NOT a) = b`, which nobody means.
    fn doubt_not(&mut self, left: &Node) {
        if matches!(left.part, Part::Not(_)) && !self.slice(left.span).starts_with('(') {
            let text = self.slice(left.span).to_owned();
            let message = format!("`{text}` is taken first, for NOT binds tighter than what follows");
            self.warn(Kind::Generic, left.span, message, "write NOT (…), or != , NOT LIKE, NOT IN");
        }
    }

    /// `a OR b AND c` is `(a OR b) AND c`, unlike in SQL.
    fn doubt_order(&mut self, rest: &[(Operator, Node)], span: Span) {
        let is_and = |(operator, _): &&(Operator, Node)| *operator == Operator::Logic(Logic::And);
        let other = rest.iter().position(|entry| !is_and(&entry));
        if other.is_some_and(|other| rest.iter().skip(other).any(|entry| is_and(&entry))) {
            let message =
                "AND, OR and XOR bind alike and are taken from left to right: `a OR b AND c` is `(a OR b) AND c`";
            self.warn(Kind::Generic, span, message, "write parentheses");
        }
    }

    fn doubt_root(&mut self, root: &Node) {
        let message = match (&root.part, root.returns()) {
            (Part::Literal(Value::Boolean(value)), _) => format!("it is always {value}"),
            (_, Some(returns @ (Type::String | Type::Integer))) => {
                format!("it gives {}, so it is never true", returns.noun())
            }
            (_, Some(Type::Boolean) | None) => return,
        };
        self.warn(Kind::Generic, root.span, message, "write a condition on an attribute");
    }
}

/// The texts of a set that is literal, sorted, if it is worth it.
fn sorted(set: &[Node]) -> Option<Box<[Box<str>]>> {
    if set.len() <= SORTED {
        return None;
    }
    let text = |node: &Node| {
        let Part::Literal(value) = &node.part else { return None };
        Some(value.clone().string().into())
    };
    let mut texts: Vec<Box<str>> = set.iter().map(text).collect::<Option<_>>()?;
    texts.sort_unstable();
    Some(texts.into())
}

/// The function that was probably meant.
fn meant(name: &str) -> Option<&'static str> {
    let wanted = name.to_ascii_uppercase();
    let known = OTHER_NAMES.iter().find(|(other, _)| *other == wanted).map(|(_, function)| *function);
    let near = || nearest(&wanted, SIGNATURES.iter().map(|signature| signature.name));
    known.or_else(near)
}
