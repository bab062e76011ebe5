//! The leaves of a document at all paths of a trie (event-patterns.md rules 5, 6, 23), found in one walk.
//!
//! The memory stays from event to event: [`Leaves::recycle`] empties it for the next.

use super::index::keys::index;
use super::matcher::{Forms, Scalar};
use super::trie::Trie;
use super::walk;
use crate::json::document::Document;
use crate::json::value::{Json, Kind};
use crate::model::resources::Dialect;
use smallvec::SmallVec;

/// A scalar at a path, and the elements of arrays that were walked into on the way.
#[derive(Debug)]
pub(super) struct FoundLeaf<'d> {
    pub(super) value: Scalar<'d>,
    /// Other forms of the value.
    pub(super) forms: Forms,
    /// From the outermost array inwards.
    pub(super) bindings: SmallVec<[Binding; 2]>,
    /// The next leaf at the same path.
    next: u32,
}

/// An array, numbered as the walk meets them, and one of its elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Binding {
    pub(super) array: u32,
    pub(super) element: u32,
}

/// What is at one path.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slot {
    /// The event it is about.
    event: u32,
    first: u32,
    last: u32,
    /// Leaves in all.
    pub(super) count: u32,
    /// Some leaf is bound to an element.
    pub(super) bound: bool,
    /// All leaves are bound to elements.
    pub(super) all_bound: bool,
}

const END: u32 = u32::MAX;

impl Slot {
    const EMPTY: Self = Self { event: 0, first: END, last: END, count: 0, bound: false, all_bound: true };
}

/// The leaves of one document at all paths of a trie. Leaves of one array stand together: first its scalars, then
/// element after element.
#[derive(Debug, Default)]
pub(super) struct Leaves<'d> {
    all: Vec<FoundLeaf<'d>>,
    /// By path.
    slots: Vec<Slot>,
    /// The paths that have leaves, in the order they were found.
    found: Vec<u32>,
    /// The number of this event; what slots say of another is void.
    event: u32,
    /// A bit for each path, modulo 64, with a leaf that is bound to an element.
    bound: u64,
}

impl<'d> Leaves<'d> {
    /// The leaves of one document.
    pub(super) fn of(document: &'d Document<'_>, trie: &Trie, dialect: Dialect) -> Self {
        let mut leaves = Leaves::default();
        leaves.fill(document, trie, dialect, &mut walk::Memory::default());
        leaves
    }

    /// Empties itself for another document.
    pub(super) fn recycle<'n>(self) -> Leaves<'n> {
        // Collecting in place keeps the memory of the vector.
        let all = self.all.into_iter().map_while(|_| None).collect();
        Leaves { all, slots: self.slots, found: self.found, event: self.event, bound: 0 }
    }

    /// Walks over a document. The leaves and the memory must be new or those of another document, and always of the same
    /// trie.
    pub(super) fn fill(
        &mut self,
        document: &'d Document<'_>,
        trie: &Trie,
        dialect: Dialect,
        memory: &mut walk::Memory,
    ) {
        self.restart(trie);
        if walk::walk(document, trie, dialect, false, self, memory).is_err() {
            // A duplicate key: the earlier value has left leaves behind.
            self.restart(trie);
            walk::walk(document, trie, dialect, true, self, memory).unwrap_or_default();
        }
    }

    fn restart(&mut self, trie: &Trie) {
        self.all.clear();
        self.found.clear();
        self.bound = 0;
        self.event = self.event.checked_add(1).unwrap_or_else(|| {
            self.slots.clear();
            1
        });
        self.slots.resize(trie.paths(), Slot::EMPTY);
    }

