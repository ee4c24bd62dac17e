//! A Bayeux (CometD) publish-subscribe server, synchronous and embeddable.

pub mod broker;
#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "client")]
pub mod client;
pub mod clock;
pub mod config;
pub mod connectors;
pub mod counters;
pub mod demo;
pub mod http;
pub mod ops;
pub mod protocol;
pub mod server;
pub mod tcp;
pub mod transport;

pub use server::{Server, ServerBuilder, StartError};
