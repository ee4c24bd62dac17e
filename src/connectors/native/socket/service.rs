//! The WebSockets of one I/O thread: what to do when something happens to one.

use std::mem;
use std::sync::Arc;

use super::state::{Due, GOING_AWAY, Limits, NORMAL, NOT_JSON, POLICY, Socket, TRY_LATER};
use super::writer::Writer;
use crate::broker::{Answer, Attachment, Executed};
use crate::connectors::native::events::end_with_the_peer;
use crate::connectors::native::shared::{Shared, ThreadCounter};
use crate::connectors::native::websocket::{Event, write_close, write_ping, write_pong};
use crate::protocol::BatchError;
use crate::refusals::Reason;
use crate::tcp::reactor::Io;
use crate::transport::{ConnectionHandle, Peer, WakeSink};

/// Most frames of one connection that are looked at in a turn.
const FRAMES_PER_TURN: usize = 64;

/// Most bytes of messages that are collected for one write; one message always fits. What a reader
/// that is slow holds up of the server's memory.
const FLIGHT_BYTES: usize = 64 << 10;

/// Writes of messages to one connection in a turn, although the peer would take more.
const FLIGHTS_PER_TURN: usize = 4;

/// The buffer is given back when a message has made it larger than this.
const KEPT_CAPACITY: usize = 64 << 10;

/// Works for the sockets of one thread.
pub(in crate::connectors::native) struct Sockets {
    shared: Arc<Shared>,
    sink: Arc<dyn WakeSink>,
    frames: Arc<ThreadCounter>,
    limits: Limits,
    writer: Writer,
    /// Where the message at hand is.
    scratch: Vec<u8>,
}

impl Sockets {
    pub(in crate::connectors::native) fn new(
        shared: Arc<Shared>,
        sink: Arc<dyn WakeSink>,
        frames: Arc<ThreadCounter>,
    ) -> Self {
        let config = &shared.config;
        let limits = Limits {
            ping_interval: config.ping_interval,
            ping_timeout: config.ping_timeout,
            message: config.body_timeout,
            alone: shared.site.broker().config().max_interval,
        };
        Self {
            limits,
            shared,
            sink,
            frames,
            writer: Writer::new(),
            scratch: Vec::new(),
        }
    }

    /// The answer to the opening handshake has been written.
    pub(in crate::connectors::native) fn begin(&mut self, peer: Peer, io: &mut Io<'_>) -> Socket {
        self.shared.sockets.add(1);
        let socket = Socket::new(peer, io.now());
        io.set_timer(Some(socket.deadline(&self.limits)));
        socket
    }

    pub(in crate::connectors::native) fn input(
        &mut self,
        socket: &mut Socket,
        io: &mut Io<'_>,
        input: &[u8],
    ) -> usize {
        socket.hear(io.now());
        let taken = self.read(socket, io, input);
        self.book(socket, input.len() - taken);
        self.advance(socket, io);
        taken
    }

    pub(in crate::connectors::native) fn end_of_input(
        &mut self,
        socket: &mut Socket,
        io: &mut Io<'_>,
    ) {
        // The sessions are free for the client's next connection at once.
        socket.forget();
        end_with_the_peer(io);
    }

    pub(in crate::connectors::native) fn woken(&mut self, socket: &mut Socket, io: &mut Io<'_>) {
        if io.pending_write() > 0 {
            if socket.is_cut() {
                // The peer has got a part of it; only the end of the connection tells it so.
                io.abort();
            }
            return;
        }
        self.advance(socket, io);
    }

    pub(in crate::connectors::native) fn drained(&mut self, socket: &mut Socket, io: &mut Io<'_>) {
        socket.drained(io);
        self.advance(socket, io);
    }

    pub(in crate::connectors::native) fn received(&mut self, socket: &mut Socket, io: &Io<'_>) {
        socket.unread.received(io);
    }

    pub(in crate::connectors::native) fn timer(&mut self, socket: &mut Socket, io: &mut Io<'_>) {
        // Who still reads what was written before comes to the ping later.
        let reads_on = io.pending_write() == 0
            && io.watch_receipt()
            && io.awaits_receipt() < Some(self.limits.ping_timeout);
        let blocked = io.is_input_paused() || io.pending_write() > 0 || reads_on;
        match socket.due(io.now(), &self.limits, blocked) {
            Due::Nothing => {}
            Due::Ping => {
                socket.ping(io.now());
                self.writer.add_control(write_ping);
            }
            Due::Silence => return io.abort(),
            Due::Message => {
                let told = (POLICY, "the message took too long");
                self.refuse(socket, Reason::BodyTimeout, told);
            }
            Due::Alone => socket.close(NORMAL, "no session"),
        }
        io.set_timer(Some(socket.deadline(&self.limits)));
        if io.pending_write() == 0 {
            self.advance(socket, io);
        }
    }

