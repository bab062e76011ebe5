//! Decisions as a table and as laws; records byte for byte.

use super::*;
use crate::model::clock::WallMs;
use crate::model::event::{Builder, CloudEvent, Form};
use crate::model::outcome::{Class, Report, Settlement};
use crate::model::record::{OutRecord, Position, Record};
use crate::model::resources::{Delay, OnExhausted, RetryPolicy};
use crate::model::stored::{Address, StoredHeaders, TIERS, Topics, UNKNOWN_TARGETS, delivery_id, sha256};
use bytes::Bytes;
use proptest::prelude::*;
use std::sync::Arc;
use std::time::Duration;

const T0: WallMs = WallMs(1_700_000_000_000);
const SECOND: Duration = Duration::from_secs(1);
const RELAXED: Room = Room { relaxed: true, sick: None };

fn report(class: Class, retry_after: Option<Duration>) -> Report {
    Report {
        class,
        code: "DELIVER_STATUS",
        status: Some(503),
        message: "api.example answered 503".into(),
        excerpt: "busy".into(),
        retry_after,
        wait: None,
        sent: Some(T0),
        took: SECOND,
    }
}

fn history(attempts: u32, age: Duration, attempts_here: u32, here: Duration) -> (History, WallMs) {
    let now = T0.plus(age);
    let first_attempt_here = WallMs(now.0 - i64::try_from(here.as_millis()).unwrap());
    (History { attempts, first_attempt: T0, attempts_here, first_attempt_here }, now)
}

fn exact(seconds: u64) -> RetryPolicy {
    let delay = Delay::Exact { first: Duration::from_secs(seconds), max: Duration::from_secs(600) };
    RetryPolicy { delay, ..RetryPolicy::default() }
}

#[test]
fn decisions() {
    use Class::{Ambiguous, Incident, Overload, Reject, Success, Transient};
    let day = Duration::from_secs(86_400);
    let policy = exact(1);
    let stay = |seconds| Next::RetryInMemory { after: Duration::from_secs(seconds) };
    let dead = |exhausted| Next::DeadLetter { exhausted };
    let due = |age: Duration, seconds| Next::Tier { due: T0.plus(age).plus(Duration::from_secs(seconds)) };
    let minute = Duration::from_secs(60);
    // class, Retry-After, attempts, age, attempts here, time here, room → next
    let cases = [
        (Success, None, 1, SECOND, 1, SECOND, true, Next::Delivered),
        (Success, None, 999, day * 9, 1, SECOND, false, Next::Delivered),
        (Reject, None, 1, SECOND, 1, SECOND, true, dead(None)),
        (Transient, None, 1, SECOND, 1, SECOND, true, stay(1)),
        (Ambiguous, None, 2, SECOND, 2, SECOND, true, stay(2)),
        (Overload, Some(SECOND * 3), 1, SECOND, 1, SECOND, true, stay(3)),
        (Incident, None, 1, SECOND, 1, SECOND, true, Next::Queue),
        // Three attempts, five seconds, half a window.
        (Transient, None, 3, SECOND, 3, SECOND, true, due(SECOND, 4)),
        (Transient, None, 2, SECOND * 4, 2, SECOND * 4, true, due(SECOND * 4, 2)),
        (Transient, None, 1, SECOND, 1, SECOND, false, due(SECOND, 1)),
        (Transient, Some(minute), 1, SECOND, 1, SECOND, true, due(SECOND, 60)),
        // Back from a tier it may stay again; the delay goes on growing.
        (Transient, None, 5, minute, 1, SECOND, true, due(minute, 16)),
        // The end.
        (Transient, None, 184, minute, 1, SECOND, true, due(minute, 600)),
        (Transient, None, 185, minute, 1, SECOND, true, dead(Some(Exhausted::MaxAttempts))),
        (Ambiguous, None, 185, minute, 1, SECOND, true, dead(Some(Exhausted::MaxAttempts))),
        (Overload, None, 185, minute, 1, SECOND, true, dead(Some(Exhausted::MaxAttempts))),
        (Incident, None, 9_999, minute, 1, SECOND, true, Next::Queue),
        (Incident, None, 9_999, day, 1, SECOND, true, dead(Some(Exhausted::MaxAge))),
        (Transient, None, 20, day - minute, 1, SECOND, true, due(day - minute, 60)),
        (Transient, None, 20, day, 1, SECOND, true, dead(Some(Exhausted::MaxAge))),
        (Transient, Some(minute), 20, day - SECOND, 1, SECOND, true, dead(Some(Exhausted::MaxAge))),
    ];
    for (class, asked, attempts, age, attempts_here, here, room, expected) in cases {
        let (history, now) = history(attempts, age, attempts_here, here);
        let room = Room { relaxed: room, sick: None };
        let next = decide(&report(class, asked), &history, &policy, room, now, &mut fastrand::Rng::with_seed(1));
        assert_eq!(next, expected, "{class:?} {asked:?} {attempts} {age:?} {attempts_here} {here:?} {room:?}");
    }
}

