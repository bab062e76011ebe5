//! Which dead letters are meant.

use crate::cli::{Exit, Failure, output, setup, since};
use crate::config;
use crate::json::document::Document;
use crate::model::clock::WallMs;
use crate::model::event::CloudEvent;
use crate::model::fault::Fault;
use crate::model::resources::PatternLimits;
use crate::model::stored::StoredHeaders;
use crate::pattern::{self, Pattern};
use clap::Args;
use std::cell::Cell;

/// What stands in the place of a file.
const FLAG: &str = "--where";

/// The flags.
#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct Options {
    /// Only those of this rule, or of this target of it.
    #[arg(long, value_name = "RULE/TARGET", global = true)]
    target: Option<String>,
    /// Only those with this code, e.g. `TRANSFORM_MISSING`.
    #[arg(long, global = true)]
    code: Option<String>,
    /// Only those that were last answered with this HTTP status.
    #[arg(long, global = true)]
    status: Option<u16>,
    /// Only those that died since then: 2h, or 2026-01-02T03:04:05Z.
    #[arg(long, value_name = "TIME", global = true)]
    since: Option<String>,
    /// Only those whose event matches this event pattern.
    #[arg(long = "where", value_name = "PATTERN", global = true)]
    pattern: Option<String>,
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
    /// Dead letters of which the pattern says neither yes nor no.
    undecided: Cell<usize>,
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
            since: options.since.as_deref().map(|text| since::time(text, WallMs::now())).transpose()?,
            pattern: options.pattern.as_deref().map(|text| compile(text, limits)).transpose()?,
            undecided: Cell::new(0),
        })
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
        pattern.matches(&Document::of(event)).unwrap_or_else(|_| {
            self.undecided.set(self.undecided.get() + 1);
            false
        })
    }

    /// Says how many dead letters were left out because the pattern could not be decided.
    pub(super) fn tell_undecided(&self) {
        match self.undecided.take() {
            0 => {}
            count => output::complain(&format!(
                "{count} dead letters are left out: --where needs more than {} attempts to be matched with them",
                pattern::Limits::default().attempts
            )),
        }
    }
}

/// The pattern as it would stand in a rule, in JSON or YAML; what is wrong with it is shown in its own text.
fn compile(text: &str, limits: PatternLimits) -> Result<Pattern, Failure> {
    let options = pattern::Options { limits, ..pattern::Options::default() };
    let node = config::written(FLAG, text).map_err(|found| refused(&found, text))?;
    let placed = |fault: Fault| pattern::placed(fault, &node, "");
    let compiled = pattern::compile(&node.to_json(), &options)
        .map_err(|found| refused(&found.into_iter().map(placed).collect::<Vec<_>>(), text))?;
    let doubts = compiled.pattern.doubts();
    let doubts: Vec<Fault> = compiled.warnings.into_iter().chain(doubts).map(placed).collect();
    setup::tell_of(&doubts, text);
    Ok(compiled.pattern)
}

fn refused(found: &[Fault], text: &str) -> Failure {
    setup::tell_of(found, text);
    Failure::silent(Exit::Usage)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::events;
    use crate::model::fault::Place;
    use crate::model::record::Record;
    use crate::model::stored::Address;

    fn options() -> Options {
        Options { target: None, code: None, status: None, since: None, pattern: None }
    }

    fn wants(options: &Options, at: i64) -> bool {
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
        Filter::new(options, PatternLimits::default()).expect("a filter").wants(&headers, Some(WallMs(at)), event)
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
    fn wrong_flags_are_refused() {
        for options in [
            Options { since: Some("yesterday".to_owned()), ..options() },
            Options { pattern: Some("{".to_owned()), ..options() },
        ] {
            assert_eq!(Filter::new(&options, PatternLimits::default()).expect_err("refused").code, Exit::Usage);
        }
    }
}
