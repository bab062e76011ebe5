//! `OffsetTracker`: which records of one partition, in one epoch, still owe something.
//!
//! The window is a queue of the records read, oldest first, that begins at the oldest record which still owes
//! something. Offsets between two records (compacted, transaction markers) owe nothing. Looking up an offset costs one
//! comparison where offsets are dense and a binary search where they are not.

use super::map::{self, Fingerprint, Scope};
use crate::model::record::Record;
use std::collections::VecDeque;
use std::ops::Range;

/// What a commit shall say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitState {
    /// The offset to read next: everything before it is done.
    pub next_offset: i64,
    /// The map of what is done above it; empty if nothing is.
    pub metadata: String,
}

/// The offsets of one partition in one epoch.
#[derive(Debug)]
pub struct OffsetTracker {
    /// Records from the oldest that owes something on; empty if none does.
    window: VecDeque<Entry>,
    /// One above the last record read.
    next: i64,
    /// What the map of an earlier epoch says is done at `next` or later; ascending.
    done_ahead: VecDeque<Range<i64>>,
    /// The map of an earlier epoch until the record at its base has been seen.
    unproven: Option<Unproven>,
    /// Records that still owe something.
    open: usize,
    revision: u64,
}

#[derive(Debug)]
struct Entry {
    offset: i64,
    fingerprint: Fingerprint,
    owed: u32,
}

#[derive(Debug)]
struct Unproven {
    fingerprint: Fingerprint,
    done: Vec<Range<i64>>,
    metadata: String,
}

impl OffsetTracker {
    /// Begins an epoch at the offset to read next, knowing nothing.
    #[must_use]
    pub fn new(next: i64) -> Self {
        Self { window: VecDeque::new(), next, done_ahead: VecDeque::new(), unproven: None, open: 0, revision: 0 }
    }

    /// Begins an epoch at a committed offset, with the metadata of that commit. A map in it counts only once the
    /// record at `base` has been read and is the one the map was made over; otherwise it is forgotten.
    /// `high_watermark` is the end of the partition, if known: a map that claims more is none.
    #[must_use]
    pub fn resume(scope: &Scope<'_>, base: i64, metadata: &str, high_watermark: Option<i64>) -> Self {
        let map = map::decode(scope, base, metadata);
        let map = map.filter(|map| {
            let end = map.done.last().map_or(base, |last| last.end);
            high_watermark.is_none_or(|high| end <= high)
        });
        let unproven =
            map.map(|map| Unproven { fingerprint: map.fingerprint, done: map.done, metadata: metadata.to_owned() });
        Self { unproven, ..Self::new(base) }
    }

    /// Whether an earlier epoch has finished this record: then it is admitted with nothing owed, and nothing is done
    /// with it. To be asked for every record in turn, from the first on.
    pub fn already_done(&mut self, record: &Record) -> bool {
        self.prove(record);
        let offset = record.position.offset;
        offset >= self.next && contains(self.done_ahead.iter(), offset)
    }

    /// Takes a record in, with the number of deliveries it owes; one that is already done owes none, whatever is said
    /// here. Offsets that were jumped over are done. `false` if the offset is below one that was read before: then
    /// nothing changes.
    pub fn admit(&mut self, record: &Record, owed: u32) -> bool {
        let owed = if self.already_done(record) { 0 } else { owed };
        let offset = record.position.offset;
        if offset < self.next {
            return false;
        }
        self.next = offset.saturating_add(1);
        while let Some(first) = self.done_ahead.front_mut() {
            if first.end > self.next {
                first.start = first.start.max(self.next);
                break;
            }
            self.done_ahead.pop_front();
        }
        // While nothing is open, done records need no place.
        if owed > 0 || !self.window.is_empty() {
            self.window.push_back(Entry { offset, fingerprint: fingerprint(record, owed), owed });
        }
        self.open += usize::from(owed > 0);
        self.revision += 1;
        true
    }

    /// One delivery of that record is done. `true` if it was the record's last. Offsets that owe nothing change
    /// nothing.
    pub fn complete_one(&mut self, offset: i64) -> bool {
        let Some(entry) = self.find(offset).and_then(|at| self.window.get_mut(at)) else { return false };
        if entry.owed == 0 {
            return false;
        }
        entry.owed -= 1;
        if entry.owed > 0 {
            return false;
        }
        self.open -= 1;
        self.revision += 1;
        while self.window.front().is_some_and(|first| first.owed == 0) {
            self.window.pop_front();
        }
        true
    }

