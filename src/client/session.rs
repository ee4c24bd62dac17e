//! The session with the server: handshakes, connects, and what to do when they fail.
//!
//! No I/O and no clock: the owner asks what is due, carries it out, and tells what came of it.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::error::{Error, Failure, Rejection};
use super::event::State;
use super::message::Message;
use super::transport::Transport;
use crate::clock::later;
use crate::protocol::Reconnect;
use crate::util::Retries;

/// What is to be sent next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Handshake,
    Connect {
        /// Ask for an answer at once, to see where we stand.
        probe: bool,
        /// The `ext` of the connect, as JSON text.
        ext: Option<String>,
        /// How long the server may hold it.
        hold: Duration,
    },
}

/// What a reply, or its absence, means for the owner.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Change {
    Nothing,
    /// There is a new session; with the time since the last sign of life of an earlier one.
    Established {
        gap: Option<Duration>,
    },
    /// It did not work; there will be another attempt. `lost`: the session is gone.
    Trouble {
        error: Error,
        retry_in: Duration,
        lost: bool,
    },
    /// There will be no other attempt.
    Ended(Error),
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Session {
    state: State,
    client_id: Option<Box<str>>,
    advice: Advice,
    backoff: Retries,
    due: Instant,
    /// What is under way.
    step: Option<Step>,
    /// Whether it was answered.
    answered: bool,
    probe: bool,
    connected_since: Option<Instant>,
    last_contact: Option<Instant>,
    ack: Ack,
}

impl Session {
    pub(crate) fn new(now: Instant, backoff: Retries) -> Self {
        Self {
            state: State::Handshaking,
            client_id: None,
            advice: Advice::default(),
            backoff,
            due: now,
            step: None,
            answered: false,
            probe: true,
            connected_since: None,
            last_contact: None,
            ack: Ack::default(),
        }
    }

    pub(crate) fn state(&self) -> State {
        self.state
    }

    pub(crate) fn client_id(&self) -> Option<&str> {
        self.client_id.as_deref()
    }

    /// The id to send messages with, while they may be sent.
    pub(crate) fn open(&self) -> Option<&str> {
        use State::{Connected, Connecting, Disconnecting};
        let open = matches!(self.state, Connecting | Connected | Disconnecting);
        self.client_id().filter(|_| open)
    }

    /// What is to be sent now, if anything.
    pub(crate) fn next(&mut self, now: Instant) -> Option<Step> {
        if self.due()? > now {
            return None;
        }
        self.answered = false;
        self.step = Some(match self.state {
            State::Handshaking => Step::Handshake,
            _ => Step::Connect {
                probe: self.probe,
                ext: self.ack.outgoing(),
                hold: match self.probe {
                    true => Duration::ZERO,
                    false => self.advice.timeout,
                },
            },
        });
        self.step.clone()
    }

    /// When [`Self::next`] has something, unless a request is under way or the end has come.
    pub(crate) fn due(&self) -> Option<Instant> {
        (self.step.is_none() && !self.is_over()).then_some(self.due)
    }

    /// Whether what is under way needs no further reply.
    pub(crate) fn is_answered(&self) -> bool {
        self.answered
    }

    /// A reply to a handshake that offered these.
    pub(crate) fn handshaken(
        &mut self,
        now: Instant,
        reply: &Message,
        offered: &[Transport],
    ) -> Change {
        if self.step != Some(Step::Handshake) || self.answered || self.is_over() {
            return Change::Nothing;
        }
        self.answered = true;
        self.advice = Advice::default();
        self.advice.merge(reply);
        if reply.successful() != Some(true) {
            let error = rejected(reply);
            return match self.advice.reconnect {
                Reconnect::None => self.end(error),
                _ => self.failed(now, error, State::Handshaking),
            };
        }
        if let Some(error) = incompatible(reply, offered) {
            return self.end(error);
        }
        let Some(client_id) = reply.text("clientId").filter(|id| !id.is_empty()) else {
            let body = reply.json().chars().take(80).collect();
            let error = Error::Failed(Failure::NotBayeux(body));
            return self.failed(now, error, State::Handshaking);
        };
        let since = |at| now.saturating_duration_since(at);
        let gap = self.last_contact.replace(now).map(since);
        self.client_id = Some(client_id.into());
        self.ack = Ack::handshaken(reply);
        self.state = State::Connecting;
        self.due = now;
        // A success must not send us back to where we come from.
        self.advice.reconnect = Reconnect::Retry;
        Change::Established { gap }
    }

