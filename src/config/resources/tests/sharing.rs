//! How replicas share limits: what is exact by itself, what is written, and what the limit of a connection asks of all
//! its destinations.

use super::{load, said};
use crate::model::resources::Sharing::{self, Exact, Shared};

/// A connection with these extra keys, and destinations with these.
fn text(connection: &str, destinations: &[&str]) -> String {
    let mut text = format!("{{kind: connection, name: c, url: https://h.example{connection}}}");
    for (n, keys) in destinations.iter().enumerate() {
        text.push_str(&format!("\n---\n{{kind: destination, name: d{n}, connection: c{keys}}}"));
    }
    text
}

#[track_caller]
fn check(connection: &str, destinations: &[(&str, Sharing)]) {
    let keys: Vec<&str> = destinations.iter().map(|(keys, _)| *keys).collect();
    let read = load(&text(connection, &keys));
    assert_eq!(said(&read), Vec::<String>::new());
    let found: Vec<Sharing> = read.resources.destinations.iter().map(|d| d.rate).collect();
    let expected: Vec<Sharing> = destinations.iter().map(|(_, sharing)| *sharing).collect();
    assert_eq!(found, expected, "{connection} {keys:?}");
}

#[test]
fn low_limits_are_exact_and_everything_else_is_shared() {
    check(
        "",
        &[
            ("", Shared),
            (", rate_limit: 1/h", Exact),
            (", rate_limit: 1000/s", Exact),
            (", rate_limit: 1001/s", Shared),
            (", rate_limit: 60000/min", Exact),
            (", rate_limit: 60001/min", Shared),
            // One limit that is too high for the queue decides, for every event would have to travel through it.
            (", rate_limit: [10/s, 2000/s]", Shared),
            (", rate_limit: [10/s, 1000/s]", Exact),
        ],
    );
}

#[test]
fn what_is_written_counts() {
    check(
        "",
        &[
            (", rate: exact", Exact),
            (", rate_limit: 5000/s, rate: exact", Exact),
            (", rate_limit: 5/s, rate: shared", Shared),
        ],
    );
}

#[test]
fn a_limited_connection_is_shared_by_all_its_destinations_in_one_way() {
    let low = ", rate_limit: 100/s";
    // Its limit is the limit of those that have none.
    check(low, &[("", Exact), (", rate_limit: 5/s", Exact), (", rate: exact", Exact)]);
    check(", rate_limit: 2000/s", &[("", Shared), (", rate_limit: 5/s", Shared)]);
    // One that has to share makes the others share.
    check(low, &[("", Shared), (", rate_limit: 5/s", Shared), (", rate: shared", Shared)]);
    check(low, &[("", Shared), (", rate_limit: 2000/s", Shared)]);
    // Not where the connection has no limit to share.
    check("", &[(", rate_limit: 5/s", Exact), (", rate: shared", Shared), (", rate_limit: 2000/s", Shared)]);
}

#[test]
fn an_order_makes_all_destinations_of_a_limited_connection_share() {
    let rule = "\n---\n{kind: rule, name: r, pattern: {}, targets: [{name: t, destination: d1, ordering: key}]}";
    for (connection, other) in [(", rate_limit: 100/s", Shared), ("", Exact)] {
        let keys = [", rate_limit: 5/s", ", rate_limit: 5/s"];
        let read = load(&(text(connection, &keys) + rule));
        assert_eq!(said(&read), Vec::<String>::new());
        let found: Vec<Sharing> = read.resources.destinations.iter().map(|d| d.rate).collect();
        assert_eq!(found, [other, Shared], "{connection}");
    }
}

#[test]
fn exact_beside_shared_on_a_limited_connection_is_refused_with_its_cure() {
    for other in [", rate: shared", ", rate_limit: 2000/s"] {
        let read = load(&text(", rate_limit: 100/s", &[", rate: exact", other]));
        let [fault] = read.faults.as_slice() else { panic!("{other}: {:?}", said(&read)) };
        assert_eq!((fault.code, fault.pointer.as_str()), ("CONFIG_VALUE", "/rate"));
        assert!(!fault.warning);
        assert_eq!(
            fault.message,
            "`rate: exact` cannot be, for another destination shares the limit of the connection `c`"
        );
        assert_eq!(fault.cure, "write `rate: exact` in all its destinations, or leave `rate` out");
        assert_eq!(fault.place.as_ref().map(|place| place.line), Some(3), "the line of `rate`");
    }
}
