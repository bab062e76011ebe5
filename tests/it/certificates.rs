//! Certificates that are replaced while the program runs, as Kubernetes replaces a mounted secret: all files at once,
//! by swapping the link `..data`.

use crate::support::front::Front;
use crate::support::{Answer, Bed, events};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

const MINUTE: Duration = Duration::from_secs(60);
const EVENTS: usize = 60;

/// One authority and what it has signed.
struct Generation {
    ca: &'static str,
    server: (&'static str, &'static str),
    client: (&'static str, &'static str),
}

macro_rules! generation {
    ($folder:literal) => {
        Generation {
            ca: include_str!(concat!($folder, "/ca.pem")),
            server: (include_str!(concat!($folder, "/server.pem")), include_str!(concat!($folder, "/server.key.pem"))),
            client: (include_str!(concat!($folder, "/client.pem")), include_str!(concat!($folder, "/client.key.pem"))),
        }
    };
}

const FIRST: Generation = generation!("../../src/pipeline/deliver/tests");
const SECOND: Generation = generation!("certificates");

impl Generation {
    /// A server of this generation, which takes only clients of it.
    fn server(&self) -> Arc<ServerConfig> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.ca.as_bytes()).unwrap()).unwrap();
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        let chain = vec![CertificateDer::from_pem_slice(self.server.0.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(self.server.1.as_bytes()).unwrap();
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let builder = builder.with_client_cert_verifier(verifier.build().unwrap());
        Arc::new(builder.with_single_cert(chain, key).unwrap())
    }
}

/// A folder as Kubernetes mounts a secret: `<file> -> ..data/<file>`, `..data -> ..<n>`.
struct Mounted {
    folder: PathBuf,
    count: usize,
}

impl Mounted {
    fn new(folder: &Path) -> Self {
        fs::create_dir(folder).unwrap();
        Self { folder: folder.to_owned(), count: 0 }
    }

    fn swap(&mut self, ca: &str, client: (&str, &str)) {
        self.count += 1;
        let generation = format!("..{}", self.count);
        fs::create_dir(self.folder.join(&generation)).unwrap();
        for (file, text) in [("ca.pem", ca), ("client.pem", client.0), ("client.key.pem", client.1)] {
            fs::write(self.folder.join(&generation).join(file), text).unwrap();
            if self.count == 1 {
                symlink(Path::new("..data").join(file), self.folder.join(file)).unwrap();
            }
        }
        symlink(&generation, self.folder.join("..data_tmp")).unwrap();
        fs::rename(self.folder.join("..data_tmp"), self.folder.join("..data")).unwrap();
    }
}

#[test]
fn replaced_certificates_are_used_without_a_restart_and_broken_ones_are_not() {
    let bed = Bed::new("certificates", 3, |_| Answer::ok());
    let front = Front::start(bed.api.address(), FIRST.server());
    let folder = bed.folder().join("mounted");
    let mut mounted = Mounted::new(&folder);
    mounted.swap(FIRST.ca, FIRST.client);
    let file = |name: &str| folder.join(name).display().to_string();
    let text = format!(
        "kind: source
name: orders
kafka: {{topics: [{}]}}
---
kind: connection
name: api
url: https://localhost:{}
allow_networks: [127.0.0.0/8, \"::1/128\"]
tls: {{ca_file: {:?}, client_certificate_file: {:?}, client_key_file: {:?}}}
---
kind: destination
name: sink
connection: api
endpoint: /in
---
kind: rule
name: all
pattern: {{}}
targets:
- name: sink
  destination: sink
  headers: {{x-event: $.id}}
",
        bed.topic(),
        front.port(),
        file("ca.pem"),
        file("client.pem"),
        file("client.key.pem")
    );
    bed.resources("all.yaml", &text);
    let replica = bed.replica("a");
    bed.broker.produce(&bed.topic(), events::orders(EVENTS));
    bed.api.wait_until("the events before", MINUTE, |log| log.delivered() == EVENTS);

    // Nothing is in flight whose answer the change could cut off.
    bed.wait_all_committed(MINUTE);

    // The other side changes first, so what comes meanwhile cannot be delivered.
    front.become_server(SECOND.server());
    bed.broker.produce(&bed.topic(), events::orders(2 * EVENTS).skip(EVENTS));
    replica.wait_line("that it is refused", MINUTE, |line| line.contains("DELIVER_TLS"));

    mounted.swap("-----BEGIN CERTIFICATE-----\nbroken\n-----END CERTIFICATE-----\n", SECOND.client);
    replica.wait_line("the fault", MINUTE, |line| line.contains("CONFIG_TLS") && line.contains("`api`"));
    replica.wait_line("what stays", MINUTE, |line| line.contains("the old ones stay in use"));

    mounted.swap(SECOND.ca, SECOND.client);
    replica.wait_line("the reload", MINUTE, |line| line.contains("reloaded: api"));
    bed.api.wait_until("all events", MINUTE, |log| log.delivered() == 2 * EVENTS);
    bed.wait_all_committed(MINUTE);
    assert_eq!(bed.api.log(|log| log.duplicates()), 0, "a refused handshake delivers nothing");
}