    /// A reply to a connect.
    pub(crate) fn connected(&mut self, now: Instant, reply: &Message) -> Change {
        if !matches!(self.step, Some(Step::Connect { .. })) || self.answered || self.is_over() {
            return Change::Nothing;
        }
        self.answered = true;
        self.advice.merge(reply);
        let refusal = (reply.successful() != Some(true)).then(|| rejected(reply));
        if refusal.is_none() {
            self.last_contact = Some(now);
            self.ack.incoming(reply);
        }
        match (self.advice.reconnect, refusal) {
            (Reconnect::None, refusal) => self.end(refusal.unwrap_or(Error::Disconnected)),
            (Reconnect::Handshake, refusal) => {
                let error = refusal.unwrap_or(Error::SessionLost);
                self.failed(now, error, State::Handshaking)
            }
            // Some servers leave the advice out; the session is gone all the same.
            (Reconnect::Retry, Some(error)) if is_unknown(&error) => {
                self.failed(now, error, State::Handshaking)
            }
            (Reconnect::Retry, Some(error)) => self.failed(now, error, State::Interrupted),
            (Reconnect::Retry, None) => {
                if self.state != State::Connected {
                    self.state = State::Connected;
                    self.connected_since = Some(now);
                }
                self.probe = false;
                self.due = later(now, self.advice.interval);
                Change::Nothing
            }
        }
    }

    /// The request is over. `pause`: the server asked to be left alone so long.
    pub(crate) fn finish(
        &mut self,
        now: Instant,
        result: Result<(), Error>,
        pause: Option<Duration>,
    ) -> Change {
        let step = self.step.take();
        if self.is_over() {
            return Change::Nothing;
        }
        let state = match step {
            Some(Step::Handshake) => State::Handshaking,
            _ => State::Interrupted,
        };
        let change = match result {
            // What was answered is answered, even if the exchange broke afterwards.
            _ if self.answered => Change::Nothing,
            Ok(()) => self.failed(now, Error::Failed(Failure::NoReply), state),
            Err(error) => self.failed(now, error, state),
        };
        if let Some(pause) = pause {
            self.due = self.due.max(later(now, pause.min(self.backoff.longest())));
        }
        change
    }

    /// The connection broke. Where a request is under way, its failure tells it.
    pub(crate) fn interrupted(&mut self, now: Instant, error: Error) -> Change {
        match self.state {
            State::Connecting | State::Connected if self.step.is_none() => {
                self.failed(now, error, State::Interrupted)
            }
            _ => Change::Nothing,
        }
    }

    /// What is under way is to be tried again, now and in another way. Says whether it is.
    pub(crate) fn again(&mut self, now: Instant) -> bool {
        if self.is_over() || self.answered || self.step.take().is_none() {
            return false;
        }
        self.due = now;
        true
    }

    /// Begins anew, by the user's wish. Returns the id of the session that is given up.
    pub(crate) fn restart(&mut self, now: Instant) -> Option<Box<str>> {
        if self.is_over() {
            return None;
        }
        self.answered |= self.step.is_some();
        self.due = now;
        self.leave(State::Handshaking)
    }

    /// No further connects: the disconnect is on its way.
    pub(crate) fn disconnecting(&mut self) {
        self.state = State::Disconnecting;
    }

    pub(crate) fn close(&mut self) {
        self.leave(State::Closed);
    }

    fn end(&mut self, error: Error) -> Change {
        self.close();
        Change::Ended(error)
    }

    /// There will be another attempt, in that state.
    fn failed(&mut self, now: Instant, error: Error, state: State) -> Change {
        // Failures before a time of good connection do not count. Its length matters: a server that
        // takes a client in and throws it out again must not be hit in a tight loop.
        let good = |since| now.saturating_duration_since(since) >= self.backoff.probation();
        if self.connected_since.is_some_and(good) {
            self.backoff.reset();
        }
        let lost = self.leave(state).is_some();
        // The first handshake after a restart of the server is urgent; those that follow it
        // without success in between are not.
        let backoff = match lost {
            true => self.backoff.failed_once_free(),
            false => self.backoff.failed(),
        };
        let retry_in = self.advice.interval.saturating_add(backoff);
        self.due = later(now, retry_in);
        Change::Trouble {
            error,
            retry_in,
            lost,
        }
    }

