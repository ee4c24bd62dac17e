//! A Bayeux (CometD) publish-subscribe server, synchronous and embeddable.

pub mod clock;
pub mod config;
pub mod ops;
pub mod transport;
