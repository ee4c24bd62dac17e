//! What is kept for a WebSocket. While it is idle that is this and its sessions' ties, no buffers.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use crate::broker::{Attachment, Ended, Exchange, Flight, Gone};
use crate::connectors::native::unread::UnreadOutput;
use crate::connectors::native::websocket::Decoder;
use crate::tcp::reactor::Io;
use crate::transport::Peer;
use crate::util::OneOrMany;

/// One WebSocket.
pub(in crate::connectors::native) struct Socket {
    pub(super) peer: Box<Peer>,
    pub(super) decoder: Decoder,
    /// Sessions whose messages go here.
    pub(super) sessions: OneOrMany<Attachment>,
    /// Frames that are not answered yet: connects that are held, and at most one that user code is
    /// at work on.
    pub(super) pending: Vec<Exchange>,
    /// One of them may have an answer.
    pub(super) answers: bool,
    /// User code is at work on one of them: what comes behind it has to wait.
    pub(super) working: bool,
    /// The session of a held connect may not be among `sessions` any more: every wake may be for
    /// that connect.
    pub(super) strays: bool,
    /// The answers in what the kernel has not taken.
    pub(super) unsent: Vec<Flight>,
    /// What the kernel has taken and the peer not.
    pub(super) unread: UnreadOutput,
    /// The last that is to be written.
    pub(super) closing: Option<Box<Closing>>,
    /// When the peer last sent anything.
    heard: Instant,
    /// When a ping was sent that nothing has come after.
    pinged: Option<Instant>,
    /// When the message that is being received began.
    began: Instant,
    /// Since when it has nothing to do with any session.
    alone: Instant,
    /// Bytes that are booked in the total of unfinished input.
    pub(super) booked: usize,
}

/// How a socket ends.
pub(super) struct Closing {
    /// None where the peer gave none.
    pub(super) code: Option<u16>,
    pub(super) reason: Cow<'static, str>,
}

/// The time limits of sockets.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    pub(super) ping_interval: Duration,
    pub(super) ping_timeout: Duration,
    /// For a message, from its first byte to its last.
    pub(super) message: Duration,
    /// For a socket without a session.
    pub(super) alone: Duration,
}

/// What is to be done when the time has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    Nothing,
    Ping,
    /// The peer is silent.
    Silence,
    /// A message takes too long.
    Message,
    /// No session.
    Alone,
}

impl Socket {
    pub(super) fn new(peer: Peer, now: Instant) -> Self {
        Self {
            peer: Box::new(peer),
            decoder: Decoder::default(),
            sessions: OneOrMany::default(),
            pending: Vec::new(),
            answers: false,
            working: false,
            strays: false,
            unsent: Vec::new(),
            unread: UnreadOutput::default(),
            closing: None,
            heard: now,
            pinged: None,
            began: now,
            alone: now,
            booked: 0,
        }
    }

    /// The peer has sent something.
    pub(super) fn hear(&mut self, now: Instant) {
        self.heard = now;
        self.pinged = None;
    }

    /// A ping was sent.
    pub(super) fn ping(&mut self, now: Instant) {
        self.pinged = Some(now);
    }

    /// A message has begun.
    pub(super) fn begin(&mut self, now: Instant) {
        self.began = now;
    }

    /// It has to do with a session.
    pub(super) fn meet(&mut self, now: Instant) {
        self.alone = now;
    }

    /// Expects an answer later. Most sockets have one connect: no room for more is made before
    /// there are more.
    pub(super) fn expect(&mut self, exchange: Exchange) {
        self.working |= !exchange.is_held();
        if self.pending.capacity() == 0 {
            self.pending.reserve_exact(1);
        }
        self.pending.push(exchange);
    }

    /// Whether a look at the pending frames may bring answers.
    pub(super) fn may_have_answers(&self) -> bool {
        let alone = self.pending.len() > self.sessions.len();
        self.answers || self.working || self.strays || alone
    }

    /// Whether what the kernel has not taken is wanted elsewhere.
    pub(super) fn is_cut(&self) -> bool {
        self.unsent.iter().any(Flight::is_cut) || self.sessions.iter().any(Attachment::is_cut)
    }

