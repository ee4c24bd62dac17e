//! What happens to a connection in an I/O thread: ready, woken, due, closed.
//!
//! Every path takes the connection out of its slot, works with it, and ends in `put_back`, which
//! puts it back in order or ends it. So no callback can find it half-changed.

use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::time::Duration;

use polling::Event;

use super::connection::{Core, Entry, Origin, Phase};
use super::io::Io;
use super::service::{CloseReason, Service};
use super::slab::slot_of;
use super::thread::Thread;

/// `Err` ends the connection now.
pub(super) type Outcome = Result<(), CloseReason>;

impl<S: Service> Thread<S> {
    /// The poller reports the connection.
    pub(super) fn ready(&mut self, event: &Event) {
        // Gone since the events were collected. The slot is not used again within the turn.
        let Some(mut entry) = self.slab.take(event.key as u32) else {
            return;
        };
        match entry.core.phase {
            Phase::Connecting => {
                let outcome = self.connected(&mut entry);
                return self.put_back(entry, outcome);
            }
            Phase::Opening => {
                let outcome = self.opening_ready(&mut entry, event.readable);
                return self.put_back(entry, outcome);
            }
            _ => {}
        }
        let mut outcome = Ok(());
        if event.writable && entry.core.has_unsent() {
            outcome = self.flush(&mut entry);
        }
        if event.readable && outcome.is_ok() {
            outcome = self.readable(&mut entry, event.is_interrupt());
        }
        self.put_back(entry, outcome);
    }

