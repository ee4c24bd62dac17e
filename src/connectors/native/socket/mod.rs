//! Connections that have become WebSockets.
//!
//! Frames are executed in order; messages and answers leave as they come, all that there is for a
//! connection in one write. While the kernel has not taken a write, nothing more is read from,
//! collected for or written to that connection: so a slow reader holds up one flight of messages
//! and its own requests, nobody else's.
//!
//! # In scope
//! - `service`: what happens to a socket when.
//! - `state`: what is kept for one; what it waits for, and how it ends.
//! - `writer`: putting together what leaves in one write.
//!
//! # Out of scope
//! - Frames: `websocket`. What they mean: `http` and below.

mod service;
mod state;
mod writer;

pub(super) use service::Sockets;
pub(super) use state::Socket;
