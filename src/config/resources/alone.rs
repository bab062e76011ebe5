//! Resources that stand in no file, under the very checks of those that do: one target with what it hangs on, or two
//! lists of `responses`. For `eval`, whose lines hold them one by one.

use super::keys::{CONNECTION, DESTINATION, RULE, Table};
use super::{Assembly, Context, Read, Written};
use crate::model::node::Node;
use std::collections::HashMap;

/// The nodes of a connection, a destination of it and, perhaps, a rule with one target there. Each is a whole resource
/// with its kind, its name and its references.
#[derive(Debug, Clone)]
pub struct Alone {
    /// The connection.
    pub connection: Node,
    /// The destination.
    pub destination: Node,
    /// The rule.
    pub rule: Option<Node>,
}

/// Checks resources that stand alone. The pointer of each fault begins with the noun of its resource: `/rule/targets/0`.
#[must_use]
pub fn read_alone(alone: Alone, context: &Context) -> Read {
    let mut assembly = Assembly::new(Written::default(), context);
    let Alone { connection, destination, rule } = alone;
    let resources: [(&'static Table, Option<Node>); 3] =
        [(&CONNECTION, Some(connection)), (&DESTINATION, Some(destination)), (&RULE, rule)];
    for (table, node) in resources {
        let Some(node) = node else { continue };
        let told = assembly.read.faults.len();
        assembly.add(table, node, &mut HashMap::new());
        for fault in assembly.read.faults.iter_mut().skip(told) {
            fault.pointer = format!("/{}{}", table.noun, fault.pointer);
        }
    }
    assembly.finish()
}
