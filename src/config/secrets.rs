//! `${env:NAME}`, `${env:NAME:-default}` and `${file:/path}`: text that stands elsewhere, resolved once when files load.
//!
//! What comes from a reference is never interpreted and is shown as `***`. A variable that is set but empty counts as
//! unset, as in a shell's `:-`.

use super::env::Env;
use percent_encoding::percent_decode_str;
use secrecy::SecretString;
use std::ops::Range;
use std::path::PathBuf;

/// Why a reference gives no text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No such variable.
    #[error("the environment variable `{0}` is not set")]
    Unset(String),
    /// The file cannot be read.
    #[error("the secret file `{path}` cannot be read: {why}")]
    File {
        /// Its path as written.
        path: String,
        /// What the system said.
        why: String,
    },
    /// Not a reference as we know them.
    #[error("`{0}` is no reference")]
    Malformed(String),
    /// A path or an expression stands in the same text; what comes from outside would be mixed with what is
    /// interpreted.
    #[error("a reference and a path or `${{…}}` cannot stand in one text")]
    Mixed,
}

impl Error {
    /// What to do about it.
    #[must_use]
    pub fn cure(&self) -> String {
        match self {
            Self::Unset(name) => format!("set it, or write ${{env:{name}:-default}}"),
            Self::File { .. } => "check the path and who may read it".to_owned(),
            Self::Malformed(_) => "write ${env:NAME}, ${env:NAME:-default} or ${file:/run/secrets/x}".to_owned(),
            Self::Mixed => "put the reference into the connection's headers, query or auth".to_owned(),
        }
    }
}

/// A text after its references were resolved.
#[derive(Clone)]
pub struct Resolved {
    /// The text.
    pub text: String,
    /// At least one reference had a part in it.
    pub secret: bool,
    /// Files that were read for it.
    pub files: Vec<PathBuf>,
    /// Which parts of the text references gave, in bytes.
    pub outside: Vec<Range<usize>>,
}

impl Resolved {
    pub(super) fn new(secret: bool) -> Self {
        Self { text: String::new(), secret, files: Vec::new(), outside: Vec::new() }
    }

    /// What references gave for path and query of a url, or of a path with a query. Scheme, host and port are no
    /// secrets: without them no message could say who does not answer.
    #[must_use]
    pub fn hidden_in_url(&self) -> Vec<SecretString> {
        let text = self.text.as_str();
        let path = match text.split_once("://") {
            Some((_, after)) => {
                let authority = after.find(['/', '?', '#']).unwrap_or(after.len());
                text.len() - after.len() + authority
            }
            None => 0,
        };
        let mut found: Vec<String> = Vec::new();
        for part in &self.outside {
            let hidden = text.get(part.start.max(path)..part.end).unwrap_or_default();
            let hidden = hidden.trim_matches(['/', '?', '&']);
            // An API may quote a part of it only.
            let long = hidden.split(['/', '?', '&', '=']).filter(|part| part.len() >= LONG_SEGMENT);
            found.extend(std::iter::once(hidden).chain(long).map(str::to_owned));
        }
        let decoded = found.iter().filter_map(|text| percent_decode_str(text).decode_utf8().ok());
        let decoded: Vec<String> = decoded.map(|text| text.into_owned()).collect();
        found.extend(decoded);
        found.retain(|text| !text.is_empty());
        found.sort_unstable();
        found.dedup();
        found.into_iter().map(SecretString::from).collect()
    }
}

/// A segment of a path that is so long is no word: it is secret by itself.
const LONG_SEGMENT: usize = 16;

impl std::fmt::Debug for Resolved {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.secret { "***" } else { &self.text })
    }
}

/// How a text is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grammar {
    /// Plain text: `$` means nothing but in a reference.
    Literal,
    /// A value (transforms.md rule 53): `$$` is a literal dollar, so `$${env:X}` is no reference, and other
    /// expressions may stand there.
    Value,
}

/// Whether a text has a reference in it.
#[must_use]
pub fn mentions(text: &str, grammar: Grammar) -> bool {
    pieces(text, grammar).any(|piece| matches!(piece, Piece::Reference(_) | Piece::Unclosed(_)))
}

