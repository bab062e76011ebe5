//! A line: the way of what a member says to the coordinator of its group, in order; it goes on when the replica ends, for
//! what was sent was sent.

use crate::broker::{Broker, Link};
use crate::desk::SLOTS_GROUP;
use crate::time;
use std::cell::RefCell;
use std::sync::Arc;
use tidegate::kafka::{Answer, Item, TopicPartition};
use tokio::sync::mpsc;

/// What a member says to the coordinator, in order.
pub(crate) enum Said {
    Commit(Vec<Item>),
    GivenBack(Vec<TopicPartition>),
    Alive,
    Leave,
}

/// The way of what a member says to the coordinator.
pub(crate) struct Line {
    pub(crate) broker: Broker,
    pub(crate) link: Arc<Link>,
    pub(crate) group: Arc<str>,
    pub(crate) member: u64,
    pub(crate) answer: mpsc::UnboundedSender<Vec<(TopicPartition, i64, Answer)>>,
}

/// What a line carries.
pub(crate) type Carried = (Line, mpsc::UnboundedReceiver<Said>);

thread_local! {
    /// Where new lines are given to the outer set of tasks, which outlives a replica.
    pub(crate) static LINES: RefCell<Option<mpsc::UnboundedSender<Carried>>> = const { RefCell::new(None) };
}

/// Carries all lines.
pub(crate) async fn carry(mut lines: mpsc::UnboundedReceiver<Carried>) {
    while let Some((line, said)) = lines.recv().await {
        tokio::task::spawn_local(line.carry(said));
    }
}

impl Line {
    fn is_cut(&self) -> bool {
        self.link.is_cut(&self.group)
    }

    async fn carry(self, mut said: mpsc::UnboundedReceiver<Said>) {
        while let Some(said) = said.recv().await {
            let latency = self.broker.state().rng.u64(0..4);
            time::sleep_ms(latency).await;
            match said {
                Said::Commit(items) => self.commit(&items),
                Said::GivenBack(partitions) => {
                    // It is said again until it is heard, or nobody waits for it any more.
                    for _ in 0..300 {
                        if !self.is_cut() {
                            break;
                        }
                        time::sleep_ms(100).await;
                    }
                    let mut state = self.broker.state();
                    state.groups.get_mut(&*self.group).unwrap().given_back(self.member, &partitions);
                }
                Said::Alive => {
                    let mut state = self.broker.state();
                    let group = state.groups.get_mut(&*self.group).unwrap();
                    if !self.is_cut() && !group.hear(self.member) {
                        group.tell_lost(self.member);
                    }
                }
                Said::Leave => {
                    let mut state = self.broker.state();
                    let state = &mut *state;
                    state.groups.get_mut(&*self.group).unwrap().leave(self.member, &mut state.rng);
                }
            }
        }
    }

    fn commit(&self, items: &[Item]) {
        let answers = |answer| items.iter().map(|i| (i.at.clone(), i.stored.next_offset, answer)).collect::<Vec<_>>();
        let (answer, applies, late_ms) = {
            let mut state = self.broker.state();
            let troubled = time::ms() < state.committing.0 && state.rng.u8(0..100) < state.committing.1;
            let cut = self.is_cut();
            let mut group = state.groups.get_mut(&*self.group);
            let known = !cut && group.as_mut().is_none_or(|group| group.hear(self.member));
            let moving = group.is_some_and(|group| group.is_moving());
            if cut {
                (Answer::Transient, false, state.rng.u64(1_000..8_000))
            } else if !known {
                (Answer::NotMember, false, 0)
            } else if troubled {
                match state.rng.u8(0..4) {
                    0 => (Answer::Transient, false, 3_000),
                    1 => (Answer::Transient, true, 3_000),
                    2 if moving => (Answer::Rebalancing, false, 0),
                    2 => (Answer::NotMember, false, 0),
                    _ => (Answer::Saved, true, state.rng.u64(100..2_000)),
                }
            } else {
                (Answer::Saved, true, 0)
            }
        };
        self.broker.say(|| format!("commit of {} by member {}: {answer:?}", self.group, self.member));
        if applies {
            let mut state = self.broker.state();
            let state = &mut *state;
            for Item { at, stored, .. } in items {
                let owns = state.groups.get(&*self.group).map(|group| group.owns(self.member, at));
                if owns == Some(Some(false)) {
                    let what = format!("{} {at} was committed by a member that does not own it", self.group);
                    state.oracle.fail(time::ns(), what);
                }
                state.commit(&self.group, at, stored, owns.is_some() && &*self.group != SLOTS_GROUP);
            }
        }
        let (to, list) = (self.answer.clone(), answers(answer));
        if late_ms == 0 {
            drop(to.send(list));
        } else {
            tokio::task::spawn_local(async move {
                time::sleep_ms(late_ms).await;
                drop(to.send(list));
            });
        }
    }
}
