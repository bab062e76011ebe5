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
    count: usize,
    /// The keys one after the other: a head, then the bytes.
    keys: Vec<u8>,
    longest: usize,
}

#[derive(Debug, Clone, Copy)]
struct Seed([u64; 3]);

/// Bits of the hash below, to be compared before the bytes; above, where the key begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Slot(u64);

/// What stands before the bytes of a key: place, length, number.
const HEAD: usize = 16;

impl Slot {
    const EMPTY: Self = Self(u64::MAX);
    const TAG_BITS: u32 = 24;

    fn new(hash: u64, start: usize) -> Self {
        Self(u64::try_from(start).unwrap_or(u64::MAX) << Self::TAG_BITS | Self::tag(hash))
    }

    /// Not the bits by which a slot is chosen.
    fn tag(hash: u64) -> u64 {
        hash >> (64 - Self::TAG_BITS)
    }

    fn has(self, hash: u64) -> bool {
        self.0 & ((1 << Self::TAG_BITS) - 1) == Self::tag(hash)
    }

    fn start(self) -> usize {
        usize::try_from(self.0 >> Self::TAG_BITS).unwrap_or(usize::MAX)
    }
}

/// A key as it is kept.
struct Kept<'k> {
    place: u64,
    number: u32,
    bytes: &'k [u8],
}

impl Default for Keys {
    fn default() -> Self {
        Self { seed: Seed::random(), slots: vec![Slot::EMPTY; 16], count: 0, keys: Vec::new(), longest: 0 }
    }
}

impl Keys {
    /// A number that no other table has, in all likelihood.
    pub(super) fn identity(&self) -> u64 {
        self.seed.0[0]
    }

    /// The bytes of the longest key.
    pub(super) fn longest(&self) -> usize {
        self.longest
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
        if let Some(slot) = self.slots.get_mut(slot) {
            *slot = Slot::new(hash, self.keys.len());
        }
        self.keys.extend_from_slice(&place.to_le_bytes());
        self.keys.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes());
        self.keys.extend_from_slice(&number.to_le_bytes());
        self.keys.extend_from_slice(bytes);
        self.count += 1;
        self.longest = self.longest.max(bytes.len());
        if 4 * self.count > 3 * self.slots.len() {
            self.grow();
        }
        number
    }

    /// Gives back what it does not need.
    pub(in crate::pattern) fn shrink(&mut self) {
        self.keys.shrink_to_fit();
    }

    /// The number of a key, or the slot where it belongs.
    #[inline]
    fn find(&self, hash: u64, place: u64, bytes: &[u8]) -> Result<u32, usize> {
        let mask = self.slots.len() - 1;
        let mut at = lower(hash) & mask;
        loop {
            let slot = self.slots.get(at).copied().unwrap_or(Slot::EMPTY);
            if slot == Slot::EMPTY {
                return Err(at);
            }
            if slot.has(hash)
                && let Some(kept) = self.kept(slot.start())
                && kept.place == place
                && kept.bytes == bytes
            {
                return Ok(kept.number);
            }
            at = (at + 1) & mask;
        }
    }

    #[inline]
    fn kept(&self, start: usize) -> Option<Kept<'_>> {
        let (head, rest) = self.keys.get(start..)?.split_first_chunk::<HEAD>()?;
        let [p0, p1, p2, p3, p4, p5, p6, p7, l0, l1, l2, l3, n0, n1, n2, n3] = *head;
        let bytes = rest.get(..index(u32::from_le_bytes([l0, l1, l2, l3])))?;
        let place = u64::from_le_bytes([p0, p1, p2, p3, p4, p5, p6, p7]);
        Some(Kept { place, number: u32::from_le_bytes([n0, n1, n2, n3]), bytes })
    }

    fn grow(&mut self) {
        let size = 2 * self.slots.len();
        let mut slots = vec![Slot::EMPTY; size];
        let mut start = 0;
        while let Some(kept) = self.kept(start) {
            let hash = self.seed.hash(kept.place, kept.bytes);
            let mut at = lower(hash) & (size - 1);
            while slots.get(at).is_some_and(|slot| *slot != Slot::EMPTY) {
                at = (at + 1) & (size - 1);
            }
            if let Some(slot) = slots.get_mut(at) {
                *slot = Slot::new(hash, start);
            }
            start += HEAD + kept.bytes.len();
        }
        self.slots = slots;
    }
}

/// From two numbers to a third. Only numbers that we gave are asked for, so nobody chooses what collides.
#[derive(Debug)]
pub(super) struct Pairs {
    /// A power of two of them, at most three quarters full.
    slots: Vec<(u32, u32, u32)>,
    count: usize,
}

/// No number.
const NONE: u32 = u32::MAX;

impl Default for Pairs {
    fn default() -> Self {
        Self { slots: vec![(NONE, NONE, NONE); 4], count: 0 }
    }
}

impl Pairs {
    #[inline]
    pub(super) fn get(&self, a: u32, b: u32) -> Option<u32> {
        let (x, y, number) = self.slots.get(self.place(a, b)).copied()?;
        ((x, y) == (a, b)).then_some(number)
    }

    /// The pair must be new.
    pub(super) fn insert(&mut self, a: u32, b: u32, number: u32) {
        self.count += 1;
        if 4 * self.count > 3 * self.slots.len() {
            let size = 2 * self.slots.len();
            for (a, b, number) in std::mem::replace(&mut self.slots, vec![(NONE, NONE, NONE); size]) {
                if (a, b) != (NONE, NONE) {
                    self.put(a, b, number);
                }
            }
        }
        self.put(a, b, number);
    }

    fn put(&mut self, a: u32, b: u32, number: u32) {
        let place = self.place(a, b);
        if let Some(slot) = self.slots.get_mut(place) {
            *slot = (a, b, number);
        }
    }

    /// Where a pair stands or belongs.
    #[inline]
    fn place(&self, a: u32, b: u32) -> usize {
        let mask = self.slots.len() - 1;
        let mut at = lower(mix(pair(a, b), 0x9e37_79b9_7f4a_7c15)) & mask;
        while let Some(slot) = self.slots.get(at) {
            if (slot.0, slot.1) == (a, b) || (slot.0, slot.1) == (NONE, NONE) {
                break;
            }
            at = (at + 1) & mask;
        }
        at
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
    fn pairs() {
        let mut table = Pairs::default();
        for n in 0..1_000_u32 {
            table.insert(n % 10, n, n + 7);
        }
        for n in 0..1_000 {
            assert_eq!((table.get(n % 10, n), table.get(n % 10 + 1, n)), (Some(n + 7), None));
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
