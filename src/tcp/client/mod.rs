//! Clients: the same handlers as on a server, on connections that are made from here and made again
//! when they are lost.
//!
//! In scope: connecting within a time, resolving names, reconnecting with growing waits, ending for
//! good. Out of scope: what the connections are for.
//!
//! ```text
//!            +--> resolving --> connecting --connected--> open --disconnected--+
//!            |        |             |                                          |
//!            |        +-------------+--connect_failed--> waiting <-------------+
//!            +------------------------------------------------+
//!   shutdown, or Retry::Never: ended, from every state
//! ```

mod service;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::tcp::handler::{Connection, ConnectionId, Handler, PostError, SessionConfig, Sessions};
use crate::tcp::reactor::{CloseReason, Config, ConnectOptions, Reactor, Stats, Stopped};
use crate::tcp::{Address, InvalidAddress};

pub use crate::util::Backoff;
use service::{ClientOwner, Command, Commands, Lifecycle};

/// A handler that can be run on connections of a client. It is the same value for all connections
/// that follow each other, so its state is kept.
#[allow(unused_variables, reason = "the names are for implementers")]
pub trait ClientHandler: Handler {
    /// No connection could be made: the error of the last address tried.
    fn connect_failed(&mut self, error: &ConnectError) -> Retry {
        Retry::Backoff
    }

    /// What to do after a connection has ended, of which [`Handler::disconnected`] has just been
    /// told.
    fn after_disconnect(&mut self, reason: CloseReason) -> Retry {
        Retry::Backoff
    }
}

/// When to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// After the wait that [`ClientConfig::backoff`] gives.
    Backoff,
    /// At once.
    Now,
    /// After a fixed wait.
    After(Duration),
    /// Not again: the client ends.
    Never,
}

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectError {
    /// The name could not be resolved.
    Resolve(InvalidAddress),
    /// The connection was not made: refused, not in time, or ended by a step before it was opened.
    Failed {
        /// Where it was to go.
        address: Address,
        /// Why not.
        reason: CloseReason,
    },
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resolve(error) => error.fmt(f),
            Self::Failed { address, reason } => write!(f, "{address}: {reason}"),
        }
    }
}

impl std::error::Error for ConnectError {}

/// How clients run.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// Threads and buffers. Default: one thread, named `client`.
    pub reactor: Config,
    /// What concerns the handlers.
    pub session: SessionConfig,
    /// Options of the connections.
    pub connect: ConnectOptions,
    /// How long an attempt may take, per address. Default 10 s.
    pub connect_timeout: Duration,
    /// The waits of [`Retry::Backoff`]. They begin anew after a connection that lasted longer than
    /// the wait before it.
    pub backoff: Backoff,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            reactor: Config {
                name: "client".into(),
                threads: 1,
                ..Config::default()
            },
            session: SessionConfig::default(),
            connect: ConnectOptions::default(),
            connect_timeout: Duration::from_secs(10),
            backoff: Backoff::default(),
        }
    }
}

/// The clients' side of the threads. Dropping it ends the clients, so that none comes back while
/// its thread ends.
struct Threads<H: ClientHandler>(Vec<Arc<Commands<H>>>);

impl<H: ClientHandler> Drop for Threads<H> {
    fn drop(&mut self) {
        for thread in &self.0 {
            thread.push(Command::ShutdownAll);
        }
    }
}

/// The threads on which clients with handlers of one type run. Dropping it ends them all.
pub struct Clients<H: ClientHandler> {
    /// Dropped before the reactor.
    threads: Threads<H>,
    reactor: Reactor,
    next_id: AtomicU64,
    mailbox: usize,
}

impl<H: ClientHandler> Clients<H> {
    /// Starts the threads.
    pub fn start(config: &ClientConfig) -> io::Result<Self> {
        let config = Arc::new(config.clone());
        let mut threads = Vec::new();
        let reactor = Reactor::start(&config.reactor, Vec::new(), |_, waker| {
            let commands = Arc::new(Commands::new(waker));
            threads.push(Arc::clone(&commands));
            Sessions(ClientOwner::new(commands, Arc::clone(&config)))
        })?;
        Ok(Self {
            reactor,
            threads: Threads(threads),
            next_id: AtomicU64::new(1),
            mailbox: config.session.mailbox,
        })
    }

    /// Adds a client for `target`: an address, or `name:port`, which is resolved for every attempt.
    /// Returns at once; the handler is told what comes of it.
    pub fn connect(&self, target: &str, handler: H) -> Client<H> {
        let number = self.next_id.fetch_add(1, Ordering::Relaxed);
        let id = ConnectionId(number);
        let threads = &self.threads.0;
        let commands = Arc::clone(&threads[number as usize % threads.len()]);
        let connection = Connection::new(id, None, self.mailbox, commands.waker.clone());
        let lifecycle = Lifecycle::new(target, handler, connection.clone());
        commands.push(Command::Add(id, lifecycle));
        Client {
            connection,
            commands,
            threads: None,
        }
    }

    /// Figures since the start.
    pub fn stats(&self) -> Stats {
        self.reactor.stats()
    }

    /// Ends all clients: what was sent is flushed, within `grace`.
    pub fn shutdown(self, grace: Duration) -> Stopped {
        let Self {
            reactor, threads, ..
        } = self;
        drop(threads);
        reactor.stop(grace)
    }
}

impl<H: ClientHandler> fmt::Debug for Clients<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clients")
            .field("threads", &self.threads.0.len())
            .finish_non_exhaustive()
    }
}

/// A client: one connection, and those that replace it. For any thread.
///
/// Dropping it does not end the client, except when it was made by [`Client::start`].
pub struct Client<H: ClientHandler> {
    connection: Connection<H::Message>,
    commands: Arc<Commands<H>>,
    /// They end with the client; for one that has its threads to itself.
    threads: Option<Clients<H>>,
}

impl<H: ClientHandler> Client<H> {
    /// Starts a client with threads of its own; see [`Clients::connect`].
    pub fn start(config: &ClientConfig, target: &str, handler: H) -> io::Result<Self> {
        let clients = Clients::start(config)?;
        let mut client = clients.connect(target, handler);
        client.threads = Some(clients);
        Ok(client)
    }

    /// Posts a message to the handler. While there is no connection it waits for the next one.
    pub fn post(&self, message: H::Message) -> Result<(), PostError<H::Message>> {
        self.connection.post(message)
    }

    /// The handle to be given to others. Its `shutdown` and `abort` concern the present connection
    /// only, and do nothing while there is none.
    pub fn connection(&self) -> Connection<H::Message> {
        self.connection.clone()
    }

    /// Ends a wait: the next attempt is made now.
    pub fn reconnect(&self) {
        self.commands.push(Command::Reconnect(self.connection.id()));
    }

    /// Ends the client for good, in whatever state it is. An open connection is flushed first.
    pub fn shutdown(&self) {
        self.commands.push(Command::Shutdown(self.connection.id()));
    }

    /// As [`Client::shutdown`]; a client with threads of its own then waits, at most for `grace`,
    /// until its connection is closed.
    pub fn close(mut self, grace: Duration) {
        self.shutdown();
        if let Some(threads) = self.threads.take() {
            threads.shutdown(grace);
        }
    }

    /// Whether the client has not ended: it is connected, or tries to be.
    pub fn is_running(&self) -> bool {
        self.connection.is_open()
    }
}

impl<H: ClientHandler> fmt::Debug for Client<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("connection", &self.connection)
            .finish_non_exhaustive()
    }
}