#[test]
fn who_must_wait_longer_for_the_destination_than_for_itself_goes_to_its_queue() {
    let after = |class, asked: Option<u64>, attempts, sick: Duration| {
        let (history, now) = history(attempts, SECOND, 1, Duration::ZERO);
        let room = Room { relaxed: true, sick: Some(sick) };
        let report = report(class, asked.map(Duration::from_secs));
        decide(&report, &history, &exact(8), room, now, &mut fastrand::Rng::with_seed(1))
    };
    let hour = Duration::from_secs(3_600);
    assert_eq!(after(Class::Transient, None, 1, hour), Next::Queue);
    assert_eq!(after(Class::Transient, None, 1, Duration::MAX), Next::Queue);
    // Its own delay is 8 s, then 16 s.
    assert!(matches!(after(Class::Transient, None, 2, SECOND * 16), Next::Tier { .. }));
    assert_eq!(after(Class::Transient, None, 2, SECOND * 17), Next::Queue);
    assert!(matches!(after(Class::Overload, Some(30), 1, SECOND * 30), Next::Tier { .. }));
    // The end comes before.
    assert_eq!(after(Class::Reject, None, 1, hour), Next::DeadLetter { exhausted: None });
    assert_eq!(after(Class::Transient, None, 185, hour), Next::DeadLetter { exhausted: Some(Exhausted::MaxAttempts) });
}

#[test]
fn a_wait_that_responses_fix_stands_in_for_the_policy() {
    let hour = Duration::from_secs(3_600);
    let after = |wait: Duration, attempts, age| {
        let (history, now) = history(attempts, age, 1, Duration::ZERO);
        let report = Report { wait: Some(wait), ..report(Class::Transient, None) };
        (decide(&report, &history, &exact(60), RELAXED, now, &mut fastrand::Rng::with_seed(1)), now)
    };
    // Shorter than the policy's delay of a minute or ten, and longer.
    assert_eq!(after(SECOND * 2, 1, SECOND).0, Next::RetryInMemory { after: SECOND * 2 });
    let (next, now) = after(SECOND * 20, 30, hour);
    assert_eq!(next, Next::Tier { due: now.plus(SECOND * 20) });
    let (next, now) = after(hour * 20, 1, SECOND);
    assert_eq!(next, Next::Tier { due: now.plus(hour * 20) });
    // It cannot reach beyond the end, which is a day after the first attempt, nor give more attempts than there are.
    assert_eq!(after(hour * 20, 1, hour * 5).0, Next::DeadLetter { exhausted: Some(Exhausted::MaxAge) });
    assert_eq!(after(SECOND, 185, hour).0, Next::DeadLetter { exhausted: Some(Exhausted::MaxAttempts) });
}

