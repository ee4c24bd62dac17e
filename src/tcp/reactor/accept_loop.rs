//! A running acceptor: with a reactor behind it, or with code of the user's own.

use std::fmt;
use std::io;
use std::net::TcpStream;
use std::sync::Arc;
use std::thread::JoinHandle;

use socket2::Socket;

use super::acceptor::{Acceptor, AcceptorShared, Destination};
use super::admission::{Admission, Permit};
use super::config::Config;
use super::counters::Stats;
use super::handle::{join, spawn};
use super::poll::Poll;
use crate::tcp::{Address, Listener};

/// A thread that accepts connections within the limits. Dropping it closes the listeners.
///
/// A [`Reactor`](super::Reactor) has one inside. Started by itself it replaces everything that
/// would come after accepting: the connections go to a function, as sockets.
pub struct AcceptLoop {
    shared: Arc<AcceptorShared>,
    thread: Option<JoinHandle<()>>,
    addresses: Vec<Address>,
}

/// A connection as it was accepted.
#[derive(Debug)]
pub struct Accepted {
    /// The connection, non-blocking.
    pub socket: Socket,
    /// Who is at the other end.
    pub peer: Address,
    /// Which listener accepted it, by its position in the list given at the start.
    pub listener: usize,
    /// Counts the connection until it is dropped: keep it as long as the connection.
    pub permit: Permit,
}

impl Accepted {
    /// The connection as a blocking stream of the standard library.
    pub fn into_std(self) -> io::Result<(TcpStream, Permit)> {
        self.socket.set_nonblocking(false)?;
        Ok((self.socket.into(), self.permit))
    }
}

impl AcceptLoop {
    /// Starts the thread. `accept` is called on it for each connection, so it should hand the
    /// connection over and return. If it panics, that connection is closed and the next accepted.
    ///
    /// Of the configuration it uses the name, the limits, the clock, and `on_accept_error`.
    pub fn start<F>(config: &Config, listeners: Vec<Listener>, accept: F) -> io::Result<Self>
    where
        F: FnMut(Accepted) + Send + 'static,
    {
        Self::start_with(config, listeners, Destination::Function(Box::new(accept)))
    }

    pub(super) fn start_with(
        config: &Config,
        listeners: Vec<Listener>,
        destination: Destination,
    ) -> io::Result<Self> {
        if listeners.len() > usize::from(u16::MAX) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "too many listeners",
            ));
        }
        let addresses = listeners.iter().map(|l| l.local_addr().clone()).collect();
        let poll = Arc::new(Poll::new()?);
        let (limit, per_address) = (config.max_connections, config.max_per_address);
        let admission = Arc::new(Admission::new(Arc::clone(&poll), limit, per_address));
        let shared = Arc::new(AcceptorShared::new(poll, admission));
        let mut thread = None;
        if !listeners.is_empty() {
            let acceptor = Acceptor::new(Arc::clone(&shared), listeners, destination, config)?;
            thread = Some(spawn(format!("{}-accept", config.name), move || {
                acceptor.run();
            })?);
        }
        Ok(Self {
            shared,
            thread,
            addresses,
        })
    }

    /// Where it listens, in the order of the listeners given.
    pub fn local_addrs(&self) -> &[Address] {
        &self.addresses
    }

    /// Changes how many connections there may be. Takes effect at once, in both directions, and
    /// closes none; `Some(0)` accepts none, `None` as many as come.
    pub fn set_max_connections(&self, limit: Option<usize>) {
        self.shared.admission.set_limit(limit);
    }

    /// How many connections there may be.
    pub fn max_connections(&self) -> Option<usize> {
        self.shared.admission.limit()
    }

    /// Figures since the start; those of I/O threads are 0 here.
    pub fn stats(&self) -> Stats {
        let mut stats = Stats {
            open: self.shared.admission.open(),
            ..Stats::default()
        };
        stats.add_acceptor(&self.shared.counters);
        stats
    }

    /// Closes the listeners; the connections stay. Returns when nobody can connect any more.
    pub fn stop(&mut self) {
        self.shared.stop();
        if let Some(thread) = self.thread.take() {
            join(thread);
        }
    }
}

impl Drop for AcceptLoop {
    fn drop(&mut self) {
        self.stop();
    }
}

impl fmt::Debug for AcceptLoop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AcceptLoop")
            .field("addresses", &self.addresses)
            .finish_non_exhaustive()
    }
}
