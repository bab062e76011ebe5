//! Resource files → one checked [`Resources`], or all faults at once, each with its place and cure.
//!
//! What enters: paths and the environment. `keys` lists what may be written, `check` walks what was written along
//! it (`texts`, `exchange`, `answers` and `whole` what is special),
//! `build` and `connection` make resources of it, and this module joins them: names are unique per kind, references lead
//! somewhere, across all files; `alone` does so for resources that stand in no file. Rule bodies and patterns stay [`Node`]s; others compile them.

mod alone;
mod answers;
mod build;
mod check;
mod connection;
mod exchange;
mod keys;
pub(crate) mod names;
mod ordered;
mod proxy;
mod scalar;
mod schema;
mod sharing;
mod texts;
mod url;
mod whole;

pub use alone::{Alone, read_alone};
pub use schema::schema;
pub(crate) use texts::header_name;
pub(crate) use url::parse as base_url;

use super::env::Env;
use super::{files, json_file, yaml};
use crate::model::fault::{Fault, Place};
use crate::model::name::Name;
use crate::model::nearest::nearest;
use crate::model::node::Node;
use crate::model::resources::{Connection, Destination, PatternLimits, Resources, Rule, Sharing, Source};
use check::Checker;
use keys::{KINDS, Table};
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Names that mean something to Tidegate itself (delivery.md "Contracts").
const RESERVED_SOURCES: [&str; 3] = ["slots", "stored", "emitted"];

/// What loading needs beside the files.
#[derive(Debug, Clone, Default)]
pub struct Context {
    /// Where `${env:…}` looks.
    pub env: Env,
    /// `dead_letter.topic` of the settings.
    pub dead_letter_topic: Arc<str>,
    /// `pattern` of the settings.
    pub pattern_limits: PatternLimits,
    /// An unset variable of a secret is a warning: for `check` on a machine that has no secrets. The resources must
    /// not be used to send anything then.
    pub lenient: bool,
}

/// Resources that are fit for use.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The resources.
    pub resources: Resources,
    /// What may be a mistake.
    pub warnings: Vec<Fault>,
    /// Every file that had a part in it: resource files, secrets, certificates.
    pub files: Vec<PathBuf>,
}

/// Everything that could be made of the files, and everything that is wrong with the rest.
#[derive(Debug, Clone, Default)]
pub struct Read {
    /// The resources without faults. A destination is left out with its connection, a target with its destination; so
    /// they are fit for looking at, and for use only if no fault is an error.
    pub resources: Resources,
    /// Errors and warnings, in the order of files and lines.
    pub faults: Vec<Fault>,
    /// Every file that had a part in it.
    pub files: Vec<PathBuf>,
}

/// Loads the resource files under `paths`.
///
/// # Errors
/// All faults at once, warnings included, if one of them is an error.
pub fn load(paths: &[PathBuf], context: &Context) -> Result<Loaded, Vec<Fault>> {
    let Read { resources, faults, files } = read(paths, context);
    if faults.iter().any(|fault| !fault.warning) {
        return Err(faults);
    }
    Ok(Loaded { resources, warnings: faults, files })
}

/// Like [`load`], but keeps what is right beside what is wrong, so that its rules can be compiled and all their faults
/// be told at once.
#[must_use]
pub fn read(paths: &[PathBuf], context: &Context) -> Read {
    let mut faults = Vec::new();
    let found = files::find(paths, &mut faults);
    let mut written = Written::default();
    for path in &found {
        match files::read_text(path) {
            Ok(text) => written.parse(path, &text, &mut faults),
            Err(fault) => faults.push(*fault),
        }
    }
    let mut read = assemble(written, context);
    read.faults.splice(0..0, faults);
    read.files.splice(0..0, found);
    sort(&mut read.faults);
    read
}

/// Reads resources from one text, named `file` in messages; for tests and standard input.
#[must_use]
pub fn read_text(file: &str, text: &str, context: &Context) -> Read {
    let mut faults = Vec::new();
    let mut written = Written::default();
    written.parse(Path::new(file), text, &mut faults);
    let mut read = assemble(written, context);
    read.faults.splice(0..0, faults);
    sort(&mut read.faults);
    read
}

