//! A second evaluator, written from the words of event-patterns.md alone: read the whole text into a tree, flatten the
//! event, go through every alternative, try every choice. It shares nothing with the compiled one but the reading of
//! JSON. Tests compare the two.

mod scalar;
mod valid;

use crate::json::value::{Json, Kind};
use crate::model::resources::Dialect;
use std::collections::BTreeMap;

/// A JSON value; numbers as spelled, strings decoded, duplicate keys kept.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Tree {
    Null,
    Bool(bool),
    Number(String),
    Text(String),
    Array(Vec<Tree>),
    Object(Vec<(String, Tree)>),
}

impl Tree {
    fn of(json: Json<'_>) -> Self {
        match json.kind() {
            Kind::Null => Self::Null,
            Kind::Bool => Self::Bool(json.text() == "true"),
            Kind::Number => Self::Number(json.text().to_owned()),
            Kind::String => Self::Text(json.as_str().unwrap().into_owned()),
            Kind::Array => Self::Array(json.elements().unwrap().map(Self::of).collect()),
            Kind::Object => {
                Self::Object(json.members().unwrap().map(|(key, v)| (key.decode().into_owned(), Self::of(v))).collect())
            }
        }
    }
}

/// A leaf of the event: its path, its value, and which element of which array it is in.
#[derive(Debug, Clone)]
struct Flat {
    path: String,
    value: Tree,
    bindings: BTreeMap<usize, usize>,
}

/// A path and one list of matchers for it.
type Constraint<'t> = (String, &'t [Tree]);

/// Path and matchers, in the order of the text.
type Alternative = Vec<(String, Vec<Tree>)>;

/// A pattern, read but not prepared.
#[derive(Debug)]
pub(crate) struct Naive {
    pattern: Tree,
    dialect: Dialect,
    alias: bool,
    all_or_qualify: bool,
}

/// Rule 11.
fn is_special(key: &str, value: &Tree, dialect: Dialect) -> bool {
    let Tree::Array(branches) = value else { return false };
    let object = |branch: &Tree| matches!(branch, Tree::Object(members) if !members.is_empty());
    key == "$or" && branches.len() >= 2 && branches.iter().all(|branch| object(branch) && !reserves(branch, dialect))
}

fn reserves(branch: &Tree, dialect: Dialect) -> bool {
    let Tree::Object(members) = branch else { return false };
    members.iter().any(|(key, value)| {
        let own = "exactly prefix suffix equals-ignore-case wildcard anything-but numeric cidr exists";
        let aws = "= < <= > >= regex not-wildcard not-equals-ignore-case date-after date-on-or-after date-before \
                   date-on-or-before in-date-range ip-address-in-range ip-address-not-in-range";
        own.split(' ').any(|name| name == key)
            || (dialect == Dialect::Aws && (aws.split(' ').any(|name| name == key) || reserves(value, dialect)))
    })
}

/// Rule 11 of `aws`: whether every `$or` qualifies, at whatever depth.
fn all_qualify(object: &Tree) -> bool {
    let Tree::Object(members) = object else { return true };
    members.iter().all(|(key, value)| match (key.as_str(), value) {
        ("$or", Tree::Array(branches)) => is_special(key, value, Dialect::Aws) && branches.iter().all(all_qualify),
        ("$or", _) => false,
        _ => all_qualify(value),
    })
}

impl Naive {
    /// Reads a pattern.
    ///
    /// # Errors
    /// The pointers of all faults.
    pub(crate) fn read(text: &str, dialect: Dialect, alias: bool) -> Result<Self, Vec<String>> {
        let json = Json::check(text.as_bytes()).ok().filter(|_| text.len() <= 65_536);
        let Some(pattern @ Tree::Object(_)) = json.map(Tree::of) else { return Err(vec![String::new()]) };
        let all_or_qualify = dialect == Dialect::Tidegate || all_qualify(&pattern);
        let faults = valid::faults(&pattern, dialect, all_or_qualify);
        if !faults.is_empty() {
            return Err(faults);
        }
        let naive = Self { pattern, dialect, alias, all_or_qualify };
        if dialect == Dialect::Aws && naive.count(&naive.pattern) > 1_000 {
            return Err(vec![String::new()]);
        }
        Ok(naive)
    }

    /// How many alternatives there are: a pattern of 3 kB may have more than can be written down.
    fn count(&self, pattern: &Tree) -> u64 {
        let Tree::Object(members) = pattern else { return 1 };
        let ways = members.iter().map(|(key, value)| match self.branches(key, value) {
            Some(branches) => branches.iter().map(|branch| self.count(branch)).fold(0, u64::saturating_add),
            None => self.count(value),
        });
        ways.fold(1, u64::saturating_mul)
    }

