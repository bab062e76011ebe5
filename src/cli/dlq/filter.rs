//! Which dead letters are meant.

use crate::cli::{Exit, Failure, output, setup, since};
use crate::config;
use crate::json::document::Document;
use crate::model::clock::WallMs;
use crate::model::event::CloudEvent;
use crate::model::fault::Fault;
use crate::model::resources::PatternLimits;
use crate::model::stored::StoredHeaders;
use crate::pattern::{self, EvaluationLimit, Pattern};
use clap::Args;
use serde::{Deserialize, Serialize};
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;

/// What stands in the place of a file.
const FLAG: &str = "--where";

/// The flags, as they were written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args, Serialize, Deserialize)]
#[group(skip)]
#[serde(default)]
pub(super) struct Options {
    /// Only those of this rule, or of this target of it.
    #[arg(long, value_name = "RULE/TARGET", global = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) target: Option<String>,
    /// Only those with this code, e.g. `TRANSFORM_MISSING`.
    #[arg(long, global = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) code: Option<String>,
    /// Only those that were last answered with this HTTP status.
    #[arg(long, global = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) status: Option<u16>,
    /// Only those that died since then: 2h, or 2026-01-02T03:04:05Z.
    #[arg(long, value_name = "TIME", global = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) since: Option<String>,
    /// Only those whose event matches this event pattern.
    #[arg(long = "where", value_name = "PATTERN", global = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pattern: Option<String>,
}

/// What they mean.
#[derive(Debug, Default)]
pub(super) struct Filter {
    rule: Option<String>,
    target: Option<String>,
    code: Option<String>,
    status: Option<u16>,
    since: Option<WallMs>,
    pattern: Option<Pattern>,
    /// Dead letters of which the pattern says neither yes nor no, and the limit that was met.
    undecided: Cell<Option<(usize, EvaluationLimit)>>,
    /// What there is to choose from.
    seen: RefCell<Seen>,
}

/// Targets and codes of all dead letters that were looked at.
#[derive(Debug, Default)]
struct Seen {
    targets: BTreeSet<(String, String)>,
    codes: BTreeSet<String>,
}

impl Filter {
    /// Reads the flags.
    pub(super) fn new(options: &Options, limits: PatternLimits) -> Result<Self, Failure> {
        let (rule, target) = match options.target.as_deref().map(|text| text.split_once('/').ok_or(text)) {
            None => (None, None),
            Some(Ok((rule, target))) => (Some(rule.to_owned()), Some(target.to_owned())),
            Some(Err(rule)) => (Some(rule.to_owned()), None),
        };
        Ok(Self {
            rule,
            target,
            code: options.code.clone(),
            status: options.status,
            since: options.since.as_deref().map(|text| since::time("--since", text, WallMs::now())).transpose()?,
            pattern: options.pattern.as_deref().map(|text| read(text, limits)).transpose()?,
            undecided: Cell::default(),
            seen: RefCell::default(),
        })
    }

    /// The flags once more, such that they mean the same later.
    pub(super) fn lasting(&self, options: &Options) -> Options {
        Options { since: self.since.map(WallMs::rfc3339), ..options.clone() }
    }

    /// From when on dead letters are of interest.
    pub(super) fn since(&self) -> Option<WallMs> {
        self.since
    }

    /// Whether a dead letter is meant, which died at `at`; `event` is asked for only if need be.
    pub(super) fn wants(
        &self,
        headers: &StoredHeaders,
        at: Option<WallMs>,
        event: impl FnOnce() -> Option<CloudEvent>,
    ) -> bool {
        self.seen.borrow_mut().add(headers);
        let address = headers.delivery.as_ref();
        let is = |wanted: &Option<String>, found: Option<&str>| wanted.as_deref().is_none_or(|w| found == Some(w));
        let same_code = |wanted: &String| headers.code.as_ref().is_some_and(|code| code.eq_ignore_ascii_case(wanted));
        is(&self.rule, address.map(|a| a.rule.as_str()))
            && is(&self.target, address.map(|a| a.target.as_str()))
            && self.code.as_ref().is_none_or(same_code)
            && self.status.is_none_or(|status| headers.http_status == Some(status))
            && self.since.is_none_or(|since| at.is_none_or(|at| at >= since))
            // A search that is given up says neither yes nor no; then nothing is sent.
            && self.pattern.as_ref().is_none_or(|pattern| event().is_some_and(|event| self.matches(pattern, &event)))
    }

