//! State of one connection, apart from what the service keeps.
//!
//! ```text
//! Connecting --> Opening --> Open
//!
//! Open --close_when_flushed--> Flushing --all taken--> Lingering --peer closed, or time--> gone
//!   |                              |
//!   +------- abort, error, timeout, panic, shutdown ------------------------------------> gone
//! ```

use std::io::{self, IoSlice};
use std::time::Instant;

use super::admission::Permit;
use super::config::Config;
use super::connect::Connect;
use super::output::Output;
use super::poll::Interest;
use super::preconnect::Opening;
use super::receipt::Receipt;
use super::service::CloseReason;
use super::stream::Stream;
use super::wheel::{Tick, Ticks, ticks_in};
use crate::tcp::Address;

/// A connection with the service's part.
pub(super) struct Entry<C> {
    pub(super) core: Core,
    /// `Some` from a successful `open` until `closed`.
    pub(super) conn: Option<C>,
}

/// The reactor's part of a connection.
pub(super) struct Core {
    pub(super) stream: Stream,
    pub(super) key: u64,
    pub(super) phase: Phase,
    pub(super) flags: Flags,
    pub(super) origin: Origin,
    /// Steps to be taken before the service gets the connection.
    pub(super) opening: Option<Box<Opening>>,
    /// What the kernel has not taken yet.
    pub(super) output: Output,
    /// What was read and not consumed.
    pub(super) input: Vec<u8>,
    /// The service's timer; 0 is off, as in the next two.
    pub(super) timer: Tick,
    /// Until then the peer must have accepted some more.
    pub(super) write_deadline: Tick,
    /// What the peer had acknowledged when the write deadline was set.
    pub(super) write_mark: u64,
    /// What the peer is known to have acknowledged.
    pub(super) received: u64,
    /// Set while the service waits until it has acknowledged more.
    pub(super) receipt: Option<Box<Receipt>>,
    /// End of the phase; none while open.
    pub(super) close_deadline: Tick,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    pub(super) peer: Address,
    /// How the connection is going to end, once that is decided.
    pub(super) reason: Option<CloseReason>,
}

/// Where a connection comes from.
pub(super) enum Origin {
    Accepted { listener: u16, _permit: Permit },
    Connected { ticket: u64 },
}

impl Origin {
    pub(super) fn listener(&self) -> Option<usize> {
        match self {
            Self::Accepted { listener, .. } => Some(usize::from(*listener)),
            Self::Connected { .. } => None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Being made from here.
    Connecting,
    /// Going through the steps before the service gets it.
    Opening,
    /// With the service.
    Open,
    /// Output goes out, input is discarded, the service is not called any more.
    Flushing,
    /// Our side is closed; waiting for the peer's.
    Lingering,
    /// To be closed as soon as the running callback returns.
    Doomed,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Flags {
    /// The service wants no input.
    pub(super) paused: bool,
    /// The input was resumed, and what was read ahead must be offered.
    pub(super) resumed: bool,
    /// The service wants the rest of its input again, next turn.
    pub(super) again: bool,
    /// The layer may hold more input, of which the poller knows nothing.
    pub(super) more: bool,
    /// Listed for the next turn.
    pub(super) listed: bool,
    /// The service has been told that the reactor drains.
    pub(super) told: bool,
    /// The peer's stream has ended.
    pub(super) ended: bool,
    /// Our stream is to end when the output is flushed.
    pub(super) finishing: bool,
    /// The layer has been told that our stream ends.
    pub(super) finished: bool,
    /// Our stream has ended.
    pub(super) shut: bool,
}

/// What a thread lends to each connection that it works with.
pub(super) struct Context {
    pub(super) now: Instant,
    pub(super) tick: Tick,
    pub(super) ticks: Ticks,
    /// A turn is wanted at this tick; 0 for none.
    pub(super) alarm: Tick,
    /// Connections that the service wants made.
    pub(super) connects: Vec<Connect>,
    pub(super) limits: Limits,
    /// Since the counters were published.
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
}

/// The numbers of [`Config`], in the units of the thread. A time of 0 is none.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    pub(super) write_buffer: usize,
    pub(super) input_buffer: usize,
    pub(super) paused_input: usize,
    pub(super) write_timeout: Tick,
    pub(super) write_progress: u64,
    pub(super) close_timeout: Tick,
    pub(super) linger: Tick,
    pub(super) pre_connect_timeout: Tick,
}

impl Limits {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            write_buffer: config.write_buffer,
            input_buffer: config.input_buffer,
            paused_input: config.paused_input,
            write_timeout: config.write_timeout.map_or(0, |time| ticks_in(time).max(1)),
            write_progress: config.write_progress.max(1) as u64,
            close_timeout: ticks_in(config.close_timeout).max(1),
            linger: ticks_in(config.linger),
            pre_connect_timeout: ticks_in(config.pre_connect_timeout).max(1),
        }
    }
}

