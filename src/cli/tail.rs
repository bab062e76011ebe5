//! `tidegate tail`: deliveries as they end, one line each, for whoever wants to watch.

use super::outcomes::{Outcomes, reason, without_topic};
use super::run::Stop;
use super::tools::Tool;
use super::{Failure, Global, Output, output, replicas, since};
use crate::kafka;
use crate::model::clock::WallMs;
use crate::pipeline::settle::EventTrace;
use clap::{Args, ValueEnum};
use std::io::ErrorKind;
use std::time::Duration;

/// What is read together is told in order of time; partitions are read one after the other.
const TOGETHER: Duration = Duration::from_millis(300);

/// How many at most.
const MOST_TOGETHER: usize = 10_000;

/// Options of `tail`.
#[derive(Debug, Args)]
pub struct Options {
    /// Only this rule.
    #[arg(long)]
    rule: Option<String>,
    /// Only this target of a rule, or all targets of a rule.
    #[arg(long, value_name = "RULE/TARGET")]
    target: Option<String>,
    /// Only this destination.
    #[arg(long)]
    destination: Option<String>,
    /// Only what ended so: `delivered`, `filtered`, `handed_off` (to a retry tier), `dead_lettered`, `redriven`.
    #[arg(long, value_enum, hide_possible_values = true)]
    outcome: Option<Outcome>,
    /// Only failures with this code, e.g. `DELIVER_STATUS`.
    #[arg(long)]
    code: Option<String>,
    /// Begin in the past: 10m, or 2026-01-02T03:04:05Z.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Outcome {
    Delivered,
    Filtered,
    #[value(alias = "handed-off")]
    HandedOff,
    #[value(alias = "dead-lettered", alias = "dead")]
    DeadLettered,
    Redriven,
}

impl Outcome {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Filtered => "filtered",
            Self::HandedOff => "handed_off",
            Self::DeadLettered => "dead_lettered",
            Self::Redriven => "redriven",
        }
    }
}

/// Follows until it is told to stop.
///
/// # Errors
/// Kafka is out of reach; the flags are wrong.
pub async fn run(global: &Global, options: &Options) -> Result<(), Failure> {
    let tool = Tool::new(global)?;
    let since = options.since.as_deref().map(|text| since::time("--since", text, WallMs::now())).transpose()?;
    let kafka = tool.kafka()?;
    let mut stop = Stop::listen()?;
    let from = since.map_or(kafka::From::End, kafka::From::Time);
    let outcomes = Outcomes::follow_from(&kafka.client, &tool.topics(), from)?;
    if !global.quiet {
        let reports = replicas::read(&kafka.client, &tool.topics(), WallMs::now())?;
        if let Some(setting) = replicas::hidden(&reports, &tool.settings.trace) {
            output::complain(&hidden(setting));
        }
    }
    let mut view = View {
        outcomes,
        options,
        since,
        json: !matches!(global.output, Output::Table | Output::Wide),
        widths: Widths::default(),
    };
    let ended = tokio::select! {
        ended = view.follow() => ended,
        () = stop.requested() => Ok(()),
    };
    view.outcomes.close().await;
    match ended {
        // Who reads has seen enough.
        Err(Ended::Output(error)) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        Err(Ended::Output(error)) => Err(error.into()),
        Err(Ended::Reading(failure)) => Err(failure),
        Ok(()) => Ok(()),
    }
}

/// What is kept out of sight, and the cure.
fn hidden(setting: &str) -> String {
    let what = match setting {
        "trace.enabled = false" => "what becomes of events is not recorded",
        "trace.outcomes = \"sample\"" => "most deliveries that are taken at once are not recorded",
        _ => "deliveries that are taken at once are not recorded",
    };
    format!("{what} ({setting}); to see all of them: trace.outcomes = \"all\"")
}

struct View<'a> {
    outcomes: Outcomes,
    options: &'a Options,
    since: Option<WallMs>,
    json: bool,
    widths: Widths,
}

