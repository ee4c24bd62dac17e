//! A server whose connections are run by handlers.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::handler::{Connection, Connections, Handler, Inbox, Session, SessionConfig};
use super::reactor::{CloseReason, Config, Io, Reactor, Refuse, Service, Stats, Stopped, Waker};
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
        let reactor = Reactor::start(&config.reactor, listeners, |_, waker| ServerService {
            make: Arc::clone(&make),
            config: Arc::clone(&session),
            connections: connections.clone(),
            waker,
            output: Vec::new(),
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

struct ServerService<H: Handler, F> {
    make: Arc<F>,
    config: Arc<SessionConfig>,
    connections: Connections<H::Message>,
    waker: Waker,
    output: Vec<u8>,
}

/// A session with what takes it off the list of connections, whatever becomes of it.
struct Listed<H: Handler> {
    session: Session<H>,
    entry: ListEntry<H::Message>,
}

struct ListEntry<M: Send + 'static> {
    connections: Connections<M>,
    inbox: Arc<Inbox<M>>,
}

impl<M: Send + 'static> Drop for ListEntry<M> {
    fn drop(&mut self) {
        self.inbox.close();
        self.connections.remove(self.inbox.id());
    }
}

impl<H, F> Service for ServerService<H, F>
where
    H: Handler,
    F: Fn(&Address) -> H + Send + Sync + 'static,
{
    type Conn = Box<Listed<H>>;

    fn open(&mut self, io: &mut Io<'_>) -> Result<Self::Conn, Refuse> {
        let handler = (self.make)(io.peer_addr());
        let peer = Some(io.peer_addr().clone());
        let id = self.connections.next_id();
        let inbox = Inbox::new(id, peer, self.config.mailbox, self.waker.clone());
        inbox.attach(io.key());
        self.connections.insert(Connection(Arc::clone(&inbox)));
        let connections = self.connections.clone();
        let entry = ListEntry {
            connections,
            inbox: Arc::clone(&inbox),
        };
        let list = Some(self.connections.clone());
        let mut session = Session::new(handler, inbox, list, &self.config, io.now());
        session.connected_or_panic(io, &mut self.output);
        Ok(Box::new(Listed { session, entry }))
    }

    fn input(&mut self, conn: &mut Self::Conn, io: &mut Io<'_>, input: &[u8]) -> usize {
        conn.session.input(io, &mut self.output, input)
    }

    fn end_of_input(&mut self, conn: &mut Self::Conn, io: &mut Io<'_>) {
        conn.session.end_of_input(io, &mut self.output);
    }

    fn woken(&mut self, conn: &mut Self::Conn, io: &mut Io<'_>) {
        conn.session.woken(io, &mut self.output);
    }

    fn timer(&mut self, conn: &mut Self::Conn, io: &mut Io<'_>) {
        conn.session.timer(io, &mut self.output);
    }

    fn progress(&mut self, conn: &mut Self::Conn, io: &mut Io<'_>) {
        conn.session.progress(io, &mut self.output);
    }

    fn drained(&mut self, conn: &mut Self::Conn, io: &mut Io<'_>) {
        conn.session.drained(io, &mut self.output);
    }

    fn stopping(&mut self, conn: &mut Self::Conn, io: &mut Io<'_>) {
        conn.session.stopping(io, &mut self.output);
    }

    fn closed(&mut self, conn: Self::Conn, reason: CloseReason) {
        let Listed { session, entry } = *conn;
        // Off the list first: who looks for the connection from now on does not find it.
        drop(entry);
        session.closed(reason);
    }
}
