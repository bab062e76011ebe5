//! The map: which offsets above the committed one are done, as ASCII text in the metadata of the commit.
//!
//! `td1.` and base64url without padding of: encoding (1 byte) · fingerprint of the record at the base (8 bytes
//! timestamp, 4 bytes CRC) · body · CRC-32C (4 bytes) over group, topic, partition, base and everything before it.
//! Integers are big-endian. The body describes the offsets from the base on, in the denser of two ways: `0`, a bitmap
//! (bit i of byte n, lowest first, is offset base + 8n + i; 1 is done); `1`, LEB128 numbers, in turn the length of a run
//! that is not done and of one that is. What does not fit is cut off at the end; what is not described is not done.
//! A text with anything wrong in it, for this place and this base, is no map at all. Before it, the intake writes which
//! topic the commit is for; what it hands over is the map alone.

use crate::model::record::Record;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use std::ops::Range;

/// Kafka's default limit for the metadata of a commit is 4,096 bytes.
pub const MAX_METADATA_CHARS: usize = 4_000;

const PREFIX: &str = "td1.";
const HEAD_BYTES: usize = 1 + 8 + 4;
const CRC_BYTES: usize = 4;
/// Base64url makes 4 characters of 3 bytes.
const MAX_BODY_BYTES: usize = (MAX_METADATA_CHARS - PREFIX.len()) / 4 * 3 - HEAD_BYTES - CRC_BYTES;

const BITMAP: u8 = 0;
const RUNS: u8 = 1;

/// What a map belongs to.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    /// Consumer group.
    pub group: &'a str,
    /// Topic.
    pub topic: &'a str,
    /// Partition.
    pub partition: i32,
}

/// Tells a record from another at the same offset, should the topic have been created anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint {
    timestamp_ms: i64,
    crc: u32,
}

impl Fingerprint {
    /// Stands for records that will never be at the base of a map.
    pub(super) const NONE: Self = Self { timestamp_ms: -1, crc: 0 };

    /// Timestamp, and CRC-32C of key and value.
    #[must_use]
    pub fn of(record: &Record) -> Self {
        let key = record.key().unwrap_or_default();
        let length = u64::try_from(key.len()).unwrap_or(u64::MAX);
        let crc = crc32c::crc32c_append(crc32c::crc32c(&length.to_be_bytes()), key);
        let crc = crc32c::crc32c_append(crc, record.value().unwrap_or_default());
        Self { timestamp_ms: record.timestamp_ms.unwrap_or(-1), crc }
    }
}

/// A map as read from the metadata of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Map {
    /// Of the record at the base.
    pub(super) fingerprint: Fingerprint,
    /// Offsets that are done: ascending, not empty, not touching each other, all above the base.
    pub(super) done: Vec<Range<i64>>,
}

/// Writes the map. `done` are the offsets that are done, ascending, above `base`. Empty if nothing is.
pub(super) fn encode(scope: &Scope<'_>, base: i64, fingerprint: Fingerprint, done: &[Range<i64>]) -> String {
    let Some(end) = done.last().map(|last| last.end) else { return String::new() };
    let (runs, runs_end) = runs(base, done);
    let bitmap_bytes = usize::try_from(end.abs_diff(base).div_ceil(8)).unwrap_or(usize::MAX);
    let (encoding, body) = if runs_end == end && runs.len() <= bitmap_bytes {
        (RUNS, runs)
    } else {
        let (bitmap, bitmap_end) = bitmap(base, done);
        if runs_end > bitmap_end { (RUNS, runs) } else { (BITMAP, bitmap) }
    };
    if body.is_empty() {
        return String::new();
    }
    let mut bytes = Vec::with_capacity(HEAD_BYTES + body.len() + CRC_BYTES);
    bytes.push(encoding);
    bytes.extend_from_slice(&fingerprint.timestamp_ms.to_be_bytes());
    bytes.extend_from_slice(&fingerprint.crc.to_be_bytes());
    bytes.extend_from_slice(&body);
    bytes.extend_from_slice(&checksum(scope, base, &bytes).to_be_bytes());
    let mut text = String::with_capacity(MAX_METADATA_CHARS);
    text.push_str(PREFIX);
    BASE64_URL_SAFE_NO_PAD.encode_string(&bytes, &mut text);
    text
}

