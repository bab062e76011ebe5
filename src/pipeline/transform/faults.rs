//! Collects what is wrong with a target, all of it, each with pointer and place.

use crate::model::fault::{Fault, Place};
use crate::model::node::{Key, Node};

/// Where in a target we are: a JSON pointer and a place in a file.
#[derive(Debug, Clone)]
pub(super) struct Spot {
    pub(super) pointer: String,
    pub(super) place: Place,
}

impl Spot {
    pub(super) fn new(pointer: &str, place: &Place) -> Self {
        Self { pointer: pointer.to_owned(), place: place.clone() }
    }

    /// The part called `token`, which stands at `place`.
    pub(super) fn child(&self, token: &str, place: &Place) -> Self {
        let token = token.replace('~', "~0").replace('/', "~1");
        Self { pointer: format!("{}/{token}", self.pointer), place: place.clone() }
    }

    /// The value of an entry.
    pub(super) fn value(&self, key: &Key, node: &Node) -> Self {
        self.child(&key.name, &node.place)
    }

    /// An element of a list.
    pub(super) fn element(&self, index: usize, node: &Node) -> Self {
        self.child(&index.to_string(), &node.place)
    }
}

/// Errors and warnings, in the order found.
#[derive(Debug, Default)]
pub(super) struct Faults {
    pub(super) errors: Vec<Fault>,
    pub(super) warnings: Vec<Fault>,
}

impl Faults {
    pub(super) fn value(&mut self, at: &Spot, message: impl Into<String>, cure: impl Into<String>) {
        self.add("CONFIG_VALUE", at, message, cure);
    }

    pub(super) fn unknown_key(&mut self, at: &Spot, message: impl Into<String>, cure: impl Into<String>) {
        self.add("CONFIG_UNKNOWN_KEY", at, message, cure);
    }

    pub(super) fn unused(&mut self, at: &Spot, message: impl Into<String>) {
        let fault = Fault::warning("TRANSFORM_UNUSED_VALUE", &*at.pointer, message).at(at.place.clone());
        self.warnings.push(fault);
    }

    fn add(&mut self, code: &'static str, at: &Spot, message: impl Into<String>, cure: impl Into<String>) {
        self.errors.push(Fault::error(code, &*at.pointer, message).cure(cure).at(at.place.clone()));
    }
}
