//! Which partitions are ours, in which epoch, and what of them is committed. Pure: the poll thread owns it, asks what to
//! send and tells what was answered.
//!
//! Never here: a commit for a partition that is not ours, for an epoch that is over, or below what the same epoch has
//! committed already.

use super::identity::{self, Identities, Identity};
use super::partition::{Commit, Life, Queue, TopicPartition};
use super::turns::Standing;
use crate::model::clock::Monotonic;
use rdkafka::error::RDKafkaErrorCode;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

/// How long a partition whose commit Kafka refuses is left alone.
const REFUSED_PAUSE: Duration = Duration::from_secs(10);

/// An offset and its metadata, as committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The offset to read next.
    pub next_offset: i64,
    /// Its metadata: which topic it belongs to, and what is done above it.
    pub metadata: String,
}

/// Where a partition stands.
#[derive(Debug)]
pub(super) enum Phase {
    /// Its owner works on it.
    Running,
    /// Its first offset must be committed before its owner hears of it (`start: latest`).
    Starting(Box<Queue>),
    /// It waits for its queue to be dropped, to be read again from an offset that exists.
    Restarting,
    /// `on_missing: halt`, or nobody can read it: nothing is read until it is assigned anew.
    Halted {
        /// Why.
        why: String,
        /// When that happened.
        since: Monotonic,
    },
}

/// One of our partitions.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) epoch: u64,
    pub(super) phase: Phase,
    /// The owner has been told of it, so it must be told of its end.
    pub(super) told: bool,
    pub(super) life: Arc<Life>,
    /// Last known to be committed: read at the assignment, or answered.
    pub(super) committed: Option<Stored>,
    pub(super) pending: Option<Stored>,
    /// Commits of this epoch never go below it.
    floor: Option<i64>,
    /// Not fetched now, for more partitions are assigned than the budget allows at a time.
    pub(super) paused: bool,
    pub(super) standing: Standing,
    pub(super) skipped: u64,
    /// The end of the partition, as last heard.
    pub(super) high_watermark: Option<i64>,
    /// Commit it by itself: a joint commit met an error of a single partition, which librdkafka reports for all.
    alone: bool,
    /// No commit before this.
    not_before: Monotonic,
    /// What of the metadata the broker takes.
    takes: Takes,
    /// The topic that the offsets belong to, once it is known.
    pub(super) identity: Option<Identity>,
}

/// How much metadata a broker takes; it says so by refusing more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Takes {
    All,
    /// Not the map, which may be long.
    Claim,
    Nothing,
}

/// One element of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Which partition.
    pub at: TopicPartition,
    /// In which epoch.
    pub epoch: u64,
    /// What to commit.
    pub stored: Stored,
}

/// What an answered commit means (kafka.md "commit errors").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Saved; the coordinator knows us.
    Saved,
    /// The coordinator knows us; commit again later.
    Rebalancing,
    /// Normal in a rebalance; commit again after the next assignment.
    NotMember,
    /// Another process uses our `group.instance.id`, or the client has failed for good.
    Fenced,
    /// Something is wrong with a single partition.
    Refused,
    /// The metadata is too long for this broker.
    MetadataTooLong,
    /// Away, loading, timed out: commit again.
    Transient,
}

impl Answer {
    pub(super) fn of(code: RDKafkaErrorCode) -> Self {
        use RDKafkaErrorCode as E;
        #[allow(clippy::wildcard_enum_match_arm, reason = "not our enum, and it grows")]
        match code {
            E::NoError => Self::Saved,
            E::RebalanceInProgress => Self::Rebalancing,
            E::IllegalGeneration | E::UnknownMemberId | E::StaleMemberEpoch | E::FencedMemberEpoch => Self::NotMember,
            E::FencedInstanceId | E::Fatal => Self::Fenced,
            E::OffsetMetadataTooLarge => Self::MetadataTooLong,
            E::UnknownTopicOrPartition
            | E::UnknownTopic
            | E::UnknownPartition
            | E::TopicAuthorizationFailed
            | E::InvalidCommitOffsetSize => Self::Refused,
            _ => Self::Transient,
        }
    }
}

