//! A handler on its connection: from the reactor's callbacks to the handler's.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Handler;
use super::config::SessionConfig;
use super::context::Context;
use super::inbox::{Inbox, Order};
use super::registry::Connections;
use crate::tcp::codec::{Decoded, Decoder, Tail};
use crate::tcp::reactor::{CloseReason, Io};

/// State of one connection. The methods follow [`Service`](crate::tcp::reactor::Service);
/// `output` is a buffer that the sessions of a thread share.
pub(in crate::tcp) struct Session<H: Handler> {
    handler: H,
    state: State<H>,
}

/// The part that a [`Context`] works with.
pub(super) struct State<H: Handler> {
    pub(super) decoder: H::Decoder,
    /// What the decoder before it would have swallowed of the input to come.
    pub(super) tail: Tail,
    pub(super) encoder: H::Encoder,
    pub(super) inbox: Arc<Inbox<H::Message>>,
    pub(super) connections: Option<Connections<H::Message>>,
    pub(super) timers: Timers,
    pub(super) opened_at: Instant,
    pub(super) idle_timeout: Option<Duration>,
    /// The handler wants to be told when everything is flushed.
    pub(super) notify_flushed: bool,
    /// The handler has put a layer under the connection; what comes next in the same input is its.
    pub(super) layer_begun: bool,
    config: Arc<SessionConfig>,
    /// When something last came or went.
    active_at: Instant,
    /// `bytes_in + bytes_out` at that time.
    traffic: u64,
    /// No item has come yet.
    silent: bool,
    /// The high mark was reached and the low mark not since.
    above: bool,
    end: End,
}

/// How far the end of the peer's stream has got.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    No,
    /// It has come; items before it may have to be handled first.
    Pending,
    Told,
}

impl<H: Handler> Session<H> {
    pub(in crate::tcp) fn new(
        mut handler: H,
        inbox: Arc<Inbox<H::Message>>,
        connections: Option<Connections<H::Message>>,
        config: &Arc<SessionConfig>,
        now: Instant,
    ) -> Self {
        let (decoder, encoder) = handler.codec();
        let state = State {
            decoder,
            tail: Tail::None,
            encoder,
            inbox,
            connections,
            timers: Timers::default(),
            opened_at: now,
            idle_timeout: config.idle_timeout,
            notify_flushed: false,
            layer_begun: false,
            config: Arc::clone(config),
            active_at: now,
            traffic: 0,
            silent: true,
            above: false,
            end: End::No,
        };
        Self { handler, state }
    }

    /// As `connected`; if that panics, the connection is opened all the same and closed at once, so
    /// that `disconnected` follows.
    pub(in crate::tcp) fn connected_or_panic(&mut self, io: &mut Io<'_>, output: &mut Vec<u8>) {
        if catch_unwind(AssertUnwindSafe(|| self.connected(io, output))).is_err() {
            io.abort_because(CloseReason::Panic);
        }
    }

    fn connected(&mut self, io: &mut Io<'_>, output: &mut Vec<u8>) {
        output.clear();
        self.call(io, output, |handler, ctx| handler.connected(ctx));
        self.take_messages(io, output);
        self.settle_all(io, output);
    }

    pub(in crate::tcp) fn input(
        &mut self,
        io: &mut Io<'_>,
        output: &mut Vec<u8>,
        input: &[u8],
    ) -> usize {
        output.clear();
        let consumed = self.decode(io, output, input);
        self.settle(io, output);
        consumed
    }

    pub(in crate::tcp) fn end_of_input(&mut self, io: &mut Io<'_>, output: &mut Vec<u8>) {
        output.clear();
        self.state.end = End::Pending;
        if !io.is_input_paused() {
            self.decode_rest(io, output);
        }
        self.settle_all(io, output);
    }

    pub(in crate::tcp) fn woken(&mut self, io: &mut Io<'_>, output: &mut Vec<u8>) {
        output.clear();
        match self.state.inbox.order() {
            Some(Order::Abort) => return io.abort(),
            Some(Order::Shutdown) => return self.finish(io, output),
            None => {}
        }
        if self.state.notify_flushed && io.pending_write() == 0 {
            self.state.notify_flushed = false;
            self.call(io, output, |handler, ctx| handler.flushed(ctx));
        }
        self.take_messages(io, output);
        self.settle_all(io, output);
    }

    /// Handles what has been posted, and closes the connection in order.
    pub(in crate::tcp) fn finish(&mut self, io: &mut Io<'_>, output: &mut Vec<u8>) {
        output.clear();
        // No more than may wait, or the posters could keep it open for ever.
        for _ in 0..self.state.config.mailbox {
            let Some(message) = self.state.inbox.take() else {
                break;
            };
            self.call(io, output, |handler, ctx| handler.message(message, ctx));
        }
        self.flush(io, output);
        io.close_when_flushed();
    }

