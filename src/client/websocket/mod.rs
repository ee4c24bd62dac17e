//! WebSocket: one connection for both lanes, kept by a thread of its own.
//!
//! - `link`: what the lanes and the connection know of each other: who waits for which reply.
//! - `socket`: the connection, as a handler of the module `tcp`.
//! - `pipe`: the bytes between the two libraries.
//!
//! The connection is made by the first exchange that needs it, and again by the first one after it
//! was lost; pauses between attempts are up to the session.

mod link;
mod pipe;
mod socket;

use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use parking_lot::Mutex;

use super::carrier::{Answer, Receiver, Request};
use super::error::{Error, Failure};
use super::machine::Lane;
use super::options::Options;
use super::peer::Peer;
use crate::tcp::reactor::{Config, ConnectOptions};
use crate::tcp::{Client, ClientConfig, Clients, SessionConfig};
use link::Link;
use socket::{Batch, Command, Socket};

/// See the module.
pub(crate) struct WebSocket {
    peer: Arc<Peer>,
    config: ClientConfig,
    receiver: OnceLock<Weak<dyn Receiver>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The thread; there is none until it is needed.
    clients: Option<Clients<Socket>>,
    current: Option<Current>,
    closed: bool,
}

#[derive(Clone)]
struct Current {
    link: Arc<Link>,
    socket: Arc<Client<Command>>,
}

impl WebSocket {
    /// Does not connect.
    pub(crate) fn new(peer: Arc<Peer>, options: &Options) -> Result<Self, Error> {
        Ok(Self {
            config: config(&peer, options)?,
            peer,
            receiver: OnceLock::new(),
            state: Mutex::default(),
        })
    }

    pub(crate) fn attach(&self, receiver: Weak<dyn Receiver>) {
        let _ = self.receiver.set(receiver);
    }

    /// Sends a batch, and waits until all its replies have come.
    pub(crate) fn exchange(&self, lane: Lane, request: &Request) -> Result<Answer, Failure> {
        let Current { link, socket } = self.current()?;
        let number = link.expect(lane, &request.ids);
        let body = request.body.clone();
        let batch = Batch { lane, number, body };
        if socket.post(Command::Send(batch)).is_err() {
            link.end(Failure::Connect("the connection has ended".into()));
        }
        let outcome = link.wait(lane, self.peer.network_timeout, request.hold);
        if outcome == Err(Failure::Timeout) && lane == Lane::Poll {
            // A connection on which the connect is not answered is dead, whatever TCP says.
            link.end(Failure::Timeout);
            socket.connection().abort();
            socket.shutdown();
        }
        outcome.map(|()| Answer::default())
    }

    pub(crate) fn close(&self) {
        let current = {
            let mut state = self.state.lock();
            state.closed = true;
            state.current.take()
        };
        if let Some(Current { link, socket }) = current {
            let open = link.is_open();
            link.end(Failure::Connect("the client is closed".into()));
            if !(open && socket.post(Command::Close).is_ok()) {
                socket.shutdown();
            }
        }
    }

    pub(crate) fn join(&self, timeout: Duration) {
        let clients = self.state.lock().clients.take();
        if let Some(clients) = clients {
            clients.shutdown(timeout);
        }
    }

    /// The connection, or a new one that is being made.
    fn current(&self) -> Result<Current, Failure> {
        let failed = |why: &str| Failure::Connect(why.into());
        let mut state = self.state.lock();
        if state.closed {
            return Err(failed("the client is closed"));
        }
        if let Some(current) = &state.current {
            if !current.link.has_ended() {
                return Ok(current.clone());
            }
        }
        let clients = match state.clients.take() {
            Some(clients) => clients,
            None => Clients::start(&self.config).map_err(|error| failed(&error.to_string()))?,
        };
        let link = Arc::new(Link::default());
        let receiver = self.receiver.get().cloned();
        let receiver = receiver.ok_or_else(|| failed("not started"))?;
        let handler = Socket::new(Arc::clone(&self.peer), Arc::clone(&link), receiver);
        let socket = Arc::new(clients.connect(&self.peer.endpoint.target(), handler));
        state.clients = Some(clients);
        Ok(state.current.insert(Current { link, socket }).clone())
    }
}

fn config(peer: &Peer, options: &Options) -> Result<ClientConfig, Error> {
    let network = options.network_timeout;
    #[cfg(feature = "client-tls")]
    let pre_connect = match peer.endpoint.is_secure() {
        true => Arc::new([super::tls::step(peer)?]) as Arc<[_]>,
        false => Arc::new([]) as Arc<[_]>,
    };
    #[cfg(not(feature = "client-tls"))]
    let pre_connect = {
        let _ = peer;
        Arc::new([])
    };
    Ok(ClientConfig {
        reactor: Config {
            name: "bayeux-ws".into(),
            threads: 1,
            // What may be under way is bounded by the client's queue.
            write_buffer: options.queue_bytes.saturating_mul(2).max(1 << 20),
            read_buffer: 16 << 10,
            write_timeout: Some(network),
            close_timeout: options.linger,
            linger: options.linger.min(LINGER),
            pre_connect_timeout: network,
            ..Config::default()
        },
        session: SessionConfig::default(),
        connect: ConnectOptions {
            pre_connect,
            ..ConnectOptions::default()
        },
        connect_timeout: network,
        ..ClientConfig::default()
    })
}

/// How long to wait for a server that does not close its end. After the closing handshake nothing
/// of worth is under way.
const LINGER: Duration = Duration::from_millis(300);
