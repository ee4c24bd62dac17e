//! The session with the server: handshakes, connects, and what to do when they fail.
//!
//! No I/O and no clock: the owner asks what is due, carries it out, and tells what came of it.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::advice::Advice;
use super::error::{Error, Failure, Rejection};
use super::message::Message;
use crate::clock::later;
use crate::protocol::Reconnect;
use crate::util::Retries;

/// Where the client stands with its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// No session: asking for one.
    Handshaking,
    /// A session, but no connect of it was answered yet.
    Connecting,
    /// All is well: the server can deliver.
    Connected,
    /// The last connect failed. The session may live on; messages wait in the queue.
    Interrupted,
    /// Sending what is queued, and then the disconnect.
    Disconnecting,
    /// Over, for good.
    Closed,
}

/// What the poll lane sends next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    Handshake,
    Connect {
        /// Ask for an answer at once, to see where we stand.
        probe: bool,
        /// The last batch received, if messages are acknowledged.
        ack: Option<u64>,
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
    turn: Option<Turn>,
    /// Whether it was answered.
    answered: bool,
    probe: bool,
    connected_since: Option<Instant>,
    last_contact: Option<Instant>,
    /// The last batch received; `None` unless the server acknowledges.
    ack: Option<u64>,
}

impl Session {
    pub(crate) fn new(now: Instant, backoff: Retries) -> Self {
        Self {
            state: State::Handshaking,
            client_id: None,
            advice: Advice::default(),
            backoff,
            due: now,
            turn: None,
            answered: false,
            probe: true,
            connected_since: None,
            last_contact: None,
            ack: None,
        }
    }

    pub(crate) fn state(&self) -> State {
        self.state
    }

    pub(crate) fn client_id(&self) -> Option<&str> {
        self.client_id.as_deref()
    }

    /// Whether messages may be sent in the session.
    pub(crate) fn is_open(&self) -> bool {
        use State::{Connected, Connecting, Disconnecting};
        self.client_id.is_some() && matches!(self.state, Connecting | Connected | Disconnecting)
    }

    /// What is to be sent now, if anything.
    pub(crate) fn next(&mut self, now: Instant) -> Option<Turn> {
        if self.due()? > now {
            return None;
        }
        self.answered = false;
        self.turn = Some(match (self.state, &self.client_id) {
            (State::Handshaking, _) | (_, None) => Turn::Handshake,
            _ => Turn::Connect {
                probe: self.probe,
                ack: self.ack,
                hold: if self.probe {
                    Duration::ZERO
                } else {
                    self.advice.timeout
                },
            },
        });
        self.turn.clone()
    }

    /// When [`Self::next`] has something, unless a request is under way or the end has come.
    pub(crate) fn due(&self) -> Option<Instant> {
        let over = matches!(self.state, State::Disconnecting | State::Closed);
        (self.turn.is_none() && !over).then_some(self.due)
    }

    /// A reply to a handshake.
    pub(crate) fn handshaken(&mut self, now: Instant, reply: &Message, types: &[&str]) -> Change {
        if self.turn != Some(Turn::Handshake) || self.answered || self.is_over() {
            return Change::Nothing;
        }
        self.answered = true;
        self.advice = Advice::default();
        self.advice.merge(reply);
        if reply.successful() != Some(true) {
            let rejection = Rejection::new(reply.channel(), reply.error().as_deref());
            return match self.advice.reconnect {
                Reconnect::None => self.end(Error::Rejected(rejection)),
                _ => self.handshake_failed(now, Error::Rejected(rejection)),
            };
        }
        if let Some(error) = incompatible(reply, types) {
            return self.end(error);
        }
        let Some(client_id) = reply.text("clientId").filter(|id| !id.is_empty()) else {
            let body = reply.json().chars().take(80).collect();
            return self.handshake_failed(now, Error::Failed(Failure::NotBayeux(body)));
        };
        let gap = self
            .last_contact
            .map(|at| now.saturating_duration_since(at));
        self.client_id = Some(client_id.into());
        self.ack = acknowledges(reply).then_some(0);
        self.state = State::Connecting;
        self.connected_since = None;
        self.last_contact = Some(now);
        self.probe = true;
        self.due = now;
        // A success must not send us back to where we come from.
        self.advice.reconnect = Reconnect::Retry;
        Change::Established { gap }
    }

    /// A reply to a connect.
    pub(crate) fn connected(&mut self, now: Instant, reply: &Message) -> Change {
        if !matches!(self.turn, Some(Turn::Connect { .. })) || self.answered || self.is_over() {
            return Change::Nothing;
        }
        self.answered = true;
        self.advice.merge(reply);
        if reply.successful() == Some(true) {
            return self.connect_succeeded(now, reply);
        }
        let rejection = Rejection::new(reply.channel(), reply.error().as_deref());
        let unknown = rejection.code() == Some(402);
        let error = Error::Rejected(rejection);
        match self.advice.reconnect {
            Reconnect::None => self.end(error),
            Reconnect::Handshake => self.lost(now, error),
            // Some servers leave the advice out; the session is gone all the same.
            Reconnect::Retry if unknown => self.lost(now, error),
            Reconnect::Retry => self.interrupted(now, error),
        }
    }

