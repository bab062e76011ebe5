//! From the text of a pattern to conditions (event-patterns.md rules 4–11, 29–32). Every fault is reported.

use super::matcher::{Leaf, Matcher, Scalar, Test, Written};
use super::meant;
use super::operator::Found;
use super::or;
use super::pool::Pool;
use super::{Compiled, Field, Goal, Group, Options, Path, Pattern, leaves};
use crate::json::value::{Json, Kind};
use crate::model::fault::Fault;
use crate::model::resources::Dialect;
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// So few things are looked through one by one.
const FEW: usize = 16;

/// Alternatives that the `aws` dialect allows (rule 29).
const AWS_ALTERNATIVES: usize = 1_000;

/// Collects what a pattern says and what is wrong with it.
pub(super) struct Compiler<'o> {
    pub(super) options: &'o Options,
    pool: &'o mut Pool,
    pub(super) faults: Vec<Fault>,
    warnings: Vec<Fault>,
    paths: Vec<Path>,
    /// Of the paths after the first few.
    path_numbers: HashMap<Arc<str>, usize>,
    /// Of each field, where its matchers stand.
    pointers: Vec<String>,
    /// Whether the words of the pattern are kept, to explain verdicts.
    verbose: bool,
    /// Whether a `$or` that qualifies is special: `aws` wants all of a pattern to qualify.
    pub(super) or_is_special: bool,
    /// The pointer to the list of matchers that is being read.
    leaf: Option<String>,
}

/// Where an object stands.
#[derive(Clone, Copy)]
struct At<'p> {
    /// The pointer to it.
    pointer: &'p str,
    /// The path of its fields; `None` at the top level.
    path: Option<&'p str>,
    /// Pattern objects around it, itself included.
    depth: usize,
}

pub(super) fn compile(text: &str, options: &Options, verbose: bool, pool: &mut Pool) -> Result<Compiled, Vec<Fault>> {
    let limit = options.limits.text_bytes;
    if text.len() > limit {
        let message = format!("the pattern has {} bytes; {limit} are allowed", text.len());
        return Err(vec![Fault::error("PATTERN_SIZE", "", message).cure("split it into several rules")]);
    }
    // However deep it is nested, the object that is too deep gets its own pointer.
    let json = Json::check_within(text.as_bytes(), limit)
        .map_err(|e| vec![Fault::error("PATTERN_JSON", "", format!("the pattern is not valid JSON: {e}"))])?;
    if json.kind() != Kind::Object {
        let message = format!("a pattern is an object, not {}", describe(json));
        return Err(vec![Fault::error("PATTERN_JSON", "", message).cure("write {\"type\": [\"…\"]}")]);
    }
    let shared = pool.options(options);
    let mut compiler = Compiler {
        options,
        pool,
        faults: Vec::new(),
        warnings: Vec::new(),
        paths: Vec::new(),
        path_numbers: HashMap::new(),
        pointers: Vec::new(),
        verbose,
        or_is_special: options.dialect == Dialect::Tidegate || or::all_qualify(json, options.limits.depth),
        leaf: None,
    };
    let group = compiler.object(json, At { pointer: "", path: None, depth: 1 });
    compiler.finish(shared, group)
}

