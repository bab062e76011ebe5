//! `Program`: text with holes. A body or a text of a rule, compiled: literal parts are encoded once, holes are filled
//! from the event when it is rendered.

use super::error::Error;
use super::scope::Scope;
use super::value::{Expr, Missing, Piece, Value};
use crate::json::path::Lookup;
use crate::json::value::Kind;
use crate::model::node::{write_json_escaped, write_json_string};
use crate::model::text::Text;

/// Bytes that a body or a text may have. A rule says how often a value is inserted, the event how long it is: only the
/// product is bounded here. Far more than any API takes.
const MAX_RENDERED: usize = 64 << 20;

/// A text with holes.
#[derive(Debug, Clone, Default)]
pub(super) struct Program {
    ops: Vec<Op>,
}

/// How a value is inserted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Context {
    /// As compact JSON.
    Json,
    /// Its text form, escaped to stand inside a JSON string.
    Escaped,
    /// Its text form.
    Plain,
    /// Its text form, an object or a list without its `"` (AWS, text mode).
    Stripped,
}

#[derive(Debug, Clone)]
enum Op {
    Raw(String),
    Insert(Expr, Context),
    Secret(Text, Context),
    /// A structure inserted as text.
    Nested(Program, Context),
    /// An object or list of which parts may be left out.
    Joined {
        open: char,
        parts: Vec<Part>,
        close: char,
    },
    /// What stands around the value goes with it if it is left out.
    Optional {
        expr: Expr,
        after: &'static str,
    },
    /// The text if a value inside is missing.
    Otherwise(Program, Box<str>),
}

#[derive(Debug, Clone)]
enum Part {
    Always(Program),
    Optional { before: String, expr: Expr },
}

impl Program {
    /// A guess of how long the text will be, so that it seldom has to grow.
    pub(super) fn capacity(&self) -> usize {
        let one = |op: &Op| if let Op::Raw(text) = op { text.len() } else { 48 };
        self.ops.iter().map(one).sum()
    }

    /// Appends fixed text.
    pub(super) fn push_raw(&mut self, text: &str) {
        match self.ops.last_mut() {
            Some(Op::Raw(last)) => last.push_str(text),
            _ if text.is_empty() => {}
            _ => self.ops.push(Op::Raw(text.to_owned())),
        }
    }

    /// The text, if there is no hole in it.
    pub(super) fn fixed(&self) -> Option<&str> {
        match self.ops.as_slice() {
            [] => Some(""),
            [Op::Raw(text)] => Some(text),
            _ => None,
        }
    }

    /// A program that inserts one value.
    pub(super) fn of(value: &Value, context: Context) -> Self {
        let mut this = Self::default();
        this.push(value, context);
        this
    }

    /// Appends a value.
    pub(super) fn push(&mut self, value: &Value, context: Context) {
        match value {
            Value::Null => self.push_raw("null"),
            Value::Bool(value) => self.push_raw(if *value { "true" } else { "false" }),
            Value::Number(spelled) => self.push_raw(spelled),
            Value::String(text) => self.push_literal(text, context),
            Value::Secret(text) => self.ops.push(Op::Secret(text.clone(), context)),
            Value::Expr(expr) => self.ops.push(Op::Insert(expr.clone(), context)),
            Value::Text(pieces) => {
                let inner = if context == Context::Json {
                    self.push_raw("\"");
                    Context::Escaped
                } else {
                    // A text with expressions is a string, whatever they find.
                    if context == Context::Stripped { Context::Plain } else { context }
                };
                for piece in pieces {
                    match piece {
                        Piece::Literal(text) if inner == Context::Escaped => {
                            let mut escaped = String::with_capacity(text.len());
                            write_json_escaped(text, &mut escaped);
                            self.push_raw(&escaped);
                        }
                        Piece::Literal(text) => self.push_raw(text),
                        Piece::Expr(expr) => self.ops.push(Op::Insert(expr.clone(), inner)),
                    }
                }
                if context == Context::Json {
                    self.push_raw("\"");
                }
            }
            Value::List(_) | Value::Map(_) => match context {
                Context::Json | Context::Plain => self.push_structure(value),
                Context::Escaped | Context::Stripped => {
                    let nested = Self::of(value, Context::Json);
                    self.ops.push(Op::Nested(nested, context));
                }
            },
        }
    }

    fn push_literal(&mut self, text: &str, context: Context) {
        let mut written = String::with_capacity(text.len() + 2);
        match context {
            Context::Json => write_json_string(text, &mut written),
            Context::Escaped => write_json_escaped(text, &mut written),
            Context::Plain | Context::Stripped => written.push_str(text),
        }
        self.push_raw(&written);
    }

    fn push_structure(&mut self, value: &Value) {
        let (open, close, entries): (_, _, Vec<(String, &Value)>) = match value {
            Value::List(items) => ('[', ']', items.iter().map(|item| (String::new(), item)).collect()),
            Value::Map(entries) => ('{', '}', entries.iter().map(|(name, value)| (key(name), value)).collect()),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Secret(_)
            | Value::Expr(_)
            | Value::Text(_) => return self.push(value, Context::Json),
        };
        if entries.iter().any(|(_, value)| omitted(value).is_some()) {
            let part = |(before, value): (String, &Value)| match omitted(value) {
                Some(expr) => Part::Optional { before, expr: expr.clone() },
                None => {
                    let mut program = Self::default();
                    program.push_raw(&before);
                    program.push(value, Context::Json);
                    Part::Always(program)
                }
            };
            let parts = entries.into_iter().map(part).collect();
            return self.ops.push(Op::Joined { open, parts, close });
        }
        let mut separator = String::from(open);
        for (before, value) in &entries {
            self.push_raw(&separator);
            self.push_raw(before);
            self.push(value, Context::Json);
            separator = String::from(',');
        }
        if entries.is_empty() {
            self.push_raw(&separator);
        }
        self.push_raw(&String::from(close));
    }

