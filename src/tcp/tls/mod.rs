//! TLS under the connections of this component, by `rustls` (feature `tls`).
//!
//! In scope: [`TlsAcceptor`] and [`TlsConnector`], steps before a connection is opened, for servers
//! and for clients; [`TlsLayer`], what they put under the connection; reading certificates and
//! keys; configurations for the two common cases ([`server_config`], [`mutual_configs`]).
//! Out of scope: which certificates to trust and what to ask of the peer otherwise, which the
//! configurations of [`rustls`] say; it is re-exported, so that they are of the version that is
//! wanted here.
//!
//! The handshake has the deadline of all steps (`pre_connect_timeout`). Bytes that TLS holds and
//! the kernel has not taken count as waiting: in `pending_write`, for the write deadline and
//! for the drained callback. A peer that ends its stream without saying so (close_notify) has
//! failed (`UnexpectedEof`), for its stream may have been cut short.
//!
//! ```no_run
//! use std::path::Path;
//! use std::sync::Arc;
//! use bayeux::tcp::{ServerConfig, tls};
//!
//! # fn main() -> Result<(), tls::TlsError> {
//! let tls = tls::server_config(Path::new("cert.pem"), Path::new("key.pem"), &[])?;
//! let mut config = ServerConfig::default();
//! config.reactor.pre_connect = vec![Arc::new(tls::TlsAcceptor::new(tls))];
//! # Ok(())
//! # }
//! ```

mod config;

use std::fmt;
use std::io::{self, Read, Write};
use std::sync::Arc;

use parking_lot::RwLock;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, Connection, ServerConfig, ServerConnection};

use super::reactor::{Early, Layer, PreConnect, Refuse, Step, Wire};

pub use config::{
    TlsError, certificates, mutual_configs, private_key, provider, roots, server_config,
};
pub use rustls;

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
        layer(ServerConnection::new(config))
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
        layer(ClientConnection::new(
            Arc::clone(&self.config),
            self.name.clone(),
        ))
    }
}

impl fmt::Debug for TlsConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsConnector")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

fn layer<C: Into<Connection>>(connection: Result<C, rustls::Error>) -> Result<Step, Refuse> {
    match connection {
        Ok(connection) => Ok(Step::Layer(Box::new(TlsLayer::new(connection)))),
        Err(error) => {
            log::error!("the TLS configuration cannot be used: {error}");
            Err(Refuse)
        }
    }
}

/// TLS between the socket and the service. See
/// [`Context::set_layer`](crate::tcp::Context::set_layer) for beginning it in mid-stream.
pub struct TlsLayer {
    tls: Connection,
    /// Bytes that were taken, less those that the socket has taken since: about what is unsent, for
    /// nobody tells how much longer they have become.
    owed: usize,
}

impl TlsLayer {
    /// For a connection of either side that has not exchanged anything yet.
    pub fn new(connection: impl Into<Connection>) -> Self {
        Self {
            tls: connection.into(),
            owed: 0,
        }
    }

    /// The connection of `rustls`, to ask who the peer is once the handshake is over.
    pub fn connection(&self) -> &Connection {
        &self.tls
    }

    /// Sends what it holds; tells whether that was all.
    fn send(&mut self, wire: &mut Wire<'_>) -> io::Result<bool> {
        while self.tls.wants_write() {
            match self.tls.write_tls(wire) {
                Ok(n) => self.owed = self.owed.saturating_sub(n),
                Err(error) if is_not_ready(&error) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        self.owed = 0;
        Ok(true)
    }

    /// What has been decrypted; `None` if more has to come for that.
    fn decrypted(&mut self, buffer: &mut [u8]) -> Option<io::Result<usize>> {
        match self.tls.reader().read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            other => Some(other),
        }
    }
}

impl Layer for TlsLayer {
    fn read(&mut self, wire: &mut Wire<'_>, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(result) = self.decrypted(buffer) {
                return result;
            }
            // At the end of the stream the next look says whether it was an orderly one.
            self.tls.read_tls(wire)?;
            let processed = self.tls.process_new_packets();
            // The handshake's next messages, or the alert that says what was wrong.
            let sent = self.send(wire);
            processed.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            sent?;
        }
    }

    fn write(&mut self, wire: &mut Wire<'_>, bytes: &[u8]) -> io::Result<usize> {
        let mut taken = 0;
        // Before that `rustls` would keep them, and nobody could tell when they had gone.
        while !self.tls.is_handshaking() && taken < bytes.len() {
            let n = self.tls.writer().write(&bytes[taken..])?;
            taken += n;
            self.owed += n;
            if !self.send(wire)? {
                break;
            }
        }
        if taken == 0 && !bytes.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(taken)
    }

    fn flush(&mut self, wire: &mut Wire<'_>) -> io::Result<()> {
        self.send(wire).map(drop)
    }

    fn unsent(&self) -> usize {
        match self.tls.wants_write() {
            true => self.owed.max(1),
            false => 0,
        }
    }

    fn is_handshaking(&self) -> bool {
        self.tls.is_handshaking()
    }

    fn finish(&mut self, wire: &mut Wire<'_>) -> io::Result<()> {
        self.tls.send_close_notify();
        self.send(wire).map(drop)
    }
}

impl fmt::Debug for TlsLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsLayer").finish_non_exhaustive()
    }
}

fn is_not_ready(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}
