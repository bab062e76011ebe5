//! What a redrive was told to do.
//!
//! What it has done stands in the ledger; here stands only what was meant: the filters, and that letters which died after
//! it began are not part of it, for those are what it sent and what died again. A redrive that nobody goes on with is
//! forgotten when the letters that it meant are.

use super::filter;
use crate::cli::begun;
use serde::{Deserialize, Serialize};

/// Told to a redrive.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Job {
    /// Which letters it means.
    pub(super) filter: filter::Options,
    /// By name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) ids: Vec<String>,
    /// Whatever speaks against it.
    pub(super) force: bool,
}

impl begun::Job for Job {
    const NOUN: &'static str = "redrive";
    const COMMAND: &'static str = "tidegate dlq redrive";
    const BEGIN: &'static str = "tidegate dlq redrive --yes";
    const UNKNOWN: &'static str = "REDRIVE_UNKNOWN";

    fn subject(&self) -> String {
        String::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::begun::Begun;
    use crate::model::clock::WallMs;

    #[test]
    fn what_was_meant_comes_back() {
        let filter = filter::Options { code: Some("X".to_owned()), ..filter::Options::default() };
        let job = Job { filter, ids: vec!["0:1".to_owned()], force: true };
        let begun = Begun::new(job, None, WallMs(7));
        let text = serde_json::to_string(&begun).expect("JSON");
        assert_eq!(serde_json::from_str::<Begun<Job>>(&text).expect("the same"), begun);
    }
}
