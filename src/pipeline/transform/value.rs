//! Written value → [`Value`]: the grammar of strings (transforms.md rules 53, 54, 45).

use super::faults::{Faults, Spot};
use crate::json::path::{Lookup, Path, Step};
use crate::json::scan;
use crate::json::value::Json;
use crate::json::write::compact;
use crate::model::fault::Place;
use crate::model::node::{Kind, Node};
use crate::model::text::Text;

/// A written value, parsed.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Null,
    Bool(bool),
    /// As spelled.
    Number(String),
    /// Fixed characters.
    String(String),
    /// Fixed characters that only the sender may see.
    Secret(Text),
    /// A path or one expression; keeps its type.
    Expr(Expr),
    /// Text with at least one expression.
    Text(Vec<Piece>),
    List(Vec<Value>),
    Map(Vec<(String, Value)>),
}

/// A part of a text.
#[derive(Debug, Clone)]
pub(super) enum Piece {
    Literal(String),
    Expr(Expr),
}

/// A path with what to do if it finds nothing.
#[derive(Debug, Clone)]
pub(super) struct Expr {
    pub(super) origin: Origin,
    /// Where the lookup of the template puts what the path finds; `None` if it must be followed by itself.
    pub(super) slot: Option<usize>,
    pub(super) missing: Missing,
    /// The path as written, for messages.
    pub(super) written: Box<str>,
    pub(super) place: Place,
}

impl Expr {
    /// Has the path looked up together with all others.
    pub(super) fn bind(&mut self, lookup: &mut Lookup) {
        self.slot = match &self.origin {
            Origin::Document(path) => lookup.add(path),
            Origin::Meta(_) | Origin::MetaPath(_) | Origin::Envelope => None,
        };
    }
}

/// Where an expression reads.
#[derive(Debug, Clone)]
pub(super) enum Origin {
    /// `$…`
    Document(Path),
    /// `$meta` or `$meta.<name>`.
    Meta(Option<MetaField>),
    /// Anything else under `$meta`.
    MetaPath(Path),
    /// The document without its payload (`aws.events.event`).
    Envelope,
}

/// What `$meta` has (rule 45).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MetaField {
    Rule,
    Target,
    Attempt,
    DeliveryId,
    ReceivedAt,
}

impl MetaField {
    pub(super) const ALL: [(&'static str, Self); 5] = [
        ("rule", Self::Rule),
        ("target", Self::Target),
        ("attempt", Self::Attempt),
        ("delivery_id", Self::DeliveryId),
        ("received_at", Self::ReceivedAt),
    ];
}

/// What a missing value means.
#[derive(Debug, Clone)]
pub(super) enum Missing {
    /// The event fails.
    Fail,
    /// This compact JSON instead.
    Default(Box<str>),
    /// The key, element, line, header, parameter or edit is left out.
    Omit,
}

/// Which roots a value may read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Roots {
    /// `$` and `$meta`.
    Event,
    /// None: the parameters of a connection are fixed.
    None,
}

/// Why a string is no value.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) message: String,
    pub(super) cure: String,
}

impl Problem {
    fn new(message: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { message: message.into(), cure: cure.into() }
    }
}

impl Value {
    /// Parses a node; `None` after it has reported what is wrong.
    pub(super) fn parse(node: &Node, roots: Roots, at: &Spot, faults: &mut Faults) -> Option<Self> {
        Some(match &node.kind {
            Kind::Null => Self::Null,
            Kind::Bool(value) => Self::Bool(*value),
            Kind::Number(spelled) => Self::Number(spelled.clone()),
            Kind::String(secret @ Text::Secret(_)) => Self::Secret(secret.clone()),
            Kind::String(Text::Plain(text)) => Self::parse_text(text, roots, at, faults)?,
            Kind::List(items) => {
                let parse = |(i, item)| Self::parse(item, roots, &at.element(i, item), faults);
                // Every element is parsed before one of them stops us, so that all faults are found.
                let items: Vec<Option<Self>> = items.iter().enumerate().map(parse).collect();
                Self::List(items.into_iter().collect::<Option<_>>()?)
            }
            Kind::Map(entries) => {
                let mut all = Vec::with_capacity(entries.len());
                for (key, value) in entries {
                    let parsed = Self::parse(value, roots, &at.value(key, value), faults);
                    all.push(parsed.map(|parsed| (key.name.clone(), parsed)));
                }
                Self::Map(all.into_iter().collect::<Option<_>>()?)
            }
        })
    }

