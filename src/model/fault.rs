//! What is wrong with something people wrote, and where.

use std::fmt;
use std::sync::Arc;

/// A place in a file that people can open. `line` and `column` count from 1; 0 means unknown.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Place {
    /// The file as it was named; empty for text that came from no file.
    pub file: Arc<str>,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 {
            return f.write_str(&self.file);
        }
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// One fault found while loading. All faults are reported at once, each with the place and the cure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Stable code, e.g. `CONFIG_VALUE`, `PATTERN_OPERATOR`.
    pub code: &'static str,
    /// RFC 6901 pointer to the culprit, relative to what was compiled.
    pub pointer: String,
    /// What is wrong, in one sentence, without the place.
    pub message: String,
    /// What to write instead; empty if the message says it all.
    pub cure: String,
    /// Where it stands, once known.
    pub place: Option<Place>,
    /// A warning does not refuse the resource.
    pub warning: bool,
}

impl Fault {
    /// An error without a place yet.
    #[must_use]
    pub fn error(code: &'static str, pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            code,
            pointer: pointer.into(),
            message: message.into(),
            cure: String::new(),
            place: None,
            warning: false,
        }
    }

    /// A warning without a place yet.
    #[must_use]
    pub fn warning(code: &'static str, pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self { warning: true, ..Self::error(code, pointer, message) }
    }

    /// Adds what to write instead.
    #[must_use]
    pub fn cure(mut self, cure: impl Into<String>) -> Self {
        self.cure = cure.into();
        self
    }

    /// Adds the place.
    #[must_use]
    pub fn at(mut self, place: Place) -> Self {
        self.place = Some(place);
        self
    }
}
