//! Seeing inside a running server.
//!
//! In scope: [`Snapshot`], the numbers as plain data; [`Family`] and the text format of Prometheus;
//! what the system says about the process; the handler for `/healthz`, `/readyz` and `/metrics`.
//! Out of scope: collecting the numbers (`server` fills a [`Snapshot`] through a [`Source`]), and
//! listening (the internal site, which a connector serves).
//!
//! ```
//! use bayeux::ops::{Snapshot, exposition};
//!
//! let snapshot = Snapshot { sessions: 3, ..Snapshot::default() };
//! assert!(exposition(&snapshot.families()).contains("\nbayeux_sessions 3\n"));
//! ```

mod exposition;
mod handler;
mod process;
mod snapshot;

pub use exposition::{Family, FamilyKind, Sample, exposition};
pub use handler::{Source, handler};
pub use process::{Process, process};
pub use snapshot::Snapshot;
