//! A line: one JSON object whose members say what is asked.

use crate::json::scan;
use crate::json::value::{Json, Kind};
use crate::model::clock::WallMs;
use crate::model::resources::Dialect;
use std::borrow::Cow;

/// The members of a line that mean something. Of duplicates the last counts.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Line<'a> {
    pub(super) id: Option<Json<'a>>,
    pub(super) pattern: Option<Json<'a>>,
    pub(super) pattern_text: Option<Json<'a>>,
    pub(super) filters: Option<Json<'a>>,
    pub(super) event: Option<Json<'a>>,
    pub(super) event_text: Option<Json<'a>>,
    pub(super) dialect: Option<Json<'a>>,
    pub(super) alias: Option<Json<'a>>,
    pub(super) target: Option<Json<'a>>,
    pub(super) content_type: Option<Json<'a>>,
    pub(super) endpoint: Option<Json<'a>>,
    pub(super) destination: Option<Json<'a>>,
    pub(super) connection: Option<Json<'a>>,
    pub(super) context: Option<Json<'a>>,
    pub(super) now_ms: Option<Json<'a>>,
    pub(super) responses: Option<Json<'a>>,
    pub(super) answer: Option<Json<'a>>,
}

/// What a line asks.
#[derive(Debug)]
pub(super) enum Question<'a> {
    /// Whether a pattern, or filters, match.
    Pattern,
    /// What a target sends.
    Target(Json<'a>),
    /// What an answer means: the lists, the answer.
    Responses(Json<'a>, Json<'a>),
}

/// Why a line cannot be answered, and what to write instead.
#[derive(Debug, thiserror::Error)]
pub(super) enum Wrong {
    /// Not JSON.
    #[error("it is not JSON: {0}; write one JSON object to a line")]
    Json(#[from] scan::Error),
    /// JSON, but no object.
    #[error("it is JSON, but no object; write {{\"id\":…,\"pattern\":…,\"event\":…}}")]
    NotObject,
    /// No question.
    #[error(
        "it asks nothing; write `pattern`, `pattern_text` or `filters` with `event`, `target` with `event`, or `responses` \
         with `answer`"
    )]
    Nothing,
    /// More than one question.
    #[error("it asks more than one thing: {0}; give each its own line")]
    Several(String),
    /// A member that is needed.
    #[error("`{0}` is missing; {1}")]
    Missing(&'static str, &'static str),
    /// A member that is something else.
    #[error("`{0}` must be {1}")]
    Member(&'static str, &'static str),
    /// A member that stands for the text of another is not JSON.
    #[error("`{0}` is not JSON: {1}")]
    Text(&'static str, scan::Error),
}

impl<'a> Line<'a> {
    pub(super) fn read(text: &'a [u8]) -> Result<Self, Wrong> {
        // A pattern that is nested too deep is a fault of the pattern, with its pointer, and none of the line.
        let json = Json::check_within(text, text.len())?;
        let mut line = Self::default();
        for (key, value) in json.members().ok_or(Wrong::NotObject)? {
            let member = match &*key.decode() {
                "id" => &mut line.id,
                "pattern" => &mut line.pattern,
                "pattern_text" => &mut line.pattern_text,
                "filters" => &mut line.filters,
                "event" => &mut line.event,
                "event_text" => &mut line.event_text,
                "dialect" => &mut line.dialect,
                "alias" => &mut line.alias,
                "target" => &mut line.target,
                "content_type" => &mut line.content_type,
                "endpoint" => &mut line.endpoint,
                "destination" => &mut line.destination,
                "connection" => &mut line.connection,
                "context" => &mut line.context,
                "now_ms" => &mut line.now_ms,
                "responses" => &mut line.responses,
                "answer" => &mut line.answer,
                _ => continue,
            };
            *member = Some(value);
        }
        Ok(line)
    }

    pub(super) fn question(&self) -> Result<Question<'a>, Wrong> {
        let pattern = self.pattern.or(self.pattern_text).or(self.filters);
        let asked = [("pattern", pattern), ("target", self.target), ("responses", self.responses)];
        let names: Vec<&str> = asked.iter().filter(|(_, value)| value.is_some()).map(|(name, _)| *name).collect();
        if names.len() > 1 {
            return Err(Wrong::Several(names.join(", ")));
        }
        match (pattern, self.target, self.responses) {
            (Some(_), _, _) => Ok(Question::Pattern),
            (None, Some(target), _) => Ok(Question::Target(target)),
            (None, None, Some(lists)) => {
                let answer = self.answer.ok_or(Wrong::Missing("answer", "write {\"status\":200,\"body\":\"…\"}"))?;
                Ok(Question::Responses(lists, answer))
            }
            (None, None, None) => Err(Wrong::Nothing),
        }
    }

    /// The exact text of the event; `None` if there is none.
    pub(super) fn event(&self) -> Result<Option<Cow<'a, str>>, Wrong> {
        either(("event", self.event), ("event_text", self.event_text))
    }

    /// The exact text of the pattern; `None` if there is none.
    pub(super) fn pattern(&self) -> Result<Option<Cow<'a, str>>, Wrong> {
        either(("pattern", self.pattern), ("pattern_text", self.pattern_text))
    }

    pub(super) fn dialect(&self) -> Result<Dialect, Wrong> {
        match self.dialect.map(Json::text) {
            None | Some("null" | "\"tidegate\"") => Ok(Dialect::Tidegate),
            Some("\"aws\"") => Ok(Dialect::Aws),
            Some(_) => Err(Wrong::Member("dialect", "\"tidegate\" or \"aws\"")),
        }
    }

    pub(super) fn alias_aws(&self) -> Result<bool, Wrong> {
        match self.alias.map(Json::text) {
            None | Some("null" | "false") => Ok(false),
            Some("true" | "\"aws\"") => Ok(true),
            Some(_) => Err(Wrong::Member("alias", "true or \"aws\"")),
        }
    }

    pub(super) fn now(&self) -> Result<Option<WallMs>, Wrong> {
        let wrong = Wrong::Member("now_ms", "a whole number: milliseconds since 1970");
        self.now_ms.map(|now| now.text().parse().map(WallMs)).transpose().map_err(|_| wrong)
    }
}

/// The string that a member is.
pub(super) fn string<'a>(name: &'static str, value: Json<'a>) -> Result<Cow<'a, str>, Wrong> {
    value.as_str().ok_or(Wrong::Member(name, "a string"))
}

/// Checks what is going to be walked by recursion: it may be as deep as an event may be.
pub(super) fn shallow<'a>(name: &'static str, value: Json<'a>) -> Result<Json<'a>, Wrong> {
    Json::check(value.text().as_bytes()).map_err(|error| Wrong::Text(name, error))
}

type Named<'a> = (&'static str, Option<Json<'a>>);

/// A member as it stands, or another that has it as a string.
fn either<'a>((raw_name, raw): Named<'a>, (text_name, text): Named<'a>) -> Result<Option<Cow<'a, str>>, Wrong> {
    match (raw, text) {
        (Some(_), Some(_)) => Err(Wrong::Several(format!("{raw_name}, {text_name}"))),
        (Some(raw), None) => Ok(Some(Cow::Borrowed(raw.text()))),
        (None, Some(text)) if text.kind() == Kind::String => text.as_str().map_or(Ok(None), |text| Ok(Some(text))),
        (None, Some(_)) => Err(Wrong::Member(text_name, "a string")),
        (None, None) => Ok(None),
    }
}
