//! What targets say of their order, and what that asks of their destinations.

use super::{load, said};
use crate::config::resources::Context;
use crate::config::resources::check::Checker;
use crate::config::resources::ordered;
use crate::model::node::{Kind, Node};
use crate::model::resources::{Destination, OnExhausted, Ordering, Sharing};
use std::sync::Arc;

const CONNECTION: &str = "{kind: connection, name: c, url: https://h.example}\n---\n";

fn rule(targets: &str) -> String {
    format!("{{kind: rule, name: r, pattern: {{}}, targets: [{targets}]}}\n---\n")
}

#[test]
fn every_way_to_write_an_order() {
    let read = load(&format!(
        "{CONNECTION}{}{{kind: destination, name: d, connection: c}}",
        rule(
            "{name: a, destination: d}, {name: b, destination: d, ordering: none, on_exhausted: dead_letter}, \
             {name: e, destination: d, ordering: key, on_exhausted: hold}, \
             {name: f, destination: d, ordering: {key: $.data.customer}}, {name: g, destination: d, ordering: partition}"
        )
    ));
    assert_eq!(said(&read), Vec::<String>::new());
    let targets = &read.resources.rules[0].targets;
    let path = Some("$.data.customer".to_owned());
    let expected =
        [Ordering::None, Ordering::None, Ordering::Key { path: None }, Ordering::Key { path }, Ordering::Partition];
    assert_eq!(targets.iter().map(|t| t.ordering.clone()).collect::<Vec<_>>(), expected);
    let holds: Vec<bool> = targets.iter().map(|t| t.on_exhausted == OnExhausted::Hold).collect();
    assert_eq!(holds, [false, false, true, false, false]);
    let shown: Vec<String> = targets.iter().map(|t| t.ordering.to_string()).collect();
    assert_eq!(shown, ["none", "none", "key", "{key: $.data.customer}", "partition"]);
}

#[test]
fn the_destination_of_a_target_in_order_shares_its_rate() {
    let read = load(&format!(
        "{CONNECTION}{}{{kind: destination, name: free, connection: c}}\n---\n\
         {{kind: destination, name: ordered, connection: c}}\n---\n\
         {{kind: destination, name: written, connection: c, rate: shared}}",
        rule(
            "{name: a, destination: free}, {name: b, destination: ordered}, \
             {name: c, destination: ordered, ordering: partition}"
        )
    ));
    assert_eq!(said(&read), Vec::<String>::new());
    let rates: Vec<Sharing> = read.resources.destinations.iter().map(|d| d.rate).collect();
    assert_eq!(rates, [Sharing::Shared; 3]);
}

#[test]
fn an_exact_rate_and_an_order_exclude_each_other() {
    let read = load(&format!(
        "{CONNECTION}{}{{kind: destination, name: d, connection: c}}",
        rule("{name: a, destination: d, ordering: key}")
    ));
    let mut target = read.resources.rules[0].targets[0].clone();
    let exact = Destination { rate: Sharing::Exact, ..Destination::clone(&target.destination) };
    target.destination = Arc::new(exact);
    let context = Context::default();
    let mut checker = Checker::new(&context, false);
    ordered::check(&target, &Node::unplaced(Kind::Null), "/targets/0", &mut checker);
    let [fault] = checker.faults.as_slice() else { panic!("{:?}", checker.faults) };
    assert_eq!((fault.code, fault.pointer.as_str()), ("CONFIG_VALUE", "/targets/0/ordering"));
    assert!(fault.cure.contains("write `rate: shared` in the destination `d`"), "{}", fault.cure);
}