/// What stands in the files.
#[derive(Default)]
struct Written {
    nodes: Vec<Node>,
    /// Names in files that could not be read as a whole: whoever refers to one of them may be right.
    doubtful: HashSet<String>,
}

impl Written {
    fn parse(&mut self, path: &Path, text: &str, faults: &mut Vec<Fault>) {
        let file: Arc<str> = path.display().to_string().into();
        let before = faults.len();
        if path.extension().is_some_and(|e| e == "json") {
            self.nodes.extend(json_file::read(&file, text, faults));
        } else {
            self.nodes.extend(yaml::read(&file, text, faults));
        }
        if faults.iter().skip(before).any(|fault| fault.code == "CONFIG_SYNTAX") {
            let after_name = text.split("name").skip(1);
            let word = |rest: &str| {
                let rest = rest.trim_start_matches(['"', ' ', ':', '\'']);
                rest.split(|c: char| !(c.is_alphanumeric() || c == '-' || c == '_')).next().map(str::to_owned)
            };
            self.doubtful.extend(after_name.filter_map(word));
        }
    }
}

/// By place; the sort is stable, so files keep their order and faults of one place too.
fn sort(faults: &mut [Fault]) {
    let mut order: HashMap<Arc<str>, usize> = HashMap::new();
    for fault in faults.iter() {
        let next = order.len();
        order.entry(fault.place.as_ref().map(|p| Arc::clone(&p.file)).unwrap_or_default()).or_insert(next);
    }
    faults.sort_by_key(|fault| {
        let place = fault.place.clone().unwrap_or_default();
        (order.get(&place.file).copied(), place.line, place.column)
    });
}

/// One kind's resources: those that are built, and the names of all that are written.
struct Kept<T> {
    built: Vec<Arc<T>>,
    by_name: HashMap<Name, Option<Arc<T>>>,
}

impl<T> Kept<T> {
    fn new() -> Self {
        Self { built: Vec::new(), by_name: HashMap::new() }
    }

    fn keep(&mut self, name: Name, resource: Option<T>) {
        let resource = resource.map(Arc::new);
        self.built.extend(resource.clone());
        self.by_name.entry(name).or_insert(resource);
    }
}

struct Assembly<'a> {
    context: &'a Context,
    doubtful: HashSet<String>,
    /// Destinations of targets that keep an order.
    ordered: HashSet<String>,
    /// Connections of which some destination has to share its rate.
    sharing: HashSet<String>,
    read: Read,
    connections: Kept<Connection>,
    destinations: Kept<Destination>,
    sources: Kept<Source>,
    rules: Kept<Rule>,
}

fn assemble(mut written: Written, context: &Context) -> Read {
    let nodes = std::mem::take(&mut written.nodes);
    let mut assembly = Assembly::new(written, context);
    let mut by_kind: HashMap<&str, Vec<Node>> = HashMap::new();
    for node in nodes {
        if let Some(table) = assembly.kind_of(&node) {
            by_kind.entry(table.noun).or_default().push(node);
        }
    }
    assembly.ordered = ordered::destinations(by_kind.get("rule"));
    assembly.sharing = sharing::connections(by_kind.get("destination"), &assembly.ordered);
    // What is referred to comes before what refers.
    for table in KINDS {
        let mut places: HashMap<Name, Place> = HashMap::new();
        for node in by_kind.remove(table.noun).unwrap_or_default() {
            assembly.add(table, node, &mut places);
        }
    }
    assembly.finish()
}

impl<'a> Assembly<'a> {
    fn new(written: Written, context: &'a Context) -> Self {
        Self {
            context,
            doubtful: written.doubtful,
            ordered: HashSet::new(),
            sharing: HashSet::new(),
            read: Read::default(),
            connections: Kept::new(),
            destinations: Kept::new(),
            sources: Kept::new(),
            rules: Kept::new(),
        }
    }

    fn finish(self) -> Read {
        let Self { mut read, context, connections, destinations, sources, rules, .. } = self;
        read.resources = Resources {
            connections: connections.built,
            destinations: destinations.built,
            sources: sources.built,
            rules: rules.built,
            pattern_limits: context.pattern_limits,
        };
        read
    }
}

