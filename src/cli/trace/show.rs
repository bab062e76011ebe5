//! A story as people read it.

use super::story::{Standing, State, Step, Story, Told, What, letter};
use crate::cli::outcomes::reason;
use crate::cli::since::age;
use crate::model::clock::WallMs;

/// The lines of a story.
pub(super) fn lines(story: &Story, usual: &str, now: WallMs) -> Vec<String> {
    let mut lines = vec![field("event", &event(story)), field("received", &received(story, now))];
    let day = story.received.as_deref().or(story.timestamp.as_deref()).or(first_moment(story));
    let day = day.and_then(|at| at.get(..10)).unwrap_or_default().to_owned();
    for told in &story.deliveries {
        lines.push(String::new());
        lines.push(head(told, &day, now));
        lines.extend(told.steps.iter().map(|step| format!("  {}", step_line(step, &day, usual))));
        lines.extend(told.today.iter().map(|today| format!("  {today}")));
    }
    if story.filtered {
        lines.push(String::new());
        lines.push("no rule matched".to_owned());
    }
    if !story.rules.is_empty() {
        lines.push(String::new());
        let width = story.rules.iter().map(|rule| rule.rule.chars().count()).max().unwrap_or(0);
        for rule in &story.rules {
            let verdict = match (rule.matched, rule.code) {
                (false, None) => format!("no match: {}", reason(&rule.reason)),
                (false, Some(code)) => format!("not decided: {code} {}", reason(&rule.reason)),
                (true, None) if story.settled == Some(false) => {
                    "matches; has not ended yet, as far as is recorded".to_owned()
                }
                (true, None) => "matches today; no delivery is recorded".to_owned(),
                (true, Some(code)) => format!("matches today, and fails: {code} {}", reason(&rule.reason)),
            };
            lines.push(format!("{:width$}  {verdict}", rule.rule));
        }
    }
    if !story.next.is_empty() {
        lines.push(String::new());
        lines.extend(story.next.iter().map(|next| field("next", next)));
    }
    lines
}

fn field(name: &str, text: &str) -> String {
    format!("{name:<8}  {text}")
}

fn first_moment(story: &Story) -> Option<&str> {
    story.deliveries.iter().flat_map(|told| &told.steps).map(|step| step.at.as_str()).next()
}

fn event(story: &Story) -> String {
    let Some(id) = &story.event else { return "not decoded".to_owned() };
    let kind = story.kind.as_deref().unwrap_or_default();
    let source = story.source.as_deref().map_or_else(String::new, |source| format!("  from {source}"));
    format!("{id}  {kind}{source}")
}

fn received(story: &Story, now: WallMs) -> String {
    let at = story.received.as_deref().or(story.timestamp.as_deref());
    let when = match (at, at.and_then(WallMs::parse_rfc3339)) {
        (Some(text), Some(at)) => format!("  {text} ({} ago)", age(now.since(at))),
        (Some(text), None) => format!("  {text}"),
        (None, _) => String::new(),
    };
    let standing = match story.record {
        Standing::Present => "",
        Standing::Gone => "; the record is gone (retention), so today's rules cannot be asked",
        Standing::Undecodable => "; the record cannot be decoded, so no rule sees it",
    };
    let settled = match story.settled {
        Some(false) => "; not settled yet",
        Some(true) | None => "",
    };
    format!("{}{when}{settled}{standing}", story.origin)
}

fn head(told: &Told, day: &str, now: WallMs) -> String {
    let who = match (&told.target, &told.destination) {
        (Some(target), Some(destination)) => format!("{target} → {destination}"),
        (Some(target), None) => target.clone(),
        (None, _) => "no delivery".to_owned(),
    };
    let times = match told.attempts {
        0 => String::new(),
        1 => ", 1 attempt".to_owned(),
        several => format!(", {several} attempts"),
    };
    let state = match told.state {
        State::Delivered => "delivered".to_owned(),
        State::HandedOff => match told.due.as_deref().map(|due| (due, WallMs::parse_rfc3339(due))) {
            Some((_, Some(due))) if due < now => format!("waits; was due {} ago", age(now.since(due))),
            Some((due, Some(at))) => format!("waits until {}, for {}", clock(due, day), age(at.since(now))),
            Some(_) | None => "waits".to_owned(),
        },
        State::DeadLettered => "dead letter".to_owned(),
        State::Redriven => "sent again, on its way".to_owned(),
        State::Unknown => "told by a later version".to_owned(),
    };
    format!("{who}: {state}{times}")
}

fn step_line(step: &Step, day: &str, usual: &str) -> String {
    let at = clock(&step.at, day);
    let dash = "-".to_owned();
    let text = match &step.what {
        What::Attempt { took_ms, status, code, message, excerpt, .. } => {
            let status = status.map_or(dash, |status| status.to_string());
            let mut line = format!("{status:<3}  {:>8}", format!("{took_ms} ms"));
            match code {
                None => line.push_str("  delivered"),
                Some(code) => line.push_str(&format!("  {code}")),
            }
            if let Some(text) = excerpt.as_deref().or(message.as_deref()).map(reason).filter(|text| !text.is_empty()) {
                line.push_str(&format!("  {text}"));
            }
            line
        }
        What::Delivered => "delivered".to_owned(),
        What::HandedOff { due, code } => {
            let until = due.as_deref().map_or_else(String::new, |due| format!(" until {}", clock(due, day)));
            let why = match code.as_deref() {
                Some("TARGET_UNKNOWN") => ": its target is not known to this replica",
                Some("GIVEN_AWAY") => ": its partition was given to another replica",
                Some(_) | None => "",
            };
            format!("into the retry tier{until}{why}")
        }
        What::DeadLettered { dead_letter, code, message } => {
            let place = dead_letter.as_deref().map(|at| letter(at, usual)).unwrap_or_default();
            let why = [code.as_deref().map(str::to_owned), message.as_deref().map(reason)];
            format!("dead letter {place}: {}", why.into_iter().flatten().collect::<Vec<_>>().join("  "))
        }
        What::Redriven { dead_letter } => {
            let place = dead_letter.as_deref().map(|at| letter(at, usual)).unwrap_or_default();
            format!("dead letter {place} sent again (redrive)")
        }
    };
    format!("{at}  {text}")
}

/// The time of day, with its date if that is another.
fn clock(at: &str, day: &str) -> String {
    let time = at.get(11..23).filter(|_| at.starts_with(day) && !day.is_empty());
    time.unwrap_or(at).to_owned()
}
