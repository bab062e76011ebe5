//! Settings as they were given: layers of files, environment and flags, each value with its origin. Knows which
//! settings exist (those of the built-in file) but not what they mean.

use crate::config::env::Env;
use crate::config::{files, secrets};
use crate::model::fault::{Fault, Place};
use crate::model::nearest::nearest;
use ::config::{FileFormat, Format, Map, Value, ValueKind};
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The built-in file.
const DEFAULTS: &str = include_str!("../../../config/tidegate.toml");
/// Under this any name may stand.
pub(super) const PROPERTIES: &str = "kafka.properties.";
/// Here too.
pub(super) const HEADERS: &str = "telemetry.otlp_headers.";
/// Before the name of every environment variable that is a setting.
const VARIABLE_PREFIX: &str = "TIDEGATE__";

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The built-in file.
    BuiltIn,
    /// A file, with its line if it was found.
    File(Place),
    /// An environment variable.
    Variable(String),
    /// A flag of the command line, as written.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BuiltIn => f.write_str("built in"),
            Self::File(place) if place.line > 0 => write!(f, "{}:{}", place.file, place.line),
            Self::File(place) => f.write_str(&place.file),
            Self::Variable(name) => f.write_str(name),
            Self::Flag(flag) => f.write_str(flag),
        }
    }
}

/// A setting from the command line, the strongest layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Override {
    /// `kafka.brokers`, `kafka.properties.security.protocol`, …
    pub key: String,
    /// Its value, as it would stand in the environment.
    pub value: String,
    /// The flag as people wrote it, for messages.
    pub flag: String,
}

/// A value as written: numbers and booleans as their text; a list where a list may stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Written {
    One(String),
    Several(Vec<String>),
}

/// Every setting with its value as written and its origin.
#[derive(Clone)]
pub struct RawSettings {
    values: BTreeMap<String, (Written, Origin)>,
}

impl RawSettings {
    /// Merges the layers.
    pub(super) fn merge(files: &[PathBuf], env: &Env, overrides: &[Override], faults: &mut Vec<Fault>) -> Self {
        let mut this = Self { values: BTreeMap::new() };
        this.layer(parse(None, DEFAULTS, faults), |_| Origin::BuiltIn);
        let known: Vec<String> = this.values.keys().cloned().collect();
        for path in files {
            match files::read_text(path) {
                Ok(text) => this.file(path, &text, &known, faults),
                Err(fault) => faults.push(*fault),
            }
        }
        for (variable, value) in env.with_prefix(VARIABLE_PREFIX) {
            let key = key_of_variable(variable);
            if exists(&known, &key) {
                this.values.insert(key, (Written::One(value.to_owned()), Origin::Variable(variable.to_owned())));
            } else {
                let cure = match nearest(&key, known.iter().map(String::as_str)) {
                    Some(near) => format!("write {}", variable_of(near)),
                    None => "tidegate --print-config shows all settings".to_owned(),
                };
                let message = format!("{variable} is no setting: there is no `{key}`");
                faults.push(Fault::error("CONFIG_UNKNOWN_SETTING", "", message).cure(cure));
            }
        }
        for Override { key, value, flag } in overrides {
            if exists(&known, key) {
                this.values.insert(key.clone(), (Written::One(value.clone()), Origin::Flag(flag.clone())));
            } else {
                faults.push(unknown(key, &known));
            }
        }
        this
    }

    fn file(&mut self, path: &Path, text: &str, known: &[String], faults: &mut Vec<Fault>) {
        let file: Arc<str> = path.display().to_string().into();
        let place = |key: &str| Place { file: Arc::clone(&file), ..place_in(text, key) };
        let mut values = parse(Some(&file), text, faults);
        values.retain(|(key, _)| {
            let fine = exists(known, key);
            if !fine {
                faults.push(unknown(key, known).at(place(key)));
            }
            fine
        });
        self.layer(values, |key| Origin::File(place(key)));
    }

    fn layer(&mut self, values: Vec<(String, Written)>, origin: impl Fn(&str) -> Origin) {
        for (key, value) in values {
            let origin = origin(&key);
            self.values.insert(key, (value, origin));
        }
    }

    pub(super) fn get(&self, key: &str) -> Option<(&Written, &Origin)> {
        self.values.get(key).map(|(written, origin)| (written, origin))
    }

    /// The values of a section where any name may stand, names without that of the section.
    pub(super) fn under(&self, section: &str) -> impl Iterator<Item = (&str, &Written, &Origin)> {
        let under = self.values.iter().filter_map(move |(key, value)| Some((key.strip_prefix(section)?, value)));
        under.map(|(name, (written, origin))| (name, written, origin))
    }

    /// Every setting as `key = "value"  # origin`, one to a line, sorted. References stay as written, other secrets
    /// are `***`.
    #[must_use]
    pub fn print(&self) -> String {
        let lines: Vec<(String, &Origin)> = self
            .values
            .iter()
            .map(|(key, (value, origin))| (format!("{key} = {}", shown(key, value)), origin))
            .collect();
        let width = lines.iter().map(|(line, _)| line.chars().count()).max().unwrap_or(0).min(60);
        lines.iter().map(|(line, origin)| format!("{line:width$}  # {origin}\n")).collect()
    }

    /// Every setting as (key, value as shown, origin).
    #[must_use]
    pub fn list(&self) -> Vec<(String, String, String)> {
        self.values.iter().map(|(key, (value, origin))| (key.clone(), shown(key, value), origin.to_string())).collect()
    }
}

impl fmt::Debug for RawSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.print())
    }
}

