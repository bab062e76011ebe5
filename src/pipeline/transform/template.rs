//! Text templates (transforms.md rules 40 to 43 and 46): context-aware, raw, and AWS's.

use super::faults::{Faults, Spot};
use super::program::{Context, Program, omitted};
use super::value::{Expr, MetaField, Missing, Origin, Roots, Value};
use crate::json::path::Path;
use crate::json::scan;
use crate::model::fault::Place;
use crate::model::node::{Kind, Node};

/// How a rendered template is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Check {
    /// Not at all: it cannot be wrong, or need not be JSON.
    None,
    /// It is JSON or empty.
    Json,
    /// It is JSON.
    Strict,
    /// Each line of it is JSON.
    Lines,
}

/// How a template is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// `${name}`, encoded by context if the content type is JSON.
    Aware {
        /// The content type is JSON.
        json: bool,
    },
    /// `${name}`, inserted as it is.
    Raw {
        /// The content type is JSON.
        json: bool,
    },
    /// `<name>`
    Aws,
}

enum Chunk {
    Text(String),
    Hole(String),
}

/// Compiles a template with its `values`; `at` is the body's spot.
pub(super) fn compile(
    template: &str,
    values: Option<&Node>,
    mode: Mode,
    at: &Spot,
    faults: &mut Faults,
) -> (Program, Check) {
    let entries = parse_values(values, mode, at, faults);
    let here = at.child("template", &at.place);
    let chunks = match mode {
        Mode::Aware { .. } => scan_aware(template, &here, faults),
        Mode::Raw { .. } => scan_raw(template),
        Mode::Aws => scan_aws(template),
    };
    for (name, _, spot) in &entries {
        if !chunks.iter().any(|chunk| matches!(chunk, Chunk::Hole(hole) if hole == name)) {
            faults.unused(spot, format!("the template has no placeholder for `{name}`"));
        }
    }
    let find = |name: &str| entries.iter().find(|(known, ..)| known == name).map(|(_, value, _)| value.clone());
    let undefined = |name: &str, faults: &mut Faults| {
        faults.value(&here, format!("the placeholder `{name}` has no entry in `values`"), format!("add {name}: …"));
    };
    let mut program = Program::default();
    let mut strings = Strings::default();
    match mode {
        Mode::Raw { json } => {
            for chunk in &chunks {
                match chunk {
                    Chunk::Text(text) => program.push_raw(text),
                    Chunk::Hole(name) => {
                        let written = format!("${{{name}}}");
                        match find(name) {
                            Some(Some(value)) => program.push_or(&value, Context::Plain, &written),
                            Some(None) | None => program.push_raw(&written),
                        }
                    }
                }
            }
            (program, if json { Check::Json } else { Check::None })
        }
        Mode::Aware { json } => {
            // The template with something harmless in each hole: it must be JSON.
            let mut probe = String::new();
            for chunk in &chunks {
                match chunk {
                    Chunk::Text(text) => {
                        program.push_raw(text);
                        probe.push_str(text);
                        strings.pass(text);
                    }
                    Chunk::Hole(name) => {
                        let context = match (json, strings.inside) {
                            (false, _) => Context::Plain,
                            (true, false) => Context::Json,
                            (true, true) => Context::Escaped,
                        };
                        probe.push_str(if strings.inside { "x" } else { "null" });
                        match find(name) {
                            Some(value) => value.iter().for_each(|value| program.push(value, context)),
                            None => undefined(name, faults),
                        }
                    }
                }
            }
            if json && let Err(e) = scan::check(probe.as_bytes()) {
                faults.value(
                    &here,
                    format!("the template is not JSON: {e} (placeholders read as null, inside strings as x)"),
                    "mend it, use `json`, or set another content type",
                );
            }
            (program, Check::None)
        }
        Mode::Aws => {
            let text_mode = template.trim_start().starts_with('"');
            for chunk in &chunks {
                match chunk {
                    Chunk::Text(text) => {
                        program.push_raw(text);
                        strings.pass(text);
                    }
                    Chunk::Hole(name) => {
                        strings.escape = false;
                        let value = predefined(name, &here.place).map(Some).or_else(|| find(name));
                        let (context, missing) = match (strings.inside, text_mode) {
                            (false, _) => (Context::Json, "\"\""),
                            (true, false) => (Context::Plain, ""),
                            (true, true) => (Context::Stripped, ""),
                        };
                        match value {
                            Some(value) => value.iter().for_each(|value| program.push_or(value, context, missing)),
                            None => undefined(name, faults),
                        }
                    }
                }
            }
            (program, if text_mode { Check::Lines } else { Check::Strict })
        }
    }
}

type Entry = (String, Option<Value>, Spot);

