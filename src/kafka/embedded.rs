//! A broker in memory, for `dev` and tests: librdkafka's own, made for its tests. Ours is one process old, keeps about
//! 5 MB per partition, and forgets everything at its end.
//!
//! It listens on ports of its own choice. So that other clients find it, a forwarder listens where people expect Kafka;
//! from there they are told the real address.

use super::client::ClientSettings;
use super::commit;
use super::error::Error;
use super::logging::Logging;
use rdkafka::ClientConfig;
use rdkafka::client::Client;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::types::RDKafkaType;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread::JoinHandle;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// How long a new group waits for more members. On a real Kafka it is 3 s; alone there is nobody to wait for.
const JOIN_DELAY_MS: i32 = 100;

/// Whether this is the id of an embedded broker's cluster: librdkafka makes it of this word and an address.
#[must_use]
pub fn is_embedded(cluster_id: &str) -> bool {
    cluster_id.starts_with("mockCluster")
}

/// The broker. It ends when this and every `Admin` of it are dropped.
#[derive(Debug)]
pub struct Embedded {
    cluster: Arc<Cluster>,
    port: u16,
    stop: CancellationToken,
    forwarder: Option<JoinHandle<()>>,
}

/// The cluster behind it.
pub(super) struct Cluster {
    client: Client<Logging>,
    bootstrap: String,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").field("bootstrap", &self.bootstrap).finish_non_exhaustive()
    }
}

impl Embedded {
    /// Starts it, with a forwarder on `127.0.0.1:<port>`; 0 takes any free port.
    ///
    /// # Errors
    /// [`Error::PortTaken`]; no cluster, no thread.
    pub fn start(port: u16) -> Result<Self, Error> {
        let taken = |source| Error::PortTaken { port, source };
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(taken)?;
        listener.set_nonblocking(true).map_err(taken)?;
        let port = listener.local_addr().map_err(taken)?.port();
        let cluster = Arc::new(Cluster::start()?);
        let stop = CancellationToken::new();
        let name = "embedded broker port".to_owned();
        let target = cluster.address()?;
        let until = stop.clone();
        let forwarder = std::thread::Builder::new()
            .name(name.clone())
            .spawn(move || forward(listener, target, &until))
            .map_err(|source| Error::Thread { name, source })?;
        Ok(Self { cluster, port, stop, forwarder: Some(forwarder) })
    }

    /// The broker's own address, for our clients.
    #[must_use]
    pub fn bootstrap(&self) -> &str {
        &self.cluster.bootstrap
    }

    /// The port of the forwarder, for other people's clients.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Settings for clients of this broker.
    #[must_use]
    pub fn client(&self) -> ClientSettings {
        ClientSettings { brokers_origin: "the embedded broker".to_owned(), ..ClientSettings::new(self.bootstrap()) }
    }

    pub(super) fn cluster(&self) -> Arc<Cluster> {
        Arc::clone(&self.cluster)
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.stop.cancel();
        if self.forwarder.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the forwarder of the embedded broker has panicked");
        }
    }
}

impl Cluster {
    fn start() -> Result<Self, Error> {
        let mut config = ClientConfig::new();
        // Its log would go to a queue that nobody reads.
        config.set("test.mock.num.brokers", "1").set_log_level(RDKafkaLogLevel::Emerg);
        let native = config.create_native_config().map_err(Error::Settings)?;
        let client = Client::new(&config, native, RDKafkaType::RD_KAFKA_PRODUCER, Logging::new("embedded"))
            .map_err(Error::Settings)?;
        commit::embedded_join_delay(&client, JOIN_DELAY_MS);
        let bootstrap = client.mock_cluster().map(|cluster| cluster.bootstrap_servers());
        let none = || Error::Settings(KafkaError::MockCluster(RDKafkaErrorCode::Fail));
        Ok(Self { bootstrap: bootstrap.ok_or_else(none)?, client })
    }

    fn address(&self) -> Result<SocketAddr, Error> {
        let first = self.bootstrap.split(',').next().and_then(|address| address.parse().ok());
        first.ok_or_else(|| Error::Settings(KafkaError::MockCluster(RDKafkaErrorCode::Resolve)))
    }

    /// Makes a topic.
    pub(super) fn create(&self, topic: &str, partitions: i32) -> Result<(), KafkaError> {
        let Some(cluster) = self.client.mock_cluster() else {
            return Err(KafkaError::MockCluster(RDKafkaErrorCode::Fail));
        };
        cluster.create_topic(topic, partitions, 1)
    }

    #[cfg(test)]
    pub(super) fn client(&self) -> &Client<Logging> {
        &self.client
    }
}

/// Copies bytes between whoever connects and the broker until told to stop.
fn forward(listener: std::net::TcpListener, target: SocketAddr, stop: &CancellationToken) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return tracing::error!(%error, "the embedded broker's port does not serve"),
    };
    runtime.block_on(async {
        let listener = match TcpListener::from_std(listener) {
            Ok(listener) => listener,
            Err(error) => return tracing::error!(%error, "the embedded broker's port does not serve"),
        };
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(_) = connections.join_next(), if !connections.is_empty() => {}
                Ok((mut from, _)) = listener.accept() => {
                    connections.spawn(async move {
                        let mut to = TcpStream::connect(target).await?;
                        tokio::io::copy_bidirectional(&mut from, &mut to).await
                    });
                }
            }
        }
        connections.shutdown().await;
    });
}
