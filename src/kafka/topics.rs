//! `Admin`: makes, checks and empties topics, on a real Kafka and on the embedded broker alike.

use super::client::{self, ClientSettings};
use super::embedded::{Cluster, Embedded, is_embedded};
use super::error::Error;
use super::logging::Logging;
use super::partition::TopicPartition;
use rdkafka::Offset;
use rdkafka::admin::{AdminClient, AdminOptions, ConfigResource, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// How long one request may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// A topic as it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSpec {
    /// Name.
    pub name: String,
    /// Partitions.
    pub partitions: i32,
    /// The number of partitions is part of a contract: more or fewer is an error.
    pub exact: bool,
    /// Copies of each record; -1 leaves it to the broker.
    pub replication: i32,
    /// Topic settings, e.g. `retention.ms`.
    pub config: Vec<(String, String)>,
}

impl TopicSpec {
    /// A topic with the broker's settings.
    #[must_use]
    pub fn new(name: impl Into<String>, partitions: i32) -> Self {
        Self { name: name.into(), partitions, exact: false, replication: -1, config: Vec::new() }
    }

    /// Adds a setting.
    #[must_use]
    pub fn set(mut self, key: &str, value: impl ToString) -> Self {
        self.config.push((key.to_owned(), value.to_string()));
        self
    }
}

/// What a topic is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicInfo {
    /// Name.
    pub name: String,
    /// Number of partitions; `None` if it does not exist.
    pub partitions: Option<i32>,
}

/// How a topic stands to what it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TopicState {
    /// As it must be.
    Fine,
    /// Not there; it is made at the next start.
    Missing,
    /// It breaks a contract.
    Wrong(String),
    /// It keeps or takes less than it should.
    Less(Vec<Less>),
    /// Kafka does not tell its settings, for this reason.
    Untold(String),
}

/// A setting of a topic that keeps or takes less than it should.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Less {
    /// Name.
    pub setting: String,
    /// As it is.
    pub found: i64,
    /// As it should be at least; -1 is without limit.
    pub wanted: i64,
}

/// The ends of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watermarks {
    /// Partition.
    pub partition: i32,
    /// The oldest offset.
    pub low: i64,
    /// The offset that the next record will get.
    pub high: i64,
}

/// Makes and checks topics.
#[derive(Clone)]
pub struct Admin {
    client: Arc<AdminClient<Logging>>,
    broker: Broker,
}

/// Two ways to make a topic.
#[derive(Clone)]
enum Broker {
    Real,
    /// It knows no `CreateTopics`, no settings, no `DeleteRecords`.
    Embedded(Arc<Cluster>),
}

impl std::fmt::Debug for Admin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Admin").finish_non_exhaustive()
    }
}

impl Admin {
    /// For a real Kafka.
    ///
    /// # Errors
    /// Settings that the client refuses.
    pub fn real(settings: &ClientSettings) -> Result<Self, Error> {
        let config = client::finish(client::common(settings)?, settings);
        let client = config.create_with_context(client::logging(settings)).map_err(Error::Settings)?;
        Ok(Self { client: Arc::new(client), broker: Broker::Real })
    }

    /// For the embedded broker.
    ///
    /// # Errors
    /// Settings that the client refuses.
    pub fn embedded(embedded: &Embedded) -> Result<Self, Error> {
        Ok(Self { broker: Broker::Embedded(embedded.cluster()), ..Self::real(&embedded.client())? })
    }

    /// Makes the topics that are missing and checks the others. Returns the names of those made.
    ///
    /// # Errors
    /// A topic that cannot be made, or whose partitions or settings break a contract; what to do.
    pub async fn ensure(&self, specs: &[TopicSpec]) -> Result<Vec<String>, Error> {
        let names: Vec<String> = specs.iter().map(|spec| spec.name.clone()).collect();
        let known = self.metadata(&names).await?;
        let mut missing = Vec::new();
        let mut existing = Vec::new();
        for (spec, info) in specs.iter().zip(&known) {
            match info.partitions {
                None => missing.push(spec),
                Some(partitions) => {
                    check_partitions(spec, partitions)?;
                    existing.push(spec);
                }
            }
        }
        match &self.broker {
            Broker::Embedded(cluster) => {
                for spec in &missing {
                    cluster
                        .create(&spec.name, spec.partitions)
                        .map_err(|e| Error::request(format!("creating the topic `{}`", spec.name), e))?;
                }
            }
            Broker::Real => {
                self.create(&missing).await?;
                self.check_settings(&existing).await?;
            }
        }
        let made: Vec<String> = missing.iter().map(|spec| spec.name.clone()).collect();
        self.await_topics(&made).await?;
        Ok(made)
    }

