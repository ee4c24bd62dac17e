//! The module `tcp` on real sockets.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod client;
#[path = "../common/mod.rs"]
mod common;
#[cfg(target_os = "linux")]
mod exhaustion;
mod handlers;
mod preconnect;
mod reactor;
mod server;
#[cfg(all(feature = "cli", unix))]
mod signal;
mod sockets;
mod stress;
mod support;
#[cfg(feature = "tls")]
mod tls;
