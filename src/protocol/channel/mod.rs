//! Channels.
//!
//! In scope: names, patterns, which of them match.
//! Out of scope: who is subscribed, and finding many patterns at once (the broker's table).

mod name;
mod pattern;

pub use name::{ChannelKind, ChannelName, InvalidChannel};
pub(crate) use pattern::for_each_match;
pub use pattern::{Pattern, Tail};