    /// What these topics are, in their order.
    ///
    /// # Errors
    /// Kafka does not answer.
    pub async fn metadata(&self, topics: &[String]) -> Result<Vec<TopicInfo>, Error> {
        let client = Arc::clone(&self.client);
        let topics = topics.to_vec();
        blocking(move || {
            // For all topics: asking for one by name may create it.
            let all = client.inner().fetch_metadata(None, PATIENCE).map_err(|e| Error::request("listing topics", e))?;
            let count = |name: &str| {
                let topic = all.topics().iter().find(|topic| topic.name() == name && topic.error().is_none())?;
                i32::try_from(topic.partitions().len()).ok()
            };
            Ok(topics.into_iter().map(|name| TopicInfo { partitions: count(&name), name }).collect())
        })
        .await
    }

    /// The names of all topics.
    ///
    /// # Errors
    /// Kafka does not answer.
    pub async fn list(&self) -> Result<Vec<String>, Error> {
        let client = Arc::clone(&self.client);
        blocking(move || {
            let all = client.inner().fetch_metadata(None, PATIENCE).map_err(|e| Error::request("listing topics", e))?;
            Ok(all.topics().iter().map(|topic| topic.name().to_owned()).collect())
        })
        .await
    }

    /// The ends of all partitions of a topic.
    ///
    /// # Errors
    /// Kafka does not answer, or has no such topic.
    pub async fn watermarks(&self, topic: &str) -> Result<Vec<Watermarks>, Error> {
        let info = self.metadata(&[topic.to_owned()]).await?;
        let Some(partitions) = info.first().and_then(|info| info.partitions) else {
            return Err(Error::Topic { topic: topic.to_owned(), problem: "does not exist".to_owned() });
        };
        let admin = Arc::clone(&self.client);
        let topic = topic.to_owned();
        blocking(move || {
            let ends = |partition| {
                let (low, high) = client::watermarks(admin.inner(), &topic, partition, PATIENCE)
                    .map_err(|e| Error::request(format!("asking for the ends of {topic}:{partition}"), e))?;
                Ok(Watermarks { partition, low, high })
            };
            (0..partitions).map(ends).collect()
        })
        .await
    }

    /// Deletes records below an offset, of each of these partitions. The embedded broker drops old records by itself.
    ///
    /// # Errors
    /// Kafka refuses it for a partition.
    pub async fn delete_before(&self, partitions: &[(TopicPartition, i64)]) -> Result<(), Error> {
        if partitions.is_empty() || matches!(self.broker, Broker::Embedded(_)) {
            return Ok(());
        }
        let failed = |e| Error::request("deleting records that are done with", e);
        let offsets = partitions.iter().map(|(at, before)| (at, Offset::Offset(*before)));
        let list = super::callbacks::list(offsets).map_err(failed)?;
        let done = self.client.delete_records(&list, &options()).await.map_err(failed)?;
        for element in done.elements() {
            element.error().map_err(failed)?;
        }
        Ok(())
    }

    async fn create(&self, specs: &[&TopicSpec]) -> Result<(), Error> {
        if specs.is_empty() {
            return Ok(());
        }
        let topics: Vec<NewTopic<'_>> = specs
            .iter()
            .map(|spec| {
                let topic = NewTopic::new(&spec.name, spec.partitions, TopicReplication::Fixed(spec.replication));
                spec.config.iter().fold(topic, |topic, (key, value)| topic.set(key, value))
            })
            .collect();
        let made = self.client.create_topics(&topics, &options()).await;
        for result in made.map_err(|e| Error::request("creating topics", e))? {
            match result {
                Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                Err((topic, code)) => {
                    let problem = format!("could not be created: {code}; create it yourself or allow it");
                    return Err(Error::Topic { topic, problem });
                }
            }
        }
        Ok(())
    }

    /// How these topics stand to what they must be, in their order. Makes and changes nothing.
    ///
    /// # Errors
    /// Kafka does not answer.
    pub async fn inspect(&self, specs: &[TopicSpec]) -> Result<Vec<TopicState>, Error> {
        let names: Vec<String> = specs.iter().map(|spec| spec.name.clone()).collect();
        let known = self.metadata(&names).await?;
        let partitions = |spec: &TopicSpec| known.iter().find(|info| info.name == spec.name)?.partitions;
        let existing: Vec<&TopicSpec> = specs.iter().filter(|spec| partitions(spec).is_some()).collect();
        let mut settings = self.settings(&existing).await?.into_iter();
        let states = specs.iter().map(|spec| {
            let Some(found) = partitions(spec) else { return TopicState::Missing };
            let told = settings.next().unwrap_or(Ok(Vec::new()));
            match (check_partitions(spec, found), told) {
                (Err(Error::Topic { problem, .. }), _) => TopicState::Wrong(problem),
                (Err(error), _) => TopicState::Wrong(error.to_string()),
                (Ok(()), Ok(less)) if less.is_empty() => TopicState::Fine,
                (Ok(()), Ok(less)) => TopicState::Less(less),
                (Ok(()), Err(why)) => TopicState::Untold(why),
            }
        });
        Ok(states.collect())
    }