    fn connect_succeeded(&mut self, now: Instant, reply: &Message) -> Change {
        self.last_contact = Some(now);
        if self.ack.is_some() {
            self.ack = batch_number(reply).or(self.ack);
        }
        match self.advice.reconnect {
            Reconnect::None => return self.end(Error::Disconnected),
            Reconnect::Handshake => return self.lost(now, Error::SessionLost),
            Reconnect::Retry => {}
        }
        if self.state != State::Connected {
            self.state = State::Connected;
            self.connected_since = Some(now);
        }
        self.probe = false;
        self.due = later(now, self.advice.interval);
        Change::Nothing
    }

    /// The request is over. `not_before`: the server asked to be left alone until then.
    pub(crate) fn finish(
        &mut self,
        now: Instant,
        result: Result<(), Error>,
        pause: Option<Duration>,
    ) -> Change {
        let turn = self.turn.take();
        if self.is_over() {
            return Change::Nothing;
        }
        let change = match (result, turn) {
            // What was answered is answered, even if the exchange broke afterwards.
            _ if self.answered => Change::Nothing,
            (Ok(()), Some(Turn::Handshake)) => {
                self.handshake_failed(now, Error::Failed(Failure::NoReply))
            }
            (Ok(()), _) => self.interrupted(now, Error::Failed(Failure::NoReply)),
            (Err(error), Some(Turn::Handshake)) => self.handshake_failed(now, error),
            (Err(error), _) => self.interrupted(now, error),
        };
        if let Some(pause) = pause {
            self.due = self.due.max(later(now, pause.min(self.backoff.longest())));
        }
        change
    }

    /// What is under way is to be tried again, now and in another way. Says whether it is.
    pub(crate) fn again(&mut self, now: Instant) -> bool {
        if self.is_over() || self.answered || self.turn.take().is_none() {
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
        self.answered |= self.turn.is_some();
        self.forget();
        self.due = now;
        self.client_id.take()
    }

    /// No further connects: the disconnect is on its way.
    pub(crate) fn disconnecting(&mut self) {
        self.state = State::Disconnecting;
    }

    pub(crate) fn close(&mut self) {
        self.state = State::Closed;
        self.client_id = None;
    }

    fn end(&mut self, error: Error) -> Change {
        self.close();
        Change::Ended(error)
    }

    fn handshake_failed(&mut self, now: Instant, error: Error) -> Change {
        let retry_in = self.advice.interval.saturating_add(self.backoff.failed());
        self.due = later(now, retry_in);
        Change::Trouble {
            error,
            retry_in,
            lost: false,
        }
    }

    fn lost(&mut self, now: Instant, error: Error) -> Change {
        self.forgive(now);
        // The first handshake after a restart of the server is urgent; those that follow it
        // without success in between are not.
        let retry_in = self
            .advice
            .interval
            .saturating_add(self.backoff.failed_once_free());
        self.forget();
        self.client_id = None;
        self.due = later(now, retry_in);
        Change::Trouble {
            error,
            retry_in,
            lost: true,
        }
    }

    fn interrupted(&mut self, now: Instant, error: Error) -> Change {
        self.forgive(now);
        let retry_in = self.advice.interval.saturating_add(self.backoff.failed());
        self.state = State::Interrupted;
        self.connected_since = None;
        // Being held tells nothing; an answer at once does, whatever was wrong.
        self.probe = true;
        self.due = later(now, retry_in);
        Change::Trouble {
            error,
            retry_in,
            lost: false,
        }
    }

    fn forget(&mut self) {
        self.state = State::Handshaking;
        self.connected_since = None;
        self.ack = None;
    }

    /// Failures before a time of good connection do not count. Its length matters: a server that
    /// takes a client in and throws it out again must not be hit in a tight loop.
    fn forgive(&mut self, now: Instant) {
        let good = |since| now.saturating_duration_since(since) >= self.backoff.probation();
        if self.connected_since.is_some_and(good) {
            self.backoff.reset();
        }
    }

    fn is_over(&self) -> bool {
        matches!(self.state, State::Disconnecting | State::Closed)
    }
}

/// Why no session with that server can work.
fn incompatible(reply: &Message, types: &[&str]) -> Option<Error> {
    let minimum = reply.text("minimumVersion").unwrap_or_default();
    let major = minimum
        .split('.')
        .next()
        .and_then(|major| major.parse::<u32>().ok());
    if major.is_some_and(|major| major > 1) {
        return Some(Error::Version(minimum));
    }
    let offered: Vec<String> = reply.value("supportedConnectionTypes")?;
    let common = offered.iter().any(|offer| types.contains(&offer.as_str()));
    (!common).then_some(Error::NoCommonTransport(offered))
}

/// Whether the server takes part in the ack extension.
fn acknowledges(reply: &Message) -> bool {
    let ext = reply.value::<Value>("ext").unwrap_or_default();
    // Reading what is no object gives null; anything but reading would panic.
    let ack = &ext["ack"];
    *ack == Value::Bool(true) || ack["enabled"] == Value::Bool(true)
}

/// The batch that a connect reply closes.
fn batch_number(reply: &Message) -> Option<u64> {
    reply.value::<Value>("ext")?["ack"].as_u64()
}

#[cfg(test)]
mod tests;
