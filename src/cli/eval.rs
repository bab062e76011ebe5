//! `tidegate eval`: JSON lines of patterns, targets and answers in, JSON lines of verdicts, requests and outcomes out,
//! in the same order. What a line may hold is said in [`crate::pipeline::eval`].

use super::{Exit, Failure, Global, setup};
use crate::config::Env;
use crate::model::clock::WallMs;
use crate::pipeline::eval::{self, Evaluator};
use clap::Args;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::PathBuf;

/// A line may be as long as this.
const MAX_LINE_BYTES: usize = 64 << 20;
/// What is read and written at once.
const BUFFER_BYTES: usize = 1 << 18;

/// Options of `eval`.
#[derive(Debug, Args)]
#[command(after_help = "\
One JSON object a line; other members are passed over, so that test files can be given as they are:
  {\"id\",\"pattern\" | \"pattern_text\" | \"filters\",\"event\" | \"event_text\",\"dialect\",\"alias\"}
      → {\"id\",\"verdict\":\"match|no_match|invalid\",\"errors\":[{\"pointer\",\"code\",\"message\"}]}; without event: valid|invalid
  {\"id\",\"target\",\"content_type\",\"endpoint\",\"destination\",\"connection\",\"dialect\",\"context\",\"now_ms\",\"event\" | \"event_text\"}
      → {\"id\",\"request\":{\"path\",\"query\",\"headers\",\"body\"}} or {\"id\",\"error\":CODE,…}
  {\"id\",\"responses\":{\"destination\",\"connection\"},\"answer\",\"endpoint\",\"now_ms\"}
      → {\"id\",\"outcome\",\"wait_s\"} or {\"id\",\"error\":CODE,…}
`event` of a pattern is the document that is matched (payload under data), of a target a structured CloudEvent.
`endpoint` of an answer matters only if it has path parameters: then 403, 404, 405 and 410 are reject.
Exit code: 0, or 2 if a line could not be answered (its answer has the error LINE, and the others are answered).")]
pub struct Options {
    /// A file of JSON lines; - is standard input.
    #[arg(value_name = "FILE", default_value = "-")]
    file: PathBuf,
}

/// Evaluates.
///
/// # Errors
/// The file cannot be read, or a line could not be answered.
pub fn run(global: &Global, options: &Options) -> Result<(), Failure> {
    let env = Env::process();
    let settings = setup::tool_settings(global, &env)?;
    let evaluator = Evaluator::new(eval::Options { context: setup::context(&settings, &env), now: WallMs::now() });
    let unreadable = |error: io::Error| {
        let message = format!("{}: {error}; name a file of JSON lines, or -", options.file.display());
        Failure::new(Exit::Usage, "INPUT_FILE", message)
    };
    let input: Box<dyn Read> = match options.file.as_os_str() == "-" {
        true => Box::new(io::stdin().lock()),
        false => Box::new(File::open(&options.file).map_err(unreadable)?),
    };
    let output = BufWriter::with_capacity(BUFFER_BYTES, io::stdout().lock());
    let counts = answer_all(BufReader::with_capacity(BUFFER_BYTES, input), output, evaluator)?;
    match counts {
        Counts { broken: 0, .. } => Ok(()),
        Counts { lines, broken } => {
            let message = format!("{broken} of {lines} lines could not be answered; their answers say why");
            Err(Failure::new(Exit::Usage, "LINE", message))
        }
    }
}

/// How many lines there were.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    /// That are not empty.
    lines: u64,
    /// That could not be answered.
    broken: u64,
}

fn answer_all(
    mut input: BufReader<impl Read>,
    mut output: impl Write,
    mut evaluator: Evaluator,
) -> Result<Counts, Failure> {
    let mut counts = Counts::default();
    let mut line = Vec::new();
    let mut out = String::new();
    for number in 1_u64.. {
        // Who waits for an answer before writing the next line gets it.
        if input.buffer().is_empty() {
            output.flush()?;
        }
        let Some(whole) = read_line(&mut input, &mut line)? else { break };
        let mut text = line.trim_ascii();
        if number == 1 {
            text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        }
        if whole && text.is_empty() {
            continue;
        }
        out.clear();
        counts.lines += 1;
        let answered = if whole {
            evaluator.evaluate(number, text, &mut out)
        } else {
            eval::too_long(number, MAX_LINE_BYTES, &mut out);
            false
        };
        counts.broken += u64::from(!answered);
        out.push('\n');
        output.write_all(out.as_bytes())?;
    }
    output.flush()?;
    Ok(counts)
}

/// Reads the next line; `None` at the end, false if it is too long: then it has been passed over.
fn read_line(input: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<Option<bool>> {
    line.clear();
    let limit = u64::try_from(MAX_LINE_BYTES).unwrap_or(u64::MAX);
    if input.by_ref().take(limit + 1).read_until(b'\n', line)? == 0 {
        return Ok(None);
    }
    if line.last() == Some(&b'\n') || line.len() <= MAX_LINE_BYTES {
        return Ok(Some(true));
    }
    line.clear();
    line.shrink_to(BUFFER_BYTES);
    input.skip_until(b'\n')?;
    Ok(Some(false))
}