impl Core {
    pub(super) fn new(stream: Stream, key: u64, peer: Address, origin: Origin) -> Self {
        Self {
            stream,
            key,
            phase: Phase::Open,
            flags: Flags::default(),
            origin,
            opening: None,
            output: Output::default(),
            input: Vec::new(),
            timer: 0,
            write_deadline: 0,
            write_mark: 0,
            received: 0,
            receipt: None,
            close_deadline: 0,
            bytes_in: 0,
            bytes_out: 0,
            peer,
            reason: None,
        }
    }

    /// Whether bytes wait for the kernel, here or in the layer below.
    pub(super) fn has_unsent(&self) -> bool {
        !self.output.is_empty() || self.stream.wants_write() || self.stream.unsent() > 0
    }

    /// Bytes that wait for the kernel, here or in the layer below.
    pub(super) fn unsent(&self) -> usize {
        self.output.len() + self.stream.unsent()
    }

    /// No callback but `closed` will follow. The first reason counts; one that was noted when the
    /// output began to be flushed does not, for now it will not be.
    pub(super) fn doom(&mut self, reason: CloseReason) {
        if self.phase != Phase::Doomed {
            self.phase = Phase::Doomed;
            self.reason = Some(reason);
        }
    }

    /// Ends the service's part; the output still goes out.
    pub(super) fn begin_flush(&mut self, ctx: &Context) {
        if self.phase != Phase::Open {
            return;
        }
        self.phase = Phase::Flushing;
        let by_peer = self.flags.ended;
        self.reason = Some(if by_peer {
            CloseReason::PeerClosed
        } else {
            CloseReason::Closed
        });
        self.input = Vec::new();
        self.timer = 0;
        self.receipt = None;
        self.close_deadline = ctx.tick + ctx.limits.close_timeout;
    }

    /// Writes at once what the kernel takes, and keeps the rest.
    pub(super) fn send(&mut self, ctx: &mut Context, bytes: &[u8]) -> Result<(), WriteError> {
        self.check_room(bytes.len(), ctx)?;
        let mut taken = 0;
        if !bytes.is_empty() && !self.has_unsent() {
            taken = self.attempt(ctx, |stream| stream.write(bytes))?;
        }
        if taken < bytes.len() {
            self.output.push(&bytes[taken..]);
        }
        self.watch_progress(ctx);
        Ok(())
    }

