//! The body of a request: its forms (transforms.md rules 35 to 38, 44, 49, 56 to 58).

use super::content_type::{self, is_json};
use super::edit::Edit;
use super::error::Error;
use super::faults::{Faults, Spot};
use super::headers::{Headers, WrittenType};
use super::original;
use super::program::{Context, Program, omitted};
use super::query::Params;
use super::scope::{Scope, kind_name};
use super::template::{self, Check, Mode};
use super::value::{Roots, Value};
use crate::json::path::Lookup;
use crate::json::scan;
use crate::json::value::Json;
use crate::json::write::{compact, unique_members};
use crate::model::node::{Key, Kind, Node, write_json_string};
use crate::model::request::Request;
use crate::model::resources::Dialect;
use bytes::Bytes;

/// A body, compiled.
#[derive(Debug)]
pub(super) struct Body {
    form: Form,
    /// The type if nobody wrote one; `None` if the event decides (binary mode).
    pub(super) implied: Option<&'static str>,
    settable: Settable,
    /// Top-level keys that the connection adds.
    merge: Vec<(String, Program)>,
    /// What a rendered body is likely to take.
    capacity: usize,
}

#[derive(Debug)]
enum Form {
    Structured,
    Binary,
    Fixed(Bytes),
    Rendered(Program, Check),
    Params(Params),
    Edit(Edit),
}