fn shown(key: &str, value: &Written) -> String {
    match value {
        Written::One(text) if is_secret(key) && !is_reference(text) => "\"***\"".to_owned(),
        Written::Several(_) if is_secret(key) => "\"***\"".to_owned(),
        Written::One(text) => format!("{text:?}"),
        Written::Several(items) => format!("{items:?}"),
    }
}

/// Whether a text is one reference and nothing else: no default either, which may be the secret itself.
fn is_reference(text: &str) -> bool {
    let inner = text.strip_prefix("${").and_then(|text| text.strip_suffix('}'));
    secrets::mentions(text, secrets::Grammar::Literal)
        && inner.is_some_and(|inner| !inner.contains(['{', '}']) && !inner.contains(":-"))
}

/// Whether a value is a secret: that of any header, and of properties that are named so.
pub(super) fn is_secret(key: &str) -> bool {
    if key.starts_with(HEADERS) {
        return true;
    }
    let words = ["password", "secret", "jaas", "token", "key.pem", "oauthbearer.config", "keystore"];
    let location = key.ends_with(".location") || key.ends_with(".url");
    key.starts_with(PROPERTIES) && !location && words.iter().any(|word| key.contains(word))
}

/// `TIDEGATE__KAFKA__BROKERS` → `kafka.brokers`.
fn key_of_variable(variable: &str) -> String {
    let key = variable.strip_prefix(VARIABLE_PREFIX).unwrap_or(variable).to_lowercase().replace("__", ".");
    // Names of properties have dots, and those of headers hyphens, where a shell allows none.
    match (key.strip_prefix(PROPERTIES), key.strip_prefix(HEADERS)) {
        (Some(property), _) => format!("{PROPERTIES}{}", property.replace('_', ".")),
        (None, Some(header)) => format!("{HEADERS}{}", header.replace('_', "-")),
        (None, None) => key,
    }
}

fn variable_of(key: &str) -> String {
    format!("{VARIABLE_PREFIX}{}", key.to_uppercase().replace('.', "__"))
}

fn exists(known: &[String], key: &str) -> bool {
    let open = |section: &str| key.len() > section.len() && key.starts_with(section);
    known.iter().any(|k| k == key) || open(PROPERTIES) || open(HEADERS)
}

fn unknown(key: &str, known: &[String]) -> Fault {
    let last = key.rsplit('.').next().unwrap_or(key);
    let same_name = known.iter().map(String::as_str).find(|k| k.rsplit('.').next() == Some(last));
    let cure = match nearest(key, known.iter().map(String::as_str)).or(same_name) {
        Some(near) => format!("write `{near}`"),
        None if key.starts_with("kafka.") => "properties of librdkafka stand under [kafka.properties]".to_owned(),
        None => "tidegate --print-config shows all settings".to_owned(),
    };
    let pointer = format!("/{}", key.replace('.', "/"));
    Fault::error("CONFIG_UNKNOWN_SETTING", pointer, format!("there is no setting `{key}`")).cure(cure)
}

/// The settings of a TOML text, by dotted key.
fn parse(file: Option<&Arc<str>>, text: &str, faults: &mut Vec<Fault>) -> Vec<(String, Written)> {
    let mut values = Vec::new();
    match FileFormat::Toml.parse(None, text) {
        Ok(table) => flatten("", table, &mut values, faults),
        Err(error) => {
            // The parser's message begins with the line and shows it; its first line with a cause is enough here.
            let said = error.to_string();
            let line = said.split("line ").nth(1).and_then(|rest| rest.split([',', ' ', '\n']).next()?.parse().ok());
            let cause = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("not TOML").to_owned();
            let place = Place { file: file.cloned().unwrap_or_default(), line: line.unwrap_or(0), column: 1 };
            let fault = Fault::error("CONFIG_SYNTAX", "", format!("not TOML: {cause}"));
            faults.push(fault.cure("texts stand in quotes: key = \"value\"").at(place));
        }
    }
    values
}

fn flatten(prefix: &str, table: Map<String, Value>, values: &mut Vec<(String, Written)>, faults: &mut Vec<Fault>) {
    for (name, value) in table {
        let key = if prefix.is_empty() { name } else { format!("{prefix}.{name}") };
        let scalar = |value: &Value| value.clone().into_string().ok();
        match value.kind {
            ValueKind::Table(table) => flatten(&key, table, values, faults),
            ValueKind::Array(items) => match items.iter().map(scalar).collect::<Option<Vec<_>>>() {
                Some(items) => values.push((key, Written::Several(items))),
                None => {
                    let message = format!("`{key}` must be a list of texts");
                    faults.push(Fault::error("CONFIG_VALUE", "", message).cure("write [\"a\", \"b\"]"));
                }
            },
            ValueKind::Nil
            | ValueKind::Boolean(_)
            | ValueKind::I64(_)
            | ValueKind::I128(_)
            | ValueKind::U64(_)
            | ValueKind::U128(_)
            | ValueKind::Float(_)
            | ValueKind::String(_) => values.extend(scalar(&value).map(|text| (key, Written::One(text)))),
        }
    }
}

/// The line and column of a key's value in a TOML text; zero if it is written in a way this does not follow.
fn place_in(text: &str, key: &str) -> Place {
    let mut section = String::new();
    for (line, number) in text.lines().zip(1u32..) {
        let trimmed = line.trim();
        if let Some(name) = trimmed.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            section = format!("{}.", name.trim().replace('"', ""));
        } else if let Some((name, value)) = line.split_once('=') {
            let full = format!("{section}{}", name.trim().replace(['"', '\''], ""));
            if full == key || full.starts_with(&format!("{key}.")) {
                let before = name.chars().count() + 1 + value.chars().take_while(|c| c.is_whitespace()).count();
                return Place { file: Arc::default(), line: number, column: u32::try_from(before + 1).unwrap_or(0) };
            }
        }
    }
    Place::default()
}