    /// Adds a scalar at a path, in these elements of arrays, from the outermost array inwards.
    #[inline(always)]
    pub(super) fn push(&mut self, path: u32, value: Scalar<'d>, bindings: &[Binding]) {
        let number = u32::try_from(self.all.len()).unwrap_or(END);
        let Some(slot) = self.slots.get_mut(index(path)) else { return };
        let bound = !bindings.is_empty();
        if slot.event == self.event {
            slot.bound |= bound;
            slot.all_bound &= bound;
            slot.count += 1;
            let last = std::mem::replace(&mut slot.last, number);
            self.link(last, number);
        } else {
            *slot = Slot { event: self.event, first: number, last: number, count: 1, bound, all_bound: bound };
            self.found.push(path);
        }
        // Made where it is to lie: what is made elsewhere is copied, and a copy waits for what has just been written.
        let mut value = Some(value);
        let leaf = || FoundLeaf {
            value: value.take().unwrap_or(Scalar::Null),
            forms: Forms::default(),
            bindings: SmallVec::new(),
            next: END,
        };
        self.all.extend(std::iter::repeat_with(leaf).take(1));
        if bound {
            self.bind(path, bindings);
        }
    }

    #[inline(never)]
    fn link(&mut self, last: u32, next: u32) {
        if let Some(last) = self.all.get_mut(index(last)) {
            last.next = next;
        }
    }

    /// The last leaf is in these elements.
    #[inline(never)]
    fn bind(&mut self, path: u32, bindings: &[Binding]) {
        self.bound |= path_bit(path);
        if let Some(leaf) = self.all.last_mut() {
            leaf.bindings = match bindings {
                // What most often is needs no loop.
                [one] => SmallVec::from_buf_and_len([*one; 2], 1),
                some => SmallVec::from_slice(some),
            };
        }
    }

    /// What is at a path.
    pub(super) fn slot(&self, path: u32) -> Slot {
        self.slots.get(index(path)).filter(|slot| slot.event == self.event).copied().unwrap_or(Slot::EMPTY)
    }

    /// The only leaf at a path, if there is just one.
    pub(super) fn single(&self, path: u32) -> Option<&FoundLeaf<'d>> {
        let slot = self.slots.get(index(path))?;
        if slot.event == self.event && slot.count == 1 { self.all.get(index(slot.first)) } else { None }
    }

    /// The leaves at a path.
    pub(super) fn at(&self, path: u32) -> impl Iterator<Item = &FoundLeaf<'d>> {
        let mut next = self.slot(path).first;
        std::iter::from_fn(move || {
            let leaf = self.all.get(index(next))?;
            next = leaf.next;
            Some(leaf)
        })
    }

    /// The paths that have leaves.
    pub(super) fn paths(&self) -> &[u32] {
        &self.found
    }

    /// A bit for each path, see [`path_bit`], with a leaf that is bound to an element.
    pub(super) fn bound(&self) -> u64 {
        self.bound
    }
}

/// The bit that stands for a path, among others.
pub(super) fn path_bit(path: u32) -> u64 {
    1 << (path % 64)
}

/// The scalar that `json` is.
pub(super) fn scalar(json: Json<'_>) -> Scalar<'_> {
    match json.kind() {
        Kind::Bool => Scalar::Bool(json.text() == "true"),
        Kind::Number => Scalar::Number(json.text()),
        Kind::String => Scalar::Text(json.as_str().unwrap_or_default()),
        Kind::Null | Kind::Array | Kind::Object => Scalar::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_kept_from_event_to_event() {
        let mut trie = Trie::default();
        let path = trie.insert("a");
        let event = br#"{"a":[1,2,3,4,5,6,7]}"#;
        let document = Document::from_object(Json::check(event).unwrap()).unwrap();
        let leaves = Leaves::of(&document, &trie, Dialect::Tidegate);
        let (capacity, pointer) = (leaves.all.capacity(), leaves.all.as_ptr());
        let mut again = leaves.recycle();
        assert_eq!((again.all.capacity(), again.all.as_ptr()), (capacity, pointer));
        let document = Document::from_object(Json::check(b"{}").unwrap()).unwrap();
        again.fill(&document, &trie, Dialect::Tidegate, &mut walk::Memory::default());
        assert_eq!((again.slot(path).count, again.at(path).count()), (0, 0));
    }
}
