//! What the tests of both systems share: an import as the command makes it, and the requests of what was written.

use super::*;
use crate::cli::events::{self, Input};
use crate::pipeline::explain::{self, Explained, ExplainedRequest};

/// An import and what our checker says of it.
#[derive(Debug)]
pub(super) struct Imported {
    pub(super) text: String,
    pub(super) report: String,
    pub(super) draft: Draft,
    pub(super) faults: Vec<Fault>,
}

/// Parses as the command does; the input is fine.
pub(super) fn documents(inputs: &[(&str, &str)]) -> Vec<Document> {
    let mut faults = Vec::new();
    let read = |(file, text): &(&str, &str)| Document {
        stem: file.split('.').next().unwrap_or_default().to_owned(),
        nodes: parse(&(*file).into(), text, &mut faults),
    };
    let documents = inputs.iter().map(read).collect();
    assert!(faults.is_empty(), "{faults:?}");
    documents
}

pub(super) fn made(draft: Draft, choices: &Choices) -> Imported {
    let head = write::head("test", &["in".to_owned()], &draft);
    let text: String = write::parts(&head, &draft).into_iter().map(|(_, text)| text).collect();
    let parts = [("(output)".to_owned(), text.clone())];
    let faults = check(&parts, &draft, choices, PatternLimits::default());
    Imported { text, report: write::report(&draft), draft, faults }
}

impl Imported {
    /// Our checker has nothing against it.
    #[track_caller]
    pub(super) fn accepted(self) -> Self {
        assert!(self.faults.is_empty(), "{:#?}\n{}", self.faults, self.text);
        self
    }

    /// These parts stand in what was written, in this order.
    #[track_caller]
    pub(super) fn writes(self, parts: &[&str]) -> Self {
        in_order(&self.text, parts);
        self
    }

    /// These parts stand in the report, in this order.
    #[track_caller]
    pub(super) fn reports(self, parts: &[&str]) -> Self {
        in_order(&self.report, parts);
        self
    }

    /// None of these stands anywhere.
    #[track_caller]
    pub(super) fn never_says(self, words: &[&str]) -> Self {
        for word in words {
            assert!(!self.text.contains(word) && !self.report.contains(word), "{word}\n{}\n{}", self.text, self.report);
        }
        self
    }

    fn explained(&self, event: &str) -> Vec<Explained> {
        let env = Env::of(self.draft.supplies.iter().map(|supply| (supply.variable.as_str(), supply.sample)));
        let context = config::Context { env, dead_letter_topic: "dlq".into(), ..config::Context::default() };
        let read = config::resources::read_text("t.yaml", &self.text, &context);
        let (snapshot, _) = Snapshot::compile(read.resources, &Roots::default(), None).expect("compiled");
        let input = Input { place: Place::default(), text: event.to_owned() };
        let event = events::decode(&input, "t").expect("an event");
        explain::explain(&snapshot, &event, None, None)
    }

    /// Whether any rule wants an event.
    pub(super) fn wants(&self, event: &str) -> bool {
        self.explained(event).iter().any(|explained| explained.matched)
    }

    /// The request that a target would send.
    #[track_caller]
    pub(super) fn request(&self, target: &str, event: &str) -> ExplainedRequest {
        let explained = self.explained(event);
        let of = explained.iter().find(|e| e.target.as_ref().is_some_and(|name| name.as_str() == target));
        of.and_then(|e| e.request.clone()).unwrap_or_else(|| panic!("{explained:#?}"))
    }
}

#[track_caller]
fn in_order(text: &str, parts: &[&str]) {
    let mut rest = text;
    for part in parts {
        let at = rest.find(part).unwrap_or_else(|| panic!("no `{part}` (any more) in\n{text}"));
        rest = rest.get(at + part.len()..).unwrap_or_default();
    }
}

#[test]
fn concatenated_documents_keep_their_places() {
    let read = documents(&[("a.json", "{\"a\":1}\n{\"b\":\n2}"), ("t.yaml", "a: !Ref X\n---\nb: 1\n")]);
    assert_eq!(read[0].nodes[1].place_of("/b").to_string(), "a.json:3:1");
    assert_eq!(read[1].nodes[0].to_json(), "{\"a\":{\"Ref\":\"X\"}}");
    assert_eq!(read[1].nodes.len(), 2);
    let mut faults = Vec::new();
    parse(&"a.json".into(), "{\"a\":1}\n{\"b\":}", &mut faults);
    assert_eq!(faults[0].place.as_ref().expect("a place").to_string(), "a.json:2:6");
}

#[test]
fn faults_are_told_in_the_file_they_are_in() {
    let parts = [("a.yaml".to_owned(), "1\n2\n".to_owned()), ("b.yaml".to_owned(), "3\n4\n".to_owned())];
    for (line, place) in [(1, "a.yaml:1:7"), (2, "a.yaml:2:7"), (3, "b.yaml:1:7"), (4, "b.yaml:2:7")] {
        assert_eq!(in_part(Place { line, column: 7, ..Place::default() }, &parts).to_string(), place);
    }
}
