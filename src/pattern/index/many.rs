//! Sets of random rules: the index says what each pattern says alone. `PROPTEST_CASES` is the number of sets.

use super::{Index, Scratch};
use crate::json::document::Document;
use crate::json::tape::Tape;
use crate::model::resources::Dialect;
use crate::pattern::generate::Generator;
use crate::pattern::{EvaluationLimit, Limits, Options, Pattern, Pool, compile_with};
use proptest::prelude::*;
use std::sync::Arc;

fn alone(patterns: &[Arc<Pattern>], document: &Document<'_>) -> Vec<(usize, Result<(), EvaluationLimit>)> {
    let verdicts = patterns.iter().map(|pattern| pattern.matches(document)).enumerate();
    let wanted = verdicts.filter_map(|(rule, verdict)| match verdict {
        Ok(true) => Some((rule, Ok(()))),
        Ok(false) => None,
        Err(limit) => Some((rule, Err(limit))),
    });
    wanted.collect()
}

/// One rule in fifty has a limit that it may reach, and one in forty the names of AWS.
fn options(rng: &mut fastrand::Rng, dialect: Dialect) -> Options {
    let attempts = if rng.u8(0..50) == 0 { rng.u32(0..4) } else { 100_000 };
    Options { dialect, limits: Limits { attempts, ..Limits::default() }, alias_aws: rng.u8(0..40) == 0 }
}

proptest! {
    #[test]
    fn many_rules_together_say_what_each_says_alone(seed: u64, size in prop::sample::select(vec![3_usize, 20, 60])) {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut pool = Pool::default();
        let mut patterns = Vec::new();
        let mut events = Vec::new();
        while patterns.len() < size {
            let dialect = if rng.bool() { Dialect::Aws } else { Dialect::Tidegate };
            let mut generator = Generator::new(rng.u64(..), dialect);
            // Several rules of the same words, and events made for them.
            for _ in 0..rng.usize(1..8) {
                let pattern = generator.pattern();
                if let Ok(compiled) = compile_with(&pattern.text(), &options(&mut rng, dialect), &mut pool) {
                    patterns.push(Arc::new(compiled.pattern));
                    events.push(generator.event(&pattern));
                }
            }
        }
        let index: Index = patterns.iter().cloned().collect();
        let mut scratch = Scratch::default();
        for event in events {
            let mut tape = Tape::default();
            let Ok(Some(document)) = Document::check(event.as_bytes(), &mut tape) else { continue };
            let mut together = Vec::new();
            index.matching(&document, &mut scratch, |rule, verdict| together.push((rule, verdict)));
            prop_assert_eq!(together, alone(&patterns, &document), "{}", event);
        }
    }
}
