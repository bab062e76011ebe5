//! A target of an AWS rule → a target: what is sent, with which parameters, how often.

use super::path::{self, Rewritten};
use crate::cli::import::draft::{Draft, entry, list, map, number, one, text};
use crate::cli::import::given::{self, find, plain};
use crate::cli::import::http::{self, Part, put_map};
use crate::model::node::{Key, Kind, Node};
use std::collections::HashSet;

/// AWS's defaults are ours.
const MAX_AGE_S: u64 = 86_400;
/// AWS's default counts retries, ours attempts; both are meant to be a day's worth.
const MAX_RETRIES: u64 = 185;

/// A target whose destination is known.
#[derive(Debug)]
pub(super) struct Target<'n> {
    /// "rule orders, target Id1".
    pub(super) about: String,
    /// Our name of it.
    pub(super) name: String,
    /// Our name of its destination.
    pub(super) destination: String,
    /// ARN of its rule, for templates that name it.
    pub(super) rule_arn: Option<String>,
    /// What was printed.
    pub(super) node: &'n Node,
}

impl Target<'_> {
    /// The target as we write it.
    pub(super) fn write(&self, draft: &mut Draft) -> Node {
        let mut entries =
            vec![entry("name", text(self.name.clone())), entry("destination", text(self.destination.clone()))];
        let mut json = true;
        if let Some(http) = find(self.node, "HttpParameters") {
            let mut segments = Vec::new();
            for value in given::items(http, "PathParameterValues") {
                segments.extend(self.parameter(draft, value, "PathParameterValues"));
            }
            if !segments.is_empty() {
                entries.push(entry("path", list(segments)));
            }
            for (theirs, part) in [("QueryStringParameters", Part::Query), ("HeaderParameters", Part::Headers)] {
                let mut inner: Vec<(Key, Node)> = Vec::new();
                for (key, value) in find(http, theirs).map(Node::entries).unwrap_or_default() {
                    let literal = value.as_plain().is_some_and(|text| !path::is_path(text));
                    if literal && http::is_secret_name(&key.name) {
                        let why = format!("`{}` looks like a secret, and a rule may hold none", key.name);
                        draft.lost(&self.about, theirs, why, "write it in the connection, with a reference");
                        continue;
                    }
                    if let Some(value) = self.parameter(draft, value, theirs) {
                        if key.name.eq_ignore_ascii_case("content-type") {
                            json = value.as_plain().is_none_or(is_json);
                        }
                        http::put(&mut inner, key.name.clone(), value, part);
                    }
                }
                put_map(&mut entries, part.key(), inner);
            }
        }
        entries.extend(self.body(draft, json).map(|body| entry("body", body)));
        entries.extend(self.retry().map(|retry| entry("retry", retry)));
        if let Some(dead_letters) = find(self.node, "DeadLetterConfig") {
            let queue =
                plain(dead_letters, "Arn").and_then(|arn| arn.rsplit(':').next().map(|name| format!(" {name}")));
            draft.differs(
                &self.about,
                "DeadLetterConfig",
                format!("its queue{} is not used", queue.unwrap_or_default()),
                "what fails goes to the topic of dead letters: see `tidegate dlq`, or write `dead_letter: {topic: …}`",
            );
        }
        map(entries)
    }

    /// A parameter: a path if it begins as one, else text.
    fn parameter(&self, draft: &mut Draft, value: &Node, key: &str) -> Option<Node> {
        let written = given::of(value)?.known()?.to_owned();
        if !path::is_path(&written) {
            return Some(text(http::escaped(&written)));
        }
        if matches!(path::rewrite(&written), Rewritten::Whole) {
            draft.lost(&self.about, key, "a whole event cannot be a parameter", "name one of its fields");
            return None;
        }
        self.value(draft, key, &written)
    }

    fn body(&self, draft: &mut Draft, json: bool) -> Option<Node> {
        if let Some(input) = plain(self.node, "Input") {
            return Some(one("constant", text(input)));
        }
        if let Some(transformer) = find(self.node, "InputTransformer") {
            return self.transformer(draft, transformer);
        }
        let value = match plain(self.node, "InputPath") {
            Some(written) => self.value(draft, "InputPath", &written)?,
            None => path::envelope(),
        };
        // With another content type `json` would be refused; AWS sends JSON all the same.
        Some(if json {
            path::json_body(value)
        } else {
            map(vec![entry("template", text("<body>")), entry("values", one("body", value))])
        })
    }

    /// A value at a path.
    fn value(&self, draft: &mut Draft, key: &str, written: &str) -> Option<Node> {
        match path::rewrite(written) {
            Rewritten::Whole => Some(path::envelope()),
            Rewritten::Value { written, missing } => {
                self.may_be_missing(draft, key, missing);
                Some(text(written))
            }
            Rewritten::Refused(why) => {
                draft.lost(&self.about, key, format!("`{written}` is no path: {why}"), "write the path of a field");
                None
            }
        }
    }

    fn may_be_missing(&self, draft: &mut Draft, key: &str, attribute: Option<&str>) {
        let Some(attribute) = attribute else { return };
        draft.differs(
            &self.about,
            key,
            format!("only AWS adds `{attribute}` to every event"),
            format!("who publishes must set the attribute `{attribute}`, or write `${{$.{attribute} ?? \"…\"}}`"),
        );
    }

    fn transformer(&self, draft: &mut Draft, node: &Node) -> Option<Node> {
        let template = plain(node, "InputTemplate")?;
        let mut values: Vec<(Key, Node)> = Vec::new();
        for (key, path) in find(node, "InputPathsMap").map(Node::entries).unwrap_or_default() {
            let Some(path) = path.as_plain() else { continue };
            // AWS takes what the template does not use; here it would be a warning.
            if template.contains(&format!("<{}>", key.name)) {
                values.push(entry(key.name.clone(), self.value(draft, "InputPathsMap", path)?));
            }
        }
        let mut template = template;
        for (theirs, ours) in [("event.json", "event-json"), ("event", "event"), ("rule-arn", "rule-arn")] {
            let placeholder = if theirs == "rule-arn" {
                "<aws.events.rule-arn>".to_owned()
            } else {
                format!("<aws.events.{theirs}>")
            };
            if !template.contains(&placeholder) {
                continue;
            }
            let value = match theirs {
                "event.json" => path::envelope(),
                "event" => path::envelope_without_detail(),
                _ => text(self.rule_arn.clone().map(|arn| http::escaped(&arn)).unwrap_or_default()),
            };
            let taken: HashSet<&str> = values.iter().map(|(key, _)| key.name.as_str()).collect();
            let mut name = ours.to_owned();
            while taken.contains(name.as_str()) || template.contains(&format!("<{name}>")) {
                name.push('_');
            }
            template = template.replace(&placeholder, &format!("<{name}>"));
            values.push(entry(name, value));
        }
        let mut body = vec![entry("template", text(template))];
        put_map(&mut body, "values", values);
        Some(map(body))
    }

    /// The retry policy, unless it is the default of both.
    fn retry(&self) -> Option<Node> {
        let policy = find(self.node, "RetryPolicy")?;
        let of = |key: &str| plain(policy, key).and_then(|text| text.parse::<u64>().ok());
        let (retries, age_s) = (of("MaximumRetryAttempts"), of("MaximumEventAgeInSeconds"));
        let mut entries = Vec::new();
        if let Some(age_s) = age_s.filter(|age_s| *age_s != MAX_AGE_S) {
            entries.push(entry("max_age", text(duration(age_s))));
        }
        if let Some(retries) = retries.filter(|retries| *retries != MAX_RETRIES) {
            // The first attempt is none of AWS's retries.
            entries.push(entry("max_attempts", number(retries.saturating_add(1))));
        }
        (!entries.is_empty()).then(|| map(entries))
    }
}

