//! A node: the router, with threads, sockets and waiting.
//!
//! In scope: starting, listening, connecting, stopping; doing what the router asks for. Out of
//! scope: deciding anything.
//!
//! | File | What it holds |
//! |---|---|
//! | `handle` | [`Handle`]: posting, calling, exporting, observing |
//! | `inner` | the router behind its lock, what its effects do, and the threads that use it |
//! | `connection` | a connection of `tcp`: greeting, frames in, frames out |

mod connection;
mod handle;
mod inner;

use std::fmt;
use std::io;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use connection::{LinkConnection, Order};
pub use handle::{Absent, Call, Export, Full, Handle, Observing, PostOptions};
pub(crate) use inner::NodeInner;
use inner::Threads;

use crate::link::error::LinkEnd;
use crate::link::hello::Identity;
use crate::link::key::Role;
use crate::link::{Config, NodeId, names};
use crate::tcp::reactor::{Config as ReactorConfig, ConnectOptions};
use crate::tcp::{
    Address, Client, ClientConfig, Clients, ListenOptions, Listener, Server, ServerConfig,
    SessionConfig,
};

/// This process among those that are linked: any number of listeners and of outgoing links.
/// Dropping it ends it at once; [`shutdown`](Self::shutdown) lets it finish.
///
/// Everything else is done by its [`Handle`], to which it derefs.
pub struct Node {
    handle: Handle,
    config: Config,
    parts: Mutex<Parts>,
}

#[derive(Default)]
struct Parts {
    servers: Vec<Server<Order>>,
    clients: Option<Clients<LinkConnection>>,
    threads: Option<Threads>,
    stopped: bool,
}

impl Node {
    /// Starts it: with threads, without links.
    ///
    /// # Errors
    /// If the name is not valid, or the system gives no threads or random numbers.
    pub fn start(mut config: Config) -> io::Result<Self> {
        config.limits = config.limits.bounded();
        let id = NodeId::random().map_err(|error| io::Error::other(error.to_string()))?;
        let name = config
            .name
            .clone()
            .unwrap_or_else(|| format!("node-{}", &id.to_string()[..8]));
        names::check(&name).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let identity = Identity {
            id,
            name,
            max_frame: u32::try_from(config.limits.max_frame()).unwrap_or(u32::MAX),
            features: config.features.clone(),
            keys: config.keys.clone(),
            security: config.security.clone(),
        };
        let (jobs, work) = crossbeam_channel::unbounded();
        let inner = Arc::new(NodeInner::new(identity, config.limits.clone(), jobs));
        let threads = Threads::start(&inner, config.workers, &work)?;
        let parts = Parts {
            threads: Some(threads),
            ..Parts::default()
        };
        Ok(Self {
            handle: Handle::new(&inner, ""),
            config,
            parts: Mutex::new(parts),
        })
    }

    /// Listens for links on `address`, see [`Address::resolve`]; port 0 takes a free one. Returns
    /// the addresses in force.
    ///
    /// # Errors
    /// If one of the addresses cannot be listened on, or the node was shut down.
    pub fn listen(&self, address: &str) -> io::Result<Vec<Address>> {
        let listeners = Listener::bind_all(address, &ListenOptions::default())?;
        let reactor = ReactorConfig {
            max_connections: Some(self.config.max_connections),
            pre_connect: self.config.accept_steps.clone(),
            ..self.reactor("link-in")
        };
        let config = ServerConfig {
            reactor,
            session: SessionConfig::default(),
        };
        let inner = Arc::clone(&self.handle.inner);
        let make =
            move |peer: &Address| LinkConnection::new(&inner, Role::Listener, peer.to_string());
        let mut parts = self.parts.lock();
        if parts.stopped {
            return Err(stopped());
        }
        let server = Server::start(&config, listeners, make)?;
        let addresses = server.local_addrs().to_vec();
        parts.servers.push(server);
        Ok(addresses)
    }