/// A new partition for the table.
#[derive(Debug)]
pub(super) struct New {
    pub(super) at: TopicPartition,
    pub(super) phase: Phase,
    pub(super) life: Arc<Life>,
    pub(super) committed: Option<Stored>,
    pub(super) pending: Option<Stored>,
    pub(super) start: Option<i64>,
}

/// The partitions that are ours.
#[derive(Debug, Default)]
pub(super) struct Table {
    entries: BTreeMap<TopicPartition, Entry>,
    epochs: u64,
}

impl Table {
    /// Enters a partition; a former entry is replaced, but if the owner knew of it, it still does. Returns its epoch.
    pub(super) fn insert(&mut self, new: New) -> u64 {
        self.epochs += 1;
        let known = self.entries.get(&new.at).is_some_and(|old| old.told);
        let told = known || matches!(new.phase, Phase::Running);
        let entry = Entry {
            epoch: self.epochs,
            told,
            phase: new.phase,
            life: new.life,
            committed: new.committed,
            pending: new.pending,
            floor: new.start,
            paused: false,
            standing: Standing::default(),
            skipped: 0,
            high_watermark: None,
            alone: false,
            not_before: Monotonic(0),
            takes: Takes::All,
            identity: None,
        };
        self.entries.insert(new.at, entry);
        self.epochs
    }

    pub(super) fn remove(&mut self, at: &TopicPartition) -> Option<Entry> {
        self.entries.remove(at)
    }

    pub(super) fn get(&self, at: &TopicPartition) -> Option<&Entry> {
        self.entries.get(at)
    }