    /// The kernel has not taken everything at once.
    pub(super) fn stalled(&mut self) {
        self.sessions.iter_mut().for_each(Attachment::stalled);
        self.unsent.iter_mut().for_each(Flight::stalled);
    }

    /// The kernel has taken everything, and at once.
    pub(super) fn delivered(&mut self) {
        self.sessions
            .iter_mut()
            .for_each(|session| drop(session.delivered()));
    }

    /// The kernel has taken everything, after it had stalled.
    pub(super) fn drained(&mut self, io: &mut Io<'_>) {
        let pushed = self.sessions.iter_mut().filter_map(Attachment::delivered);
        self.unread.pushed(io, pushed);
        self.unread.taken(io, self.unsent.drain(..));
    }

    /// To be closed when everything before is written. The first reason counts.
    pub(super) fn close(&mut self, code: u16, reason: impl Into<Cow<'static, str>>) {
        self.end(Some(code), reason);
    }

    /// As [`close`](Self::close), with the peer's own code, if it gave one.
    pub(super) fn end(&mut self, code: Option<u16>, reason: impl Into<Cow<'static, str>>) {
        if self.closing.is_none() {
            let reason = reason.into();
            self.closing = Some(Box::new(Closing { code, reason }));
        }
    }

    /// Whether it is to be closed because the server stops: nothing is wrong with the peer, which
    /// first gets what waits for it.
    pub(super) fn is_leaving(&self) -> bool {
        let closing = self.closing.as_ref();
        closing.is_some_and(|closing| closing.code == Some(GOING_AWAY))
    }

    /// A session is not tied to it any more.
    pub(super) fn lose(&mut self, ended: Ended, now: Instant) {
        let others = !self.sessions.is_empty();
        self.alone = now;
        match ended {
            Ended::Gone {
                reason: Gone::Overflowed,
            } => self.close(POLICY, "too slow for the messages of a session"),
            Ended::Gone {
                reason: Gone::Stopped,
            } => self.close(GOING_AWAY, "the server stops"),
            _ if others => {}
            Ended::TakenOver => self.close(NORMAL, "a newer connection has taken over"),
            Ended::Gone {
                reason: Gone::Expired,
            } => self.close(NORMAL, "the session has expired"),
            Ended::Gone { .. } | Ended::Released => {}
        }
    }

    /// When something may have to be done next.
    pub(super) fn deadline(&self, limits: &Limits) -> Instant {
        let ping = match self.pinged {
            Some(at) => at + limits.ping_timeout,
            None => self.heard + self.patience(limits),
        };
        let message = self
            .decoder
            .is_inside()
            .then(|| self.began + limits.message);
        let alone = self.is_alone().then(|| self.alone + limits.alone);
        ping.min(message.unwrap_or(ping)).min(alone.unwrap_or(ping))
    }

    /// What the time has brought. `blocked`: nothing is read from the peer at present, so that it
    /// is not its fault if nothing is heard.
    pub(super) fn due(&mut self, now: Instant, limits: &Limits, blocked: bool) -> Due {
        if blocked {
            self.heard = now;
            self.began = now;
            self.pinged = self.pinged.map(|_| now);
            return Due::Nothing;
        }
        let past = |at: Instant, limit: Duration| now >= at + limit;
        if self.decoder.is_inside() && past(self.began, limits.message) {
            Due::Message
        } else if self.is_alone() && past(self.alone, limits.alone) {
            Due::Alone
        } else {
            match self.pinged {
                Some(at) if past(at, limits.ping_timeout) => Due::Silence,
                None if past(self.heard, self.patience(limits)) => Due::Ping,
                _ => Due::Nothing,
            }
        }
    }

    /// How long nothing may be heard before there is a ping. While a connect is held it is a
    /// little longer, since the two times are often the same, and the next connect spares the ping.
    fn patience(&self, limits: &Limits) -> Duration {
        let slack = limits.ping_interval / 8;
        limits.ping_interval
            + if self.pending.is_empty() {
                Duration::ZERO
            } else {
                slack
            }
    }

    /// Nothing of it is wanted any more.
    pub(super) fn forget(&mut self) {
        self.pending.clear();
        self.sessions.clear();
    }