#[test]
fn alibabas_policies() {
    let mut rng = fastrand::Rng::with_seed(7);
    let mut failed = |policy: &RetryPolicy, attempts, age| {
        let (history, now) = history(attempts, age, 1, Duration::ZERO);
        decide(&report(Class::Transient, None), &history, policy, Room { relaxed: false, sick: None }, now, &mut rng)
    };
    let backoff = RetryPolicy::backoff_retry();
    for _ in 0..100 {
        let Next::Tier { due } = failed(&backoff, 1, SECOND) else { panic!() };
        assert!((10_000..=20_000).contains(&(due.0 - T0.0 - 1_000)));
    }
    // Three tries again after the first attempt.
    assert!(matches!(failed(&backoff, 3, SECOND), Next::Tier { .. }));
    assert_eq!(failed(&backoff, 4, SECOND), Next::DeadLetter { exhausted: Some(Exhausted::MaxAttempts) });

    let decay = RetryPolicy::exponential_decay_retry();
    let (mut attempts, mut age) = (1, Duration::ZERO);
    let mut waits = Vec::new();
    while let Next::Tier { due } = failed(&decay, attempts, age) {
        let wait = due.since(T0.plus(age));
        waits.push(wait.as_secs());
        attempts += 1;
        age += wait;
    }
    assert_eq!(waits[..10], [1, 2, 4, 8, 16, 32, 64, 128, 256, 512]);
    assert_eq!(waits.len(), 176);
    assert_eq!(attempts, decay.max_attempts);
    assert!((85_000..86_400).contains(&age.as_secs()), "just below a day: {}", age.as_secs());
}

proptest! {
    #[test]
    fn laws_of_decisions(
        class in prop::sample::select(vec![Class::Transient, Class::Ambiguous, Class::Overload, Class::Incident]),
        attempts in 1..400u32,
        age_ms in 0..100_000_000u64,
        attempts_here in 1..6u32,
        here_ms in 0..10_000u64,
        asked in prop::option::of(1..3_600u64),
        relaxed: bool,
        sick in prop::option::of(0..2_000u64),
        seed: u64,
    ) {
        let policy = RetryPolicy::default();
        let (history, now) = history(attempts, Duration::from_millis(age_ms), attempts_here, Duration::from_millis(here_ms));
        let report = report(class, asked.map(Duration::from_secs));
        let asked = report.retry_after.unwrap_or_default();
        let end = T0.plus(policy.max_age);
        let room = Room { relaxed, sick: sick.map(Duration::from_secs) };
        match decide(&report, &history, &policy, room, now, &mut fastrand::Rng::with_seed(seed)) {
            Next::Delivered | Next::Hold { .. } => prop_assert!(false),
            Next::RetryInMemory { after } => {
                prop_assert!(relaxed && attempts_here < 3 && Duration::from_millis(here_ms) + after <= SECOND * 5);
                prop_assert!(after >= asked);
            }
            Next::Tier { due } => {
                prop_assert!(due >= now.plus(asked) && due <= end);
                prop_assert!(due.since(now) <= Duration::from_secs(600).max(asked));
            }
            Next::Queue => {
                let sick = room.sick.unwrap_or_default();
                prop_assert!(class == Class::Incident || (sick > SECOND && sick > asked));
            }
            Next::DeadLetter { exhausted: Some(Exhausted::MaxAttempts) } => {
                prop_assert!(attempts >= policy.max_attempts && class != Class::Incident);
            }
            Next::DeadLetter { exhausted } => {
                prop_assert_eq!(exhausted, Some(Exhausted::MaxAge));
                prop_assert!(now.plus(asked) >= end);
            }
        }
    }
}

