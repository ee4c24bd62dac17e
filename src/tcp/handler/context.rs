//! What a handler can do with its connection while it is called.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Handler;
use super::inbox::{Connection, ConnectionId};
use super::registry::Connections;
use super::session::State;
use crate::tcp::Address;
use crate::tcp::codec::{EncodeError, Encoder};
use crate::tcp::reactor::{CloseReason, Io, Layer, SecondLayer};

/// The connection of a handler, lent to one call.
pub struct Context<'a, H: Handler> {
    pub(super) io: Io<'a>,
    pub(super) state: &'a mut State<H>,
    /// What was sent during this call, encoded. Belongs to the I/O thread.
    pub(super) output: &'a mut Vec<u8>,
}

impl<H: Handler> Context<'_, H> {
    /// Sends an item. All or nothing: on an error none of it is sent.
    pub fn send(&mut self, item: &<H::Encoder as Encoder>::Item) -> Result<(), SendError> {
        if !self.io.is_writable() {
            return Err(SendError::Closed);
        }
        let mark = self.output.len();
        self.state
            .encoder
            .encode(item, self.output)
            .map_err(SendError::Encode)?;
        self.admit(mark)
    }

    /// Sends bytes as they are, past the encoder.
    pub fn send_bytes(&mut self, bytes: &[u8]) -> Result<(), SendError> {
        if !self.io.is_writable() {
            return Err(SendError::Closed);
        }
        let mark = self.output.len();
        self.output.extend_from_slice(bytes);
        self.admit(mark)
    }

    /// Decides whether what was appended behind `mark` may stay.
    fn admit(&mut self, mark: usize) -> Result<(), SendError> {
        if !self.has_room(mark) && mark > 0 {
            // The kernel may take what was sent before it.
            let item = self.output.split_off(mark);
            self.flush();
            self.output.extend_from_slice(&item);
        }
        if !self.has_room(0) {
            self.output.clear();
            let (pending, limit) = (self.io.pending_write(), self.io.write_limit());
            return Err(SendError::Full { pending, limit });
        }
        if self.output.len() >= FLUSH_AT {
            self.flush();
        }
        Ok(())
    }

    /// The same rule as the write buffer's: a single item always fits if nothing waits.
    fn has_room(&self, mark: usize) -> bool {
        let pending = self.io.pending_write();
        if pending == 0 && mark == 0 {
            return true;
        }
        self.output.len() <= self.io.write_limit().saturating_sub(pending)
    }

    /// Gives what was sent to the connection.
    pub(super) fn flush(&mut self) {
        if !self.output.is_empty() {
            // A failure ends the connection, and `has_room` has made sure that it is not full.
            let _ = self.io.write(self.output);
            self.output.clear();
        }
    }

    /// Bytes that were sent and that the kernel has not taken.
    pub fn pending(&self) -> usize {
        self.io.pending_write() + self.output.len()
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

    /// The decoder.
    pub fn decoder(&mut self) -> &mut H::Decoder {
        &mut self.state.decoder
    }

    /// The encoder.
    pub fn encoder(&mut self) -> &mut H::Encoder {
        &mut self.state.encoder
    }

    /// Puts a layer under the connection, for example TLS after STARTTLS. What was sent before goes
    /// without it, however long the peer takes; what has come and was not decoded goes to the
    /// layer, so that nothing of it is taken for something that came through it; but for what the
    /// decoder would have swallowed, which is skipped.
    ///
    /// # Errors
    /// There is a layer already, perhaps of a step before the connection was opened; it stays.
    pub fn set_layer(&mut self, layer: Box<dyn Layer>) -> Result<(), SecondLayer> {
        self.flush();
        self.io.set_layer(layer, Vec::new())?;
        self.state.end_decoder();
        self.io.skip_early(std::mem::take(&mut self.state.tail));
        let early = std::mem::take(self.io.unconsumed_mut());
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
        self.flush();
        self.io.close_when_flushed();
    }

    /// Ends our stream after what was sent; items of the peer are still handled.
    pub fn shutdown_output(&mut self) {
        self.flush();
        self.io.shutdown_write();
    }

    /// Closes the connection at once. What the kernel has not taken is lost.
    pub fn abort(&mut self) {
        self.output.clear();
        self.io.abort();
    }

    pub(super) fn close_because(&mut self, reason: CloseReason) {
        self.flush();
        self.io.close_because(reason);
    }

    /// Whether the connection is being closed.
    pub fn is_shutting_down(&self) -> bool {
        self.io.is_closing()
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

    /// The time, read once per turn of the I/O thread.
    pub fn now(&self) -> Instant {
        self.io.now()
    }

    /// When the connection was opened.
    pub fn opened_at(&self) -> Instant {
        self.state.opened_at
    }

    /// The connection's name.
    pub fn id(&self) -> ConnectionId {
        self.state.inbox.id()
    }

    /// A handle of the connection, to be given to others.
    pub fn connection(&self) -> Connection<H::Message> {
        Connection(Arc::clone(&self.state.inbox))
    }

    /// The server's open connections, this one included; for a client `None`.
    pub fn connections(&self) -> Option<&Connections<H::Message>> {
        self.state.connections.as_ref()
    }

    /// Who is at the other end.
    pub fn peer_addr(&self) -> &Address {
        self.io.peer_addr()
    }

    /// The address of this end; a system call.
    pub fn local_addr(&self) -> std::io::Result<Address> {
        self.io.local_addr()
    }

    /// Which listener accepted it, by its position in the list given at the start.
    pub fn listener(&self) -> Option<usize> {
        self.io.listener()
    }

    /// Bytes that came so far.
    pub fn bytes_in(&self) -> u64 {
        self.io.bytes_in()
    }

    /// Bytes that the kernel has taken so far.
    pub fn bytes_out(&self) -> u64 {
        self.io.bytes_out()
    }
}

/// Why an item was not sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SendError {
    /// More would wait than [`Config::write_buffer`](crate::tcp::reactor::Config::write_buffer).
    Full {
        /// Bytes that wait already.
        pending: usize,
        /// Bytes that may.
        limit: usize,
    },
    /// The connection is being closed, or its output was shut down.
    Closed,
    /// The encoder refuses it.
    Encode(EncodeError),
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full { pending, limit } => {
                write!(
                    f,
                    "the write buffer is full: {pending} of {limit} bytes wait"
                )
            }
            Self::Closed => f.write_str("the connection is closed for writing"),
            Self::Encode(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for SendError {}

/// What is sent in one call is written in pieces of about this size.
const FLUSH_AT: usize = 64 << 10;
