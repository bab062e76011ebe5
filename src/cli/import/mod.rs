//! `tidegate import`: EventBridge rules, connections and API destinations of AWS and Alibaba Cloud → resource files.
//!
//! Enters: files of JSON or YAML as their calls and templates print them. Leaves: resource files on standard output or
//! in a folder, and on standard error what has to be supplied, what was renamed, what differs and what has no
//! equivalent. The translation (`aws`, `aliyun`, over `given`, `template`, `http`, `connection`, `pattern`) is pure
//! and makes a `draft`; `yaml` and `write` print it; only this file does I/O. Secrets are never copied.

mod aliyun;
mod aws;
mod connection;
mod draft;
mod given;
mod http;
mod names;
mod pattern;
mod source;
mod template;
#[cfg(test)]
mod tests;
mod write;
mod yaml;

use super::{Exit, Failure, Global, output, setup};
use crate::config::yaml::Tags;
use crate::config::{self, Env, files, json_file};
use crate::destinations::tls::Roots;
use crate::model::fault::{Fault, Place};
use crate::model::name::Name;
use crate::model::node::Node;
use crate::model::resources::PatternLimits;
use crate::pipeline::snapshot::Snapshot;
use clap::{Args, ValueEnum};
use draft::Draft;
use std::collections::HashMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Options of `import`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  aws events describe-rule --name orders > orders.json
  aws events list-targets-by-rule --rule orders >> orders.json
  aws events describe-api-destination --name crm >> orders.json
  aws events describe-connection --name crm >> orders.json
  tidegate import aws orders.json > resources/orders.yaml
  tidegate import aws template.yaml --param Stage=prod --out resources
  tidegate import aliyun rules.json targets.json destinations.json connections.json --from orders

Exit codes: 0 everything has an equivalent · 1 something was left out, or needs a hand · 2 the input is not understood")]
pub struct Options {
    /// Whose EventBridge.
    #[arg(value_enum)]
    system: System,
    /// What its calls or templates print: JSON or YAML; - is standard input.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Write connections.yaml, destinations.yaml, sources.yaml and rules.yaml into this folder.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Overwrite files in that folder.
    #[arg(long, requires = "out")]
    force: bool,
    /// The source that all rules shall read; without it each event bus becomes one.
    #[arg(long, value_name = "SOURCE", value_parser = name)]
    from: Option<String>,
    /// The value of a parameter of a template, pseudo parameters such as `AWS::Region` too; may be given several times.
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = parameter)]
    parameters: Vec<(String, String)>,
}

/// Whose EventBridge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum System {
    /// Amazon EventBridge.
    Aws,
    /// Alibaba Cloud EventBridge.
    Aliyun,
}

impl System {
    fn name(self) -> &'static str {
        match self {
            Self::Aws => "aws",
            Self::Aliyun => "aliyun",
        }
    }
}

/// A file that was read.
#[derive(Debug)]
struct Document {
    /// Its name without folder and ending.
    stem: String,
    nodes: Vec<Node>,
}

/// What the caller chose.
#[derive(Debug, Default)]
struct Choices {
    parameters: HashMap<String, String>,
    from: Option<String>,
}

/// The input holds nothing of that system.
#[derive(Debug)]
struct NotUnderstood {
    /// Values of no known shape.
    places: Vec<Place>,
    /// What would be.
    understood: &'static str,
}

fn name(text: &str) -> Result<String, String> {
    Name::new(text).map(|name| name.to_string()).ok_or_else(|| "1 to 63 letters, digits, `-`, `_`".to_owned())
}

