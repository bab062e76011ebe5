//! `check --online`: asks everything that the resources speak to, side by side, and sends no event. Topics are looked at
//! and not made; a token is really fetched, by the code that fetches it at run time; destinations are dialled by their
//! own dialers, with network policy, proxy and TLS, and hung up on.

use crate::app;
use crate::cli::{Exit, Failure, Global, output};
use crate::config::settings::Settings;
use crate::destinations::{Destination, connection::Connection, dial, stream::Wire};
use crate::kafka::{self, Admin, ClientSettings, Reader, TopicSpec, TopicState};
use crate::model::clock::Monotonic;
use crate::model::record::Position;
use crate::pipeline::snapshot::Snapshot;
use crate::pipeline::topics;
use futures_util::future::join_all;
use serde::Serialize;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

/// One look at most.
const PATIENCE: Duration = Duration::from_secs(10);

/// What came of one look.
#[derive(Debug, Serialize)]
struct Finding {
    /// What was looked at.
    what: &'static str,
    /// Which one.
    name: String,
    result: Outcome,
    /// Stable; absent where all is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    message: String,
    took_ms: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    Ok,
    Warning,
    Failed,
}

/// What a look found: for people, or the code and what to do.
type Look = Result<String, (Outcome, &'static str, String)>;

/// Looks at everything and prints a line for each.
///
/// # Errors
/// Exit 69 if Kafka does not answer, 1 if anything else fails; with `strict` if anything is doubtful.
pub(super) async fn ask(
    global: &Global,
    settings: &Settings,
    snapshot: &Snapshot,
    strict: bool,
) -> Result<(), Failure> {
    let mut connections: Vec<_> = snapshot.connections().filter(|c| c.exchange().is_some()).collect();
    connections.sort_by(|a, b| a.resource().name.cmp(&b.resource().name));
    let mut destinations: Vec<_> = snapshot.destinations().collect();
    destinations.sort_by(|a, b| a.resource().name.cmp(&b.resource().name));
    let ((mut found, unreachable), tokens, dialled) = tokio::join!(
        brokers_and_topics(settings, snapshot),
        join_all(connections.into_iter().map(|connection| token(connection))),
        join_all(destinations.into_iter().map(|destination| destination_answers(destination))),
    );
    found.extend(tokens);
    found.extend(dialled);
    output::print_rows(global.output, &found, &["WHAT", "NAME", "RESULT", "TOOK"], cells)?;
    if let Some(error) = unreachable {
        return Err(error.into());
    }
    let bad = |finding: &Finding| match finding.result {
        Outcome::Ok => false,
        Outcome::Warning => strict,
        Outcome::Failed => true,
    };
    if found.iter().any(bad) { Err(Failure::silent(Exit::No)) } else { Ok(()) }
}

fn cells(finding: &Finding) -> Vec<String> {
    // The rest of a message of several lines follows as the command's error.
    let message = finding.message.lines().next().unwrap_or_default();
    let said = match (finding.result, finding.code) {
        (Outcome::Ok, _) | (_, None) => format!("ok: {message}"),
        (Outcome::Warning, Some(code)) => format!("warning {code}: {message}"),
        (Outcome::Failed, Some(code)) => format!("{code}: {message}"),
    };
    vec![finding.what.to_owned(), finding.name.clone(), said, format!("{} ms", finding.took_ms)]
}

async fn timed(what: &'static str, name: impl Into<String>, look: impl Future<Output = Look>) -> Finding {
    let began = Monotonic::now();
    let look = look.await;
    let took_ms = u64::try_from(Monotonic::now().since(began).as_millis()).unwrap_or(u64::MAX);
    let name = name.into();
    match look {
        Ok(message) => Finding { what, name, result: Outcome::Ok, code: None, message, took_ms },
        Err((result, code, message)) => Finding { what, name, result, code: Some(code), message, took_ms },
    }
}

/// Kafka first: without it nothing is known of topics. The error is that of brokers that do not answer.
async fn brokers_and_topics(settings: &Settings, snapshot: &Snapshot) -> (Vec<Finding>, Option<kafka::Error>) {
    let client = app::client_settings(settings);
    let mut unreachable = None;
    let brokers = timed("kafka", settings.kafka.brokers.clone(), async {
        match blocking({
            let client = client.clone();
            move || kafka::ping(&client, PATIENCE)
        })
        .await
        {
            Ok(cluster) => Ok(format!("cluster {cluster}")),
            Err(error) => {
                let said = failed(&error);
                unreachable = Some(error);
                Err(said)
            }
        }
    });
    let mut found = vec![brokers.await];
    if unreachable.is_some() {
        return (found, unreachable);
    }
    match Admin::real(&client) {
        Ok(admin) => found.extend(topics(settings, snapshot, &client, &admin).await),
        Err(error) => found.push(timed("topic", "", async { Err(failed(&error)) }).await),
    }
    (found, None)
}

async fn topics(settings: &Settings, snapshot: &Snapshot, client: &ClientSettings, admin: &Admin) -> Vec<Finding> {
    let mut read: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for source in &snapshot.resources.sources {
        for topic in &source.topics {
            read.entry(topic).or_default().push(source.name.as_str());
        }
    }
    let sources = read.into_iter().map(|(topic, by)| {
        timed("source topic", topic, async move {
            let partitions = readable(admin, client.clone(), topic).await?;
            Ok(format!("{partitions} partitions, read by {}", by.join(", ")))
        })
    });
    let specs = topics::specs(settings, &snapshot.resources, None);
    let began = Monotonic::now();
    let (mut found, states) = tokio::join!(join_all(sources), admin.inspect(&specs));
    let took_ms = u64::try_from(Monotonic::now().since(began).as_millis()).unwrap_or(u64::MAX);
    match states {
        Ok(states) => {
            for (spec, state) in specs.iter().zip(states) {
                let finding = timed("own topic", spec.name.clone(), async { own_topic(spec, state) }).await;
                found.push(Finding { took_ms, ..finding });
            }
        }
        Err(error) => {
            found.push(timed("own topics", settings.kafka.prefix.clone(), async { Err(failed(&error)) }).await)
        }
    }
    found
}

/// How many partitions a topic has, of which one record was read if there is one.
async fn readable(
    admin: &Admin,
    client: ClientSettings,
    topic: &str,
) -> Result<usize, (Outcome, &'static str, String)> {
    let ends = match admin.watermarks(topic).await {
        Ok(ends) => ends,
        Err(error @ kafka::Error::Topic { .. }) => {
            let cure = "create it, or correct `kafka.topics` of its source";
            return Err((Outcome::Failed, error.code(), format!("{error}; {cure}")));
        }
        Err(error) => return Err(failed(&error)),
    };
    if let Some(end) = ends.iter().find(|end| end.low < end.high) {
        let position = Position { topic: topic.into(), partition: end.partition, offset: end.high - 1 };
        let read = blocking(move || Reader::open(&client)?.read_at(&position));
        read.await.map_err(|error| failed(&error))?;
    }
    Ok(ends.len())
}

fn own_topic(spec: &TopicSpec, state: TopicState) -> Look {
    match state {
        TopicState::Fine => Ok("as it must be".to_owned()),
        TopicState::Missing => Ok(format!("missing; made with {} partitions at the next start", spec.partitions)),
        TopicState::Wrong(problem) => Err((Outcome::Failed, "KAFKA_TOPIC", problem)),
        TopicState::Less(less) => {
            let is: Vec<_> =
                less.iter().map(|l| format!("{} is {}, less than {}", l.setting, l.found, l.wanted)).collect();
            let set: Vec<_> = less.iter().map(|l| format!("{}={}", l.setting, l.wanted)).collect();
            let name = &spec.name;
            let cure = format!(
                "kafka-configs.sh --alter --entity-type topics --entity-name {name} --add-config {}",
                set.join(",")
            );
            Err((Outcome::Warning, "KAFKA_TOPIC_SETTINGS", format!("{}; {cure}", is.join(", "))))
        }
        TopicState::Untold(why) => {
            let message = format!("its settings are not told: {why}; allow us to describe its configuration");
            Err((Outcome::Warning, "KAFKA_TOPIC_SETTINGS", message))
        }
    }
}

async fn token(connection: &Connection) -> Finding {
    timed("token", connection.resource().name.as_str(), async {
        let Some(exchange) = connection.exchange() else { return Ok("none is needed".to_owned()) };
        match exchange.fetch().await {
            Ok(fetched) => Ok(match fetched.lifetime {
                Some(lifetime) => format!("fetched, good for {} s", lifetime.as_secs()),
                None => "fetched; they do not say for how long it is good".to_owned(),
            }),
            Err(error) => Err((Outcome::Failed, error.code(), error.to_string())),
        }
    })
    .await
}

async fn destination_answers(destination: &Destination) -> Finding {
    let base = &destination.resource().base;
    timed("destination", destination.resource().name.as_str(), async {
        let wire = Rc::new(Wire::default());
        let dialled = tokio::time::timeout(PATIENCE, destination.dialer().dial(Rc::clone(&wire))).await;
        let late = || dial::Error::Timeout { host: base.host.clone(), phase: wire.phase() };
        match dialled.unwrap_or_else(|_| Err(late())) {
            Ok(_) if base.tls => Ok(format!("{} answers, its certificate is trusted", base.origin())),
            Ok(_) => Ok(format!("{} answers", base.origin())),
            Err(error) => Err((Outcome::Failed, error.code(), error.to_string())),
        }
    })
    .await
}

fn failed(error: &kafka::Error) -> (Outcome, &'static str, String) {
    (Outcome::Failed, error.code(), error.to_string())
}

/// Runs what blocks off the runtime's threads.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, kafka::Error> + Send + 'static,
) -> Result<T, kafka::Error> {
    let thread = || kafka::Error::Thread { name: "check".to_owned(), source: std::io::Error::other("it panicked") };
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| Err(thread()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::Less;

    #[test]
    fn a_topic_that_differs_comes_with_the_command_that_cures_it() {
        let spec = TopicSpec::new("tidegate.dlq", 12);
        let less = |setting: &str, found, wanted| Less { setting: setting.to_owned(), found, wanted };
        let differs = TopicState::Less(vec![less("retention.ms", 5, 10), less("max.message.bytes", 1, 2)]);
        let (outcome, code, message) = own_topic(&spec, differs).expect_err("a warning");
        assert_eq!((outcome, code), (Outcome::Warning, "KAFKA_TOPIC_SETTINGS"));
        assert_eq!(
            message,
            "retention.ms is 5, less than 10, max.message.bytes is 1, less than 2; kafka-configs.sh --alter \
             --entity-type topics --entity-name tidegate.dlq --add-config retention.ms=10,max.message.bytes=2"
        );
        assert_eq!(
            own_topic(&spec, TopicState::Missing),
            Ok("missing; made with 12 partitions at the next start".to_owned())
        );
        let wrong = own_topic(&spec, TopicState::Wrong("has 3 partitions".to_owned())).expect_err("an error");
        assert_eq!((wrong.0, wrong.1), (Outcome::Failed, "KAFKA_TOPIC"));
    }

    #[test]
    fn a_row_says_what_where_and_why() {
        let finding = Finding {
            what: "kafka",
            name: "k1:9092".to_owned(),
            result: Outcome::Failed,
            code: Some("KAFKA_UNREACHABLE"),
            message: "no broker answered in 10 s\n k1:9092 connection refused".to_owned(),
            took_ms: 10_001,
        };
        assert_eq!(cells(&finding), ["kafka", "k1:9092", "KAFKA_UNREACHABLE: no broker answered in 10 s", "10001 ms"]);
        let json = serde_json::to_value(&finding).expect("JSON");
        assert_eq!((&json["result"], &json["took_ms"]), (&"failed".into(), &10_001.into()));
        assert!(json["message"].as_str().is_some_and(|said| said.contains("connection refused")));
    }
}
