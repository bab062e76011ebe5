//! What became of one event, put together from its records in the trace topic and from today's rules. Pure: what was
//! read comes in, the story goes out, for people and for programs.

use crate::cli::outcomes::without_topic;
use crate::model::clock::WallMs;
use crate::pipeline::explain::Explained;
use crate::pipeline::settle::{Attempt, EventTrace, REDRIVEN};
use serde::Serialize;
use std::collections::BTreeSet;

/// What became of one event.
#[derive(Debug, Serialize)]
pub(super) struct Story {
    /// Its id; absent if the record could not be decoded.
    pub(super) event: Option<String>,
    /// Its source.
    pub(super) source: Option<String>,
    /// Its type.
    #[serde(rename = "type")]
    pub(super) kind: Option<String>,
    /// Where it came from, `topic:partition:offset`.
    pub(super) origin: String,
    /// What stands there now.
    pub(super) record: Standing,
    /// The record's timestamp, RFC 3339.
    pub(super) timestamp: Option<String>,
    /// When it was first taken from its source.
    pub(super) received: Option<String>,
    /// Whether its group has committed beyond it; absent if that is not known.
    pub(super) settled: Option<bool>,
    /// No rule wanted it then.
    pub(super) filtered: bool,
    /// What is recorded of its deliveries.
    pub(super) deliveries: Vec<Told>,
    /// What today's rules make of it, as far as no delivery is recorded.
    pub(super) rules: Vec<Verdict>,
    /// What to do.
    pub(super) next: Vec<String>,
}

/// What stands where the event came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Standing {
    /// The event.
    Present,
    /// Nothing any more, by retention; or its topic is gone.
    Gone,
    /// What cannot be decoded.
    Undecodable,
}

/// What is recorded of one delivery.
#[derive(Debug, Serialize)]
pub(super) struct Told {
    /// `rule/target`; absent for an event that no rule could look at.
    pub(super) target: Option<String>,
    /// Where it goes.
    pub(super) destination: Option<String>,
    /// Identifies it.
    pub(super) delivery_id: Option<String>,
    /// Where it is now.
    pub(super) state: State,
    /// Attempts that were sent, redrives included.
    pub(super) attempts: u32,
    /// Code of the last failure, if it has not arrived.
    pub(super) code: Option<String>,
    /// The same for people.
    pub(super) message: Option<String>,
    /// Its dead letter, if it has one that was not sent again.
    pub(super) dead_letter: Option<String>,
    /// Until when it waits in a retry tier.
    pub(super) due: Option<String>,
    /// Everything that happened to it, in order of time.
    pub(super) steps: Vec<Step>,
    /// Why today's rule would not do the same.
    pub(super) today: Option<String>,
}

/// Where a delivery is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum State {
    /// It has arrived.
    Delivered,
    /// It waits in a retry tier.
    HandedOff,
    /// It is given up.
    DeadLettered,
    /// Its dead letter was sent again, and nothing was heard since.
    Redriven,
    /// Something that only a later version knows.
    Unknown,
}

/// One thing that happened.
#[derive(Debug, Serialize)]
pub(super) struct Step {
    /// When, RFC 3339.
    pub(super) at: String,
    /// What.
    #[serde(flatten)]
    pub(super) what: What,
    /// The replica that tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) replica: Option<String>,
}

/// What happened.
#[derive(Debug, Serialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub(super) enum What {
    /// A request was sent.
    Attempt {
        /// Milliseconds to its end.
        took_ms: u64,
        /// HTTP status.
        status: Option<u16>,
        /// Class of its end.
        class: String,
        /// Code of its failure.
        code: Option<String>,
        /// Its failure for people.
        message: Option<String>,
        /// Beginning of the answer.
        excerpt: Option<String>,
    },
    /// It arrived, by a record that tells no attempts.
    Delivered,
    /// It went to a retry tier.
    HandedOff {
        /// Until then.
        due: Option<String>,
        /// Why.
        code: Option<String>,
    },
    /// It was given up.
    DeadLettered {
        /// Where it stands.
        dead_letter: Option<String>,
        /// Why.
        code: Option<String>,
        /// The same for people.
        message: Option<String>,
    },
    /// Its dead letter was sent again.
    Redriven {
        /// Where it stood.
        dead_letter: Option<String>,
    },
}

/// What one of today's rules makes of it.
#[derive(Debug, Serialize)]
pub(super) struct Verdict {
    /// `rule`, or `rule/target` where it matches.
    pub(super) rule: String,
    /// Whether it matches.
    #[serde(rename = "match")]
    pub(super) matched: bool,
    /// Why.
    pub(super) reason: String,
    /// Code of what would go wrong.
    pub(super) code: Option<&'static str>,
}