    /// As [`Core::send`], for several pieces with one system call.
    pub(super) fn send_vectored(
        &mut self,
        ctx: &mut Context,
        slices: &[IoSlice<'_>],
    ) -> Result<(), WriteError> {
        let total = slices.iter().map(|slice| slice.len()).sum();
        self.check_room(total, ctx)?;
        let mut taken = 0;
        if total > 0 && !self.has_unsent() {
            taken = self.attempt(ctx, |stream| stream.write_vectored(slices))?;
        }
        if taken < total {
            for slice in slices {
                let skipped = taken.min(slice.len());
                taken -= skipped;
                self.output.push(&slice[skipped..]);
            }
        }
        self.watch_progress(ctx);
        Ok(())
    }

    /// Writes what waits.
    pub(super) fn flush(&mut self, ctx: &mut Context) -> Result<Flushed, CloseReason> {
        let before = self.bytes_out;
        let flushed = self.stream.flush().map(|()| 0);
        self.count_written(ctx, flushed)?;
        while !self.output.is_empty() {
            let written = self.stream.write(self.output.bytes());
            match self.count_written(ctx, written)? {
                0 => break,
                n => self.output.consume(n),
            }
        }
        self.watch_progress(ctx);
        Ok(match self.has_unsent() {
            false => Flushed::All,
            true if self.bytes_out > before => Flushed::Some,
            true => Flushed::Nothing,
        })
    }

    fn check_room(&self, more: usize, ctx: &Context) -> Result<(), WriteError> {
        if self.phase != Phase::Open || self.flags.finishing {
            return Err(WriteError::Closed);
        }
        let (pending, limit) = (self.unsent(), ctx.limits.write_buffer);
        if pending > 0 && more > limit.saturating_sub(pending) {
            return Err(WriteError::Full { pending, limit });
        }
        Ok(())
    }

    fn attempt(
        &mut self,
        ctx: &mut Context,
        write: impl FnOnce(&mut Stream) -> io::Result<usize>,
    ) -> Result<usize, WriteError> {
        let written = write(&mut self.stream);
        self.count_written(ctx, written).map_err(|reason| {
            self.doom(reason);
            WriteError::Closed
        })
    }

    fn count_written(
        &mut self,
        ctx: &mut Context,
        written: io::Result<usize>,
    ) -> Result<usize, CloseReason> {
        // What a layer has taken is not yet with the kernel.
        let sent = match written {
            Ok(n) if !self.stream.is_layered() => n as u64,
            _ => self.stream.take_sent(),
        };
        self.bytes_out += sent;
        ctx.bytes_out += sent;
        match written {
            Ok(n) => Ok(n),
            Err(error) if is_not_ready(&error) => Ok(0),
            Err(error) => Err(CloseReason::of(&error)),
        }
    }

    /// Adds the layer's end to the stream.
    pub(super) fn end_stream(&mut self, ctx: &mut Context) -> Result<(), CloseReason> {
        let ended = self.stream.finish().map(|()| 0);
        self.count_written(ctx, ended)?;
        self.watch_progress(ctx);
        Ok(())
    }

    /// Sets, moves or lifts the write deadline.
    fn watch_progress(&mut self, ctx: &Context) {
        if !self.has_unsent() {
            self.write_deadline = 0;
        } else if ctx.limits.write_timeout > 0 {
            if self.write_deadline == 0 {
                self.write_deadline = ctx.tick + ctx.limits.write_timeout;
                self.write_mark = self.acknowledged();
            } else {
                self.has_accepted(ctx);
            }
        }
    }

    /// Reads once. `Ok(None)`: nothing there.
    pub(super) fn receive(
        &mut self,
        ctx: &mut Context,
        buffer: &mut [u8],
    ) -> Result<Option<usize>, CloseReason> {
        let read = self.stream.read(buffer);
        if self.stream.is_layered() {
            // Reading may have written: what the layer held, or answers of its own.
            self.count_written(ctx, Ok(0))?;
            self.watch_progress(ctx);
        }
        match read {
            Ok(n) => {
                self.bytes_in += n as u64;
                ctx.bytes_in += n as u64;
                Ok(Some(n))
            }
            Err(error) if is_not_ready(&error) => Ok(None),
            Err(error) => Err(CloseReason::of(&error)),
        }
    }

    /// Whether reading ahead has reached its bound.
    pub(super) fn is_stuffed(&self, limits: &Limits) -> bool {
        self.flags.paused && self.input.len() >= limits.paused_input
    }

    /// What the poller should report in this state.
    pub(super) fn interest(&self, limits: &Limits) -> Interest {
        let read = !self.flags.ended
            && match self.phase {
                Phase::Open => !self.is_stuffed(limits),
                Phase::Opening | Phase::Flushing | Phase::Lingering => true,
                Phase::Connecting | Phase::Doomed => false,
            };
        if self.phase == Phase::Connecting {
            return Interest {
                read: false,
                write: true,
                edge: false,
            };
        }
        // In the middle of a handshake a layer takes nothing, although the socket would.
        let write =
            self.stream.wants_write() || (!self.output.is_empty() && !self.stream.is_handshaking());
        // Without interest in input, a hang-up that lasts would be reported for ever.
        Interest {
            read,
            write,
            edge: !read,
        }
    }

    /// The earliest deadline, 0 if there is none.
    pub(super) fn deadline(&self) -> Tick {
        let look = self.receipt.as_ref().map_or(0, |receipt| receipt.look);
        let deadlines = [self.timer, self.write_deadline, self.close_deadline, look];
        deadlines
            .into_iter()
            .filter(|tick| *tick > 0)
            .min()
            .unwrap_or(0)
    }
}

/// How much of the output has gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flushed {
    All,
    Some,
    Nothing,
}

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

impl std::fmt::Display for WriteError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
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

impl std::error::Error for WriteError {}

fn is_not_ready(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}