/// Why it ends by itself.
enum Ended {
    Output(std::io::Error),
    Reading(Failure),
}

impl From<Failure> for Ended {
    fn from(failure: Failure) -> Self {
        Self::Reading(failure)
    }
}

impl From<std::io::Error> for Ended {
    fn from(error: std::io::Error) -> Self {
        Self::Output(error)
    }
}

impl View<'_> {
    async fn follow(&mut self) -> Result<(), Ended> {
        // The past comes partition by partition; the present as it happens.
        let mut wait = if self.since.is_some() { TOGETHER } else { Duration::ZERO };
        loop {
            let mut some = Vec::new();
            some.extend(self.outcomes.next(Duration::from_secs(60)).await?);
            while some.len() < MOST_TOGETHER {
                let next = if wait.is_zero() { self.outcomes.ready()? } else { self.outcomes.next(wait).await? };
                let Some(next) = next else {
                    wait = Duration::ZERO;
                    break;
                };
                some.push(next);
            }
            some.retain(|trace| self.wanted(trace));
            some.sort_by(|a, b| a.at.cmp(&b.at));
            for trace in &some {
                if self.json {
                    output::print_json(trace)?;
                } else {
                    output::print_line(&self.widths.line(trace))?;
                }
            }
        }
    }

    fn wanted(&self, trace: &EventTrace<'_>) -> bool {
        let Options { rule, target, destination, outcome, code, .. } = self.options;
        let is = |wanted: &Option<String>, found: Option<&str>| wanted.as_deref().is_none_or(|w| found == Some(w));
        let (of_rule, of_target) = match target.as_deref().map(|text| text.split_once('/').ok_or(text)) {
            None => (None, None),
            Some(Ok((rule, target))) => (Some(rule), Some(target)),
            Some(Err(rule)) => (Some(rule), None),
        };
        is(rule, trace.rule.as_deref())
            && of_rule.is_none_or(|rule| trace.rule.as_deref() == Some(rule))
            && of_target.is_none_or(|target| trace.target.as_deref() == Some(target))
            && is(destination, trace.destination.as_deref())
            && outcome.is_none_or(|outcome| trace.outcome == outcome.as_str())
            && code.as_ref().is_none_or(|code| trace.code.as_ref().is_some_and(|c| c.eq_ignore_ascii_case(code)))
            && self.since.is_none_or(|since| WallMs::parse_rfc3339(&trace.at).is_none_or(|at| at >= since))
    }
}

/// Keeps the columns below each other, as far as they are known.
#[derive(Debug, Default)]
struct Widths {
    event: usize,
    kind: usize,
    who: usize,
    what: usize,
}

/// Wider cells spoil their own line only.
const WIDEST: usize = 40;

