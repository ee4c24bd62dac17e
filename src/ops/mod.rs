//! Seeing inside a running server.
//!
//! In scope: [`Snapshot`], the numbers as plain data; [`Family`] and the text format of Prometheus;
//! what the system says about the process; the listener for `/healthz`, `/readyz` and `/metrics`.
//! Out of scope: collecting the numbers (`server` fills a [`Snapshot`] through a [`Source`]), and
//! deciding where to listen (`config`).
//!
//! ```
//! use bayeux::ops::{Snapshot, exposition};
//!
//! let snapshot = Snapshot { sessions: 3, ..Snapshot::default() };
//! assert!(exposition(&snapshot.families()).contains("\nbayeux_sessions 3\n"));
//! ```

mod exposition;
mod listener;
mod process;
mod routes;
mod snapshot;
mod unread;

pub use exposition::{Family, FamilyKind, Sample, exposition};
pub use listener::{OpsListener, Source};
pub use process::{Process, process};
pub use snapshot::Snapshot;