fn duration(seconds: u64) -> String {
    match seconds {
        s if s > 0 && s.is_multiple_of(3600) => format!("{}h", s / 3600),
        s if s > 0 && s.is_multiple_of(60) => format!("{}m", s / 60),
        s => format!("{s}s"),
    }
}

/// Whether a content type is JSON (transforms.md rule 58).
fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence.ends_with("/json") || essence.ends_with("+json")
}

/// Whether a target sends to an API destination: its name, or the logical id in its template; else what it sends to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sends {
    /// To the API destination of that name.
    Named(String),
    /// To a resource of the same template.
    Resource(String),
    /// To a service of AWS.
    Service(String),
    /// Nobody knows.
    Unknown(String),
}

/// Where a target sends.
pub(super) fn sends(node: &Node) -> Sends {
    let Some(arn) = find(node, "Arn") else { return Sends::Unknown("nothing".to_owned()) };
    if let Some(id) = given::referred(arn) {
        return Sends::Resource(id.to_owned());
    }
    match &arn.kind {
        Kind::String(arn) => {
            let arn = arn.masked();
            match arn.split_once(":api-destination/") {
                Some((_, name)) => Sends::Named(name.split('/').next().unwrap_or_default().to_owned()),
                None => Sends::Service(arn.split(':').nth(2).unwrap_or(arn).to_owned()),
            }
        }
        Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::List(_) | Kind::Map(_) => Sends::Unknown(arn.to_json()),
    }
}
