//! A generic TCP server and client component: listeners, I/O threads, connections.
//!
//! In scope: sockets (IPv4, IPv6, Unix), accepting within limits, reading and writing without
//! blocking, timers, half-close, graceful stop, counters. Out of scope: what the bytes mean; HTTP
//! and everything above it stand on this module and are not known here.
//!
//! - [`Listener`] binds an [`Address`]; a bind error goes to the caller.
//! - [`reactor`] is the lowest layer: a fixed number of threads, each with one poller and one
//!   [`reactor::Service`] that gets every event of the thread's connections.

mod address;
mod listener;
pub mod reactor;

pub use address::{Address, InvalidAddress};
pub use listener::{BindError, ListenOptions, Listener, SocketHook};
