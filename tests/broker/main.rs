//! The broker without sockets: what it says to what, and what becomes of messages and sessions, on
//! a clock moved by hand.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../common/mod.rs"]
mod common;
mod conformance;
mod endings;
mod extensions;
mod hooks;
mod interleavings;
mod local_clients;
mod owners;
mod reentry;
mod requests;
mod sessions;
mod simulation;
mod streams;
mod stress;
