//! A generic TCP server and client component: listeners, I/O threads, connections.
//!
//! In scope: sockets (IPv4, IPv6, Unix), accepting within limits, reading and writing without
//! blocking, timers, half-close, graceful stop, counters. Out of scope: what the bytes mean; HTTP
//! and everything above it stand on this module and are not known here.
//!
//! Three layers, each of use by itself:
//!
//! - [`Listener`] binds an [`Address`]; a bind error goes to the caller.
//! - [`reactor`]: a fixed number of threads, each with one poller and one [`reactor::Service`] that
//!   gets every event of the thread's connections, as bytes. For servers that count instructions.
//! - [`Server`]: a [`Handler`] per connection gets items that a codec ([`codec`]) has made of the
//!   bytes, and messages that others post to it.
//! - [`preconnect`]: steps before a connection is opened, such as the PROXY protocol.
//! - [`client`]: the same handlers on connections that are made from here, and made again.
//! - `tls`, with the feature of that name: TLS for both.

mod address;
pub mod client;
pub mod codec;
mod handler;
mod listener;
pub mod preconnect;
pub mod reactor;
mod server;
#[cfg(feature = "tls")]
pub mod tls;

pub use address::{Address, InvalidAddress};
pub use client::{Client, ClientConfig, ClientHandler, Clients};
pub use handler::{
    Connection, ConnectionId, Connections, Context, Handler, PostError, PostErrorKind, SendError,
    SessionConfig,
};
pub use listener::{BindError, ListenOptions, Listener, SocketHook};
pub use server::{Server, ServerConfig};

pub use crate::util::{InvalidNetwork, Network};