impl Compiler<'_> {
    pub(super) fn is_aws(&self) -> bool {
        self.options.dialect == Dialect::Aws
    }

    fn finish(mut self, options: Arc<Options>, mut group: Group) -> Result<Compiled, Vec<Fault>> {
        let mut seen = vec![false; self.paths.len()];
        self.find_repeats(&group, &mut seen);
        let alternatives = match self.options.dialect {
            Dialect::Tidegate => {
                cheap_goals_first(&mut group, &self.paths);
                vec![group]
            }
            Dialect::Aws => {
                let count = alternatives(&group);
                if count > AWS_ALTERNATIVES {
                    let message = format!("`$or` gives {count} alternatives; `dialect: aws` allows {AWS_ALTERNATIVES}");
                    self.fault("PATTERN_ALTERNATIVES", "", message, "split the pattern, or leave out `dialect: aws`");
                    Vec::new()
                } else {
                    self.expand(&group)
                }
            }
        };
        if !self.faults.is_empty() {
            return Err(self.faults);
        }
        let pattern = Pattern {
            text: None,
            options,
            paths: self.pool.paths(self.paths),
            alternatives: alternatives.into(),
            fields: self.pointers.len(),
        };
        Ok(Compiled { pattern, warnings: self.warnings })
    }

    pub(super) fn fault(
        &mut self,
        code: &'static str,
        pointer: &str,
        message: impl Into<String>,
        cure: impl Into<String>,
    ) {
        let message = match self.spoken(pointer) {
            Some(path) => format!("`{path}`: {}", message.into()),
            None => message.into(),
        };
        self.faults.push(Fault::error(code, pointer, message).cure(cure));
    }

    /// The field that a pointer leads to or into, keys joined with dots as they were written.
    fn spoken(&self, pointer: &str) -> Option<String> {
        let field = self.leaf.as_deref().unwrap_or(pointer);
        let mut keys = Vec::new();
        let mut tokens = field.split('/').skip(1).peekable();
        while let Some(token) = tokens.next() {
            let branch = token == "$or" && tokens.next_if(|next| next.bytes().all(|b| b.is_ascii_digit())).is_some();
            if !branch {
                keys.push(token.replace("~1", "/").replace("~0", "~"));
            }
        }
        (!keys.is_empty()).then(|| keys.join("."))
    }

    /// The members of an object, decoded. A duplicate key is a fault, and only its last value remains; `aws` keeps all.
    pub(super) fn members<'a>(&mut self, object: Json<'a>, pointer: &str) -> Vec<(Cow<'a, str>, Json<'a>)> {
        let mut members: Vec<(Cow<'a, str>, Json<'a>)> = Vec::new();
        // Where keys stand, if there are too many to look through, and the duplicates that have been reported.
        let mut places: HashMap<Cow<'a, str>, usize> = HashMap::new();
        let mut reported: HashSet<usize> = HashSet::new();
        for (key, value) in object.members().into_iter().flatten() {
            let key = key.decode();
            let known = match members.len() {
                _ if self.is_aws() => None,
                ..=FEW => members.iter().position(|(known, _)| *known == key),
                _ => {
                    let new = members.iter().enumerate().skip(places.len());
                    places.extend(new.map(|(place, (key, _))| (key.clone(), place)));
                    places.get(&key).copied()
                }
            };
            let Some(place) = known else {
                members.push((key, value));
                continue;
            };
            if let Some(member) = members.get_mut(place) {
                member.1 = value;
            }
            if reported.insert(place) {
                let message = format!("the key `{key}` stands here more than once");
                self.fault("PATTERN_DUPLICATE", &child(pointer, &key), message, "keep one of them");
            }
        }
        members
    }

    fn object(&mut self, object: Json<'_>, at: At<'_>) -> Group {
        let mut goals = Vec::new();
        self.fields(object, at, &mut goals);
        Group { goals: goals.into() }
    }

    /// Adds the conditions of an object to `goals`.
    fn fields(&mut self, object: Json<'_>, at: At<'_>, goals: &mut Vec<Goal>) {
        let limit = self.options.limits.depth;
        if at.depth > limit {
            let message = format!("more than {limit} objects in each other");
            self.fault("PATTERN_DEPTH", at.pointer, message, "join keys with dots: \"a.b\" is \"a\": {\"b\": …}");
            return;
        }
        let members = self.members(object, at.pointer);
        if members.is_empty() && (at.path.is_some() || at.depth > 1 || self.is_aws()) {
            let (message, cure) = if at.depth > 1 {
                ("an empty object says nothing", "name a field in it, or leave the key out")
            } else {
                (
                    "`dialect: aws` refuses the empty pattern",
                    "leave out `dialect: aws`, or match {\"id\": [{\"exists\": true}]}",
                )
            };
            self.fault("PATTERN_EMPTY", at.pointer, message, cure);
        }
        for (key, value) in &members {
            // Of a key that is wrong, a fault has been noted.
            self.field(key, *value, at, goals);
        }
    }

    /// Adds the conditions that a key stands for; `None` if it is wrong.
    fn field(&mut self, key: &str, value: Json<'_>, at: At<'_>, goals: &mut Vec<Goal>) -> Option<()> {
        let pointer = child(at.pointer, key);
        let before = self.faults.len();
        let mut no_operators = None;
        if key == "$or" {
            if self.or_is_special && or::qualifies(value, self.options, at.depth) {
                goals.push(self.or(value, &pointer, at));
                return Some(());
            }
            let why = meant::no_alternatives(value, |key| or::reserves(key, self.options.dialect));
            let message = format!("`$or` is read as an ordinary field of that name: {why}");
            let cure = "for alternatives, give it two or more patterns without operator names as keys: [{…}, {…}]";
            no_operators = Some(format!("`$or` is no alternatives here: {why}"));
            self.warnings.push(Fault::warning("PATTERN_OR", pointer.as_str(), message).cure(cure));
        } else if at.path.is_some() && Self::operators(Dialect::Tidegate).contains(&key) {
            let message = format!("`{key}` is read as a field of that name, because it stands in no array");
            let operand = if value.text().len() <= 40 { value.text() } else { "…" };
            let cure = format!("for the operator, write [{{\"{key}\": {operand}}}]");
            self.warnings.push(Fault::warning("PATTERN_FIELD_NAME", pointer.as_str(), message).cure(cure));
        }
        let path = match at.path {
            Some(path) => [path, ".", key].concat(),
            None if self.options.alias_aws => unaliased(key),
            None => key.to_owned(),
        };
        let matchers = match value.kind() {
            Kind::Object => {
                let at = At { pointer: &pointer, path: Some(&path), depth: at.depth + 1 };
                self.fields(value, at, goals);
                return Some(());
            }
            Kind::Array => {
                self.leaf = Some(pointer.clone());
                let matchers = self.matchers(value, &pointer);
                self.leaf = None;
                if matchers.is_none()
                    && let Some(cure) = no_operators.or_else(|| meant::alternatives_key(key).map(str::to_owned))
                {
                    let or = key == "$or";
                    let of_operators = |fault: &&mut Fault| or || fault.code == "PATTERN_OPERATOR";
                    let operators = self.faults.iter_mut().skip(before).filter(of_operators);
                    operators.for_each(|fault| fault.cure.clone_from(&cure));
                }
                matchers?
            }
            Kind::Null | Kind::Bool | Kind::Number | Kind::String if self.is_aws() => {
                let message = format!("`dialect: aws` wants a list, not {}", describe(value));
                self.fault("PATTERN_DIALECT", &pointer, message, format!("write [{}]", value.text()));
                return None;
            }
            Kind::Null | Kind::Bool | Kind::Number | Kind::String => vec![(value, Found::Test(self.literal(value)))],
        };
        let absent = matchers.iter().any(|(_, found)| matches!(found, Found::Absent));
        let written = self.verbose.then(|| {
            let matchers = matchers.iter().map(|(value, _)| Matcher { text: value.text().into() }).collect();
            Box::new(Written { pointer: pointer.as_str().into(), matchers })
        });
        let tests = matchers.into_iter().filter_map(|(_, found)| match found {
            Found::Absent => None,
            Found::Test(test) => Some(test),
        });
        let leaf = self.pool.leaf(Leaf { tests: tests.collect(), absent, written });
        let number = self.pointers.len();
        self.pointers.push(pointer);
        goals.push(Goal::Field(Field { number, path: self.path(&path), leaf }));
        Some(())
    }

    fn or(&mut self, branches: Json<'_>, pointer: &str, at: At<'_>) -> Goal {
        let branches = branches.elements().into_iter().flatten().enumerate().map(|(i, branch)| {
            let at = At { pointer: &format!("{pointer}/{i}"), depth: at.depth + 1, ..at };
            self.object(branch, at)
        });
        Goal::Or(branches.collect())
    }

    fn matchers<'p>(&mut self, list: Json<'p>, pointer: &str) -> Option<Vec<(Json<'p>, Found)>> {
        let limit = self.options.limits.matchers;
        let count = list.elements().into_iter().flatten().count();
        if count == 0 {
            self.fault("PATTERN_EMPTY", pointer, "an empty list accepts nothing", "name a value, or leave the key out");
            return None;
        }
        if count > limit {
            let message = format!("{count} matchers; {limit} are allowed");
            self.fault("PATTERN_MATCHERS", pointer, message, "split the list over several rules");
            return None;
        }
        let matchers: Vec<(Json<'p>, Found)> = list
            .elements()
            .into_iter()
            .flatten()
            .enumerate()
            .filter_map(|(i, value)| Some((value, self.matcher(value, pointer, i)?)))
            .collect();
        (matchers.len() == count).then_some(matchers)
    }

    /// The matcher at a place of the list that `pointer` leads to.
    fn matcher(&mut self, value: Json<'_>, pointer: &str, place: usize) -> Option<Found> {
        match value.kind() {
            Kind::Null | Kind::Bool | Kind::Number | Kind::String => Some(Found::Test(self.literal(value))),
            Kind::Object => self.operator_object(value, &format!("{pointer}/{place}")),
            Kind::Array => {
                let pointer = format!("{pointer}/{place}");
                let message = "a list is no matcher";
                self.fault("PATTERN_MATCHER", &pointer, message, "write its items directly: they are alternatives");
                None
            }
        }
    }

    fn literal(&self, value: Json<'_>) -> Test {
        let dialect = self.options.dialect;
        match leaves::scalar(value) {
            Scalar::Null => Test::Null,
            Scalar::Bool(value) => Test::Bool(value),
            Scalar::Number(text) => Test::number(text, dialect),
            Scalar::Text(text) => Test::literal(&text, dialect),
        }
    }

    fn path(&mut self, name: &str) -> usize {
        let known = self.paths.iter().take(FEW).position(|path| *path.name == *name);
        if let Some(known) = known.or_else(|| self.path_numbers.get(name).copied()) {
            return known;
        }
        let next = self.paths.len();
        let name = self.pool.name(name);
        if next >= FEW {
            self.path_numbers.insert(Arc::clone(&name), next);
        }
        self.paths.push(Path { name, repeated: false });
        next
    }

    /// Marks the paths that an alternative constrains more than once, with a warning (rule 30). Gives what this group
    /// added to `seen`.
    fn find_repeats(&mut self, group: &Group, seen: &mut [bool]) -> Vec<usize> {
        let mut added = Vec::new();
        for goal in &group.goals {
            match goal {
                Goal::Field(field) => match seen.get_mut(field.path) {
                    Some(seen) if *seen => self.repeated(field),
                    Some(seen) => {
                        *seen = true;
                        added.push(field.path);
                    }
                    None => {}
                },
                Goal::Or(branches) => {
                    let before = added.len();
                    for branch in branches {
                        let of_branch = self.find_repeats(branch, seen);
                        mark(seen, &of_branch, false);
                        added.extend(of_branch);
                    }
                    let of_branches = added.get(before..).unwrap_or_default();
                    mark(seen, of_branches, true);
                }
            }
        }
        added
    }

    fn repeated(&mut self, field: &Field) {
        let aws = self.is_aws();
        let Some(path) = self.paths.get_mut(field.path) else { return };
        path.repeated = !aws;
        let meaning = if aws { "this condition replaces the earlier one" } else { "one value must satisfy both" };
        let message = format!("`{}` is constrained more than once; {meaning}", path.name);
        let pointer = self.pointers.get(field.number).cloned().unwrap_or_default();
        let cure = "if that is not meant, keep one";
        self.warnings.push(Fault::warning("PATTERN_REPEATED", pointer, message).cure(cure));
    }

    /// The alternatives of the `aws` dialect, each ordered by path as that engine visits them. The later condition on a
    /// path replaces the earlier.
    fn expand(&self, group: &Group) -> Vec<Group> {
        let mut order: Vec<usize> = (0..self.paths.len()).collect();
        let units = |path: &usize| self.paths.get(*path).map(|path| path.name.encode_utf16().collect::<Vec<_>>());
        order.sort_by_cached_key(units);
        let mut alternatives = vec![HashMap::new()];
        extend(&mut alternatives, group);
        let flat = |mut fields: HashMap<usize, Field>| Group {
            goals: order.iter().filter_map(|path| fields.remove(path)).map(Goal::Field).collect(),
        };
        alternatives.into_iter().map(flat).collect()
    }
}