    fn matches(&self, pattern: &Pattern, event: &CloudEvent) -> bool {
        pattern.matches(&Document::of(event)).unwrap_or_else(|limit| {
            let before = self.undecided.get().map_or(0, |(count, _)| count);
            self.undecided.set(Some((before + 1, limit)));
            false
        })
    }

    /// Says what people overlook in a list that is shorter than they thought: a target or code that no dead letter has,
    /// and how many were left out because the pattern could not be decided.
    pub(super) fn tell(&self) {
        for line in self.doubts() {
            output::complain(&line);
        }
    }

    fn doubts(&self) -> Vec<String> {
        let seen = self.seen.take();
        let mut lines = Vec::new();
        if let Some(rule) = &self.rule {
            let meant = |(r, t): &&(String, String)| r == rule && self.target.as_ref().is_none_or(|target| t == target);
            if !seen.targets.is_empty() && !seen.targets.iter().any(|known| meant(&known)) {
                let wanted = self.target.as_ref().map_or_else(|| rule.clone(), |target| format!("{rule}/{target}"));
                let known: Vec<String> = seen.targets.iter().map(|(r, t)| format!("{r}/{t}")).collect();
                lines.push(format!(
                    "--target {wanted}: no dead letter is of it; there are some of {}",
                    known.join(", ")
                ));
            }
        }
        if let Some(code) = &self.code
            && !seen.codes.is_empty()
            && !seen.codes.iter().any(|known| known.eq_ignore_ascii_case(code))
        {
            let known: Vec<&str> = seen.codes.iter().map(String::as_str).collect();
            lines.push(format!("--code {code}: no dead letter has it; there are {}", known.join(", ")));
        }
        if let Some((count, limit)) = self.undecided.take() {
            let attempts = limit.attempts;
            lines.push(format!(
                "{count} dead letters are left out: --where needs more than {attempts} attempts to be matched with them"
            ));
        }
        lines
    }
}

impl Seen {
    fn add(&mut self, headers: &StoredHeaders) {
        if let Some(address) = &headers.delivery {
            self.targets.insert((address.rule.clone(), address.target.clone()));
        }
        self.codes.extend(headers.code.clone());
    }
}

/// The pattern as it would stand in a rule, in JSON or YAML; what is wrong with it is shown in its own text.
fn read(text: &str, limits: PatternLimits) -> Result<Pattern, Failure> {
    match compile(text, limits) {
        Ok((pattern, doubts)) => {
            setup::tell_of(&doubts, text);
            Ok(pattern)
        }
        Err(found) => {
            setup::tell_of(&found, text);
            Err(Failure::silent(Exit::Usage))
        }
    }
}

