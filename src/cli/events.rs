//! Events that people hand over: files or standard input with one CloudEvent a line, one document, or one array; each
//! checked, with its place, before anything is done with it.

use super::{Exit, Failure, setup};
use crate::json::scan;
use crate::json::value::{Json, Kind};
use crate::model::event::CloudEvent;
use crate::model::fault::{Fault, Place};
use crate::model::record::{Position, Record};
use crate::pipeline::decode;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

/// What CloudEvents 1.0 requires, and what to write.
const REQUIRED: [(&str, &str); 4] = [
    ("specversion", "\"specversion\":\"1.0\""),
    ("id", "\"id\":\"A1\""),
    ("source", "\"source\":\"/shop\""),
    ("type", "\"type\":\"order.paid\""),
];

/// Faults that are shown; one line too few brackets spoils all that follow.
const MAX_SHOWN: usize = 10;

/// An event as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Input {
    /// Where it stands.
    pub(super) place: Place,
    /// One JSON value.
    pub(super) text: String,
}

/// Reads a file, or standard input if it is `-`.
///
/// # Errors
/// It cannot be read, or is not JSON; said with place and cure.
pub(super) fn read(file: &Path) -> Result<Vec<Input>, Failure> {
    let (name, text) = if file.as_os_str() == "-" {
        let mut text = String::new();
        let read = std::io::stdin().read_to_string(&mut text);
        read.map_err(|error| refused(&[Fault::error("INPUT_FILE", "", format!("standard input: {error}"))]))?;
        ("(standard input)".to_owned(), text)
    } else {
        let name = file.display().to_string();
        let unreadable = |error: std::io::Error| {
            refused(&[Fault::error("INPUT_FILE", "", format!("{name}: {error}")).cure("name a file of events, or -")])
        };
        let text = std::fs::read_to_string(file).map_err(unreadable)?;
        (name, text)
    };
    let inputs = split(&name, &text).map_err(|found| refused(&found))?;
    if inputs.is_empty() {
        let none =
            Fault::error("INPUT_EMPTY", "", format!("{name} holds no event")).cure("write one JSON object a line");
        return Err(refused(&[none]));
    }
    Ok(inputs)
}

/// Prints what is wrong with the input and fails.
pub(super) fn refused(found: &[Fault]) -> Failure {
    let shown = found.get(..MAX_SHOWN).unwrap_or(found);
    setup::tell(shown);
    let more = found.len() - shown.len();
    if more == 0 {
        return Failure::silent(Exit::Usage);
    }
    Failure { code: Exit::Usage, message: format!("and {more} more") }
}

/// One event a line, if the first line is a JSON value; else one document. An array stands for its elements.
fn split(file: &str, text: &str) -> Result<Vec<Input>, Vec<Fault>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let file: Arc<str> = Arc::from(file);
    let mut inputs = Vec::new();
    let mut faults = Vec::new();
    let first = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    if Json::check(first.as_bytes()).is_ok() {
        for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
            one(&file, number, line, &mut inputs, &mut faults);
        }
    } else if !first.is_empty() {
        one(&file, 1, text, &mut inputs, &mut faults);
    }
    if faults.is_empty() { Ok(inputs) } else { Err(faults) }
}

/// A text that is one JSON value; `first_line` is the number of its first line.
fn one(file: &Arc<str>, first_line: u32, text: &str, inputs: &mut Vec<Input>, faults: &mut Vec<Fault>) {
    let place = |offset: usize| {
        let before = text.get(..offset).unwrap_or(text);
        let lines = u32::try_from(before.matches('\n').count()).unwrap_or(u32::MAX);
        let line = before.rsplit('\n').next().unwrap_or_default();
        let column = u32::try_from(line.chars().count()).unwrap_or(u32::MAX);
        Place { file: Arc::clone(file), line: first_line.saturating_add(lines), column: column.saturating_add(1) }
    };
    let mut add = |json: Json<'_>| {
        let offset = json.text().as_ptr().addr() - text.as_ptr().addr();
        inputs.push(Input { place: place(offset), text: json.text().to_owned() });
    };
    match Json::check(text.as_bytes()) {
        Ok(json) => match json.elements() {
            Some(elements) => elements.for_each(add),
            None => add(json),
        },
        Err(scan::Error { offset, kind }) => {
            let cure = match kind {
                scan::ErrorKind::Trailing => "one event a line, or all of them in one array",
                scan::ErrorKind::UnexpectedEnd
                | scan::ErrorKind::Unexpected(_)
                | scan::ErrorKind::Number
                | scan::ErrorKind::Escape
                | scan::ErrorKind::Surrogate
                | scan::ErrorKind::Utf8
                | scan::ErrorKind::TooDeep
                | scan::ErrorKind::TooLong => "",
            };
            faults.push(Fault::error("INPUT_JSON", "", format!("not JSON: {kind}")).cure(cure).at(place(offset)));
        }
    }
}