    pub(in crate::connectors::native) fn stopping(&mut self, socket: &mut Socket, io: &mut Io<'_>) {
        socket.close(GOING_AWAY, "the server stops");
        if io.pending_write() == 0 {
            self.advance(socket, io);
        }
    }

    pub(in crate::connectors::native) fn closed(&mut self, socket: &Socket) {
        self.shared.input.change(socket.booked, 0);
        self.shared.sockets.sub(1);
    }

    /// Drops what was put together and not sent.
    pub(in crate::connectors::native) fn forget(&mut self) {
        self.writer.forget();
    }

    /// Takes frames from the input and executes them. Returns how many bytes were taken.
    fn read(&mut self, socket: &mut Socket, io: &mut Io<'_>, input: &[u8]) -> usize {
        let mut scratch = mem::take(&mut self.scratch);
        let (mut at, mut frames) = (0, 0);
        while at < input.len() && socket.closing.is_none() {
            if self.writer.is_pressing() {
                self.writer.send(socket, io);
            }
            if io.pending_write() > 0 || socket.working || io.is_closing() {
                // What it waits for may have come before `advance` looks: no event follows then,
                // and only to resume a pause makes the rest be offered again.
                io.pause_input();
                break;
            }
            if frames == FRAMES_PER_TURN {
                io.offer_again();
                break;
            }
            let inside = socket.decoder.is_inside();
            let max = self.shared.config.message_limit();
            match socket.decoder.decode(&input[at..], max, &mut scratch) {
                Ok(decoded) => {
                    at += decoded.taken;
                    frames += 1;
                    // A control frame may have come behind the beginning.
                    if !inside && socket.decoder.is_inside() {
                        socket.begin(io.now());
                        io.set_timer(Some(socket.deadline(&self.limits)));
                    }
                    match decoded.event {
                        Some(event) => self.handle(socket, io, event),
                        None => break,
                    }
                }
                Err(failure) => {
                    let told = (failure.code(), failure.reason());
                    self.refuse(socket, failure.counts_as(), told);
                }
            }
        }
        scratch.shrink_to(KEPT_CAPACITY);
        self.scratch = scratch;
        if socket.closing.is_some() {
            // What comes behind the end means nothing.
            return input.len();
        }
        at
    }

    fn handle(&mut self, socket: &mut Socket, io: &mut Io<'_>, event: Event<'_>) {
        match event {
            Event::Text(text) => self.execute(socket, io, text),
            Event::Ping(payload) => self.writer.add_control(|out| write_pong(out, payload)),
            Event::Pong => {}
            Event::Close(code) => socket.end(code, ""),
        }
    }

    fn execute(&mut self, socket: &mut Socket, io: &mut Io<'_>, text: &str) {
        self.frames.one();
        let connection = ConnectionHandle {
            sink: Arc::clone(&self.sink),
            key: io.key(),
        };
        match self.shared.site.frame(*socket.peer, text, connection) {
            Ok(Executed::Now(answer)) => {
                // Messages go before the replies, and so do the answers to connects that this
                // frame has ended: a client may close when it sees the reply to its disconnect.
                self.collect(socket, io);
                socket.answers = true;
                self.collect_answers(socket, io);
                self.answer(socket, io, answer);
            }
            Ok(Executed::Later(mut exchange)) => {
                while let Some(session) = exchange.attached() {
                    socket.sessions.push(session);
                }
                socket.expect(exchange);
            }
            Err(error) => {
                let code = match error {
                    BatchError::NotUtf8 | BatchError::NotJson(_) => NOT_JSON,
                    _ => POLICY,
                };
                socket.close(code, error.to_string());
            }
        }
    }