/// The entries of `values`; a value that is wrong is reported and `None`.
fn parse_values(values: Option<&Node>, mode: Mode, at: &Spot, faults: &mut Faults) -> Vec<Entry> {
    let Some(node) = values else { return Vec::new() };
    let at = at.child("values", &node.place);
    if !matches!(node.kind, Kind::Map(_)) {
        faults.value(&at, "`values` must be a map from names to values", "");
        return Vec::new();
    }
    let mut entries = Vec::new();
    for (key, node) in node.entries() {
        let at = at.value(key, node);
        if mode == Mode::Aws && key.name.starts_with("aws.") {
            faults.value(
                &at,
                format!("`{}`: names that begin with `aws.` are predefined", key.name),
                "choose another name",
            );
        } else if !is_name(&key.name) {
            faults.value(
                &at,
                format!("`{}` cannot be the name of a placeholder", key.name.escape_debug()),
                "use letters, digits, `_`, `-`, `.`",
            );
        }
        let mut value = Value::parse(node, Roots::Event, &at, faults);
        if value.as_ref().is_some_and(|value| omitted(value).is_some()) {
            faults.value(&at, "`?? omit`: the value of a placeholder cannot be left out", "give a default");
            value = None;
        }
        entries.push((key.name.clone(), value, at));
    }
    entries
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
}

/// AWS's reserved variables.
fn predefined(name: &str, place: &Place) -> Option<Value> {
    let origin = match name {
        "aws.events.rule-name" => Origin::Meta(Some(MetaField::Rule)),
        "aws.events.event.ingestion-time" => Origin::Meta(Some(MetaField::ReceivedAt)),
        "aws.events.event" => Origin::Envelope,
        "aws.events.event.json" => Origin::Document(Path::parse("$").ok()?),
        _ => return None,
    };
    Some(Value::Expr(Expr { origin, slot: None, missing: Missing::Fail, written: name.into(), place: place.clone() }))
}

/// Whether we are inside a string literal of JSON.
#[derive(Default)]
struct Strings {
    inside: bool,
    escape: bool,
}

impl Strings {
    fn pass(&mut self, text: &str) {
        for byte in text.bytes() {
            match byte {
                _ if self.escape => self.escape = false,
                b'\\' => self.escape = self.inside,
                b'"' => self.inside = !self.inside,
                _ => {}
            }
        }
    }
}

#[derive(Default)]
struct Chunks {
    all: Vec<Chunk>,
}

impl Chunks {
    fn text(&mut self, text: &str) {
        match self.all.last_mut() {
            Some(Chunk::Text(last)) => last.push_str(text),
            Some(Chunk::Hole(_)) | None => self.all.push(Chunk::Text(text.to_owned())),
        }
    }

    fn hole(&mut self, name: &str) {
        self.all.push(Chunk::Hole(name.to_owned()));
    }
}

fn scan_aware(template: &str, at: &Spot, faults: &mut Faults) -> Vec<Chunk> {
    let mut chunks = Chunks::default();
    let mut rest = template;
    while let Some(start) = rest.find('$') {
        let (before, dollar) = rest.split_at(start);
        chunks.text(before);
        if let Some(after) = dollar.strip_prefix("$${") {
            chunks.text("${");
            rest = after;
        } else if let Some(inside) = dollar.strip_prefix("${") {
            match inside.split_once('}').filter(|(name, _)| is_name(name)) {
                Some((name, after)) => {
                    chunks.hole(name);
                    rest = after;
                }
                None => {
                    let shown: String = dollar.chars().take(24).collect();
                    faults.value(
                        at,
                        format!("`{shown}` is no placeholder"),
                        "a placeholder is ${name} with the value in `values`; write $${ for a plain ${",
                    );
                    rest = inside;
                }
            }
        } else {
            chunks.text("$");
            rest = dollar.get(1..).unwrap_or_default();
        }
    }
    chunks.text(rest);
    chunks.all
}

fn scan_raw(template: &str) -> Vec<Chunk> {
    let mut chunks = Chunks::default();
    let mut rest = template;
    while let Some(start) = rest.find("${") {
        let (before, dollar) = rest.split_at(start);
        chunks.text(before);
        let inside = dollar.get(2..).unwrap_or_default();
        match inside.split_once('}').filter(|(name, _)| is_name(name)) {
            Some((name, after)) => {
                chunks.hole(name);
                rest = after;
            }
            None => {
                chunks.text("${");
                rest = inside;
            }
        }
    }
    chunks.text(rest);
    chunks.all
}

fn scan_aws(template: &str) -> Vec<Chunk> {
    let mut chunks = Chunks::default();
    let mut rest = template;
    while let Some(start) = rest.find('<') {
        let (before, bracket) = rest.split_at(start);
        chunks.text(before);
        let inside = bracket.get(1..).unwrap_or_default();
        match inside.split_once('>').filter(|(name, _)| is_name(name)) {
            Some((name, after)) => {
                chunks.hole(name);
                rest = after;
            }
            None => {
                chunks.text("<");
                rest = inside;
            }
        }
    }
    chunks.text(rest);
    chunks.all
}
