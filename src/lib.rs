//! A Bayeux (CometD) publish-subscribe server, synchronous and embeddable.

pub mod broker;
pub mod clock;
pub mod counters;
pub mod protocol;
pub mod transport;
