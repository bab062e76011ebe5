//! `Keys`: from a place and some bytes to a number; equality is verified on the bytes.
//!
//! The bytes that are asked for come from strangers, so the hash has a secret seed. Nobody but the rules puts keys in,
//! hence no event can make a chain longer than the rules made it: a quick multiplicative hash is enough, `SipHash` is
//! not needed.

use std::hash::{BuildHasher, RandomState};

/// A table of numbers by place and bytes.
#[derive(Debug)]
pub(in crate::pattern) struct Keys {
    seed: Seed,
    /// A power of two of them, at most three quarters full.
    slots: Vec<Slot>,
    entries: Vec<Entry>,
    bytes: Vec<u8>,
}

#[derive(Debug, Clone, Copy)]
struct Seed([u64; 3]);

#[derive(Debug, Clone, Copy)]
struct Slot {
    /// Half of the hash, to compare before the bytes.
    tag: u32,
    entry: u32,
}

#[derive(Debug)]
struct Entry {
    place: u64,
    start: usize,
    len: u32,
    number: u32,
}

const EMPTY: Slot = Slot { tag: 0, entry: u32::MAX };

impl Default for Keys {
    fn default() -> Self {
        Self { seed: Seed::random(), slots: vec![EMPTY; 16], entries: Vec::new(), bytes: Vec::new() }
    }
}

impl Keys {
    /// A number that no other table has, in all likelihood.
    pub(super) fn identity(&self) -> u64 {
        self.seed.0[0]
    }

    pub(in crate::pattern) fn get(&self, place: u64, bytes: &[u8]) -> Option<u32> {
        self.find(self.seed.hash(place, bytes), place, bytes).ok()
    }

    /// The number of a key; a new key gets `number`.
    pub(in crate::pattern) fn get_or_insert(&mut self, place: u64, bytes: &[u8], number: u32) -> u32 {
        let hash = self.seed.hash(place, bytes);
        let slot = match self.find(hash, place, bytes) {
            Ok(found) => return found,
            Err(slot) => slot,
        };
        let entry = u32::try_from(self.entries.len()).unwrap_or(u32::MAX);
        let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        self.entries.push(Entry { place, start: self.bytes.len(), len, number });
        self.bytes.extend_from_slice(bytes);
        if let Some(slot) = self.slots.get_mut(slot) {
            *slot = Slot { tag: upper(hash), entry };
        }
        if 4 * self.entries.len() > 3 * self.slots.len() {
            self.grow();
        }
        number
    }

    /// Gives back what it does not need.
    pub(in crate::pattern) fn shrink(&mut self) {
        self.entries.shrink_to_fit();
        self.bytes.shrink_to_fit();
    }

    /// The number of a key, or the slot where it belongs.
    fn find(&self, hash: u64, place: u64, bytes: &[u8]) -> Result<u32, usize> {
        let mask = self.slots.len() - 1;
        let tag = upper(hash);
        let mut at = lower(hash) & mask;
        loop {
            let slot = self.slots.get(at).copied().unwrap_or(EMPTY);
            if slot.entry == EMPTY.entry {
                return Err(at);
            }
            if slot.tag == tag
                && let Some(entry) = self.entries.get(index(slot.entry))
                && entry.place == place
                && self.bytes_of(entry) == Some(bytes)
            {
                return Ok(entry.number);
            }
            at = (at + 1) & mask;
        }
    }

    fn bytes_of(&self, entry: &Entry) -> Option<&[u8]> {
        self.bytes.get(entry.start..entry.start + index(entry.len))
    }

    fn grow(&mut self) {
        let size = 2 * self.slots.len();
        let mut slots = vec![EMPTY; size];
        for (number, entry) in (0_u32..).zip(&self.entries) {
            let hash = self.seed.hash(entry.place, self.bytes_of(entry).unwrap_or_default());
            let mut at = lower(hash) & (size - 1);
            while slots.get(at).is_some_and(|slot| slot.entry != EMPTY.entry) {
                at = (at + 1) & (size - 1);
            }
            if let Some(slot) = slots.get_mut(at) {
                *slot = Slot { tag: upper(hash), entry: number };
            }
        }
        self.slots = slots;
    }
}