    /// Appends a line of NDJSON; it is left out with its value.
    pub(super) fn push_line(&mut self, value: &Value) {
        match omitted(value) {
            Some(expr) => self.ops.push(Op::Optional { expr: expr.clone(), after: "\n" }),
            None => {
                self.push(value, Context::Json);
                self.push_raw("\n");
            }
        }
    }

    /// Appends a value, or `fallback` if a path in it finds nothing.
    pub(super) fn push_or(&mut self, value: &Value, context: Context, fallback: &str) {
        self.ops.push(Op::Otherwise(Self::of(value, context), fallback.into()));
    }

    /// Has the paths in it looked up together with all others.
    pub(super) fn bind(&mut self, lookup: &mut Lookup) {
        for op in &mut self.ops {
            match op {
                Op::Raw(_) | Op::Secret(..) => {}
                Op::Insert(expr, _) | Op::Optional { expr, .. } => expr.bind(lookup),
                Op::Nested(program, _) | Op::Otherwise(program, _) => program.bind(lookup),
                Op::Joined { parts, .. } => parts.iter_mut().for_each(|part| match part {
                    Part::Always(program) => program.bind(lookup),
                    Part::Optional { expr, .. } => expr.bind(lookup),
                }),
            }
        }
    }

    /// Renders it. What `out` holds after an error is of no use.
    pub(super) fn render(&self, scope: &Scope<'_>, out: &mut String) -> Result<(), Error> {
        self.ops.iter().try_for_each(|op| op.render(scope, out))
    }
}

/// `"name":`
fn key(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 3);
    write_json_string(name, &mut out);
    out.push(':');
    out
}

/// The expression of a value that may be left out.
pub(super) fn omitted(value: &Value) -> Option<&Expr> {
    match value {
        Value::Expr(expr) if matches!(expr.missing, Missing::Omit) => Some(expr),
        Value::Expr(_)
        | Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Secret(_)
        | Value::Text(_)
        | Value::List(_)
        | Value::Map(_) => None,
    }
}

impl Op {
    fn render(&self, scope: &Scope<'_>, out: &mut String) -> Result<(), Error> {
        match self {
            Self::Raw(text) => out.push_str(text),
            Self::Insert(expr, context) => {
                insert(scope, expr, *context, out)?;
            }
            Self::Secret(text, context) => match context {
                Context::Json => write_json_string(scope.show.show(text), out),
                Context::Escaped => write_json_escaped(scope.show.show(text), out),
                Context::Plain | Context::Stripped => out.push_str(scope.show.show(text)),
            },
            Self::Nested(program, context) => {
                let mut text = String::new();
                program.render(scope, &mut text)?;
                match context {
                    Context::Escaped => write_json_escaped(&text, out),
                    Context::Stripped => strip(&text, out),
                    Context::Json | Context::Plain => out.push_str(&text),
                }
                within(out.len())?;
            }
            Self::Joined { open, parts, close } => {
                out.push(*open);
                let mut first = true;
                for part in parts {
                    let start = out.len();
                    if !first {
                        out.push(',');
                    }
                    let written = match part {
                        Part::Always(program) => program.render(scope, out).map(|()| true)?,
                        Part::Optional { before, expr } => {
                            out.push_str(before);
                            insert(scope, expr, Context::Json, out)?
                        }
                    };
                    if written {
                        first = false;
                    } else {
                        out.truncate(start);
                    }
                }
                out.push(*close);
            }
            Self::Optional { expr, after } => {
                if insert(scope, expr, Context::Json, out)? {
                    out.push_str(after);
                }
            }
            Self::Otherwise(program, fallback) => {
                let start = out.len();
                match program.render(scope, out) {
                    Err(Error::Missing { .. }) => {
                        out.truncate(start);
                        out.push_str(fallback);
                    }
                    result => result?,
                }
            }
        }
        Ok(())
    }
}

/// Appends what an expression finds; false if it is left out.
fn insert(scope: &Scope<'_>, expr: &Expr, context: Context, out: &mut String) -> Result<bool, Error> {
    scope.find(expr, |found| {
        let Some(found) = found else { return Ok(false) };
        match context {
            Context::Json => found.write_compact(out),
            Context::Escaped => found.write_escaped(out),
            Context::Plain => found.write_text(out),
            Context::Stripped if matches!(found.kind(), Kind::Array | Kind::Object) => {
                let mut text = String::new();
                found.write_compact(&mut text);
                strip(&text, out);
            }
            Context::Stripped => found.write_text(out),
        }
        within(out.len())?;
        Ok(true)
    })
}

/// Refuses what has grown too long. It is asked after each value: what was written is less than the bound and one value.
pub(super) const fn within(len: usize) -> Result<(), Error> {
    if len > MAX_RENDERED { Err(Error::Long { limit: MAX_RENDERED }) } else { Ok(()) }
}

fn strip(json: &str, out: &mut String) {
    out.extend(json.chars().filter(|c| *c != '"'));
}
