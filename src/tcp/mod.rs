//! A generic TCP server and client component: listeners, I/O threads, connections.
//!
//! In scope: sockets (IPv4, IPv6, Unix), accepting within limits, reading and writing without
//! blocking, timers, half-close, graceful stop, counters. Out of scope: what the bytes mean; HTTP
//! and everything above it stand on this module and are not known here.
//!
//! | File | What it holds |
//! |---|---|
//! | `address`, `listener` | [`Address`]; [`Listener`], bound or an error |
//! | [`reactor`] | I/O threads with a poller each, one [`reactor::Service`] per thread: bytes |
//! | `handler`, `server` | [`Server`], one [`Handler`] per connection: items and messages |
//! | [`client`] | the same handlers on connections that are made from here, and made again |
//! | [`codec`] | bytes to items and back |
//! | [`preconnect`] | steps before a connection is opened: allow-list, PROXY protocol |
//! | `tls` | with the feature of that name: TLS for servers and clients |
//!
//! Each of these is of use by itself. How bytes go in and out is told in [`reactor`].

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
pub use listener::{BindError, ListenOptions, Listener, SocketHook, StreamOptions};
pub use server::{Server, ServerConfig};

pub use crate::util::{InvalidNetwork, Network};
