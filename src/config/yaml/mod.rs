//! YAML text → [`Node`]s with the place of everything.
//!
//! Stricter than YAML: keys stand once, a number must be a JSON number, only `true`, `false`, `null` and `~` are
//! special words, and tags and merge keys are refused, so that what is read is what everybody sees. Documents are
//! read one by one: a broken one does not hide the faults of the others.

use crate::json::scan;
use crate::model::fault::{Fault, Place};
use crate::model::node::{Key, Kind, Node};
use crate::model::text::Text;
use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span, StrInput};
use std::collections::HashMap;
use std::sync::Arc;

/// Maps and lists in each other at most.
pub const MAX_DEPTH: usize = 100;
/// Nodes that aliases may add to one document, so that a small file cannot grow without bound.
pub const MAX_ALIAS_NODES: usize = 10_000;

/// What a YAML tag is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tags {
    /// A fault.
    Refused,
    /// `!Name value` is the short form of a function of a template: `{"Fn::Name": value}`, and of `Ref` and `Condition`
    /// the key is the name itself, as AWS `CloudFormation` and Alibaba ROS define it.
    Functions,
}

/// Reads all documents of a file; empty ones are left out. Everything wrong goes to `faults` as `CONFIG_SYNTAX`,
/// `CONFIG_DUPLICATE_KEY` or `CONFIG_NUMBER`; a document with a syntax error gives no node.
pub fn read(file: &Arc<str>, text: &str, faults: &mut Vec<Fault>) -> Vec<Node> {
    read_with(file, text, Tags::Refused, faults)
}

/// The same, where tags may mean something.
pub fn read_with(file: &Arc<str>, text: &str, tags: Tags, faults: &mut Vec<Fault>) -> Vec<Node> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut nodes = Vec::new();
    for (first_line, part) in split(text) {
        let reader = Reader {
            file,
            text: part,
            tags,
            first_line,
            parser: Parser::new_from_str(part),
            anchors: HashMap::new(),
            alias_budget: MAX_ALIAS_NODES,
            faults: &mut *faults,
            items: Vec::new(),
            entries: Vec::new(),
        };
        reader.documents(&mut nodes);
    }
    nodes
}

/// The documents of a text with the number of lines before each. `---` at the beginning of a line separates
/// documents wherever it stands (YAML 1.2.2, 9.1.2: not even inside a scalar), so no parser is needed for it.
fn split(text: &str) -> Vec<(u32, &str)> {
    let mut parts = Vec::new();
    let (mut start, mut start_line, mut at, mut line) = (0, 0, 0, 0);
    for piece in text.split_inclusive('\n') {
        let marker =
            piece.strip_prefix("---").is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']));
        if marker && at > start {
            parts.push((start_line, text.get(start..at).unwrap_or_default()));
            (start, start_line) = (at, line);
        }
        at += piece.len();
        line += 1;
    }
    parts.push((start_line, text.get(start..).unwrap_or_default()));
    parts
}

/// Reading stops here; the fault is noted.
struct Stop;

struct Reader<'t, 'f> {
    file: &'f Arc<str>,
    text: &'t str,
    tags: Tags,
    first_line: u32,
    parser: Parser<'t, StrInput<'t>>,
    anchors: HashMap<usize, Node>,
    alias_budget: usize,
    faults: &'f mut Vec<Fault>,
    /// What has been read of the sequences and mappings that stand open, the innermost last: when one ends, it takes what
    /// is its own, and no more memory than that needs.
    items: Vec<Node>,
    entries: Vec<(Key, Node)>,
}