/// Adds the conditions of `group` to each of `alternatives`, in the order of the text.
fn extend(alternatives: &mut Vec<HashMap<usize, Field>>, group: &Group) {
    for goal in &group.goals {
        match goal {
            Goal::Field(field) => {
                for alternative in alternatives.iter_mut() {
                    alternative.insert(field.path, field.clone());
                }
            }
            Goal::Or(branches) => {
                let before = std::mem::take(alternatives);
                for branch in branches {
                    let mut of_branch = before.clone();
                    extend(&mut of_branch, branch);
                    alternatives.append(&mut of_branch);
                }
            }
        }
    }
}

/// The number of alternatives of a group.
fn alternatives(group: &Group) -> usize {
    group.goals.iter().fold(1, |product, goal| match goal {
        Goal::Field(_) => product,
        Goal::Or(branches) => product.saturating_mul(branches.iter().map(alternatives).fold(0, usize::saturating_add)),
    })
}

/// Attributes before payload, single fields before alternatives: most events fail at an attribute, and attributes cost
/// least to read.
fn cheap_goals_first(group: &mut Group, paths: &[Path]) {
    group.goals.sort_by_key(|goal| match goal {
        Goal::Field(field) => {
            u8::from(paths.get(field.path).is_some_and(|path| &*path.name == "data" || path.name.starts_with("data.")))
        }
        Goal::Or(_) => 2,
    });
    for goal in &mut group.goals {
        if let Goal::Or(branches) = goal {
            branches.iter_mut().for_each(|branch| cheap_goals_first(branch, paths));
        }
    }
}