impl Assembly<'_> {
    fn kind_of(&mut self, node: &Node) -> Option<&'static Table> {
        let allowed = "write `kind: connection`, destination, source or rule";
        let (message, cure, place) = match node.get("kind") {
            None if node.entries().is_empty() => {
                (format!("a resource must be a map, found {}", scalar::describe(node)), allowed.to_owned(), &node.place)
            }
            None => ("a resource needs the key `kind`".to_owned(), allowed.to_owned(), &node.place),
            Some(kind) => match kind.as_plain() {
                None => (
                    format!("`kind` must be a word, found {}", scalar::describe(kind)),
                    allowed.to_owned(),
                    &kind.place,
                ),
                Some(word) => match KINDS.iter().find(|table| table.noun == word) {
                    Some(table) => return Some(table),
                    None => (format!("there is no kind `{word}`"), names::kind_instead(word), &kind.place),
                },
            },
        };
        self.read.faults.push(Fault::error("CONFIG_KIND", "/kind", message).cure(cure).at(place.clone()));
        None
    }

    fn add(&mut self, table: &'static Table, mut node: Node, places: &mut HashMap<Name, Place>) {
        let context = self.context;
        let mut checker = Checker::new(context, table.noun != "rule");
        checker.table(table, &mut node, "");
        if let Some(name) = build::plain(&node, "name").and_then(Name::new) {
            let place = build::place_of(&node, "name");
            match places.get(&name) {
                Some(first) => {
                    let message = format!("the {} `{name}` stands twice", table.noun);
                    checker.fault("CONFIG_DUPLICATE", "/name", &place, message, format!("first at {first}; keep one"));
                }
                None => {
                    places.insert(name.clone(), place);
                    match table.noun {
                        "connection" => self.connection(name, &node, &mut checker),
                        "destination" => self.destination(name, &node, &mut checker),
                        "source" => self.source(name, &node, &mut checker),
                        _ => self.rule(name, &node, &mut checker),
                    }
                }
            }
        }
        self.read.faults.append(&mut checker.faults);
        self.read.files.append(&mut checker.files);
    }

    fn connection(&mut self, name: Name, node: &Node, checker: &mut Checker<'_>) {
        let built = if checker.failed() { None } else { connection::connection(name.clone(), node, checker) };
        self.connections.keep(name.clone(), settled(built, &name, node, checker));
    }

    fn destination(&mut self, name: Name, node: &Node, checker: &mut Checker<'_>) {
        let connection = refer(node, ("", "connection", "connection"), &self.connections, &self.doubtful, checker);
        let built = match connection {
            Some(connection) if !checker.failed() => {
                let topic = &self.context.dead_letter_topic;
                let mut built = build::destination(name.clone(), node, connection, topic, checker);
                if let Some(built) = &mut built {
                    let ordered = self.ordered.contains(name.as_str()) && node.get("rate").is_none();
                    let others = self.sharing.contains(built.connection.name.as_str());
                    built.rate = if ordered {
                        Sharing::Shared
                    } else {
                        sharing::decide(node, &built.rate_limits, &built.connection, others, checker)
                    };
                }
                settled(built, &name, node, checker)
            }
            _ => None,
        };
        self.destinations.keep(name, built);
    }

    fn source(&mut self, name: Name, node: &Node, checker: &mut Checker<'_>) {
        if RESERVED_SOURCES.contains(&name.as_str()) {
            let message = format!("the source name `{name}` is reserved");
            let place = build::place_of(node, "name");
            checker.fault("CONFIG_VALUE", "/name", &place, message, "choose another name".to_owned());
        }
        let group = node.get("kafka").and_then(|kafka| build::plain(kafka, "group"));
        let same = self.sources.built.iter().find(|other| group.is_some() && other.group.as_deref() == group);
        if let (Some(same), Some(kafka)) = (same, node.get("kafka")) {
            let message =
                format!("the source `{}` has the same group, so each would see a part of the events", same.name);
            let place = build::place_of(kafka, "group");
            checker.fault("CONFIG_VALUE", "/kafka/group", &place, message, "give each its own".to_owned());
        }
        let built = if checker.failed() { None } else { build::source(name.clone(), node) };
        self.sources.keep(name.clone(), settled(built, &name, node, checker));
    }

    fn rule(&mut self, name: Name, node: &Node, checker: &mut Checker<'_>) {
        let from = match build::plain(node, "from") {
            Some("emitted") => {
                let message = "`from: emitted` is not supported by this version".to_owned();
                let place = build::place_of(node, "from");
                checker.fault("CONFIG_NOT_SUPPORTED", "/from", &place, message, "leave it out".to_owned());
                None
            }
            Some(from) => {
                refer(node, ("", "from", "source"), &self.sources, &self.doubtful, checker);
                Name::new(from)
            }
            None => None,
        };
        let items = build::items(node.get("targets"));
        // Most rules have one target, and a vector that grows makes room for four.
        let mut targets = Vec::with_capacity(items.len());
        let mut seen: HashMap<&str, &Place> = HashMap::new();
        for (i, node) in items.enumerate() {
            let pointer = format!("/targets/{i}");
            let what = (pointer.as_str(), "destination", "destination");
            let destination = refer(node, what, &self.destinations, &self.doubtful, checker);
            let Some(target) = build::plain(node, "name") else { continue };
            if let Some(first) = seen.insert(target, &node.place) {
                let message = format!("the target `{target}` stands twice");
                let cure = format!("first in line {}; give each its own name", first.line);
                checker.fault(
                    "CONFIG_DUPLICATE",
                    &format!("{pointer}/name"),
                    &build::place_of(node, "name"),
                    message,
                    cure,
                );
            }
            if let (Some(destination), Some(target)) = (destination, Name::new(target)) {
                let target = build::target(target, node, destination, &pointer, checker);
                ordered::check(&target, node, &pointer, checker);
                targets.push(target);
            }
        }
        check_tests(node, &seen, checker);
        // A target whose destination is broken is left out, so that the pattern's faults are told all the same.
        let built = if checker.failed() {
            None
        } else {
            settled(build::rule(name.clone(), node, from, targets), &name, node, checker)
        };
        self.rules.keep(name, built);
    }
}

