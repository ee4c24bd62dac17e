//! The native connector: HTTP/1.1 on the I/O threads of `tcp`.
//!
//! # In scope
//! - `http1`: recognising requests in bytes; no socket, no clock.
//!
//! # Out of scope
//! - What a request means and what an answer says: `http`.
//! - Sockets, threads and pollers: `tcp`.

mod http1;
