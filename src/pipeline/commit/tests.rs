//! The laws of offsets and maps, over random histories (faults.md F01–F05).
#![allow(clippy::single_range_in_vec_init, reason = "lists of one range of offsets are meant as such")]

use super::map::{Fingerprint, MAX_METADATA_CHARS, Scope, decode, encode};
use super::tracker::{CommitState, OffsetTracker};
use crate::model::record::{Position, Record};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

const SCOPE: Scope<'static> = Scope { group: "tidegate.shop", topic: "shop.orders", partition: 3 };

fn record(offset: i64) -> Record {
    other_record(offset, 0)
}

fn other_record(offset: i64, salt: i64) -> Record {
    let position = Position { topic: Arc::from("shop.orders"), partition: 3, offset };
    let value = (offset + salt).to_string();
    Record::new(position, Some(1_000 + offset + salt), Some(b"k"), Some(value.as_bytes()), std::iter::empty())
}

fn head(base: i64) -> Fingerprint {
    Fingerprint::of(&record(base))
}

/// Ranges from gaps and lengths.
fn ranges(base: i64, steps: &[(i64, i64)]) -> Vec<Range<i64>> {
    let mut end = base;
    let step = steps.iter().map(|(gap, length)| {
        let start = end + gap;
        end = start + length;
        start..end
    });
    step.collect()
}

#[test]
fn counts_what_each_record_owes() {
    let mut tracker = OffsetTracker::new(10);
    assert_eq!(tracker.watermark(), 10);
    assert!(tracker.admit(&record(12), 2), "a gap at the start is done");
    assert_eq!((tracker.watermark(), tracker.oldest_open()), (12, Some(12)));
    assert!(tracker.admit(&record(13), 0));
    assert!(tracker.admit(&record(20), 1));
    assert!(!tracker.admit(&record(20), 1), "an offset comes once");
    assert!(!tracker.admit(&record(9), 1));
    assert_eq!((tracker.window_records(), tracker.open_records()), (3, 2));
    assert!(!tracker.complete_one(12));
    assert!(tracker.complete_one(12));
    assert!(!tracker.complete_one(12), "what owes nothing stays done");
    assert!(!tracker.complete_one(15), "a gap was never read");
    assert!(!tracker.complete_one(99));
    assert_eq!(tracker.watermark(), 20);
    let before = tracker.revision();
    assert!(tracker.complete_one(20));
    assert!(tracker.revision() > before);
    assert_eq!((tracker.watermark(), tracker.window_records(), tracker.open_records()), (21, 0, 0));
    assert!(tracker.admit(&record(21), 0));
    assert_eq!((tracker.watermark(), tracker.window_records()), (22, 0));
}

/// A fixed vector: maps outlive a release.
#[test]
fn the_format_is_fixed() {
    let text = encode(&SCOPE, 100, head(100), &[101..200, 210..211]);
    assert_eq!(text, "td1.AQAAAAAAAARMv540kAFjCgH1dxRT");
    let map = decode(&SCOPE, 100, &text).unwrap();
    assert_eq!((map.fingerprint, map.done), (head(100), vec![101..200, 210..211]));
    let dense: Vec<_> = (0..40).map(|i| 101 + 2 * i..102 + 2 * i).collect();
    let text = encode(&SCOPE, 100, head(100), &dense);
    assert_eq!(text, "td1.AAAAAAAAAARMv540kKqqqqqqqqqqqqpfKx_k");
    assert_eq!(decode(&SCOPE, 100, &text).unwrap().done, dense);
    assert_eq!(encode(&SCOPE, 100, head(100), &[]), "");
}

/// The head is stuck until the window is full (F02).
#[test]
fn a_stuck_head_keeps_what_is_done_above_it() {
    let mut tracker = OffsetTracker::new(0);
    for offset in 0..4_000 {
        tracker.admit(&record(offset), 1);
    }
    for offset in (1..4_000).step_by(3) {
        tracker.complete_one(offset);
    }
    assert_eq!((tracker.watermark(), tracker.window_records()), (0, 4_000));
    let CommitState { next_offset, metadata } = tracker.commit_state(&SCOPE);
    assert_eq!(next_offset, 0);
    assert!(metadata.is_ascii() && metadata.len() < 700, "{}", metadata.len());

    let mut later = OffsetTracker::resume(&SCOPE, 0, &metadata, Some(4_000));
    assert_eq!(later.skippable(), 1_333);
    let again = (0..4_000).filter(|offset| {
        let done = later.already_done(&record(*offset));
        later.admit(&record(*offset), u32::from(!done));
        !done
    });
    assert_eq!(again.count(), 4_000 - 1_333);
    assert_eq!(later.skippable(), 0);
    assert_eq!(later.commit_state(&SCOPE), CommitState { next_offset: 0, metadata });
}

