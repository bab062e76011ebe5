//! `Quick`: a condition that needs so little room that it is decided on the spot, without reading matchers that lie
//! elsewhere in memory.

use super::feature::exact_key;
use super::keys::Keys;
use crate::model::resources::Dialect;
use crate::pattern::amount::Amount;
use crate::pattern::leaves::{FoundLeaf, Leaves};
use crate::pattern::matcher::{Comparison, Leaf, Scalar, Test};
use std::net::IpAddr;

/// Above the 32 bits of an address: it is compared as the `aws` dialect does.
const AWS: i64 = 1 << 32;

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The matchers are to be asked.
    Ask,
    /// There is a leaf.
    Present,
    /// No leaf is there, or only in elements of arrays.
    Absent,
    /// The leaf is a number; in millionths, between these two or one of them.
    Within,
    /// The leaf has this key.
    Key,
    /// The leaf is this text.
    Text,
    /// The leaf is a text that begins with this.
    Starts,
    /// The leaf is a text that ends with this.
    Ends,
    /// The leaf is this text without regard to case; the text is ASCII.
    Folds,
    /// The leaf is an IPv4 address of this network.
    Network,
}

/// With what: two numbers, or 15 bytes and how many of them count.
#[derive(Debug, Clone, Copy)]
pub(super) struct Operand([u8; 16]);

/// A condition decided on the spot. But for presence, it decides about a path with one leaf; for any other, the matchers
/// are asked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Quick {
    pub(super) kind: Kind,
    pub(super) operand: Operand,
}

impl Operand {
    fn numbers(low: i64, high: i64) -> Self {
        let mut bytes = [0; 16];
        let (halves, _) = bytes.as_chunks_mut::<8>();
        for (half, number) in halves.iter_mut().zip([low, high]) {
            *half = number.to_le_bytes();
        }
        Self(bytes)
    }

    fn text(text: &str) -> Option<Self> {
        let mut bytes = [0; 16];
        let (last, room) = bytes.split_last_mut()?;
        *last = u8::try_from(text.len()).ok()?;
        room.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
        Some(Self(bytes))
    }

    /// The first number.
    #[inline]
    pub(super) fn low(&self) -> i64 {
        self.0.first_chunk().map_or(0, |half| i64::from_le_bytes(*half))
    }

    /// The second number.
    #[inline]
    pub(super) fn high(&self) -> i64 {
        self.0.last_chunk().map_or(0, |half| i64::from_le_bytes(*half))
    }

    #[inline]
    fn bytes(&self) -> &[u8] {
        let [bytes @ .., len] = &self.0;
        bytes.get(..usize::from(*len)).unwrap_or_default()
    }
}

impl Quick {
    pub(super) const ASK: Self = Self { kind: Kind::Ask, operand: Operand([0; 16]) };

    /// What can be decided at once of the matchers of a path. `key` finds the key of a value that is wanted as it is.
    pub(super) fn of(leaf: &Leaf, key: impl FnOnce() -> Option<u32>) -> Self {
        let none = Operand([0; 16]);
        let found = match (leaf.absent, leaf.tests.as_slice()) {
            (true, []) => Some((Kind::Absent, none)),
            (false, [Test::Any]) => Some((Kind::Present, none)),
            // Few bytes are compared sooner than their key is found.
            (false, [Test::Text(text)]) => Operand::text(text).map(|text| (Kind::Text, text)).or_else(|| by_key(key)),
            (false, [Test::Prefix(text)]) => Operand::text(text).map(|text| (Kind::Starts, text)),
            (false, [Test::Suffix(text)]) => Operand::text(text).map(|text| (Kind::Ends, text)),
            (false, [Test::EqualsFolded(folded)]) => {
                let text = folded.whole().filter(|text| text.is_ascii());
                text.and_then(Operand::text).map(|text| (Kind::Folds, text))
            }
            (false, [Test::Cidr(range)]) => match range.network() {
                (IpAddr::V4(address), bits) => {
                    let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or_default();
                    let aws = if range.dialect() == Dialect::Aws { AWS } else { 0 };
                    Some((Kind::Network, Operand::numbers(i64::from(address.to_bits()) | aws, i64::from(mask))))
                }
                (IpAddr::V6(_), _) => None,
            },
            (false, [test]) => match ranges(test) {
                Some((low, high)) => Some((Kind::Within, Operand::numbers(low, high))),
                None => by_key(key),
            },
            (true | false, _) => None,
        };
        found.map_or(Self::ASK, |(kind, operand)| Self { kind, operand })
    }

