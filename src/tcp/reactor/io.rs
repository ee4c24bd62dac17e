//! What a service can do with a connection while it is called for it, and with all of them at the
//! end of a turn.

use std::error::Error;
use std::fmt;
use std::io::{self, IoSlice};
use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::connection::{Core, Entry, Env, Origin, Phase};
use super::events::catch_panic;
use super::open::PreConnect;
use super::service::CloseReason;
use super::slab::{Slab, slot_of};
use super::stream::Layer;
use crate::tcp::codec::Tail;
use crate::tcp::{Address, StreamOptions};

/// The reactor's side of a connection, lent to a callback.
pub struct Io<'a> {
    pub(super) core: &'a mut Core,
    pub(super) env: &'a mut Env,
}

impl Io<'_> {
    /// Names the connection for [`Waker::wake`](super::Waker::wake) and
    /// [`Turn::with`](super::Turn::with). Never used again by the same thread.
    pub fn key(&self) -> u64 {
        self.core.key
    }

    /// Who is at the other end.
    pub fn peer_addr(&self) -> &Address {
        &self.core.peer
    }

    /// The address of this end; a system call.
    pub fn local_addr(&self) -> io::Result<Address> {
        Ok(Address::from_sock(&self.core.stream.socket().local_addr()?))
    }

    /// Which listener accepted it, by its position in the list given at the start; `None` for a
    /// connection that was made from here.
    pub fn listener(&self) -> Option<usize> {
        match self.core.origin {
            Origin::Accepted { listener, .. } => Some(listener),
            Origin::Connected { .. } => None,
        }
    }

    /// The ticket of the [`Connect`](super::Connect) by which it was made from here; `None` for one
    /// that was accepted.
    pub fn ticket(&self) -> Option<u64> {
        match self.core.origin {
            Origin::Connected { ticket } => Some(ticket),
            Origin::Accepted { .. } => None,
        }
    }

    /// The time, read once per turn.
    pub fn now(&self) -> Instant {
        self.env.now
    }

    /// Writes: at once as far as the kernel takes it, unless something waits already; the rest
    /// waits in the write buffer. All or nothing: on an error none of it was taken.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        self.core.send(self.env, &[IoSlice::new(bytes)])
    }

    /// Writes several pieces, with one system call where the kernel takes it.
    pub fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> Result<(), WriteError> {
        self.core.send(self.env, slices)
    }

    /// Bytes that wait for the kernel; about, where a layer holds some of them. 0 means that the
    /// kernel has taken the last byte.
    pub fn pending_write(&self) -> usize {
        self.core.unsent() + self.env.gathered.len()
    }

    /// What a handler has sent during the running call, so that it leaves together.
    pub(in crate::tcp) fn gathered(&mut self) -> &mut Vec<u8> {
        &mut self.env.gathered
    }

    /// Writes what was gathered.
    pub(in crate::tcp) fn flush_gathered(&mut self) {
        if !self.env.gathered.is_empty() {
            let mut bytes = mem::take(&mut self.env.gathered);
            // A failure ends the connection; whoever gathered it has seen to it that there is room.
            let _ = self.write(&bytes);
            bytes.clear();
            self.env.gathered = bytes;
        }
    }

    /// Wants no input for now. Up to a bound it is still read ahead, so that a peer that closes is
    /// noticed.
    pub fn pause_input(&mut self) {
        self.core.flags.paused = true;
        self.core.flags.resumed = false;
    }

    /// Wants input again; what was read ahead is offered as soon as the running callback returns.
    pub fn resume_input(&mut self) {
        if self.core.flags.paused {
            self.core.flags.paused = false;
            self.core.flags.resumed = true;
        }
    }

    /// Whether the input is paused.
    pub fn is_input_paused(&self) -> bool {
        self.core.flags.paused
    }

    /// Bytes that were read and not consumed, not counting what the running `input` call was given.
    pub fn unconsumed(&self) -> usize {
        self.core.input.len()
    }

    /// Whether the peer's stream has ended.
    pub fn has_ended(&self) -> bool {
        self.core.flags.ended
    }

    /// Wants the rest of its input offered again in the next turn although nothing more has come:
    /// for a service that does only so much per turn.
    pub fn offer_again(&mut self) {
        self.core.flags.again = true;
    }

    /// Sets the connection's one timer, or turns it off. Moving it to a later time is cheap.
    pub fn set_timer(&mut self, at: Option<Instant>) {
        self.core.timer = at.map_or(0, |at| self.env.ticks.due(at));
    }

    /// Ends our stream when everything has been written; the peer may go on sending.
    pub fn shutdown_write(&mut self) {
        self.core.flags.finishing = true;
    }

    /// Closes the connection when everything has been written. Input is discarded from now on.
    pub fn close_when_flushed(&mut self) {
        self.close_because(match self.core.flags.ended {
            true => CloseReason::PeerClosed,
            false => CloseReason::Closed,
        });
    }

    /// Closes the connection as soon as the callback returns; what waits for the kernel is lost,
    /// and the peer sees a reset.
    pub fn abort(&mut self) {
        self.core.abort(CloseReason::Aborted);
    }

    /// As [`Io::close_when_flushed`], for a reason of the layer above.
    pub(in crate::tcp) fn close_because(&mut self, reason: CloseReason) {
        self.core.begin_flush(self.env, reason);
    }

    /// As [`Io::abort`], for a reason of the layer above.
    pub(in crate::tcp) fn abort_because(&mut self, reason: CloseReason) {
        self.core.abort(reason);
    }

    /// The same, to be lent further.
    pub(in crate::tcp) fn reborrow(&mut self) -> Io<'_> {
        Io {
            core: self.core,
            env: self.env,
        }
    }

    /// Takes what was read and not consumed, to put back what it does not use of it.
    pub(in crate::tcp) fn unconsumed_mut(&mut self) -> &mut Vec<u8> {
        &mut self.core.input
    }

    /// The bound of the write buffer.
    pub(in crate::tcp) fn write_limit(&self) -> usize {
        self.env.config.write_buffer
    }

    /// Whether it takes output: not while it is being closed, nor after `shutdown_write`.
    pub fn is_writable(&self) -> bool {
        self.core.phase == Phase::Open && !self.core.flags.finishing
    }

    /// Whether it is being closed.
    pub fn is_closing(&self) -> bool {
        self.core.phase != Phase::Open
    }

    /// Bytes read so far, as the service gets them.
    pub fn bytes_in(&self) -> u64 {
        self.core.bytes_in
    }

    /// Bytes that the kernel has taken so far, with what a layer makes of them.
    pub fn bytes_out(&self) -> u64 {
        self.core.bytes_out
    }

    /// Bytes that the peer is known to have acknowledged, with what a layer makes of them: as of
    /// the last look by [`watch_receipt`](Self::watch_receipt) or before
    /// [`Service::received`](super::Service::received).
    pub fn bytes_received(&self) -> u64 {
        self.core.received
    }

    /// Whether the peer has still to acknowledge what the kernel has taken so far, `bytes_out`
    /// bytes. Then [`Service::received`](super::Service::received) is called as it does, until it
    /// has all, or has acknowledged nothing for `write_timeout`. A second call asks for more.
    ///
    /// Costs a system call when more than `write_progress` bytes were written since it was last
    /// known; what is less counts as acknowledged. So does everything that the kernel has taken
    /// where the system does not tell; Linux does.
    pub fn watch_receipt(&mut self) -> bool {
        self.core.watch_receipt(self.env)
    }

    /// While the peer has to acknowledge what [`watch_receipt`](Self::watch_receipt) asked for: for
    /// how long it has acknowledged nothing.
    pub fn awaits_receipt(&self) -> Option<Duration> {
        self.core.awaits_receipt(self.env)
    }

    /// From now on the peer has to acknowledge also what the kernel has taken, within
    /// `write_timeout` like what it has not: for connections on which nobody would notice otherwise
    /// that the peer has vanished.
    pub fn watch_peer(&mut self) {
        self.core.flags.watched = true;
    }

    /// Puts a layer under the connection from here on, for example TLS after STARTTLS. What was
    /// written before goes without it, and the layer can write when that has gone. `early` is input
    /// that belongs to the layer; the running `input` call must count it as consumed.
    ///
    /// # Errors
    /// There is a layer already; it stays.
    pub fn set_layer(&mut self, layer: Box<dyn Layer>, early: Vec<u8>) -> Result<(), SecondLayer> {
        self.core.begin_layer(layer, early)
    }

    /// Has the layer spared what belongs to something that came before it.
    pub(in crate::tcp) fn skip_early(&mut self, tail: Tail) {
        self.core.stream.skip_early(tail);
    }

    /// Gives the layer more input that came before it and belongs to it.
    pub(in crate::tcp) fn push_early(&mut self, bytes: &[u8]) {
        self.core.flags.more |= !bytes.is_empty();
        self.core.stream.push_early(bytes);
    }
}