#[test]
fn a_map_survives_until_its_records_are_read() {
    let mut first = OffsetTracker::new(5);
    for offset in 5..30 {
        first.admit(&record(offset), u32::from(offset != 7));
    }
    for offset in [6, 8, 9, 20, 21, 22] {
        first.complete_one(offset);
    }
    let written = first.commit_state(&SCOPE);

    let mut second = OffsetTracker::resume(&SCOPE, 5, &written.metadata, None);
    assert_eq!(second.commit_state(&SCOPE), written, "before anything is read it stands as it was");
    for offset in 5..12 {
        assert_eq!(second.already_done(&record(offset)), (6..10).contains(&offset), "{offset}");
        second.admit(&record(offset), u32::from(!(6..10).contains(&offset)));
    }
    let third = OffsetTracker::resume(&SCOPE, 5, &second.commit_state(&SCOPE).metadata, None);
    assert_eq!(third.skippable(), 4 + 3);
    second.complete_one(5);
    let CommitState { next_offset, metadata } = second.commit_state(&SCOPE);
    assert_eq!(next_offset, 10);
    assert_eq!(decode(&SCOPE, 10, &metadata).unwrap().done, [20..23]);
}

#[test]
fn what_was_done_needs_no_reading() {
    let metadata = encode(&SCOPE, 5, head(5), &[6..1_000, 1_001..1_005]);
    let mut tracker = OffsetTracker::resume(&SCOPE, 5, &metadata, None);
    assert_eq!(tracker.watermark(), 5);
    tracker.admit(&record(5), 1);
    assert_eq!(tracker.watermark(), 5);
    tracker.complete_one(5);
    assert_eq!(tracker.watermark(), 1_000);
    assert!(tracker.admit(&record(6), 9), "what is done owes nothing, whoever says so");
    assert_eq!((tracker.watermark(), tracker.open_records()), (1_000, 0));
    tracker.admit(&record(1_000), 1);
    assert_eq!(decode(&SCOPE, 1_000, &tracker.commit_state(&SCOPE).metadata).unwrap().done, [1_001..1_005]);
}

#[test]
fn a_map_over_another_record_is_forgotten() {
    let metadata = encode(&SCOPE, 5, head(5), &[6..10]);
    let read = |first: &Record| {
        let mut tracker = OffsetTracker::resume(&SCOPE, 5, &metadata, None);
        assert!(!tracker.already_done(first));
        tracker.admit(first, 1);
        tracker.already_done(&record(8))
    };
    assert!(read(&record(5)));
    assert!(!read(&other_record(5, 1)), "another record stands at the base");
    assert!(!read(&record(6)), "the record at the base is gone");
    // Asking is not needed for the proof.
    let mut tracker = OffsetTracker::resume(&SCOPE, 5, &metadata, None);
    tracker.admit(&record(5), 1);
    assert!(tracker.already_done(&record(6)));
}