impl<'t> Reader<'t, '_> {
    fn documents(mut self, nodes: &mut Vec<Node>) {
        loop {
            let Ok((event, span)) = self.next() else { return };
            match event {
                Event::StreamEnd => return,
                Event::Scalar(..) | Event::SequenceStart(..) | Event::MappingStart(..) | Event::Alias(_) => {
                    let Ok(node) = self.node(event, span, 0) else { return };
                    if !matches!(node.kind, Kind::Null) {
                        nodes.push(node);
                    }
                }
                Event::Nothing
                | Event::StreamStart
                | Event::DocumentStart(_)
                | Event::DocumentEnd
                | Event::SequenceEnd
                | Event::MappingEnd => {}
            }
        }
    }

    fn next(&mut self) -> Result<(Event<'t>, Span), Stop> {
        match self.parser.next_event() {
            None => Ok((Event::StreamEnd, Span::default())),
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => {
                let fault = self.syntax(&error);
                self.faults.push(fault);
                Err(Stop)
            }
        }
    }

    fn node(&mut self, event: Event<'t>, span: Span, depth: usize) -> Result<Node, Stop> {
        let place = self.place(span);
        if depth > MAX_DEPTH {
            return self.stop(&place, format!("nested deeper than {MAX_DEPTH}"), "flatten it");
        }
        let (kind, anchor, tag) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let kind = match style {
                    ScalarStyle::Plain => self.plain(&text, &place),
                    ScalarStyle::SingleQuoted
                    | ScalarStyle::DoubleQuoted
                    | ScalarStyle::Literal
                    | ScalarStyle::Folded => Kind::String(Text::Plain(text.into_owned())),
                };
                (kind, anchor, tag)
            }
            Event::SequenceStart(anchor, tag) => (self.list(depth)?, anchor, tag),
            Event::MappingStart(anchor, tag) => (self.map(depth)?, anchor, tag),
            Event::Alias(anchor) => return self.alias(anchor, place),
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd
            | Event::SequenceEnd
            | Event::MappingEnd => return self.stop(&place, "a value is missing here", "write one"),
        };
        let node = match tag {
            Some(tag) if self.tags == Tags::Functions && tag.handle == "!" => function(&tag.suffix, kind, place),
            Some(tag) => {
                let message = format!("YAML tags such as `{tag}` are not supported");
                self.fault("CONFIG_SYNTAX", &place, message, "leave it out, or put the whole value in quotes");
                Node { kind, place }
            }
            None => Node { kind, place },
        };
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn list(&mut self, depth: usize) -> Result<Kind, Stop> {
        let first = self.items.len();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(Kind::List(self.items.split_off(first))),
                (event, span) => {
                    let item = self.node(event, span, depth + 1)?;
                    self.items.push(item);
                }
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Kind, Stop> {
        let begin = self.entries.len();
        loop {
            let (event, span) = self.next()?;
            let place = self.place(span);
            let key = match event {
                Event::MappingEnd => return Ok(Kind::Map(self.entries.split_off(begin))),
                Event::Scalar(text, style, ..) => {
                    if text.is_empty() && style == ScalarStyle::Plain {
                        return self.stop(&place, "a key is missing here", "write `key: value`");
                    }
                    if text == "<<" && style == ScalarStyle::Plain {
                        let message = "merge keys (`<<`) are not supported";
                        self.fault("CONFIG_SYNTAX", &place, message, "write the keys out");
                    }
                    Key { name: text.into_owned(), place }
                }
                Event::Nothing
                | Event::StreamStart
                | Event::StreamEnd
                | Event::DocumentStart(_)
                | Event::DocumentEnd
                | Event::Alias(_)
                | Event::SequenceStart(..)
                | Event::SequenceEnd
                | Event::MappingStart(..) => {
                    let cure = self.flow_hint(&place).unwrap_or("write `key: value`, or put the text in quotes");
                    return self.stop(&place, "a key must be a text", cure);
                }
            };
            let (event, span) = self.next()?;
            let value = self.node(event, span, depth + 1)?;
            match self.entries.iter().skip(begin).find(|(k, _)| k.name == key.name) {
                Some((first, _)) => {
                    let line = first.place.line;
                    let message = format!("`{}` stands twice", key.name);
                    let cure = format!("first in line {line}; keep one");
                    self.fault("CONFIG_DUPLICATE_KEY", &key.place, message, cure);
                }
                None => self.entries.push((key, value)),
            }
        }
    }

    fn alias(&mut self, anchor: usize, place: Place) -> Result<Node, Stop> {
        let Some(node) = self.anchors.get(&anchor).cloned() else {
            return self.stop(&place, "an alias inside its own anchor never ends", "write the value out");
        };
        let Some(left) = self.alias_budget.checked_sub(count(&node)) else {
            let message = format!("aliases add more than {MAX_ALIAS_NODES} values");
            return self.stop(&place, message, "write the values out, or use fewer aliases");
        };
        self.alias_budget = left;
        Ok(Node { place, ..node })
    }

    /// What an unquoted scalar means.
    fn plain(&mut self, text: &str, place: &Place) -> Kind {
        match text {
            "" | "~" | "null" => return Kind::Null,
            "true" => return Kind::Bool(true),
            "false" => return Kind::Bool(false),
            _ => {}
        }
        let begins_as_number = text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.'));
        if begins_as_number {
            if scan::check(text.as_bytes()).is_ok() {
                return Kind::Number(text.to_owned());
            }
            if let Some(json) = number_elsewhere(text) {
                let cure = match json {
                    Some(json) => format!("write {json}, or \"{text}\" for a text"),
                    None => format!("write \"{text}\" for a text"),
                };
                let message = format!("`{text}` is a number in YAML but not in JSON");
                self.fault("CONFIG_NUMBER", place, message, cure);
            }
        }
        Kind::String(Text::Plain(text.to_owned()))
    }

    fn place(&self, span: Span) -> Place {
        self.place_at(span.start.line(), span.start.col())
    }

    fn place_at(&self, line: usize, column: usize) -> Place {
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Place {
            file: Arc::clone(self.file),
            line: self.first_line.saturating_add(number(line.max(1))),
            column: number(column).saturating_add(1),
        }
    }

    fn fault(&mut self, code: &'static str, place: &Place, message: impl Into<String>, cure: impl Into<String>) {
        self.faults.push(Fault::error(code, "", message).cure(cure).at(place.clone()));
    }

    fn stop<T>(&mut self, place: &Place, message: impl Into<String>, cure: &str) -> Result<T, Stop> {
        self.fault("CONFIG_SYNTAX", place, message, cure);
        Err(Stop)
    }

    fn syntax(&self, error: &ScanError) -> Fault {
        let place = self.place_at(error.marker().line(), error.marker().col());
        let info = error.info();
        if let Some(cure) = self.flow_hint(&place) {
            let message = "a path with `[` or a `${` must stand in quotes inside `{…}` or `[…]`";
            return Fault::error("CONFIG_SYNTAX", "", message).cure(cure).at(place);
        }
        if info.contains("recursion") {
            return Fault::error("CONFIG_SYNTAX", "", format!("nested deeper than {MAX_DEPTH}"))
                .cure("flatten it")
                .at(place);
        }
        let cure = if info.contains("tab") {
            "indent with spaces"
        } else if info.contains("mapping values are not allowed") {
            "a text with `: ` must stand in quotes"
        } else if info.contains("unknown anchor") {
            "write the value out, or put it in quotes if it is a text"
        } else {
            "see the line above too: a quote or bracket may be open, or the indentation differs"
        };
        Fault::error("CONFIG_SYNTAX", "", format!("not YAML: {info}")).cure(cure).at(place)
    }

    /// The cure if flow style breaks at `place` because of an unquoted `${`, or a path with `[`, shortly before it.
    fn flow_hint(&self, place: &Place) -> Option<&'static str> {
        let line = usize::try_from(place.line.saturating_sub(self.first_line)).unwrap_or(1);
        let lines = self.text.lines().take(line).skip(line.saturating_sub(10));
        unquoted_value_in_flow(lines).then_some("write {a: \"${$.a}\", b: \"$.items[0]\"}")
    }
}