    pub(super) fn get_mut(&mut self, at: &TopicPartition) -> Option<&mut Entry> {
        self.entries.get_mut(at)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&TopicPartition, &Entry)> {
        self.entries.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (&TopicPartition, &mut Entry)> {
        self.entries.iter_mut()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Takes in what a lane wants committed. False if the epoch is over or the offset goes back.
    pub(super) fn accept(&mut self, commit: Commit) -> bool {
        let Some(entry) = self.entries.get_mut(&commit.at) else { return false };
        entry.accept(commit)
    }

    /// What has changed and may be committed together; else one partition that must be committed alone.
    pub(super) fn due(&self, now: Monotonic) -> Vec<Item> {
        let dirty = |(at, entry): (&TopicPartition, &Entry)| {
            let item = entry.item(at)?;
            (now >= entry.not_before).then_some((entry.alone, item))
        };
        let (alone, together): (Vec<_>, Vec<_>) = self.entries.iter().filter_map(dirty).partition(|(alone, _)| *alone);
        let chosen =
            if together.is_empty() { alone.into_iter().take(1) } else { together.into_iter().take(usize::MAX) };
        chosen.map(|(_, item)| item).collect()
    }

    /// True if partitions wait to be committed one by one.
    pub(super) fn has_alone(&self, now: Monotonic) -> bool {
        self.entries.iter().any(|(at, e)| e.alone && now >= e.not_before && e.item(at).is_some())
    }

    /// A commit that says nothing new, to learn whether the coordinator still knows us.
    pub(super) fn evidence(&self) -> Option<Item> {
        self.entries.iter().find_map(|(at, entry)| {
            let stored = entry.committed.clone()?;
            (entry.not_before == Monotonic(0)).then(|| Item { at: at.clone(), epoch: entry.epoch, stored })
        })
    }

    /// All that is known to be committed, to be said again.
    pub(super) fn saved(&self) -> Vec<Item> {
        let item = |(at, entry): (&TopicPartition, &Entry)| {
            let stored = entry.committed.clone()?;
            Some(Item { at: at.clone(), epoch: entry.epoch, stored })
        };
        self.entries.iter().filter_map(item).collect()
    }

    /// A partition to ask after, if no commit is known of any.
    pub(super) fn any(&self) -> Option<(TopicPartition, u64)> {
        self.entries.iter().next().map(|(at, entry)| (at.clone(), entry.epoch))
    }

    /// Partitions of which it is not known what was committed before, and for which topic.
    pub(super) fn unclaimed(&self) -> Vec<TopicPartition> {
        let unclaimed = |e: &Entry| matches!(e.phase, Phase::Running) && e.identity.is_none() && e.committed.is_none();
        self.entries.iter().filter(|(_, e)| unclaimed(e)).map(|(at, _)| at.clone()).collect()
    }

    /// Takes in what is committed of partitions of which that was unknown.
    pub(super) fn remember(&mut self, committed: HashMap<TopicPartition, Option<Stored>>) {
        for (at, stored) in committed {
            if let Some(entry) = self.entries.get_mut(&at).filter(|entry| entry.committed.is_none()) {
                entry.committed = stored;
            }
        }
    }

    /// Takes in which topics there are now. Gives the partitions whose offsets belong to another topic than the one that
    /// has the name now, each with whether its owner knows of it: they are to be read again.
    pub(super) fn learn(&mut self, now: &Identities) -> Vec<(TopicPartition, bool)> {
        let mut recreated = Vec::new();
        for (at, entry) in &mut self.entries {
            let works = match entry.phase {
                Phase::Running | Phase::Starting(_) => true,
                // Restarting asks for itself; halted waits for somebody to decide.
                Phase::Restarting | Phase::Halted { .. } => false,
            };
            let Some(present) = now.of(&at.topic).filter(|_| works) else { continue };
            match entry.belongs_to(at, now) {
                Some(known) if known != present => {
                    entry.identity = Some(known);
                    entry.disown();
                    recreated.push((at.clone(), entry.told));
                }
                Some(_) | None if entry.identity.is_none() => entry.identify(at, present),
                Some(_) | None => {}
            }
        }
        recreated
    }

    /// Takes in the answer for one element of a commit that had `size` elements.
    pub(super) fn answered(&mut self, item: &Item, answer: Answer, size: usize, now: Monotonic) {
        let Some(entry) = self.entries.get_mut(&item.at).filter(|e| e.epoch == item.epoch) else { return };
        match answer {
            Answer::Saved => {
                if entry.pending.as_ref() == Some(&item.stored) {
                    entry.pending = None;
                }
                entry.committed = Some(item.stored.clone());
                entry.alone = false;
                entry.not_before = Monotonic(0);
            }
            Answer::Refused if size > 1 => entry.alone = true,
            Answer::Refused => {
                entry.alone = true;
                entry.not_before = now.plus(REFUSED_PAUSE);
            }
            Answer::MetadataTooLong => entry.shorten(),
            Answer::Rebalancing | Answer::NotMember | Answer::Fenced | Answer::Transient => {}
        }
    }
}

impl Entry {
    /// See [`Table::accept`].
    pub(super) fn accept(&mut self, commit: Commit) -> bool {
        if commit.epoch != self.epoch || self.floor.is_some_and(|floor| commit.next_offset < floor) {
            return false;
        }
        self.floor = Some(commit.next_offset);
        self.want(&commit.at, commit.next_offset, &commit.metadata);
        true
    }

    /// This is to be committed, as far as the broker takes it.
    fn want(&mut self, at: &TopicPartition, next_offset: i64, map: &str) {
        let claim = self.identity.as_ref().map(|identity| identity.claim(at, next_offset)).unwrap_or_default();
        let metadata = match self.takes {
            Takes::All => claim + map,
            Takes::Claim => claim,
            Takes::Nothing => String::new(),
        };
        self.pending = Some(Stored { next_offset, metadata });
    }

    /// Its offsets belong to this topic; a commit that does not say so is said again.
    pub(super) fn identify(&mut self, at: &TopicPartition, identity: Identity) {
        self.identity = Some(identity);
        if let Some(Stored { next_offset, metadata }) = self.pending.as_ref().or(self.committed.as_ref()).cloned() {
            self.want(at, next_offset, identity::split(&metadata).1);
        }
    }

    /// Nobody has committed where it begins: that is to be.
    pub(super) fn begin_at(&mut self, next_offset: i64) {
        self.pending = Some(Stored { next_offset, metadata: String::new() });
    }

    /// The topic that its offsets belong to, as far as anything says so.
    fn belongs_to(&self, at: &TopicPartition, now: &Identities) -> Option<Identity> {
        let claimed = || now.claimed(at, self.committed.as_ref()?);
        self.identity.clone().or_else(claimed)
    }

    /// Its topic is another one now: what was committed does not hold there.
    fn disown(&mut self) {
        self.phase = Phase::Restarting;
        self.committed = None;
        self.pending = None;
    }

    /// What to commit, if it differs from what is committed.
    pub(super) fn item(&self, at: &TopicPartition) -> Option<Item> {
        let stored = self.pending.clone().filter(|p| self.committed.as_ref() != Some(p))?;
        Some(Item { at: at.clone(), epoch: self.epoch, stored })
    }

    /// The broker has refused metadata as too long.
    fn shorten(&mut self) {
        self.takes = if self.takes == Takes::All { Takes::Claim } else { Takes::Nothing };
        if let Some(pending) = &mut self.pending {
            let keep = if self.takes == Takes::Claim { identity::split(&pending.metadata).0.len() } else { 0 };
            pending.metadata.truncate(keep);
        }
    }

    /// The queue has not been dropped yet.
    pub(super) fn queue_lives(&self) -> bool {
        Arc::strong_count(&self.life) > 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Monotonic = Monotonic(1_000_000_000);

    fn at(partition: i32) -> TopicPartition {
        TopicPartition::new("t", partition)
    }

    fn stored(next_offset: i64, metadata: &str) -> Stored {
        Stored { next_offset, metadata: metadata.to_owned() }
    }

    fn with(partitions: i32, committed: Option<i64>) -> Table {
        let mut table = Table::default();
        for p in 0..partitions {
            let committed = committed.map(|c| stored(c, ""));
            let start = committed.as_ref().map(|c| c.next_offset);
            let life = Arc::default();
            table.insert(New { at: at(p), phase: Phase::Running, life, committed, pending: None, start });
        }
        table
    }

    fn wish(table: &mut Table, partition: i32, next_offset: i64, metadata: &str) -> bool {
        let epoch = table.get(&at(partition)).map_or(0, |e| e.epoch);
        table.accept(Commit { at: at(partition), epoch, next_offset, metadata: metadata.to_owned() })
    }

    #[test]
    fn only_the_present_epoch_commits_and_never_backwards() {
        let mut table = with(1, Some(10));
        let old = table.get(&at(0)).unwrap().epoch;
        assert!(!wish(&mut table, 0, 9, ""));
        assert!(wish(&mut table, 0, 12, ""));
        assert!(!wish(&mut table, 0, 11, ""));
        let new = New {
            at: at(0),
            phase: Phase::Running,
            life: Arc::default(),
            committed: Some(stored(12, "")),
            pending: None,
            start: Some(3),
        };
        // Read again from an older offset, e.g. because the topic was cut: going back is right in a new epoch.
        assert!(table.insert(new) > old);
        assert!(!table.accept(Commit { at: at(0), epoch: old, next_offset: 50, metadata: String::new() }));
        assert!(wish(&mut table, 0, 4, ""));
        assert_eq!(table.due(NOW)[0].stored, stored(4, ""));
        assert!(!wish(&mut table, 7, 1, ""), "not ours");
    }

    #[test]
    fn a_grown_map_is_sent_although_the_offset_stands() {
        let mut table = with(2, Some(10));
        assert!(table.due(NOW).is_empty());
        assert!(wish(&mut table, 1, 10, "td1.a"));
        let due = table.due(NOW);
        assert_eq!((due.len(), &due[0].at, &due[0].stored), (1, &at(1), &stored(10, "td1.a")));
        table.answered(&due[0], Answer::Saved, 1, NOW);
        assert!(table.due(NOW).is_empty());
        assert_eq!(table.evidence().unwrap().stored, stored(10, ""));
    }

    #[test]
    fn what_changed_while_a_commit_was_on_its_way_is_sent_next() {
        let mut table = with(1, None);
        assert!(wish(&mut table, 0, 5, ""));
        let sent = table.due(NOW);
        assert!(wish(&mut table, 0, 6, ""));
        table.answered(&sent[0], Answer::Saved, 1, NOW);
        assert_eq!(table.due(NOW)[0].stored, stored(6, ""));
        for answer in [Answer::Rebalancing, Answer::NotMember, Answer::Transient, Answer::Fenced] {
            table.answered(&sent[0], answer, 1, NOW);
            assert_eq!(table.due(NOW).len(), 1);
        }
    }

    #[test]
    fn one_bad_partition_does_not_keep_the_others_from_being_saved() {
        let mut table = with(3, Some(0));
        for p in 0..3 {
            assert!(wish(&mut table, p, 5, ""));
        }
        // librdkafka reports the error of one partition for all of them.
        let sent = table.due(NOW);
        for item in &sent {
            table.answered(item, Answer::Refused, sent.len(), NOW);
        }
        let mut saved = Vec::new();
        while table.has_alone(NOW) {
            let due = table.due(NOW);
            assert_eq!(due.len(), 1);
            let bad = due[0].at == at(1);
            table.answered(&due[0], if bad { Answer::Refused } else { Answer::Saved }, 1, NOW);
            saved.extend((!bad).then_some(due[0].at.partition));
        }
        assert_eq!(saved, [0, 2]);
        // Later the bad one is tried again, by itself; the others go on together.
        assert!(wish(&mut table, 0, 6, "") && wish(&mut table, 2, 6, ""));
        assert_eq!(table.due(NOW).len(), 2);
        assert!(table.evidence().is_some_and(|item| item.at != at(1)));
        for item in table.due(NOW) {
            table.answered(&item, Answer::Saved, 2, NOW);
        }
        assert!(table.due(NOW).is_empty());
        let later = NOW.plus(REFUSED_PAUSE);
        assert_eq!(table.due(later)[0].at, at(1));
        table.answered(&table.due(later)[0].clone(), Answer::Saved, 1, later);
        assert!(table.due(later).is_empty() && !table.has_alone(later));
    }

    #[test]
    fn a_broker_that_takes_no_metadata_gets_none() {
        let mut table = with(1, Some(0));
        assert!(wish(&mut table, 0, 5, "td1.a"));
        let sent = table.due(NOW);
        table.answered(&sent[0], Answer::MetadataTooLong, 1, NOW);
        assert_eq!(table.due(NOW)[0].stored, stored(5, ""));
        assert!(wish(&mut table, 0, 6, "td1.b"));
        assert_eq!(table.due(NOW)[0].stored, stored(6, ""));
    }

    #[test]
    fn what_was_committed_is_asked_again_where_it_was_unknown() {
        let (old, new) = (Identities::test(&[("t", 1)]), Identities::test(&[("t", 2)]));
        let saved = stored(10, &old.of("t").unwrap().claim(&at(0), 10));
        for (now, recreated) in [(&old, 0), (&new, 1)] {
            let mut table = with(2, None);
            assert!(table.learn(&Identities::test(&[("u", 1)])).is_empty());
            assert_eq!(table.unclaimed(), [at(0), at(1)]);
            // Nothing was committed of the other one: it belongs to the topic that is there.
            table.remember([(at(0), Some(saved.clone())), (at(1), None)].into_iter().collect());
            assert_eq!(table.learn(now).len(), recreated);
            assert_eq!(table.get(&at(1)).unwrap().identity, now.of("t"));
            assert!(table.unclaimed().is_empty());
        }
    }

    #[test]
    fn what_is_too_long_is_shortened_to_the_claim_first() {
        let mut table = with(1, None);
        let now = Identities::test(&[("t", 1)]);
        assert!(table.learn(&now).is_empty());
        let claim = now.of("t").unwrap().claim(&at(0), 5);
        assert!(wish(&mut table, 0, 5, "td1.a"));
        for expected in [format!("{claim}td1.a"), claim, String::new()] {
            let sent = table.due(NOW);
            assert_eq!(sent[0].stored, stored(5, &expected));
            table.answered(&sent[0], Answer::MetadataTooLong, 1, NOW);
        }
    }

    #[test]
    fn a_commit_says_which_topic_it_is_for_and_does_not_hold_for_another() {
        let (old, new) = (Identities::test(&[("t", 1)]), Identities::test(&[("t", 2)]));
        let claim = |offset| old.of("t").unwrap().claim(&at(0), offset);
        let mut table = with(1, Some(10));
        // An older version has committed it: it counts for the topic that is there, and is said again with its claim.
        assert!(table.learn(&Identities::test(&[("u", 9)])).is_empty() && table.due(NOW).is_empty());
        assert!(table.learn(&old).is_empty());
        let due = table.due(NOW);
        assert_eq!(due[0].stored, stored(10, &claim(10)));
        table.answered(&due[0], Answer::Saved, 1, NOW);
        assert!(table.learn(&old).is_empty() && table.due(NOW).is_empty());
        assert!(wish(&mut table, 0, 12, "td1.a"));
        assert_eq!(table.due(NOW)[0].stored, stored(12, &(claim(12) + "td1.a")));
        assert_eq!(table.learn(&new), [(at(0), true)]);
        assert!(matches!(table.get(&at(0)).unwrap().phase, Phase::Restarting));
        assert!(table.due(NOW).is_empty() && table.evidence().is_none() && table.saved().is_empty());
        assert!(table.learn(&new).is_empty(), "said once");
    }

    #[test]
    fn a_claim_that_was_read_before_topics_were_known_counts() {
        let (old, new) = (Identities::test(&[("t", 1)]), Identities::test(&[("t", 2)]));
        for (now, recreated) in [(&old, 0), (&new, 1)] {
            let committed = stored(10, &old.of("t").unwrap().claim(&at(0), 10));
            let mut table = Table::default();
            let (phase, life) = (Phase::Running, Arc::default());
            table.insert(New { at: at(0), phase, life, committed: Some(committed), pending: None, start: Some(10) });
            assert_eq!(table.learn(now).len(), recreated);
            assert!(table.due(NOW).is_empty());
        }
    }

    #[test]
    fn answers_of_a_former_epoch_say_nothing() {
        let mut table = with(1, Some(0));
        assert!(wish(&mut table, 0, 5, ""));
        let sent = table.due(NOW);
        let phase = Phase::Running;
        table.insert(New { at: at(0), phase, life: Arc::default(), committed: None, pending: None, start: None });
        table.answered(&sent[0], Answer::Saved, 1, NOW);
        assert_eq!(table.get(&at(0)).unwrap().committed, None);
    }

    #[test]
    fn the_owner_goes_on_knowing_what_it_was_told() {
        let mut table = with(1, Some(0));
        let phase = Phase::Restarting;
        table.insert(New { at: at(0), phase, life: Arc::default(), committed: None, pending: None, start: None });
        assert!(table.get(&at(0)).unwrap().told);
    }

    #[test]
    fn answers_of_kafka_are_understood() {
        use RDKafkaErrorCode as E;
        for (code, answer) in [
            (E::NoError, Answer::Saved),
            (E::RebalanceInProgress, Answer::Rebalancing),
            (E::IllegalGeneration, Answer::NotMember),
            (E::UnknownMemberId, Answer::NotMember),
            (E::StaleMemberEpoch, Answer::NotMember),
            (E::FencedInstanceId, Answer::Fenced),
            (E::OffsetMetadataTooLarge, Answer::MetadataTooLong),
            (E::TopicAuthorizationFailed, Answer::Refused),
            (E::NotCoordinator, Answer::Transient),
            (E::CoordinatorNotAvailable, Answer::Transient),
        ] {
            assert_eq!(Answer::of(code), answer, "{code:?}");
        }
    }
}