/// Reads an input as the event it shall be when it comes from `topic`.
///
/// # Errors
/// What is missing or wrong, with its place.
pub(super) fn decode(input: &Input, topic: &str) -> Result<CloudEvent, Box<Fault>> {
    let json = Json::trusted(&input.text);
    let fault = |code: &'static str, message: String| Fault::error(code, "", message).at(input.place.clone());
    if json.kind() != Kind::Object {
        let found = fault("DECODE_JSON", "this is no JSON object, so it is no event".to_owned());
        return Err(Box::new(
            found.cure("write {\"specversion\":\"1.0\",\"id\":…,\"source\":…,\"type\":…,\"data\":…}"),
        ));
    }
    let missing: Vec<_> = REQUIRED.iter().filter(|(name, _)| json.get(name).is_none()).collect();
    if !missing.is_empty() {
        let names: Vec<_> = missing.iter().map(|(name, _)| format!("`{name}`")).collect();
        let cures: Vec<_> = missing.iter().map(|(_, cure)| *cure).collect();
        let message =
            format!("no CloudEvent: {} {} missing", names.join(", "), if names.len() == 1 { "is" } else { "are" });
        return Err(Box::new(fault("DECODE_ATTRIBUTE_MISSING", message).cure(format!("add {}", cures.join(", ")))));
    }
    let position = Position { topic: Arc::from(topic), partition: 0, offset: 0 };
    let headers = [("content-type", Some(&b"application/cloudevents+json"[..]))];
    let record = Record::new(position, None, None, Some(input.text.as_bytes()), headers.into_iter());
    let options = decode::Options { strict: true, ..decode::Options::default() };
    decode::decode(record, &options).map_err(|(_, error)| Box::new(fault(error.code(), error.to_string())))
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: &str = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t"}"#;

    fn places(text: &str) -> Vec<(u32, u32)> {
        let inputs = split("f", text).expect("readable");
        inputs.iter().map(|input| (input.place.line, input.place.column)).collect()
    }

    #[test]
    fn lines_documents_and_arrays() {
        assert_eq!(places(&format!("{EVENT}\n\n  {EVENT}\r\n")), [(1, 1), (3, 3)]);
        assert_eq!(places("{\n \"id\": 1\n}\n"), [(1, 1)]);
        assert_eq!(places(&format!("[\n  {EVENT},\n{EVENT}\n]")), [(2, 3), (3, 1)]);
        assert_eq!(places(&format!("[{EVENT},{EVENT}]")).len(), 2);
        assert_eq!(places(" \n"), []);
    }

    #[test]
    fn what_is_no_json_has_its_place() {
        let found = split("f", &format!("{EVENT}\n{{\"id\":}}\n{EVENT}\n{{]")).expect_err("two faults");
        let places: Vec<_> = found.iter().map(|f| f.place.as_ref().map(|p| (p.line, p.column))).collect();
        assert_eq!(places, [Some((2, 7)), Some((4, 2))]);
        let found = split("f", "{\n \"a\": nope\n}").expect_err("a fault");
        assert_eq!(found[0].place.as_ref().map(|p| (p.line, p.column)), Some((2, 7)));
    }

    #[test]
    fn everything_that_is_missing_is_said_at_once() {
        let input = |text: &str| Input { place: Place::default(), text: text.to_owned() };
        assert_eq!(decode(&input(EVENT), "t").expect("an event").id(), "1");
        let fault = decode(&input(r#"{"type":"t"}"#), "t").expect_err("no event");
        assert_eq!(fault.message, "no CloudEvent: `specversion`, `id`, `source` are missing");
        assert_eq!(decode(&input("[]"), "t").expect_err("no event").code, "DECODE_JSON");
        let version = EVENT.replace("1.0", "0.3");
        assert_eq!(decode(&input(&version), "t").expect_err("no event").code, "DECODE_SPECVERSION");
        let name = EVENT.replace("\"type\"", "\"Type\":1,\"type\"");
        assert_eq!(decode(&input(&name), "t").expect_err("no event").code, "DECODE_ATTRIBUTE_NAME");
    }
}
