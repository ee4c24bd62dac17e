//! What the test programs share.

#![allow(dead_code, reason = "each program uses a part")]

pub(crate) mod alone;
pub(crate) mod certificates;
pub(crate) mod http;
#[cfg(feature = "tls")]
pub(crate) mod https;
pub(crate) mod ports;
#[cfg(feature = "cli")]
pub(crate) mod program;
pub(crate) mod rng;
pub(crate) mod wait;
pub(crate) mod websocket;
pub(crate) mod world;
