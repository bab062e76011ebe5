//! What a group is doing, as its coordinator tells it. Pure.

/// What keeps the partitions of a group from being read, or that nothing does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Its members are joining: `PreparingRebalance`.
    Joining,
    /// They are about to learn which partitions are theirs: `CompletingRebalance`.
    Assigning,
    /// Nothing changes; or the coordinator says nothing of which we know.
    Settled,
}

/// A group at one moment. One of the protocol of KIP-848 looks as if it had no members: clients of classic groups are not
/// told of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Group {
    /// What it is doing.
    pub phase: Phase,
    /// Its members.
    pub members: usize,
    /// Those of them that have partitions.
    pub assigned: usize,
}

impl Group {
    /// From the state of a group as Kafka names it, and from what each member was assigned, as members of the consumer
    /// protocol write it.
    pub(super) fn new<'a>(state: &str, assignments: impl Iterator<Item = Option<&'a [u8]>>) -> Self {
        let phase = match state {
            "PreparingRebalance" => Phase::Joining,
            // `AwaitingSync` until Kafka 2.1.
            "CompletingRebalance" | "AwaitingSync" => Phase::Assigning,
            _ => Phase::Settled,
        };
        let (mut members, mut assigned) = (0, 0);
        for assignment in assignments {
            members += 1;
            assigned += usize::from(assignment.is_some_and(has_topics));
        }
        Self { phase, members, assigned }
    }
}

/// Whether an assignment names any topic: it is a version of two bytes, then the number of topics in four
/// (`ConsumerProtocolAssignment`).
fn has_topics(assignment: &[u8]) -> bool {
    assignment.get(2..6).is_some_and(|count| count != [0; 4])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_count_as_assigned_once_they_have_a_topic() {
        let with: &[u8] = b"\0\x01\0\0\0\x01\0\x01t\0\0\0\x01\0\0\0\0\xff\xff\xff\xff";
        let without: &[u8] = b"\0\x01\0\0\0\0\xff\xff\xff\xff";
        let group = |state| Group::new(state, [Some(with), Some(without), Some(&[][..]), None].into_iter());
        for (state, phase) in [
            ("PreparingRebalance", Phase::Joining),
            ("CompletingRebalance", Phase::Assigning),
            ("AwaitingSync", Phase::Assigning),
            ("Stable", Phase::Settled),
            ("Dead", Phase::Settled),
        ] {
            assert_eq!(group(state), Group { phase, members: 4, assigned: 1 }, "{state}");
        }
    }
}
