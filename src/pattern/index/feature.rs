//! `Feature`: something of a value that leads to rules: the value itself, a beginning, an end, its letters without
//! regard to case, a network that it lies in. What rules ask of it, and what an event has, is a *key*.

use super::keys::{Keys, pair};
use crate::model::resources::Dialect;
use crate::pattern::amount::Amount;
use crate::pattern::fold::folded_within;
use crate::pattern::leaves::FoundLeaf;
use crate::pattern::matcher::{Leaf, Scalar, Test};
use crate::pattern::network::masked;
use smallvec::SmallVec;
use std::borrow::Cow;
use std::net::IpAddr;

/// What is taken of the values at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Feature {
    pub(super) path: u32,
    pub(super) kind: FeatureKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum FeatureKind {
    /// The value.
    Exact,
    /// The address that a text spells.
    Address,
    /// So many bytes at the beginning of a text.
    Prefix(usize),
    /// So many bytes at the end of a text.
    Suffix(usize),
    /// A text without regard to case.
    Folded,
    /// The leading bits of an address.
    Network {
        /// IPv6.
        v6: bool,
        bits: u8,
    },
}

/// The key of a matcher, not yet numbered.
#[derive(Debug)]
pub(super) struct Asked<'t> {
    pub(super) kind: FeatureKind,
    /// See [`place`].
    pub(super) place: u64,
    pub(super) bytes: Cow<'t, [u8]>,
}

/// The keys one of which a value must have.
#[derive(Debug)]
pub(super) struct AskedKeys<'t> {
    pub(super) keys: SmallVec<[Asked<'t>; 1]>,
    /// Nothing else is asked.
    pub(super) complete: bool,
}

const WORD: u32 = 0;
const TEXT: u32 = 1;
const NUMBER: u32 = 2;
const ADDRESS: u32 = 3;
const PREFIX: u32 = 4;
const SUFFIX: u32 = 5;
const FOLDED: u32 = 6;
const NETWORK_V4: u32 = 0x100;
const NETWORK_V6: u32 = 0x200;

fn network_kind(v6: bool, bits: u8) -> u32 {
    u32::from(bits) + if v6 { NETWORK_V6 } else { NETWORK_V4 }
}

/// The keys of the matchers at a path, if each has one.
pub(super) fn asked(path: u32, leaf: &Leaf) -> Option<AskedKeys<'_>> {
    if leaf.absent || leaf.tests.is_empty() {
        return None;
    }
    let mut complete = true;
    let keys = leaf.tests.iter().map(|test| of_test(path, test, &mut complete)).collect::<Option<_>>()?;
    Some(AskedKeys { keys, complete })
}

fn of_test<'t>(path: u32, test: &'t Test, complete: &mut bool) -> Option<Asked<'t>> {
    let new = |kind, place, bytes| Some(Asked { kind, place: pair(path, place), bytes });
    let exact = |place, bytes| new(FeatureKind::Exact, place, bytes);
    match test {
        Test::Null => exact(WORD, b"n"[..].into()),
        Test::Bool(true) => exact(WORD, b"t"[..].into()),
        Test::Bool(false) => exact(WORD, b"f"[..].into()),
        Test::Text(text) => exact(TEXT, text.as_bytes().into()),
        Test::Number(Amount::Fixed(value)) => exact(NUMBER, value.to_le_bytes().to_vec().into()),
        Test::Address(address) => new(FeatureKind::Address, ADDRESS, octets(*address).to_vec().into()),
        Test::Prefix(text) if !text.is_empty() => new(FeatureKind::Prefix(text.len()), PREFIX, text.as_bytes().into()),
        Test::Suffix(text) if !text.is_empty() => new(FeatureKind::Suffix(text.len()), SUFFIX, text.as_bytes().into()),
        Test::EqualsFolded(folded) => new(FeatureKind::Folded, FOLDED, folded.whole()?.as_bytes().into()),
        Test::Cidr(range) => {
            let (address, bits) = range.network();
            let v6 = address.is_ipv6();
            new(FeatureKind::Network { v6, bits }, network_kind(v6, bits), octets(address).to_vec().into())
        }
        Test::All(tests) => {
            *complete = false;
            tests.iter().find_map(|test| of_test(path, test, complete))
        }
        Test::Any
        | Test::Number(Amount::Exact(_))
        | Test::Spelled(_)
        | Test::Prefix(_)
        | Test::Suffix(_)
        | Test::Contains(_)
        | Test::Wildcard(_)
        | Test::PrefixFolded(_)
        | Test::SuffixFolded(_)
        | Test::Numeric { .. }
        | Test::Not(_) => None,
    }
}

impl Feature {
    /// The key of a value of the event, if any rule asks for it.
    pub(super) fn key(self, keys: &Keys, dialect: Dialect, leaf: &FoundLeaf<'_>) -> Option<u32> {
        let Self { path, kind } = self;
        if kind == FeatureKind::Exact {
            return exact_key(keys, path, leaf);
        }
        let Scalar::Text(text) = &leaf.value else { return None };
        let bytes = text.as_bytes();
        let address = || leaf.forms.address(text, dialect);
        match kind {
            FeatureKind::Exact => None,
            FeatureKind::Address => keys.get(pair(path, ADDRESS), &octets(address()?)),
            FeatureKind::Prefix(len) => keys.get(pair(path, PREFIX), bytes.get(..len)?),
            FeatureKind::Suffix(len) => keys.get(pair(path, SUFFIX), bytes.get(bytes.len().checked_sub(len)?..)?),
            FeatureKind::Folded => keys.get(pair(path, FOLDED), &folded_within(text, keys.longest())?),
            FeatureKind::Network { v6, bits } => {
                let address = address().filter(|address| address.is_ipv6() == v6)?;
                keys.get(pair(path, network_kind(v6, bits)), &octets(masked(address, bits)))
            }
        }
    }
}

/// The key of a value as it is.
pub(super) fn exact_key(keys: &Keys, path: u32, leaf: &FoundLeaf<'_>) -> Option<u32> {
    leaf.forms.key(|| match &leaf.value {
        Scalar::Null => keys.get(pair(path, WORD), b"n"),
        Scalar::Bool(true) => keys.get(pair(path, WORD), b"t"),
        Scalar::Bool(false) => keys.get(pair(path, WORD), b"f"),
        Scalar::Text(text) => keys.get(pair(path, TEXT), text.as_bytes()),
        Scalar::Number(text) => keys.get(pair(path, NUMBER), &leaf.forms.millionths(text)?.to_le_bytes()),
    })
}

fn octets(address: IpAddr) -> SmallVec<[u8; 16]> {
    match address {
        IpAddr::V4(v4) => SmallVec::from_slice(&v4.octets()),
        IpAddr::V6(v6) => SmallVec::from_slice(&v6.octets()),
    }
}