    /// The next offset to commit: everything before it is done.
    #[must_use]
    pub fn watermark(&self) -> i64 {
        match (self.window.front(), self.done_ahead.front()) {
            (Some(first), _) => first.offset,
            // Need not be read to be done.
            (None, Some(ahead)) if ahead.start == self.next => ahead.end,
            (None, _) => self.next,
        }
    }

    /// What the next commit shall say. Costs time in proportion to the window: ask when a commit is due.
    #[must_use]
    pub fn commit_state(&self, scope: &Scope<'_>) -> CommitState {
        let next_offset = self.watermark();
        let metadata = match (&self.unproven, self.window.front()) {
            // Nothing has been read: what the last commit said still holds.
            (Some(unproven), _) => unproven.metadata.clone(),
            // Nothing that was read is open. What an earlier epoch did beyond the next open record is not said until
            // that one is read, for nothing could prove the map. That is a matter of milliseconds after a restart.
            (None, None) => String::new(),
            (None, Some(first)) => map::encode(scope, next_offset, first.fingerprint, &self.done_above()),
        };
        CommitState { next_offset, metadata }
    }

    /// Records between the watermark and the last one read: what a cap on the window counts.
    #[must_use]
    pub fn window_records(&self) -> usize {
        self.window.len()
    }

    /// Records that still owe something.
    #[must_use]
    pub fn open_records(&self) -> usize {
        self.open
    }

    /// The oldest record that still owes something.
    #[must_use]
    pub fn oldest_open(&self) -> Option<i64> {
        self.window.front().map(|first| first.offset)
    }

    /// Records ahead that an earlier epoch has finished and that have not been read yet.
    #[must_use]
    pub fn skippable(&self) -> u64 {
        let unproven = self.unproven.iter().flat_map(|unproven| unproven.done.iter());
        self.done_ahead.iter().chain(unproven).map(|range| range.end.abs_diff(range.start)).sum()
    }

    /// Changes whenever what a commit would say may have changed.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Compares the first record with the one the map was made over.
    fn prove(&mut self, record: &Record) {
        let Some(unproven) = self.unproven.take() else { return };
        if record.position.offset == self.next && Fingerprint::of(record) == unproven.fingerprint {
            self.done_ahead = unproven.done.into();
        }
    }

    fn find(&self, offset: i64) -> Option<usize> {
        let first = self.window.front()?.offset;
        // Offsets ascend, so a record stands at most as far from the front as its offset does.
        let guess = usize::try_from(offset.checked_sub(first)?).ok()?;
        let end = guess.min(self.window.len().checked_sub(1)?);
        if self.window.get(end)?.offset == offset {
            return Some(end);
        }
        let at = self.window.partition_point(|entry| entry.offset < offset);
        (self.window.get(at)?.offset == offset).then_some(at)
    }

    /// Ranges of offsets above the watermark that are done: between the open records, and ahead of the last record.
    fn done_above(&self) -> Vec<Range<i64>> {
        let open = || self.window.iter().filter(|entry| entry.owed > 0).map(|entry| entry.offset);
        let ends = open().skip(1).chain(std::iter::once(self.next));
        let between = open().zip(ends).map(|(open, end)| open.saturating_add(1)..end);
        let mut done: Vec<Range<i64>> = Vec::new();
        for range in between.chain(self.done_ahead.iter().cloned()).filter(|range| !range.is_empty()) {
            match done.last_mut() {
                Some(last) if last.end == range.start => last.end = range.end,
                Some(_) | None => done.push(range),
            }
        }
        done
    }
}

/// Only a record that owes something can be the one at the base of a map.
fn fingerprint(record: &Record, owed: u32) -> Fingerprint {
    if owed > 0 { Fingerprint::of(record) } else { Fingerprint::NONE }
}

fn contains<'a>(ranges: impl Iterator<Item = &'a Range<i64>>, offset: i64) -> bool {
    ranges.take_while(|range| range.start <= offset).any(|range| range.contains(&offset))
}
