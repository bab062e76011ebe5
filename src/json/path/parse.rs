//! Text → [`Path`]: the grammar of RFC 9535 with the names of transforms.md rule 39.

use super::filter::{Comparison, Logical, Operand, Query};
use super::regexp::Regexp;
use super::{Path, Segment, Selector, Step};
use crate::json::scan;
use crate::json::value::Json;
use crate::model::node::write_json_string;

/// Filters in each other, and parentheses in a filter, at most; parsing recurses this deep.
const MAX_NESTED: usize = 32;
/// Indexes lie within the integers that every JSON implementation keeps exactly (RFC 9535, 2.1).
const MAX_INDEX: i64 = (1 << 53) - 1;

/// Why a text is no path, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} (at character {})", at + 1)]
pub struct Error {
    /// Byte offset in the text that was parsed.
    pub at: usize,
    /// What is wrong there.
    pub message: &'static str,
}

impl Error {
    pub(super) const fn new(at: usize, message: &'static str) -> Self {
        Self { at, message }
    }
}

/// Whether a character may stand in a name after a dot.
pub(super) fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-') || !c.is_ascii()
}

pub(super) fn segments(text: &str) -> Result<(Path, usize), Error> {
    let mut parser = Parser { text, at: 0, nested: 0 };
    let path = parser.path()?;
    Ok((path, parser.at))
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    nested: usize,
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn eat(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    fn space(&mut self) {
        self.at = scan::skip_space(self.text.as_bytes(), self.at);
    }

    fn wrong<T>(&self, message: &'static str) -> Result<T, Error> {
        Err(Error::new(self.at, message))
    }

    fn expect(&mut self, token: &str, message: &'static str) -> Result<(), Error> {
        if self.eat(token) { Ok(()) } else { self.wrong(message) }
    }

    fn path(&mut self) -> Result<Path, Error> {
        let mut segments = Vec::new();
        loop {
            let end = self.at;
            self.space();
            if self.eat("..") {
                let selectors = match self.peek() {
                    Some(b'[') => self.bracket()?,
                    _ => vec![self.after_dot()?],
                };
                segments.push(Segment { descendant: true, selectors });
            } else if self.eat(".") {
                segments.push(Segment { descendant: false, selectors: vec![self.after_dot()?] });
            } else if self.peek() == Some(b'[') {
                segments.push(Segment { descendant: false, selectors: self.bracket()? });
            } else {
                self.at = end;
                return Ok(Path::new(segments));
            }
        }
    }

    fn after_dot(&mut self) -> Result<Selector, Error> {
        if self.eat("*") {
            return Ok(Selector::Wildcard);
        }
        let len = self.rest().find(|c| !is_name(c)).unwrap_or(self.rest().len());
        if len == 0 {
            return self.wrong("a name or `*` must follow the dot; other keys are written ['like this']");
        }
        let name = self.rest().get(..len).unwrap_or_default();
        self.at += len;
        Ok(Selector::Step(Step::Name(name.into())))
    }

    fn bracket(&mut self) -> Result<Vec<Selector>, Error> {
        self.at += 1;
        let mut selectors = Vec::new();
        loop {
            self.space();
            selectors.push(self.selector()?);
            self.space();
            if self.eat("]") {
                return Ok(selectors);
            }
            self.expect(",", "`]` or `,` expected")?;
        }
    }

    fn selector(&mut self) -> Result<Selector, Error> {
        match self.peek() {
            Some(b'"' | b'\'') => Ok(Selector::Step(Step::Name(self.quoted()?.into()))),
            Some(b'*') => {
                self.at += 1;
                Ok(Selector::Wildcard)
            }
            Some(b'?') => {
                self.at += 1;
                self.space();
                Ok(Selector::Filter(self.or()?))
            }
            Some(b':' | b'-' | b'0'..=b'9') => self.index_or_slice(),
            _ => self.wrong("an index, a slice, `*`, a filter `?…` or a name in quotes must stand in `[ ]`"),
        }
    }

    fn index_or_slice(&mut self) -> Result<Selector, Error> {
        let start = self.integer()?;
        let end = self.at;
        self.space();
        if !self.eat(":") {
            self.at = end;
            return match start {
                Some(index) => Ok(Selector::Step(Step::Index(index))),
                None => self.wrong("an index expected"),
            };
        }
        self.space();
        let end = self.integer()?;
        self.space();
        let mut step = 1;
        if self.eat(":") {
            self.space();
            step = self.integer()?.unwrap_or(1);
        }
        Ok(Selector::Slice { start, end, step })
    }

    fn integer(&mut self) -> Result<Option<i64>, Error> {
        let rest = self.rest();
        let sign = usize::from(rest.starts_with('-'));
        let digits = rest.bytes().skip(sign).take_while(u8::is_ascii_digit).count();
        let text = rest.get(..sign + digits).unwrap_or_default();
        if text.is_empty() {
            return Ok(None);
        }
        let unsigned = text.trim_start_matches('-');
        match text.parse::<i64>() {
            Ok(value)
                if value.abs() <= MAX_INDEX && text != "-0" && !(unsigned.len() > 1 && unsigned.starts_with('0')) =>
            {
                self.at += text.len();
                Ok(Some(value))
            }
            _ => self.wrong("not an index: no leading zeros, no -0, at most 2^53 - 1"),
        }
    }

    /// A string in single or double quotes, decoded.
    fn quoted(&mut self) -> Result<String, Error> {
        let start = self.at;
        let quote = if self.peek() == Some(b'"') { '"' } else { '\'' };
        // Brought into the form of JSON, so that one place decodes escapes.
        let mut json = String::from('"');
        let mut chars = self.rest().char_indices().skip(1);
        while let Some((i, c)) = chars.next() {
            match c {
                c if c == quote => {
                    self.at = start + i + 1;
                    json.push('"');
                    let wrong = "bad escape, surrogate or control character in a name";
                    let text = Json::check(json.as_bytes()).map_err(|_| Error::new(start, wrong))?;
                    return Ok(text.as_str().unwrap_or_default().into_owned());
                }
                '\\' => match chars.next() {
                    Some((_, '\'')) if quote == '\'' => json.push('\''),
                    Some((_, '"')) if quote == '\'' => return Err(Error::new(start + i, "`\\\"` is no escape here")),
                    Some((_, escaped)) => {
                        json.push('\\');
                        json.push(escaped);
                    }
                    None => break,
                },
                '"' => json.push_str("\\\""),
                c => json.push(c),
            }
        }
        Err(Error::new(start, "the quote is not closed"))
    }

    fn enter(&mut self) -> Result<(), Error> {
        self.nested += 1;
        if self.nested > MAX_NESTED { self.wrong("nested too deep") } else { Ok(()) }
    }

    fn or(&mut self) -> Result<Logical, Error> {
        self.enter()?;
        let mut parts = vec![self.and()?];
        loop {
            let end = self.at;
            self.space();
            if !self.eat("||") {
                self.at = end;
                self.nested -= 1;
                return Ok(Logical::Or(parts));
            }
            self.space();
            parts.push(self.and()?);
        }
    }

    fn and(&mut self) -> Result<Logical, Error> {
        let mut parts = vec![self.basic()?];
        loop {
            let end = self.at;
            self.space();
            if !self.eat("&&") {
                self.at = end;
                return Ok(Logical::And(parts));
            }
            self.space();
            parts.push(self.basic()?);
        }
    }

    fn basic(&mut self) -> Result<Logical, Error> {
        if self.eat("!") {
            self.space();
            let inner = if self.peek() == Some(b'(') {
                self.parentheses()?
            } else {
                let term = self.term()?;
                self.test(term)?
            };
            return Ok(Logical::Not(Box::new(inner)));
        }
        if self.peek() == Some(b'(') {
            return self.parentheses();
        }
        let left = self.term()?;
        let end = self.at;
        self.space();
        let Some(comparison) = self.comparison() else {
            self.at = end;
            return self.test(left);
        };
        let left = self.operand(left)?;
        self.space();
        let right = self.term()?;
        Ok(Logical::Compare(left, comparison, self.operand(right)?))
    }

    fn parentheses(&mut self) -> Result<Logical, Error> {
        self.at += 1;
        self.space();
        let inner = self.or()?;
        self.space();
        self.expect(")", "`)` expected")?;
        Ok(inner)
    }

    fn comparison(&mut self) -> Option<Comparison> {
        use Comparison::{Equal, Greater, GreaterEqual, Less, LessEqual, NotEqual};
        let all =
            [("==", Equal), ("!=", NotEqual), ("<=", LessEqual), (">=", GreaterEqual), ("<", Less), (">", Greater)];
        all.into_iter().find(|(token, _)| self.eat(token)).map(|(_, comparison)| comparison)
    }

    /// A term standing alone: a query that finds something, or a function that says yes.
    fn test(&self, term: Term) -> Result<Logical, Error> {
        match term {
            Term::Query(query) => Ok(Logical::Exists(query)),
            Term::Logical(logical) => Ok(logical),
            Term::Operand(_) => self.wrong("a comparison (`==`, `!=`, `<`, `<=`, `>`, `>=`) must follow"),
        }
    }

    /// A term as one value.
    fn operand(&self, term: Term) -> Result<Operand, Error> {
        match term {
            Term::Operand(operand) => Ok(operand),
            Term::Query(query) if query.path.steps().is_some() => Ok(Operand::Query(query)),
            Term::Query(_) => self.wrong("only a path of names and indexes can be compared; use value(…) or count(…)"),
            Term::Logical(_) => self.wrong("match(…) and search(…) cannot be compared"),
        }
    }

    fn term(&mut self) -> Result<Term, Error> {
        match self.peek() {
            Some(b'@' | b'$') => Ok(Term::Query(self.query()?)),
            Some(b'"' | b'\'') => {
                let mut literal = String::new();
                write_json_string(&self.quoted()?, &mut literal);
                Ok(Term::Operand(Operand::Literal(literal.into())))
            }
            Some(b'-' | b'0'..=b'9') => {
                let len = self.rest().find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '+' | '.')));
                self.literal(len.unwrap_or(self.rest().len()))
            }
            Some(b'a'..=b'z') => {
                let len = self.rest().find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
                let word = self.rest().get(..len.unwrap_or(self.rest().len())).unwrap_or_default();
                if matches!(word, "true" | "false" | "null") {
                    return self.literal(word.len());
                }
                self.function(word)
            }
            _ => self.wrong("a path (`@.…` or `$.…`), a value or a function must stand here"),
        }
    }

    fn literal(&mut self, len: usize) -> Result<Term, Error> {
        let text = self.rest().get(..len).unwrap_or_default();
        if scan::check(text.as_bytes()).is_err() {
            return self.wrong("not a JSON number");
        }
        self.at += len;
        Ok(Term::Operand(Operand::Literal(text.into())))
    }

    fn query(&mut self) -> Result<Query, Error> {
        let absolute = self.peek() == Some(b'$');
        if !absolute && self.peek() != Some(b'@') {
            return self.wrong("a path (`@.…` or `$.…`) must stand here");
        }
        self.at += 1;
        self.enter()?;
        let path = self.path()?;
        self.nested -= 1;
        Ok(Query { absolute, path })
    }

    fn function(&mut self, name: &str) -> Result<Term, Error> {
        let start = self.at;
        self.at += name.len();
        self.expect("(", "unknown word; strings stand in quotes")?;
        self.enter()?;
        self.space();
        let term = match name {
            "count" => Term::Operand(Operand::Count(self.query()?)),
            "value" => Term::Operand(Operand::Value(self.query()?)),
            "length" => Term::Operand(Operand::Length(Box::new(self.argument()?))),
            "match" | "search" => {
                let text = self.argument()?;
                self.space();
                self.expect(",", "`,` and a pattern expected")?;
                self.space();
                let pattern = self.argument()?;
                // A pattern that is written is checked now, not when an event comes.
                if let Operand::Literal(literal) = &pattern
                    && let Some(written) = Json::trusted(literal).as_str()
                    && Regexp::parse(&written).is_none()
                {
                    return Err(Error::new(
                        start,
                        "not a regular expression of RFC 9485 (which has no `\\d`, `\\w` or lazy quantifiers), or too large",
                    ));
                }
                Term::Logical(Logical::matching(name == "match", text, pattern))
            }
            _ => return Err(Error::new(start, "unknown function; there are length, count, value, match, search")),
        };
        self.space();
        self.expect(")", "`)` expected")?;
        self.nested -= 1;
        Ok(term)
    }

    fn argument(&mut self) -> Result<Operand, Error> {
        let term = self.term()?;
        self.operand(term)
    }
}

enum Term {
    Operand(Operand),
    Query(Query),
    Logical(Logical),
}
