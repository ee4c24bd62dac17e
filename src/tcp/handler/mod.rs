//! Connections as handlers: items instead of bytes, with state and a mailbox of their own.
//!
//! In scope: running a [`Handler`] and its codec on a connection of a reactor, several timers,
//! water marks, idle and handshake timeouts, mailboxes, the list of connections. Out of scope:
//! where connections come from; see [`Server`](super::Server) and [`Client`](super::Client).
//!
//! ```text
//!              connected
//!                  |
//!   input, message, timer, flushed, high_water, low_water, invalid_input, stopping   (any order)
//!                  |
//!   end_of_input (when the peer has ended its stream; the default is shutdown)
//!                  |
//!            disconnected (always, once, with the reason)
//! ```
//!
//! | File | What it holds |
//! |---|---|
//! | `mod` | [`Handler`], [`SessionConfig`] |
//! | `connection` | [`Connection`]: the mailbox, for others; [`Connections`], a server's list |
//! | `context` | [`Context`]: what a handler can do while it is called |
//! | `session` | a handler on its connection: from the reactor's events to the handler's |
//! | `timers` | the timers that it has set |

mod connection;
mod context;
mod session;
mod timers;

pub use connection::{Connection, ConnectionId, Connections, PostError, PostErrorKind};
pub use context::{Context, SendError};
pub(super) use session::{Owner, Session, Sessions};

use std::time::Duration;

use super::codec::{DecodeError, Decoder, Encoder};
use super::reactor::CloseReason;

/// What happens on one connection. Each has its own value, so state is just fields.
///
/// All methods are called on the connection's I/O thread, one at a time, and must not block: they
/// hold up the other connections of that thread. What is sent during a call leaves together, when
/// it returns. A panic closes the connection with [`CloseReason::Panic`] and concerns no other.
#[allow(unused_variables, reason = "the names are for implementers")]
pub trait Handler: Sized + Send + 'static {
    /// Makes items of what comes.
    type Decoder: Decoder;
    /// Makes bytes of what is sent.
    type Encoder: Encoder;
    /// What other threads, and other connections, can post to it; see [`Connection::post`].
    type Message: Send + 'static;

    /// The codec to begin with. It can be changed later: [`Context::set_decoder`].
    fn codec(&mut self) -> (Self::Decoder, Self::Encoder);

    /// The connection is ready. The place for a greeting.
    fn connected(&mut self, ctx: &mut Context<'_, Self>) {}

    /// An item has come. Not called after `shutdown` or while the input is paused.
    fn input(&mut self, item: <Self::Decoder as Decoder>::Item, ctx: &mut Context<'_, Self>);

    /// Something came that is no item. If the connection is still open afterwards, it goes on
    /// behind the error where that is possible, and is closed otherwise. The default closes it.
    fn invalid_input(&mut self, error: DecodeError, ctx: &mut Context<'_, Self>) {
        ctx.close_because(CloseReason::InvalidInput);
    }

    /// The peer has ended its stream, and all its items have been handled. It may still read.
    fn end_of_input(&mut self, ctx: &mut Context<'_, Self>) {
        ctx.shutdown();
    }

    /// Somebody has posted this.
    fn message(&mut self, message: Self::Message, ctx: &mut Context<'_, Self>) {}

    /// The time given to [`Context::set_timer`] has come.
    fn timer(&mut self, timer: u32, ctx: &mut Context<'_, Self>) {}

    /// The kernel has taken everything that was sent: called after some of it had to wait, and
    /// after [`Context::notify_when_flushed`]. The place to send the next piece of a long stream.
    fn flushed(&mut self, ctx: &mut Context<'_, Self>) {}

    /// At least [`SessionConfig::high_mark`] bytes wait for the kernel.
    fn high_water(&mut self, ctx: &mut Context<'_, Self>) {}

    /// After that, at most [`SessionConfig::low_mark`] bytes wait.
    fn low_water(&mut self, ctx: &mut Context<'_, Self>) {}

    /// The server would like the connection to end; it has until the server's deadline. The default
    /// does nothing: the peer goes on as long as it may.
    fn stopping(&mut self, ctx: &mut Context<'_, Self>) {}

    /// The connection is gone. The default tells the log if it has failed.
    fn disconnected(&mut self, reason: CloseReason) {
        if reason.is_failure() {
            log::warn!("a connection ended: {reason}");
        }
    }
}

/// How handlers and their connections are treated. Make one with [`SessionConfig::default`] and
/// change what differs.
#[derive(Clone, Debug)]
pub struct SessionConfig {
    /// Close a connection on which nothing has come and nothing was taken for so long. Default:
    /// never.
    pub idle_timeout: Option<Duration>,
    /// Close a connection from which no first item has come within this time. Default: never.
    pub handshake_timeout: Option<Duration>,
    /// Call [`Handler::high_water`] when so many bytes wait for the kernel. Default 256 KiB.
    pub high_mark: usize,
    /// After that, call [`Handler::low_water`] when so few wait. Default 64 KiB.
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