impl Widths {
    /// Time, event, type, rule/target → destination, what became of it, attempts, how long the last took, why.
    fn line(&mut self, trace: &EventTrace<'_>) -> String {
        let time = trace.at.get(11..23).unwrap_or(&trace.at);
        let event = trace.event.as_deref().unwrap_or(&trace.origin);
        let kind = trace.kind.as_deref().unwrap_or("-");
        let who = match (&trace.rule, &trace.target, &trace.destination) {
            (Some(rule), Some(target), Some(destination)) => format!("{rule}/{target} → {destination}"),
            (Some(rule), Some(target), None) => format!("{rule}/{target}"),
            (..) => "-".to_owned(),
        };
        let until = trace.due.as_deref().and_then(|due| due.get(11..19));
        let status = trace.status.map_or_else(String::new, |status| format!(" {status}"));
        let what = match &*trace.outcome {
            "handed_off" => until.map_or_else(|| "again later".to_owned(), |until| format!("again at {until}")),
            "dead_lettered" => {
                let place = trace.dead_letter.as_deref().map(without_topic).unwrap_or_default();
                format!("dead letter {place}")
            }
            "redriven" => {
                let place = trace.dead_letter.as_deref().map(without_topic).unwrap_or_default();
                format!("redriven {place}")
            }
            "delivered" => format!("delivered{status}"),
            other => other.to_owned(),
        };
        let mut parts = vec![
            time.to_owned(),
            pad(event, &mut self.event),
            pad(kind, &mut self.kind),
            pad(&who, &mut self.who),
            pad(&what, &mut self.what),
        ];
        if trace.attempts > 0 {
            parts.push(format!("{} {}", trace.attempts, if trace.attempts == 1 { "attempt" } else { "attempts" }));
        }
        parts.extend(trace.tried.last().map(|attempt| format!("{} ms", attempt.took_ms)));
        if let Some(code) = &trace.code {
            parts.push(format!("{code}{status}"));
        }
        let answer = trace.tried.last().and_then(|attempt| attempt.excerpt.as_deref()).filter(|_| trace.code.is_some());
        parts.extend(answer.or(trace.message.as_deref()).map(reason).filter(|text| !text.is_empty()));
        if trace.outcome == "filtered" {
            parts.push("no rule matches".to_owned());
        }
        parts.join("  ").trim_end().to_owned()
    }
}

fn pad(text: &str, widest: &mut usize) -> String {
    let width = text.chars().count();
    *widest = (*widest).max(width.min(WIDEST));
    format!("{text:width$}", width = *widest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::settle::Attempt;

    fn trace() -> EventTrace<'static> {
        EventTrace {
            event: Some("e-1".into()),
            kind: Some("order.paid".into()),
            rule: Some("paid".into()),
            target: Some("build".into()),
            destination: Some("builds".into()),
            outcome: "delivered".into(),
            status: Some(204),
            attempts: 2,
            at: "2026-01-02T03:04:05.678Z".into(),
            origin: "t:0:1".into(),
            tried: vec![Attempt { took_ms: 9, status: Some(204), ..Attempt::default() }],
            ..EventTrace::default()
        }
    }

    #[test]
    fn one_line_each_with_columns_below_each_other() {
        let mut widths = Widths::default();
        let failed = EventTrace {
            event: Some("event-2".into()),
            outcome: "handed_off".into(),
            code: Some("DELIVER_STATUS".into()),
            status: Some(503),
            attempts: 3,
            message: Some("`builds` answered 503 Service Unavailable".into()),
            due: Some("2026-01-02T03:04:15.000Z".into()),
            tried: vec![Attempt {
                took_ms: 7,
                status: Some(503),
                excerpt: Some("busy\n now".into()),
                ..Attempt::default()
            }],
            ..trace()
        };
        let filtered = EventTrace {
            rule: None,
            target: None,
            destination: None,
            status: None,
            attempts: 0,
            tried: Vec::new(),
            outcome: "filtered".into(),
            ..trace()
        };
        let lost = EventTrace {
            event: None,
            kind: None,
            rule: None,
            outcome: "dead_lettered".into(),
            code: Some("DECODE_JSON".into()),
            message: Some("not JSON".into()),
            dead_letter: Some("x.dlq:0:7".into()),
            attempts: 0,
            tried: Vec::new(),
            status: None,
            ..trace()
        };
        let lines: Vec<String> = [failed, trace(), filtered, lost].iter().map(|trace| widths.line(trace)).collect();
        assert_eq!(
            lines,
            [
                "03:04:05.678  event-2  order.paid  paid/build → builds  again at 03:04:15  3 attempts  7 ms  DELIVER_STATUS 503  busy now",
                "03:04:05.678  e-1      order.paid  paid/build → builds  delivered 204      2 attempts  9 ms",
                "03:04:05.678  e-1      order.paid  -                    filtered           no rule matches",
                "03:04:05.678  t:0:1    -           -                    dead letter 0:7    DECODE_JSON  not JSON",
            ]
        );
    }
}
