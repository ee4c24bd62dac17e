//! The steps that put TLS under a connection.

use std::fmt;
use std::sync::Arc;

use parking_lot::RwLock;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection};

use super::layer::TlsLayer;
use crate::tcp::reactor::{Early, PreConnect, Refuse, Step};

/// Does the server's part of TLS on every connection.
pub struct TlsAcceptor {
    config: RwLock<Arc<ServerConfig>>,
}

impl TlsAcceptor {
    /// With this certificate, these demands on clients, and so on.
    pub fn new(config: Arc<ServerConfig>) -> Self {
        Self {
            config: RwLock::new(config),
        }
    }

    /// From now on new connections are made with another configuration, for example with a renewed
    /// certificate. Those that there are go on with theirs.
    pub fn replace(&self, config: Arc<ServerConfig>) {
        *self.config.write() = config;
    }
}

impl PreConnect for TlsAcceptor {
    fn start(&self, _connection: &mut Early<'_>) -> Result<Step, Refuse> {
        let config = Arc::clone(&self.config.read());
        let tls = ServerConnection::new(config).map_err(|error| {
            log::error!("the TLS configuration cannot be used: {error}");
            Refuse
        })?;
        Ok(Step::Layer(Box::new(TlsLayer::new(tls))))
    }
}

impl fmt::Debug for TlsAcceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsAcceptor").finish_non_exhaustive()
    }
}

/// Does the client's part of TLS on every connection, for a
/// [`Client`](crate::tcp::Client): see [`ConnectOptions`](crate::tcp::reactor::ConnectOptions).
pub struct TlsConnector {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl TlsConnector {
    /// With these roots of trust and so on. `name` is what the server's certificate has to be for:
    /// a host name or an IP address.
    pub fn new(config: Arc<ClientConfig>, name: ServerName<'static>) -> Self {
        Self { config, name }
    }
}

impl PreConnect for TlsConnector {
    fn start(&self, _connection: &mut Early<'_>) -> Result<Step, Refuse> {
        let tls = ClientConnection::new(Arc::clone(&self.config), self.name.clone());
        let tls = tls.map_err(|error| {
            log::error!("the TLS configuration cannot be used: {error}");
            Refuse
        })?;
        Ok(Step::Layer(Box::new(TlsLayer::new(tls))))
    }
}

impl fmt::Debug for TlsConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsConnector")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
