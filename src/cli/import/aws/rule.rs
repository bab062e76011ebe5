//! A rule of AWS → a rule: its pattern in the dialect of AWS, its targets, its event bus as a source.

use super::shapes::{Found, Rule, Thing};
use super::target::{self, Sends, Target};
use super::{Wanted, origin};
use crate::cli::import::draft::{Draft, Kind, Resource, boolean, entry, list, map, text};
use crate::cli::import::given::{self, find, plain};
use crate::cli::import::{Choices, http, names, pattern, source};
use crate::model::node::{Key, Node};
use crate::model::resources::Dialect;
use crate::pattern::Options;
use std::collections::HashMap;

/// Attributes that AWS adds to every event and CloudEvents do not have.
const AWS_ONLY: [&str; 4] = ["account", "region", "resources", "version"];

/// Writes all rules, and a source for each event bus.
pub(super) fn write(
    draft: &mut Draft,
    found: &Found,
    destination: &dyn Fn(&Wanted<'_>) -> Option<String>,
    choices: &Choices,
) {
    let mut sources = HashMap::new();
    let mut rules = Vec::new();
    for rule in &found.rules {
        let from = source::of(draft, "AWS", &rule.bus, &mut sources, choices);
        rules.extend(one(draft, rule, found, destination, &from));
    }
    draft.resources.extend(rules);
}

fn one(
    draft: &mut Draft,
    rule: &Rule,
    found: &Found,
    destination: &dyn Fn(&Wanted<'_>) -> Option<String>,
    from: &str,
) -> Option<Resource> {
    let before = draft.notes.len();
    let Thing { name, node, .. } = &rule.thing;
    let about = format!("rule {name}");
    let schedule = plain(node, "ScheduleExpression");
    if let Some(schedule) = &schedule {
        let why = format!("schedules (`{schedule}`) have no equivalent");
        draft.lost(&about, "ScheduleExpression", why, "have cron run `tidegate publish`");
    }
    if let Some(service) = plain(node, "ManagedBy") {
        let why = format!("{service} made and manages it");
        draft.differs(&about, "ManagedBy", why, "delete it if that service does not need it here");
    }
    let written = match find(node, "EventPattern") {
        Some(written) => written,
        None => {
            if schedule.is_none() {
                let call = format!("import the answer of `aws events describe-rule --name {name}`");
                draft.lost(&about, "EventPattern", "the input does not show its pattern", call);
            }
            return None;
        }
    };
    let parsed = pattern::node(written);
    let ours = draft.names.take(Kind::Rule, name);
    let mut unusable = false;
    let pattern = match parsed {
        Ok(pattern) => pattern,
        Err(why) => {
            draft.lost(&about, "EventPattern", why, "mend it");
            unusable = true;
            map(Vec::new())
        }
    };
    if let Some(function) = given::unresolved(written) {
        open(draft, &about, "EventPattern", &function);
        unusable = true;
    }
    if !unusable {
        let options = Options { dialect: Dialect::Aws, alias_aws: true, ..Options::default() };
        unusable = pattern::refused(draft, &about, "EventPattern", &pattern, &options);
        aws_only(draft, &about, &pattern);
    }
    let targets = targets(draft, rule, found, destination);
    unusable |= targets.open || targets.written.is_empty();
    if targets.written.is_empty() && rule.targets.is_empty() {
        let call = format!("import the answer of `aws events list-targets-by-rule --rule {name}` too");
        draft.lost(&about, "Targets", "the input shows no targets of it", call);
    }
    let mut entries = Vec::new();
    entries.extend(http::description(node));
    entries.push(entry("from", text(from)));
    entries.push(entry("dialect", text("aws")));
    entries.push(entry("alias", text("aws")));
    let state = plain(node, "State").unwrap_or_default();
    if state.starts_with("DISABLED") {
        entries.push(entry("enabled", boolean(false)));
    }
    entries.push(entry("pattern", pattern));
    entries.push(entry("targets", list(targets.written)));
    let mut comments = draft.comments_since(before);
    if let Some(condition) = &rule.thing.condition {
        let why = format!("it exists only if `{condition}`");
        draft.differs(&about, "Condition", why, "delete it where it shall not exist");
        comments = draft.comments_since(before);
    }
    Some(Resource {
        kind: Kind::Rule,
        name: ours,
        origin: origin("rule", name, Some(&rule.thing)),
        comments,
        entries,
        unusable,
    })
}

/// What is to be known about attributes that only AWS sets, and about events of AWS's own services.
fn aws_only(draft: &mut Draft, about: &str, pattern: &Node) {
    for (key, value) in pattern.entries() {
        let top = key.name.split('.').next().unwrap_or_default();
        if AWS_ONLY.contains(&top) {
            let why = format!("only AWS adds `{top}` to every event");
            let instead = format!("who publishes must set the attribute `{top}`, or take it out of the pattern");
            draft.differs(about, "EventPattern", why, instead);
        }
        let names_aws = |node: &Node| node.to_json().contains("\"aws.");
        if top == "source" && names_aws(value) {
            let why = "events of AWS's own services do not come to Kafka by themselves";
            draft.differs(about, "EventPattern", why, "have a rule there send them to a topic");
        }
    }
}

fn open(draft: &mut Draft, about: &str, key: &str, function: &str) {
    let why = format!("{function} is known only where the template is deployed");
    draft.lost(about, key, why, "give it with --param NAME=VALUE, or put it in and take the rule out of its comment");
}

struct Targets {
    written: Vec<Node>,
    /// Something in them is not known.
    open: bool,
}

fn targets(
    draft: &mut Draft,
    rule: &Rule,
    found: &Found,
    destination: &dyn Fn(&Wanted<'_>) -> Option<String>,
) -> Targets {
    let mut names: Vec<String> = Vec::new();
    let mut targets = Targets { written: Vec::new(), open: false };
    for (index, node) in rule.targets.iter().enumerate() {
        let id = plain(node, "Id").unwrap_or_else(|| format!("{}", index + 1));
        let about = format!("rule {}, target {id}", rule.thing.name);
        let sends = target::sends(node);
        let ours = match &sends {
            Sends::Named(name) => destination(&Wanted::Name(name)),
            Sends::Resource(id) => destination(&Wanted::Id(id)),
            Sends::Service(_) | Sends::Unknown(_) => None,
        };
        let Some(destination) = ours else {
            elsewhere(draft, &about, &sends, found);
            continue;
        };
        let name = names::target(&id, &names);
        names.push(name.clone());
        let without_arn = node.entries().iter().filter(|(key, _): &&(Key, Node)| {
            !matches!(key.name.as_str(), "Arn" | "RoleArn" | "DeadLetterConfig" | "Id")
        });
        if let Some(function) = without_arn.map(|(_, value)| value).find_map(given::unresolved) {
            open(draft, &about, "InputTransformer", &function);
            targets.open = true;
        }
        let rule_arn = plain(&rule.thing.node, "Arn");
        targets.written.push(Target { about, name, destination, rule_arn, node }.write(draft));
    }
    targets
}

/// Says what to do about a target that is no API destination.
fn elsewhere(draft: &mut Draft, about: &str, sends: &Sends, found: &Found) {
    let what = match sends {
        Sends::Resource(id) => match found.types.get(id) {
            Some(of) => of.clone(),
            None => id.clone(),
        },
        Sends::Service(service) | Sends::Named(service) | Sends::Unknown(service) => service.clone(),
    };
    let service = what.strip_prefix("AWS::").unwrap_or(&what).to_ascii_lowercase();
    let service = service.split("::").next().unwrap_or_default();
    let instead = match service {
        "lambda" => "give the function a url, or a place behind API Gateway, and write a destination for it",
        "execute-api" | "apigateway" | "apigatewayv2" => "write a destination with the url of the API's stage",
        "sqs" | "sns" | "kinesis" | "firehose" | "logs" => "have its readers read the topic in Kafka",
        "events" => "rules here may read any source: no bus has to forward to another",
        "states" | "ecs" | "batch" | "codebuild" | "codepipeline" | "ssm" | "glue" | "sagemaker" => {
            "put what starts it behind an HTTP endpoint, and write a destination for it"
        }
        _ => "put it behind an HTTP endpoint, and write a destination for it",
    };
    draft.lost(about, "Arn", format!("targets of `{what}` have no equivalent: only HTTP is called"), instead);
}