    /// Parses a string; `None` after it has reported what is wrong.
    pub(super) fn parse_text(text: &str, roots: Roots, at: &Spot, faults: &mut Faults) -> Option<Self> {
        match string(text, roots, &at.place) {
            Ok(value) => Some(value),
            Err(problem) => {
                faults.value(at, problem.message, problem.cure);
                None
            }
        }
    }
}

/// The three things that a string can be (rule 53).
fn string(text: &str, roots: Roots, place: &Place) -> Result<Value, Problem> {
    if text.starts_with('$') {
        let root = root_len(text);
        if matches!(text.as_bytes().get(root), None | Some(b'.' | b'[')) {
            let (origin, used) = origin(text, roots)?;
            if used < text.len() {
                return Err(Problem::new(
                    format!(
                        "`{text}` begins with a path, but more follows after `{}`",
                        text.get(..used).unwrap_or(text)
                    ),
                    "put the path into `${…}` inside the text, or write `$$` for a plain `$`",
                ));
            }
            let written = Box::from(text);
            return Ok(Value::Expr(Expr { origin, slot: None, missing: Missing::Fail, written, place: place.clone() }));
        }
    }
    let mut pieces = Vec::new();
    let mut literal = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        let (before, dollar) = rest.split_at(at);
        literal.push_str(before);
        if let Some(after) = dollar.strip_prefix("$$") {
            literal.push('$');
            rest = after;
        } else if let Some(inside) = dollar.strip_prefix("${") {
            let (expr, used) = expression(inside, roots, place)?;
            rest = inside.get(used..).unwrap_or_default();
            if pieces.is_empty() && literal.is_empty() && rest.is_empty() {
                return Ok(Value::Expr(expr));
            }
            if matches!(expr.missing, Missing::Omit) {
                return Err(Problem::new(
                    "`?? omit` inside a text: nothing can be left out there",
                    format!("give a default, `${{{} ?? \"\"}}`", expr.written),
                ));
            }
            if !literal.is_empty() {
                pieces.push(Piece::Literal(std::mem::take(&mut literal)));
            }
            pieces.push(Piece::Expr(expr));
        } else {
            literal.push('$');
            rest = dollar.get(1..).unwrap_or_default();
        }
    }
    literal.push_str(rest);
    if pieces.is_empty() {
        return Ok(Value::String(literal));
    }
    if !literal.is_empty() {
        pieces.push(Piece::Literal(literal));
    }
    Ok(Value::Text(pieces))
}

/// The length of the root, `$` or `$name`, at the beginning of `text`.
fn root_len(text: &str) -> usize {
    let bytes = text.as_bytes();
    match bytes.get(1) {
        Some(first) if first.is_ascii_alphabetic() || *first == b'_' => {
            1 + bytes.iter().skip(1).take_while(|b| b.is_ascii_alphanumeric() || **b == b'_').count()
        }
        _ => 1,
    }
}

/// The path at the beginning of `text`, which begins with `$`, and its length.
fn origin(text: &str, roots: Roots) -> Result<(Origin, usize), Problem> {
    let (root, rest) = text.split_at(root_len(text));
    let known = match root {
        "$" | "$meta" => roots == Roots::Event,
        _ => false,
    };
    if !known {
        return Err(unknown_root(root, roots));
    }
    let (path, used) = Path::parse_segments(rest).map_err(|e| {
        let at = root.chars().count() + rest.get(..e.at).unwrap_or_default().chars().count() + 1;
        Problem::new(
            format!("`{text}` is no path: {}, at character {at}", e.message),
            "mend the path, or write `$$` for a plain `$`",
        )
    })?;
    let used = root.len() + used;
    if root == "$" {
        return Ok((Origin::Document(path), used));
    }
    let origin = match path.steps() {
        None => Origin::MetaPath(path),
        Some([]) => Origin::Meta(None),
        Some([first, more @ ..]) => {
            let field = MetaField::ALL.into_iter().find(|(name, _)| *first == Step::Name(Box::from(*name)));
            let Some((_, field)) = field else {
                let names = MetaField::ALL.map(|(name, _)| name).join(", ");
                return Err(Problem::new(format!("`$meta` has no `{first}`"), format!("it has {names}")));
            };
            if more.is_empty() { Origin::Meta(Some(field)) } else { Origin::MetaPath(path) }
        }
    };
    Ok((origin, used))
}

