//! TLS: whom we trust, who we are, and what the failures say.

use super::server::{Act, Server, reply};
use super::*;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use secrecy::SecretString;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

pub(super) const CA: &[u8] = include_bytes!("ca.pem");
const SERVER: (&[u8], &[u8]) = (include_bytes!("server.pem"), include_bytes!("server.key.pem"));
pub(super) const CLIENT: (&[u8], &str) = (include_bytes!("client.pem"), include_str!("client.key.pem"));

pub(super) fn server_config(asks_for_client: bool) -> Arc<ServerConfig> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder =
        ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions().unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(CA).unwrap()).unwrap();
    let builder = if asks_for_client {
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
        builder.with_client_cert_verifier(verifier)
    } else {
        builder.with_no_client_auth()
    };
    let chain = vec![CertificateDer::from_pem_slice(SERVER.0).unwrap()];
    Arc::new(builder.with_single_cert(chain, PrivateKeyDer::from_pem_slice(SERVER.1).unwrap()).unwrap())
}

async fn deliver(host: &str, asks_for_client: bool, change: impl FnOnce(&mut Setup)) -> (Report, usize) {
    let tls = Some(server_config(asks_for_client));
    let server = Server::start_tls(|_| Act::Say(reply(200, "", "ok")), tls).await;
    let mut setup = Setup::new(host, server.address.port());
    setup.destination.base.tls = true;
    setup.connection.ca_pem = Some(CA.to_vec());
    change(&mut setup);
    let dispatcher = start(&setup.build());
    let board = Rc::new(Board::default());
    dispatcher.submit(job(&board, 0));
    let (_, report) = board.wait(1).await.remove(0);
    if report.class == Class::Success {
        dispatcher.submit(job(&board, 1));
        board.wait(2).await;
    }
    (report, server.connections.get())
}

#[test]
fn a_private_authority_is_trusted_and_the_connection_kept() {
    local(async {
        let (report, connections) = deliver("localhost", false, |_| {}).await;
        assert_eq!((report.class, connections), (Class::Success, 1), "{}", report.message);
    });
}

#[test]
fn an_unknown_authority_and_a_wrong_name_are_incidents() {
    local(async {
        let (report, _) = deliver("localhost", false, |setup| setup.connection.ca_pem = Some(SERVER.0.to_vec())).await;
        assert_eq!((report.class, report.code), (Class::Incident, "DELIVER_TLS"), "{}", report.message);
        assert!(report.message.contains("tls.ca_file"), "{}", report.message);
        // The certificate is for `localhost`.
        let (report, _) = deliver("127.0.0.1", false, |_| {}).await;
        assert_eq!((report.class, report.code), (Class::Incident, "DELIVER_TLS"), "{}", report.message);
    });
}

#[test]
fn a_client_certificate_is_shown_and_missing_it_is_an_incident() {
    local(async {
        let (report, _) = deliver("localhost", true, |setup| {
            setup.connection.client_pem = Some((CLIENT.0.to_vec(), SecretString::from(CLIENT.1)));
        })
        .await;
        assert_eq!(report.class, Class::Success, "{}", report.message);
        let (report, _) = deliver("localhost", true, |_| {}).await;
        assert_eq!((report.class, report.code), (Class::Incident, "DELIVER_TLS"), "{}", report.message);
    });
}

#[test]
fn plain_http_where_tls_is_expected_fails_without_sending() {
    local(async {
        let server = Server::start(|_| Act::Say(reply(200, "", ""))).await;
        let mut setup = Setup::new("127.0.0.1", server.address.port());
        setup.destination.base.tls = true;
        setup.destination.timeout = Duration::from_millis(300);
        setup.connection.ca_pem = Some(CA.to_vec());
        let dispatcher = start(&setup.build());
        let board = Rc::new(Board::default());
        dispatcher.submit(job(&board, 0));
        let (_, report) = board.wait(1).await.remove(0);
        assert_eq!((report.class, report.code), (Class::Transient, "DELIVER_TIMEOUT"), "{}", report.message);
        assert!(report.message.contains("TLS handshake"), "{}", report.message);
    });
}

#[test]
fn unusable_certificates_are_refused_when_built() {
    let mut setup = Setup::new("127.0.0.1", 443);
    setup.destination.base.tls = true;
    setup.connection.ca_pem = Some(b"no pem".to_vec());
    let error = connection(&setup.resource()).unwrap_err();
    assert_eq!(error.code(), "CONFIG_TLS");
    let mut setup = Setup::new("127.0.0.1", 443);
    setup.destination.base.tls = true;
    setup.connection.ca_pem = Some(CA.to_vec());
    setup.connection.client_pem = Some((CLIENT.0.to_vec(), SecretString::from("no key")));
    let error = connection(&setup.resource()).unwrap_err();
    assert!(error.to_string().contains("client_key_file") && !error.to_string().contains("no key`"));
}
