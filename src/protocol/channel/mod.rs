//! Channels.
//!
//! In scope: names, patterns, which of them match.
//! Out of scope: who is subscribed, and finding many patterns at once (the broker's table).

mod name;
mod pattern;

pub use name::{ChannelKind, ChannelName, InvalidChannel};
#[cfg(any(test, feature = "client"))]
pub(crate) use pattern::expand;
pub use pattern::{Pattern, Tail};
