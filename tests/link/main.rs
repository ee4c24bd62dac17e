//! Linked nodes: in this process on real sockets, and as processes of their own.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bridge;
#[path = "../common/mod.rs"]
mod common;
mod ending;
mod hostile;
mod hub;
mod nodes;
mod processes;
mod support;
#[cfg(feature = "tls")]
mod tls;
