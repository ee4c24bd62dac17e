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
use std::mem;
use std::time::{Duration, Instant};

use super::admission::Permit;
use super::config::Config;
use super::io::{Connect, Io, SecondLayer, WriteError};
use super::open::Opening;
use super::poll::Interest;
use super::progress::{Progress, Receipt};
use super::service::CloseReason;
use super::stream::{Layer, Output, Stream};
use super::timer::{Tick, Ticks, ticks_in};
use crate::tcp::Address;

/// A connection with the service's part.
pub(super) struct Entry<C> {
    pub(super) core: Core,
    /// `Some` from a successful `open` until `closed`.
    pub(super) conn: Option<C>,
}

impl<C> Entry<C> {
    /// The service's part, and what is lent to it; `None` unless the connection is open.
    pub(super) fn lend<'a>(&'a mut self, env: &'a mut Env) -> Option<(&'a mut C, Io<'a>)> {
        let Self { core, conn } = self;
        let conn = conn.as_mut().filter(|_| core.phase == Phase::Open)?;
        Some((conn, Io { core, env }))
    }
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
    /// When to look whether the peer has accepted more.
    pub(super) write_look: Tick,
    /// How it gets on with that.
    pub(super) progress: Progress,
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
    Accepted { listener: usize, _permit: Permit },
    Connected { ticket: u64 },
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
    Aborting,
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
    pub(super) told_stopping: bool,
    /// The peer's stream has ended.
    pub(super) ended: bool,
    /// Our stream is to end when the output is flushed.
    pub(super) finishing: bool,
    /// The layer has been told that our stream ends.
    pub(super) finished: bool,
    /// Our stream has ended.
    pub(super) shut: bool,
    /// The peer has to acknowledge also what the kernel has taken.
    pub(super) watched: bool,
}

/// What a thread lends to each connection that it works with.
pub(super) struct Env {
    pub(super) config: Config,
    pub(super) now: Instant,
    pub(super) tick: Tick,
    pub(super) ticks: Ticks,
    /// A turn is wanted at this tick; 0 for none.
    pub(super) alarm: Tick,
    /// What is gathered during a call to be written together.
    pub(super) gathered: Vec<u8>,
    /// Connections that the service wants made.
    pub(super) connects: Vec<Connect>,
    /// Since the counters were published.
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
}

impl Env {
    /// The tick at which a time that begins now is over; not now.
    pub(super) fn after(&self, time: Duration) -> Tick {
        self.tick + ticks_in(time).max(1)
    }

    /// How many ticks a peer has for so much progress, if not for ever.
    pub(super) fn write_timeout(&self) -> Option<Tick> {
        self.config.write_timeout.map(|time| ticks_in(time).max(1))
    }

    /// How many bytes of progress a peer has to make.
    pub(super) fn write_progress(&self) -> u64 {
        self.config.write_progress.max(1) as u64
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
            write_look: 0,
            progress: Progress::default(),
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
        !self.output.is_empty() || self.stream.unsent() > 0
    }

    /// Bytes that wait for the kernel, here or in the layer below.
    pub(super) fn unsent(&self) -> usize {
        self.output.len() + self.stream.unsent()
    }

    /// No callback but `closed` will follow. The first reason counts; one that was noted when the
    /// output began to be flushed does not, for now it will not be.
    pub(super) fn abort(&mut self, reason: CloseReason) {
        if self.phase != Phase::Aborting {
            self.phase = Phase::Aborting;
            self.reason = Some(reason);
        }
    }

    /// Ends the service's part; the output still goes out.
    pub(super) fn begin_flush(&mut self, env: &Env, reason: CloseReason) {
        if self.phase != Phase::Open {
            return;
        }
        self.phase = Phase::Flushing;
        self.reason = Some(reason);
        self.input = Vec::new();
        self.timer = 0;
        self.receipt = None;
        self.close_deadline = env.after(env.config.close_timeout);
    }