    /// Does everything that can be done: collects, answers, sends, closes. Nothing of the
    /// connection may be waiting for the kernel, but for what was just written.
    fn advance(&mut self, socket: &mut Socket, io: &mut Io<'_>) {
        let mut more = true;
        for _ in 0..FLIGHTS_PER_TURN {
            if !more || io.pending_write() > 0 {
                break;
            }
            more = self.collect(socket, io);
            more |= self.collect_answers(socket, io);
            self.writer.send(socket, io);
        }
        if io.pending_write() == 0 {
            // When the server stops, what waits goes out first.
            more |= socket.is_leaving() && socket.sessions.iter().any(Attachment::has_more);
            let waits = more && socket.is_leaving();
            if let Some(closing) = socket.closing.take_if(|_| !waits) {
                self.writer
                    .add_control(|out| write_close(out, closing.code, &closing.reason));
                self.writer.send(socket, io);
                // The sessions are free for the client's next connection at once.
                socket.forget();
                return io.close_when_flushed();
            }
            if more {
                self.sink.wake(&[io.key()]);
            }
        }
        if io.pending_write() > 0 || socket.working {
            io.pause_input();
        } else {
            io.resume_input();
        }
        if socket.is_alone() {
            io.set_timer(Some(socket.deadline(&self.limits)));
        }
    }

    /// Collects what waits for the sessions. Returns whether there may be more than fits.
    fn collect(&mut self, socket: &mut Socket, io: &mut Io<'_>) -> bool {
        let mut room = FLIGHT_BYTES;
        let mut at = 0;
        while let Some(session) = socket.sessions.get_mut(at) {
            if session.is_in_flight() {
                socket.answers = true;
                at += 1;
                continue;
            }
            if room == 0 {
                // The others come first next time.
                socket.sessions.rotate(at);
                return true;
            }
            let before = self.writer.messages.len();
            match session.collect(room, &mut self.writer.messages) {
                Ok(collected) => {
                    socket.answers |= collected.answers;
                    let new = &self.writer.messages[before..];
                    let bytes: usize = new.iter().map(|message| message.frame().len()).sum();
                    room = room.saturating_sub(bytes);
                    at += 1;
                }
                Err(ended) => {
                    drop(socket.sessions.remove(at));
                    socket.answers = true;
                    socket.strays = true;
                    socket.lose(ended, io.now());
                }
            }
        }
        false
    }

    /// Looks whether frames that were not answered can be now. Returns whether there may be more:
    /// than fits, or for sessions that have come with the answers.
    fn collect_answers(&mut self, socket: &mut Socket, io: &mut Io<'_>) -> bool {
        if !socket.may_have_answers() {
            return false;
        }
        let (mut at, sessions) = (0, socket.sessions.len());
        while at < socket.pending.len() {
            if self.writer.is_pressing() {
                socket.answers = true;
                return true;
            }
            if let Some(answer) = socket.pending[at].poll() {
                drop(socket.pending.remove(at));
                self.answer(socket, io, answer);
                continue;
            }
            while let Some(session) = socket.pending[at].attached() {
                socket.sessions.push(session);
            }
            at += 1;
        }
        socket.answers = false;
        socket.working = socket.pending.iter().any(|exchange| !exchange.is_held());
        socket.strays &= !socket.pending.is_empty();
        socket.sessions.len() > sessions
    }

    fn answer(&mut self, socket: &mut Socket, io: &mut Io<'_>, mut answer: Answer) {
        self.writer.add_answer(&mut answer);
        for session in answer.attached.drain(..) {
            socket.sessions.push(session);
        }
        if answer.known {
            socket.meet(io.now());
        }
        if answer.close {
            socket.close(GOING_AWAY, "the server stops");
        }
    }

    /// Books what the connection holds of unfinished messages; one that brings the sum of all above
    /// its bound has to go.
    fn book(&self, socket: &mut Socket, rest: usize) {
        let holds = socket.decoder.len() + rest;
        let before = mem::replace(&mut socket.booked, holds);
        if !self.shared.input.change(before, holds) {
            let told = (TRY_LATER, "too much unfinished input");
            self.refuse(socket, Reason::MaxInputTotal, told);
        }
    }

    /// Closes a socket for what its peer sent, with this code and reason; says so to the log too.
    fn refuse(&self, socket: &mut Socket, counts_as: Reason, (code, reason): (u16, &'static str)) {
        let seen = format_args!(
            "a WebSocket of {}, closed with {code}: {reason}",
            socket.peer.ip
        );
        let refusals = self.shared.site.broker().refusals();
        refusals.count(counts_as, seen);
        socket.close(code, reason);
    }
}