/// F04 and F05, by example; the properties below go further.
#[test]
fn doubtful_metadata_is_no_map() {
    let good = encode(&SCOPE, 5, head(5), &[6..10]);
    assert!(decode(&SCOPE, 5, &good).is_some());
    let foreign: [(Scope<'_>, i64); 4] = [
        (Scope { group: "tidegate.sho", topic: "pshop.orders", ..SCOPE }, 5),
        (Scope { topic: "shop.order", ..SCOPE }, 5),
        (Scope { partition: 4, ..SCOPE }, 5),
        (SCOPE, 6),
    ];
    for (scope, base) in foreign {
        assert_eq!(decode(&scope, base, &good), None);
    }
    for text in ["", "td1.", "td2.AAAA", "{\"app\":1}", "é", &good[..good.len() - 1], &format!("{good}=")] {
        assert_eq!(decode(&SCOPE, 5, text), None, "{text}");
        assert_eq!(OffsetTracker::resume(&SCOPE, 5, text, None).skippable(), 0);
    }
    assert_eq!(OffsetTracker::resume(&SCOPE, 5, &good, Some(9)).skippable(), 0, "beyond the high watermark");
    assert_eq!(OffsetTracker::resume(&SCOPE, 5, &good, Some(10)).skippable(), 4);
    let last = i64::MAX - 1;
    let far = encode(&SCOPE, 5, head(5), &[last..i64::MAX]);
    assert_eq!(decode(&SCOPE, 5, &far).unwrap().done, [last..i64::MAX]);
}

/// What a right CRC does not excuse.
#[test]
fn well_signed_nonsense_is_no_map() {
    let good = BASE64_URL_SAFE_NO_PAD.decode(&encode(&SCOPE, 5, head(5), &[6..10])[4..]).unwrap();
    let sign = |encoding: u8, body: &[u8]| {
        let mut bytes = good[..13].to_vec();
        bytes[0] = encoding;
        bytes.extend_from_slice(body);
        let scope = [SCOPE.group.as_bytes(), b"\0", SCOPE.topic.as_bytes(), b"\0", &SCOPE.partition.to_be_bytes()];
        let signed = [&scope.concat(), &5i64.to_be_bytes()[..], &bytes].concat();
        bytes.extend_from_slice(&crc32c::crc32c(&signed).to_be_bytes());
        format!("td1.{}", BASE64_URL_SAFE_NO_PAD.encode(bytes))
    };
    assert!(decode(&SCOPE, 5, &sign(1, &[1, 4])).is_some());
    assert!(decode(&SCOPE, 5, &sign(0, &[0b10])).is_some());
    let endless = [0xff; 20];
    let most = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
    let cases: [(u8, &[u8]); 10] = [
        (2, &[1, 4]),
        (1, &[]),
        (0, &[]),
        (1, &[1]),
        (1, &[0, 4]),
        (1, &[1, 0]),
        (1, &[0x81, 0x00, 4]),
        (1, &endless),
        (1, &[&most[..], &most[..]].concat()),
        (0, &[0b11]),
    ];
    for (encoding, body) in cases {
        assert_eq!(decode(&SCOPE, 5, &sign(encoding, body)), None, "{encoding} {body:?}");
    }
    assert_eq!(decode(&SCOPE, 5, &sign(0, &[0b10, 0])), None, "a byte that says nothing");
}

#[derive(Debug, Clone)]
enum Step {
    Read { gap: i64, owed: u32 },
    Complete { pick: usize },
    CompleteUnknown { offset: i64 },
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (prop_oneof![8 => Just(0i64), 1 => 1..4i64, 1 => 1_000..1_000_000i64], 0..4u32)
            .prop_map(|(gap, owed)| Step::Read { gap, owed }),
        6 => any::<usize>().prop_map(|pick| Step::Complete { pick }),
        1 => (0..200i64).prop_map(|offset| Step::CompleteUnknown { offset }),
        1 => Just(Step::Restart),
    ];
    prop::collection::vec(step, 0..200)
}