    pub(in crate::tcp) fn timer(&mut self, io: &mut Io<'_>, output: &mut Vec<u8>) {
        output.clear();
        self.note_traffic(io);
        let now = io.now();
        let state = &self.state;
        if state.handshake_deadline().is_some_and(|at| at <= now) {
            return io.close_because(CloseReason::HandshakeTimeout);
        }
        if state.idle_deadline().is_some_and(|at| at <= now) {
            return io.close_because(CloseReason::IdleTimeout);
        }
        // Timers that the handler sets now have their turn later, even if they are due.
        for timer in self.state.timers.take_due(now) {
            self.call(io, output, |handler, ctx| handler.timer(timer, ctx));
        }
        self.settle_all(io, output);
    }

    pub(in crate::tcp) fn progress(&mut self, io: &mut Io<'_>, output: &mut Vec<u8>) {
        output.clear();
        self.fall_below(io, output);
        self.settle_all(io, output);
    }

    pub(in crate::tcp) fn drained(&mut self, io: &mut Io<'_>, output: &mut Vec<u8>) {
        output.clear();
        self.fall_below(io, output);
        self.state.notify_flushed = false;
        self.call(io, output, |handler, ctx| handler.flushed(ctx));
        self.settle_all(io, output);
    }

    pub(in crate::tcp) fn stopping(&mut self, io: &mut Io<'_>, output: &mut Vec<u8>) {
        output.clear();
        self.call(io, output, |handler, ctx| handler.stopping(ctx));
        self.settle_all(io, output);
    }

    /// The connection is gone; what is left is the handler.
    pub(in crate::tcp) fn closed(mut self, reason: CloseReason) -> H {
        self.handler.disconnected(reason);
        self.handler
    }

    pub(in crate::tcp) fn opened_at(&self) -> Instant {
        self.state.opened_at
    }