#[test]
fn steps_in_a_tier() {
    let [short, minute, ten_minutes, ..] = TIERS;
    assert_eq!(TIERS.map(|tier| tier.delay.as_secs()), [10, 60, 600, 3_600, 21_600]);
    let at = |seconds: u64| T0.plus(SECOND * u32::try_from(seconds).unwrap());
    let unknown_again = Step::Reappend(UNKNOWN_TARGETS);
    // tier, due, appended, now → step; unknown target → step
    let cases = [
        (short, 3, 0, 0, Step::Wait(at(3)), Step::Wait(at(3))),
        (short, 3, 0, 3, Step::Due, unknown_again),
        (short, 0, 0, 0, Step::Due, unknown_again),
        (short, 60, 0, 9, Step::Wait(at(10)), Step::Wait(at(10))),
        (short, 60, 0, 10, Step::Reappend(minute), unknown_again),
        (short, 60, 0, 99, Step::Due, unknown_again),
        (ten_minutes, 60, 60, 60, Step::Due, Step::Wait(at(660))),
        (ten_minutes, 60, 60, 660, Step::Due, unknown_again),
        (ten_minutes, 60, 3_650, 3_659, Step::Due, Step::Wait(at(4_250))),
        (ten_minutes, 60, 3_650, 3_660, Step::Due, Step::Gone),
    ];
    for (tier, due, appended, now, known, unknown) in cases {
        assert_eq!(tier_step(tier, at(due), at(appended), at(now)), known, "{due} {appended} {now}");
        assert_eq!(unknown_target_step(tier, at(due), at(appended), at(now)), unknown, "{due} {appended} {now}");
    }
    let names = [0, 1, 10, 11, 60, 61, 600, 601, 3_600, 3_601, 100_000].map(|s| tier_for(Duration::from_secs(s)).name);
    assert_eq!(names, ["10s", "10s", "10s", "1m", "1m", "10m", "10m", "1h", "1h", "6h", "6h"]);
}

const ORIGINAL: [(&str, Option<&[u8]>); 4] =
    [("ce_id", Some(b"A-1")), ("x", None), ("x", Some(b"\xff")), ("tidegate-rule", Some(b"forged"))];

fn original(value: Option<&[u8]>) -> Record {
    let position = Position { topic: Arc::from("shop.orders"), partition: 3, offset: 17 };
    Record::new(position, Some(5), Some(b"k\xff"), value, ORIGINAL.into_iter())
}

fn failed(record: &Record) -> StoredHeaders {
    let address = Address {
        rule: "paid".into(),
        target: "build".into(),
        destination: "builds".into(),
        delivery_id: delivery_id("/shop", "A-1", "paid", "build"),
    };
    let mut headers = StoredHeaders::new(record, Some(address));
    headers.failed(&report(Class::Transient, None));
    headers.attempts = 3;
    headers.first_attempt_ms = Some(T0.0);
    headers
}

/// What Kafka hands out after it was written.
fn written(out: &OutRecord) -> Record {
    let position = Position { topic: Arc::clone(&out.topic), partition: out.partition.unwrap_or(0), offset: 1 };
    let headers = out.headers.iter().map(|(name, value)| (name.as_str(), value.as_deref()));
    Record::new(position, out.timestamp_ms, out.key.as_deref(), out.value.as_deref(), headers)
}

fn header<'a>(out: &'a OutRecord, name: &str) -> Option<&'a str> {
    let value = out.headers.iter().rfind(|(n, _)| n == name)?.1.as_ref()?;
    std::str::from_utf8(value).ok()
}

#[test]
fn dead_letters_keep_the_original() {
    let record = original(Some(b"\x00value"));
    let headers = StoredHeaders { due_ms: Some(9), ..failed(&record) };
    let letter = dead_letter(Arc::from("tg.dlq"), &record, &headers, Some(Exhausted::MaxAttempts), T0);
    assert_eq!((&*letter.topic, letter.partition, letter.timestamp_ms), ("tg.dlq", None, Some(T0.0)));
    assert_eq!(letter.key.as_deref(), Some(&b"k\xff"[..]));
    assert_eq!(letter.value.as_deref(), Some(&b"\x00value"[..]));
    assert_eq!(letter.value.as_ref().unwrap().as_ptr(), record.value().unwrap().as_ptr(), "shared, not copied");
    let kept: Vec<_> = letter.headers.iter().take(3).map(|(n, v)| (n.as_str(), v.as_deref())).collect();
    assert_eq!(kept, ORIGINAL[..3]);
    let read = StoredHeaders::read(&written(&letter)).unwrap();
    assert_eq!(read, StoredHeaders { due_ms: None, exhausted: Some("max_attempts".into()), ..headers });
    assert_eq!(header(&letter, "tidegate-rule"), Some("paid"));
    assert_eq!(header(&letter, "tidegate-origin"), Some("shop.orders:3:17"));

    // A tombstone that nobody could decode.
    let record = original(None);
    let mut headers = StoredHeaders::new(&record, None);
    headers.refused("DECODE_NULL_VALUE", Class::Reject, "no value");
    let letter = dead_letter(Arc::from("tg.dlq"), &record, &headers, None, T0);
    assert_eq!((&letter.value, header(&letter, "tidegate-rule")), (&None, None));
    assert_eq!(header(&letter, "tidegate-code"), Some("DECODE_NULL_VALUE"));
}