/// The pattern and what is doubtful about it, or all faults.
fn compile(text: &str, limits: PatternLimits) -> Result<(Pattern, Vec<Fault>), Vec<Fault>> {
    let options = pattern::Options { limits, ..pattern::Options::default() };
    let node = config::written(FLAG, text)?;
    let placed = |fault: Fault| pattern::placed(fault, &node, "");
    let json = node.to_json();
    let compiled =
        pattern::compile(&json, &options).map_err(|found| found.into_iter().map(placed).collect::<Vec<_>>())?;
    let doubts = compiled.pattern.doubts(&json);
    let doubts = compiled.warnings.into_iter().chain(doubts).map(placed).collect();
    Ok((compiled.pattern, doubts))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::events;
    use crate::model::fault::Place;
    use crate::model::record::Record;
    use crate::model::stored::Address;

    fn options() -> Options {
        Options::default()
    }

    fn filter(options: &Options) -> Filter {
        Filter::new(options, PatternLimits::default()).expect("a filter")
    }

    fn wants(options: &Options, at: i64) -> bool {
        wanted_by(&filter(options), at)
    }

    fn wanted_by(filter: &Filter, at: i64) -> bool {
        let record = Record::new("t:0:0".parse().expect("a position"), None, None, None, std::iter::empty());
        let address = Address {
            rule: "r".to_owned(),
            target: "t".to_owned(),
            destination: "d".to_owned(),
            delivery_id: "i".to_owned(),
        };
        let headers = StoredHeaders {
            code: Some("DELIVER_STATUS".to_owned()),
            http_status: Some(422),
            ..StoredHeaders::new(&record, Some(address))
        };
        let text = r#"{"specversion":"1.0","id":"1","source":"/s","type":"order.paid","data":{"total":12.5}}"#;
        let event = || events::decode(&events::Input { place: Place::default(), text: text.to_owned() }, "t").ok();
        filter.wants(&headers, Some(WallMs(at)), event)
    }

    #[test]
    fn each_flag_narrows() {
        let text = |text: &str| Some(text.to_owned());
        assert!(wants(&options(), 0));
        for (options, wanted) in [
            (Options { target: text("r/t"), ..options() }, true),
            (Options { target: text("r"), ..options() }, true),
            (Options { target: text("r/x"), ..options() }, false),
            (Options { code: text("deliver_status"), ..options() }, true),
            (Options { code: text("TRANSFORM_MISSING"), ..options() }, false),
            (Options { status: Some(422), ..options() }, true),
            (Options { status: Some(503), ..options() }, false),
            (Options { since: text("1970-01-01T00:00:01Z"), ..options() }, true),
            (Options { since: text("1970-01-01T00:00:02Z"), ..options() }, false),
            (Options { since: text("2h"), ..options() }, false),
            (Options { pattern: text(r#"{"data":{"total":[{"numeric":[">",12]}]}}"#), ..options() }, true),
            (Options { pattern: text(r#"{"type":["order.created"]}"#), ..options() }, false),
        ] {
            assert_eq!(wants(&options, 1_500), wanted, "{options:?}");
        }
    }

    #[test]
    fn what_no_dead_letter_has_is_told_with_what_there_is() {
        let text = |text: &str| Some(text.to_owned());
        for (options, told) in [
            (Options { target: text("x"), ..options() }, "--target x: no dead letter is of it; there are some of r/t"),
            (
                Options { target: text("r/x"), ..options() },
                "--target r/x: no dead letter is of it; there are some of r/t",
            ),
            (
                Options { code: text("DELIVER"), ..options() },
                "--code DELIVER: no dead letter has it; there are DELIVER_STATUS",
            ),
        ] {
            let filter = filter(&options);
            assert!(filter.doubts().is_empty(), "none was looked at");
            assert!(!wanted_by(&filter, 0));
            assert_eq!(filter.doubts(), [told]);
        }
        let filter = filter(&Options { target: text("r"), code: text("deliver_status"), ..options() });
        assert!(wanted_by(&filter, 0) && filter.doubts().is_empty());
    }

    #[test]
    fn wrong_flags_are_refused() {
        let options = Options { since: Some("yesterday".to_owned()), ..options() };
        assert_eq!(Filter::new(&options, PatternLimits::default()).expect_err("refused").code, Exit::Usage);
        let found = compile("{", PatternLimits::default()).expect_err("refused");
        assert_eq!(found.iter().map(|fault| fault.code).collect::<Vec<_>>(), ["CONFIG_SYNTAX"]);
    }
}
