//! `Identity`: which topic an offset was committed for. A topic that is deleted and made anew under its name is another
//! one: an offset of the old one says nothing about it, although it may exist there. Kafka tells them apart by their ids
//! (KIP-516), so each commit names the one it belongs to.
//!
//! The claim stands in the metadata of the commit, before the map of what is done above it: `ti1.` and base64url without
//! padding of: topic id (16 bytes) · CRC-32C (4 bytes) over cluster, topic, partition, next offset, topic id. A claim that
//! does not fit its place is none: tools that copy commits to another cluster, or move an offset, leave a plain offset.
//! A commit without a claim counts as one for the topic that is there.

use super::commit;
use super::partition::TopicPartition;
use super::table::Stored;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use rdkafka::ClientContext;
use rdkafka::client::Client;
use rdkafka::error::KafkaResult;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

const PREFIX: &str = "ti1.";
const ID_BYTES: usize = 16;

/// Characters of a claim: the prefix, and base64url of 20 bytes.
pub(super) const CLAIM_CHARS: usize = 31;

/// A topic, whatever its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    cluster: Arc<str>,
    id: [u8; ID_BYTES],
}

impl Identity {
    /// What the commit of an offset says of its topic.
    pub(super) fn claim(&self, at: &TopicPartition, next_offset: i64) -> String {
        let mut bytes = self.id.to_vec();
        bytes.extend_from_slice(&self.checksum(at, next_offset).to_be_bytes());
        format!("{PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(bytes))
    }

    /// The topic that an offset was committed for, if the commit says so in this cluster.
    pub(super) fn claimed(cluster: &Arc<str>, at: &TopicPartition, stored: &Stored) -> Option<Self> {
        let (claim, _) = split(&stored.metadata);
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(claim.strip_prefix(PREFIX)?).ok()?;
        let (id, rest) = bytes.split_first_chunk::<ID_BYTES>()?;
        let claimed = Self { cluster: Arc::clone(cluster), id: *id };
        (rest == claimed.checksum(at, stored.next_offset).to_be_bytes()).then_some(claimed)
    }

    fn checksum(&self, at: &TopicPartition, next_offset: i64) -> u32 {
        let mut crc = 0;
        for text in [&*self.cluster, &*at.topic] {
            crc = crc32c::crc32c_append(crc, text.as_bytes());
            crc = crc32c::crc32c_append(crc, &[0]);
        }
        crc = crc32c::crc32c_append(crc, &at.partition.to_be_bytes());
        crc = crc32c::crc32c_append(crc, &next_offset.to_be_bytes());
        crc32c::crc32c_append(crc, &self.id)
    }
}

/// As Kafka's tools print it.
impl std::fmt::Display for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&BASE64_URL_SAFE_NO_PAD.encode(self.id))
    }
}

/// The metadata of a commit in two: what it says of its topic, and the rest.
pub(super) fn split(metadata: &str) -> (&str, &str) {
    let claim = metadata.starts_with(PREFIX).then(|| metadata.split_at_checked(CLAIM_CHARS)).flatten();
    claim.unwrap_or(("", metadata))
}

/// The topics that Kafka has now.
#[derive(Debug, Default)]
pub(super) struct Identities {
    cluster: Arc<str>,
    topics: HashMap<String, [u8; ID_BYTES]>,
}

impl Identities {
    /// Asks Kafka. A topic that it does not have, or tells no id of, is left out.
    pub(super) fn ask<'a, C: ClientContext>(
        client: &Client<C>,
        topics: impl Iterator<Item = &'a Arc<str>>,
        patience: Duration,
    ) -> KafkaResult<Self> {
        let mut names: Vec<&str> = topics.map(|topic| &**topic).collect();
        names.sort_unstable();
        names.dedup();
        if names.is_empty() {
            return Ok(Self::default());
        }
        let topics = commit::topic_ids(client, &names, patience)?;
        let cluster = commit::cluster_id(client, patience).unwrap_or_default();
        Ok(Self { cluster: Arc::from(cluster), topics })
    }

    /// Nothing is known.
    pub(super) fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }

    /// The topic that has this name now.
    pub(super) fn of(&self, topic: &str) -> Option<Identity> {
        let id = *self.topics.get(topic)?;
        Some(Identity { cluster: Arc::clone(&self.cluster), id })
    }

    /// The topic that an offset was committed for, if the commit says so.
    pub(super) fn claimed(&self, at: &TopicPartition, stored: &Stored) -> Option<Identity> {
        Identity::claimed(&self.cluster, at, stored)
    }

    /// Another topic of that name in the same cluster.
    #[cfg(test)]
    pub(super) fn changed(&self, topic: &str) -> Identity {
        let id = self.topics[topic].map(|byte| !byte);
        Identity { cluster: Arc::clone(&self.cluster), id }
    }

    #[cfg(test)]
    pub(super) fn test(topics: &[(&str, u8)]) -> Self {
        let topics = topics.iter().map(|(name, id)| ((*name).to_owned(), [*id; ID_BYTES])).collect();
        Self { cluster: Arc::from("c"), topics }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(next_offset: i64, metadata: String) -> Stored {
        Stored { next_offset, metadata }
    }

    #[test]
    fn a_claim_is_read_where_it_was_made_and_nowhere_else() {
        let ids = Identities::test(&[("t", 7)]);
        let (at, id) = (TopicPartition::new("t", 3), ids.of("t").unwrap());
        let claim = id.claim(&at, 40);
        assert_eq!(claim, "ti1.BwcHBwcHBwcHBwcHBwcHB7oVVTM");
        assert_eq!(claim.len(), CLAIM_CHARS);
        assert_eq!(id.to_string(), "BwcHBwcHBwcHBwcHBwcHBw");
        for map in ["", "td1.AQAA"] {
            let whole = format!("{claim}{map}");
            assert_eq!(split(&whole), (&*claim, map));
            assert_eq!(ids.claimed(&at, &stored(40, whole)), Some(id.clone()));
        }
        let none = |cluster: &str, at: &TopicPartition, offset, claim: &str| {
            assert_eq!(Identity::claimed(&Arc::from(cluster), at, &stored(offset, claim.to_owned())), None, "{claim}");
        };
        none("c", &at, 41, &claim);
        none("c", &TopicPartition::new("t", 2), 40, &claim);
        none("c", &TopicPartition::new("u", 3), 40, &claim);
        none("another", &at, 40, &claim);
        for foreign in ["", "ti1.", "td1.AQAA", "ti2.BwcHBwcHBwcHBwcHBwcHB7oVVTM", &claim[..30]] {
            none("c", &at, 40, foreign);
        }
        assert_eq!(split("td1.AQAA"), ("", "td1.AQAA"));
        assert_eq!(split("ti1.é"), ("", "ti1.é"));
    }
}