impl Seed {
    fn random() -> Self {
        let state = RandomState::new();
        Self([state.hash_one(0), state.hash_one(1), state.hash_one(2)])
    }

    fn hash(&self, place: u64, bytes: &[u8]) -> u64 {
        let [first, second, third] = self.0;
        let mut state = mix(place ^ first, second);
        let (chunks, rest) = bytes.as_chunks::<16>();
        for chunk in chunks {
            state = mix(head(chunk) ^ state, tail(chunk) ^ third);
        }
        let (a, b) = match rest {
            [] => (0, 0),
            [a] => (u64::from(*a), 0),
            [a, b] => (u64::from(*a), u64::from(*b)),
            [a, b, c] => (u64::from(*a) << 8 | u64::from(*b), u64::from(*c)),
            _ => match (rest.first_chunk::<8>(), rest.last_chunk::<8>()) {
                (Some(first), Some(last)) => (u64::from_le_bytes(*first), u64::from_le_bytes(*last)),
                _ => (half(rest.first_chunk()), half(rest.last_chunk())),
            },
        };
        let len = u64::try_from(bytes.len()).unwrap_or_default();
        mix(a ^ state ^ len, b ^ third ^ len.rotate_left(32))
    }
}

fn head(chunk: &[u8; 16]) -> u64 {
    chunk.first_chunk().map_or(0, |half| u64::from_le_bytes(*half))
}

fn tail(chunk: &[u8; 16]) -> u64 {
    chunk.last_chunk().map_or(0, |half| u64::from_le_bytes(*half))
}

fn half(chunk: Option<&[u8; 4]>) -> u64 {
    chunk.map_or(0, |half| u64::from(u32::from_le_bytes(*half)))
}

/// Multiplies and folds the 128 bits of the product.
fn mix(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    let low = u64::try_from(product & u128::from(u64::MAX)).unwrap_or_default();
    let high = u64::try_from(product >> 64).unwrap_or_default();
    low ^ high
}

fn upper(hash: u64) -> u32 {
    u32::try_from(hash >> 32).unwrap_or_default()
}

fn lower(hash: u64) -> usize {
    usize::try_from(hash & u64::from(u32::MAX)).unwrap_or_default()
}

/// A number as an index.
pub(in crate::pattern) fn index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// Two numbers as one.
pub(in crate::pattern) fn pair(a: u32, b: u32) -> u64 {
    u64::from(a) << 32 | u64::from(b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    proptest! {
        #[test]
        fn finds_what_was_put_in(
            keys in prop::collection::vec((0_u64..3, "[ab]{0,40}"), 0..200),
            others in prop::collection::vec((0_u64..3, "[ab]{0,6}"), 50),
        ) {
            let mut table = Keys::default();
            let mut model: HashMap<(u64, &[u8]), u32> = HashMap::new();
            for (number, (place, key)) in (0_u32..).zip(&keys) {
                let wanted = *model.entry((*place, key.as_bytes())).or_insert(number);
                prop_assert_eq!(table.get_or_insert(*place, key.as_bytes(), number), wanted);
            }
            for (place, key) in keys.iter().chain(&others) {
                prop_assert_eq!(table.get(*place, key.as_bytes()), model.get(&(*place, key.as_bytes())).copied());
            }
        }
    }

    #[test]
    fn hashes_of_short_texts_differ() {
        let seed = Seed::random();
        let texts = ["", "a", "b", "ab", "ba", "abc", "acb", "abcd", "abcdefg", "abcdefgh", "\0", "\0\0", "\0\0\0\0\0"];
        let hashes: std::collections::HashSet<u64> = texts.iter().map(|text| seed.hash(7, text.as_bytes())).collect();
        assert_eq!(hashes.len(), texts.len());
    }
}
