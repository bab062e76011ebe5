//! `check --online`: everything that the resources speak to is asked, and what does not answer is named with its cure.

use crate::support::command::program;
use crate::support::{Answer, Bed, real_kafka};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::Value;
use std::io::Read as _;
use std::net::TcpListener;
use std::process::Output;
use std::sync::Arc;
use std::thread;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned};

const CERTIFICATE: &[u8] = include_bytes!("../../src/pipeline/deliver/tests/server.pem");
const KEY: &[u8] = include_bytes!("../../src/pipeline/deliver/tests/server.key.pem");

/// Runs `check --online` on the resources of a test.
fn check(bed: &Bed, brokers: &str, more: &[&str]) -> Output {
    let mut command = program();
    command.args(["check", "--online", "-r"]).arg(bed.folder().join("resources")).args(["-b", brokers]).args(more);
    command.env("TIDEGATE__KAFKA__PREFIX", bed.name()).env("SECRET", "s3cr3t-online");
    command.output().expect("the program ends")
}

fn rows(output: &Output) -> Vec<Value> {
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

#[track_caller]
fn row<'a>(rows: &'a [Value], what: &str, name: &str) -> &'a Value {
    let found = rows.iter().find(|row| row["what"] == what && row["name"] == name);
    found.unwrap_or_else(|| panic!("no {what} {name}: {rows:#?}"))
}

/// A server whose certificate nobody trusts; it takes two connections.
fn untrusted() -> u16 {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let chain = vec![CertificateDer::from_pem_slice(CERTIFICATE).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(KEY).unwrap();
    let config = Arc::new(builder.with_no_client_auth().with_single_cert(chain, key).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming().take(2).flatten() {
            let session = ServerConnection::new(Arc::clone(&config)).unwrap();
            // They hang up, which is an error here.
            StreamOwned::new(session, stream).read_to_end(&mut Vec::new()).ok();
        }
    });
    port
}

/// A port that nobody listens on.
fn closed() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn everything_that_is_spoken_to_is_asked_and_no_event_is_sent() {
    let bed = Bed::new("online", 2, |seen| match seen.target.as_str() {
        "/token" => Answer::status(200)
            .header("content-type", "application/json")
            .body(r#"{"access_token":"t0k3n","token_type":"Bearer","expires_in":1800}"#),
        _ => Answer::status(401).header("content-type", "application/json").body(r#"{"error":"invalid_client"}"#),
    });
    let oauth2 = |name: &str, path: &str| {
        format!(
            "\n---\nkind: connection\nname: {name}\nurl: {}\nallow_networks: [127.0.0.0/8]\n\
             auth: {{oauth2: {{token_endpoint: {path}, client_id: tg, client_secret: \"${{env:SECRET}}\"}}}}",
            bed.api.url()
        )
    };
    let good = bed.source_and_connection("")
        + &oauth2("crm", "/token")
        + "\n---\n{kind: destination, name: sink, connection: api, endpoint: /in}";
    bed.resources("good.yaml", &good);
    let brokers = bed.broker.bootstrap.clone();
    let output = check(&bed, &brokers, &["-o", "json"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let found = rows(&output);
    assert!(found.iter().all(|row| row["result"] == "ok"), "{found:#?}");
    assert!(
        row(&found, "source topic", &bed.topic())["message"].as_str().unwrap().starts_with("2 partitions, read by ")
    );
    let wanted =
        if real_kafka().is_some() { "missing; made with 32 partitions at the next start" } else { "as it must be" };
    assert_eq!(row(&found, "own topic", &bed.own_topic("slots"))["message"], wanted);
    assert_eq!(row(&found, "token", "crm")["message"], "fetched, good for 1800 s");
    row(&found, "kafka", &brokers);
    row(&found, "destination", "sink");
    assert_eq!(bed.api.log(|log| log.seen()), 1, "the token, and no event");

    let (tls, shut) = (untrusted(), closed());
    let endpoint = |name: &str, url: &str, allowed: &str| {
        format!(
            "\n---\n{{kind: connection, name: {name}, url: \"{url}\"{allowed}}}\n---\n\
             {{kind: destination, name: {name}, connection: {name}}}"
        )
    };
    let loopback = ", allow_networks: [127.0.0.0/8]";
    let broken = format!("kind: source\nname: absent\nkafka: {{topics: [{}]}}", bed.own_topic("absent"))
        + &oauth2("refused", "/refuse")
        + &endpoint("nowhere", "https://nowhere.invalid", "")
        + &endpoint("shut", &format!("http://127.0.0.1:{shut}"), loopback)
        + &endpoint("untrusted", &format!("https://127.0.0.1:{tls}"), loopback)
        + &endpoint("inside", &format!("https://127.0.0.1:{tls}"), "");
    bed.resources("broken.yaml", &broken);
    let output = check(&bed, &brokers, &["-o", "json"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let found = rows(&output);
    for (what, name, code, cure) in [
        (
            "source topic",
            &*bed.own_topic("absent"),
            "KAFKA_TOPIC",
            "create it, or correct `kafka.topics` of its source",
        ),
        ("token", "refused", "AUTH_TOKEN_REFUSED", "401 invalid_client"),
        ("destination", "nowhere", "DELIVER_DNS", "nowhere.invalid"),
        ("destination", "shut", "DELIVER_CONNECT", "cannot connect to `127.0.0.1`"),
        ("destination", "untrusted", "DELIVER_TLS", "check the url, `tls.ca_file`"),
        ("destination", "inside", "DELIVER_FORBIDDEN", "add it to `allow_networks` of connection `inside`"),
    ] {
        let row = row(&found, what, name);
        assert_eq!((&row["result"], &row["code"]), (&"failed".into(), &code.into()), "{row}");
        assert!(row["message"].as_str().unwrap().contains(cure), "{row}");
    }
    assert_eq!(row(&found, "destination", "sink")["result"], "ok");

    let output = check(&bed, &brokers, &["-o", "wide"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.starts_with("WHAT "), "{text}");
    assert!(
        text.lines().any(|line| line.starts_with("destination") && line.contains("DELIVER_TLS: TLS with `127.0.0.1`")),
        "{text}"
    );
    for said in [&output.stdout, &output.stderr] {
        let said = String::from_utf8_lossy(said);
        assert!(!said.contains("s3cr3t") && !said.contains("t0k3n"), "{said}");
    }
}

#[test]
fn without_kafka_the_rest_is_asked_all_the_same() {
    let bed = Bed::new("online-down", 1, |_| Answer::ok());
    bed.usual_resources("");
    let brokers = format!("127.0.0.1:{}", closed());
    let output = check(&bed, &brokers, &["-o", "json"]);
    assert_eq!(output.status.code(), Some(69), "{output:?}");
    let found = rows(&output);
    assert_eq!(row(&found, "kafka", &brokers)["code"], "KAFKA_UNREACHABLE");
    assert_eq!(row(&found, "destination", "sink")["result"], "ok");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("error[KAFKA_UNREACHABLE]") && said.contains("connection refused"), "{said}");
}