#[test]
fn what_is_too_large_is_referred_to() {
    let value = vec![7; 5_000];
    let record = original(Some(&value));
    let mut headers = failed(&record);
    headers.message = Some("m".repeat(2_000));
    let slim = without_optional_headers(dead_letter(Arc::from("tg.dlq"), &record, &headers, None, T0));
    assert_eq!((header(&slim, "tidegate-message"), header(&slim, "tidegate-response")), (None, None));
    assert_eq!(header(&slim, "tidegate-code"), Some("DELIVER_STATUS"));
    assert_eq!(slim.value.as_deref(), Some(&value[..]));

    let letter = dead_letter_by_reference(Arc::from("tg.dlq"), &record, &headers, None, T0);
    assert_eq!((&letter.value, letter.key.as_deref()), (&None, Some(&b"k\xff"[..])));
    assert_eq!(header(&letter, "ce_id"), Some("A-1"));
    assert_eq!(header(&letter, "tidegate-origin"), Some("shop.orders:3:17"));
    assert_eq!(header(&letter, "tidegate-value-bytes"), Some("5000"));
    assert_eq!(header(&letter, "tidegate-value-sha256"), Some(&*sha256(&value)));
    assert!(
        header(&letter, "tidegate-message")
            .unwrap()
            .starts_with("too large for tg.dlq, 5000 bytes: read it at shop.orders:3:17")
    );
    let topics = Topics::new("tg");
    let error = redrive_record(&topics, &written(&letter), T0).unwrap_err();
    assert_eq!((error.code(), error.to_string().contains("shop.orders:3:17")), ("REDRIVE_BY_REFERENCE", true));

    // Large keys and headers go too.
    let many: Vec<_> = (0..100).map(|_| ("x", Some(&value[..100]))).collect();
    let position = record.position.clone();
    let record = Record::new(position, None, Some(&value), Some(&value), many.into_iter());
    let letter = dead_letter_by_reference(Arc::from("tg.dlq"), &record, &failed(&record), None, T0);
    assert_eq!((&letter.key, header(&letter, "x")), (&None, None));
    let size: usize = letter.headers.iter().map(|(n, v)| n.len() + v.as_ref().map_or(0, Bytes::len)).sum();
    assert!(size < 4_096, "{size}");
}

