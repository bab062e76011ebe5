//! Meter: what one evaluation of a path may cost. A path may look at the same text again and again, `$..*..*` or a filter
//! with a query of its own, and an event may be made to make the most of that.

use super::regexp::Regexp;
use crate::json::item::Item;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

/// What looking at one value costs at least, in bytes read.
const LOOK: usize = 16;
/// What compiling an expression costs, and applying it to each byte: they are as large as the event makes them.
const COMPILE: usize = 256 << 10;
const APPLY: usize = 1 << 10;

/// The bounds of one evaluation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Bytes of JSON that it reads, counted each time it reads them.
    pub(super) read: usize,
    /// Values that it finds, those on the way included.
    pub(super) found: usize,
    /// Bytes of the values that it gives in the end, which may stand inside each other.
    pub(super) written: usize,
}

impl Limits {
    /// Far above what a sensible path needs, and done in less than a second.
    pub(super) const USUAL: Self = Self { read: 256 << 20, found: 1_000_000, written: 64 << 20 };
}

/// An event on which a path costs too much. Nothing is known of what the path would find.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TooCostly {
    /// It reads more bytes than that.
    #[error("in this event it would read more than {0} bytes to find its values")]
    Read(usize),
    /// It finds more values than that.
    #[error("in this event it finds more than {0} values")]
    Found(usize),
    /// What it finds has more bytes than that.
    #[error("what it finds in this event is longer than {0} bytes")]
    Written(usize),
}

/// One evaluation: its root, what it has cost so far, and the expressions that it took from the event.
pub(super) struct Meter<'a> {
    pub(super) root: Item<'a>,
    limits: Limits,
    read: Cell<usize>,
    found: Cell<usize>,
    regexps: RefCell<HashMap<String, Option<Rc<Regexp>>>>,
}

impl<'a> Meter<'a> {
    pub(super) fn new(root: Item<'a>, limits: Limits) -> Self {
        Self { root, limits, read: Cell::new(0), found: Cell::new(0), regexps: RefCell::default() }
    }

    /// Notes that `item` is read as far as its children.
    pub(super) fn read(&self, item: Item<'_>) -> Result<(), TooCostly> {
        self.spend(length(item))
    }

    /// Notes `values` found.
    pub(super) fn found(&self, values: usize) -> Result<(), TooCostly> {
        self.found.set(self.found.get().saturating_add(values));
        if self.found.get() > self.limits.found { Err(TooCostly::Found(self.limits.found)) } else { Ok(()) }
    }

    /// Whether `text` is described by an expression that the event holds; each is compiled once.
    pub(super) fn matches(&self, pattern: &str, text: &str, whole: bool) -> Result<bool, TooCostly> {
        self.spend(text.len().saturating_mul(APPLY))?;
        let known = self.regexps.borrow().get(pattern).cloned();
        let regexp = match known {
            Some(known) => known,
            None => {
                self.spend(COMPILE)?;
                let compiled = Regexp::parse(pattern).map(Rc::new);
                self.regexps.borrow_mut().insert(pattern.to_owned(), compiled.clone());
                compiled
            }
        };
        Ok(regexp.is_some_and(|regexp| regexp.matches(text, whole)))
    }

    /// Whether the values are short enough to be written as one list.
    pub(super) fn written(&self, values: &[Item<'_>]) -> Result<(), TooCostly> {
        let total = values.iter().fold(0_usize, |sum, item| sum.saturating_add(length(*item)));
        if total > self.limits.written { Err(TooCostly::Written(self.limits.written)) } else { Ok(()) }
    }

    fn spend(&self, bytes: usize) -> Result<(), TooCostly> {
        self.read.set(self.read.get().saturating_add(bytes));
        if self.read.get() > self.limits.read { Err(TooCostly::Read(self.limits.read)) } else { Ok(()) }
    }
}

fn length(item: Item<'_>) -> usize {
    match item {
        Item::Document(members) => members.len() * LOOK,
        Item::Json(json) => json.text().len() + LOOK,
        Item::Text(text) => text.len() + LOOK,
        Item::Base64(bytes) => bytes.len() * 2 + LOOK,
    }
}