    fn call(
        &mut self,
        io: &mut Io<'_>,
        output: &mut Vec<u8>,
        call: impl FnOnce(&mut H, &mut Context<'_, H>),
    ) {
        if !io.is_closing() {
            let mut ctx = Context {
                io: io.reborrow(),
                state: &mut self.state,
                output,
            };
            call(&mut self.handler, &mut ctx);
        }
    }

    /// Decodes and handles items, as many as there are and a turn allows.
    fn decode(&mut self, io: &mut Io<'_>, output: &mut Vec<u8>, input: &[u8]) -> usize {
        let mut consumed = 0;
        let mut left = self.state.config.per_turn.max(1);
        // A layer that was begun by another call has got what was kept.
        self.state.layer_begun = false;
        while !io.is_closing() && !io.is_input_paused() {
            consumed += self.state.tail.skip(&input[consumed..]);
            let rest = &input[consumed..];
            if left == 0 {
                if rest.is_empty() {
                    break;
                }
                io.offer_again();
                return consumed;
            }
            let decoder = &mut self.state.decoder;
            let mut decoded = if rest.is_empty() {
                Ok(Decoded::INCOMPLETE)
            } else {
                decoder.decode(rest)
            };
            if self.state.end == End::Pending && matches!(&decoded, Ok(d) if d.is_incomplete()) {
                decoded = decoder.decode_end(rest);
                if matches!(&decoded, Ok(d) if d.is_incomplete()) {
                    // It never will be an item, and the end must not wait for it.
                    consumed = input.len();
                }
            }
            left -= 1;
            match decoded {
                Ok(Decoded {
                    consumed: 0,
                    item: None,
                }) => break,
                Ok(decoded) => {
                    consumed += decoded.consumed;
                    if let Some(item) = decoded.item {
                        self.state.silent = false;
                        self.call(io, output, |handler, ctx| handler.input(item, ctx));
                    }
                }
                Err(error) => {
                    consumed += error.consumed;
                    let can_go_on = error.consumed > 0;
                    self.call(io, output, |handler, ctx| {
                        handler.invalid_input(error, ctx);
                        if !can_go_on {
                            ctx.close_because(CloseReason::InvalidInput);
                        }
                    });
                }
            }
            if std::mem::take(&mut self.state.layer_begun) {
                io.push_early(&input[consumed..]);
                return input.len();
            }
        }
        if self.state.end == End::Pending && consumed == input.len() && !io.is_input_paused() {
            self.state.end = End::Told;
            self.call(io, output, |handler, ctx| handler.end_of_input(ctx));
        }
        consumed
    }

    /// The peer's stream has ended: nothing will come to complete what is left.
    fn decode_rest(&mut self, io: &mut Io<'_>, output: &mut Vec<u8>) {
        let mut rest = std::mem::take(io.unconsumed_mut());
        let consumed = self.decode(io, output, &rest);
        if consumed < rest.len() && !io.is_closing() {
            rest.drain(..consumed);
            *io.unconsumed_mut() = rest;
        }
    }

    fn take_messages(&mut self, io: &mut Io<'_>, output: &mut Vec<u8>) {
        for _ in 0..self.state.config.per_turn.max(1) {
            if io.is_closing() {
                return;
            }
            let Some(message) = self.state.inbox.take() else {
                return;
            };
            self.call(io, output, |handler, ctx| handler.message(message, ctx));
        }
        if !self.state.inbox.is_empty() {
            self.state.inbox.wake();
        }
    }

    /// After every event but input: the input may have been resumed when the stream has ended, with
    /// nothing left that the reactor would offer.
    fn settle_all(&mut self, io: &mut Io<'_>, output: &mut Vec<u8>) {
        if self.state.end == End::Pending && !io.is_input_paused() && io.unconsumed() == 0 {
            self.decode(io, output, &[]);
        }
        self.settle(io, output);
    }

    /// After every event: what was sent goes out, marks and timers are looked after.
    fn settle(&mut self, io: &mut Io<'_>, output: &mut Vec<u8>) {
        self.flush(io, output);
        if !self.state.above && io.pending_write() >= self.state.config.high_mark {
            self.state.above = true;
            self.call(io, output, |handler, ctx| handler.high_water(ctx));
            self.flush(io, output);
        }
        if io.is_closing() {
            return;
        }
        if self.state.notify_flushed && io.pending_write() == 0 {
            self.state.inbox.wake();
        }
        self.note_traffic(io);
        io.set_timer(self.state.deadline());
    }

    fn flush(&mut self, io: &mut Io<'_>, output: &mut Vec<u8>) {
        Context {
            io: io.reborrow(),
            state: &mut self.state,
            output,
        }
        .flush();
    }

    fn fall_below(&mut self, io: &mut Io<'_>, output: &mut Vec<u8>) {
        if self.state.above && io.pending_write() <= self.state.config.low_mark {
            self.state.above = false;
            self.call(io, output, |handler, ctx| handler.low_water(ctx));
        }
    }

    fn note_traffic(&mut self, io: &Io<'_>) {
        let traffic = io.bytes_in() + io.bytes_out();
        if traffic != self.state.traffic {
            self.state.traffic = traffic;
            self.state.active_at = io.now();
        }
    }
}

impl<H: Handler> State<H> {
    /// Another decoder takes over, or a layer.
    pub(super) fn end_decoder(&mut self) {
        let tail = self.decoder.hand_over();
        if tail != Tail::None {
            self.tail = tail;
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let all = [
            self.timers.next(),
            self.handshake_deadline(),
            self.idle_deadline(),
        ];
        all.into_iter().flatten().min()
    }

    fn handshake_deadline(&self) -> Option<Instant> {
        let timeout = self.config.handshake_timeout.filter(|_| self.silent)?;
        self.opened_at.checked_add(timeout)
    }

    fn idle_deadline(&self) -> Option<Instant> {
        self.active_at.checked_add(self.idle_timeout?)
    }
}

/// The timers of a handler. They are few, so a list does.
#[derive(Default)]
pub(super) struct Timers(Vec<(u32, Instant)>);

impl Timers {
    pub(super) fn set(&mut self, timer: u32, at: Instant) {
        self.cancel(timer);
        self.0.push((timer, at));
    }

    pub(super) fn cancel(&mut self, timer: u32) {
        self.0.retain(|(number, _)| *number != timer);
    }

    fn next(&self) -> Option<Instant> {
        self.0.iter().map(|(_, at)| *at).min()
    }

    /// Takes those that are due, the earliest first.
    fn take_due(&mut self, now: Instant) -> Vec<u32> {
        let mut due: Vec<(Instant, u32)> = self
            .0
            .iter()
            .filter(|(_, at)| *at <= now)
            .map(|(n, at)| (*at, *n))
            .collect();
        self.0.retain(|(_, at)| *at > now);
        due.sort_unstable();
        due.into_iter().map(|(_, timer)| timer).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_come_in_order_and_can_be_moved() {
        let clock = crate::clock::ManualClock::new();
        let start = crate::clock::Clock::now(&clock);
        let at = |ms| start + Duration::from_millis(ms);
        let mut timers = Timers::default();
        timers.set(1, at(30));
        timers.set(2, at(10));
        timers.set(3, at(20));
        timers.set(1, at(5));
        timers.cancel(3);
        assert_eq!(timers.next(), Some(at(5)));
        assert!(timers.take_due(at(4)).is_empty());
        assert_eq!(timers.take_due(at(10)), [1, 2]);
        assert_eq!(timers.next(), None);
    }
}
