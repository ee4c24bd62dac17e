//! The native connector: HTTP/1.1, WebSocket and EventSource on the I/O threads of `tcp`.
//!
//! # In scope
//! - `http1`: recognising requests in bytes; no socket, no clock.
//! - `reading`, `answers`, `sending`: a connection's three parts, from bytes to requests, from
//!   requests to answers in order, from answers to bytes.
//! - `connection`, `service`, `requests`: what is kept for a connection, what happens to it when,
//!   and what is done with its input.
//! - `unread`: whose sessions wait until a slow peer has received what was written.
//! - `websocket`: frames and the opening handshake; no socket, no clock.
//! - `socket`, `events`: connections that have become WebSockets and streams of events.
//! - `front`: tells the three kinds of connections apart.
//! - `config`, `shared`, `running`: knobs, limits over all connections, start and stop.
//!
//! # Out of scope
//! - What a request means and what an answer says: `http`.
//! - Sockets, threads and pollers: `tcp`.

mod answers;
mod config;
mod connection;
mod events;
mod front;
mod http1;
mod reading;
mod requests;
mod running;
mod sending;
mod service;
mod shared;
mod socket;
mod told;
mod unread;
mod websocket;

pub use config::NativeConfig;
pub use running::{NativeStats, Running, start};
