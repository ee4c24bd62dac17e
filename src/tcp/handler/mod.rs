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

mod config;
mod context;
mod inbox;
mod registry;
mod session;

pub use config::SessionConfig;
pub use context::{Context, SendError};
pub(super) use inbox::Inbox;
pub use inbox::{Connection, ConnectionId, PostError, PostErrorKind};
pub use registry::Connections;
pub(super) use session::Session;

use super::codec::{DecodeError, Decoder, Encoder};
use super::reactor::CloseReason;

/// What happens on one connection. Each has its own value, so state is just fields.
///
/// All methods are called on the connection's I/O thread, one at a time, and must not block: they
/// hold up the other connections of that thread. What is sent during a call leaves together, when
/// it returns. A panic closes the connection with [`CloseReason::Panic`] and concerns no other.
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
    fn connected(&mut self, ctx: &mut Context<'_, Self>) {
        let _ = ctx;
    }

    /// An item has come. Not called after `shutdown` or while the input is paused.
    fn input(&mut self, item: <Self::Decoder as Decoder>::Item, ctx: &mut Context<'_, Self>);

    /// Something came that is no item. If the connection is still open afterwards, it goes on
    /// behind the error where that is possible, and is closed otherwise. The default closes it.
    fn invalid_input(&mut self, error: DecodeError, ctx: &mut Context<'_, Self>) {
        let _ = error;
        ctx.close_because(CloseReason::InvalidInput);
    }

    /// The peer has ended its stream, and all its items have been handled. It may still read.
    fn end_of_input(&mut self, ctx: &mut Context<'_, Self>) {
        ctx.shutdown();
    }

    /// Somebody has posted this.
    fn message(&mut self, message: Self::Message, ctx: &mut Context<'_, Self>) {
        let _ = (message, ctx);
    }

    /// The time given to [`Context::set_timer`] has come.
    fn timer(&mut self, timer: u32, ctx: &mut Context<'_, Self>) {
        let _ = (timer, ctx);
    }

    /// The kernel has taken everything that was sent: called after some of it had to wait, and
    /// after [`Context::notify_when_flushed`]. The place to send the next piece of a long stream.
    fn flushed(&mut self, ctx: &mut Context<'_, Self>) {
        let _ = ctx;
    }

    /// At least [`SessionConfig::high_mark`] bytes wait for the kernel.
    fn high_water(&mut self, ctx: &mut Context<'_, Self>) {
        let _ = ctx;
    }

    /// After that, at most [`SessionConfig::low_mark`] bytes wait.
    fn low_water(&mut self, ctx: &mut Context<'_, Self>) {
        let _ = ctx;
    }

    /// The server would like the connection to end; it has until the server's deadline. The default
    /// does nothing: the peer goes on as long as it may.
    fn stopping(&mut self, ctx: &mut Context<'_, Self>) {
        let _ = ctx;
    }

    /// The connection is gone. The default tells the log if it has failed.
    fn disconnected(&mut self, reason: CloseReason) {
        if reason.is_failure() {
            log::warn!("a connection ended: {reason}");
        }
    }
}
