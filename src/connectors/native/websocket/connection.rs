//! A connection that has become a WebSocket: what is kept for it, and what happens to it when.
//!
//! Frames are executed in order; messages and answers leave as they come, all that there is for a
//! connection in one write. While the kernel has not taken a write, nothing more is read from,
//! collected for or written to that connection: so a slow reader holds up one write's messages and
//! its own requests, nobody else's.

use std::mem;

use super::lifetime::{Closing, Due, GOING_AWAY, NORMAL, NOT_JSON, POLICY, TRY_LATER, Times};
use super::sessions::Sessions;
use super::{Decoder, Event, write_answer, write_close, write_ping, write_pong};
use crate::broker::{Answer, Exchange, Executed};
use crate::connectors::native::events::end_with_the_peer;
use crate::connectors::native::outbound::{Outbound, PIECE};
use crate::connectors::native::thread::{InputBooking, Thread};
use crate::protocol::BatchError;
use crate::refusals::Reason;
use crate::tcp::reactor::Io;
use crate::transport::Peer;

/// Most frames of one connection that are looked at in a turn.
const FRAMES_PER_TURN: usize = 64;

/// Most sessions of one connection that are looked at in a turn.
const SESSIONS_PER_TURN: usize = 1024;

/// Writes of messages to one connection in a turn, although the peer would take more.
const WRITES_PER_TURN: usize = 4;

/// One WebSocket. While it is idle that is this and its sessions' ties, no buffers.
pub(crate) struct Socket {
    peer: Box<Peer>,
    pub(super) decoder: Decoder,
    /// Sessions whose messages go here, with their connects that are held.
    pub(super) sessions: Sessions,
    /// Other frames that are not answered yet: at most one that is not executed to its end, and
    /// connects whose sessions' messages go elsewhere by now. Every wake may be for them.
    pub(super) pending: Vec<Exchange>,
    /// One of them is not executed to its end: what comes behind it has to wait.
    working: bool,
    pub(crate) outbound: Outbound,
    /// The last that is to be written.
    pub(super) closing: Option<Box<Closing>>,
    pub(super) times: Times,
    /// What it has booked of unfinished input.
    booked: InputBooking,
}

/// Callbacks of the reactor.
impl Socket {
    /// The answer to the opening handshake has been written.
    pub(crate) fn begin(thread: &Thread, io: &mut Io<'_>, peer: Peer, outbound: Outbound) -> Self {
        thread.shared.sockets.add(1);
        let socket = Self::new(peer, Times::new(io.now()), outbound);
        io.set_timer(Some(socket.deadline(&thread.limits)));
        socket
    }

    pub(super) fn new(peer: Peer, times: Times, outbound: Outbound) -> Self {
        Self {
            peer: Box::new(peer),
            decoder: Decoder::default(),
            sessions: Sessions::default(),
            pending: Vec::new(),
            working: false,
            outbound,
            closing: None,
            times,
            booked: None,
        }
    }

    pub(crate) fn input(&mut self, thread: &mut Thread, io: &mut Io<'_>, input: &[u8]) -> usize {
        self.times.note_input(io.now());
        let taken = self.read(thread, io, input);
        self.book(thread, input.len() - taken);
        self.advance(thread, io);
        taken
    }

    pub(crate) fn end_of_input(&mut self, _: &mut Thread, io: &mut Io<'_>) {
        // The sessions are free for the client's next connection at once.
        self.detach();
        end_with_the_peer(io);
    }

    pub(crate) fn woken(&mut self, thread: &mut Thread, io: &mut Io<'_>) {
        if io.pending_write() == 0 {
            self.advance(thread, io);
        }
    }

    pub(crate) fn drained(&mut self, thread: &mut Thread, io: &mut Io<'_>) {
        self.outbound.drained(io, self.sessions.in_flight());
        self.sessions.end_flight();
        self.advance(thread, io);
    }

    pub(crate) fn timer(&mut self, thread: &mut Thread, io: &mut Io<'_>) {
        // Who still reads what was written before comes to the ping later.
        let reads_on = io.pending_write() == 0
            && io.watch_receipt()
            && io.awaits_receipt() < Some(thread.limits.ping_timeout);
        let blocked = io.is_input_paused() || io.pending_write() > 0 || reads_on;
        match self.due(io.now(), &thread.limits, blocked) {
            Due::Nothing => {}
            Due::Ping => {
                self.times.ping(io.now());
                write_ping(thread.ready.behind_messages());
            }
            Due::Silence => return io.abort(),
            Due::Message => {
                self.refuse(
                    thread,
                    Reason::BodyTimeout,
                    POLICY,
                    "the message took too long",
                );
            }
            Due::NoSession => self.close(NORMAL, "no session"),
        }
        io.set_timer(Some(self.deadline(&thread.limits)));
        if io.pending_write() == 0 {
            self.advance(thread, io);
        }
    }

    pub(crate) fn stopping(&mut self, thread: &mut Thread, io: &mut Io<'_>) {
        self.close(GOING_AWAY, "the server stops");
        if io.pending_write() == 0 {
            self.advance(thread, io);
        }
    }

