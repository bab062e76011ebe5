//! `ParamList` of a target: what each part of the request is made of, in the forms `ORIGINAL`, `CONSTANT`, `JSONPATH`
//! and `TEMPLATE`. Its events are CloudEvents, as here, so paths stay as they are.

use crate::cli::import::draft::{Draft, entry, map, one, text};
use crate::cli::import::given::{self, items, plain};
use crate::cli::import::http::{self, Part};
use crate::cli::import::pattern;
use crate::json::path::Path;
use crate::model::node::{Key, Kind, Node};

/// A part of a request.
#[derive(Debug)]
pub(super) struct Param<'a> {
    /// "rule orders, target 1".
    about: &'a str,
    key: String,
    form: String,
    value: String,
    template: String,
}

/// The part of one of these names.
pub(super) fn param<'a>(about: &'a str, target: &Node, names: &[&str]) -> Option<Param<'a>> {
    let is = |node: &&Node| {
        let key = plain(node, "ResourceKey").unwrap_or_default();
        names.iter().any(|name| name.eq_ignore_ascii_case(&key))
    };
    let node = items(target, "ParamList").iter().find(is)?;
    let of = |key: &str| plain(node, key).unwrap_or_default();
    Some(Param {
        about,
        key: of("ResourceKey"),
        form: of("Form").to_ascii_uppercase(),
        value: of("Value"),
        template: of("Template"),
    })
}

/// The constant of one of these names.
pub(super) fn constant(target: &Node, names: &[&str]) -> Option<String> {
    let param = param("", target, names)?;
    (param.form == "CONSTANT" && !param.value.is_empty()).then_some(param.value)
}

impl Param<'_> {
    /// The body, with its content type if that is not JSON.
    pub(super) fn body(&self, draft: &mut Draft) -> Option<(Node, Option<&'static str>)> {
        match self.form.as_str() {
            "ORIGINAL" | "" => Some((original(), None)),
            "CONSTANT" => Some((one("constant", text(self.value.clone())), None)),
            "JSONPATH" => {
                let path = self.path(draft, &self.value)?;
                let why = "what stands there is sent as it is, and must be JSON";
                draft.differs(self.about, &self.key, why, "if it is text: `content_type: text/plain; charset=utf-8`");
                Some((text(path), None))
            }
            "TEMPLATE" => self.template(draft),
            other => {
                let why = format!("the form `{other}` is not known");
                draft.lost(self.about, &self.key, why, "write `body`");
                None
            }
        }
    }

    fn template(&self, draft: &mut Draft) -> Option<(Node, Option<&'static str>)> {
        let mut values = self.values(draft)?;
        values.retain(|(key, _)| self.template.contains(&format!("${{{}}}", key.name)));
        let json = self.template.trim_start().starts_with(['{', '[', '"', '$']);
        let content_type = (!json).then_some("text/plain; charset=utf-8");
        if values.is_empty() {
            return Some((one("constant", text(self.template.clone())), content_type));
        }
        // Their values are put in as they are, which is what `raw` does.
        let body = vec![
            entry("template", text(self.template.clone())),
            entry("values", map(values)),
            entry("raw", crate::cli::import::draft::boolean(true)),
        ];
        Some((map(body), content_type))
    }

    /// The variables of a template: paths, and constants that stand for themselves.
    fn values(&self, draft: &mut Draft) -> Option<Vec<(Key, Node)>> {
        if self.value.trim().is_empty() {
            return Some(Vec::new());
        }
        let parsed = match pattern::json(&self.value) {
            Ok(parsed) => parsed,
            Err(why) => {
                draft.lost(self.about, &self.key, format!("its variables are no JSON: {why}"), "write `values`");
                return None;
            }
        };
        let mut values = Vec::new();
        for (key, value) in parsed.entries() {
            let value = match value.as_plain() {
                Some(path) if is_path(path) => text(self.path(draft, path)?),
                Some(constant) => text(http::escaped(constant)),
                None => value.clone(),
            };
            values.push(entry(key.name.clone(), value));
        }
        Some(values)
    }

    /// Headers or query parameters: a map of constants, or of templates.
    pub(super) fn parameters(&self, draft: &mut Draft, part: Part) -> Vec<(Key, Node)> {
        let (written, values) = match self.form.as_str() {
            "CONSTANT" => (&self.value, Some(Vec::new())),
            "TEMPLATE" => (&self.template, self.values(draft)),
            other => {
                let why = format!("the form `{other}` gives no names");
                draft.lost(self.about, &self.key, why, format!("write `{}`", part.key()));
                return Vec::new();
            }
        };
        let Some(values) = values else { return Vec::new() };
        let parsed = match pattern::json(written) {
            Ok(parsed) => parsed,
            Err(why) => {
                draft.lost(self.about, &self.key, why, format!("write `{}`", part.key()));
                return Vec::new();
            }
        };
        // A list of `{Key, Value}`, as connections have it, or a map.
        let listed =
            given::elements(&parsed).iter().filter_map(|item| Some((plain(item, "Key")?, given::find(item, "Value")?)));
        let mapped = parsed.entries().iter().map(|(key, value)| (key.name.clone(), value));
        let mut entries = Vec::new();
        for (name, value) in listed.chain(mapped) {
            let value = match &value.kind {
                Kind::String(written) => text(interpolated(written.masked(), &values)),
                Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::List(_) | Kind::Map(_) => value.clone(),
            };
            if http::is_secret_name(&name) && value.as_plain().is_some_and(|text| !text.contains("$.")) {
                let why = format!("`{name}` looks like a secret, and a rule may hold none");
                draft.lost(self.about, &self.key, why, "write it in the connection, with a reference");
                continue;
            }
            http::put(&mut entries, name, value, part);
        }
        entries
    }

    fn path(&self, draft: &mut Draft, path: &str) -> Option<String> {
        match Path::parse(path) {
            Ok(_) => Some(path.to_owned()),
            Err(why) => {
                draft.lost(self.about, &self.key, format!("`{path}` is no path: {why}"), "write the path of a field");
                None
            }
        }
    }
}

/// The whole event as JSON; Alibaba's content type is that of JSON, and so is this one.
pub(super) fn original() -> Node {
    one("json", text("$"))
}

fn is_path(text: &str) -> bool {
    text == "$" || text.starts_with("$.") || text.starts_with("$[")
}

/// A text with `${variable}` as a text with the paths of these variables.
fn interpolated(template: &str, values: &[(Key, Node)]) -> String {
    let value = |name: &str| values.iter().find(|(key, _)| key.name == name).and_then(|(_, value)| value.as_plain());
    let (mut out, mut rest) = (String::new(), template);
    while let Some((before, after)) = rest.split_once("${") {
        out.push_str(&http::escaped(before));
        match after.split_once('}').and_then(|(name, behind)| Some((name, value(name)?, behind))) {
            Some((name, path, behind)) if is_path(path) => {
                if template.len() == name.len() + 3 {
                    return path.to_owned();
                }
                out.push_str(&format!("${{{path}}}"));
                rest = behind;
            }
            Some((_, constant, behind)) => {
                out.push_str(constant);
                rest = behind;
            }
            None => {
                out.push_str("$${");
                rest = after;
            }
        }
    }
    out.push_str(&http::escaped(rest));
    out
}
