//! Knobs of connections with handlers.

use std::time::Duration;

/// How handlers and their connections are treated. Make one with [`SessionConfig::default`] and
/// change what differs.
#[derive(Clone, Debug)]
pub struct SessionConfig {
    /// Close a connection on which nothing has come and nothing was taken for so long. Default:
    /// never.
    pub idle_timeout: Option<Duration>,
    /// Close a connection from which no first item has come within this time. Default: never.
    pub handshake_timeout: Option<Duration>,
    /// Call [`Handler::high_water`](super::Handler::high_water) when so many bytes wait for the
    /// kernel. Default 256 KiB.
    pub high_mark: usize,
    /// After that, call [`Handler::low_water`](super::Handler::low_water) when so few wait. Default
    /// 64 KiB.
    pub low_mark: usize,
    /// Messages that may wait in the mailbox of a connection; further ones are given back to their
    /// sender. Default 1024.
    pub mailbox: usize,
    /// Items and messages that are handled per connection before the others have their turn.
    /// Default 64.
    pub per_turn: usize,
}

impl Default for SessionConfig {
    fn default() -> Self {
        Self {
            idle_timeout: None,
            handshake_timeout: None,
            high_mark: 256 << 10,
            low_mark: 64 << 10,
            mailbox: 1024,
            per_turn: 64,
        }
    }
}
