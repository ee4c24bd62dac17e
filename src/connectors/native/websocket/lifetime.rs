//! How long a WebSocket lives: pings, time limits, and how it ends.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use super::Socket;
use crate::broker::{Ended, Gone};
use crate::connectors::native::config::SocketLimits;

/// When things happened last.
pub(super) struct Times {
    /// The peer sent anything.
    last_input: Instant,
    /// A ping was sent that nothing has come after.
    pinged: Option<Instant>,
    /// The message that is being received began.
    message: Instant,
    /// It had to do with a session.
    session: Instant,
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
    /// There has been no session for too long.
    NoSession,
}

/// How a socket ends.
pub(super) struct Closing {
    /// None where the peer gave none.
    pub(super) code: Option<u16>,
    pub(super) reason: Cow<'static, str>,
}

impl Times {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            last_input: now,
            pinged: None,
            message: now,
            session: now,
        }
    }

    /// The peer has sent something.
    pub(super) fn note_input(&mut self, now: Instant) {
        self.last_input = now;
        self.pinged = None;
    }

    /// A ping was sent.
    pub(super) fn ping(&mut self, now: Instant) {
        self.pinged = Some(now);
    }

    /// A message has begun.
    pub(super) fn begin_message(&mut self, now: Instant) {
        self.message = now;
    }

    /// It has to do with a session now, or had until now.
    pub(super) fn meet_session(&mut self, now: Instant) {
        self.session = now;
    }
}

impl Socket {
    /// When something may have to be done next.
    pub(super) fn deadline(&self, limits: &SocketLimits) -> Instant {
        let times = &self.times;
        let ping = match times.pinged {
            Some(at) => at + limits.ping_timeout,
            None => times.last_input + self.patience(limits),
        };
        let message = || times.message + limits.message;
        let message = self.decoder.is_inside().then(message);
        let session = || times.session + limits.no_session;
        let session = self.has_no_session().then(session);
        [message, session]
            .into_iter()
            .flatten()
            .fold(ping, Instant::min)
    }

    /// What the time has brought. `blocked`: nothing is read from the peer at present, so that it
    /// is not its fault if nothing comes.
    pub(super) fn due(&mut self, now: Instant, limits: &SocketLimits, blocked: bool) -> Due {
        let times = &mut self.times;
        if blocked {
            times.last_input = now;
            times.message = now;
            times.pinged = times.pinged.map(|_| now);
            return Due::Nothing;
        }
        let times = &self.times;
        let past = |at: Instant, limit: Duration| now >= at + limit;
        if self.decoder.is_inside() && past(times.message, limits.message) {
            Due::Message
        } else if self.has_no_session() && past(times.session, limits.no_session) {
            Due::NoSession
        } else {
            match times.pinged {
                Some(at) if past(at, limits.ping_timeout) => Due::Silence,
                None if past(times.last_input, self.patience(limits)) => Due::Ping,
                _ => Due::Nothing,
            }
        }
    }

    /// How long nothing may come before there is a ping. While a connect is held it is a
    /// little longer, since the two times are often the same, and the next connect spares the ping.
    fn patience(&self, limits: &SocketLimits) -> Duration {
        match self.sessions.holds() {
            false => limits.ping_interval,
            true => limits.ping_interval + limits.ping_interval / 8,
        }
    }

    /// Whether it has to do with no session, nor is at work for one.
    pub(super) fn has_no_session(&self) -> bool {
        self.sessions.is_empty() && self.pending.is_empty()
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
    pub(super) fn lose(&mut self, ended: Ended) {
        let others = !self.sessions.is_empty();
        let gone = match ended {
            Ended::Gone { reason } => Some(reason),
            Ended::TakenOver | Ended::Released => None,
        };
        match gone {
            Some(Gone::Overflowed) => self.close(POLICY, "too slow for the messages of a session"),
            Some(Gone::Stopped) => self.close(GOING_AWAY, "the server stops"),
            _ if others => {}
            Some(Gone::Expired) => self.close(NORMAL, "the session has expired"),
            None if ended == Ended::TakenOver => {
                self.close(NORMAL, "a newer connection has taken over");
            }
            _ => {}
        }
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
    use crate::connectors::native::outbound::Outbound;
    use crate::transport::{Peer, Transport};

    const LIMITS: SocketLimits = SocketLimits {
        ping_interval: Duration::from_secs(30),
        ping_timeout: Duration::from_secs(10),
        message: Duration::from_secs(20),
        no_session: Duration::from_secs(120),
    };

    fn socket(now: Instant) -> Socket {
        let peer = Peer {
            ip: [127, 0, 0, 1].into(),
            transport: Transport::WebSocket,
            browser: None,
            secure: false,
        };
        Socket::new(peer, Times::new(now), Outbound::default())
    }

    fn at(clock: &ManualClock, seconds: u64) -> Instant {
        clock.now() + Duration::from_secs(seconds)
    }

    #[test]
    fn an_idle_peer_is_pinged_and_cut_if_it_stays_silent() {
        let clock = ManualClock::new();
        let mut socket = socket(clock.now());
        assert_eq!(socket.deadline(&LIMITS), at(&clock, 30));
        assert_eq!(socket.due(at(&clock, 29), &LIMITS, false), Due::Nothing);
        assert_eq!(socket.due(at(&clock, 30), &LIMITS, false), Due::Ping);
        socket.times.ping(at(&clock, 30));
        assert_eq!(socket.deadline(&LIMITS), at(&clock, 40));
        assert_eq!(socket.due(at(&clock, 39), &LIMITS, false), Due::Nothing);
        assert_eq!(
            socket.due(at(&clock, 40), &LIMITS, true),
            Due::Nothing,
            "nobody listened"
        );
        assert_eq!(socket.due(at(&clock, 50), &LIMITS, false), Due::Silence);
        socket.times.note_input(at(&clock, 50));
        assert_eq!(socket.deadline(&LIMITS), at(&clock, 80));
    }

    #[test]
    fn what_has_no_end_or_no_session_is_closed() {
        let clock = ManualClock::new();
        let mut socket = socket(clock.now());
        socket.times.note_input(at(&clock, 110));
        assert_eq!(socket.deadline(&LIMITS), at(&clock, 120));
        assert_eq!(socket.due(at(&clock, 120), &LIMITS, false), Due::NoSession);
        socket.times.meet_session(at(&clock, 119));
        assert_eq!(socket.due(at(&clock, 120), &LIMITS, false), Due::Nothing);
        let begun = [0x81, 0x81, 0, 0, 0, 0];
        let mut scratch = Vec::new();
        let decoded = socket.decoder.decode(&begun, 10, &mut scratch);
        assert_eq!(decoded.map(|decoded| decoded.taken), Ok(6));
        socket.times.begin_message(at(&clock, 115));
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
            (gone(Gone::Evicted), None),
            (gone(Gone::Dismissed), None),
        ] {
            let mut socket = socket(clock.now());
            socket.lose(ended);
            let closing = socket.closing.as_ref().and_then(|closing| closing.code);
            assert_eq!(closing, code, "{ended:?}");
            socket.close(1011, "later");
            let closing = socket.closing.and_then(|closing| closing.code);
            assert_eq!(closing, code.or(Some(1011)));
        }
    }
}
