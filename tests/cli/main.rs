//! The program, run as users run it.

#![cfg(all(feature = "cli", unix))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod call;
#[path = "../common/mod.rs"]
mod common;
mod link;
mod logs;
mod program;
mod refusals;
mod settings;
mod shell;
mod terminal;
#[cfg(feature = "tls")]
mod tls;
