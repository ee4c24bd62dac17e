//! Encryption under a WebSocket, by rustls.

use std::io::{self, Read as _, Write as _};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use super::error::Error;
use crate::tcp::reactor::{Early, Layer, PreConnect, Refuse, Step, Wire};

/// Encrypts connections to that host, whose certificate is checked against the roots of Mozilla.
pub(crate) fn step(host: &str) -> Result<Arc<dyn PreConnect>, Error> {
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| Error::Config(format!("{host:?} cannot have a certificate")))?;
    let mut roots = RootCertStore::empty();
    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::Config(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let config = Arc::new(config);
    Ok(Arc::new(Encrypt { name, config }))
}

struct Encrypt {
    name: ServerName<'static>,
    config: Arc<ClientConfig>,
}

impl PreConnect for Encrypt {
    fn start(&self, _: &mut Early<'_>) -> Result<Step, Refuse> {
        let tls = ClientConnection::new(Arc::clone(&self.config), self.name.clone());
        let tls = tls.map_err(|error| {
            log::warn!("TLS: {error}");
            Refuse
        })?;
        Ok(Step::Layer(Box::new(Encrypted(tls))))
    }
}

struct Encrypted(ClientConnection);

impl Encrypted {
    /// What the socket does not take now stays; `wants_write` tells.
    fn send(&mut self, wire: &mut Wire<'_>) -> io::Result<()> {
        while self.0.wants_write() {
            match self.0.write_tls(wire) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                other => drop(other?),
            }
        }
        Ok(())
    }
}

impl Layer for Encrypted {
    fn read(&mut self, wire: &mut Wire<'_>, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.0.reader().read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => return other,
            }
            // 0 is the end of the stream; whether it was an orderly one the reader tells.
            let ended = self.0.read_tls(wire)? == 0;
            let processed = self.0.process_new_packets();
            // Alerts, and answers of the handshake.
            self.send(wire)?;
            processed.map_err(|error| {
                log::warn!("TLS: {error}");
                io::Error::new(io::ErrorKind::InvalidData, error)
            })?;
            if ended {
                return match self.0.reader().read(buffer) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
                    other => other,
                };
            }
        }
    }

    fn write(&mut self, wire: &mut Wire<'_>, bytes: &[u8]) -> io::Result<usize> {
        let taken = self.0.writer().write(bytes)?;
        self.send(wire)?;
        match taken {
            0 if !bytes.is_empty() => Err(io::ErrorKind::WouldBlock.into()),
            taken => Ok(taken),
        }
    }

    fn flush(&mut self, wire: &mut Wire<'_>) -> io::Result<()> {
        self.send(wire)
    }

    fn wants_write(&self) -> bool {
        self.0.wants_write()
    }

    fn is_handshaking(&self) -> bool {
        self.0.is_handshaking()
    }

    fn finish(&mut self, wire: &mut Wire<'_>) -> io::Result<()> {
        self.0.send_close_notify();
        self.send(wire)
    }
}
