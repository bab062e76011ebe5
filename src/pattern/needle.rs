//! `Needle`: a text to be looked for in others, prepared for it. Two are the same if their texts are.

use memchr::memmem::Finder;
use std::hash::{Hash, Hasher};

#[derive(Debug, Clone)]
pub(super) struct Needle(Finder<'static>);

impl Needle {
    pub(super) fn new(text: &str) -> Self {
        Self(Finder::new(text).into_owned())
    }

    /// Where it begins in `text` first.
    pub(super) fn find(&self, text: &[u8]) -> Option<usize> {
        self.0.find(text)
    }

    /// Its length in bytes.
    pub(super) fn len(&self) -> usize {
        self.0.needle().len()
    }
}

impl PartialEq for Needle {
    fn eq(&self, other: &Self) -> bool {
        self.0.needle() == other.0.needle()
    }
}

impl Eq for Needle {}

impl Hash for Needle {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.needle().hash(state);
    }
}