fn unknown_root(root: &str, roots: Roots) -> Problem {
    let literal = format!("write `${root}` for the text `{root}`");
    match (roots, root) {
        (Roots::None, _) => {
            Problem::new(format!("`{root}` in a connection, whose parameters are fixed for all events"), literal)
        }
        (Roots::Event, "$response") => Problem::new("`$response` is only known in `emit` and in poll sources", literal),
        (Roots::Event, "$cursor") => Problem::new("`$cursor` is only known in poll sources", literal),
        (Roots::Event, "$token") => Problem::new("`$token` is only known in `auth.token.send`", literal),
        (Roots::Event, _) => {
            Problem::new(format!("unknown root `{root}`; there are `$` (the event) and `$meta`"), literal)
        }
    }
}

/// The expression whose text begins after `${`, and its length with the closing brace.
fn expression(text: &str, roots: Roots, place: &Place) -> Result<(Expr, usize), Problem> {
    let bytes = text.as_bytes();
    let start = scan::skip_space(bytes, 0);
    let path = text.get(start..).unwrap_or_default();
    if !path.starts_with('$') {
        return Err(no_path(text));
    }
    let (origin, used) = origin(path, roots)?;
    let written = Box::from(path.get(..used).unwrap_or_default());
    let mut at = scan::skip_space(bytes, start + used);
    let mut missing = Missing::Fail;
    if text.get(at..).unwrap_or_default().starts_with("??") {
        at = scan::skip_space(bytes, at + 2);
        let (parsed, used) = default(text.get(at..).unwrap_or_default())?;
        missing = parsed;
        at = scan::skip_space(bytes, at + used);
    }
    match bytes.get(at) {
        Some(b'}') => Ok((Expr { origin, slot: None, missing, written, place: place.clone() }, at + 1)),
        Some(_) => Err(Problem::new(
            format!("`}}` or `??` must follow the path in `${{{text}`"),
            "an expression is `${path}` or `${path ?? default}`",
        )),
        None => Err(Problem::new(format!("`${{{text}` is not closed"), "add `}`, or write `$${` for a plain `${`")),
    }
}

/// What stands after `??`, and its length.
fn default(text: &str) -> Result<(Missing, usize), Problem> {
    let word = text.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(text.len());
    if text.get(..word) == Some("omit") {
        return Ok((Missing::Omit, word));
    }
    let end = scan::skip_value(text.as_bytes(), 0);
    let written = text.get(..end).unwrap_or_default();
    let json = Json::check(written.as_bytes()).map_err(|_| {
        let found = if written.is_empty() { "nothing".to_owned() } else { format!("`{written}`") };
        Problem::new(
            format!("a JSON value must follow `??`, not {found}"),
            "a default is a JSON value, strings in double quotes, or the word omit",
        )
    })?;
    let mut out = String::with_capacity(written.len());
    compact(json, &mut out);
    Ok((Missing::Default(out.into()), end))
}

fn no_path(text: &str) -> Problem {
    let name = text.split('}').next().unwrap_or_default();
    if name.starts_with("env:") || name.starts_with("file:") {
        return Problem::new(
            format!("`${{{name}}}`: secret references are not allowed here, so that rules cannot leak them"),
            "put it into the connection, or write `$${` for a plain `${`",
        );
    }
    Problem::new(
        format!("`${{{name}}}` is no expression: a path must follow `${{`"),
        "write `${$.…}` to insert a part of the event, or `$${` for a plain `${`",
    )
}