    fn branches<'t>(&self, key: &str, value: &'t Tree) -> Option<&'t [Tree]> {
        match value {
            Tree::Array(branches) if self.all_or_qualify && is_special(key, value, self.dialect) => Some(branches),
            Tree::Null | Tree::Bool(_) | Tree::Number(_) | Tree::Text(_) | Tree::Array(_) | Tree::Object(_) => None,
        }
    }

    /// Whether an event matches.
    pub(crate) fn matches(&self, event: &str) -> bool {
        let mut leaves = Vec::new();
        let event = Tree::of(Json::check(event.as_bytes()).unwrap());
        self.flatten(&event, None, &BTreeMap::new(), &mut 0, &mut leaves);
        match self.dialect {
            Dialect::Tidegate => self.some_alternative(vec![(None, &self.pattern)], Vec::new(), &[], &leaves),
            Dialect::Aws => self.expand(&self.pattern, None, vec![Vec::new()]).iter().any(|alternative| {
                let paths: BTreeMap<&String, &Vec<Tree>> = alternative.iter().map(|(path, m)| (path, m)).collect();
                some_choice_aws(&paths.into_iter().collect::<Vec<_>>(), &leaves, &BTreeMap::new())
            }),
        }
    }

    /// Rules 6, 10, 24, 29: adds the constraints of `objects` to those before, then goes through the branches of each
    /// `$or`. There may be more alternatives than can be tried, so those that begin alike are given up together, once
    /// what they have in common cannot be had even if everything that may be absent is.
    fn some_alternative<'t>(
        &self,
        mut objects: Vec<(Option<String>, &'t Tree)>,
        mut ors: Vec<(Option<String>, &'t [Tree])>,
        before: &[Constraint<'t>],
        leaves: &[Flat],
    ) -> bool {
        let mut constraints = before.to_vec();
        while let Some((path, object)) = objects.pop() {
            let Tree::Object(members) = object else { panic!("{object:?}") };
            for (key, value) in members {
                let here = self.below(path.as_deref(), key);
                match (value, self.branches(key, value)) {
                    (_, Some(branches)) => ors.push((path.clone(), branches)),
                    (Tree::Object(_), None) => objects.push((Some(here), value)),
                    (Tree::Array(matchers), None) => constraints.push((here, matchers)),
                    (Tree::Null | Tree::Bool(_) | Tree::Number(_) | Tree::Text(_), None) => {
                        constraints.push((here, std::slice::from_ref(value)));
                    }
                }
            }
        }
        let certain: Vec<_> = constraints.iter().filter(|(_, matchers)| !allows_absence(matchers)).cloned().collect();
        if !some_choice(&by_path(&certain), leaves, &BTreeMap::new(), &[]) {
            return false;
        }
        match ors.pop() {
            None => some_choice(&by_path(&constraints), leaves, &BTreeMap::new(), &[]),
            Some((path, branches)) => branches
                .iter()
                .any(|branch| self.some_alternative(vec![(path.clone(), branch)], ors.clone(), &constraints, leaves)),
        }
    }

    /// Rules 6, 10, 29 of `aws`: all ways through the branches, at most 1,000.
    fn expand(&self, pattern: &Tree, path: Option<&str>, before: Vec<Alternative>) -> Vec<Alternative> {
        let Tree::Object(members) = pattern else { panic!("{pattern:?}") };
        let mut alternatives = before;
        for (key, value) in members {
            let here = self.below(path, key);
            alternatives = match (value, self.branches(key, value)) {
                (_, Some(branches)) => {
                    branches.iter().flat_map(|branch| self.expand(branch, path, alternatives.clone())).collect()
                }
                (Tree::Object(_), None) => self.expand(value, Some(&here), alternatives),
                (Tree::Array(matchers), None) => with(alternatives, &here, matchers),
                (Tree::Null | Tree::Bool(_) | Tree::Number(_) | Tree::Text(_), None) => {
                    with(alternatives, &here, std::slice::from_ref(value))
                }
            };
        }
        alternatives
    }

    fn below(&self, path: Option<&str>, key: &str) -> String {
        path.map_or_else(|| self.top_level(key), |path| format!("{path}.{key}"))
    }

    /// Rule 4.
    fn top_level(&self, key: &str) -> String {
        let (first, rest) = key.find('.').map_or((key, ""), |i| key.split_at(i));
        match first {
            "detail-type" if self.alias => format!("type{rest}"),
            "detail" if self.alias => format!("data{rest}"),
            _ => key.to_owned(),
        }
    }

    /// Rules 5, 6, 23, 26. Arrays are numbered in the order they are met.
    fn flatten(
        &self,
        value: &Tree,
        path: Option<&str>,
        bindings: &BTreeMap<usize, usize>,
        arrays: &mut usize,
        out: &mut Vec<Flat>,
    ) {
        match value {
            Tree::Object(members) => {
                for (i, (key, value)) in members.iter().enumerate() {
                    let later = members[i + 1..].iter().any(|(other, _)| other == key);
                    if later && self.dialect == Dialect::Tidegate {
                        continue;
                    }
                    let path = path.map_or_else(|| key.clone(), |path| format!("{path}.{key}"));
                    self.flatten(value, Some(&path), bindings, arrays, out);
                }
            }
            Tree::Array(elements) => {
                let array = *arrays;
                *arrays += 1;
                for (i, element) in elements.iter().enumerate() {
                    let mut bindings = bindings.clone();
                    if matches!(element, Tree::Object(_) | Tree::Array(_)) {
                        bindings.insert(array, i);
                    }
                    self.flatten(element, path, &bindings, arrays, out);
                }
            }
            Tree::Null | Tree::Bool(_) | Tree::Number(_) | Tree::Text(_) => out.push(Flat {
                path: path.unwrap_or_default().to_owned(),
                value: value.clone(),
                bindings: bindings.clone(),
            }),
        }
    }
}

fn with(mut alternatives: Vec<Alternative>, path: &str, matchers: &[Tree]) -> Vec<Alternative> {
    for alternative in &mut alternatives {
        alternative.push((path.to_owned(), matchers.to_vec()));
    }
    alternatives
}

fn is_absence(matcher: &Tree) -> bool {
    matches!(matcher, Tree::Object(members) if matches!(members.as_slice(),
        [(name, Tree::Bool(false))] if name == "exists"))
}

fn leaf_accepts(matchers: &[Tree], value: &Tree, dialect: Dialect) -> bool {
    matchers.iter().any(|matcher| scalar::accepts(matcher, value, dialect))
}

fn allows_absence(matchers: &[Tree]) -> bool {
    matchers.iter().any(is_absence)
}

fn agree(a: &BTreeMap<usize, usize>, b: &BTreeMap<usize, usize>) -> bool {
    a.iter().all(|(array, element)| b.get(array).is_none_or(|other| other == element))
}

/// Rule 30: all constraints on one path together.
fn by_path<'c>(constraints: &'c [Constraint<'_>]) -> Vec<(&'c String, Vec<&'c [Tree]>)> {
    let mut paths: BTreeMap<&String, Vec<&[Tree]>> = BTreeMap::new();
    for (path, matchers) in constraints {
        paths.entry(path).or_default().push(matchers);
    }
    paths.into_iter().collect()
}

/// Rules 24, 27, 28, 30: one leaf or absence per path, absence judged last.
fn some_choice(
    paths: &[(&String, Vec<&[Tree]>)],
    leaves: &[Flat],
    bound: &BTreeMap<usize, usize>,
    absent: &[&str],
) -> bool {
    let Some(((path, constraints), rest)) = paths.split_first() else {
        return absent.iter().all(|path| !leaves.iter().any(|leaf| leaf.path == *path && agree(&leaf.bindings, bound)));
    };
    let by_leaf = leaves.iter().filter(|leaf| leaf.path == **path && agree(&leaf.bindings, bound)).any(|leaf| {
        let mut bound = bound.clone();
        bound.extend(&leaf.bindings);
        constraints.iter().all(|matchers| leaf_accepts(matchers, &leaf.value, Dialect::Tidegate))
            && some_choice(rest, leaves, &bound, absent)
    });
    by_leaf
        || (constraints.iter().all(|matchers| allows_absence(matchers))
            && some_choice(rest, leaves, bound, &[absent, &[path.as_str()]].concat()))
}

/// The `aws` dialect: paths in alphabetical order, absence judged at once, the later constraint on a path alone.
fn some_choice_aws(paths: &[(&String, &Vec<Tree>)], leaves: &[Flat], bound: &BTreeMap<usize, usize>) -> bool {
    let Some(((path, matchers), rest)) = paths.split_first() else { return true };
    let mut compatible = leaves.iter().filter(|leaf| leaf.path == **path && agree(&leaf.bindings, bound));
    (allows_absence(matchers) && compatible.clone().next().is_none() && some_choice_aws(rest, leaves, bound))
        || compatible.any(|leaf| {
            let mut bound = bound.clone();
            bound.extend(&leaf.bindings);
            leaf_accepts(matchers, &leaf.value, Dialect::Aws) && some_choice_aws(rest, leaves, &bound)
        })
}
