//! A connection at run time: who we are at a system, and what its destinations share there.
//!
//! One per connection of the resources; every destination that names it holds the same one.

use super::auth::{self, Auth};
use super::tls::{self, Roots};
use crate::model::resources;
use std::sync::Arc;
use tokio_rustls::rustls::ClientConfig;

/// A connection at run time.
#[derive(Debug)]
pub struct Connection {
    resource: Arc<resources::Connection>,
    auth: Auth,
    /// `None` if none of its destinations speaks TLS.
    tls: Option<Arc<ClientConfig>>,
}

/// Why a connection cannot be built from its resource.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Credentials.
    #[error(transparent)]
    Auth(#[from] auth::Error),
    /// TLS.
    #[error(transparent)]
    Tls(#[from] tls::Error),
}

impl Error {
    /// Stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Auth(_) => "CONFIG_AUTH",
            Self::Tls(_) => "CONFIG_TLS",
        }
    }
}

impl Connection {
    /// A connection; `tls` says that at least one of its destinations speaks TLS.
    ///
    /// # Errors
    /// The resource cannot be used; see [`Error`].
    pub fn new(resource: Arc<resources::Connection>, roots: &Roots, tls: bool) -> Result<Self, Error> {
        let auth = Auth::new(&resource)?;
        let tls = if tls { Some(tls::client(&resource, roots)?) } else { None };
        Ok(Self { resource, auth, tls })
    }

    /// The resource it was built from.
    #[must_use]
    pub fn resource(&self) -> &Arc<resources::Connection> {
        &self.resource
    }

    /// Who we are there.
    #[must_use]
    pub fn auth(&self) -> &Auth {
        &self.auth
    }

    /// The TLS configuration of its destinations.
    pub(super) fn tls(&self) -> Option<&Arc<ClientConfig>> {
        self.tls.as_ref()
    }
}
