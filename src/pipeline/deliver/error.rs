//! Why an attempt has no answer, or none that counts.

use crate::destinations::dial::{self, waiting};
use crate::destinations::pool::ProtocolError;
use crate::destinations::responses::End;
use crate::destinations::stream::{Phase, Wire};
use crate::model::outcome::Class;
use std::time::Duration;

/// The ways an attempt ends without a complete answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No connection came about.
    #[error(transparent)]
    Dial(#[from] dial::Error),
    /// The request cannot be written as HTTP.
    #[error("the request cannot be sent: {detail}")]
    Request {
        /// What is wrong with it; shows no value.
        detail: &'static str,
    },
    /// The connection closed before a byte of the request was sent.
    #[error("{host} closed the connection before anything was sent")]
    Closed {
        /// Host and port.
        host: String,
    },
    /// They did not look at the request (HTTP/2: GOAWAY, `REFUSED_STREAM`).
    #[error("{host} ended the connection or refused the request before looking at it ({source})")]
    Refused {
        /// Host and port.
        host: String,
        /// What HTTP says.
        source: ProtocolError,
    },
    /// The connection broke after sending began.
    #[error("{host} closed the connection without an answer ({source}); it may or may not have taken the request")]
    Reset {
        /// Host and port.
        host: String,
        /// What HTTP says.
        source: ProtocolError,
    },
    /// They no longer accept who we are.
    #[error("{host} refused our TLS certificate ({source}); check the client certificate of the connection")]
    Verify {
        /// Host and port.
        host: String,
        /// What HTTP says.
        source: ProtocolError,
    },
    /// What came is not HTTP.
    #[error("{host} answered something that is not HTTP ({source}); check scheme and port of the url")]
    Malformed {
        /// Host and port.
        host: String,
        /// What HTTP says.
        source: ProtocolError,
    },
    /// The answer began with success but broke off.
    #[error("{host} answered {status} but broke off within the answer ({source})")]
    Truncated {
        /// Host and port.
        host: String,
        /// Status.
        status: u16,
        /// What HTTP says.
        source: ProtocolError,
    },
    /// The deadline of the whole request passed.
    #[error("{}", late(host, *phase, *limit, *sent))]
    Timeout {
        /// Host and port.
        host: String,
        /// What was waited for.
        phase: Phase,
        /// The deadline.
        limit: Duration,
        /// Sending had begun.
        sent: bool,
    },
}

impl Error {
    /// Stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Dial(dial) => dial.code(),
            Self::Request { .. } => "DELIVER_REQUEST",
            Self::Closed { .. } | Self::Refused { .. } | Self::Reset { .. } | Self::Truncated { .. } => "DELIVER_RESET",
            Self::Verify { .. } => "DELIVER_TLS",
            Self::Malformed { .. } => "DELIVER_MALFORMED",
            Self::Timeout { .. } => "DELIVER_TIMEOUT",
        }
    }

    /// What it means for the event.
    #[must_use]
    pub const fn class(&self) -> Class {
        match self {
            Self::Dial(dial) if dial.is_incident() => Class::Incident,
            Self::Verify { .. } => Class::Incident,
            Self::Dial(_) | Self::Closed { .. } | Self::Refused { .. } | Self::Timeout { sent: false, .. } => {
                Class::Transient
            }
            Self::Request { .. } => Class::Reject,
            Self::Reset { .. } | Self::Malformed { .. } | Self::Truncated { .. } | Self::Timeout { sent: true, .. } => {
                Class::Ambiguous
            }
        }
    }

    /// The end as `responses` see it; `None` if no request came about.
    pub(super) const fn end(&self) -> Option<End<'static>> {
        match self {
            Self::Request { .. } => None,
            // Who refuses our certificate takes no request either.
            Self::Dial(_)
            | Self::Closed { .. }
            | Self::Refused { .. }
            | Self::Verify { .. }
            | Self::Timeout { sent: false, .. } => Some(End::NotSent),
            Self::Reset { .. } | Self::Malformed { .. } | Self::Truncated { .. } | Self::Timeout { sent: true, .. } => {
                Some(End::NoAnswer)
            }
        }
    }

    /// The deadline passed, before or after sending began.
    #[must_use]
    pub const fn is_timeout(&self) -> bool {
        matches!(self, Self::Timeout { .. } | Self::Dial(dial::Error::Timeout { .. }))
    }

    /// The end of a request without an answer; `sent` tells whether a byte of it may have left.
    pub(super) fn without_answer(host: &str, source: ProtocolError, wire: &Wire, sent: bool) -> Self {
        let host = host.to_owned();
        if wire.is_distrusted() {
            return Self::Verify { host, source };
        }
        if !sent {
            return Self::Closed { host };
        }
        if source.is_unprocessed() {
            return Self::Refused { host, source };
        }
        if source.is_malformed() { Self::Malformed { host, source } } else { Self::Reset { host, source } }
    }
}

fn late(host: &str, phase: Phase, limit: Duration, sent: bool) -> String {
    let seconds = limit.as_secs_f64();
    let cure = "raise `timeout` of the destination if it needs longer";
    let what = waiting(phase);
    if sent {
        format!("{host}: {what} within {seconds} s; it may or may not have taken the request; {cure}")
    } else {
        format!("{host}: {what} within {seconds} s, and nothing was sent; {cure}")
    }
}
