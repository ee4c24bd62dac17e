//! A node: the router, with threads, sockets and waiting.
//!
//! In scope: doing what the router asks for. Out of scope: deciding anything.
//!
//! | File | What it holds |
//! |---|---|
//! | `start` | [`Node`]: starting, listening, connecting, stopping |
//! | `handle` | [`Handle`]: posting, calling, exporting |
//! | `observing` | observers |
//! | `shared` | the router behind its lock, and what its effects do |
//! | `connection` | a connection of `tcp`: greeting, frames in, frames out |
//! | `threads` | workers, which run handlers and observers; the ticker |

mod connection;
mod handle;
mod observing;
mod shared;
mod start;
mod threads;

pub use handle::{Absent, Alias, Call, Export, Full, Handle, PostOptions};
pub use observing::Observing;
pub(crate) use shared::Shared;
pub use start::{Node, Outgoing};
