//! What was compiled for a line, kept for the next ones that ask the same.

use std::collections::HashMap;
use std::rc::Rc;

/// Things kept at most.
const MAX_ENTRIES: usize = 4_096;
/// Bytes of the texts they are compiled from, at most.
const MAX_BYTES: usize = 16 << 20;

/// Compiled things by the text they come from. When it is full it begins anew: suites ask in runs.
#[derive(Debug)]
pub(super) struct Cache<T> {
    entries: HashMap<String, Rc<T>>,
    bytes: usize,
}

impl<T> Default for Cache<T> {
    fn default() -> Self {
        Self { entries: HashMap::new(), bytes: 0 }
    }
}

impl<T> Cache<T> {
    /// What `key` stands for, compiled now if it was not before.
    pub(super) fn get(&mut self, key: String, compile: impl FnOnce() -> T) -> Rc<T> {
        if let Some(found) = self.entries.get(&key) {
            return Rc::clone(found);
        }
        let made = Rc::new(compile());
        if self.entries.len() >= MAX_ENTRIES || self.bytes + key.len() > MAX_BYTES {
            self.entries.clear();
            self.bytes = 0;
        }
        // What would fill it alone is not worth keeping.
        if key.len() <= MAX_BYTES / 16 {
            self.bytes += key.len();
            self.entries.insert(key, Rc::clone(&made));
        }
        made
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_compiles_once_and_stays_bounded() {
        let mut cache = Cache::default();
        let mut compiled = 0;
        for i in 0..3 * MAX_ENTRIES {
            for _ in 0..2 {
                cache.get(format!("{i}"), || compiled += 1);
            }
        }
        assert_eq!(compiled, 3 * MAX_ENTRIES);
        assert!(cache.entries.len() <= MAX_ENTRIES);
        cache.get("x".repeat(MAX_BYTES), || ());
        assert!(cache.bytes <= MAX_BYTES);
    }
}
