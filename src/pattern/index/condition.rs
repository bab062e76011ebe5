//! A condition of a rule set: a path and its matchers, once for all rules that say the same of it.

use super::keys::{Keys, index, pair};
use crate::model::resources::Dialect;
use crate::pattern::amount::Amount;
use crate::pattern::leaves::{FoundLeaf, Leaves};
use crate::pattern::matcher::{Comparison, Leaf, Scalar, Test};
use smallvec::SmallVec;
use std::sync::Arc;

/// A path and what it is compared with.
#[derive(Debug)]
pub(super) struct Condition {
    pub(super) path: u32,
    quick: Quick,
    pub(super) leaf: Arc<Leaf>,
}

/// What a condition asks, where that needs so little room that it is decided on the spot, without reading matchers that
/// lie elsewhere in memory. It decides about a path with one leaf; for any other, the matchers are asked.
#[derive(Debug, Clone, Copy)]
pub(super) enum Quick {
    /// The matchers are to be asked.
    Ask,
    /// The leaf is a number; in millionths, between these two or one of them.
    Within(i64, i64),
    /// The leaf has this key.
    Key(u32),
    /// The leaf is a text that begins with this.
    Starts(Short),
    /// The leaf is a text that ends with this.
    Ends(Short),
}

/// A text of a few bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Short {
    len: u8,
    bytes: [u8; 14],
}

impl Short {
    fn of(text: &str) -> Option<Self> {
        let mut bytes = [0; 14];
        bytes.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
        Some(Self { len: u8::try_from(text.len()).ok()?, bytes })
    }

    fn bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

impl Quick {
    /// Whether the only leaf at a path satisfies it; `None` if the matchers must be asked.
    pub(super) fn decide(&self, keys: &Keys, path: u32, leaf: &FoundLeaf<'_>) -> Option<bool> {
        let text = |holds: &dyn Fn(&[u8]) -> bool| match &leaf.value {
            Scalar::Text(text) => Some(holds(text.as_bytes())),
            Scalar::Null | Scalar::Bool(_) | Scalar::Number(_) => Some(false),
        };
        match self {
            Self::Ask => None,
            Self::Within(low, high) => {
                let Scalar::Number(text) = &leaf.value else { return Some(false) };
                leaf.forms.millionths(text).map(|value| *low <= value && value <= *high)
            }
            Self::Key(key) => Some(key_of(keys, path, leaf) == Some(*key)),
            Self::Starts(short) => text(&|value| value.starts_with(short.bytes())),
            Self::Ends(short) => text(&|value| value.ends_with(short.bytes())),
        }
    }
}

/// Kinds of keys; with the path, the place in [`Keys`].
#[derive(Debug, Clone, Copy)]
pub(super) enum KeyKind {
    Word,
    Text,
    Number,
    Address,
    Prefix,
    Suffix,
}

impl KeyKind {
    pub(super) fn place(self, path: u32) -> u64 {
        let kind = match self {
            Self::Word => 0,
            Self::Text => 1,
            Self::Number => 2,
            Self::Address => 3,
            Self::Prefix => 4,
            Self::Suffix => 5,
        };
        pair(path, kind)
    }
}

/// The bytes of a key.
pub(super) type KeyBytes<'t> = std::borrow::Cow<'t, [u8]>;

impl Condition {
    pub(super) fn new(path: u32, leaf: Arc<Leaf>) -> Self {
        let mut this = Self { path, quick: Quick::Ask, leaf };
        // Not by key: whoever has come here has no key of an exact matcher at hand.
        this.quick = this.quick(|_, _| None);
        this
    }

    /// Whether it can hold by itself. `leaves` are those of the event.
    pub(super) fn is_viable(&self, keys: &Keys, leaves: &Leaves<'_>) -> bool {
        if let Some(leaf) = leaves.single(self.path) {
            if let Some(decided) = self.quick.decide(keys, self.path, leaf) {
                return decided;
            }
            return self.leaf.accepts(&leaf.value, &leaf.forms) || (self.leaf.absent && !leaf.bindings.is_empty());
        }
        (self.leaf.absent && leaves.slot(self.path).all_bound)
            || leaves.at(self.path).any(|leaf| self.leaf.accepts(&leaf.value, &leaf.forms))
    }

