//! Values as YAML that people like to read and that every reader understands alike: what `config::yaml` reads back is
//! what was written, numbers by their spelling.

use crate::model::node::{Key, Kind, Node};

/// A list of small values stays on one line up to this many characters.
const MAX_FLOW: usize = 88;
/// Words that some reader takes for something else than text.
const WORDS: [&str; 9] = ["null", "true", "false", "yes", "no", "on", "off", "y", "n"];

/// Appends the entries of a map in block style.
pub(super) fn write(entries: &[(Key, Node)], out: &mut String) {
    map(entries, 0, out);
}

/// A text without what would end a comment.
pub(super) fn comment(text: &str, out: &mut String) {
    for line in text.lines() {
        let line: String = line.chars().map(|c| if printable(c) { c } else { ' ' }).collect();
        let line = line.trim_end();
        out.push_str(if line.is_empty() { "#" } else { "# " });
        out.push_str(line);
        out.push('\n');
    }
}

fn map(entries: &[(Key, Node)], indent: usize, out: &mut String) {
    for (key, node) in entries {
        spaces(indent, out);
        scalar(&key.name, is_plain_in_flow(&key.name), out);
        out.push(':');
        value(node, indent, out);
    }
}

/// What stands behind `key:`, up to the line's end.
fn value(node: &Node, indent: usize, out: &mut String) {
    match &node.kind {
        Kind::Map(entries) if !entries.is_empty() => {
            out.push('\n');
            map(entries, indent + 2, out);
        }
        Kind::List(items) if !items.is_empty() => {
            let mut line = String::new();
            if flow(node, &mut line) && indent + line.chars().count() <= MAX_FLOW {
                out.push_str(&format!(" {line}\n"));
            } else {
                out.push('\n');
                list(items, indent + 2, out);
            }
        }
        Kind::String(text) if is_block(text.masked()) => block(text.masked(), indent + 2, out),
        Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::String(_) | Kind::List(_) | Kind::Map(_) => {
            out.push(' ');
            line(node, out);
            out.push('\n');
        }
    }
}

fn list(items: &[Node], indent: usize, out: &mut String) {
    for item in items {
        let start = out.len();
        match &item.kind {
            Kind::Map(entries) if !entries.is_empty() => map(entries, indent + 2, out),
            Kind::List(items) if !items.is_empty() => list(items, indent + 2, out),
            Kind::String(text) if is_block(text.masked()) => {
                spaces(indent + 1, out);
                block(text.masked(), indent + 2, out);
            }
            Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::String(_) | Kind::List(_) | Kind::Map(_) => {
                spaces(indent + 2, out);
                line(item, out);
                out.push('\n');
            }
        }
        out.replace_range(start + indent..=start + indent, "-");
    }
}

/// A value without lines of its own.
fn line(node: &Node, out: &mut String) {
    match &node.kind {
        Kind::Null => out.push_str("null"),
        Kind::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Kind::Number(spelled) => out.push_str(spelled),
        Kind::String(text) => scalar(text.masked(), is_plain(text.masked()), out),
        Kind::List(_) => out.push_str("[]"),
        Kind::Map(_) => out.push_str("{}"),
    }
}

/// A value in flow style; false if it is no small one.
fn flow(node: &Node, out: &mut String) -> bool {
    match &node.kind {
        Kind::String(text) => {
            scalar(text.masked(), is_plain_in_flow(text.masked()), out);
            !text.masked().contains('\n')
        }
        Kind::Null | Kind::Bool(_) | Kind::Number(_) => {
            line(node, out);
            true
        }
        Kind::List(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                out.push_str(if i > 0 { ", " } else { "" });
                if !flow(item, out) {
                    return false;
                }
            }
            out.push(']');
            true
        }
        Kind::Map(entries) => {
            out.push('{');
            for (i, (key, value)) in entries.iter().enumerate() {
                out.push_str(if i > 0 { ", " } else { "" });
                scalar(&key.name, is_plain_in_flow(&key.name), out);
                out.push_str(": ");
                if !flow(value, out) {
                    return false;
                }
            }
            out.push('}');
            // A map with maps in it, and one of many keys, is read more easily on lines of its own.
            entries.len() <= 2 && entries.iter().all(|(_, value)| value.entries().is_empty())
        }
    }
}

fn scalar(text: &str, plain: bool, out: &mut String) {
    if plain {
        out.push_str(text);
        return;
    }
    // Single quotes spare templates their backslashes.
    if text.contains(['"', '\\']) && text.chars().all(printable) {
        out.push('\'');
        out.push_str(&text.replace('\'', "''"));
        out.push('\'');
        return;
    }
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if printable(c) => out.push(c),
            c => {
                out.push_str(&format!("\\U{:08x}", u32::from(c)));
            }
        }
    }
    out.push('"');
}

/// A literal block, its lines at `indent`.
fn block(text: &str, indent: usize, out: &mut String) {
    out.push_str(if text.ends_with('\n') { " |\n" } else { " |-\n" });
    for line in text.lines() {
        if !line.is_empty() {
            spaces(indent, out);
            out.push_str(line);
        }
        out.push('\n');
    }
}

/// Whether a text can be a literal block without any doubt about its spaces and line ends.
fn is_block(text: &str) -> bool {
    let body = text.strip_suffix('\n').unwrap_or(text);
    let fits = |line: &str| line.is_empty() || (line.chars().all(printable) && !line.trim().is_empty());
    body.contains('\n') && !body.ends_with('\n') && !body.starts_with([' ', '\n']) && body.split('\n').all(fits)
}

