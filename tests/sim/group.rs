//! A consumer group, as its coordinator sees it: members, what each owns, who is to own it; partitions are taken away
//! and given back one by one, and whoever is silent for a session is out.

use crate::time;
use fastrand::Rng;
use std::collections::{BTreeMap, BTreeSet};
use tidegate::kafka::TopicPartition;
use tokio::sync::mpsc;

/// As `session.timeout.ms`.
pub(crate) const SESSION_MS: u64 = 15_000;

/// What a member is told.
#[derive(Debug)]
pub(crate) enum Told {
    /// These are yours.
    Assign(Vec<TopicPartition>),
    /// Give these back.
    Revoke(Vec<TopicPartition>),
    /// You are no member any more.
    Lost,
}

struct Member {
    replica: u32,
    /// As `group.instance.id`: whoever comes with the same one takes its place.
    instance: Option<u32>,
    inbox: mpsc::UnboundedSender<Told>,
    heard_ms: u64,
    owned: BTreeSet<TopicPartition>,
    revoking: BTreeSet<TopicPartition>,
}

/// A group.
#[derive(Default)]
pub(crate) struct Group {
    partitions: Vec<TopicPartition>,
    members: BTreeMap<u64, Member>,
    target: BTreeMap<TopicPartition, u64>,
    joined: u64,
    /// Who is out and does not know it yet.
    unaware: BTreeMap<u64, mpsc::UnboundedSender<Told>>,
}

impl Group {
    pub(crate) fn of(partitions: Vec<TopicPartition>) -> Self {
        Self { partitions, ..Self::default() }
    }

    /// A new member; its number. One with the instance of another takes over what that one has, and nobody else is asked.
    pub(crate) fn join(
        &mut self,
        (replica, instance): (u32, Option<u32>),
        inbox: mpsc::UnboundedSender<Told>,
        rng: &mut Rng,
    ) -> u64 {
        self.joined += 1;
        let number = self.joined;
        let before = self.members.iter().find(|(_, member)| instance.is_some() && member.instance == instance);
        let before = before.map(|(number, _)| *number);
        let (mut owned, revoking) = Default::default();
        if let Some(old) = before.and_then(|number| self.members.remove(&number)) {
            owned = old.owned;
            self.target.values_mut().filter(|target| Some(**target) == before).for_each(|target| *target = number);
            self.unaware.extend(before.map(|before| (before, old.inbox)));
            if !owned.is_empty() {
                drop(inbox.send(Told::Assign(owned.iter().cloned().collect())));
            }
        }
        self.members.insert(number, Member { replica, instance, inbox, heard_ms: time::ms(), owned, revoking });
        if before.is_some() {
            self.advance();
        } else {
            self.spread(rng, false);
        }
        number
    }

    /// Somebody is a member.
    pub(crate) fn has_members(&self) -> bool {
        !self.members.is_empty()
    }

    pub(crate) fn leave(&mut self, member: u64, rng: &mut Rng) {
        self.members.remove(&member);
        self.spread(rng, false);
    }

    /// A sign of life, a commit included; `false` if nobody knows the member.
    pub(crate) fn hear(&mut self, member: u64) -> bool {
        let known = self.members.get_mut(&member);
        known.map(|member| member.heard_ms = time::ms()).is_some()
    }

    /// Whether the member owns that partition; `None` if it is no member.
    pub(crate) fn owns(&self, member: u64, at: &TopicPartition) -> Option<bool> {
        self.members.get(&member).map(|member| member.owned.contains(at))
    }

    /// Whether a partition is being moved.
    pub(crate) fn is_moving(&self) -> bool {
        self.members.values().any(|member| !member.revoking.is_empty())
    }

    pub(crate) fn has(&self, replica: u32) -> bool {
        self.members.values().any(|member| member.replica == replica)
    }

    /// Puts out whoever was silent for too long. Their replicas.
    pub(crate) fn evict(&mut self, rng: &mut Rng) -> Vec<u32> {
        let now = time::ms();
        let silent = |(number, member): (&u64, &Member)| (now >= member.heard_ms + SESSION_MS).then_some(*number);
        let out: Vec<_> = self.members.iter().filter_map(silent).collect();
        let mut replicas = Vec::new();
        for number in &out {
            let Some(member) = self.members.remove(number) else { continue };
            replicas.push(member.replica);
            self.unaware.insert(*number, member.inbox);
        }
        if !out.is_empty() {
            self.spread(rng, false);
        }
        replicas
    }

    /// Says who is to own what: as before where that is fair, or with `anew` by chance.
    pub(crate) fn spread(&mut self, rng: &mut Rng, anew: bool) {
        let members: Vec<u64> = self.members.keys().copied().collect();
        if members.is_empty() {
            self.target.clear();
            return;
        }
        let fair = self.partitions.len().div_ceil(members.len());
        let mut load: BTreeMap<u64, usize> = members.iter().map(|member| (*member, 0)).collect();
        let mut homeless = Vec::new();
        let mut target = BTreeMap::new();
        for at in &self.partitions {
            let stays = self.target.get(at).filter(|member| load.get(member).is_some_and(|count| *count < fair));
            match stays.filter(|_| !anew) {
                Some(member) => {
                    *load.get_mut(member).unwrap() += 1;
                    target.insert(at.clone(), *member);
                }
                None => homeless.push(at.clone()),
            }
        }
        for at in homeless {
            let least = *load.values().min().unwrap();
            let poorest: Vec<u64> =
                load.iter().filter(|(_, count)| **count == least).map(|(member, _)| *member).collect();
            let member = poorest[rng.usize(0..poorest.len())];
            *load.get_mut(&member).unwrap() += 1;
            target.insert(at, member);
        }
        self.target = target;
        self.advance();
    }

    /// A member has given these back.
    pub(crate) fn given_back(&mut self, member: u64, partitions: &[TopicPartition]) {
        let Some(member) = self.members.get_mut(&member) else { return };
        for at in partitions {
            member.owned.remove(at);
            member.revoking.remove(at);
        }
        self.advance();
    }

    fn advance(&mut self) {
        let owners: BTreeMap<TopicPartition, u64> =
            self.members.iter().flat_map(|(number, m)| m.owned.iter().map(|at| (at.clone(), *number))).collect();
        let (mut assign, mut revoke) = (BTreeMap::<u64, Vec<_>>::new(), BTreeMap::<u64, Vec<_>>::new());
        for (at, target) in &self.target {
            match owners.get(at) {
                Some(owner) if owner == target => {}
                Some(owner) => {
                    if self.members.get_mut(owner).is_some_and(|member| member.revoking.insert(at.clone())) {
                        revoke.entry(*owner).or_default().push(at.clone());
                    }
                }
                None => {
                    if let Some(member) = self.members.get_mut(target) {
                        member.owned.insert(at.clone());
                        // An assignment is the answer to what the member asked, and begins its session anew.
                        member.heard_ms = time::ms();
                        assign.entry(*target).or_default().push(at.clone());
                    }
                }
            }
        }
        for (member, partitions) in revoke {
            drop(self.members[&member].inbox.send(Told::Revoke(partitions)));
        }
        for (member, partitions) in assign {
            drop(self.members[&member].inbox.send(Told::Assign(partitions)));
        }
    }

    /// Tells who said something that it is no member any more, once.
    pub(crate) fn tell_lost(&mut self, member: u64) {
        if let Some(inbox) = self.unaware.remove(&member) {
            drop(inbox.send(Told::Lost));
        }
    }
}