/// Reads a map; `None` on any doubt.
pub(super) fn decode(scope: &Scope<'_>, base: i64, metadata: &str) -> Option<Map> {
    if metadata.len() > MAX_METADATA_CHARS {
        return None;
    }
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(metadata.strip_prefix(PREFIX)?).ok()?;
    let (checked, crc) = bytes.split_last_chunk::<CRC_BYTES>()?;
    if u32::from_be_bytes(*crc) != checksum(scope, base, checked) {
        return None;
    }
    let (&encoding, rest) = checked.split_first()?;
    let (timestamp, rest) = rest.split_first_chunk::<8>()?;
    let (crc, body) = rest.split_first_chunk::<4>()?;
    let fingerprint = Fingerprint { timestamp_ms: i64::from_be_bytes(*timestamp), crc: u32::from_be_bytes(*crc) };
    let done = match encoding {
        BITMAP => read_bitmap(base, body)?,
        RUNS => read_runs(base, body)?,
        _ => return None,
    };
    let above_base = done.first().is_some_and(|first| first.start > base);
    above_base.then_some(Map { fingerprint, done })
}

fn checksum(scope: &Scope<'_>, base: i64, payload: &[u8]) -> u32 {
    let mut crc = 0;
    for text in [scope.group, scope.topic] {
        crc = crc32c::crc32c_append(crc, text.as_bytes());
        crc = crc32c::crc32c_append(crc, &[0]);
    }
    crc = crc32c::crc32c_append(crc, &scope.partition.to_be_bytes());
    crc = crc32c::crc32c_append(crc, &base.to_be_bytes());
    crc32c::crc32c_append(crc, payload)
}

/// Pairs of run lengths, as many as fit, and the end of what they describe.
fn runs(base: i64, done: &[Range<i64>]) -> (Vec<u8>, i64) {
    let mut body = Vec::new();
    let mut end = base;
    for range in done {
        let fits = body.len();
        put_number(&mut body, range.start.abs_diff(end));
        put_number(&mut body, range.end.abs_diff(range.start));
        if body.len() > MAX_BODY_BYTES {
            body.truncate(fits);
            break;
        }
        end = range.end;
    }
    (body, end)
}

fn read_runs(base: i64, mut body: &[u8]) -> Option<Vec<Range<i64>>> {
    let mut done = Vec::new();
    let mut end = base;
    while !body.is_empty() {
        let start = end.checked_add(take_number(&mut body)?)?;
        let next = start.checked_add(take_number(&mut body)?)?;
        done.push(start..next);
        end = next;
    }
    Some(done)
}

/// One bit per offset, as many as fit, and the end of what they describe.
fn bitmap(base: i64, done: &[Range<i64>]) -> (Vec<u8>, i64) {
    let most = i64::try_from(MAX_BODY_BYTES * 8).unwrap_or(i64::MAX);
    let mut body = Vec::new();
    let mut end = base;
    for range in done {
        let limit = range.end.min(base.saturating_add(most));
        for offset in range.start..limit {
            let Ok(bit) = usize::try_from(offset.saturating_sub(base)) else { return (body, end) };
            if body.len() <= bit / 8 {
                body.resize(bit / 8 + 1, 0);
            }
            if let Some(byte) = body.get_mut(bit / 8) {
                *byte |= 1 << (bit % 8);
            }
            end = offset + 1;
        }
        if limit < range.end {
            break;
        }
    }
    (body, end)
}

fn read_bitmap(base: i64, body: &[u8]) -> Option<Vec<Range<i64>>> {
    if body.last() == Some(&0) {
        return None;
    }
    let mut done: Vec<Range<i64>> = Vec::new();
    let mut offset = base;
    for byte in body {
        for bit in 0..8 {
            let next = offset.checked_add(1)?;
            if byte & (1 << bit) != 0 {
                match done.last_mut() {
                    Some(last) if last.end == offset => last.end = next,
                    _ => done.push(offset..next),
                }
            }
            offset = next;
        }
    }
    Some(done)
}

/// Unsigned LEB128.
fn put_number(body: &mut Vec<u8>, mut number: u64) {
    loop {
        let [low, ..] = number.to_le_bytes();
        number >>= 7;
        if number == 0 {
            body.push(low & 0x7f);
            return;
        }
        body.push(low | 0x80);
    }
}

/// A number above zero in its shortest form.
fn take_number(body: &mut &[u8]) -> Option<i64> {
    let mut number = 0u64;
    for shift in (0..63).step_by(7) {
        let (&byte, rest) = body.split_first()?;
        *body = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return if byte == 0 { None } else { i64::try_from(number).ok() };
        }
    }
    None
}
