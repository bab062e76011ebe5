//! The compiled evaluator ≡ the plain one of `naive`, on random patterns and events of both dialects: verdicts, what is
//! refused, and where. `PROPTEST_CASES` is the number of patterns; each is tried with [`EVENTS`] events.

use super::generate::Generator;
use super::naive::Naive;
use super::{Options, compile};
use crate::json::document::Document;
use crate::json::tape::Tape;
use crate::json::value::Json;
use crate::model::resources::Dialect;
use proptest::prelude::*;

/// Events for each pattern.
const EVENTS: usize = 10;

/// Reads a pattern both ways and compares what is refused; then what the events get.
fn check(seed: u64, dialect: Dialect, alias: bool, faults: f64) -> Result<(), TestCaseError> {
    let mut generator = Generator::new(seed, dialect).with_faults(faults);
    let drawn = generator.pattern();
    let mut text = drawn.text();
    if alias {
        text = text.replace("\"a\":", "\"detail\":").replace("\"b\":", "\"detail-type\":").replace("\"a.", "\"detail.");
    }
    let options = Options { dialect, alias_aws: alias, ..Options::default() };
    let naive = Naive::read(&text, dialect, alias);
    let (compiled, naive) = match (compile(&text, &options), naive) {
        (Ok(compiled), Ok(naive)) => (compiled.pattern, naive),
        (Err(found), Err(mut wanted)) => {
            let mut found: Vec<String> = found.into_iter().map(|fault| fault.pointer).collect();
            found.sort();
            wanted.sort();
            prop_assert!(dialect == Dialect::Aws || found == wanted, "{text}: {found:?}, not {wanted:?}");
            return Ok(());
        }
        (Ok(_), Err(wanted)) => return Err(TestCaseError::fail(format!("{text} {dialect:?}: taken, but {wanted:?}"))),
        (Err(found), Ok(_)) => return Err(TestCaseError::fail(format!("{text} {dialect:?}: refused: {found:?}"))),
    };
    for _ in 0..EVENTS {
        let mut event = generator.event(&drawn);
        if alias {
            event = event.replace("\"a\":", "\"data\":").replace("\"b\":", "\"type\":").replace("\"a.", "\"data.");
        }
        let document = Document::from_object(Json::check(event.as_bytes()).unwrap()).unwrap();
        // Whether its tape was made when it was checked, or when it was matched.
        let mut tape = Tape::default();
        let noted = Document::check(event.as_bytes(), &mut tape).unwrap().unwrap();
        prop_assert_eq!(compiled.matches(&noted), compiled.matches(&document), "{} on {}", text, event);
        let Ok(verdict) = compiled.matches(&document) else { continue };
        prop_assert_eq!(verdict, naive.matches(&event), "{} on {}: {:?}, alias {}", text, event, dialect, alias);
        let explanation = compiled.explain(&document);
        prop_assert_eq!(explanation.matched, Ok(verdict), "{} on {}: {:?}, alias {}", text, event, dialect, alias);
        prop_assert!(!verdict || explanation.field.is_none());
    }
    Ok(())
}

/// 3 to the power of 30 alternatives: neither evaluator may try them one by one.
#[test]
fn more_alternatives_than_can_be_tried() {
    let nested = |inner: String| format!(r#"{{"$or":[{{"a":["x"]}},{{"a":["y"]}},{{"b":["x"]}}],"n":{inner}}}"#);
    let pattern = (0..30).fold(r#"{"a":["x"]}"#.to_owned(), |inner, _| nested(inner));
    let event =
        |last: &str| (0..30).fold(last.to_owned(), |inner, _| format!(r#"{{"a":["x","y"],"b":"x","n":{inner}}}"#));
    let options = Options::default();
    let compiled = compile(&pattern, &options).unwrap().pattern;
    let naive = Naive::read(&pattern, Dialect::Tidegate, false).unwrap();
    for (last, verdict) in [(r#"{"a":["x"]}"#, true), (r#"{"a":["y"]}"#, false), (r#"{"b":"x"}"#, false)] {
        let event = event(last);
        let document = Document::from_object(Json::check(event.as_bytes()).unwrap()).unwrap();
        assert_eq!(compiled.matches(&document), Ok(verdict));
        assert_eq!(naive.matches(&event), verdict);
    }
    assert!(
        Naive::read(&pattern, Dialect::Aws, false).is_err()
            && compile(&pattern, &Options { dialect: Dialect::Aws, ..options }).is_err()
    );
}

proptest! {
    #[test]
    fn the_compiled_pattern_is_the_plain_one(seed: u64, alias in prop::bool::weighted(0.1)) {
        for dialect in [Dialect::Tidegate, Dialect::Aws] {
            check(seed, dialect, alias, 0.0)?;
        }
    }

    #[test]
    fn the_same_patterns_are_refused_for_the_same_places(seed: u64, many: bool) {
        for dialect in [Dialect::Tidegate, Dialect::Aws] {
            check(seed, dialect, false, if many { 0.3 } else { 0.05 })?;
        }
    }
}
