//! Connectors: what carries requests from sockets to the `http` module, and answers back.
//!
//! # In scope
//! - [`native`]: HTTP/1.1 on the reactor of `tcp`; the default for public listeners.
//! - [`tiny_http`]: an adapter for the crate of that name; small, portable, for few connections.
//!
//! # Out of scope
//! - What a request means: `http` and below.
//! - Sockets, threads and pollers: `tcp`.

#[cfg(feature = "native")]
pub(crate) mod native;
#[cfg(feature = "tiny-http")]
pub(crate) mod tiny_http;
