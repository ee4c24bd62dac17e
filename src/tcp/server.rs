//! A server whose connections are run by handlers.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::handler::{Connection, Connections, Handler, Owner, Session, SessionConfig, Sessions};
use super::reactor::{CloseReason, Config, Io, Reactor, Refuse, Stats, Stopped, Waker};
use super::{Address, Listener};

/// How a [`Server`] runs.
#[derive(Clone, Debug, Default)]
pub struct ServerConfig {
    /// Threads, limits, buffers, and the time for closing.
    pub reactor: Config,
    /// What concerns the handlers.
    pub session: SessionConfig,
}

/// A running server; `M` is the type of its handlers' messages. Dropping it aborts all connections.
///
/// ```
/// use std::io::{BufRead, BufReader, Write};
/// use bayeux::tcp::codec::{LineDecoder, LineEncoder};
/// use bayeux::tcp::{Context, Handler, ListenOptions, Listener, Server, ServerConfig};
///
/// struct Shout;
///
/// impl Handler for Shout {
///     type Decoder = LineDecoder;
///     type Encoder = LineEncoder;
///     type Message = ();
///
///     fn codec(&mut self) -> (LineDecoder, LineEncoder) {
///         Default::default()
///     }
///
///     fn input(&mut self, line: String, ctx: &mut Context<'_, Self>) {
///         let _ = ctx.send(&line.to_uppercase());
///     }
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let listeners = Listener::bind_all("127.0.0.1:0", &ListenOptions::default())?;
/// let server = Server::start(&ServerConfig::default(), listeners, |_peer| Shout)?;
/// let address = server.local_addrs()[0].inet().ok_or("an IP address was asked for")?;
/// let mut client = std::net::TcpStream::connect(address)?;
/// client.write_all(b"hello\r\n")?;
/// let mut answer = String::new();
/// BufReader::new(&client).read_line(&mut answer)?;
/// assert_eq!(answer, "HELLO\r\n");
/// # Ok(())
/// # }
/// ```
pub struct Server<M> {
    reactor: Reactor,
    connections: Connections<M>,
}

impl<M: Send + 'static> Server<M> {
    /// Starts it. `make` makes the handler of a new connection, from the peer's address; it is
    /// called on the I/O threads.
    pub fn start<H, F>(config: &ServerConfig, listeners: Vec<Listener>, make: F) -> io::Result<Self>
    where
        H: Handler<Message = M>,
        F: Fn(&Address) -> H + Send + Sync + 'static,
    {
        let connections = Connections::new();
        let session = Arc::new(config.session.clone());
        let make = Arc::new(make);
        let reactor = Reactor::start(&config.reactor, listeners, |_, waker| {
            Sessions(ServerOwner {
                make: Arc::clone(&make),
                config: Arc::clone(&session),
                connections: connections.clone(),
                waker,
            })
        })?;
        Ok(Self {
            reactor,
            connections,
        })
    }

    /// Where it listens, in the order of the listeners given.
    pub fn local_addrs(&self) -> &[Address] {
        self.reactor.local_addrs()
    }

    /// The open connections.
    pub fn connections(&self) -> &Connections<M> {
        &self.connections
    }

    /// Changes how many connections there may be; see [`Reactor::set_max_connections`].
    pub fn set_max_connections(&self, limit: Option<usize>) {
        self.reactor.set_max_connections(limit);
    }

    /// How many connections there may be.
    pub fn max_connections(&self) -> Option<usize> {
        self.reactor.max_connections()
    }

    /// Figures since the start.
    pub fn stats(&self) -> Stats {
        self.reactor.stats()
    }

    /// Closes the listeners; the connections stay.
    pub fn stop_accepting(&mut self) {
        self.reactor.stop_accepting();
    }

    /// Accepts no more, tells the handlers with [`Handler::stopping`], waits until all connections
    /// have ended or `grace` is over, and aborts the rest. With [`Duration::MAX`] it waits for the
    /// last, however long that takes.
    pub fn shutdown(self, grace: Duration) -> Stopped {
        self.reactor.stop(grace)
    }
}

impl<M> fmt::Debug for Server<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("reactor", &self.reactor)
            .finish_non_exhaustive()
    }
}

struct ServerOwner<M, F> {
    make: Arc<F>,
    config: Arc<SessionConfig>,
    connections: Connections<M>,
    waker: Waker,
}

impl<H, F> Owner for ServerOwner<H::Message, F>
where
    H: Handler,
    F: Fn(&Address) -> H + Send + Sync + 'static,
{
    type Handler = H;

    fn begin(&mut self, io: &mut Io<'_>) -> Result<Session<H>, Refuse> {
        let handler = (self.make)(io.peer_addr());
        let peer = Some(io.peer_addr().clone());
        let id = self.connections.next_id();
        let connection = Connection::new(id, peer, self.config.mailbox, self.waker.clone());
        let list = Some(self.connections.clone());
        let session = Session::new(handler, connection.clone(), list, &self.config, io);
        self.connections.insert(connection);
        Ok(session)
    }

    fn stopping(&mut self, session: &mut Session<H>, io: &mut Io<'_>) {
        session.stopping(io);
    }

    fn ended(&mut self, session: Session<H>, reason: CloseReason) {
        session.closed(reason);
    }
}