/// Resolves the references in `text`. A value without references is given back as it is, to be interpreted later.
///
/// # Errors
/// The first reference that gives no text.
pub fn resolve(text: &str, grammar: Grammar, env: &Env) -> Result<Resolved, Error> {
    let mut resolved = Resolved::new(false);
    if !mentions(text, grammar) {
        text.clone_into(&mut resolved.text);
        return Ok(resolved);
    }
    if grammar == Grammar::Value && is_path(text) {
        return Err(Error::Mixed);
    }
    for piece in pieces(text, grammar) {
        match piece {
            Piece::Text(text) => resolved.text.push_str(text),
            Piece::Dollar => resolved.text.push('$'),
            Piece::Expression => return Err(Error::Mixed),
            Piece::Unclosed(text) => return Err(Error::Malformed(text.to_owned())),
            Piece::Reference(reference) => {
                resolved.secret = true;
                let start = resolved.text.len();
                lookup(reference, env, &mut resolved)?;
                resolved.outside.push(start..resolved.text.len());
            }
        }
    }
    Ok(resolved)
}

fn lookup(reference: &str, env: &Env, into: &mut Resolved) -> Result<(), Error> {
    let malformed = || Error::Malformed(format!("${{{reference}}}"));
    if let Some(path) = reference.strip_prefix("file:") {
        if !path.starts_with('/') {
            return Err(malformed());
        }
        let text =
            std::fs::read_to_string(path).map_err(|why| Error::File { path: path.to_owned(), why: why.to_string() })?;
        // Editors and `kubectl create secret` end files with a line feed that belongs to no secret.
        into.text.push_str(text.trim_end_matches(['\n', '\r']));
        into.files.push(PathBuf::from(path));
        return Ok(());
    }
    let variable = reference.strip_prefix("env:").ok_or_else(malformed)?;
    let (name, default) = match variable.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (variable, None),
    };
    let fits = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if !fits {
        return Err(malformed());
    }
    let found = env.get(name).filter(|value| !value.is_empty()).or(default);
    into.text.push_str(found.ok_or_else(|| Error::Unset(name.to_owned()))?);
    Ok(())
}

/// Whether the whole text is a path (transforms.md rule 53).
fn is_path(text: &str) -> bool {
    let Some(rest) = text.strip_prefix('$') else { return false };
    let name = rest.bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').count();
    let named = rest.bytes().next().is_none_or(|b| !b.is_ascii_digit());
    named && matches!(rest.as_bytes().get(name), None | Some(b'.' | b'['))
}

enum Piece<'a> {
    Text(&'a str),
    /// `$$` in a value.
    Dollar,
    /// `${…}` that is no reference, in a value.
    Expression,
    /// What stands between `${` and `}`.
    Reference(&'a str),
    /// A reference without `}`.
    Unclosed(&'a str),
}

fn pieces(text: &str, grammar: Grammar) -> impl Iterator<Item = Piece<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || next(&mut rest, grammar))
}

/// The next piece of `rest`, which is moved behind it; of an expression only its `$`.
fn next<'a>(rest: &mut &'a str, grammar: Grammar) -> Option<Piece<'a>> {
    let text = *rest;
    if text.is_empty() {
        return None;
    }
    let mut take = |bytes: usize| {
        let (taken, after) = text.split_at_checked(bytes).unwrap_or((text, ""));
        *rest = after;
        taken
    };
    let at = text.find('$').unwrap_or(text.len());
    if at > 0 {
        return Some(Piece::Text(take(at)));
    }
    if grammar == Grammar::Value && text.starts_with("$$") {
        take(2);
        return Some(Piece::Dollar);
    }
    if text.starts_with("${env:") || text.starts_with("${file:") {
        return Some(match text.find('}') {
            Some(end) => Piece::Reference(take(end + 1).get(2..end).unwrap_or_default()),
            None => Piece::Unclosed(take(text.len())),
        });
    }
    let dollar = take(1);
    let expression = grammar == Grammar::Value && text.starts_with("${");
    Some(if expression { Piece::Expression } else { Piece::Text(dollar) })
}

/// A part of a value (transforms.md rule 53) that keeps what was written apart from what came from a reference.
#[derive(Debug)]
pub enum Part {
    /// Literal text; `$$` has become a dollar.
    Text(String),
    /// What a reference gave.
    Reference(Result<Resolved, Error>),
    /// A path, or what stands between `${` and `}`; for the caller to interpret or refuse.
    Expression(String),
}

