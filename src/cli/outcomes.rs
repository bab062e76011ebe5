//! What becomes of events, as the trace topic tells it: read as it comes, and one line for each that people can read.

use super::{Exit, Failure};
use crate::kafka::{self, ClientSettings, Reader};
use crate::model::stored::Topics;
use crate::pipeline::settle::EventTrace;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// How long the reading thread looks before it asks whether somebody still listens.
const LOOK: Duration = Duration::from_millis(100);

/// Outcomes that are read before somebody looks at them.
const READ_AHEAD: usize = 10_000;

/// The outcomes as they come.
#[derive(Debug)]
pub(super) struct Outcomes {
    traces: mpsc::Receiver<Result<EventTrace<'static>, kafka::Error>>,
    reading: JoinHandle<()>,
}

impl Outcomes {
    /// Notes the end of the trace topic and reads from there.
    ///
    /// # Errors
    /// There is no such topic; Kafka does not answer.
    pub(super) fn follow(client: &ClientSettings, topics: &Topics) -> Result<Self, Failure> {
        Self::follow_from(client, topics, kafka::From::End)
    }

    /// The same from another place on.
    ///
    /// # Errors
    /// There is no such topic; Kafka does not answer.
    pub(super) fn follow_from(client: &ClientSettings, topics: &Topics, from: kafka::From) -> Result<Self, Failure> {
        let topic = topics.trace();
        let reader = tokio::task::block_in_place(|| {
            let mut reader = Reader::open(client)?;
            reader.follow(&topic, from)?;
            Ok::<_, kafka::Error>(reader)
        });
        let mut reader = reader.map_err(missing)?;
        let (tell, traces) = mpsc::channel(READ_AHEAD);
        let reading = tokio::task::spawn_blocking(move || {
            while !tell.is_closed() {
                let told = match reader.wait(LOOK) {
                    Ok(None) => continue,
                    Ok(Some(record)) => match record.value().map(EventTrace::read) {
                        Some(Ok(trace)) => tell.blocking_send(Ok(trace)),
                        // Not of ours, or of a later version: nothing to tell.
                        Some(Err(_)) | None => continue,
                    },
                    Err(error) => tell.blocking_send(Err(error)),
                };
                if told.is_err() {
                    return;
                }
            }
        });
        Ok(Self { traces, reading })
    }

    /// The next outcome of whatever event, if one comes in time.
    ///
    /// # Errors
    /// Reading failed.
    pub(super) async fn next(&mut self, at_most: Duration) -> Result<Option<EventTrace<'static>>, Failure> {
        match tokio::time::timeout(at_most, self.traces.recv()).await {
            Ok(Some(trace)) => Ok(Some(trace?)),
            Ok(None) | Err(_) => Ok(None),
        }
    }

    /// An outcome that has been read already.
    ///
    /// # Errors
    /// Reading failed.
    pub(super) fn ready(&mut self) -> Result<Option<EventTrace<'static>>, Failure> {
        Ok(self.traces.try_recv().ok().transpose()?)
    }

    /// Stops reading.
    pub(super) async fn close(self) {
        let Self { traces, reading } = self;
        drop(traces);
        if let Err(error) = reading.await {
            tracing::debug!(%error, "reading outcomes ended early");
        }
    }
}

/// There is no trace topic, or Kafka does not answer.
pub(super) fn missing(error: kafka::Error) -> Failure {
    let kafka::Error::Topic { topic, .. } = error else { return error.into() };
    let message = format!(
        "topic `{topic}` does not exist, so nobody would tell what becomes of events\n \
         it is made when `tidegate run` or `dev` starts; is `kafka.prefix` the same there?"
    );
    Failure::new(Exit::Configuration, "TRACE_TOPIC", message)
}

/// Lines of outcomes, as `publish --wait`, `dlq redrive` and the live view print them, with their columns below each
/// other as far as they are known.
#[derive(Debug, Default)]
pub(super) struct Lines {
    who: usize,
}

impl Lines {
    /// One line on what became of a delivery, or of an event without any.
    pub(super) fn line(&mut self, trace: &EventTrace<'_>) -> String {
        let who = match (&trace.rule, &trace.target) {
            (Some(rule), Some(target)) => format!("{rule}/{target}"),
            _ => trace.event.as_deref().unwrap_or(&trace.origin).to_owned(),
        };
        self.who = self.who.max(who.chars().count());
        let what = match (&*trace.outcome, &trace.code, trace.status) {
            ("delivered", _, Some(status)) => format!("delivered {status}"),
            ("delivered" | "filtered", ..) | (_, None, _) => trace.outcome.to_string(),
            (_, Some(code), _) => code.to_string(),
        };
        let mut line = format!("{who:width$}  {what}", width = self.who);
        match &trace.message {
            Some(message) => line.push_str(&format!("  {}", reason(message))),
            None if trace.outcome == "filtered" => line.push_str("  no rule matches"),
            None => {}
        }
        match (&*trace.outcome, &trace.dead_letter) {
            ("dead_lettered", Some(position)) => line.push_str(&format!(" → dead letter {}", without_topic(position))),
            ("handed_off", _) => line.push_str(" → again later"),
            _ => {}
        }
        line
    }
}

/// `0:17` of `shop.orders:0:17`.
pub(super) fn without_topic(position: &str) -> &str {
    let mut colons = position.rmatch_indices(':').skip(1);
    colons.next().and_then(|(at, _)| position.get(at + 1..)).unwrap_or(position)
}

/// A message as a cell of a table: without quotes and without the remark in brackets at its end.
pub(super) fn reason(message: &str) -> String {
    let plain = message.replace('`', "");
    let short = match plain.rfind(" (") {
        Some(at) if plain.ends_with(')') => plain.get(..at).unwrap_or_default(),
        _ => &plain,
    };
    // One line, whatever an answer put into it.
    short.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_read_as_in_the_story() {
        let dead = EventTrace {
            rule: Some("build-on-paid".into()),
            target: Some("build".into()),
            outcome: "dead_lettered".into(),
            code: Some("TRANSFORM_MISSING".into()),
            message: Some("`$.data.branch` is absent (data has id, pipeline)".into()),
            dead_letter: Some("tidegate.dlq:0:0".into()),
            ..EventTrace::default()
        };
        let mut lines = Lines::default();
        assert_eq!(
            lines.line(&dead),
            "build-on-paid/build  TRANSFORM_MISSING  $.data.branch is absent → dead letter 0:0"
        );
        let delivered = EventTrace {
            rule: Some("r".into()),
            target: Some("t".into()),
            outcome: "delivered".into(),
            status: Some(201),
            ..EventTrace::default()
        };
        assert_eq!(lines.line(&delivered), "r/t                  delivered 201");
        let filtered = EventTrace { event: Some("e".into()), outcome: "filtered".into(), ..EventTrace::default() };
        assert_eq!(Lines::default().line(&filtered), "e  filtered  no rule matches");
        let undecodable = EventTrace { origin: "t:0:1".into(), rule: None, ..dead };
        assert!(Lines::default().line(&undecodable).starts_with("t:0:1  TRANSFORM_MISSING"));
    }

    #[test]
    fn a_reason_is_one_plain_line() {
        assert_eq!(reason("`$.a` is absent (data has id)"), "$.a is absent");
        assert_eq!(reason("422: first\n second (x) y"), "422: first second (x) y");
        assert_eq!(reason("(all)"), "(all)");
    }
}
