//! `Pool`: what many patterns say alike, kept once. A rule set of thousands of rules names a few paths and often asks the
//! same of them; shared, they take little memory, and the index sees that they are the same.

use super::matcher::Leaf;
use super::{Options, Path};
use std::collections::HashSet;
use std::sync::Arc;

/// The parts that patterns compiled with it share. Kept for as long as patterns are compiled, no longer.
#[derive(Debug, Default)]
pub struct Pool {
    names: HashSet<Arc<str>>,
    /// Lists of paths.
    paths: HashSet<Arc<[Path]>>,
    leaves: HashSet<Arc<Leaf>>,
    options: Vec<Arc<Options>>,
}

impl Pool {
    pub(super) fn name(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.names.get(name) {
            return Arc::clone(known);
        }
        let new: Arc<str> = name.into();
        self.names.insert(Arc::clone(&new));
        new
    }

    pub(super) fn paths(&mut self, paths: Vec<Path>) -> Arc<[Path]> {
        if let Some(known) = self.paths.get(paths.as_slice()) {
            return Arc::clone(known);
        }
        let new: Arc<[Path]> = paths.into();
        self.paths.insert(Arc::clone(&new));
        new
    }

    pub(super) fn leaf(&mut self, leaf: Leaf) -> Arc<Leaf> {
        if let Some(known) = self.leaves.get(&leaf) {
            return Arc::clone(known);
        }
        let new = Arc::new(leaf);
        self.leaves.insert(Arc::clone(&new));
        new
    }

    pub(super) fn options(&mut self, options: &Options) -> Arc<Options> {
        if let Some(known) = self.options.iter().find(|known| ***known == *options) {
            return Arc::clone(known);
        }
        let new = Arc::new(options.clone());
        self.options.push(Arc::clone(&new));
        new
    }
}