    /// Keeps a link to the node at `address` (`ip:port`, `name:port` or `unix:/path`): it is made
    /// again whenever it is lost. Returns at once; [`Handle::observe`] tells how it fares.
    ///
    /// # Errors
    /// If the system gives no threads, or the node was shut down.
    pub fn connect(&self, address: &str) -> io::Result<Outgoing> {
        let mut parts = self.parts.lock();
        if parts.stopped {
            return Err(stopped());
        }
        if parts.clients.is_none() {
            let config = ClientConfig {
                reactor: self.reactor("link-out"),
                connect: ConnectOptions {
                    pre_connect: self.config.connect_steps.clone().into(),
                    ..ConnectOptions::default()
                },
                backoff: self.config.backoff,
                ..ClientConfig::default()
            };
            parts.clients = Some(Clients::start(&config)?);
        }
        let inner = &self.handle.inner;
        let handler = LinkConnection::new(inner, Role::Connector, address.to_owned());
        let clients = parts.clients.as_ref().ok_or_else(stopped)?;
        Ok(Outgoing(clients.connect(address, handler)))
    }

    fn reactor(&self, name: &str) -> ReactorConfig {
        let limits = &self.config.limits;
        ReactorConfig {
            name: name.to_owned(),
            threads: self.config.io_threads,
            // The router bounds what it has for a link.
            write_buffer: usize::MAX,
            input_buffer: limits.max_frame().saturating_mul(2),
            close_timeout: CLOSE,
            linger: LINGER,
            ..ReactorConfig::default()
        }
    }

    /// Ends the node: waits, at most for `grace`, until what was accepted has been handled by its
    /// receivers; then closes all links. Returns how many posts were not confirmed. Nothing can be
    /// sent, exported or connected afterwards, and nothing reconnects. A second call does nothing.
    pub fn shutdown(&self, grace: Duration) -> u64 {
        let mut parts = {
            let mut parts = self.parts.lock();
            if parts.stopped {
                return 0;
            }
            let stopped = Parts {
                stopped: true,
                ..Parts::default()
            };
            std::mem::replace(&mut *parts, stopped)
        };
        let inner = &self.handle.inner;
        let deadline = inner.after(grace);
        self.until(grace, |router| router.is_drained());
        let unconfirmed = inner.with(|router| {
            let unconfirmed = router.unconfirmed();
            router.stop();
            unconfirmed
        });
        inner.close_links();
        let left = || {
            deadline
                .saturating_duration_since(inner.now())
                .max(AT_LEAST)
        };
        if let Some(clients) = parts.clients.take() {
            clients.shutdown(left());
        }
        for server in parts.servers.drain(..) {
            server.shutdown(left());
        }
        if let Some(threads) = parts.threads.take() {
            threads.end(inner, left());
        }
        // They may hold handles, and so keep all of it alive.
        drop(inner.with(|router| router.events().take_observers()));
        unconfirmed
    }
}

impl Deref for Node {
    type Target = Handle;

    fn deref(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.shutdown(Duration::ZERO);
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node")
            .field("handle", &self.handle)
            .finish_non_exhaustive()
    }
}

/// A link that is made from here, and made again. Dropping this does not end it.
#[derive(Debug)]
pub struct Outgoing(Client<LinkConnection>);

impl Outgoing {
    /// Ends the link for good.
    pub fn close(&self) {
        // The peer is told, if there is one now.
        let _ = self.0.connection().post(Order::Close(LinkEnd::Closed));
        self.0.shutdown();
    }

    /// Ends a wait between two attempts: the next is made now.
    pub fn reconnect(&self) {
        self.0.reconnect();
    }
}

fn stopped() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "the node was shut down")
}

/// How long closing a link may take to flush what was said.
const CLOSE: Duration = Duration::from_secs(5);
/// How long to wait for the peer to close too.
const LINGER: Duration = Duration::from_millis(200);
/// Links are told that this end stops, even if there is no time.
const AT_LEAST: Duration = Duration::from_millis(100);