/// A connection can have one layer, and has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SecondLayer;

impl fmt::Display for SecondLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection has a layer already")
    }
}

impl Error for SecondLayer {}

/// Why bytes were not taken. None of them were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteError {
    /// More would wait than allowed.
    Full {
        /// Bytes that wait already.
        pending: usize,
        /// Bytes that may.
        limit: usize,
    },
    /// The connection is being closed, or its output has been shut down, or it has just failed.
    Closed,
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full { pending, limit } => {
                write!(
                    f,
                    "the write buffer is full: {pending} of {limit} bytes wait"
                )
            }
            Self::Closed => f.write_str("the connection is closed for writing"),
        }
    }
}

impl Error for WriteError {}

/// Given to [`Service::turn_ended`](super::Service::turn_ended).
pub struct Turn<'a, C> {
    pub(super) slab: &'a mut Slab<Entry<C>>,
    pub(super) env: &'a mut Env,
    /// Slots whose connections must be looked after when the service is done.
    pub(super) touched: &'a mut Vec<u32>,
}

impl<C> Turn<'_, C> {
    /// The time, read once per turn.
    pub fn now(&self) -> Instant {
        self.env.now
    }

    /// Wants a turn at that time at the latest. Holds until `turn_ended` is called again.
    pub fn wake_at(&mut self, at: Instant) {
        let tick = self.env.ticks.due(at);
        if self.env.alarm == 0 || tick < self.env.alarm {
            self.env.alarm = tick;
        }
    }

    /// Makes a connection. Ends in exactly one call, later: of [`Service::open`] with the ticket,
    /// or of [`Service::connect_failed`].
    ///
    /// [`Service::open`]: super::Service::open
    /// [`Service::connect_failed`]: super::Service::connect_failed
    pub fn connect(&mut self, request: Connect) {
        self.env.connects.push(request);
    }

    /// Calls `work` with the connection that has this key. `None` if it is gone or being closed,
    /// and also if `work` panics, which closes the connection.
    pub fn with<R>(&mut self, key: u64, work: impl FnOnce(&mut C, &mut Io<'_>) -> R) -> Option<R> {
        let mut entry = self.slab.take_by_key(key)?;
        let mut result = None;
        if let Some((conn, mut io)) = entry.lend(self.env) {
            match catch_panic(|| work(conn, &mut io)) {
                Ok(value) => result = Some(value),
                Err(reason) => io.abort_because(reason),
            }
            self.touched.push(slot_of(key));
        }
        self.slab.put(slot_of(key), entry);
        result
    }
}

/// A request to make a connection; given to [`Turn::connect`](super::Turn::connect).
#[derive(Clone, Debug)]
pub struct Connect {
    /// Where to.
    pub address: Address,
    /// Chosen by the service, to know the connection again: see [`Io::ticket`](super::Io::ticket).
    pub ticket: u64,
    /// How long the peer may take to accept; the steps after that have their own deadline.
    pub timeout: Duration,
    /// The rest.
    pub options: ConnectOptions,
}

/// Options of a connection that is made from here.
#[derive(Clone, Debug)]
pub struct ConnectOptions {
    /// Options of the socket.
    pub stream: StreamOptions,
    /// The address of this end. Default: the system chooses.
    pub bind: Option<Address>,
    /// Steps before the service gets the connection. Default none.
    pub pre_connect: Arc<[Arc<dyn PreConnect>]>,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self {
            stream: StreamOptions::default(),
            bind: None,
            pre_connect: Arc::new([]),
        }
    }
}
