//! A Bayeux (CometD) publish-subscribe server, synchronous and embeddable.

#[cfg(feature = "client")]
pub mod client;
pub mod clock;
pub mod protocol;
pub mod transport;