    pub(crate) fn closed(mut self, thread: &Thread) {
        self.detach();
        thread.shared.sockets.sub(1);
    }
}

/// Input.
impl Socket {
    /// Takes frames from the input and executes them. Returns how many bytes were taken.
    fn read(&mut self, thread: &mut Thread, io: &mut Io<'_>, input: &[u8]) -> usize {
        let mut scratch = mem::take(&mut thread.scratch);
        let (mut at, mut frames) = (0, 0);
        while at < input.len() && self.closing.is_none() {
            if thread.ready.is_pressing() {
                self.send(thread, io);
            }
            let waits = io.pending_write() > 0 || self.working || io.is_closing();
            if waits || self.has_no_room(thread, io) {
                // What it waits for may have come before `advance` looks: no event follows then,
                // and only to resume a pause makes the rest be offered again.
                io.pause_input();
                break;
            }
            if frames == FRAMES_PER_TURN {
                io.offer_again();
                break;
            }
            let inside = self.decoder.is_inside();
            let max = thread.shared.config.message_limit();
            match self.decoder.decode(&input[at..], max, &mut scratch) {
                Ok(decoded) => {
                    at += decoded.taken;
                    frames += 1;
                    // A control frame may have come behind the beginning.
                    if !inside && self.decoder.is_inside() {
                        self.times.begin_message(io.now());
                        io.set_timer(Some(self.deadline(&thread.limits)));
                    }
                    match decoded.event {
                        Some(event) => self.handle(thread, io, event),
                        None => break,
                    }
                }
                Err(failure) => {
                    let (code, reason) = (failure.code(), failure.reason());
                    self.refuse(thread, failure.counts_as(), code, reason);
                }
            }
        }
        scratch.shrink_to(PIECE);
        thread.scratch = scratch;
        if self.closing.is_some() {
            // What comes behind the end means nothing.
            return input.len();
        }
        at
    }

    fn handle(&mut self, thread: &mut Thread, io: &mut Io<'_>, event: Event<'_>) {
        match event {
            Event::Text(text) => self.execute(thread, io, text),
            Event::Ping(payload) => write_pong(thread.ready.behind_messages(), payload),
            Event::Pong => {}
            Event::Close(code) => self.end(code, ""),
        }
    }

    fn execute(&mut self, thread: &mut Thread, io: &mut Io<'_>, text: &str) {
        thread.requests.one();
        // If it has to wait now, the broker books it.
        self.booked = None;
        let site = &thread.shared.site;
        match site.frame(*self.peer, text, thread.handle(io)) {
            Ok(Executed::Now(answer)) => {
                // Messages go before the replies, and so do the answers to connects that this
                // frame has ended: a client may close when it sees the reply to its disconnect.
                self.collect(thread, io);
                self.collect_answers(thread, io);
                self.answer(thread, io, answer);
            }
            Ok(Executed::Later(mut exchange)) => {
                while let Some(session) = exchange.attached() {
                    self.sessions.push(session, &thread.handle(io));
                }
                self.expect(exchange);
            }
            Err(error) => {
                let code = match error {
                    BatchError::NotUtf8 | BatchError::NotJson(_) => NOT_JSON,
                    _ => POLICY,
                };
                self.close(code, error.to_string());
            }
        }
    }

    /// Expects an answer later.
    fn expect(&mut self, exchange: Exchange) {
        self.working |= !exchange.is_held();
        self.pending.extend(self.sessions.hold(exchange));
    }

    /// Books what the connection holds of unfinished messages; one that brings the sum of all above
    /// its bound has to go.
    fn book(&mut self, thread: &Thread, rest: usize) {
        let holds = self.decoder.len() + rest;
        if !thread.book_input(&mut self.booked, self.peer.ip, holds) {
            let told = "too much unfinished input";
            self.refuse(thread, Reason::MaxInputTotal, TRY_LATER, told);
        }
    }
}

/// Output.
impl Socket {
    /// Does everything that can be done: collects, answers, sends, closes. Nothing of the
    /// connection may be waiting for the kernel, but for what was just written.
    fn advance(&mut self, thread: &mut Thread, io: &mut Io<'_>) {
        let mut more = true;
        for _ in 0..WRITES_PER_TURN {
            if !more || io.pending_write() > 0 {
                break;
            }
            more = !self.has_no_room(thread, io) && self.collect(thread, io);
            more |= self.collect_answers(thread, io);
            self.send(thread, io);
        }
        if io.pending_write() == 0 {
            // When the server stops, what waits goes out first.
            more |= self.is_leaving() && self.sessions.has_more();
            let waits = more && self.is_leaving();
            if let Some(closing) = self.closing.take_if(|_| !waits) {
                let out = thread.ready.behind_messages();
                write_close(out, closing.code, &closing.reason);
                self.send(thread, io);
                // The sessions are free for the client's next connection at once.
                self.detach();
                return io.close_when_flushed();
            }
            if more {
                thread.come_back(io);
            }
        }
        if io.pending_write() > 0 || self.working || self.has_no_room(thread, io) {
            io.pause_input();
        } else {
            io.resume_input();
        }
        if self.has_no_session() {
            io.set_timer(Some(self.deadline(&thread.limits)));
        }
    }

