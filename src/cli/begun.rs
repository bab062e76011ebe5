//! What a long command was told to do, kept in the compacted topic `<prefix>.state` under `NOUN:ID` until it has done it,
//! so that anybody can go on with it by `--resume`: a redrive of dead letters, a replay.
//!
//! What a command was told, and how far it has come, is its own affair ([`Job`]).

use super::since::age;
use super::{Exit, Failure, Global, output};
use crate::config::host;
use crate::kafka::{self, Producer, Reader};
use crate::model::clock::WallMs;
use crate::model::record::OutRecord;
use crate::model::stored::Topics;
use crate::model::units::{self, Rate};
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::Duration;

/// What `--resume` means without a name.
pub(super) const NEWEST: &str = "newest";

/// What one command was told.
pub(super) trait Job: Serialize + DeserializeOwned + Default {
    /// One of them; it begins the keys of its records.
    const NOUN: &'static str;
    /// The command, as people type it.
    const COMMAND: &'static str;
    /// How one is begun, as people type it.
    const BEGIN: &'static str;
    /// Stable code of the failure that there is none of that name.
    const UNKNOWN: &'static str;

    /// What tells it from others, as ` of …`; may be empty.
    fn subject(&self) -> String;
}

/// One that has begun.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Begun<T> {
    /// Its name.
    pub(super) id: String,
    /// When it began.
    pub(super) at_ms: i64,
    /// The machine on which it did.
    pub(super) host: String,
    /// No faster than this.
    #[serde(skip_serializing_if = "Option::is_none")]
    rate: Option<String>,
    /// What it was told.
    #[serde(flatten)]
    pub(super) job: T,
}

/// A name for this process of what is called `id`: `ID/PROCESS`.
pub(super) fn process(id: &str) -> String {
    format!("{id}/{:08x}", fastrand::u32(..))
}

impl<T: Job> Begun<T> {
    /// One that begins now.
    pub(super) fn new(job: T, rate: Option<Rate>, now: WallMs) -> Self {
        let (id, rate) = (format!("{:08x}", fastrand::u32(..)), rate.map(|rate| rate.to_string()));
        Self { id, at_ms: now.0, host: host::name(), rate, job }
    }

    /// When it began.
    pub(super) fn at(&self) -> WallMs {
        WallMs(self.at_ms)
    }

    /// No faster than this.
    pub(super) fn rate(&self) -> Option<Rate> {
        self.rate.as_deref().and_then(|rate| units::rate(rate).ok())
    }

    /// How people go on with it.
    pub(super) fn cure(&self) -> String {
        format!("{} --resume {}", T::COMMAND, self.id)
    }

    /// Lets everybody know that it has begun, and how far it has come.
    pub(super) async fn save(&self, names: &Topics, producer: &Producer) -> Result<(), Failure> {
        // Strings and numbers can always be written.
        self.write(names, producer, Some(Bytes::from(serde_json::to_vec(self).unwrap_or_default()))).await
    }

    /// Lets everybody know that it is done.
    pub(super) async fn finish(&self, names: &Topics, producer: &Producer) -> Result<(), Failure> {
        self.write(names, producer, None).await
    }

    async fn write(&self, names: &Topics, producer: &Producer, value: Option<Bytes>) -> Result<(), Failure> {
        let record = OutRecord {
            topic: names.state(),
            partition: Some(0),
            key: Some(Bytes::from(format!("{}:{}", T::NOUN, self.id))),
            value,
            headers: Vec::new(),
            timestamp_ms: Some(WallMs::now().0),
        };
        producer.send(record).await?;
        Ok(())
    }
}

/// Those that have begun and are not done, oldest first.
#[derive(Debug)]
pub(super) struct Found<T> {
    /// With which somebody may go on.
    pub(super) unfinished: Vec<Begun<T>>,
    /// With which nobody will, for they began too long ago.
    pub(super) old: Vec<Begun<T>>,
}