/// What was read of one event.
#[derive(Debug)]
pub(super) struct Read {
    /// Where it came from.
    pub(super) origin: String,
    /// Its records in the trace topic.
    pub(super) traces: Vec<EventTrace<'static>>,
    /// What stands at its origin.
    pub(super) record: Standing,
    /// The timestamp there.
    pub(super) timestamp: Option<WallMs>,
    /// Id, source and type there.
    pub(super) event: Option<(String, String, String)>,
    /// Whether its group, and those of the targets in order that want it, have committed beyond it.
    pub(super) settled: Option<bool>,
    /// Today's rules on it; none without the event.
    pub(super) explained: Vec<Explained>,
}

impl Story {
    /// Puts it together. `hidden`: plain deliveries leave no record. `now` tells what is late; dead letters of `usual` are
    /// named without their topic.
    pub(super) fn new(read: Read, hidden: bool, usual: &str, now: WallMs) -> Self {
        let Read { origin, mut traces, record, timestamp, event, settled, explained } = read;
        traces.sort_by_key(begin);
        let name = |pick: Pick| traces.iter().find_map(pick).map(str::to_owned);
        let (id, source, kind) = match event {
            Some((id, source, kind)) => (Some(id), Some(source), Some(kind)),
            None => (name(|t| t.event.as_deref()), name(|t| t.source.as_deref()), name(|t| t.kind.as_deref())),
        };
        let received = traces.iter().find_map(|t| t.received.as_deref()).map(str::to_owned);
        let filtered = traces.iter().any(|t| t.outcome == "filtered");
        let mut groups: Vec<(String, Vec<&EventTrace<'static>>)> = Vec::new();
        for trace in traces.iter().filter(|trace| trace.outcome != "filtered") {
            let key = key(trace);
            match groups.iter_mut().find(|(known, _)| *known == key) {
                Some((_, group)) => group.push(trace),
                None => groups.push((key, vec![trace])),
            }
        }
        let gone = record != Standing::Present;
        let deliveries: Vec<Told> = groups.iter().map(|(_, group)| told(group, &explained, gone)).collect();
        let known: BTreeSet<&str> = deliveries.iter().filter_map(|told| told.target.as_deref()).collect();
        let verdicts = explained.iter().map(|e| Verdict {
            rule: who(e),
            matched: e.matched,
            reason: match &e.order {
                Some(order) => format!("{}; sent {order}", e.reason),
                None => e.reason.clone(),
            },
            code: e.code,
        });
        // A rule that once wanted it and does so no more is told with its delivery.
        let of_known = |rule: &str| known.iter().any(|target| target.split('/').next() == Some(rule));
        let rules = verdicts.filter(|v| !known.contains(v.rule.as_str()) && (v.matched || !of_known(&v.rule)));
        let mut story = Self {
            event: id,
            source,
            kind,
            origin,
            record,
            timestamp: timestamp.map(WallMs::rfc3339),
            received,
            settled,
            filtered,
            rules: rules.collect(),
            deliveries,
            next: Vec::new(),
        };
        story.next = story.advice(hidden, usual, now);
        story
    }

    fn advice(&self, hidden: bool, usual: &str, now: WallMs) -> Vec<String> {
        let mut next = Vec::new();
        for told in &self.deliveries {
            let target = told.target.as_deref().unwrap_or_default();
            let destination = told.destination.as_deref().unwrap_or_default();
            let late = told.due.as_deref().and_then(WallMs::parse_rfc3339).is_some_and(|due| due < now);
            let letter = told.dead_letter.as_deref().map(|position| letter(position, usual));
            match (told.state, letter) {
                (State::DeadLettered, Some(letter)) if told.target.is_some() => next.push(format!(
                    "tidegate dlq show {letter}; when the cause is mended: tidegate dlq redrive --target {target} --dry-run"
                )),
                (State::DeadLettered, Some(letter)) => {
                    next.push(format!("tidegate dlq show {letter}; mend who publishes it"));
                }
                (State::HandedOff | State::Redriven, _) if late || told.state == State::Redriven => {
                    next.push(format!("it should have been tried again; tidegate status {destination} says what it waits for"));
                }
                (State::HandedOff, _) => next.push("nothing to do: it is tried again by itself".to_owned()),
                (State::DeadLettered | State::Redriven | State::Delivered | State::Unknown, _) => {}
            }
        }
        let open = self.rules.iter().any(|rule| rule.matched);
        if open && self.settled == Some(false) {
            next.push("not all of it has ended yet; tidegate status says what it waits for".to_owned());
        } else if open && self.deliveries.is_empty() && !self.filtered {
            let said = if hidden {
                "nothing is recorded of it: it was taken at once, or its records are gone; to record such deliveries \
                 too: trace.outcomes = \"all\""
            } else {
                "nothing is recorded of it (any more); what fails for good stands in tidegate dlq"
            };
            next.push(said.to_owned());
        }
        next.dedup();
        next
    }
}

/// A text of a record.
type Pick = for<'t> fn(&'t EventTrace<'static>) -> Option<&'t str>;

/// The first moment that a record tells of.
fn begin(trace: &EventTrace<'_>) -> Option<WallMs> {
    let first = trace.tried.first().map_or(&*trace.at, |attempt| &*attempt.at);
    WallMs::parse_rfc3339(first)
}

/// How people name a dead letter: without the topic if it is the usual one.
pub(super) fn letter(position: &str, usual: &str) -> String {
    let topic = position.rsplitn(3, ':').nth(2);
    if topic == Some(usual) { without_topic(position).to_owned() } else { position.to_owned() }
}

/// What tells deliveries of one event apart.
fn key(trace: &EventTrace<'_>) -> String {
    match &trace.delivery_id {
        Some(id) => id.to_string(),
        None => format!("{:?} {:?}", trace.code, trace.message),
    }
}

fn who(explained: &Explained) -> String {
    match &explained.target {
        Some(target) => format!("{}/{target}", explained.rule),
        None => explained.rule.to_string(),
    }
}

fn told(group: &[&EventTrace<'static>], explained: &[Explained], gone: bool) -> Told {
    let text = |pick: Pick| group.iter().find_map(|t| pick(t)).map(str::to_owned);
    let target = group.iter().find_map(|t| Some(format!("{}/{}", t.rule.as_deref()?, t.target.as_deref()?)));
    let mut steps: Vec<Step> = group.iter().flat_map(|trace| steps(trace)).collect();
    // Stable: what a record tells stays in its order.
    steps.sort_by_key(|step| WallMs::parse_rfc3339(&step.at));
    let last = group.iter().max_by_key(|trace| WallMs::parse_rfc3339(&trace.at));
    // Two records of the same moment: sent again only after it had died, and arrived only after it was sent.
    let arrived = group.iter().any(|trace| trace.outcome == "delivered");
    let state = match last.map(|trace| &*trace.outcome) {
        _ if arrived => State::Delivered,
        Some("handed_off") => State::HandedOff,
        Some("dead_lettered") => State::DeadLettered,
        Some(REDRIVEN) => State::Redriven,
        Some(_) | None => State::Unknown,
    };
    let failed = last.filter(|_| state != State::Delivered);
    let own = |text: Option<&str>| text.map(str::to_owned);
    let sent = steps.iter().filter(|step| matches!(step.what, What::Attempt { .. })).count();
    let counted = group.iter().map(|trace| trace.attempts).max().unwrap_or(0);
    Told {
        today: today(target.as_deref(), explained, gone),
        target,
        destination: text(|t| t.destination.as_deref()),
        delivery_id: text(|t| t.delivery_id.as_deref()),
        state,
        attempts: u32::try_from(sent).unwrap_or(u32::MAX).max(counted),
        code: failed.and_then(|trace| own(trace.code.as_deref())),
        message: failed.and_then(|trace| own(trace.message.as_deref())),
        dead_letter: failed.and_then(|trace| own(trace.dead_letter.as_deref())),
        due: failed.and_then(|trace| own(trace.due.as_deref())),
        steps,
    }
}

/// What has changed since: only a rule that is not as it was is worth a word.
fn today(target: Option<&str>, explained: &[Explained], gone: bool) -> Option<String> {
    let target = target.filter(|_| !gone)?;
    let rule = target.split('/').next().unwrap_or_default();
    let of_rule: Vec<&Explained> = explained.iter().filter(|e| e.rule.as_str() == rule).collect();
    match of_rule.as_slice() {
        [] => Some("this rule is gone".to_owned()),
        [one] if !one.matched => Some(format!("today's rule does not match: {}", one.reason)),
        some => match some.iter().find(|e| who(e) == target) {
            None => Some("today's rule has no such target".to_owned()),
            Some(e) => e.code.map(|code| format!("today's rule fails: {code} {}", e.reason)),
        },
    }
}

/// What a record tells, in order.
fn steps(trace: &EventTrace<'static>) -> Vec<Step> {
    let replica = trace.replica.as_deref().map(str::to_owned);
    let own = |text: &Option<std::borrow::Cow<'static, str>>| text.as_deref().map(str::to_owned);
    let attempt = |attempt: &Attempt<'static>| Step {
        at: attempt.at.to_string(),
        what: What::Attempt {
            took_ms: attempt.took_ms,
            status: attempt.status,
            class: attempt.class.to_string(),
            code: own(&attempt.code),
            message: own(&attempt.message),
            excerpt: own(&attempt.excerpt),
        },
        replica: replica.clone(),
    };
    let mut steps: Vec<Step> = trace.tried.iter().map(attempt).collect();
    let what = match &*trace.outcome {
        "delivered" if trace.tried.is_empty() => What::Delivered,
        "handed_off" => What::HandedOff { due: own(&trace.due), code: own(&trace.code) },
        "dead_lettered" => What::DeadLettered {
            dead_letter: own(&trace.dead_letter),
            code: own(&trace.code),
            message: own(&trace.message),
        },
        REDRIVEN => What::Redriven { dead_letter: own(&trace.dead_letter) },
        // Delivered by the last attempt, or of a later version.
        _ => return steps,
    };
    steps.push(Step { at: trace.at.to_string(), what, replica });
    steps
}