    /// The keys one of which a leaf must have, if that is all it asks.
    pub(super) fn exact(&self) -> Option<SmallVec<[(KeyKind, KeyBytes<'_>); 1]>> {
        self.keys(exact)
    }

    /// The beginnings or the ends one of which a leaf must have, if that is all it asks.
    pub(super) fn ends(&self) -> Option<SmallVec<[(KeyKind, KeyBytes<'_>); 1]>> {
        self.keys(end)
    }

    fn keys<'t>(
        &'t self,
        key: impl Fn(&'t Test) -> Option<(KeyKind, KeyBytes<'t>)>,
    ) -> Option<SmallVec<[(KeyKind, KeyBytes<'t>); 1]>> {
        if self.leaf.absent || self.leaf.tests.is_empty() {
            return None;
        }
        self.leaf.tests.iter().map(key).collect()
    }

    /// What can be decided at once. `key` finds the key of an exact matcher.
    pub(super) fn quick(&self, key: impl Fn(u64, &[u8]) -> Option<u32>) -> Quick {
        let [test] = self.leaf.tests.as_slice() else { return Quick::Ask };
        if self.leaf.absent {
            return Quick::Ask;
        }
        let range = if let Test::All(tests) = test {
            tests.iter().try_fold((i64::MIN, i64::MAX), |(low, high), test| {
                let (lower, upper) = range(test)?;
                Some((low.max(lower), high.min(upper)))
            })
        } else {
            range(test)
        };
        if let Some((low, high)) = range {
            return Quick::Within(low, high);
        }
        if let Test::Prefix(text) = test {
            return Short::of(text).map_or(Quick::Ask, Quick::Starts);
        }
        if let Test::Suffix(text) = test {
            return Short::of(text).map_or(Quick::Ask, Quick::Ends);
        }
        match exact(test) {
            // An address has a key besides that of its text.
            None | Some((KeyKind::Address, _)) => Quick::Ask,
            Some((kind, bytes)) => key(kind.place(self.path), &bytes).map_or(Quick::Ask, Quick::Key),
        }
    }

    /// How dear it is to ask, roughly.
    pub(super) fn cost(&self) -> usize {
        let tests: usize = self.leaf.tests.iter().map(cost).sum();
        tests + usize::from(self.leaf.absent)
    }
}

/// The key of a matcher that accepts one value.
fn exact(test: &Test) -> Option<(KeyKind, KeyBytes<'_>)> {
    match test {
        Test::Null => Some((KeyKind::Word, b"n"[..].into())),
        Test::Bool(true) => Some((KeyKind::Word, b"t"[..].into())),
        Test::Bool(false) => Some((KeyKind::Word, b"f"[..].into())),
        Test::Text(text) => Some((KeyKind::Text, text.as_bytes().into())),
        Test::Number(Amount::Fixed(value)) => Some((KeyKind::Number, value.to_le_bytes().to_vec().into())),
        Test::Address(address) => Some((KeyKind::Address, address.to_string().into_bytes().into())),
        Test::Any
        | Test::Number(Amount::Exact(_))
        | Test::Spelled(_)
        | Test::Prefix(_)
        | Test::Suffix(_)
        | Test::Contains(_)
        | Test::Wildcard(_)
        | Test::EqualsFolded(_)
        | Test::PrefixFolded(_)
        | Test::SuffixFolded(_)
        | Test::Cidr(_)
        | Test::Numeric { .. }
        | Test::All(_)
        | Test::Not(_) => None,
    }
}

/// The key of a matcher that asks for a beginning or an end, perhaps among other things.
fn end(test: &Test) -> Option<(KeyKind, KeyBytes<'_>)> {
    let (kind, text) = match test {
        Test::Prefix(text) => (KeyKind::Prefix, text),
        Test::Suffix(text) => (KeyKind::Suffix, text),
        Test::All(tests) => return tests.iter().find_map(end),
        Test::Any
        | Test::Null
        | Test::Bool(_)
        | Test::Number(_)
        | Test::Spelled(_)
        | Test::Text(_)
        | Test::Address(_)
        | Test::Contains(_)
        | Test::Wildcard(_)
        | Test::EqualsFolded(_)
        | Test::PrefixFolded(_)
        | Test::SuffixFolded(_)
        | Test::Cidr(_)
        | Test::Numeric { .. }
        | Test::Not(_) => return None,
    };
    (!text.is_empty()).then(|| (kind, text.as_bytes().into()))
}

/// The key of a value of the event.
pub(super) fn key_of(keys: &Keys, path: u32, leaf: &FoundLeaf<'_>) -> Option<u32> {
    leaf.forms.key(|| match &leaf.value {
        Scalar::Null => keys.get(KeyKind::Word.place(path), b"n"),
        Scalar::Bool(true) => keys.get(KeyKind::Word.place(path), b"t"),
        Scalar::Bool(false) => keys.get(KeyKind::Word.place(path), b"f"),
        Scalar::Text(text) => keys.get(KeyKind::Text.place(path), text.as_bytes()),
        Scalar::Number(text) => {
            let millionths = leaf.forms.millionths(text)?;
            keys.get(KeyKind::Number.place(path), &millionths.to_le_bytes())
        }
    })
}

/// The key of a text as an address.
pub(super) fn address_key_of(keys: &Keys, path: u32, leaf: &FoundLeaf<'_>) -> Option<u32> {
    let Scalar::Text(text) = &leaf.value else { return None };
    let address = leaf.forms.address(text, Dialect::Aws)?;
    keys.get(KeyKind::Address.place(path), address.to_string().as_bytes())
}

/// The closed range in millionths that a comparison asks for; for a value in millionths it decides.
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

fn cost(test: &Test) -> usize {
    match test {
        Test::Any | Test::Null | Test::Bool(_) => 1,
        Test::Number(_) | Test::Spelled(_) | Test::Text(_) | Test::Prefix(_) | Test::Suffix(_) => 2,
        Test::Numeric { .. } => 3,
        Test::Address(_) | Test::Cidr(_) => 6,
        Test::EqualsFolded(_) | Test::PrefixFolded(_) | Test::SuffixFolded(_) => 6,
        Test::Contains(_) | Test::Wildcard(_) => 10,
        Test::All(tests) | Test::Not(tests) => tests.iter().map(cost).sum(),
    }
}

/// The conditions by number.
pub(super) fn condition(conditions: &[Condition], number: u32) -> Option<&Condition> {
    conditions.get(index(number))
}
