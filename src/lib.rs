//! A Bayeux (CometD) publish-subscribe server, synchronous and embeddable.

pub mod clock;
pub mod connectors;
pub mod transport;