/// The parts of a value in which references and expressions may stand side by side.
pub fn parts(text: &str, env: &Env) -> Vec<Part> {
    if is_path(text) {
        return vec![Part::Expression(text.to_owned())];
    }
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(piece) = next(&mut rest, Grammar::Value) {
        let literal = match piece {
            Piece::Text(text) => text,
            Piece::Dollar => "$",
            Piece::Unclosed(text) => {
                parts.push(Part::Reference(Err(Error::Malformed(text.to_owned()))));
                continue;
            }
            Piece::Reference(reference) => {
                let mut resolved = Resolved::new(true);
                parts.push(Part::Reference(lookup(reference, env, &mut resolved).map(|()| resolved)));
                continue;
            }
            Piece::Expression => {
                let (inner, after) = rest.split_once('}').unwrap_or((rest, ""));
                parts.push(Part::Expression(inner.trim_start_matches('{').trim().to_owned()));
                rest = after;
                continue;
            }
        };
        match parts.last_mut() {
            Some(Part::Text(text)) => text.push_str(literal),
            Some(Part::Reference(_) | Part::Expression(_)) | None => parts.push(Part::Text(literal.to_owned())),
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env() -> Env {
        Env::of([("A", "alpha"), ("EMPTY", ""), ("TRICK", "${env:A} $.id")])
    }

    #[test]
    fn references_resolve_once_and_are_secret() {
        for (text, expected, secret) in [
            ("plain $5 $.x ${y}", "plain $5 $.x ${y}", false),
            ("${env:A}", "alpha", true),
            ("Bearer ${env:A}!", "Bearer alpha!", true),
            ("${env:NONE:-d}${env:EMPTY:-e}${env:A:-f}", "dealpha", true),
            ("${env:NONE:-}", "", true),
            ("${env:TRICK}", "${env:A} $.id", true),
            ("$${env:A}", "$alpha", true),
        ] {
            let found = resolve(text, Grammar::Literal, &env()).expect(text);
            assert_eq!((found.text.as_str(), found.secret), (expected, secret), "{text}");
        }
        for (text, expected, secret) in [
            ("$.id", "$.id", false),
            ("$${env:A}", "$${env:A}", false),
            ("cost $$5 ${env:A}", "cost $5 alpha", true),
            ("cost $5 ${env:A}", "cost $5 alpha", true),
        ] {
            let found = resolve(text, Grammar::Value, &env()).expect(text);
            assert_eq!((found.text.as_str(), found.secret), (expected, secret), "{text}");
        }
    }

    #[test]
    fn parts_keep_what_is_written_apart_from_what_comes_from_outside() {
        let show = |text: &str| {
            let show = |part: &Part| match part {
                Part::Text(text) => format!("text {text}"),
                Part::Reference(Ok(found)) => format!("outside {}", found.text),
                Part::Reference(Err(error)) => format!("error {error}"),
                Part::Expression(inner) => format!("expression {inner}"),
            };
            parts(text, &env()).iter().map(show).collect::<Vec<_>>().join(", ")
        };
        for (text, wanted) in [
            ("$token", "expression $token"),
            ("$.a b", "expression $.a b"),
            ("Bearer ${ $token }!", "text Bearer , expression $token, text !"),
            ("${env:TRICK}${$token}", "outside ${env:A} $.id, expression $token"),
            ("$$token costs $5$$", "text $token costs $5$"),
            ("$${env:A}", "text ${env:A}"),
            ("${env:NONE}x", "error the environment variable `NONE` is not set, text x"),
            ("a${env:A", "text a, error `${env:A` is no reference"),
            ("${open", "expression open"),
            ("", ""),
        ] {
            assert_eq!(show(text), wanted, "{text}");
        }
    }

    #[test]
    fn files_lose_their_last_line_feed() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("s");
        std::fs::write(&path, "se cret\n").expect("written");
        let found = resolve(&format!("${{file:{}}}", path.display()), Grammar::Literal, &env()).expect("resolved");
        assert_eq!((found.text.as_str(), found.files), ("se cret", vec![path]));
    }

    #[test]
    fn what_cannot_be_resolved_says_why() {
        for (text, grammar, message, cure) in [
            ("${env:NONE}", Grammar::Literal, "`NONE` is not set", "${env:NONE:-default}"),
            ("${env:EMPTY}", Grammar::Literal, "`EMPTY` is not set", "set it"),
            ("${env:a b}", Grammar::Literal, "`${env:a b}` is no reference", "${env:NAME}"),
            ("x${env:A", Grammar::Literal, "`${env:A` is no reference", "${env:NAME}"),
            ("${env:}", Grammar::Literal, "is no reference", "${env:NAME}"),
            ("${file:x}", Grammar::Literal, "is no reference", "${file:/run/secrets/x}"),
            ("${file:/no/such}", Grammar::Literal, "`/no/such` cannot be read", "check the path"),
            ("${env:A} ${$.id}", Grammar::Value, "cannot stand in one text", "the connection's"),
            ("$.a${env:A}", Grammar::Value, "cannot stand in one text", "the connection's"),
        ] {
            let error = resolve(text, grammar, &env()).expect_err(text);
            assert!(error.to_string().contains(message), "{text}: {error}");
            assert!(error.cure().contains(cure), "{text}: {}", error.cure());
        }
    }
}
