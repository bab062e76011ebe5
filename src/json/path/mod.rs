//! Paths: RFC 9535 `JSONPath` and its dialect (transforms.md rule 39): a name after a dot may also contain `-` and
//! begin with a digit.
//!
//! A path is parsed once; [`Path::find`] then borrows what it finds. A path of names and indexes only is
//! *definite* and finds one value or none; any other finds a list.

mod filter;
#[cfg(test)]
mod laws;
mod lookup;
mod meter;
mod parse;
mod regexp;
#[cfg(test)]
mod tests;

use super::item::Item;
use super::value::Kind;
use filter::Logical;
pub use lookup::Lookup;
pub use meter::TooCostly;
use meter::{Limits, Meter};
pub use parse::Error;
use std::fmt;

/// A path, without its root.
#[derive(Debug, Clone)]
pub struct Path(Form);

#[derive(Debug, Clone)]
enum Form {
    Definite(Vec<Step>),
    List(Vec<Segment>),
}

/// One step of a definite path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The member of that name.
    Name(Box<str>),
    /// The element at that index; negative counts from the end.
    Index(i64),
}

#[derive(Debug, Clone)]
struct Segment {
    /// `..`: of the node and everything in it.
    descendant: bool,
    selectors: Vec<Selector>,
}

#[derive(Debug, Clone)]
enum Selector {
    Step(Step),
    Wildcard,
    Slice { start: Option<i64>, end: Option<i64>, step: i64 },
    Filter(Logical),
}

/// What a path found.
#[derive(Debug, Clone)]
pub enum Found<'a> {
    /// A definite path found this.
    One(Item<'a>),
    /// Any other path found these, perhaps none.
    List(Vec<Item<'a>>),
}

impl Path {
    /// Parses a whole path, from its root `$` to the end of the text.
    ///
    /// # Errors
    /// What does not belong there.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let rest = text.strip_prefix('$').ok_or_else(|| Error::new(0, "a path begins with `$`"))?;
        let (path, used) = Self::parse_segments(rest).map_err(|e| Error { at: e.at + 1, ..e })?;
        if used < rest.len() {
            return Err(Error::new(used + 1, "a path ends here, but more follows"));
        }
        Ok(path)
    }

    /// Parses the segments that follow a root at the beginning of `text`, as far as they go; gives the bytes they take.
    ///
    /// # Errors
    /// A segment that begins but is not well formed.
    pub fn parse_segments(text: &str) -> Result<(Self, usize), Error> {
        parse::segments(text)
    }

    fn new(segments: Vec<Segment>) -> Self {
        let step = |segment: &Segment| match segment.selectors.as_slice() {
            [Selector::Step(step)] if !segment.descendant => Some(step.clone()),
            _ => None,
        };
        Self(match segments.iter().map(step).collect() {
            Some(steps) => Form::Definite(steps),
            None => Form::List(segments),
        })
    }

    /// The steps of a definite path.
    #[must_use]
    pub fn steps(&self) -> Option<&[Step]> {
        match &self.0 {
            Form::Definite(steps) => Some(steps),
            Form::List(_) => None,
        }
    }

    /// What the path finds from its root on; `None` if it is definite and finds nothing.
    ///
    /// # Errors
    /// A path that finds a list would cost too much on this document.
    pub fn find<'a>(&self, root: Item<'a>) -> Result<Option<Found<'a>>, TooCostly> {
        self.find_within(root, Limits::USUAL)
    }

    fn find_within<'a>(&self, root: Item<'a>, limits: Limits) -> Result<Option<Found<'a>>, TooCostly> {
        match &self.0 {
            Form::Definite(steps) => Ok(follow(steps, root).map(Found::One)),
            Form::List(segments) => {
                let meter = Meter::new(root, limits);
                let found = walk(segments, root, &meter)?;
                meter.written(&found)?;
                Ok(Some(Found::List(found)))
            }
        }
    }

    /// All it finds from `start` on, in a filter.
    fn nodes<'a>(&self, start: Item<'a>, meter: &Meter<'a>) -> Result<Vec<Item<'a>>, TooCostly> {
        match &self.0 {
            Form::Definite(steps) => {
                meter.read(start)?;
                Ok(follow(steps, start).into_iter().collect())
            }
            Form::List(segments) => walk(segments, start, meter),
        }
    }
}

/// Follows the steps of a definite path.
#[must_use]
pub fn follow<'a>(steps: &[Step], start: Item<'a>) -> Option<Item<'a>> {
    steps.iter().try_fold(start, |item, step| match step {
        Step::Name(name) => item.get(name),
        Step::Index(index) => item.at(*index),
    })
}

