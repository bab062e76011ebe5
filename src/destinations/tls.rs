//! TLS of a connection: whom we trust and who we are.

use crate::model::resources::Connection;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use secrecy::ExposeSecret;
use std::sync::{Arc, OnceLock};
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::{ClientConfig, Error as RustlsError, RootCertStore};

/// The system's certificate authorities, read when the first `https` destination needs them. One per process, owned
/// by whoever builds destinations.
#[derive(Debug, Default)]
pub struct Roots(OnceLock<Arc<RootCertStore>>);

/// Why TLS cannot be set up for a connection.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The CA file holds no certificate, or one that cannot be read.
    #[error("`tls.ca_file` of connection `{connection}` holds no usable certificate; it must be PEM: {detail}")]
    Authority {
        /// Connection.
        connection: String,
        /// What is wrong.
        detail: String,
    },
    /// The client certificate or its key cannot be used.
    #[error(
        "`tls.client_certificate_file` or `tls.client_key_file` of connection `{connection}` cannot be used; both must \
         be PEM and belong together: {detail}"
    )]
    Client {
        /// Connection.
        connection: String,
        /// What is wrong; never a part of the key.
        detail: String,
    },
    /// The protocol could not be set up.
    #[error("TLS cannot be set up for connection `{connection}`: {source}")]
    Setup {
        /// Connection.
        connection: String,
        /// What rustls says.
        source: RustlsError,
    },
}

impl Roots {
    fn get(&self) -> Arc<RootCertStore> {
        let load = || {
            let found = rustls_native_certs::load_native_certs();
            for error in &found.errors {
                tracing::warn!(%error, "a system certificate cannot be read");
            }
            let mut store = RootCertStore::empty();
            let (added, ignored) = store.add_parsable_certificates(found.certs);
            if added == 0 {
                tracing::warn!(
                    ignored,
                    "the system has no certificate authorities, so https destinations will be refused; install \
                     ca-certificates or set `tls.ca_file`"
                );
            }
            Arc::new(store)
        };
        Arc::clone(self.0.get_or_init(load))
    }
}

/// The client configuration of a connection. A private CA is trusted instead of the system's.
///
/// # Errors
/// The PEM texts of the connection cannot be used.
pub(super) fn client(connection: &Connection, roots: &Roots) -> Result<Arc<ClientConfig>, Error> {
    let name = || connection.name.to_string();
    let trusted = match &connection.ca_pem {
        Some(pem) => Arc::new(authorities(pem).map_err(|detail| Error::Authority { connection: name(), detail })?),
        None => roots.get(),
    };
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|source| Error::Setup { connection: name(), source })?
        .with_root_certificates(trusted);
    let mut config = match &connection.client_pem {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => {
            let wrong = |detail: String| Error::Client { connection: name(), detail };
            let chain: Vec<_> = CertificateDer::pem_slice_iter(chain)
                .collect::<Result<_, _>>()
                .map_err(|error| wrong(error.to_string()))?;
            // The error of a key is not repeated: it could quote it.
            let key = PrivateKeyDer::from_pem_slice(key.expose_secret().as_bytes())
                .map_err(|_| wrong("the key is no PEM private key".to_owned()))?;
            builder.with_client_auth_cert(chain, key).map_err(|error| wrong(error.to_string()))?
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// For an `https` proxy: the system's authorities and the connection's private one; we show it no certificate.
pub(super) fn to_proxy(connection: &Connection, roots: &Roots) -> Result<Arc<ClientConfig>, Error> {
    let name = || connection.name.to_string();
    let mut trusted = RootCertStore::clone(&roots.get());
    if let Some(pem) = &connection.ca_pem {
        let own = authorities(pem).map_err(|detail| Error::Authority { connection: name(), detail })?;
        trusted.extend(own.roots);
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|source| Error::Setup { connection: name(), source })?;
    let mut config = builder.with_root_certificates(trusted).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Whether both trust the same authorities and show the same certificate.
pub(super) fn is_same(one: &Connection, other: &Connection) -> bool {
    let client = |connection: &Connection| {
        let (chain, key) = connection.client_pem.as_ref()?;
        Some((chain.clone(), key.expose_secret().to_owned()))
    };
    one.ca_pem == other.ca_pem && client(one) == client(other)
}

/// For where no TLS is spoken: any handshake fails.
pub(super) fn trusting_nobody(connection: &Connection) -> Result<Arc<ClientConfig>, Error> {
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|source| Error::Setup { connection: connection.name.to_string(), source })?;
    Ok(Arc::new(builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth()))
}

fn authorities(pem: &[u8]) -> Result<RootCertStore, String> {
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| error.to_string())?;
        store.add(certificate).map_err(|error| error.to_string())?;
    }
    if store.is_empty() { Err("no certificate found".to_owned()) } else { Ok(store) }
}
