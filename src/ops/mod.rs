//! Seeing inside a running server.
//!
//! In scope: the handler for `/healthz`, `/readyz` and `/metrics`; the text format of Prometheus;
//! what the system says about the process.
//! Out of scope: collecting the numbers (`server` does, as a [`Source`]), and listening (the
//! internal site, which a connector serves).

mod handler;
mod process;

pub(crate) use handler::{Source, handler};
