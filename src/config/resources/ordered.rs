//! What targets that keep an order ask of their destinations: the rate must be shared by the replicas, for a delivery
//! in order never leaves the partition that it came from (delivery.md "Ordering").

use super::build;
use super::check::Checker;
use crate::model::fault::Place;
use crate::model::node::Node;
use crate::model::resources::{OnExhausted, Sharing, Target};
use std::collections::HashSet;

/// The destinations that targets of these rules send to in order.
pub(super) fn destinations(rules: Option<&Vec<Node>>) -> HashSet<String> {
    let targets = rules.into_iter().flatten().flat_map(|rule| build::items(rule.get("targets")));
    let ordered = targets.filter(|target| build::ordering(target).is_ordered());
    ordered.filter_map(|target| build::plain(target, "destination").map(str::to_owned)).collect()
}

/// Checks a target that is built of `node`; `pointer` is its own.
pub(super) fn check(target: &Target, node: &Node, pointer: &str, checker: &mut Checker<'_>) {
    let mut refuse = |key: &str, place: &Place, message: String, cure: String| {
        checker.fault("CONFIG_VALUE", &format!("{pointer}/{key}"), place, message, cure);
    };
    if !target.ordering.is_ordered() {
        if target.on_exhausted == OnExhausted::Hold {
            let message = "`on_exhausted: hold` means nothing without an order: nothing waits for a failed delivery";
            let cure = "write `ordering: key` or `ordering: partition`, or leave it out".to_owned();
            refuse("on_exhausted", &build::place_of(node, "on_exhausted"), message.to_owned(), cure);
        }
        return;
    }
    if target.destination.rate == Sharing::Exact {
        let name = &target.destination.name;
        let message = format!(
            "`ordering: {}` cannot go to `{name}`, whose `rate: exact` sends everything through a queue",
            target.ordering
        );
        let cure = format!("write `rate: shared` in the destination `{name}`, or leave `rate` out");
        refuse("ordering", &build::place_of(node, "ordering"), message, cure);
    }
}