#[test]
fn tiers_and_redrives_go_round() {
    let topics = Topics::new("tg");
    let record = original(Some(b"v"));
    let headers = failed(&record);
    let due = T0.plus(SECOND * 30);
    let tier = tier_record(&topics, TIERS[0], &record, &headers, due, T0);
    assert_eq!((&*tier.topic, tier.timestamp_ms), ("tg.retry.10s", Some(T0.0)));
    assert!(tier.partition.is_some_and(|p| (0..32).contains(&p)));
    let stored = written(&tier);
    let read = StoredHeaders::read(&stored).unwrap();
    assert_eq!(read, StoredHeaders { due_ms: Some(due.0), ..headers });

    // Again into the tier: the same record, later.
    let later = T0.plus(SECOND * 10);
    let again = tier_record(&topics, TIERS[0], &stored, &read, due, later);
    assert_eq!(again, OutRecord { timestamp_ms: Some(later.0), ..tier.clone() });

    // Dead, and redriven twice: as if never tried, but counted, and under the same identity.
    let mut dead = dead_letter(Arc::from("tg.dlq"), &stored, &read, Some(Exhausted::MaxAge), later);
    for redrives in 1..3 {
        let redriven = redrive_record(&topics, &written(&dead), later).unwrap();
        assert_eq!((&redriven.topic, redriven.partition), (&tier.topic, tier.partition));
        assert_eq!((&redriven.key, &redriven.value), (&tier.key, &tier.value));
        assert_eq!(redriven.headers[..3], tier.headers[..3]);
        let read = StoredHeaders::read(&written(&redriven)).unwrap();
        let expected = StoredHeaders {
            due_ms: Some(later.0),
            redrives,
            origin: record.position.clone(),
            origin_timestamp_ms: Some(5),
            ..StoredHeaders::new(&record, read.delivery.clone())
        };
        assert_eq!(read, expected);
        assert_eq!(read.delivery, failed(&record).delivery);
        dead = dead_letter(Arc::from("tg.dlq"), &written(&redriven), &read, None, later);
    }

    let undecoded = dead_letter(Arc::from("tg.dlq"), &record, &StoredHeaders::new(&record, None), None, T0);
    assert_eq!(redrive_record(&topics, &written(&undecoded), T0).unwrap_err().code(), "REDRIVE_UNDECODED");
    assert_eq!(redrive_record(&topics, &original(None), T0).unwrap_err().code(), "STORED_NOT_STORED");
}

#[test]
fn traces_are_fixed_and_come_back() {
    let record = Record::new("shop.orders:0:0".parse().unwrap(), None, None, None, std::iter::empty());
    let parts = Builder::new(&record, Form::Binary, "A-1", "/shop", "order.paid").finish();
    let event = CloudEvent::new(record, parts);
    let trace = EventTrace {
        rule: Some("paid".into()),
        target: Some("build".into()),
        destination: Some("builds".into()),
        code: Some("TRANSFORM_MISSING".into()),
        status: None,
        attempts: 0,
        message: Some("\"$.data.branch\" is absent".into()),
        delivery_id: Some("00ff".into()),
        dead_letter: Some("tg.dlq:0:0".into()),
        ..EventTrace::of(&event, &event.record.position, Settlement::DeadLettered, T0)
    };
    let record = trace.record(&Topics::new("tg"), T0);
    assert_eq!((&*record.topic, record.key.as_deref()), ("tg.trace", Some(&b"A-1"[..])));
    let value = record.value.unwrap();
    let expected = r#"{"event":"A-1","source":"/shop","type":"order.paid","rule":"paid","target":"build","destination":"builds","outcome":"dead_lettered","code":"TRANSFORM_MISSING","attempts":0,"message":"\"$.data.branch\" is absent","at":"2023-11-14T22:13:20.000Z","origin":"shop.orders:0:0","delivery_id":"00ff","dead_letter":"tg.dlq:0:0"}"#;
    assert_eq!(value, expected);
    assert_eq!(EventTrace::read(&value).unwrap(), trace);
    assert!(EventTrace::read(br#"{"outcome":"filtered","new_key":1}"#).is_ok());
    assert!(EventTrace::read(b"3").is_err());
}

#[test]
fn in_order_nothing_leaves_its_place() {
    let now = WallMs(1_000_000);
    let tier = Next::Tier { due: now.plus(Duration::from_secs(7)) };
    let dead = Next::DeadLetter { exhausted: Some(Exhausted::MaxAge) };
    for policy in [OnExhausted::DeadLetter, OnExhausted::Hold] {
        assert_eq!(in_order(tier, policy, now), Next::RetryInMemory { after: Duration::from_secs(7) });
        let soon = Next::RetryInMemory { after: Duration::from_millis(100) };
        assert_eq!(in_order(Next::Tier { due: now }, policy, now), soon, "never without a pause");
        assert_eq!(in_order(Next::Delivered, policy, now), Next::Delivered);
    }
    assert_eq!(in_order(dead, OnExhausted::DeadLetter, now), dead);
    assert_eq!(in_order(dead, OnExhausted::Hold, now), Next::Hold { exhausted: Some(Exhausted::MaxAge) });
}
