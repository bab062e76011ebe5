//! `Node`: a value as people wrote it in YAML or JSON, every part with its place.

use super::fault::Place;
use super::text::{Masked, ShowText, Text};

/// A written value. Numbers keep their spelling; maps keep their order and hold each key once.
#[derive(Debug, Clone)]
pub struct Node {
    /// The value.
    pub kind: Kind,
    /// Where it begins.
    pub place: Place,
}

/// The kinds of [`Node`].
#[derive(Debug, Clone)]
pub enum Kind {
    /// `null`, `~` or nothing.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A valid JSON number, as spelled.
    Number(String),
    /// A string; secret if a reference had a part in it.
    String(Text),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, in the order written.
    Map(Vec<(Key, Node)>),
}

/// The key of a mapping entry, with its place.
#[derive(Debug, Clone)]
pub struct Key {
    /// The key.
    pub name: String,
    /// Where it begins.
    pub place: Place,
}

impl Node {
    /// A node that stands in no file.
    #[must_use]
    pub fn unplaced(kind: Kind) -> Self {
        Self { kind, place: Place::default() }
    }

    /// The value of `key` if this is a mapping that has it.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.entries().iter().find(|(k, _)| k.name == key).map(|(_, node)| node)
    }

    /// The entries of a mapping; empty for anything else.
    #[must_use]
    pub fn entries(&self) -> &[(Key, Self)] {
        match &self.kind {
            Kind::Map(entries) => entries,
            Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::String(_) | Kind::List(_) => &[],
        }
    }

    /// The string that stands here, unless it is secret or something else.
    #[must_use]
    pub fn as_plain(&self) -> Option<&str> {
        match &self.kind {
            Kind::String(Text::Plain(text)) => Some(text),
            Kind::String(Text::Secret(_))
            | Kind::Null
            | Kind::Bool(_)
            | Kind::Number(_)
            | Kind::List(_)
            | Kind::Map(_) => None,
        }
    }

    /// The place of what `pointer` (RFC 6901) names, as deep as it leads: a key that is missing gives the place of the
    /// deepest part that exists. A pointer to a mapping entry gives the place of its value.
    #[must_use]
    pub fn place_of(&self, pointer: &str) -> &Place {
        let mut node = self;
        for token in pointer.split('/').skip(1) {
            match node.child(token) {
                Some(next) => node = next,
                None => break,
            }
        }
        &node.place
    }

    /// What `pointer` (RFC 6901) names.
    fn at(&self, pointer: &str) -> Option<&Self> {
        pointer.split('/').skip(1).try_fold(self, |node, token| node.child(token))
    }

    /// What a token of a pointer names here.
    fn child(&self, token: &str) -> Option<&Self> {
        match &self.kind {
            Kind::Map(_) => self.get(&token.replace("~1", "/").replace("~0", "~")),
            Kind::List(items) => token.parse::<usize>().ok().and_then(|i| items.get(i)),
            Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::String(_) => None,
        }
    }

    /// The same, but a pointer to a mapping entry gives the place of its key.
    #[must_use]
    pub fn key_place_of(&self, pointer: &str) -> &Place {
        let Some((owner, token)) = pointer.rsplit_once('/') else { return &self.place };
        let token = token.replace("~1", "/").replace("~0", "~");
        let owner = self.at(owner);
        let key = owner.and_then(|owner| owner.entries().iter().find(|(key, _)| key.name == token));
        key.map_or_else(|| self.place_of(pointer), |(key, _)| &key.place)
    }

    /// This value as compact JSON, secrets masked.
    #[must_use]
    pub fn to_json(&self) -> String {
        self.to_json_showing(&Masked)
    }

    /// This value as compact JSON, its texts as `show` shows them.
    #[must_use]
    pub fn to_json_showing(&self, show: &dyn ShowText) -> String {
        let mut out = String::new();
        self.write_json(show, &mut out);
        out
    }

    fn write_json(&self, show: &dyn ShowText, out: &mut String) {
        match &self.kind {
            Kind::Null => out.push_str("null"),
            Kind::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Kind::Number(spelled) => out.push_str(spelled),
            Kind::String(text) => write_json_string(show.show(text), out),
            Kind::List(items) => {
                out.push('[');
                for (i, item) in items.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    item.write_json(show, out);
                }
                out.push(']');
            }
            Kind::Map(entries) => {
                out.push('{');
                for (i, (key, value)) in entries.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    write_json_string(&key.name, out);
                    out.push(':');
                    value.write_json(show, out);
                }
                out.push('}');
            }
        }
    }
}

/// Appends `text` as a JSON string literal with the escapes of transforms.md rule 38 and no others.
pub fn write_json_string(text: &str, out: &mut String) {
    out.push('"');
    write_json_escaped(text, out);
    out.push('"');
}

/// Appends `text` as it stands inside a JSON string literal (transforms.md rule 38).
pub fn write_json_escaped(text: &str, out: &mut String) {
    let mut rest = text;
    while let Some(at) = first_to_escape(rest.as_bytes()) {
        let (clean, special) = rest.split_at(at);
        out.push_str(clean);
        let mut chars = special.chars();
        if let Some(char) = chars.next() {
            write_json_char(char, out);
        }
        rest = chars.as_str();
    }
    out.push_str(rest);
}

/// Appends one character as it stands inside a JSON string literal.
pub fn write_json_char(char: char, out: &mut String) {
    match char {
        '"' => out.push_str("\\\""),
        '\\' => out.push_str("\\\\"),
        '\u{8}' => out.push_str("\\b"),
        '\t' => out.push_str("\\t"),
        '\n' => out.push_str("\\n"),
        '\u{c}' => out.push_str("\\f"),
        '\r' => out.push_str("\\r"),
        '\0'..='\u{1f}' => {
            let code = u32::from(char);
            out.push_str(if code < 16 { "\\u000" } else { "\\u001" });
            out.push(char::from_digit(code & 15, 16).unwrap_or('0'));
        }
        _ => out.push(char),
    }
}

/// Where the first byte is that cannot stand in a JSON string as it is.
fn first_to_escape(bytes: &[u8]) -> Option<usize> {
    let special = |byte: u8| u8::from(byte < 0x20) | u8::from(byte == b'"') | u8::from(byte == b'\\');
    // Without a branch between them the compiler looks at sixteen at a time.
    let (chunks, _) = bytes.as_chunks::<32>();
    let clean = chunks.iter().take_while(|chunk| chunk.iter().fold(0, |any, byte| any | special(*byte)) == 0);
    let before = clean.count() * 32;
    let at = bytes.get(before..)?.iter().position(|byte| special(*byte) != 0)?;
    Some(before + at)
}
