//! What can go wrong while a request is rendered: the event cannot be sent as the rule says, and goes to the
//! dead-letter topic with one of these codes.

use crate::json::path::TooCostly;
use crate::model::fault::Place;

/// Why an event cannot be rendered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A path without a default finds nothing.
    #[error("`{path}` is absent ({has})")]
    Missing {
        /// The path as written.
        path: String,
        /// What there is instead, e.g. `data has id, pipeline`.
        has: String,
        /// Where the path stands.
        place: Place,
    },
    /// Null, an object or a list where a text is needed.
    #[error("`{path}` is {found}, but {wanted} needs a string, number or boolean")]
    Type {
        /// The path as written.
        path: String,
        /// What it found, e.g. `null`.
        found: &'static str,
        /// The place it is for, e.g. `header x-id`.
        wanted: String,
        /// Where the path stands.
        place: Place,
    },
    /// A path costs too much on this event.
    #[error("`{path}` gives up: {why}")]
    Limit {
        /// The path as written.
        path: String,
        /// Which limit it reached.
        why: TooCostly,
        /// Where the path stands.
        place: Place,
    },
    /// A body or a text has grown too long: one huge value inserted many times.
    #[error("what is rendered is longer than {} MiB", limit >> 20)]
    Long {
        /// Bytes that it may have.
        limit: usize,
    },
    /// All headers together have grown longer than servers take.
    #[error("the headers have more than {} KiB together; the longest is `{name}`, {bytes} bytes", limit >> 10)]
    Headers {
        /// Bytes that their names and values may have.
        limit: usize,
        /// The longest.
        name: String,
        /// Its bytes.
        bytes: usize,
    },
    /// The rendered body is not what its content type says.
    #[error("the rendered body {reason} at byte {offset}")]
    Failed {
        /// Rule.
        rule: String,
        /// Target.
        target: String,
        /// Byte offset in the rendered body.
        offset: usize,
        /// What is wrong there, e.g. `is not JSON: expected a value`.
        reason: String,
    },
    /// No place for a field.
    #[error("cannot {action} `{path}`: {reason}")]
    Edit {
        /// `insert` or `update`.
        action: &'static str,
        /// The path as written.
        path: String,
        /// What stands in the way.
        reason: &'static str,
        /// Where the path stands.
        place: Place,
    },
    /// Text that must not be put into a header.
    #[error("header `{name}` cannot hold {what}")]
    Header {
        /// Name of the header.
        name: String,
        /// What it would have to hold.
        what: &'static str,
    },
    /// Text that must not be put into a path.
    #[error("path parameter `{name}` is {what}, which would change what the path means")]
    Path {
        /// Name of the parameter.
        name: String,
        /// What is wrong with its value.
        what: &'static str,
    },
    /// The connection has body parameters, but the body is no JSON object.
    #[error("the connection adds body parameters, but the body is {found}, not a JSON object")]
    Merge {
        /// What the body is.
        found: &'static str,
    },
}

impl Error {
    /// Stable code: goes into the dead-letter header, metrics and logs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Missing { .. } => "TRANSFORM_MISSING",
            Self::Type { .. } => "TRANSFORM_TYPE",
            Self::Limit { .. } | Self::Long { .. } | Self::Headers { .. } => "TRANSFORM_LIMIT",
            Self::Failed { .. } => "TRANSFORM_FAILED",
            Self::Edit { .. } => "TRANSFORM_EDIT",
            Self::Header { .. } => "TRANSFORM_HEADER",
            Self::Path { .. } => "TRANSFORM_PATH",
            Self::Merge { .. } => "TRANSFORM_MERGE",
        }
    }

    /// Where the culprit stands in the resource files, if it is one value.
    #[must_use]
    pub const fn place(&self) -> Option<&Place> {
        match self {
            Self::Missing { place, .. }
            | Self::Type { place, .. }
            | Self::Limit { place, .. }
            | Self::Edit { place, .. } => Some(place),
            Self::Long { .. }
            | Self::Headers { .. }
            | Self::Failed { .. }
            | Self::Header { .. }
            | Self::Path { .. }
            | Self::Merge { .. } => None,
        }
    }

    /// What to write instead, e.g. ``default: ${$.data.branch ?? "main"}``.
    #[must_use]
    pub fn cure(&self) -> Option<String> {
        match self {
            Self::Missing { path, .. } => Some(format!("default: ${{{path} ?? \"…\"}}")),
            Self::Failed { .. } => Some("use a `json` body, or another content type".to_owned()),
            Self::Limit { .. } => {
                Some("name the way to the values, e.g. `$.data.items[*].sku` for `$..sku`".to_owned())
            }
            Self::Long { .. } => Some("insert large values less often".to_owned()),
            Self::Headers { .. } => {
                Some("put long values into the body: few servers take more than 8 KiB of headers".to_owned())
            }
            Self::Type { .. } | Self::Edit { .. } | Self::Header { .. } | Self::Path { .. } | Self::Merge { .. } => {
                None
            }
        }
    }
}
