//! Bursts and faults: what the machine, the network and the peers can do to a running server.
//!
//! As a test each runs for a moment, with a tenth of the clients. For figures, run them at their
//! full size, on a release build, with nothing else on the machine:
//!
//! ```text
//! FAULTS_FULL=1 FAULTS_BIN=target/release/bayeux cargo test --test faults -- --nocapture
//! ```

#![cfg(unix)]
// Whatever goes wrong in a helper ends the test.
#![allow(clippy::unwrap_used)]

#[path = "faults/burst.rs"]
mod burst;
#[path = "faults/descriptors.rs"]
mod descriptors;
#[path = "abuse/good.rs"]
mod good;
#[path = "e2e/http.rs"]
#[allow(dead_code)]
mod http;
#[path = "faults/loris.rs"]
mod loris;
#[cfg(target_os = "linux")]
#[path = "faults/polls.rs"]
mod polls;
#[path = "abuse/priority.rs"]
mod priority;
#[path = "abuse/program.rs"]
#[allow(dead_code)]
mod program;
#[path = "faults/resets.rs"]
mod resets;
#[path = "faults/scale.rs"]
mod scale;
#[path = "faults/services.rs"]
mod services;
#[path = "faults/stopped.rs"]
mod stopped;
#[path = "faults/termination.rs"]
mod termination;
#[path = "native_ws/client.rs"]
#[allow(dead_code)]
mod websocket;
