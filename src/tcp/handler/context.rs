//! What a handler can do with its connection while it is called.

use std::fmt;
use std::mem;
use std::ops::Deref;
use std::time::{Duration, Instant};

use super::Handler;
use super::connection::{Connection, ConnectionId, Connections};
use super::session::SessionState;
use crate::tcp::codec::{EncodeError, Encoder};
use crate::tcp::reactor::{CloseReason, Io, Layer, SecondLayer, WriteError};

/// The connection of a handler, lent to one call. What only asks, such as [`Io::peer_addr`], is
/// asked of the [`Io`] that it dereferences to.
pub struct Context<'a, H: Handler> {
    pub(super) io: Io<'a>,
    pub(super) state: &'a mut SessionState<H>,
}

impl<'a, H: Handler> Deref for Context<'a, H> {
    type Target = Io<'a>;

    fn deref(&self) -> &Io<'a> {
        &self.io
    }
}

impl<H: Handler> Context<'_, H> {
    /// Sends an item. All or nothing: on an error none of it is sent.
    pub fn send(&mut self, item: &<H::Encoder as Encoder>::Item) -> Result<(), SendError> {
        self.append(|encoder, output| encoder.encode(item, output))
    }

    /// Sends bytes as they are, past the encoder.
    pub fn send_bytes(&mut self, bytes: &[u8]) -> Result<(), SendError> {
        self.append(|_, output| {
            output.extend_from_slice(bytes);
            Ok(())
        })
    }

    /// Adds to what was sent during this call, if there is room for it.
    fn append(
        &mut self,
        encode: impl FnOnce(&mut H::Encoder, &mut Vec<u8>) -> Result<(), EncodeError>,
    ) -> Result<(), SendError> {
        if !self.io.is_writable() {
            return Err(SendError::Write(WriteError::Closed));
        }
        let mark = self.io.gathered().len();
        encode(&mut self.state.encoder, self.io.gathered()).map_err(SendError::Encode)?;
        if !self.has_room(mark) && mark > 0 {
            // The kernel may take what was sent before it.
            let item = self.io.gathered().split_off(mark);
            self.io.flush_gathered();
            self.io.gathered().extend_from_slice(&item);
        }
        if !self.has_room(0) {
            self.io.gathered().clear();
            let (pending, limit) = (self.io.pending_write(), self.io.write_limit());
            return Err(SendError::Write(WriteError::Full { pending, limit }));
        }
        if self.io.gathered().len() >= FLUSH_AT {
            self.io.flush_gathered();
        }
        Ok(())
    }

    /// The same rule as the write buffer's: a single item always fits if nothing waits.
    fn has_room(&mut self, mark: usize) -> bool {
        let all = self.io.pending_write();
        let pending = all - self.io.gathered().len();
        (pending == 0 && mark == 0) || all <= self.io.write_limit()
    }

    /// Has [`Handler::flushed`] called when the kernel has taken everything, even if nothing has to
    /// wait; then in a later turn, so that a long stream leaves time for others.
    pub fn notify_when_flushed(&mut self) {
        self.state.notify_flushed = true;
    }

    /// Replaces the decoder; what has come and was not decoded goes to the new one, but for what
    /// the old one would have swallowed, as the LF of a line that its CR has ended.
    pub fn set_decoder(&mut self, decoder: H::Decoder) {
        self.state.end_decoder();
        self.state.decoder = decoder;
    }

    /// Replaces the encoder.
    pub fn set_encoder(&mut self, encoder: H::Encoder) {
        self.state.encoder = encoder;
    }

    /// Puts a layer under the connection, for example TLS after STARTTLS. What was sent before goes
    /// without it, however long the peer takes; what has come and was not decoded goes to the
    /// layer, so that nothing of it is taken for something that came through it; but for what the
    /// decoder would have swallowed, which is skipped.
    ///
    /// # Errors
    /// There is a layer already, perhaps of a step before the connection was opened; it stays.
    pub fn set_layer(&mut self, layer: Box<dyn Layer>) -> Result<(), SecondLayer> {
        self.io.flush_gathered();
        self.io.set_layer(layer, Vec::new())?;
        self.state.end_decoder();
        self.io.skip_early(mem::take(&mut self.state.tail));
        let early = mem::take(self.io.unconsumed_mut());
        self.io.push_early(&early);
        self.state.layer_begun = true;
        Ok(())
    }

    /// Wants no items for now. The peer is stopped by flow control when enough has been read ahead.
    pub fn pause_input(&mut self) {
        self.io.pause_input();
    }

    /// Wants items again.
    pub fn resume_input(&mut self) {
        self.io.resume_input();
    }

    /// Closes the connection in order: no items from now on, what was sent is delivered, within the
    /// deadline of [`Config::close_timeout`](crate::tcp::reactor::Config::close_timeout).
    pub fn shutdown(&mut self) {
        self.io.flush_gathered();
        self.io.close_when_flushed();
    }

    /// Ends our stream after what was sent; items of the peer are still handled.
    pub fn shutdown_output(&mut self) {
        self.io.flush_gathered();
        self.io.shutdown_write();
    }

    /// Closes the connection at once. What the kernel has not taken is lost.
    pub fn abort(&mut self) {
        self.io.gathered().clear();
        self.io.abort();
    }

    pub(super) fn close_because(&mut self, reason: CloseReason) {
        self.io.flush_gathered();
        self.io.close_because(reason);
    }

    /// Has [`Handler::timer`] called with `timer` after a while, once. Replaces an earlier time of
    /// the same number; others go on. A time that no clock can show never comes.
    pub fn set_timer(&mut self, timer: u32, after: Duration) {
        match self.now().checked_add(after) {
            Some(at) => self.state.timers.set(timer, at),
            None => self.state.timers.cancel(timer),
        }
    }

    /// Forgets a timer.
    pub fn cancel_timer(&mut self, timer: u32) {
        self.state.timers.cancel(timer);
    }

    /// Changes how long the connection may be idle.
    pub fn set_idle_timeout(&mut self, timeout: Option<Duration>) {
        self.state.idle_timeout = timeout;
    }

    /// When the connection was opened.
    pub fn opened_at(&self) -> Instant {
        self.state.opened_at
    }

    /// The connection's name.
    pub fn id(&self) -> ConnectionId {
        self.state.connection.id()
    }

    /// A handle of the connection, to be given to others.
    pub fn connection(&self) -> Connection<H::Message> {
        self.state.connection.clone()
    }

    /// The server's open connections, this one included; for a client `None`.
    pub fn connections(&self) -> Option<&Connections<H::Message>> {
        self.state.connections.as_ref()
    }
}

/// Why an item was not sent. None of it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SendError {
    /// There is no room, or no connection.
    Write(WriteError),
    /// The encoder refuses it.
    Encode(EncodeError),
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Write(error) => error.fmt(f),
            Self::Encode(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for SendError {}

/// What is sent in one call is written in pieces of about this size.
const FLUSH_AT: usize = 64 << 10;