/// Tests may speak of targets of their rule only.
fn check_tests(node: &Node, targets: &HashMap<&str, &Place>, checker: &mut Checker<'_>) {
    for (i, test) in build::items(node.get("tests")).enumerate() {
        for (key, _) in test.get("expect").map(Node::entries).unwrap_or_default() {
            if !targets.contains_key(key.name.as_str()) {
                let pointer = check::join(&format!("/tests/{i}/expect"), &key.name);
                let message = format!("the rule has no target `{}`", key.name);
                let cure = reference_cure(&key.name, targets.keys().copied());
                checker.fault("CONFIG_REFERENCE", &pointer, &key.place, message, cure);
            }
        }
    }
}

/// The resource that a key names; `(pointer, key, noun)` says where and what. Nothing if the key is absent or the
/// resource itself broken; a fault if nobody wrote it.
fn refer<T>(
    node: &Node,
    (pointer, key, noun): (&str, &str, &str),
    kept: &Kept<T>,
    doubtful: &HashSet<String>,
    checker: &mut Checker<'_>,
) -> Option<Arc<T>> {
    let written = build::plain(node, key)?;
    Name::new(written)?;
    if let Some(resource) = kept.by_name.get(written) {
        return resource.clone();
    }
    if doubtful.contains(written) {
        return None;
    }
    let message = format!("there is no {noun} `{written}`");
    let cure = reference_cure(written, kept.by_name.keys().map(Name::as_str));
    checker.fault("CONFIG_REFERENCE", &format!("{pointer}/{key}"), &build::place_of(node, key), message, cure);
    None
}

fn reference_cure<'n>(written: &str, names: impl Iterator<Item = &'n str>) -> String {
    let mut names: Vec<_> = names.collect();
    names.sort_unstable();
    if let Some(near) = nearest(written, names.iter().copied()) {
        return format!("write `{near}`");
    }
    match names.as_slice() {
        [] => "none is defined".to_owned(),
        names => format!("defined: {}", names.iter().take(20).copied().collect::<Vec<_>>().join(", ")),
    }
}

/// A resource that passed its checks but could not be built is our fault and must not vanish.
fn settled<T>(built: Option<T>, name: &Name, node: &Node, checker: &mut Checker<'_>) -> Option<T> {
    if built.is_none() && !checker.failed() {
        let message = format!("`{name}` could not be built although nothing is wrong with it");
        checker.fault("CONFIG_INTERNAL", "", &node.place, message, "please report this file".to_owned());
    }
    built.filter(|_| !checker.failed())
}

#[cfg(test)]
mod tests;