    /// Connected no longer. Returns the id of the session, unless it goes on.
    fn leave(&mut self, state: State) -> Option<Box<str>> {
        self.state = state;
        self.connected_since = None;
        // Being held tells nothing; an answer at once does, whatever was wrong.
        self.probe = true;
        if state == State::Interrupted {
            return None;
        }
        self.client_id.take()
    }

    fn is_over(&self) -> bool {
        matches!(self.state, State::Disconnecting | State::Closed)
    }
}

fn rejected(reply: &Message) -> Error {
    Error::Rejected(Rejection::new(reply.channel(), reply.error().as_deref()))
}

fn is_unknown(error: &Error) -> bool {
    matches!(error, Error::Rejected(rejection) if rejection.code() == Some(402))
}

/// Why no session with that server can work.
fn incompatible(reply: &Message, own: &[Transport]) -> Option<Error> {
    let minimum = reply.text("minimumVersion").unwrap_or_default();
    let major = minimum.split('.').next()?.parse::<u32>();
    if major.is_ok_and(|major| major > 1) {
        return Some(Error::Version(minimum));
    }
    let theirs: Vec<String> = reply.value("supportedConnectionTypes")?;
    let common = own
        .iter()
        .any(|own| theirs.iter().any(|one| one == own.name()));
    (!common).then_some(Error::NoCommonTransport(theirs))
}

/// The ack extension: what it says in `ext`, and what it is told there.
#[derive(Debug, Default)]
struct Ack {
    /// The last batch received; `None` unless the server takes part.
    batch: Option<u64>,
}

impl Ack {
    fn handshaken(reply: &Message) -> Self {
        let ext = reply.value::<Value>("ext").unwrap_or_default();
        // Reading what is no object gives null; anything but reading would panic.
        let ack = &ext["ack"];
        let takes_part = *ack == Value::Bool(true) || ack["enabled"] == Value::Bool(true);
        Self {
            batch: takes_part.then_some(0),
        }
    }

    /// A connect was answered, which closes a batch.
    fn incoming(&mut self, reply: &Message) {
        if self.batch.is_some() {
            let ext = reply.value::<Value>("ext").unwrap_or_default();
            self.batch = ext["ack"].as_u64().or(self.batch);
        }
    }

    /// For the next connect.
    fn outgoing(&self) -> Option<String> {
        Some(format!("{{\"ack\":{}}}", self.batch?))
    }
}

/// The advice in force. Parts that the server leaves out keep their value until the next handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Advice {
    pub(crate) reconnect: Reconnect,
    pub(crate) interval: Duration,
    pub(crate) timeout: Duration,
}

impl Default for Advice {
    /// What CometD clients assume when they were told nothing.
    fn default() -> Self {
        Self {
            reconnect: Reconnect::Retry,
            interval: Duration::ZERO,
            timeout: Duration::from_secs(60),
        }
    }
}

impl Advice {
    /// Takes over what the reply advises; what makes no sense is ignored.
    pub(crate) fn merge(&mut self, reply: &Message) {
        let Some(advice) = reply.value::<Value>("advice") else {
            return;
        };
        match advice["reconnect"].as_str() {
            Some("retry") => self.reconnect = Reconnect::Retry,
            Some("handshake") => self.reconnect = Reconnect::Handshake,
            Some("none") => self.reconnect = Reconnect::None,
            _ => {}
        }
        if let Some(interval) = milliseconds(&advice["interval"]) {
            self.interval = interval;
        }
        if let Some(timeout) = milliseconds(&advice["timeout"]) {
            self.timeout = timeout;
        }
    }
}

/// A server may slow a client down, but not for good by mistake.
const LONGEST: f64 = 3_600_000.0;

fn milliseconds(value: &Value) -> Option<Duration> {
    let number = value
        .as_f64()
        .filter(|number| number.is_finite() && *number >= 0.0)?;
    Some(Duration::from_secs_f64(number.min(LONGEST) / 1000.0))
}

#[cfg(test)]
mod tests;