/// The long form of a tagged value.
fn function(name: &str, kind: Kind, place: Place) -> Node {
    let name = if matches!(name, "Ref" | "Condition") { name.to_owned() } else { format!("Fn::{name}") };
    let value = Node { kind, place: place.clone() };
    Node { kind: Kind::Map(vec![(Key { name, place: place.clone() }, value)]), place }
}

/// Whether lines in flow style have a value of ours that YAML cannot read without quotes.
fn unquoted_value_in_flow<'a>(lines: impl Iterator<Item = &'a str>) -> bool {
    let mut depth = 0u32;
    for line in lines {
        let mut quote = None;
        let mut rest = line.chars().peekable();
        while let Some(c) = rest.next() {
            match (quote, c) {
                (Some(q), c) if q == c => quote = None,
                (Some(_), _) => {}
                (None, '"' | '\'') => quote = Some(c),
                (None, '{' | '[') => depth += 1,
                (None, '}' | ']') => depth = depth.saturating_sub(1),
                (None, '$') if depth > 0 => {
                    while rest.next_if(|&c| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '*')).is_some() {}
                    if let Some('{' | '[') = rest.peek() {
                        return true;
                    }
                }
                (None, _) => {}
            }
        }
    }
    false
}

fn count(node: &Node) -> usize {
    match &node.kind {
        Kind::List(items) => 1 + items.iter().map(count).sum::<usize>(),
        Kind::Map(entries) => 1 + entries.iter().map(|(_, value)| count(value)).sum::<usize>(),
        Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::String(_) => 1,
    }
}

/// Whether `text`, which is no JSON number, is a number for some YAML reader; if so, how JSON spells it, if it can.
fn number_elsewhere(text: &str) -> Option<Option<String>> {
    let (negative, rest) = match text.strip_prefix(['+', '-']) {
        Some(rest) => (text.starts_with('-'), rest),
        None => (false, text),
    };
    if matches!(rest.to_ascii_lowercase().as_str(), ".inf" | ".nan") {
        return Some(None);
    }
    let clean = rest.replace('_', "");
    let radix = |digits: &str, radix: u32| i128::from_str_radix(digits, radix).ok().map(|n| n.to_string());
    let digits = match clean.get(..2) {
        Some("0x" | "0X") => radix(clean.get(2..)?, 16)?,
        Some("0o" | "0O") => radix(clean.get(2..)?, 8)?,
        Some("0b" | "0B") => radix(clean.get(2..)?, 2)?,
        _ => decimal(&clean)?,
    };
    Some(Some(if negative { format!("-{digits}") } else { digits }))
}

/// A decimal number with leading zeros, or with nothing before or after its point, as JSON spells it.
fn decimal(text: &str) -> Option<String> {
    let (mantissa, exponent) = match text.find(['e', 'E']) {
        Some(at) => text.split_at(at),
        None => (text, ""),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = |t: &str| t.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || whole.len() + fraction.len() == 0 {
        return None;
    }
    let whole = match whole.trim_start_matches('0') {
        "" => "0",
        rest => rest,
    };
    let spelled =
        if fraction.is_empty() { format!("{whole}{exponent}") } else { format!("{whole}.{fraction}{exponent}") };
    scan::check(spelled.as_bytes()).is_ok().then_some(spelled)
}

#[cfg(test)]
mod tests;
