//! The native connector on real sockets: what a client sees of its queues, limits and timeouts.
//! What every connector does alike is tested in `tests/http`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../common/mod.rs"]
mod common;
mod http;
mod websocket;