    /// Writes at once what the kernel takes, and keeps the rest.
    pub(super) fn send(&mut self, env: &mut Env, slices: &[IoSlice<'_>]) -> Result<(), WriteError> {
        let total = slices.iter().map(|slice| slice.len()).sum();
        self.check_room(total, env)?;
        let mut taken = 0;
        if total > 0 && !self.has_unsent() {
            let written = self.stream.write_vectored(slices);
            taken = self.count_sent(env, written).map_err(|reason| {
                self.abort(reason);
                WriteError::Closed
            })?;
        }
        if taken < total {
            for slice in slices {
                let skipped = taken.min(slice.len());
                taken -= skipped;
                self.output.push(&slice[skipped..]);
            }
        }
        self.watch_progress(env);
        Ok(())
    }

    fn check_room(&self, more: usize, env: &Env) -> Result<(), WriteError> {
        if self.phase != Phase::Open || self.flags.finishing {
            return Err(WriteError::Closed);
        }
        let (pending, limit) = (self.unsent(), env.config.write_buffer);
        if pending > 0 && more > limit.saturating_sub(pending) {
            return Err(WriteError::Full { pending, limit });
        }
        Ok(())
    }

    /// Writes what waits; tells whether some of it has gone.
    pub(super) fn flush(&mut self, env: &mut Env) -> Result<bool, CloseReason> {
        let before = self.bytes_out;
        let flushed = self.stream.flush().map(|()| 0);
        self.count_sent(env, flushed)?;
        while !self.output.is_empty() {
            let written = self.stream.write(self.output.bytes());
            match self.count_sent(env, written)? {
                0 => break,
                n => self.output.consume(n),
            }
        }
        self.watch_progress(env);
        Ok(self.bytes_out > before)
    }

    /// Counts what the kernel has taken, which is not what a layer has; returns what was written,
    /// 0 if there was no room.
    fn count_sent(
        &mut self,
        env: &mut Env,
        written: io::Result<usize>,
    ) -> Result<usize, CloseReason> {
        let taken = *written.as_ref().unwrap_or(&0);
        let sent = self.stream.take_sent(taken);
        self.bytes_out += sent;
        env.bytes_out += sent;
        match written {
            Err(error) if is_not_ready(&error) => Ok(0),
            other => other.map_err(|error| CloseReason::of(&error)),
        }
    }

    /// Puts a layer between the socket and what is read and written from now on. `early` has been
    /// read and belongs to it.
    pub(super) fn begin_layer(
        &mut self,
        layer: Box<dyn Layer>,
        early: Vec<u8>,
    ) -> Result<(), SecondLayer> {
        if self.stream.is_layered() {
            return Err(SecondLayer);
        }
        self.flags.more = !early.is_empty();
        let before = mem::take(&mut self.output);
        self.stream.set_layer(layer, early, before);
        Ok(())
    }

    /// Adds the layer's end to the stream.
    pub(super) fn end_stream(&mut self, env: &mut Env) -> Result<(), CloseReason> {
        let ended = self.stream.finish().map(|()| 0);
        self.count_sent(env, ended)?;
        self.watch_progress(env);
        Ok(())
    }

    /// Reads once. `Ok(None)`: nothing there.
    pub(super) fn receive(
        &mut self,
        env: &mut Env,
        buffer: &mut [u8],
    ) -> Result<Option<usize>, CloseReason> {
        let read = self.stream.read(buffer);
        if self.stream.is_layered() {
            // Reading may have written: what the layer held, or answers of its own.
            self.count_sent(env, Ok(0))?;
            self.watch_progress(env);
        }
        match read {
            Ok(n) => {
                self.bytes_in += n as u64;
                env.bytes_in += n as u64;
                Ok(Some(n))
            }
            Err(error) if is_not_ready(&error) => Ok(None),
            Err(error) => Err(CloseReason::of(&error)),
        }
    }

    /// Whether reading ahead has reached its bound.
    pub(super) fn has_read_enough(&self, env: &Env) -> bool {
        self.flags.paused && self.input.len() >= env.config.paused_input
    }

    /// What the poller should report in this state.
    pub(super) fn interest(&self, env: &Env) -> Interest {
        if self.phase == Phase::Connecting {
            return Interest::WRITE;
        }
        let read = !self.flags.ended
            && match self.phase {
                Phase::Open => !self.has_read_enough(env),
                Phase::Opening | Phase::Flushing | Phase::Lingering => true,
                Phase::Connecting | Phase::Aborting => false,
            };
        // In the middle of a handshake a layer takes nothing, although the socket would.
        let write =
            self.stream.unsent() > 0 || (!self.output.is_empty() && !self.stream.is_handshaking());
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
        let deadlines = [self.timer, self.write_look, self.close_deadline, look];
        let set = deadlines.into_iter().filter(|tick| *tick > 0);
        set.min().unwrap_or(0)
    }
}

fn is_not_ready(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}
