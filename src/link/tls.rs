//! TLS under links, with certificates of both ends.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use parking_lot::RwLock;
use rustls::client::verify_server_name;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, ClientConnection, Connection, ServerConfig, ServerConnection};

use super::TlsFailure;
use super::hello::{Begun, Channel, Security, Session};
use super::key::{Key, Role};
use crate::tcp::reactor::{Layer, Wire};
use crate::tcp::tls::{TlsError, TlsLayer, mutual_configs};

/// Mutual TLS for [`Config::with_tls`](super::Config::with_tls): both ends of every link show a
/// certificate, and check the other's. The end that connects checks that the certificate is for the
/// host that it has called; both check that it is for the name that the peer's node gives itself
/// (as a DNS name or IP address among the subject's alternative names; the common name counts for
/// nothing). Nothing is said before, and no peer without a certificate is let in.
///
/// Clones share the configurations: what one [replaces](Self::replace) is replaced for all.
#[derive(Clone)]
pub struct Tls {
    configs: Arc<RwLock<Configs>>,
    server_name: Option<ServerName<'static>>,
}

/// For the connections that are accepted, and for those that are made.
type Configs = (Arc<ServerConfig>, Arc<ClientConfig>);

impl Tls {
    /// From PEM files: the node's certificate with its chain, for servers and clients as far as the
    /// node listens and connects; its key; those who sign the certificates of peers. TLS 1.3 only.
    /// See [`mutual_configs`]. Blocks while it reads them; they are not read again, see
    /// [`replace`](Self::replace).
    ///
    /// # Errors
    /// If a file cannot be read, or they do not fit together.
    pub fn from_files(certificate: &Path, key: &Path, roots: &Path) -> Result<Self, TlsError> {
        let (server, client) = mutual_configs(certificate, key, roots)?;
        Ok(Self::new(server, client))
    }

    /// With configurations of one's own. What they do not demand of the peer is not demanded,
    /// except that it shows a certificate at all.
    pub fn new(server: Arc<ServerConfig>, client: Arc<ClientConfig>) -> Self {
        Self {
            configs: Arc::new(RwLock::new((server, client))),
            server_name: None,
        }
    }

    /// Takes others, such as with a renewed certificate, for the connections from now on. Links
    /// that there are stay as they are.
    pub fn replace(&self, server: Arc<ServerConfig>, client: Arc<ClientConfig>) {
        let before = std::mem::replace(&mut *self.configs.write(), (server, client));
        // What the user has put into them is not dropped under the lock.
        drop(before);
    }

    /// Whom the certificates of those that are called have to be for, whatever their address; else
    /// it is the host in that. Links to Unix sockets need it.
    #[must_use]
    pub fn server_name(mut self, name: ServerName<'static>) -> Self {
        self.server_name = Some(name);
        self
    }

    fn name_of(&self, address: &str) -> Result<ServerName<'static>, TlsFailure> {
        if let Some(name) = &self.server_name {
            return Ok(name.clone());
        }
        let host = match address.rsplit_once(':') {
            Some((host, _)) if !address.starts_with("unix:") => host,
            _ => "",
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        ServerName::try_from(host.to_owned())
            .map_err(|_| TlsFailure::Failed(format!("{address} does not name a host")))
    }
}

impl Security for Tls {
    fn begin(&self, role: Role, address: &str) -> Result<Begun, TlsFailure> {
        let (server, client) = self.configs.read().clone();
        let connection: Result<Connection, rustls::Error> = match role {
            Role::Listener => ServerConnection::new(server).map(Into::into),
            Role::Connector => {
                let name = self.name_of(address)?;
                ClientConnection::new(client, name).map(Into::into)
            }
        };
        let connection = connection.map_err(|error| TlsFailure::Failed(error.to_string()))?;
        let channel = Arc::new(Channel::default());
        let layer = LinkLayer {
            tls: TlsLayer::new(connection),
            channel: Arc::clone(&channel),
        };
        Ok((Box::new(layer), channel))
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("server_name", &self.server_name)
            .finish_non_exhaustive()
    }
}

fn session_of(tls: &Connection) -> Result<Session, TlsFailure> {
    let shown = tls.peer_certificates().and_then(|chain| chain.first());
    let certificate: CertificateDer<'static> = shown.ok_or(TlsFailure::NoCertificate)?.clone();
    let secret = tls
        .export_keying_material([0; 32], b"EXPORTER-bayeux-link", None)
        .map_err(|error| TlsFailure::Failed(error.to_string()))?;
    let allows = move |name: &str| {
        let parsed = ParsedCertificate::try_from(&certificate);
        let (Ok(certificate), Ok(name)) = (parsed, ServerName::try_from(name)) else {
            return false;
        };
        verify_server_name(&certificate, &name).is_ok()
    };
    Ok(Session {
        allows: Box::new(allows),
        secret: Key::new(&secret).expect("32 bytes are enough for a key"),
    })
}

/// A layer that tells what has become of it.
struct LinkLayer {
    tls: TlsLayer,
    channel: Arc<Channel>,
}

impl LinkLayer {
    /// Before anything that the peer has sent goes further.
    fn note(&self, result: io::Result<usize>) -> io::Result<usize> {
        let channel = &self.channel;
        let error = result.as_ref().err().and_then(io::Error::get_ref);
        if let Some(error) = error.and_then(|error| error.downcast_ref()) {
            channel.failure.get_or_init(|| failure_of(error));
            return result;
        }
        if channel.session.get().is_some() || self.tls.is_handshaking() {
            return result;
        }
        match session_of(self.tls.connection()) {
            Ok(session) => {
                channel.session.get_or_init(|| session);
                result
            }
            Err(failure) => {
                let error = io::Error::new(io::ErrorKind::InvalidData, failure.clone());
                channel.failure.get_or_init(|| failure);
                Err(error)
            }
        }
    }
}

fn failure_of(error: &rustls::Error) -> TlsFailure {
    match error {
        rustls::Error::NoCertificatesPresented => TlsFailure::NoCertificate,
        rustls::Error::InvalidCertificate(_) => TlsFailure::Certificate(error.to_string()),
        rustls::Error::AlertReceived(_) => TlsFailure::Refused(error.to_string()),
        _ => TlsFailure::Failed(error.to_string()),
    }
}

impl Layer for LinkLayer {
    fn read(&mut self, wire: &mut Wire<'_>, buffer: &mut [u8]) -> io::Result<usize> {
        let result = self.tls.read(wire, buffer);
        self.note(result)
    }

    fn write(&mut self, wire: &mut Wire<'_>, bytes: &[u8]) -> io::Result<usize> {
        self.tls.write(wire, bytes)
    }

    fn flush(&mut self, wire: &mut Wire<'_>) -> io::Result<()> {
        self.tls.flush(wire)
    }

    fn unsent(&self) -> usize {
        self.tls.unsent()
    }

    fn is_handshaking(&self) -> bool {
        self.tls.is_handshaking()
    }

    fn finish(&mut self, wire: &mut Wire<'_>) -> io::Result<()> {
        self.tls.finish(wire)
    }
}
