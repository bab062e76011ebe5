//! Of the contract: destinations and connections.

use super::{BREAKER_STATES, DESTINATION_HOLDS, HTTP, Metric, Read, TOKEN_STATES, is_held, metric, with};
use crate::model::clock::WallMs;
use crate::model::stored::PARTS;
use crate::telemetry::figures::destination::WAITS;
use crate::telemetry::metrics::instruments::Sample;
use crate::telemetry::state::Destination;

/// How long requests take.
pub(in crate::telemetry::metrics) const REQUEST_DURATION: &str = "http.client.request.duration";

/// Requests take from a millisecond to five minutes, the longest `timeout`.
const REQUEST_SECONDS: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];

pub(super) static METRICS: &[Metric] = &[
    metric(
        REQUEST_DURATION,
        "http_client_request_duration_seconds",
        "s",
        HTTP,
        "Time of an attempt from dialling or sending to the end of the answer.",
        Read::Recorded(REQUEST_SECONDS),
    ),
    metric(
        "http.client.active_requests",
        "http_client_active_requests",
        "{request}",
        HTTP,
        "Requests in flight, dialling included.",
        Read::Level(|sample, tell| {
            for measured in &sample.destinations {
                let found = sample.state.destinations.iter().find(|destination| destination.name == measured.name);
                let in_flight = found.map_or(0, |destination| u64::from(destination.in_flight));
                tell(in_flight, &[&measured.name, &measured.method, &measured.host, &measured.port]);
            }
        }),
    ),
    metric(
        "tidegate.destination.waiting",
        "tidegate_destination_waiting",
        "{delivery}",
        &["destination"],
        "Deliveries that wait to be sent.",
        Read::Level(|sample, tell| destinations(sample, |at, labels| tell(at.waiting, labels))),
    ),
    metric(
        "tidegate.destination.queue.depth",
        "tidegate_destination_queue_depth",
        "{delivery}",
        &["destination"],
        "Deliveries that wait in the queue of the destination, told by the replica that owns its slot.",
        Read::Level(|sample, tell| destinations(sample, |at, labels| tell(at.queued, labels))),
    ),
    metric(
        "tidegate.destination.queue.age",
        "tidegate_destination_queue_age_seconds",
        "s",
        &["destination"],
        "How long the first delivery in the queue of the destination has waited there; 0 if it is empty.",
        Read::Ratio(|sample, tell| {
            let at_ms = sample.state.at_ms;
            destinations(sample, |at, labels| {
                let since = at.queued_since_ms.filter(|_| at.queued > 0).unwrap_or(at_ms);
                tell(WallMs(at_ms).since(WallMs(since)).as_secs_f64(), labels);
            });
        }),
    ),
    metric(
        "tidegate.destination.wait.time",
        "tidegate_destination_wait_time_seconds_total",
        "s",
        &["destination", "reason"],
        "Time in which deliveries waited, summed over workers, by what for: rate, no_share, gate, token, breaker, hold, connection (being dialled), concurrency, fence.",
        Read::Time(|sample, tell| {
            for measured in &sample.destinations {
                for wait in WAITS {
                    let waited = measured.figures.waited(wait, sample.now);
                    tell(waited.as_secs_f64(), &[&measured.name, wait.as_str()]);
                }
            }
        }),
    ),
    metric(
        "tidegate.destination.concurrency.limit",
        "tidegate_destination_concurrency_limit",
        "{request}",
        &["destination"],
        "Requests that may be in flight now; adapts itself.",
        Read::Level(|sample, tell| destinations(sample, |at, labels| tell(u64::from(at.concurrency_limit), labels))),
    ),
    metric(
        "tidegate.destination.rate.share",
        "tidegate_destination_rate_share_ratio",
        "1",
        &["destination"],
        "This replica's share of the destination's rate limits.",
        Read::Ratio(|sample, tell| {
            destinations(sample, |at, labels| tell(f64::from(at.share) / f64::from(PARTS), labels))
        }),
    ),
    metric(
        "tidegate.destination.breaker.state",
        "tidegate_destination_breaker_state",
        "{state}",
        &["destination", "state"],
        "1 for the state the circuit breaker is in: closed, open, half_open, incident.",
        Read::Level(|sample, tell| {
            destinations(sample, |at, labels| {
                for state in BREAKER_STATES {
                    tell(u64::from(at.breaker == state), &with(labels, state));
                }
            });
        }),
    ),
    metric(
        "tidegate.destination.held",
        "tidegate_destination_held",
        "{hold}",
        &["destination", "reason"],
        "1 while nothing is sent for that reason: manual, gone (410), dlq_budget, overload, token, breaker, incident, no_share.",
        Read::Level(|sample, tell| {
            destinations(sample, |at, labels| {
                for reason in DESTINATION_HOLDS {
                    tell(u64::from(is_held(at.held.as_ref(), reason)), &with(labels, reason));
                }
            });
        }),
    ),
    metric(
        "tidegate.connection.token.state",
        "tidegate_connection_token_state",
        "{state}",
        &["connection", "state"],
        "1 for the state of the connection's token: missing, valid, expired, failing.",
        Read::Level(|sample, tell| {
            for connection in &sample.state.connections {
                if let Some(token) = &connection.token {
                    for state in TOKEN_STATES {
                        tell(u64::from(token.state == state), &[&connection.name, state]);
                    }
                }
            }
        }),
    ),
    metric(
        "tidegate.connection.token.fetches",
        "tidegate_connection_token_fetches_total",
        "{token}",
        &["connection"],
        "Tokens fetched.",
        Read::Count(|sample, tell| {
            for connection in &sample.state.connections {
                if let Some(token) = &connection.token {
                    tell(token.fetched, &[&connection.name]);
                }
            }
        }),
    ),
    metric(
        "tidegate.connection.token.failures",
        "tidegate_connection_token_failures_total",
        "{token}",
        &["connection"],
        "Tokens that could not be fetched.",
        Read::Count(|sample, tell| {
            for connection in &sample.state.connections {
                if let Some(token) = &connection.token {
                    tell(token.failures, &[&connection.name]);
                }
            }
        }),
    ),
];

fn destinations(sample: &Sample, mut each: impl FnMut(&Destination, &[&str])) {
    for destination in &sample.state.destinations {
        each(destination, &[&destination.name]);
    }
}
