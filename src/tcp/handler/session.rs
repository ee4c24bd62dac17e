//! A handler on its connection: from the reactor's callbacks to the handler's.

use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::connection::{Connection, Connections, Order};
use super::timers::Timers;
use super::{Context, Handler, SessionConfig};
use crate::tcp::codec::{Decoded, Decoder, Tail};
use crate::tcp::reactor::{CloseReason, Io, Refuse, Service, Turn};

/// Where the handlers of a thread come from and what becomes of them: the part of the service in
/// which servers and clients differ.
pub(in crate::tcp) trait Owner: Send + 'static {
    type Handler: Handler;

    /// A connection has come: makes its session.
    fn begin(&mut self, io: &mut Io<'_>) -> Result<Session<Self::Handler>, Refuse>;

    /// The reactor drains.
    fn stopping(&mut self, session: &mut Session<Self::Handler>, io: &mut Io<'_>);

    /// The connection is gone.
    fn ended(&mut self, session: Session<Self::Handler>, reason: CloseReason);

    /// See [`Service::connect_failed`].
    fn connect_failed(&mut self, _ticket: u64, _reason: CloseReason) {}

    /// See [`Service::turn_ended`].
    fn turn_ended(&mut self, _turn: &mut Turn<'_, Box<Session<Self::Handler>>>) {}
}

/// Runs the handlers of one I/O thread.
pub(in crate::tcp) struct Sessions<O>(pub(in crate::tcp) O);

impl<O: Owner> Service for Sessions<O> {
    type Conn = Box<Session<O::Handler>>;

    fn open(&mut self, io: &mut Io<'_>) -> Result<Self::Conn, Refuse> {
        let mut session = Box::new(self.0.begin(io)?);
        // If that panics, the connection is opened all the same and closed at once, so that
        // `disconnected` follows.
        if catch_unwind(AssertUnwindSafe(|| session.connected(io))).is_err() {
            io.abort_because(CloseReason::Panic);
        }
        Ok(session)
    }

    fn input(&mut self, conn: &mut Self::Conn, io: &mut Io<'_>, input: &[u8]) -> usize {
        conn.input(io, input)
    }

    fn end_of_input(&mut self, conn: &mut Self::Conn, io: &mut Io<'_>) {
        conn.end_of_input(io);
    }

    fn woken(&mut self, conn: &mut Self::Conn, io: &mut Io<'_>) {
        conn.woken(io);
    }

    fn timer(&mut self, conn: &mut Self::Conn, io: &mut Io<'_>) {
        conn.timer(io);
    }

    fn progress(&mut self, conn: &mut Self::Conn, io: &mut Io<'_>) {
        conn.event(io, Session::fall_below);
    }

    fn drained(&mut self, conn: &mut Self::Conn, io: &mut Io<'_>) {
        conn.drained(io);
    }

    fn stopping(&mut self, conn: &mut Self::Conn, io: &mut Io<'_>) {
        self.0.stopping(conn, io);
    }

    fn closed(&mut self, conn: Self::Conn, reason: CloseReason) {
        self.0.ended(*conn, reason);
    }

    fn connect_failed(&mut self, ticket: u64, reason: CloseReason) {
        self.0.connect_failed(ticket, reason);
    }

    fn turn_ended(&mut self, turn: &mut Turn<'_, Self::Conn>) {
        self.0.turn_ended(turn);
    }
}

/// A handler with the state of its connection. What is sent during an event is gathered, and
/// written at its end.
pub(in crate::tcp) struct Session<H: Handler> {
    handler: H,
    state: SessionState<H>,
}

/// The part that a [`Context`] works with.
pub(super) struct SessionState<H: Handler> {
    pub(super) decoder: H::Decoder,
    /// What the decoder before it would have swallowed of the input to come.
    pub(super) tail: Tail,
    pub(super) encoder: H::Encoder,
    pub(super) connection: Connection<H::Message>,
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
        connection: Connection<H::Message>,
        connections: Option<Connections<H::Message>>,
        config: &Arc<SessionConfig>,
        io: &Io<'_>,
    ) -> Self {
        let now = io.now();
        let (decoder, encoder) = handler.codec();
        let state = SessionState {
            decoder,
            tail: Tail::None,
            encoder,
            connection,
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
        state.connection.attach(io.key());
        Self { handler, state }
    }

    /// Every event but input: gathers what is sent, and then looks after the rest. The input may
    /// have been resumed when the stream has ended, with nothing left that the reactor would offer.
    fn event(&mut self, io: &mut Io<'_>, event: impl FnOnce(&mut Self, &mut Io<'_>)) {
        // A panic may have left something.
        io.gathered().clear();
        event(self, io);
        if self.state.end == End::Pending && !io.is_input_paused() && io.unconsumed() == 0 {
            self.decode(io, &[]);
        }
        self.finish_event(io);
    }

    fn connected(&mut self, io: &mut Io<'_>) {
        self.event(io, |session, io| {
            session.call(io, |handler, ctx| handler.connected(ctx));
            session.take_messages(io);
        });
    }

    fn input(&mut self, io: &mut Io<'_>, input: &[u8]) -> usize {
        io.gathered().clear();
        let consumed = self.decode(io, input);
        self.finish_event(io);
        consumed
    }

    fn end_of_input(&mut self, io: &mut Io<'_>) {
        self.state.end = End::Pending;
        self.event(io, |session, io| {
            if !io.is_input_paused() {
                session.decode_rest(io);
            }
        });
    }

    fn woken(&mut self, io: &mut Io<'_>) {
        match self.state.connection.order() {
            Some(Order::Abort) => return io.abort(),
            Some(Order::Shutdown) => return self.finish(io),
            None => {}
        }
        self.event(io, |session, io| {
            if session.state.notify_flushed && io.pending_write() == 0 {
                session.tell_flushed(io);
            }
            session.take_messages(io);
        });
    }

    /// Handles what has been posted, and closes the connection in order.
    pub(in crate::tcp) fn finish(&mut self, io: &mut Io<'_>) {
        io.gathered().clear();
        // No more than may wait, or the posters could keep it open for ever.
        for _ in 0..self.state.config.mailbox {
            let Some(message) = self.state.connection.take() else {
                break;
            };
            self.call(io, |handler, ctx| handler.message(message, ctx));
        }
        io.flush_gathered();
        io.close_when_flushed();
    }

    fn timer(&mut self, io: &mut Io<'_>) {
        self.note_traffic(io);
        let (now, state) = (io.now(), &self.state);
        if state.handshake_deadline().is_some_and(|at| at <= now) {
            return io.close_because(CloseReason::HandshakeTimeout);
        }
        if state.idle_deadline().is_some_and(|at| at <= now) {
            return io.close_because(CloseReason::IdleTimeout);
        }
        self.event(io, |session, io| {
            // Timers that the handler sets now have their turn later, even if they are due.
            for timer in session.state.timers.take_due(now) {
                session.call(io, |handler, ctx| handler.timer(timer, ctx));
            }
        });
    }

    fn drained(&mut self, io: &mut Io<'_>) {
        self.event(io, |session, io| {
            session.fall_below(io);
            session.tell_flushed(io);
        });
    }

    pub(in crate::tcp) fn stopping(&mut self, io: &mut Io<'_>) {
        self.event(io, |session, io| {
            session.call(io, |handler, ctx| handler.stopping(ctx));
        });
    }

    /// The connection is gone; what is left is the handler.
    pub(in crate::tcp) fn closed(self, reason: CloseReason) -> H {
        let Self { mut handler, state } = self;
        // First: who looks for the connection from now on does not find it.
        drop(state);
        handler.disconnected(reason);
        handler
    }

    pub(in crate::tcp) fn opened_at(&self) -> Instant {
        self.state.opened_at
    }

    pub(in crate::tcp) fn connection(&self) -> &Connection<H::Message> {
        &self.state.connection
    }

    fn tell_flushed(&mut self, io: &mut Io<'_>) {
        self.state.notify_flushed = false;
        self.call(io, |handler, ctx| handler.flushed(ctx));
    }

    fn call(&mut self, io: &mut Io<'_>, call: impl FnOnce(&mut H, &mut Context<'_, H>)) {
        if !io.is_closing() {
            let mut ctx = Context {
                io: io.reborrow(),
                state: &mut self.state,
            };
            call(&mut self.handler, &mut ctx);
        }
    }

    /// Decodes and handles items, as many as there are and a turn allows.
    fn decode(&mut self, io: &mut Io<'_>, input: &[u8]) -> usize {
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
                        self.call(io, |handler, ctx| handler.input(item, ctx));
                    }
                }
                Err(error) => {
                    consumed += error.consumed;
                    let can_go_on = error.consumed > 0;
                    self.call(io, |handler, ctx| {
                        handler.invalid_input(error, ctx);
                        if !can_go_on {
                            ctx.close_because(CloseReason::InvalidInput);
                        }
                    });
                }
            }
            if mem::take(&mut self.state.layer_begun) {
                io.push_early(&input[consumed..]);
                return input.len();
            }
        }
        if self.state.end == End::Pending && consumed == input.len() && !io.is_input_paused() {
            self.state.end = End::Told;
            self.call(io, |handler, ctx| handler.end_of_input(ctx));
        }
        consumed
    }

    /// The peer's stream has ended: nothing will come to complete what is left.
    fn decode_rest(&mut self, io: &mut Io<'_>) {
        let mut rest = mem::take(io.unconsumed_mut());
        let consumed = self.decode(io, &rest);
        if consumed < rest.len() && !io.is_closing() {
            rest.drain(..consumed);
            *io.unconsumed_mut() = rest;
        }
    }

    fn take_messages(&mut self, io: &mut Io<'_>) {
        for _ in 0..self.state.config.per_turn.max(1) {
            if io.is_closing() {
                return;
            }
            let Some(message) = self.state.connection.take() else {
                return;
            };
            self.call(io, |handler, ctx| handler.message(message, ctx));
        }
        if !self.state.connection.is_empty() {
            self.state.connection.wake();
        }
    }

    /// After every event: what was sent goes out, marks and timers are looked after.
    fn finish_event(&mut self, io: &mut Io<'_>) {
        io.flush_gathered();
        if !self.state.above && io.pending_write() >= self.state.config.high_mark {
            self.state.above = true;
            self.call(io, |handler, ctx| handler.high_water(ctx));
            io.flush_gathered();
        }
        if io.is_closing() {
            return;
        }
        if self.state.notify_flushed && io.pending_write() == 0 {
            self.state.connection.wake();
        }
        self.note_traffic(io);
        io.set_timer(self.state.deadline());
    }

    fn fall_below(&mut self, io: &mut Io<'_>) {
        if self.state.above && io.pending_write() <= self.state.config.low_mark {
            self.state.above = false;
            self.call(io, |handler, ctx| handler.low_water(ctx));
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

impl<H: Handler> SessionState<H> {
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

/// Takes the connection off the list, even if it ends with its thread. A client's goes on.
impl<H: Handler> Drop for SessionState<H> {
    fn drop(&mut self) {
        match &self.connections {
            None => self.connection.detach(),
            Some(list) => {
                self.connection.close();
                list.remove(self.connection.id());
            }
        }
    }
}
