//! A connection of `rustls` as a layer.

use std::fmt;
use std::io::{self, Read, Write};

use rustls::Connection;

use crate::tcp::reactor::{Layer, Wire};

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

    fn wants_write(&self) -> bool {
        self.tls.wants_write()
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