fn walk<'a>(segments: &[Segment], start: Item<'a>, meter: &Meter<'a>) -> Result<Vec<Item<'a>>, TooCostly> {
    let mut nodes = vec![start];
    for segment in segments {
        let mut next = Vec::new();
        for node in nodes {
            if segment.descendant {
                descend(segment, node, meter, &mut next)?;
            } else {
                segment.select(node, meter, &mut next)?;
            }
        }
        nodes = next;
    }
    Ok(nodes)
}

fn descend<'a>(
    segment: &Segment,
    node: Item<'a>,
    meter: &Meter<'a>,
    found: &mut Vec<Item<'a>>,
) -> Result<(), TooCostly> {
    segment.select(node, meter, found)?;
    for child in children(node, meter)? {
        if matches!(child.kind(), Kind::Array | Kind::Object) {
            descend(segment, child, meter, found)?;
        }
    }
    Ok(())
}

fn children<'a>(node: Item<'a>, meter: &Meter<'a>) -> Result<Vec<Item<'a>>, TooCostly> {
    meter.read(node)?;
    Ok(match node.kind() {
        Kind::Object => node.members().into_iter().map(|(_, value)| value).collect(),
        Kind::Array => node.elements().collect(),
        Kind::Null | Kind::Bool | Kind::Number | Kind::String => Vec::new(),
    })
}

impl Segment {
    fn select<'a>(&self, node: Item<'a>, meter: &Meter<'a>, found: &mut Vec<Item<'a>>) -> Result<(), TooCostly> {
        for selector in &self.selectors {
            let before = found.len();
            match selector {
                Selector::Step(step) => {
                    meter.read(node)?;
                    found.extend(follow(std::slice::from_ref(step), node));
                }
                Selector::Wildcard => found.extend(children(node, meter)?),
                Selector::Slice { start, end, step } => {
                    meter.read(node)?;
                    slice(node, *start, *end, *step, found);
                }
                Selector::Filter(test) => {
                    for child in children(node, meter)? {
                        if test.holds(child, meter)? {
                            found.push(child);
                        }
                    }
                }
            }
            meter.found(found.len() - before)?;
        }
        Ok(())
    }
}

/// RFC 9535, 2.3.4.2.2: bounds are normalised, then clamped.
fn slice<'a>(node: Item<'a>, start: Option<i64>, end: Option<i64>, step: i64, found: &mut Vec<Item<'a>>) {
    let elements: Vec<Item<'a>> = node.elements().collect();
    let len = i64::try_from(elements.len()).unwrap_or(i64::MAX);
    let normal = |i: i64| if i < 0 { len.saturating_add(i) } else { i };
    let (mut at, last) = if step >= 0 {
        (normal(start.unwrap_or(0)).clamp(0, len), normal(end.unwrap_or(len)).clamp(0, len))
    } else {
        let end = end.map_or(-1, normal);
        (normal(start.unwrap_or(len - 1)).clamp(-1, len - 1), end.clamp(-1, len - 1))
    };
    while (step > 0 && at < last) || (step < 0 && at > last) {
        found.extend(usize::try_from(at).ok().and_then(|i| elements.get(i)));
        at = at.saturating_add(step);
    }
}

impl Found<'_> {
    /// What kind of JSON value it is; a list is an array.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::One(item) => item.kind(),
            Self::List(_) => Kind::Array,
        }
    }

    /// Appends it as compact JSON.
    pub fn write_compact(&self, out: &mut String) {
        match self {
            Self::One(item) => item.write_compact(out),
            Self::List(items) => {
                out.push('[');
                for (i, item) in items.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    item.write_compact(out);
                }
                out.push(']');
            }
        }
    }

    /// Appends its text form (transforms.md rule 42).
    pub fn write_text(&self, out: &mut String) {
        match self {
            Self::One(item) => item.write_text(out),
            Self::List(_) => self.write_compact(out),
        }
    }

    /// Appends its text form, escaped to stand inside a JSON string literal.
    pub fn write_escaped(&self, out: &mut String) {
        match self {
            Self::One(item) => item.write_escaped(out),
            Self::List(_) => {
                let mut plain = String::new();
                self.write_compact(&mut plain);
                crate::model::node::write_json_escaped(&plain, out);
            }
        }
    }
}

/// A step as people write it after what stands before: `.name`, `['a.b']`, `[0]`.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) if !name.is_empty() && name.chars().all(parse::is_name) => write!(f, ".{name}"),
            Self::Name(name) => write!(f, "['{}']", name.escape_debug()),
            Self::Index(index) => write!(f, "[{index}]"),
        }
    }
}
