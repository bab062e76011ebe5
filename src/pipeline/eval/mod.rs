//! What a pattern, a target or a list of `responses` makes of an input: the answers of `eval`, for bulk tests and
//! conformance suites. A line of JSON comes in, a line of JSON goes out, by the very code that lanes run.
//!
//! `line` reads a line, `patterns`, `transforms` and `responses` answer one kind each, `answer` writes. What a line
//! compiles is kept for the lines that follow, up to a bound, because suites ask the same thing of many events.
//!
//! | in a line | out |
//! |---|---|
//! | `id`, `pattern` or `pattern_text` or `filters`, `event` or `event_text`, `dialect`, `alias` | `verdict`, `errors` |
//! | `id`, `target`, `content_type`, `endpoint`, `destination`, `connection`, `dialect`, `context`, `now_ms`, `event` or `event_text` | `request` or `error` |
//! | `id`, `responses`, `answer`, `endpoint`, `now_ms` | `outcome`, `wait_s` or `error` |
//!
//! `event` of a pattern is the document that is matched, `event` of a target a structured CloudEvent; both count as
//! they are spelled. On an `endpoint` with path parameters some answers speak of the event (transforms.md rule 51).
//! Other members (`expect`, `rule`, `note` …) are passed over, so that the files of a suite can be
//! given as they are. Nothing is sent, and secrets are masked.

mod answer;
mod cache;
mod line;
mod patterns;
mod responses;
#[cfg(test)]
mod tests;
mod transforms;

use crate::config::Context;
use crate::model::clock::WallMs;
use answer::Answer;
use cache::Cache;
use line::{Line, Question, Wrong};

/// What all lines have in common.
#[derive(Debug, Clone)]
pub struct Options {
    /// What reading resources needs.
    pub context: Context,
    /// The present, for answers whose `Retry-After` is a date and that say no `now_ms`.
    pub now: WallMs,
}

/// Evaluates lines.
#[derive(Debug)]
pub struct Evaluator {
    options: Options,
    patterns: Cache<patterns::Compiled>,
    targets: Cache<transforms::Compiled>,
    responses: Cache<responses::Compiled>,
}

impl Evaluator {
    /// Nothing is compiled yet.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self { options, patterns: Cache::default(), targets: Cache::default(), responses: Cache::default() }
    }

    /// Appends the answer to one line, without a line end. False if the line asks nothing that can be answered; then
    /// the answer says why, and names the line by `number`.
    pub fn evaluate(&mut self, number: u64, text: &[u8], out: &mut String) -> bool {
        let start = out.len();
        let (id, done) = match Line::read(text) {
            Ok(line) => (line.id, self.answer(&line, out)),
            Err(wrong) => (None, Err(wrong)),
        };
        // What is written so far may be half an answer.
        let Err(wrong) = done else { return true };
        out.truncate(start);
        let mut answer = Answer::begin(id, out);
        answer.text("error", "LINE");
        answer.text("message", &format!("line {number}: {wrong}"));
        answer.end();
        false
    }

    fn answer(&mut self, line: &Line<'_>, out: &mut String) -> Result<(), Wrong> {
        let answer = Answer::begin(line.id, out);
        match line.question()? {
            Question::Pattern => patterns::answer(line, &self.options, &mut self.patterns, answer),
            Question::Target(target) => transforms::answer(line, target, &self.options, &mut self.targets, answer),
            Question::Responses(lists, end) => {
                responses::answer(line, (lists, end), &self.options, &mut self.responses, answer)
            }
        }
    }
}

/// The answer to a line that is too long to be read.
pub fn too_long(number: u64, max_bytes: usize, out: &mut String) {
    let mut answer = Answer::begin(None, out);
    answer.text("error", "LINE");
    let cure = "one JSON object to a line, each with its line end";
    answer.text("message", &format!("line {number}: it has more than {max_bytes} bytes; write {cure}"));
    answer.end();
}