/// Finds those that have begun and are not done; `kept` is how long somebody may go on with one.
pub(super) fn read<T: Job>(
    reader: &mut Reader,
    names: &Topics,
    kept: Duration,
    now: WallMs,
) -> Result<Found<T>, Failure> {
    let prefix = format!("{}:", T::NOUN);
    let mut begun: BTreeMap<Vec<u8>, Begun<T>> = BTreeMap::new();
    let read = reader.scan(&names.state(), kafka::From::Beginning, |record| {
        let Some(key) = record.key().filter(|key| key.starts_with(prefix.as_bytes())) else {
            return ControlFlow::Continue(());
        };
        match record.value().map(serde_json::from_slice) {
            Some(Ok(one)) => drop(begun.insert(key.to_vec(), one)),
            Some(Err(_)) => {}
            None => drop(begun.remove(key)),
        }
        ControlFlow::Continue(())
    });
    read.map_err(without_topic::<T>)?;
    let mut begun: Vec<Begun<T>> = begun.into_values().collect();
    begun.sort_by_key(|one| one.at_ms);
    let (unfinished, old) = begun.into_iter().partition(|one| now.since(one.at()) <= kept);
    Ok(Found { unfinished, old })
}

/// The one with this name, or the newest.
pub(super) fn find<T: Job>(unfinished: Vec<Begun<T>>, id: &str) -> Result<Begun<T>, Failure> {
    let known: Vec<String> = unfinished.iter().map(|one| one.id.clone()).collect();
    let found = unfinished.into_iter().rfind(|one| id == NEWEST || one.id == id);
    found.ok_or_else(|| {
        let there = match known.as_slice() {
            [] => format!("no {} is unfinished; begin one with `{}`", T::NOUN, T::BEGIN),
            some => format!("there is none called `{id}`; unfinished are: {}", some.join(", ")),
        };
        Failure::new(Exit::No, T::UNKNOWN, there)
    })
}

/// Tells somebody who begins another of those that have not ended.
pub(super) fn tell<T: Job>(global: &Global, unfinished: &[Begun<T>], now: WallMs) {
    for one in unfinished.iter().filter(|_| !global.quiet) {
        let (noun, id, subject, host, ago) = (T::NOUN, &one.id, one.job.subject(), &one.host, age(now.since(one.at())));
        let cure = format!("if it was stopped: {}", one.cure());
        output::complain(&format!("{noun} {id}{subject}, begun {ago} ago on {host}, has not ended; {cure}"));
    }
}

fn without_topic<T: Job>(error: kafka::Error) -> Failure {
    let kafka::Error::Topic { topic, .. } = error else { return error.into() };
    let message = format!(
        "topic `{topic}` does not exist, so nobody could go on with a {} that is stopped\n \
         it is made when `tidegate run` or `dev` starts; is `kafka.prefix` the same there?",
        T::NOUN
    );
    Failure::new(Exit::Configuration, "STATE_TOPIC", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(default)]
    struct Walk {
        to: String,
        left: Vec<i64>,
    }

    impl Job for Walk {
        const NOUN: &'static str = "walk";
        const COMMAND: &'static str = "tidegate walk";
        const BEGIN: &'static str = "tidegate walk TO";
        const UNKNOWN: &'static str = "WALK_UNKNOWN";

        fn subject(&self) -> String {
            format!(" of {}", self.to)
        }
    }

    #[test]
    fn what_was_told_comes_back_and_stands_beside_the_name() {
        let walk = Walk { to: "sea".to_owned(), left: vec![3, -1] };
        let rate = units::rate("5/s").expect("a rate");
        let begun = Begun::new(walk, Some(rate), WallMs(7));
        let text = serde_json::to_string(&begun).expect("JSON");
        assert_eq!(serde_json::from_str::<Begun<Walk>>(&text).expect("the same"), begun);
        assert_eq!((begun.at(), begun.rate()), (WallMs(7), Some(rate)));
        assert_eq!(begun.cure(), format!("tidegate walk --resume {}", begun.id));
        let fields: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!((&fields["rate"], &fields["to"], &fields["left"][1]), (&"5/s".into(), &"sea".into(), &(-1).into()));
        assert!(serde_json::from_str::<Begun<Walk>>(r#"{"id":"a","moon":1}"#).is_ok(), "of a later version");
    }

    #[test]
    fn it_is_found_by_name_or_as_the_newest() {
        let one = |id: &str| Begun::<Walk> { id: id.to_owned(), ..Begun::default() };
        let all = || vec![one("a"), one("b")];
        assert_eq!(find(all(), "a").expect("found").id, "a");
        assert_eq!(find(all(), NEWEST).expect("found").id, "b");
        assert!(find(all(), "c").expect_err("unknown").message.contains("unfinished are: a, b"));
        let none = find(Vec::<Begun<Walk>>::new(), "a").expect_err("none");
        assert_eq!(none.code, Exit::No);
        assert!(none.message.contains("no walk is unfinished; begin one with `tidegate walk TO`"), "{none:?}");
    }
}