    pub(super) fn is_alone(&self) -> bool {
        self.sessions.is_empty() && self.pending.is_empty()
    }
}

pub(super) const NORMAL: u16 = 1000;
pub(super) const GOING_AWAY: u16 = 1001;
pub(super) const NOT_JSON: u16 = 1007;
pub(super) const POLICY: u16 = 1008;
pub(super) const TRY_LATER: u16 = 1013;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, ManualClock};
    use crate::transport::Transport;

    const LIMITS: Limits = Limits {
        ping_interval: Duration::from_secs(30),
        ping_timeout: Duration::from_secs(10),
        message: Duration::from_secs(20),
        alone: Duration::from_secs(120),
    };

    fn socket(now: Instant) -> Socket {
        let peer = Peer {
            ip: [127, 0, 0, 1].into(),
            transport: Transport::WebSocket,
            browser: None,
            secure: false,
        };
        Socket::new(peer, now)
    }

    fn at(clock: &ManualClock, seconds: u64) -> Instant {
        clock.now() + Duration::from_secs(seconds)
    }

    #[test]
    fn a_socket_is_small() {
        assert!(size_of::<Socket>() <= 256, "{}", size_of::<Socket>());
    }

    #[test]
    fn an_idle_peer_is_pinged_and_cut_if_it_stays_silent() {
        let clock = ManualClock::new();
        let mut socket = socket(clock.now());
        assert_eq!(socket.deadline(&LIMITS), at(&clock, 30));
        assert_eq!(socket.due(at(&clock, 29), &LIMITS, false), Due::Nothing);
        assert_eq!(socket.due(at(&clock, 30), &LIMITS, false), Due::Ping);
        socket.ping(at(&clock, 30));
        assert_eq!(socket.deadline(&LIMITS), at(&clock, 40));
        assert_eq!(socket.due(at(&clock, 39), &LIMITS, false), Due::Nothing);
        assert_eq!(
            socket.due(at(&clock, 40), &LIMITS, true),
            Due::Nothing,
            "nobody listened"
        );
        assert_eq!(socket.due(at(&clock, 50), &LIMITS, false), Due::Silence);
        socket.hear(at(&clock, 50));
        assert_eq!(socket.deadline(&LIMITS), at(&clock, 80));
    }

    #[test]
    fn what_has_no_end_or_no_session_is_closed() {
        let clock = ManualClock::new();
        let mut socket = socket(clock.now());
        socket.hear(at(&clock, 110));
        assert_eq!(socket.deadline(&LIMITS), at(&clock, 120));
        assert_eq!(socket.due(at(&clock, 120), &LIMITS, false), Due::Alone);
        socket.meet(at(&clock, 119));
        assert_eq!(socket.due(at(&clock, 120), &LIMITS, false), Due::Nothing);
        let begun = [0x81, 0x81, 0, 0, 0, 0];
        let mut scratch = Vec::new();
        let decoded = socket.decoder.decode(&begun, 10, &mut scratch);
        assert_eq!(decoded.map(|decoded| decoded.taken), Ok(6));
        socket.begin(at(&clock, 115));
        assert_eq!(socket.deadline(&LIMITS), at(&clock, 135));
        assert_eq!(socket.due(at(&clock, 135), &LIMITS, false), Due::Message);
    }

    #[test]
    fn the_first_reason_to_close_counts() {
        let clock = ManualClock::new();
        let gone = |reason| Ended::Gone { reason };
        for (ended, code) in [
            (Ended::TakenOver, Some(1000)),
            (Ended::Released, None),
            (gone(Gone::Expired), Some(1000)),
            (gone(Gone::Overflowed), Some(1008)),
            (gone(Gone::Stopped), Some(1001)),
            (gone(Gone::Disconnected), None),
            (gone(Gone::Dismissed), None),
        ] {
            let mut socket = socket(clock.now());
            socket.lose(ended, clock.now());
            let closing = socket.closing.as_ref().and_then(|closing| closing.code);
            assert_eq!(closing, code, "{ended:?}");
            socket.close(1011, "later");
            let closing = socket.closing.and_then(|closing| closing.code);
            assert_eq!(closing, code.or(Some(1011)));
        }
    }
}