/// Whether a text needs no quotes behind `key: ` or `- `.
fn is_plain(text: &str) -> bool {
    if is_measure(text) {
        return true;
    }
    let safe = |c: char| c.is_ascii_alphanumeric() || " _-./$*+=~:;,?&()@%<>".contains(c);
    text.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '_' | '/' | '$'))
        && text.chars().all(safe)
        && !text.ends_with([' ', ':'])
        && !text.contains(": ")
        && !is_word(text)
}

/// `20/s`, `1h`: begins as a number, and nobody takes it for one.
fn is_measure(text: &str) -> bool {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
    unit.len() < text.len() && matches!(unit, "/s" | "/min" | "/h" | "s" | "m" | "h")
}

/// Whether a text needs no quotes as a key or in `[…]` and `{…}`.
fn is_plain_in_flow(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "_-./".contains(c))
        && !is_word(text)
}

fn is_word(text: &str) -> bool {
    WORDS.iter().any(|word| word.eq_ignore_ascii_case(text))
}

/// Whether a character may stand in YAML as it is and is no kind of line end.
fn printable(c: char) -> bool {
    matches!(c, ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..='\u{10ffff}')
        && !matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}')
}

fn spaces(count: usize, out: &mut String) {
    out.extend(std::iter::repeat_n(' ', count));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::yaml;
    use crate::model::fault::Place;
    use crate::model::text::Text;
    use proptest::prelude::*;

    fn back(text: &str) -> String {
        let mut faults = Vec::new();
        let nodes = yaml::read(&"t".into(), text, &mut faults);
        assert!(faults.is_empty(), "{faults:?}\n{text}");
        nodes.first().map(Node::to_json).unwrap_or_default()
    }

    fn node(kind: Kind) -> Node {
        Node::unplaced(kind)
    }

    fn text(text: &str) -> Node {
        node(Kind::String(Text::Plain(text.to_owned())))
    }

    fn entries(pairs: Vec<(String, Node)>) -> Vec<(Key, Node)> {
        let mut seen = std::collections::HashSet::new();
        let fresh = pairs.into_iter().filter(|(name, _)| seen.insert(name.clone()));
        fresh.map(|(name, node)| (Key { name, place: Place::default() }, node)).collect()
    }

    fn any_text() -> impl Strategy<Value = String> {
        prop_oneof![
            "[a-z]{1,6}",
            "\\PC{0,12}",
            "(?s).{0,8}",
            "[ \n\t:#'\"\\-{}\\[\\],&*!|>%@`$a-c]{0,10}",
            prop::sample::select(vec![
                "on",
                "No",
                "1e3",
                "1.10",
                "-",
                "---",
                "...",
                "null",
                "~",
                "<<",
                "0x1",
                "- a",
                "a: b",
                "a #b",
                "$.a[0]",
                "${$.x ?? \"y\"}",
                "{\"a\":\n  <b>}\n",
                "a\n\n",
                "\n",
                " a\nb",
                "x\n  y\nz",
                "?",
                "#",
                "é\u{85}",
                ".5",
            ])
            .prop_map(str::to_owned),
        ]
    }

    fn any_node() -> impl Strategy<Value = Node> {
        let number = prop::sample::select(vec!["0", "-1", "1.10", "1e3", "1E+400", "123456789012345678901234567890"]);
        let leaf = prop_oneof![
            Just(node(Kind::Null)),
            any::<bool>().prop_map(|b| node(Kind::Bool(b))),
            number.prop_map(|n| node(Kind::Number(n.to_owned()))),
            any_text().prop_map(|t| text(&t)),
        ];
        leaf.prop_recursive(4, 24, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(|items| node(Kind::List(items))),
                prop::collection::vec((any_text(), inner), 0..5).prop_map(|pairs| node(Kind::Map(entries(pairs)))),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

        #[test]
        fn what_is_written_is_read_back(root in prop::collection::vec((any_text(), any_node()), 1..5)) {
            let root = entries(root);
            let mut out = String::from("---\n");
            write(&root, &mut out);
            prop_assert_eq!(back(&out), node(Kind::Map(root)).to_json(), "{}", out);
        }
    }

    #[test]
    fn it_reads_well() {
        let list = |items: Vec<Node>| node(Kind::List(items));
        let map = |pairs: Vec<(&str, Node)>| {
            node(Kind::Map(entries(pairs.into_iter().map(|(k, v)| (k.to_owned(), v)).collect())))
        };
        let prefix = map(vec![("prefix", text("in/"))]);
        let target = map(vec![
            ("name", text("build")),
            ("body", map(vec![("template", text("{\n  \"a\": <a>\n}"))])),
            ("when", text("on")),
        ]);
        let root = map(vec![
            ("kind", text("rule")),
            ("url", text("https://api.example/v1?x=1")),
            ("pattern", map(vec![("subject", list(vec![prefix, text("a b"), node(Kind::Number("1.0".to_owned()))]))])),
            ("empty", map(vec![])),
            ("targets", list(vec![target])),
        ]);
        let mut out = String::new();
        write(root.entries(), &mut out);
        assert_eq!(
            out,
            "kind: rule\nurl: https://api.example/v1?x=1\npattern:\n  subject: [{prefix: in/}, \"a b\", 1.0]\nempty: {}\n\
             targets:\n  - name: build\n    body:\n      template: |-\n        {\n          \"a\": <a>\n        }\n    when: \"on\"\n"
        );
    }

    #[test]
    fn a_comment_stays_a_comment() {
        let mut out = String::new();
        comment("a\r\nkind: rule\n\nb\u{2028}c\u{85}d\re", &mut out);
        assert_eq!(out, "# a\n# kind: rule\n#\n# b c d e\n");
    }
}