/// Whether a content type may be written for a body.
#[derive(Debug, Clone, Copy)]
enum Settable {
    Yes,
    No(&'static str),
    ToJson(&'static str),
    NotToJson,
}

impl Body {
    fn new(form: Form, implied: &'static str, settable: Settable) -> Self {
        let capacity = match &form {
            Form::Structured | Form::Binary | Form::Fixed(_) => 0,
            Form::Rendered(program, _) => program.capacity(),
            Form::Params(_) => 128,
            Form::Edit(_) => 1024,
        };
        Self { form, implied: Some(implied), settable, merge: Vec::new(), capacity }
    }

    /// Compiles a body; absent is the event itself. `None` after a fault.
    pub(super) fn compile(
        node: Option<&Node>,
        written_type: Option<&WrittenType>,
        dialect: Dialect,
        at: &Spot,
        faults: &mut Faults,
    ) -> Option<Self> {
        let Some(node) = node else { return Some(Self::original(true)) };
        let at = at.child("body", &node.place);
        let json_type = |implied: bool| written_type.map_or(implied, |written| is_json(&written.text));
        let body = match &node.kind {
            Kind::Map(entries) => Self::form(node, entries, json_type(true), dialect, &at, faults)?,
            Kind::Null | Kind::List(_) => {
                let what = if matches!(node.kind, Kind::Null) { "null" } else { "a list" };
                faults.value(
                    &at,
                    format!("{what} is no body"),
                    "write body: {json: …}, or leave `body` out to send the event",
                );
                return None;
            }
            Kind::Bool(_) | Kind::Number(_) | Kind::String(_) => {
                if node.as_plain() == Some("original") {
                    return Some(Self::original(true));
                }
                Self::plain(Value::parse(node, Roots::Event, &at, faults)?, json_type(true), &at, faults)?
            }
        };
        Some(body)
    }

    fn original(structured: bool) -> Self {
        let settable = Settable::No("`original`");
        if structured {
            Self::new(Form::Structured, content_type::CLOUDEVENT, settable)
        } else {
            Self { implied: None, ..Self::new(Form::Binary, content_type::JSON, settable) }
        }
    }

    fn fixed(text: &str, settable: Settable) -> Self {
        let implied = if scan::check(text.as_bytes()).is_ok() { content_type::JSON } else { content_type::TEXT };
        Self::new(Form::Fixed(Bytes::copy_from_slice(text.as_bytes())), implied, settable)
    }

    /// A plain value (rule 38).
    fn plain(value: Value, json_type: bool, at: &Spot, faults: &mut Faults) -> Option<Self> {
        if omitted(&value).is_some() {
            faults.value(at, "`?? omit`: the whole body cannot be left out", "give a default");
            return None;
        }
        let program = Program::of(&value, Context::Plain);
        Some(match &value {
            Value::String(text) => Self::fixed(text, Settable::Yes),
            Value::Expr(_) => {
                let check = if json_type { Check::Json } else { Check::None };
                Self::new(Form::Rendered(program, check), content_type::JSON, Settable::Yes)
            }
            Value::Text(_) => Self::new(Form::Rendered(program, Check::None), content_type::TEXT, Settable::NotToJson),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Secret(_) | Value::List(_) | Value::Map(_) => {
                Self::new(Form::Rendered(program, Check::None), content_type::JSON, Settable::Yes)
            }
        })
    }

    /// An object with exactly one form (rule 35).
    fn form(
        node: &Node,
        entries: &[(Key, Node)],
        json_type: bool,
        dialect: Dialect,
        at: &Spot,
        faults: &mut Faults,
    ) -> Option<Self> {
        const FORMS: [&str; 7] = ["original", "json", "lines", "form", "constant", "edit", "template"];
        const ALLOWED: &str = "original, json, lines, form, constant, edit, or template with values and raw; a structure stands in {json: …}";
        let mut forms = entries.iter().filter(|(key, _)| FORMS.contains(&&*key.name));
        let form = forms.next();
        if let (Some((first, _)), Some((second, _))) = (form, forms.next()) {
            let message = format!("`{}` and `{}`: a body has one form only", first.name, second.name);
            faults.value(at, message, "leave one of them out");
            return None;
        }
        let is_template = form.is_some_and(|(key, _)| key.name == "template");
        let unknown =
            |key: &Key| !(FORMS.contains(&&*key.name) || is_template && matches!(&*key.name, "values" | "raw"));
        for (key, _) in entries.iter().filter(|(key, _)| unknown(key)) {
            faults.unknown_key(&at.child(&key.name, &key.place), format!("a body has no key `{}`", key.name), ALLOWED);
        }
        let Some((key, value)) = form else {
            if entries.is_empty() {
                faults.value(at, "an empty object is no body", ALLOWED);
            }
            return None;
        };
        let here = at.value(key, value);
        match &*key.name {
            "original" => match value.as_plain() {
                Some("structured") => Some(Self::original(true)),
                Some("binary") => Some(Self::original(false)),
                _ => {
                    faults.value(&here, "unknown form of the event", "write structured or binary");
                    None
                }
            },
            "json" => {
                let value = Value::parse(value, Roots::Event, &here, faults)?;
                if omitted(&value).is_some() {
                    faults.value(&here, "`?? omit`: the whole of `json` cannot be left out", "give a default");
                    return None;
                }
                let form = Form::Rendered(Program::of(&value, Context::Json), Check::None);
                Some(Self::new(form, content_type::JSON, Settable::ToJson("`json`")))
            }
            "lines" => Self::lines(value, &here, faults),
            "form" => {
                let Kind::Map(entries) = &value.kind else {
                    faults.value(&here, "`form` must be a map from names to values", "");
                    return None;
                };
                let mut params = Params::default();
                params.add(entries, Roots::Event, &here, faults);
                Some(Self::new(Form::Params(params), content_type::FORM, Settable::No("`form`")))
            }
            "constant" => match value.as_plain() {
                Some(text) => Some(Self::fixed(text, Settable::Yes)),
                None => {
                    faults.value(&here, "`constant` must be a string", "put it into quotes, or use `json`");
                    None
                }
            },
            "edit" => {
                let form = Form::Edit(Edit::compile(value, &here, faults));
                Some(Self::new(form, content_type::JSON, Settable::ToJson("`edit`")))
            }
            _ => Self::template(node, value, json_type, dialect, at, faults),
        }
    }

    fn lines(node: &Node, at: &Spot, faults: &mut Faults) -> Option<Self> {
        let items = match &node.kind {
            Kind::List(items) if !items.is_empty() => items,
            Kind::List(_) | Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::String(_) | Kind::Map(_) => {
                faults.value(at, "`lines` must be a list with at least one value", "write one value for each line");
                return None;
            }
        };
        let mut program = Program::default();
        for (i, item) in items.iter().enumerate() {
            if let Some(value) = Value::parse(item, Roots::Event, &at.element(i, item), faults) {
                program.push_line(&value);
            }
        }
        Some(Self::new(Form::Rendered(program, Check::None), content_type::LINES, Settable::Yes))
    }

    fn template(
        body: &Node,
        node: &Node,
        json: bool,
        dialect: Dialect,
        at: &Spot,
        faults: &mut Faults,
    ) -> Option<Self> {
        let raw = match body.get("raw").map(|raw| (&raw.kind, raw)) {
            None => false,
            Some((Kind::Bool(raw), _)) => *raw,
            Some((_, raw)) => {
                faults.value(&at.child("raw", &raw.place), "`raw` must be true or false", "");
                false
            }
        };
        let Some(text) = node.as_plain() else {
            faults.value(&at.child("template", &node.place), "`template` must be a string", "put it into quotes");
            return None;
        };
        let mode = match (dialect, raw) {
            (Dialect::Tidegate, false) => Mode::Aware { json },
            (Dialect::Tidegate, true) => Mode::Raw { json },
            (Dialect::Aws, raw) => {
                if raw {
                    faults.value(
                        &at.child("raw", &body.place),
                        "`raw` does not go with dialect: aws",
                        "leave one of them out",
                    );
                }
                Mode::Aws
            }
        };
        let spot = Spot::new(&at.pointer, &node.place);
        let (program, check) = template::compile(text, body.get("values"), mode, &spot, faults);
        let form = match program.fixed() {
            Some(text) if check == Check::None => Form::Fixed(Bytes::copy_from_slice(text.as_bytes())),
            Some(_) | None => Form::Rendered(program, check),
        };
        Some(Self::new(form, content_type::JSON, Settable::Yes))
    }

    /// Reports a content type that does not go with this body.
    pub(super) fn check_type(&self, written: &WrittenType, faults: &mut Faults) {
        let json = is_json(&written.text);
        match self.settable {
            Settable::No(form) => {
                faults.value(&written.at, format!("{form} has its own content type"), "leave the content type out");
            }
            Settable::ToJson(form) if !json => {
                faults.value(
                    &written.at,
                    format!("{form} cannot be sent as `{}`", written.text),
                    "use a JSON type, or a `template`",
                );
            }
            Settable::NotToJson if json => faults.value(
                &written.at,
                "a text with `${…}` is not safe as JSON: what is inserted is not escaped",
                "use {json: …}",
            ),
            Settable::Yes | Settable::ToJson(_) | Settable::NotToJson => {}
        }
    }

    /// Takes the connection's body parameters.
    pub(super) fn merge(&mut self, parameters: Vec<(String, Program)>, at: &Spot, faults: &mut Faults) {
        self.merge = parameters;
        if self.merge.is_empty() {
            return;
        }
        let lines = self.implied == Some(content_type::LINES);
        if lines || matches!(self.form, Form::Params(_)) {
            let form = if lines { "lines" } else { "form" };
            let message = format!("the connection adds body parameters, which cannot be put into `{form}`");
            faults.value(at, message, "use {json: …}, or another connection");
        }
    }

    /// Has the paths in it looked up together with all others; the connection's parameters have none.
    pub(super) fn bind(&mut self, lookup: &mut Lookup) {
        match &mut self.form {
            Form::Structured | Form::Binary | Form::Fixed(_) => {}
            Form::Rendered(program, _) => program.bind(lookup),
            Form::Params(params) => params.bind(lookup),
            Form::Edit(edit) => edit.bind(lookup),
        }
    }

    /// Renders the body before the connection's parameters; binary mode puts its attributes into `request`.
    pub(super) fn render(&self, scope: &Scope<'_>, headers: &Headers, request: &mut Request) -> Result<Bytes, Error> {
        let mut out = String::with_capacity(self.capacity);
        match &self.form {
            Form::Structured => return Ok(original::structured(scope)),
            Form::Binary => return original::binary(scope, headers, request),
            Form::Fixed(bytes) => return Ok(bytes.clone()),
            Form::Rendered(program, check) => {
                program.render(scope, &mut out)?;
                check_rendered(&out, *check, scope)?;
            }
            Form::Params(params) => params.render(scope, "form field", &mut out)?,
            Form::Edit(edit) => edit.render(scope, &mut out)?,
        }
        Ok(Bytes::from(out))
    }

    /// Puts the connection's parameters into the rendered body.
    pub(super) fn merged(&self, body: Bytes, scope: &Scope<'_>) -> Result<Bytes, Error> {
        if self.merge.is_empty() {
            return Ok(body);
        }
        let found = |what| Error::Merge { found: what };
        let json = Json::check(&body).map_err(|_| found(if body.is_empty() { "empty" } else { "no JSON" }))?;
        if json.members().is_none() {
            return Err(found(kind_name(json.kind())));
        }
        let mut out = String::with_capacity(body.len() + 64);
        let mut open = '{';
        let mut put = |name: &str, out: &mut String| {
            out.push(open);
            open = ',';
            write_json_string(name, out);
            out.push(':');
        };
        let members = unique_members(json);
        for (name, value) in &members {
            put(name, &mut out);
            match self.merge.iter().find(|(fixed, _)| fixed == name) {
                Some((_, program)) => program.render(scope, &mut out)?,
                None => compact(*value, &mut out),
            }
        }
        for (name, program) in &self.merge {
            if !members.iter().any(|(known, _)| known == name) {
                put(name, &mut out);
                program.render(scope, &mut out)?;
            }
        }
        out.push('}');
        Ok(Bytes::from(out))
    }
}

/// The connection's body parameters, compiled.
pub(super) fn parameters(fixed: &[(String, Node)], at: &Spot, faults: &mut Faults) -> Vec<(String, Program)> {
    let parse = |(name, node): &(String, Node)| {
        let value = Value::parse(node, Roots::None, &at.child(name, &node.place), faults)?;
        Some((name.clone(), Program::of(&value, Context::Json)))
    };
    fixed.iter().filter_map(parse).collect()
}

fn check_rendered(text: &str, check: Check, scope: &Scope<'_>) -> Result<(), Error> {
    let failed = |start: usize, e: scan::Error| Error::Failed {
        rule: scope.meta.rule.to_owned(),
        target: scope.meta.target.to_owned(),
        offset: start + e.offset,
        reason: format!("is not JSON: {}", e.kind),
    };
    match check {
        Check::None => Ok(()),
        Check::Json if text.is_empty() => Ok(()),
        Check::Json | Check::Strict => scan::check(text.as_bytes()).map(|_| ()).map_err(|e| failed(0, e)),
        Check::Lines => {
            let mut start = 0;
            for line in text.split('\n') {
                if !line.trim().is_empty() {
                    scan::check(line.as_bytes()).map_err(|e| failed(start, e))?;
                }
                start += line.len() + 1;
            }
            Ok(())
        }
    }
}
