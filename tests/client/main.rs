//! The Bayeux client: against this server, and against a scripted one that misbehaves.

#![cfg(feature = "client")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../common/mod.rs"]
mod common;
mod end_to_end;
mod failures;
mod support;
#[cfg(target_os = "linux")]
mod threads;
#[cfg(feature = "client-tls")]
mod tls;
mod websocket;
mod wire;
