//! What the commands share that look at a running Tidegate, or write to its Kafka, without joining it.

use super::{Failure, Global, dev, setup};
use crate::app;
use crate::config::settings::Settings;
use crate::config::{self, Env};
use crate::kafka::{self, Admin, ClientSettings, Reader};
use crate::model::record::{Position, Record};
use crate::model::resources::Resources;
use crate::model::stored::Topics;
use crate::pipeline::snapshot::Snapshot;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How long a command waits for Kafka to answer: somebody sits before it.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long if every broker refuses.
const SHORT_PATIENCE: Duration = Duration::from_secs(1);

/// Settings and environment of a command.
#[derive(Debug)]
pub(super) struct Tool {
    /// The settings.
    pub(super) settings: Arc<Settings>,
    env: Env,
}

/// A Kafka that has answered.
#[derive(Debug)]
pub(super) struct Kafka {
    /// How to reach it.
    pub(super) client: ClientSettings,
    /// It is the embedded broker of a `tidegate dev`.
    pub(super) embedded: bool,
}

/// What is to be done with the resources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// Looked at; who does that need not hold the secrets.
    Look,
    /// Requests are sent.
    Send,
}

impl Tool {
    /// Reads the settings.
    pub(super) fn new(global: &Global) -> Result<Self, Failure> {
        let env = Env::process();
        Ok(Self { settings: setup::tool_settings(global, &env)?, env })
    }

    /// Names of Tidegate's own topics.
    pub(super) fn topics(&self) -> Topics {
        Topics::new(&self.settings.kafka.prefix)
    }

    /// Waits until Kafka answers.
    pub(super) fn kafka(&self) -> Result<Kafka, Failure> {
        let client = app::client_settings(&self.settings);
        let cluster_id = tokio::task::block_in_place(|| match kafka::ping(&client, SHORT_PATIENCE) {
            Err(error) if !refused(&error) => kafka::ping(&client, PATIENCE),
            answer => answer,
        })?;
        Ok(Kafka { embedded: kafka::is_embedded(&cluster_id), client })
    }

    /// Loads the resources; prints what is wrong with them, but no warnings, which are for `check` and `run` to tell.
    /// Who talks to a `dev` that runs on the built-in set gets the built-in set.
    pub(super) fn resources(&self, global: &Global, kafka: Option<&Kafka>, purpose: Use) -> Result<Resources, Failure> {
        let context = setup::context(&self.settings, &self.env);
        let context = config::Context { lenient: purpose == Use::Look, ..context };
        let paths = setup::resource_paths(global, &self.settings);
        if kafka.is_some_and(|kafka| kafka.embedded) && global.resources.is_empty() && !exists(&paths) {
            return Ok(dev::built_in(&context));
        }
        config::load(&paths, &context).map(|loaded| loaded.resources).map_err(|found| setup::refused(&found))
    }

    /// The same, compiled.
    pub(super) fn snapshot(&self, global: &Global, kafka: Option<&Kafka>, purpose: Use) -> Result<Snapshot, Failure> {
        setup::snapshot(self.resources(global, kafka, purpose)?)
    }
}

impl Kafka {
    /// The partitions of these topics, in their order; `None` for a topic that does not exist.
    pub(super) async fn partitions(&self, topics: &[String]) -> Result<Vec<Option<i32>>, kafka::Error> {
        let infos = Admin::real(&self.client)?.metadata(topics).await?;
        Ok(infos.into_iter().map(|info| info.partitions).collect())
    }

    /// The record at a position, if there is one.
    pub(super) async fn record_at(&self, position: &Position) -> Result<Option<Record>, kafka::Error> {
        let partitions = self.partitions(&[position.topic.to_string()]).await?;
        if !partitions.into_iter().flatten().any(|count| (0..count).contains(&position.partition)) {
            return Ok(None);
        }
        tokio::task::block_in_place(|| Reader::open(&self.client)?.read_at(position))
    }
}

impl Kafka {
    /// Why there is no record at a position.
    pub(super) async fn absence(&self, position: &Position) -> Result<String, kafka::Error> {
        let Position { topic, partition, offset } = position;
        let Some(count) = self.partitions(&[topic.to_string()]).await?.into_iter().flatten().next() else {
            return Ok(format!("there is no topic `{topic}`"));
        };
        if !(0..count).contains(partition) {
            let there =
                if count == 1 { "partition 0 only".to_owned() } else { format!("partitions 0 to {}", count - 1) };
            return Ok(format!("`{topic}` has no partition {partition}; it has {there}"));
        }
        let (low, high) = tokio::task::block_in_place(|| Reader::open(&self.client)?.watermarks(topic, *partition))?;
        Ok(if low == high {
            format!("`{topic}` partition {partition} holds no records; the next will have offset {high}")
        } else if (low..high).contains(offset) {
            format!(
                "offset {offset} of `{topic}` partition {partition} holds no record: it was compacted away, or ends a transaction"
            )
        } else {
            format!("`{topic}` partition {partition} has no offset {offset}; it holds {low} to {}", high - 1)
        })
    }
}

/// Nothing listens at any of the brokers: waiting longer is of no use to somebody who mistyped an address.
fn refused(error: &kafka::Error) -> bool {
    matches!(error, kafka::Error::Unreachable { brokers, .. } if brokers.iter().all(|(_, why)| why == "connection refused"))
}

fn exists(paths: &[PathBuf]) -> bool {
    paths.iter().any(|path| Path::exists(path))
}
