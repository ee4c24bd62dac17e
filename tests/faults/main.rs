//! Bursts and faults: what the machine, the network and the peers can do to a running server.
//!
//! As a test each runs for a moment, with a tenth of the clients. For figures, run them at their
//! full size, on a release build, with nothing else on the machine:
//!
//! ```text
//! FAULTS_FULL=1 FAULTS_BIN=target/release/bayeux cargo test --test faults -- --nocapture
//! ```

#![cfg(all(feature = "cli", unix))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod abuse;
mod burst;
#[path = "../common/mod.rs"]
mod common;
mod descriptors;
mod good;
mod internal;
mod logs;
mod loris;
#[cfg(target_os = "linux")]
mod owners;
#[cfg(target_os = "linux")]
mod polls;
mod priority;
mod program;
#[cfg(target_os = "linux")]
mod requests;
mod resets;
mod scale;
mod services;
#[cfg(target_os = "linux")]
mod siege;
#[cfg(target_os = "linux")]
mod stalled;
mod stopped;
mod tables;
mod termination;
#[cfg(target_os = "linux")]
mod turns;
