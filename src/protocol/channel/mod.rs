//! Channels.
//!
//! In scope: names, patterns, which of them match.
//! Out of scope: who is subscribed, and finding many patterns at once (the broker's table).

mod name;
mod pattern;

pub use name::{ChannelKind, ChannelName, InvalidChannel, MAX_BYTES, MAX_SEGMENTS};
pub use pattern::{Pattern, Tail, expand};
