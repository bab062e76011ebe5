//! Large rule sets of random rules: the index says what each pattern says alone. `RULE_SETS=1000` tries more of them.

use super::{Index, Scratch};
use crate::json::document::Document;
use crate::model::resources::Dialect;
use crate::pattern::generate::Generator;
use crate::pattern::{EvaluationLimit, Limits, Options, Pattern, Pool, compile_with};
use std::sync::Arc;

/// Sets that are tried unless `RULE_SETS` says otherwise.
const SETS: u64 = 8;

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

#[test]
fn many_rules_together_say_what_each_says_alone() {
    let sets = std::env::var("RULE_SETS").map_or(SETS, |sets| sets.parse().unwrap());
    let mut scratch = Scratch::default();
    let mut found = 0;
    for set in 0..sets {
        let mut rng = fastrand::Rng::with_seed(set);
        let size = [3, 20, 100, 400][usize::try_from(set % 4).unwrap()];
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
        for event in events {
            let Ok(Some(document)) = Document::check(event.as_bytes()) else { continue };
            let mut together = Vec::new();
            index.matching(&document, &mut scratch, |rule, verdict| together.push((rule, verdict)));
            assert_eq!(together, alone(&patterns, &document), "set {set}: {event}");
            found += together.len();
        }
    }
    assert!(found > 100, "only {found} matches");
}