    /// Whether its client, or all together, have more to read than may wait: nothing is read or
    /// collected then, until that is less.
    fn has_no_room(&self, thread: &mut Thread, io: &Io<'_>) -> bool {
        let has_room = thread.has_room(self.peer.ip);
        if !has_room {
            thread.postpone(io);
        }
        !has_room
    }

    /// Collects what waits for the sessions. Returns whether there may be more than fits.
    fn collect(&mut self, thread: &mut Thread, io: &mut Io<'_>) -> bool {
        let messages = &mut thread.ready.messages;
        let mut room = PIECE;
        let changed = self.sessions.changed();
        for _ in 0..changed.min(SESSIONS_PER_TURN) {
            let Some(at) = self.sessions.next_changed() else {
                return false;
            };
            let Some(session) = self.sessions.get_mut(at) else {
                continue;
            };
            if session.is_in_flight() {
                self.sessions.may_answer(at);
                continue;
            }
            if room == 0 {
                self.sessions.put_off(at);
                return true;
            }
            let before = messages.len();
            match session.collect(room, messages) {
                Ok(collected) => {
                    if collected.messages {
                        self.sessions.begin_flight(at);
                    }
                    if collected.answers {
                        self.sessions.may_answer(at);
                    }
                    let new = messages[before..].iter();
                    let bytes: usize = new.map(|message| message.frame().len()).sum();
                    room = room.saturating_sub(bytes);
                }
                Err(ended) => {
                    if let Some((session, held)) = self.sessions.remove(at) {
                        session.detach();
                        self.pending.extend(held.map(|held| *held));
                    }
                    self.times.meet_session(io.now());
                    self.lose(ended);
                }
            }
        }
        changed > SESSIONS_PER_TURN
    }

    /// Looks whether frames that were not answered can be now. Returns whether there may be more:
    /// than fits, or for sessions that have come with the answers.
    fn collect_answers(&mut self, thread: &mut Thread, io: &mut Io<'_>) -> bool {
        let sessions = self.sessions.len();
        let carries = thread.has_room(self.peer.ip);
        let mut at = 0;
        while at < self.pending.len() {
            if thread.ready.is_pressing() {
                return true;
            }
            if let Some(answer) = self.pending[at].poll_for(carries) {
                drop(self.pending.remove(at));
                self.answer(thread, io, answer);
                continue;
            }
            while let Some(session) = self.pending[at].attached() {
                self.sessions.push(session, &thread.handle(io));
            }
            at += 1;
        }
        self.keep_held();
        while !thread.ready.is_pressing() {
            let Some(answer) = self.sessions.poll(|held| held.poll_for(carries)) else {
                return self.sessions.len() > sessions;
            };
            self.answer(thread, io, answer);
        }
        true
    }

    /// What was executed to its end may have become a connect that is held.
    fn keep_held(&mut self) {
        if mem::take(&mut self.working) {
            for exchange in mem::take(&mut self.pending) {
                self.expect(exchange);
            }
        }
    }

    fn answer(&mut self, thread: &mut Thread, io: &mut Io<'_>, mut answer: Answer) {
        write_answer(thread.ready.behind_messages(), &answer);
        thread.ready.add_in_flight(answer.in_flight.take());
        for session in answer.attached.drain(..) {
            self.sessions.push(session, &thread.handle(io));
        }
        if answer.known {
            self.times.meet_session(io.now());
        }
        if answer.close {
            self.close(GOING_AWAY, "the server stops");
        }
    }

    fn send(&mut self, thread: &mut Thread, io: &mut Io<'_>) {
        debug_assert_eq!(io.pending_write(), 0, "one write at a time");
        let (ip, pushed) = (self.peer.ip, self.sessions.in_flight());
        self.outbound.send(io, &mut thread.ready, ip, pushed);
        if io.pending_write() == 0 {
            self.sessions.end_flight();
        }
    }

    /// Whether messages that the kernel has not taken are wanted elsewhere.
    pub(crate) fn is_cut(&self) -> bool {
        self.outbound.is_cut() || self.sessions.is_cut()
    }
}

/// The end; see also `lifetime`.
impl Socket {
    /// Closes it for what its peer sent, with this code and reason; says so to the log too.
    fn refuse(&mut self, thread: &Thread, counts_as: Reason, code: u16, reason: &'static str) {
        let ip = self.peer.ip;
        let seen = format_args!("a WebSocket of {ip}, closed with {code}: {reason}");
        let refusals = thread.shared.site.broker().refusals();
        refusals.count(counts_as, seen);
        self.close(code, reason);
    }

    /// Gives its sessions up, and the connects that are held.
    fn detach(&mut self) {
        self.pending.clear();
        // Each is detached as it is dropped.
        drop(mem::take(&mut self.sessions));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_small() {
        assert!(size_of::<Socket>() <= 232, "{}", size_of::<Socket>());
    }
}