    /// Calls the service for a connection, if it is still there and open.
    pub(super) fn on_open_connection(
        &mut self,
        key: u64,
        call: impl FnOnce(&mut S, &mut S::Conn, &mut Io<'_>),
    ) {
        if let Some(mut entry) = self.slab.take_by_key(key) {
            let outcome = self.call(&mut entry, call);
            self.put_back(entry, outcome);
        }
    }

    /// Continues with input although the poller may have nothing to report.
    pub(super) fn continue_input(&mut self, key: u64) {
        let Some(mut entry) = self.slab.take_by_key(key) else {
            return;
        };
        let flags = &mut entry.core.flags;
        flags.listed = false;
        let (again, more) = (mem::take(&mut flags.again), mem::take(&mut flags.more));
        let before = entry.core.bytes_in;
        let mut outcome = Ok(());
        if entry.core.phase == Phase::Opening {
            outcome = self.opening_ready(&mut entry, true);
        } else if more {
            outcome = self.readable(&mut entry, false);
        }
        let core = &entry.core;
        let unchanged = core.bytes_in == before && !core.flags.paused;
        if again && unchanged && outcome.is_ok() && !core.input.is_empty() {
            outcome = self.offer(&mut entry, 0);
        }
        self.put_back(entry, outcome);
    }

    /// The connection's timer has come; perhaps early.
    pub(super) fn timer_due(&mut self, slot: u32) {
        let Some(mut entry) = self.slab.take(slot) else {
            return;
        };
        let tick = self.env.tick;
        let core = &mut entry.core;
        let due = |deadline: u64| deadline > 0 && deadline <= tick;
        let mut outcome = Ok(());
        // The kernel may have taken nothing, for it waits until much of its buffer is free.
        if due(core.write_look) && !core.gets_on(&self.env) {
            outcome = Err(CloseReason::WriteTimeout);
        } else if due(core.close_deadline) && !core.lingers_on(&self.env) {
            outcome = Err(match core.phase {
                Phase::Lingering => CloseReason::Closed,
                Phase::Connecting | Phase::Opening => CloseReason::OpenTimeout,
                _ => CloseReason::CloseTimeout,
            });
        } else if due(core.timer) {
            core.timer = 0;
            outcome = self.call(&mut entry, |service, conn, io| service.timer(conn, io));
        }
        let receipt = entry.core.receipt.as_ref();
        let look = receipt.map_or(0, |receipt| receipt.look);
        if outcome.is_ok() && due(look) && entry.core.look_for_receipt(&self.env) {
            outcome = self.call(&mut entry, |service, conn, io| service.received(conn, io));
        }
        self.put_back(entry, outcome);
    }

    /// Tells the service, once per connection, that the reactor drains.
    pub(super) fn tell_stopping(&mut self, entry: &mut Entry<S::Conn>) -> Outcome {
        if mem::replace(&mut entry.core.flags.told_stopping, true) {
            return Ok(());
        }
        self.call(entry, |service, conn, io| service.stopping(conn, io))
    }

    fn flush(&mut self, entry: &mut Entry<S::Conn>) -> Outcome {
        let progress = entry.core.flush(&mut self.env)?;
        match entry.core.has_unsent() {
            false => self.call(entry, |service, conn, io| service.drained(conn, io)),
            true if progress => self.call(entry, |service, conn, io| service.progress(conn, io)),
            true => Ok(()),
        }
    }

    fn readable(&mut self, entry: &mut Entry<S::Conn>, hung_up: bool) -> Outcome {
        let core = &mut entry.core;
        if !core.interest(&self.env).read {
            // Nothing was asked for, so this is an error or the end of both directions.
            if let Ok(Some(error)) = core.stream.socket().take_error() {
                return Err(CloseReason::of(&error));
            }
            return if hung_up {
                Err(core.reason.unwrap_or(CloseReason::PeerClosed))
            } else {
                Ok(())
            };
        }
        match core.phase {
            Phase::Open if core.flags.again && core.flags.listed => Ok(()),
            Phase::Open => self.read(entry),
            Phase::Flushing | Phase::Lingering => {
                if core.receive(&mut self.env, &mut self.scratch)? == Some(0) {
                    core.flags.ended = true;
                }
                Ok(())
            }
            Phase::Connecting | Phase::Opening | Phase::Aborting => Ok(()),
        }
    }

    /// Reads once; through a layer until it has no more, for the poller does not know what it
    /// holds.
    fn read(&mut self, entry: &mut Entry<S::Conn>) -> Outcome {
        let mut total = 0;
        loop {
            let n = self.read_once(entry)?;
            let core = &mut entry.core;
            if n == 0 || !core.stream.is_layered() || core.phase != Phase::Open {
                return Ok(());
            }
            total += n;
            let enough = total >= self.scratch.len() || core.flags.again;
            if enough || core.has_read_enough(&self.env) {
                core.flags.more = true;
                return Ok(());
            }
        }
    }

    /// Returns how many bytes came: 0 if there are none, or no more.
    fn read_once(&mut self, entry: &mut Entry<S::Conn>) -> Result<usize, CloseReason> {
        let core = &mut entry.core;
        let room = if core.flags.paused {
            let most = self.env.config.paused_input;
            let ahead = most.saturating_sub(core.input.len());
            ahead.clamp(1, self.scratch.len())
        } else {
            self.scratch.len()
        };
        let unsent = core.has_unsent();
        let received = core.receive(&mut self.env, &mut self.scratch[..room])?;
        if unsent && !core.has_unsent() {
            // The layer has used the occasion to write.
            self.call(entry, |service, conn, io| service.drained(conn, io))?;
        }
        let core = &mut entry.core;
        match received {
            None => Ok(0),
            Some(0) => {
                core.flags.ended = true;
                self.call(entry, |service, conn, io| service.end_of_input(conn, io))?;
                Ok(0)
            }
            Some(n) => {
                if core.flags.paused {
                    core.input.extend_from_slice(&self.scratch[..n]);
                } else {
                    self.offer(entry, n)?;
                }
                Ok(n)
            }
        }
    }

    /// Offers what was kept and the first `n` bytes of the scratch buffer.
    pub(super) fn offer(&mut self, entry: &mut Entry<S::Conn>, n: usize) -> Outcome {
        let Some((conn, mut io)) = entry.lend(&mut self.env) else {
            return Ok(());
        };
        let mut kept = mem::take(io.unconsumed_mut());
        let service = &mut self.service;
        self.calls += 1;
        let fresh = &self.scratch[..n];
        let consumed = if kept.is_empty() {
            catch_panic(|| checked(service.input(conn, &mut io, fresh), n))?
        } else {
            kept.extend_from_slice(fresh);
            catch_panic(|| checked(service.input(conn, &mut io, &kept), kept.len()))?
        };
        let core = &mut entry.core;
        if core.phase != Phase::Open {
            return Ok(());
        }
        if kept.is_empty() {
            kept.extend_from_slice(&fresh[consumed..]);
        } else {
            kept.drain(..consumed);
        }
        // Paused and resumed meanwhile: it has not yet said what it makes of the rest.
        let offered = core.flags.again || core.flags.resumed;
        let wants_more = !core.flags.paused && !offered;
        if wants_more && kept.len() >= self.env.config.input_buffer {
            return Err(CloseReason::InputOverflow);
        }
        if !kept.is_empty() {
            core.input = kept;
        }
        Ok(())
    }

    fn call(
        &mut self,
        entry: &mut Entry<S::Conn>,
        call: impl FnOnce(&mut S, &mut S::Conn, &mut Io<'_>),
    ) -> Outcome {
        let Some((conn, mut io)) = entry.lend(&mut self.env) else {
            return Ok(());
        };
        let service = &mut self.service;
        self.calls += 1;
        catch_panic(|| call(service, conn, &mut io))
    }

    /// Does what the callbacks have asked for, and puts the connection back or ends it.
    pub(super) fn put_back(&mut self, mut entry: Box<Entry<S::Conn>>, outcome: Outcome) {
        let outcome = outcome.and_then(|()| self.follow_up(&mut entry));
        if let Err(reason) = outcome {
            // Once the output has gone, it no longer matters how the peer leaves.
            let reason = match entry.core.phase {
                Phase::Lingering => entry.core.reason.unwrap_or(reason),
                _ => reason,
            };
            return self.finish(entry, reason);
        }
        let core = &mut entry.core;
        let slot = slot_of(core.key);
        let interest = core.interest(&self.env);
        if let Err(error) = core.stream.source().set_interest(slot as usize, interest) {
            return self.finish(entry, CloseReason::of(&error));
        }
        self.timers.schedule(slot, core.deadline(), self.env.tick);
        if (core.flags.again || core.flags.more) && !core.flags.listed {
            core.flags.listed = true;
            self.again.push(core.key);
        }
        self.slab.put(slot, entry);
    }

    fn follow_up(&mut self, entry: &mut Entry<S::Conn>) -> Outcome {
        if mem::take(&mut entry.core.flags.resumed) {
            entry.core.flags.more |= entry.core.stream.is_layered();
            if !entry.core.input.is_empty() {
                self.offer(entry, 0)?;
            }
            // Paused and resumed again meanwhile: not now, or this could go on for ever.
            entry.core.flags.again |= mem::take(&mut entry.core.flags.resumed);
        }
        let core = &mut entry.core;
        if core.phase == Phase::Aborting {
            return Err(core.reason.unwrap_or(CloseReason::Aborted));
        }
        if (core.flags.finishing || core.phase == Phase::Flushing) && !core.has_unsent() {
            self.end_output(entry)?;
        }
        let core = &mut entry.core;
        if core.phase == Phase::Lingering && core.flags.ended {
            return Err(CloseReason::Closed);
        }
        Ok(())
    }

    /// The output is flushed and is to end.
    fn end_output(&mut self, entry: &mut Entry<S::Conn>) -> Outcome {
        let core = &mut entry.core;
        if !core.flags.finished {
            core.flags.finished = true;
            core.end_stream(&mut self.env)?;
        }
        if core.stream.unsent() > 0 {
            return Ok(());
        }
        if !core.flags.shut {
            core.flags.shut = true;
            core.stream.shutdown_write();
        }
        if core.phase == Phase::Flushing {
            core.phase = Phase::Lingering;
            core.linger(&self.env);
            if self.env.config.linger.is_zero() {
                return Err(CloseReason::Closed);
            }
        }
        Ok(())
    }

    /// The end of a connection: the socket is closed, the service is told, the permit is given
    /// back.
    #[allow(clippy::boxed_local)] // moving it out costs a copy more
    pub(super) fn finish(&mut self, entry: Box<Entry<S::Conn>>, reason: CloseReason) {
        let Entry { core, conn } = *entry;
        let slot = slot_of(core.key);
        self.timers.remove(slot);
        if reason.is_abortive() {
            // The peer is told by a reset, and the kernel forgets what it could not send.
            let _ = core.stream.socket().set_linger(Some(Duration::ZERO));
        }
        let Core {
            stream,
            origin,
            phase,
            ..
        } = core;
        drop(stream);
        let counters = &self.mailbox.counters;
        if reason == CloseReason::Panic {
            counters.panics.one();
        }
        self.calls += 1;
        let opened = conn.is_some();
        if let Some(conn) = conn {
            let service = &mut self.service;
            if catch_unwind(AssertUnwindSafe(|| service.closed(conn, reason))).is_err() {
                counters.panics.one();
            }
            counters.closed.one();
        }
        self.slab.release(slot);
        if matches!(origin, Origin::Accepted { .. }) {
            self.mailbox.connections.fetch_sub(1, Ordering::Relaxed);
        }
        if !opened {
            self.never_opened(&origin, phase, reason);
        }
        drop(origin);
    }
}

/// Runs a callback; a panic ends its connection and nothing else.
pub(super) fn catch_panic<R>(call: impl FnOnce() -> R) -> Result<R, CloseReason> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|_| CloseReason::Panic)
}

fn checked(consumed: usize, offered: usize) -> usize {
    assert!(
        consumed <= offered,
        "a service consumes no more than it is offered"
    );
    consumed
}
