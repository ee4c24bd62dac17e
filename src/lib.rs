//! A Bayeux (CometD) publish-subscribe server, synchronous and embeddable.

pub mod broker;
pub mod clock;
pub mod config;
pub mod counters;
pub mod demo;
pub mod protocol;
pub mod transport;
