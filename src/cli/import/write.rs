//! A draft as texts: resource files that say where each resource came from, and the report for whoever imports.

use super::draft::{Draft, Kind, Note, Resource, entry, text};
use super::yaml;

/// What stands above everything.
pub(super) fn head(system: &str, files: &[String], draft: &Draft) -> String {
    let mut text = format!("Imported from {} by `tidegate import {system}`.\n", files.join(", "));
    if !draft.supplies.is_empty() {
        text.push_str("To be supplied as environment variables, or write ${file:/run/secrets/…} in their place:\n");
        for supply in &draft.supplies {
            text.push_str(&format!("  {}: {}\n", supply.variable, supply.what));
        }
    }
    let said = |note: &&Note| {
        let line = note.to_string();
        !draft.resources.iter().any(|resource| resource.comments.contains(&line))
    };
    for note in draft.notes.iter().filter(said) {
        text.push_str(&format!("{note}\n"));
    }
    let mut out = String::new();
    yaml::comment(&text, &mut out);
    out
}

/// A file for each kind that has resources: its name and its text.
pub(super) fn parts(head: &str, draft: &Draft) -> Vec<(&'static str, String)> {
    let mut parts = Vec::new();
    for kind in Kind::ALL {
        let mut text = String::new();
        draft.resources.iter().filter(|resource| resource.kind == kind).for_each(|r| resource(r, &mut text));
        if !text.is_empty() {
            let head = if parts.is_empty() { head } else { "" };
            parts.push((file(kind), format!("{head}{text}")));
        }
    }
    if parts.is_empty() {
        parts.push((file(Kind::Rule), head.to_owned()));
    }
    parts
}

fn file(kind: Kind) -> &'static str {
    match kind {
        Kind::Connection => "connections.yaml",
        Kind::Destination => "destinations.yaml",
        Kind::Source => "sources.yaml",
        Kind::Rule => "rules.yaml",
    }
}

fn resource(resource: &Resource, out: &mut String) {
    out.push_str("---\n");
    yaml::comment(&resource.origin, out);
    resource.comments.iter().for_each(|line| yaml::comment(line, out));
    let mut entries = vec![entry("kind", text(resource.kind.noun())), entry("name", text(resource.name.clone()))];
    entries.extend(resource.entries.iter().cloned());
    let mut body = String::new();
    yaml::write(&entries, &mut body);
    if resource.unusable {
        yaml::comment("It cannot be used as it is: mend it, then take it out of the comment.", out);
        yaml::comment(&body, out);
    } else {
        out.push_str(&body);
    }
}

/// What people are told.
pub(super) fn report(draft: &Draft) -> String {
    let mut out = String::new();
    let count = |kind: Kind| draft.resources.iter().filter(|r| r.kind == kind && !r.unusable).count();
    let plural = |count: usize| if count == 1 { "" } else { "s" };
    let counted = |kind: Kind| format!("{} {}{}", count(kind), kind.noun(), plural(count(kind)));
    let counts: Vec<_> = Kind::ALL.into_iter().map(counted).collect();
    out.push_str(&format!("imported: {}\n", counts.join(", ")));
    let commented = draft.resources.iter().filter(|resource| resource.unusable).count();
    if commented > 0 {
        out.push_str(&format!("written as comments, for they need a hand: {commented}\n"));
    }
    if !draft.names.rewritten.is_empty() {
        out.push_str("\nrenamed:\n");
        for (kind, theirs, ours) in &draft.names.rewritten {
            out.push_str(&format!("  {} {} → {ours}\n", kind.noun(), clean(theirs)));
        }
    }
    if !draft.supplies.is_empty() {
        out.push_str("\nto be supplied:\n");
        let width = draft.supplies.iter().map(|supply| supply.variable.len()).max().unwrap_or(0);
        for supply in &draft.supplies {
            out.push_str(&format!("  {:width$}  {}\n", supply.variable, clean(&supply.what)));
        }
    }
    for (lost, title) in [(true, "not imported"), (false, "not quite the same")] {
        let notes: Vec<_> = draft.notes.iter().filter(|note| note.lost == lost).collect();
        if notes.is_empty() {
            continue;
        }
        out.push_str(&format!("\n{title}:\n"));
        for note in notes {
            let key = if note.key.is_empty() { String::new() } else { format!(", `{}`", note.key) };
            out.push_str(&format!("  {}{key}: {}\n", clean(&note.about), clean(&note.why)));
            if !note.instead.is_empty() {
                out.push_str(&format!("    → {}\n", clean(&note.instead)));
            }
        }
    }
    out
}

/// A text of others without what could steer a terminal.
fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
