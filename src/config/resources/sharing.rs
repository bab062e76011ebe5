//! How the replicas share the limits of a destination, where `rate` does not say it: exactly, through the destination's
//! queue, if all its limits and those of its connection are low enough for that (delivery.md "Rate and concurrency").
//!
//! The destinations of a limited connection share its limit, so all of them do it in the same way: if one of them must
//! be shared, so are the others.

use super::build;
use super::check::Checker;
use crate::model::node::Node;
use crate::model::resources::{Connection, RateLimit, Sharing};
use std::collections::HashSet;

/// Limits up to this many requests per second are exact by default.
const EXACT_PER_SECOND: f64 = 1_000.0;

fn is_high(limits: &[RateLimit]) -> bool {
    limits.iter().any(|limit| limit.rate.per_second() > EXACT_PER_SECOND)
}

/// The connections of which some destination has to share its rate; `ordered` are the destinations of targets in order.
pub(super) fn connections(destinations: Option<&Vec<Node>>, ordered: &HashSet<String>) -> HashSet<String> {
    let shares = |node: &&Node| match build::plain(node, "rate") {
        Some(written) => written != "exact",
        None => {
            let limits = node.get("rate_limit").and_then(build::rate_limits).unwrap_or_default();
            is_high(&limits) || build::plain(node, "name").is_some_and(|name| ordered.contains(name))
        }
    };
    let sharing = destinations.into_iter().flatten().filter(shares);
    sharing.filter_map(|node| build::plain(node, "connection").map(str::to_owned)).collect()
}

/// How a destination with these limits is shared; `node` is what is written of it, `others` says that another
/// destination of its connection has to be shared.
pub(super) fn decide(
    node: &Node,
    own: &[RateLimit],
    connection: &Connection,
    others: bool,
    checker: &mut Checker<'_>,
) -> Sharing {
    let others = others && !connection.rate_limits.is_empty();
    match build::plain(node, "rate") {
        Some("exact") => {
            if others {
                let name = &connection.name;
                let message = format!(
                    "`rate: exact` cannot be, for another destination shares the limit of the connection `{name}`"
                );
                let cure = "write `rate: exact` in all its destinations, or leave `rate` out".to_owned();
                checker.fault("CONFIG_VALUE", "/rate", &build::place_of(node, "rate"), message, cure);
            }
            Sharing::Exact
        }
        Some(_) => Sharing::Shared,
        None => {
            let limits = || own.iter().chain(&connection.rate_limits);
            let low = limits().count() > 0 && !is_high(own) && !is_high(&connection.rate_limits);
            if low && !others { Sharing::Exact } else { Sharing::Shared }
        }
    }
}
