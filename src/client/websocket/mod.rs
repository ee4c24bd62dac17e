//! WebSocket: one connection for all requests, kept by a thread of its own. `socket` is the
//! connection, as a handler of the module `tcp`.
//!
//! The connection is made by the first request that needs it, and again by the first one after it
//! was lost; pauses between attempts are up to the session.

mod socket;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;

use super::error::{Error, Failure};
use super::message::Message;
use super::model::Request;
use super::peer::Peer;
use crate::tcp::reactor::{Config, ConnectOptions, PreConnect};
use crate::tcp::{Client, ClientConfig, Clients};
use socket::{Command, Socket};

/// Who is told what happens on a WebSocket, which has a number.
pub(crate) trait Owner: Send + Sync {
    /// It can be used now.
    fn opened(&self, socket: u64);

    /// The request of that number is about to leave. `false`: it must not, for it was given up.
    fn departs(&self, request: u64) -> bool;

    /// Messages came, in their order.
    fn received(&self, messages: &[Message]);

    /// It is over, or never came about. The first reason counts.
    fn closed(&self, socket: u64, failure: &Failure);
}

/// See the module.
pub(crate) struct WebSocket {
    peer: Arc<Peer>,
    config: ClientConfig,
    owner: Weak<dyn Owner>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The thread; there is none until it is needed.
    clients: Option<Clients<Socket>>,
    current: Option<Current>,
    closed: bool,
}

struct Current {
    number: u64,
    open: Arc<AtomicBool>,
    client: Arc<Client<Socket>>,
}

impl WebSocket {
    /// Does not connect.
    pub(crate) fn new(peer: Arc<Peer>, config: ClientConfig, owner: Weak<dyn Owner>) -> Self {
        Self {
            peer,
            config,
            owner,
            state: Mutex::default(),
        }
    }

    /// Sends a request through the WebSocket of that number, as soon as that is open.
    pub(crate) fn send(&self, number: u64, request: Request) {
        let posted = self.client(number).and_then(|client| {
            client
                .post(Command::Send(request))
                .map_err(|_| "the connection has ended".into())
        });
        if let (Err(why), Some(owner)) = (posted, self.owner.upgrade()) {
            owner.closed(number, &Failure::Connect(why));
        }
    }

    pub(crate) fn close(&self) {
        let current = {
            let mut state = self.state.lock();
            state.closed = true;
            state.current.take()
        };
        if let Some(Current { open, client, .. }) = current {
            let open = open.load(Ordering::Acquire);
            if !(open && client.post(Command::Close).is_ok()) {
                client.shutdown();
            }
        }
    }

    pub(crate) fn join(&self, timeout: Duration) {
        let clients = self.state.lock().clients.take();
        if let Some(clients) = clients {
            clients.shutdown(timeout);
        }
    }

    /// The connection of that number, which is made if it is new.
    fn client(&self, number: u64) -> Result<Arc<Client<Socket>>, String> {
        let mut state = self.state.lock();
        if state.closed {
            return Err("the client is closed".into());
        }
        match state.current.take() {
            Some(current) if current.number >= number => {
                return Ok(Arc::clone(&state.current.insert(current).client));
            }
            // It is over, or was given up as dead.
            Some(current) => current.client.shutdown(),
            None => {}
        }
        let clients = match state.clients.take() {
            Some(clients) => clients,
            None => Clients::start(&self.config).map_err(|error| error.to_string())?,
        };
        let (peer, open) = (Arc::clone(&self.peer), Arc::default());
        let socket = Socket::new(peer, number, Arc::clone(&open), Weak::clone(&self.owner));
        let client = Arc::new(clients.connect(&self.peer.endpoint.target(), socket));
        state.clients = Some(clients);
        state.current = Some(Current {
            number,
            open,
            client: Arc::clone(&client),
        });
        Ok(client)
    }
}

/// How connections to the peer are made.
pub(crate) fn config(peer: &Peer) -> Result<ClientConfig, Error> {
    let (options, network) = (&peer.options, peer.options.network_timeout);
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
        connect: ConnectOptions {
            pre_connect: pre_connect(peer)?,
            ..ConnectOptions::default()
        },
        connect_timeout: network,
        ..ClientConfig::default()
    })
}

fn pre_connect(peer: &Peer) -> Result<Arc<[Arc<dyn PreConnect>]>, Error> {
    #[cfg(feature = "client-tls")]
    if peer.endpoint.is_secure() {
        return Ok(Arc::new([super::tls::step(peer)?]));
    }
    let _ = peer;
    Ok(Arc::new([]))
}

/// How long to wait for a server that does not close its end. After the closing handshake nothing
/// of worth is under way.
const LINGER: Duration = Duration::from_millis(300);
