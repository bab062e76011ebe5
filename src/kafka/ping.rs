//! Does Kafka answer? If not, why not, broker by broker, in words that say what to change.

use super::client::{self, ClientSettings};
use super::error::Error;
use super::logging::Logging;
use crate::model::clock::Monotonic;
use rdkafka::consumer::{BaseConsumer, Consumer};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

/// Waits until a broker answers, at most for `at_most`, and gives the id of its cluster. Blocks.
///
/// # Errors
/// [`Error::Unreachable`] with the reason of each broker; settings that the client refuses.
pub fn ping(settings: &ClientSettings, at_most: Duration) -> Result<String, Error> {
    let config = client::finish(client::common(settings)?, settings);
    let consumer: BaseConsumer<Logging> =
        config.create_with_context(Logging::quiet(&settings.brokers)).map_err(Error::Settings)?;
    let until = Monotonic::now().plus(at_most);
    loop {
        if let Some(id) = consumer.client().fetch_cluster_id(Duration::from_millis(200)) {
            return Ok(id);
        }
        // Serves the errors that say why.
        drop(consumer.poll(Duration::ZERO));
        if Monotonic::now() >= until {
            return Err(unreachable(settings, at_most, &consumer.context().failures()));
        }
    }
}

fn unreachable(settings: &ClientSettings, waited: Duration, failures: &[(String, String)]) -> Error {
    let tls =
        settings.properties.iter().any(|(k, v)| k == "security.protocol" && v.to_ascii_lowercase().contains("ssl"));
    let named = settings.brokers.split(',').map(str::trim).filter(|b| !b.is_empty());
    let reason = |broker: &str| {
        let failure = failures.iter().rev().find(|(known, _)| known == broker);
        failure.map_or_else(|| probe(broker).to_owned(), |(_, why)| in_words(why, tls))
    };
    let mut brokers: Vec<(String, String)> = named.map(|broker| (broker.to_owned(), reason(broker))).collect();
    let others = failures.iter().filter(|(known, _)| !settings.brokers.contains(known.as_str()));
    brokers.extend(others.map(|(broker, why)| (broker.clone(), in_words(why, tls))));
    Error::Unreachable { waited, origin: settings.brokers_origin.clone(), brokers }
}

/// The client tries one broker after the other and may not have come to this one.
fn probe(broker: &str) -> &'static str {
    let Ok(mut addresses) = broker.to_socket_addrs() else { return "its name does not resolve" };
    let Some(address) = addresses.next() else { return "its name does not resolve" };
    match TcpStream::connect_timeout(&address, Duration::from_secs(1)) {
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => "connection refused",
        Ok(_) | Err(_) => "no answer",
    }
}

/// What librdkafka says, in fewer words.
fn in_words(why: &str, tls: bool) -> String {
    let low = why.to_ascii_lowercase();
    let has = |text: &str| low.contains(text);
    if has("connection refused") {
        "connection refused".to_owned()
    } else if has("failed to resolve") || has("host resolution") {
        "its name does not resolve".to_owned()
    } else if has("certificate verify failed") || has("certificate") && has("verif") {
        format!("its certificate is not trusted; set ssl.ca.location ({why})")
    } else if tls && (has("plaintext") || has("wrong version number") || has("record layer")) {
        "speaks plaintext, TLS expected".to_owned()
    } else if !tls && (has("ssl listener") || has("security.protocol")) {
        "speaks TLS, plaintext expected; set security.protocol".to_owned()
    } else if has("sasl") || has("authentication") {
        format!("refuses our credentials: {why}")
    } else if has("timed out") || has("timeout") {
        "no answer".to_owned()
    } else {
        why.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_said_per_broker() {
        let mut settings = ClientSettings::new("127.0.0.1:1,127.0.0.1:2");
        settings.brokers_origin = "TIDEGATE__KAFKA__BROKERS".to_owned();
        let error = ping(&settings, Duration::from_secs(3)).unwrap_err();
        assert_eq!(error.code(), "KAFKA_UNREACHABLE");
        let text = error.to_string();
        assert!(text.contains("127.0.0.1:1 connection refused · 127.0.0.1:2 connection refused"), "{text}");
        assert!(text.contains("brokers from TIDEGATE__KAFKA__BROKERS; without Kafka: tidegate dev"), "{text}");
    }

    #[test]
    fn fewer_words() {
        let ssl = "SSL handshake failed: Disconnected: connecting to a PLAINTEXT broker listener?";
        assert_eq!(in_words(ssl, true), "speaks plaintext, TLS expected");
        let plain = "Disconnected: verify that security.protocol is correctly configured, broker might require SASL \
                     authentication, connecting to a SSL listener?";
        assert_eq!(in_words(plain, false), "speaks TLS, plaintext expected; set security.protocol");
        assert_eq!(in_words("Failed to resolve 'x:1': Name or service not known", false), "its name does not resolve");
    }
}