fn mark(seen: &mut [bool], paths: &[usize], as_seen: bool) {
    for path in paths {
        if let Some(seen) = seen.get_mut(*path) {
            *seen = as_seen;
        }
    }
}

/// A top-level key with the names of AWS replaced by ours (rule 4).
fn unaliased(key: &str) -> String {
    let (first, rest) = match key.find('.') {
        Some(dot) => key.split_at(dot),
        None => (key, ""),
    };
    match first {
        "detail-type" => format!("type{rest}"),
        "detail" => format!("data{rest}"),
        _ => key.to_owned(),
    }
}

/// The pointer to a member.
pub(super) fn child(pointer: &str, key: &str) -> String {
    if key.bytes().any(|byte| matches!(byte, b'~' | b'/')) {
        return format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1"));
    }
    // There is a pointer for every key of every rule, and hardly ever anything in it to escape.
    [pointer, "/", key].concat()
}

/// A value in the words of a message.
pub(super) fn describe(value: Json<'_>) -> String {
    match value.kind() {
        Kind::Null | Kind::Bool | Kind::Number => value.text().to_owned(),
        Kind::String => match value.as_str() {
            Some(text) if text.is_empty() => "an empty string".to_owned(),
            Some(text) if text.chars().count() <= 40 => format!("the string {}", value.text()),
            Some(_) | None => "a long string".to_owned(),
        },
        Kind::Array => "a list".to_owned(),
        Kind::Object => "an object".to_owned(),
    }
}
