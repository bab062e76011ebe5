//! What a redrive was told to do, kept in the compacted topic `<prefix>.state` under `redrive:ID` until it has done it,
//! so that anybody can go on with it.
//!
//! What it has done stands in the ledger; here stands only what was meant: the filters, and that letters which died after
//! it began are not part of it, for those are what it sent and what died again. A redrive that nobody goes on with is
//! forgotten when the letters that it meant are.

use super::desk::Desk;
use super::filter;
use crate::cli::{Exit, Failure};
use crate::config::host;
use crate::kafka::{self, Producer};
use crate::model::clock::WallMs;
use crate::model::record::OutRecord;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::Duration;

/// Begins the keys of these records.
const KEY_PREFIX: &str = "redrive:";

/// A redrive that has begun.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Begun {
    /// Its name.
    pub(super) id: String,
    /// When it began.
    pub(super) at_ms: i64,
    /// The machine on which it did.
    pub(super) host: String,
    /// Which letters it means.
    pub(super) filter: filter::Options,
    /// By name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) ids: Vec<String>,
    /// No faster than this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rate: Option<String>,
    /// Whatever speaks against it.
    pub(super) force: bool,
}

impl Begun {
    /// One that begins now.
    pub(super) fn new(filter: filter::Options, ids: &[String], rate: Option<String>, force: bool, now: WallMs) -> Self {
        let id = format!("{:08x}", fastrand::u32(..));
        Self { id, at_ms: now.0, host: host::name(), filter, ids: ids.to_vec(), rate, force }
    }

    /// When it began.
    pub(super) fn at(&self) -> WallMs {
        WallMs(self.at_ms)
    }

    /// Lets everybody know that it has begun.
    pub(super) async fn save(&self, desk: &Desk, producer: &Producer) -> Result<(), Failure> {
        // Strings and numbers can always be written.
        self.write(desk, producer, Some(Bytes::from(serde_json::to_vec(self).unwrap_or_default()))).await
    }

    /// Lets everybody know that it is done.
    pub(super) async fn finish(&self, desk: &Desk, producer: &Producer) -> Result<(), Failure> {
        self.write(desk, producer, None).await
    }

    async fn write(&self, desk: &Desk, producer: &Producer, value: Option<Bytes>) -> Result<(), Failure> {
        let record = OutRecord {
            topic: desk.names.state(),
            partition: Some(0),
            key: Some(Bytes::from(format!("{KEY_PREFIX}{}", self.id))),
            value,
            headers: Vec::new(),
            timestamp_ms: Some(WallMs::now().0),
        };
        producer.send(record).await?;
        Ok(())
    }
}

/// Those that have begun and are not done, oldest first; and those that nobody will go on with, for what they meant is
/// gone.
pub(super) fn unfinished(desk: &Desk, now: WallMs) -> Result<(Vec<Begun>, Vec<Begun>), Failure> {
    let mut begun: BTreeMap<Vec<u8>, Begun> = BTreeMap::new();
    let topic = desk.names.state();
    desk.read(|reader| {
        reader.scan(&topic, kafka::From::Beginning, |record| {
            let Some(key) = record.key().filter(|key| key.starts_with(KEY_PREFIX.as_bytes())) else {
                return ControlFlow::Continue(());
            };
            match record.value().map(serde_json::from_slice) {
                Some(Ok(one)) => drop(begun.insert(key.to_vec(), one)),
                Some(Err(_)) => {}
                None => drop(begun.remove(key)),
            }
            ControlFlow::Continue(())
        })
    })
    .map_err(without_topic)?;
    let mut begun: Vec<Begun> = begun.into_values().collect();
    begun.sort_by_key(|one| one.at_ms);
    Ok(begun.into_iter().partition(|one| !is_old(one, now, desk.retention)))
}

/// The letters that it meant are gone.
fn is_old(begun: &Begun, now: WallMs, retention: Duration) -> bool {
    now.since(begun.at()) > retention
}

/// The one with this name, or the newest.
pub(super) fn find(unfinished: Vec<Begun>, id: &str) -> Result<Begun, Failure> {
    let known: Vec<String> = unfinished.iter().map(|one| one.id.clone()).collect();
    let found = unfinished.into_iter().rfind(|one| id == super::redrive::NEWEST || one.id == id);
    found.ok_or_else(|| {
        let there = match known.as_slice() {
            [] => "no redrive is unfinished; begin one with `tidegate dlq redrive --yes`".to_owned(),
            some => format!("there is none called `{id}`; unfinished are: {}", some.join(", ")),
        };
        Failure::new(Exit::No, "REDRIVE_UNKNOWN", there)
    })
}

fn without_topic(error: kafka::Error) -> Failure {
    let kafka::Error::Topic { topic, .. } = error else { return error.into() };
    let message = format!(
        "topic `{topic}` does not exist, so nobody could go on with a redrive that is stopped\n \
         it is made when `tidegate run` or `dev` starts; is `kafka.prefix` the same there?"
    );
    Failure::new(Exit::Configuration, "STATE_TOPIC", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_meant_comes_back() {
        let filter = filter::Options { code: Some("X".to_owned()), ..filter::Options::default() };
        let begun = Begun::new(filter, &["0:1".to_owned()], Some("5/s".to_owned()), true, WallMs(7));
        let text = serde_json::to_string(&begun).expect("JSON");
        assert_eq!(serde_json::from_str::<Begun>(&text).expect("the same"), begun);
        assert!(serde_json::from_str::<Begun>(r#"{"id":"a","moon":1}"#).is_ok(), "of a later version");
        assert!(is_old(&begun, WallMs(1_008), Duration::from_secs(1)));
        assert!(!is_old(&begun, WallMs(1_007), Duration::from_secs(1)));
    }

    #[test]
    fn it_is_found_by_name_or_as_the_newest() {
        let one = |id: &str| Begun { id: id.to_owned(), ..Begun::default() };
        let all = || vec![one("a"), one("b")];
        assert_eq!(find(all(), "a").expect("found").id, "a");
        assert_eq!(find(all(), super::super::redrive::NEWEST).expect("found").id, "b");
        assert!(find(all(), "c").expect_err("unknown").message.contains("unfinished are: a, b"));
        assert_eq!(find(Vec::new(), "a").expect_err("none").code, Exit::No);
    }
}