proptest! {
    /// F01: over random orders, gaps, duplicates and restarts a commit never passes what is owed and never goes back,
    /// nothing that is owed is skipped after a restart, and what was done at the commit is not done again.
    #[test]
    fn commits_never_lie(start in 0..50i64, steps in steps()) {
        let mut tracker = OffsetTracker::new(start);
        // The log as it is: offset → deliveries of the record; and what they owe in truth.
        let mut log: BTreeMap<i64, u32> = BTreeMap::new();
        let mut owed: BTreeMap<i64, u32> = BTreeMap::new();
        let (mut next, mut committed) = (start, start);
        // A commit may be unable to say what was done beyond an open record that was not read.
        let mut forgetful = false;
        for step in steps {
            match step {
                Step::Read { gap, owed: count } => {
                    let again = log.range(next..).next().map(|(offset, count)| (*offset, *count));
                    let (offset, count) = again.unwrap_or((next + gap, count));
                    let done = tracker.already_done(&record(offset));
                    let truth = again.is_some() && !owed.contains_key(&offset);
                    prop_assert!(done == truth || (truth && forgetful), "offset {}", offset);
                    let admitted = tracker.admit(&record(offset), if done { 0 } else { count });
                    prop_assert!(admitted);
                    log.insert(offset, count);
                    if !done && count > 0 {
                        // A record that was partly done starts over.
                        owed.insert(offset, count);
                    }
                    next = offset + 1;
                }
                Step::Complete { pick } => {
                    let read: Vec<_> = owed.range(..next).map(|(offset, left)| (*offset, *left - 1)).collect();
                    let Some(&(offset, left)) = read.get(pick % read.len().max(1)) else { continue };
                    prop_assert_eq!(tracker.complete_one(offset), left == 0);
                    if left == 0 { owed.remove(&offset); } else { owed.insert(offset, left); }
                }
                Step::CompleteUnknown { offset } => {
                    if !owed.contains_key(&offset) {
                        prop_assert!(!tracker.complete_one(offset));
                    }
                }
                Step::Restart => {
                    let state = tracker.commit_state(&SCOPE);
                    forgetful |= tracker.skippable() > 0 && state.metadata.is_empty();
                    let end = log.keys().last().map_or(start, |last| last + 1);
                    tracker = OffsetTracker::resume(&SCOPE, state.next_offset, &state.metadata, Some(end));
                    next = state.next_offset;
                }
            }
            let watermark = tracker.watermark();
            prop_assert!(watermark >= committed);
            committed = watermark;
            let first = owed.keys().next().copied();
            prop_assert!(first.is_none_or(|first| watermark <= first));
            prop_assert_eq!(tracker.oldest_open(), first.filter(|first| *first < next));
            prop_assert_eq!(tracker.open_records(), owed.range(..next).count());
            if tracker.open_records() > 0 {
                prop_assert_eq!(Some(watermark), first);
            } else {
                prop_assert!(watermark >= next);
            }
            let state = tracker.commit_state(&SCOPE);
            prop_assert_eq!(state.next_offset, watermark);
            if let Some(map) = decode(&SCOPE, watermark, &state.metadata) {
                for offset in owed.keys() {
                    prop_assert!(!map.done.iter().any(|range| range.contains(offset)));
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// F03: what is written comes back, whole if it fits, else a beginning of it.
    #[test]
    fn maps_come_back(
        base in 0..i64::MAX / 2,
        steps in prop_oneof![
            prop::collection::vec((1..4i64, 1..4i64), 1..20),
            prop::collection::vec((1..3i64, 1..3i64), 8_000..9_000),
            prop::collection::vec((1..100_000i64, 1..100_000i64), 1_000..1_600),
            prop::collection::vec((1..1i64 << 50, 1..1i64 << 50), 1..300),
        ],
    ) {
        let done = ranges(base, &steps);
        let text = encode(&SCOPE, base, head(base), &done);
        prop_assert!(text.len() <= MAX_METADATA_CHARS && text.is_ascii());
        let map = decode(&SCOPE, base, &text).unwrap();
        prop_assert_eq!(map.fingerprint, head(base));
        let read = map.done.len();
        prop_assert_eq!(&map.done[..read - 1], &done[..read - 1]);
        prop_assert_eq!(map.done[read - 1].start, done[read - 1].start);
        prop_assert!(map.done[read - 1].end <= done[read - 1].end);
        if text.len() < MAX_METADATA_CHARS - 30 {
            prop_assert_eq!(map.done, done);
        }
    }

}

proptest! {
    /// F04: a map that was changed anywhere is no map, and any text can be read.
    #[test]
    fn changed_maps_are_ignored(
        steps in prop::collection::vec((1..300i64, 1..300i64), 1..10),
        at: prop::sample::Index,
        change in prop_oneof![Just(None), any::<char>().prop_map(Some)],
        other in "(td1\\.)?[A-Za-z0-9_é-]{0,60}",
    ) {
        let good = encode(&SCOPE, 7, head(7), &ranges(7, &steps));
        let at = at.index(good.len());
        let mut bad = good[..at].to_owned();
        if let Some(change) = change {
            bad.push(change);
            bad.push_str(&good[at + 1..]);
        }
        prop_assume!(bad != good);
        prop_assert_eq!(decode(&SCOPE, 7, &bad), None);
        prop_assert_eq!(decode(&SCOPE, 7, &other), None);
    }

    /// F05: a map counts for its base only, and not beyond the end of the partition.
    #[test]
    fn maps_of_elsewhere_are_ignored(
        base in 0..1_000i64,
        other in 0..1_000i64,
        steps in prop::collection::vec((1..300i64, 1..300i64), 1..10),
        short in 1..100i64,
    ) {
        prop_assume!(base != other);
        let done = ranges(base, &steps);
        let text = encode(&SCOPE, base, head(base), &done);
        prop_assert_eq!(decode(&SCOPE, other, &text), None);
        let end = done.last().unwrap().end;
        prop_assert_eq!(OffsetTracker::resume(&SCOPE, base, &text, Some(end - short)).skippable(), 0);
        prop_assert!(OffsetTracker::resume(&SCOPE, base, &text, Some(end)).skippable() > 0);
    }
}
