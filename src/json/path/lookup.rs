//! `Lookup`: what many definite paths find, in one walk over the document.

use super::{Path, Step};
use crate::json::item::Item;
use crate::json::value::{Json, Kind};
use smallvec::{SmallVec, smallvec};

/// Paths with more steps are looked up one by one: the walk goes as deep as the longest path.
const MAX_STEPS: usize = 32;

/// Definite paths, joined where they begin alike.
#[derive(Debug, Default)]
pub struct Lookup {
    root: Node,
    len: usize,
}

#[derive(Debug, Default)]
struct Node {
    /// Where to put what stands here.
    slot: Option<usize>,
    names: Vec<(Box<str>, Node)>,
    indexes: Vec<(i64, Node)>,
}

impl Lookup {
    /// Adds a path; gives the slot that will hold what it finds. `None` if it is not definite, or very long.
    pub fn add(&mut self, path: &Path) -> Option<usize> {
        let steps = path.steps().filter(|steps| steps.len() <= MAX_STEPS)?;
        let node = steps.iter().try_fold(&mut self.root, Node::child)?;
        let slot = *node.slot.get_or_insert(self.len);
        self.len = self.len.max(slot + 1);
        Some(slot)
    }

    /// What each path finds, by its slot.
    #[must_use]
    pub fn find<'a>(&self, root: Item<'a>) -> SmallVec<[Option<Item<'a>>; 8]> {
        let mut found = smallvec![None; self.len];
        if self.len > 0 {
            self.root.visit(root, &mut found);
        }
        found
    }
}

impl Node {
    fn child(&mut self, step: &Step) -> Option<&mut Self> {
        match step {
            Step::Name(name) => entry(&mut self.names, name),
            Step::Index(index) => entry(&mut self.indexes, index),
        }
    }

    fn visit<'a>(&self, item: Item<'a>, found: &mut [Option<Item<'a>>]) {
        if let Some(place) = self.slot.and_then(|slot| found.get_mut(slot)) {
            *place = Some(item);
        }
        match item {
            Item::Json(json) if json.kind() == Kind::Object => self.visit_members(json, found),
            Item::Json(_) | Item::Document(_) => {
                for (name, child) in &self.names {
                    if let Some(value) = item.get(name) {
                        child.visit(value, found);
                    }
                }
                for (index, child) in &self.indexes {
                    if let Some(value) = item.at(*index) {
                        child.visit(value, found);
                    }
                }
            }
            Item::Text(_) | Item::Base64(_) => {}
        }
    }

    /// Of duplicate keys the last counts, so that all members are passed before one is looked into.
    fn visit_members<'a>(&self, object: Json<'a>, found: &mut [Option<Item<'a>>]) {
        if self.names.is_empty() {
            return;
        }
        let mut values: SmallVec<[Option<Json<'a>>; 8]> = smallvec![None; self.names.len()];
        for (key, value) in object.members().into_iter().flatten() {
            for ((name, _), last) in self.names.iter().zip(&mut values) {
                if key.is(name) {
                    *last = Some(value);
                    break;
                }
            }
        }
        for ((_, child), value) in self.names.iter().zip(values) {
            if let Some(value) = value {
                child.visit(Item::Json(value), found);
            }
        }
    }
}

/// The child of that name or index, perhaps a new one.
fn entry<'n, K: PartialEq + Clone>(children: &'n mut Vec<(K, Node)>, key: &K) -> Option<&'n mut Node> {
    let at = children.iter().position(|(known, _)| known == key).unwrap_or(children.len());
    if at == children.len() {
        // Nearly all have one child, and there may be ten thousand targets.
        children.reserve_exact(1);
        children.push((key.clone(), Node::default()));
    }
    children.get_mut(at).map(|(_, child)| child)
}

#[cfg(test)]
mod tests {
    use super::super::{Found, Path};
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn finds_what_each_path_finds(
            paths in prop::collection::vec(r"\$(\.[abc]|\['\\u0061'\]|\[[0-2]\]|\[-[12]\]){0,4}", 0..8),
            text in r#"(\{("a|"b|"\\u0061|"c|"d)":(\[1,2,\{"a":\[3\],"b":\[[0-4],\{\}\]\}\]|\{"b":\{"a":1,"c":2\},"a":[0-9],"b":\[5\]\}|"x"),"b":[0-9]\})"#,
        ) {
            prop_assume!(Json::check(text.as_bytes()).is_ok());
            let root = Item::Json(Json::trusted(&text));
            let paths: Vec<Path> = paths.iter().map(|path| Path::parse(path).unwrap()).collect();
            let mut lookup = Lookup::default();
            let slots: Vec<usize> = paths.iter().map(|path| lookup.add(path).unwrap()).collect();
            let found = lookup.find(root);
            let text_of = |item: Item<'_>| {
                let mut out = String::new();
                item.write_compact(&mut out);
                out
            };
            for (path, slot) in paths.iter().zip(slots) {
                let alone = path.find(root).unwrap().map(|found| match found {
                    Found::One(item) => text_of(item),
                    Found::List(_) => unreachable!(),
                });
                prop_assert_eq!(found[slot].map(text_of), alone, "{:?} in {}", path, text);
            }
        }
    }

    #[test]
    fn only_short_definite_paths_have_a_slot() {
        let mut lookup = Lookup::default();
        assert_eq!(lookup.add(&Path::parse("$.a.b").unwrap()), Some(0));
        assert_eq!(lookup.add(&Path::parse("$.a").unwrap()), Some(1));
        assert_eq!(lookup.add(&Path::parse("$['a']['b']").unwrap()), Some(0));
        assert_eq!(lookup.add(&Path::parse("$.a[*]").unwrap()), None);
        assert_eq!(lookup.add(&Path::parse(&format!("${}", ".a".repeat(100_000))).unwrap()), None);
        assert!(Lookup::default().find(Item::Text("x")).is_empty());
    }
}