    /// Whether it holds; `None` if the matchers must be asked.
    #[inline]
    pub(super) fn decide(&self, keys: &Keys, path: u32, leaves: &Leaves<'_>) -> Option<bool> {
        match self.kind {
            Kind::Ask => None,
            Kind::Present => Some(leaves.slot(path).count > 0),
            Kind::Absent => Some(leaves.slot(path).all_bound),
            Kind::Within | Kind::Key | Kind::Text | Kind::Starts | Kind::Ends | Kind::Folds | Kind::Network => {
                match leaves.single(path) {
                    Some(leaf) => self.of_leaf(keys, path, leaf),
                    None => (leaves.slot(path).count == 0).then_some(false),
                }
            }
        }
    }

    #[inline]
    fn of_leaf(&self, keys: &Keys, path: u32, leaf: &FoundLeaf<'_>) -> Option<bool> {
        let operand = &self.operand;
        if self.kind == Kind::Key {
            return Some(exact_key(keys, path, leaf).map(i64::from) == Some(operand.low()));
        }
        if self.kind == Kind::Within {
            let Scalar::Number(text) = &leaf.value else { return Some(false) };
            return leaf.forms.millionths(text).map(|value| operand.low() <= value && value <= operand.high());
        }
        let Scalar::Text(text) = &leaf.value else { return Some(false) };
        match self.kind {
            Kind::Text => Some(text.as_bytes() == operand.bytes()),
            Kind::Starts => Some(text.as_bytes().starts_with(operand.bytes())),
            Kind::Ends => Some(text.as_bytes().ends_with(operand.bytes())),
            // The operand is in lower case; only an ASCII text is compared byte by byte.
            Kind::Folds if text.is_ascii() => Some(text.as_bytes().eq_ignore_ascii_case(operand.bytes())),
            Kind::Network => {
                let dialect = if operand.low() & AWS == 0 { Dialect::Tidegate } else { Dialect::Aws };
                match leaf.forms.address(text, dialect) {
                    Some(IpAddr::V4(address)) => {
                        Some((i64::from(address.to_bits()) ^ operand.low()) & operand.high() == 0)
                    }
                    Some(IpAddr::V6(_)) | None => Some(false),
                }
            }
            Kind::Ask | Kind::Present | Kind::Absent | Kind::Within | Kind::Key | Kind::Folds => None,
        }
    }
}

fn by_key(key: impl FnOnce() -> Option<u32>) -> Option<(Kind, Operand)> {
    key().map(|key| (Kind::Key, Operand::numbers(i64::from(key), 0)))
}

/// The closed range in millionths that a matcher asks for; for a value in millionths it decides.
fn ranges(test: &Test) -> Option<(i64, i64)> {
    let Test::All(tests) = test else { return range(test) };
    tests.iter().try_fold((i64::MIN, i64::MAX), |(low, high), test| {
        let (lower, upper) = range(test)?;
        Some((low.max(lower), high.min(upper)))
    })
}

fn range(test: &Test) -> Option<(i64, i64)> {
    let Test::Numeric { comparison, floats_only: false, bound: Amount::Fixed(bound) } = test else { return None };
    match comparison {
        Comparison::Equal => Some((*bound, *bound)),
        Comparison::NotEqual => None,
        Comparison::Less => Some((i64::MIN, bound.checked_sub(1)?)),
        Comparison::LessOrEqual => Some((i64::MIN, *bound)),
        Comparison::Greater => Some((bound.checked_add(1)?, i64::MAX)),
        Comparison::GreaterOrEqual => Some((*bound, i64::MAX)),
    }
}