fn parameter(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// Imports.
///
/// # Errors
/// Exit 1 if something was left out or what was written needs a hand, 2 if the input is not understood or a file would
/// be overwritten.
pub fn run(global: &Global, options: &Options) -> Result<(), Failure> {
    let documents = read(&options.files)?;
    let limits = setup::pattern_limits(global)?;
    let choices = Choices { parameters: options.parameters.iter().cloned().collect(), from: options.from.clone() };
    let draft = translate(options.system, &documents, &choices)?;
    let names: Vec<String> = options.files.iter().map(|file| file.display().to_string()).collect();
    let head = write::head(options.system.name(), &names, &draft);
    let parts = write::parts(&head, &draft);
    let parts = match &options.out {
        Some(folder) => into_folder(folder, parts, options.force)?,
        None => {
            let text: String = parts.into_iter().map(|(_, text)| text).collect();
            output::print_bytes(text.as_bytes())?;
            vec![("(output)".to_owned(), text)]
        }
    };
    let found = check(&parts, &draft, &choices, limits);
    if !global.quiet {
        output::complain(write::report(&draft).trim_end());
    }
    setup::tell(&found);
    let broken = found.iter().any(|fault| !fault.warning);
    let lost = draft.notes.iter().any(|note| note.lost);
    if broken || lost { Err(Failure::silent(Exit::No)) } else { Ok(()) }
}

fn translate(system: System, documents: &[Document], choices: &Choices) -> Result<Draft, Failure> {
    let made = match system {
        System::Aws => aws::import(documents, choices),
        System::Aliyun => aliyun::import(documents, choices),
    };
    made.map_err(|NotUnderstood { places, understood }| {
        let places = if places.is_empty() { vec![Place::default()] } else { places };
        let fault = |place: Place| {
            let message = format!("nothing of {} EventBridge is here", system.name());
            Fault::error("IMPORT_SHAPE", "", message).cure(format!("understood is {understood}")).at(place)
        };
        refused(&places.into_iter().map(fault).collect::<Vec<_>>())
    })
}

/// Prints what is wrong with the input and fails.
fn refused(found: &[Fault]) -> Failure {
    setup::tell(found);
    Failure::silent(Exit::Usage)
}

fn read(paths: &[PathBuf]) -> Result<Vec<Document>, Failure> {
    let mut documents = Vec::new();
    let mut faults = Vec::new();
    for path in paths {
        let (name, stem, text) = if path.as_os_str() == "-" {
            let mut text = String::new();
            let read = std::io::stdin().read_to_string(&mut text);
            read.map_err(|error| refused(&[Fault::error("INPUT_FILE", "", format!("standard input: {error}"))]))?;
            ("(standard input)".to_owned(), String::new(), text)
        } else {
            let text = files::read_text(path).map_err(|fault| refused(&[*fault]))?;
            let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
            (path.display().to_string(), stem, text)
        };
        documents.push(Document { stem, nodes: parse(&name.into(), &text, &mut faults) });
    }
    if faults.iter().any(|fault| !fault.warning) { Err(refused(&faults)) } else { Ok(documents) }
}

/// JSON begins with a bracket; all else is YAML, perhaps with functions of a template.
fn parse(file: &Arc<str>, text: &str, faults: &mut Vec<Fault>) -> Vec<Node> {
    let begins = text.trim_start_matches('\u{feff}').trim_start();
    if begins.starts_with(['{', '[']) {
        json_file::read_all(file, text, faults)
    } else {
        config::yaml::read_with(file, text, Tags::Functions, faults)
    }
}

/// Writes one file for each kind; gives their paths and texts.
fn into_folder(
    folder: &Path,
    parts: Vec<(&'static str, String)>,
    force: bool,
) -> Result<Vec<(String, String)>, Failure> {
    let failed = |path: &Path, error: &dyn std::fmt::Display| {
        refused(&[Fault::error("IMPORT_FILE", "", format!("{}: {error}", path.display()))])
    };
    std::fs::create_dir_all(folder).map_err(|error| failed(folder, &error))?;
    let parts: Vec<(PathBuf, String)> = parts.into_iter().map(|(name, text)| (folder.join(name), text)).collect();
    if let Some((path, _)) = parts.iter().find(|(path, _)| !force && path.exists()) {
        return Err(failed(path, &"is there already; --force overwrites it, another --out keeps it"));
    }
    for (path, text) in &parts {
        std::fs::write(path, text).map_err(|error| failed(path, &error))?;
    }
    Ok(parts.into_iter().map(|(path, text)| (path.display().to_string(), text)).collect())
}

/// What `check` says of what was written, once secrets are supplied.
fn check(parts: &[(String, String)], draft: &Draft, choices: &Choices, limits: PatternLimits) -> Vec<Fault> {
    let env = Env::of(draft.supplies.iter().map(|supply| (supply.variable.as_str(), supply.sample)));
    let context = config::Context {
        env,
        dead_letter_topic: "tidegate.dlq".into(),
        pattern_limits: limits,
        ..config::Context::default()
    };
    let mut text: String = parts.iter().map(|(_, text)| text.as_str()).collect();
    if let Some(from) = &choices.from {
        // It stands in files that are not read here.
        text.push_str(&format!("---\nkind: source\nname: \"{from}\"\nkafka: {{topics: [events]}}\n"));
    }
    let read = config::resources::read_text("", &text, &context);
    let mut found = read.faults;
    match Snapshot::compile(read.resources, &Roots::default(), None) {
        Ok((_, warnings)) => found.extend(warnings),
        Err(faults) => found.extend(faults),
    }
    for fault in &mut found {
        fault.place = fault.place.take().map(|place| in_part(place, parts));
    }
    found
}

/// The place in a file of a place in all of them.
fn in_part(place: Place, parts: &[(String, String)]) -> Place {
    let mut line = place.line;
    for (name, text) in parts {
        let lines = u32::try_from(text.lines().count()).unwrap_or(u32::MAX);
        if line <= lines {
            return Place { file: name.as_str().into(), line, ..place };
        }
        line -= lines;
    }
    place
}