    /// Warns about settings that would lose or refuse records. Not being allowed to look is no fault.
    async fn check_settings(&self, specs: &[&TopicSpec]) -> Result<(), Error> {
        for (spec, told) in specs.iter().zip(self.settings(specs).await?) {
            match told {
                Ok(less) => {
                    for Less { setting, found, wanted } in less {
                        let topic = &spec.name;
                        tracing::warn!(topic, setting, found, wanted, "a topic keeps or takes less than it should");
                    }
                }
                Err(why) => tracing::warn!(topic = spec.name, why, "cannot check the settings of the topic"),
            }
        }
        Ok(())
    }

    /// The settings of existing topics that keep or take less than they should, or why that is not known.
    async fn settings(&self, specs: &[&TopicSpec]) -> Result<Vec<Result<Vec<Less>, String>>, Error> {
        let fine = || specs.iter().map(|_| Ok(Vec::new())).collect();
        if specs.is_empty() || matches!(self.broker, Broker::Embedded(_)) {
            return Ok(fine());
        }
        let resources: Vec<_> = specs.iter().map(|spec| ResourceSpecifier::Topic(&spec.name)).collect();
        let client = Arc::clone(&self.client);
        let cluster_id = blocking(move || Ok(client.inner().fetch_cluster_id(PATIENCE))).await?;
        // Another process's embedded broker knows no settings and would be asked in vain.
        if cluster_id.is_some_and(|id| is_embedded(&id)) {
            return Ok(fine());
        }
        Ok(match self.client.describe_configs(&resources, &options()).await {
            Ok(described) => {
                let told = specs.iter().zip(described);
                told.map(|(spec, found)| found.map(|found| less(spec, &found)).map_err(|code| code.to_string()))
                    .collect()
            }
            Err(error) => specs.iter().map(|_| Err(error.to_string())).collect(),
        })
    }

    /// A topic is usable a moment after it was made.
    async fn await_topics(&self, names: &[String]) -> Result<(), Error> {
        if names.is_empty() {
            return Ok(());
        }
        for _ in 0..100 {
            let missing = self.metadata(names).await?.into_iter().find(|info| info.partitions.is_none_or(|n| n == 0));
            let Some(_) = missing else { return Ok(()) };
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let problem = "was created but does not appear; is the cluster healthy?".to_owned();
        Err(Error::Topic { topic: names.join(", "), problem })
    }
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(PATIENCE)).operation_timeout(Some(PATIENCE))
}

fn check_partitions(spec: &TopicSpec, found: i32) -> Result<(), Error> {
    if spec.exact && found != spec.partitions {
        let wanted = spec.partitions;
        let problem =
            format!("has {found} partitions and must have {wanted}; choose another `kafka.prefix`, or delete it");
        return Err(Error::Topic { topic: spec.name.clone(), problem });
    }
    Ok(())
}

/// Settings that lose records or refuse large ones.
fn less(spec: &TopicSpec, found: &ConfigResource) -> Vec<Less> {
    let found: HashMap<&str, i64> = found
        .entry_map()
        .into_iter()
        .filter_map(|(key, entry)| Some((key, entry.value.as_deref()?.parse().ok()?)))
        .collect();
    let less = |(key, wanted): &(String, String)| {
        let (wanted, found) = (wanted.parse().ok()?, *found.get(key.as_str())?);
        too_small(wanted, found).then(|| Less { setting: key.clone(), found, wanted })
    };
    spec.config.iter().filter_map(less).collect()
}

/// -1 means without limit.
fn too_small(wanted: i64, found: i64) -> bool {
    found != -1 && (wanted == -1 || found < wanted)
}

/// Runs a request that blocks, off the worker threads.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(_) => Err(Error::request("asking Kafka", KafkaError::Canceled)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_limit_is_never_too_small() {
        assert!(!too_small(5, -1));
        assert!(!too_small(-1, -1));
        assert!(too_small(-1, 5));
        assert!(too_small(6, 5));
        assert!(!too_small(5, 5));
    }

    #[test]
    fn a_contract_on_partitions_is_exact_where_it_says_so() {
        let slots = TopicSpec { exact: true, ..TopicSpec::new("tidegate.slots", 32) };
        assert!(check_partitions(&slots, 32).is_ok());
        assert_eq!(check_partitions(&slots, 31).unwrap_err().code(), "KAFKA_TOPIC");
        assert!(check_partitions(&TopicSpec::new("tidegate.dlq", 12), 3).is_ok());
    }
}
