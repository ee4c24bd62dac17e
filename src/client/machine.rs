//! The whole client without threads, sockets or clock: session, outbox and subscriptions together.
//!
//! A driver asks each lane for [`Work`], carries it out, and hands back what came of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::carrier::Request;
use super::dispatch::{Dispatch, Listener};
use super::error::{Error, Failure};
use super::event::{Event, Stats};
use super::message::Message;
use super::op::{Kind, Op};
use super::options::Options;
use super::outbox::{Outbox, Report};
use super::session::{Change, Session, State, Turn};
use super::slot::Slot;
use super::transport::{Choice, Via};
use super::wire::Encoder;
use crate::clock::later;
use crate::util::Retries;

/// The two sequences of requests. Each has at most one under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    /// Handshakes and connects.
    Poll,
    /// Everything else.
    Send,
}

/// A request to carry out.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// A handshake that offers these; its `ext` is up to the driver.
    Handshake { id: u64, offer: Vec<Via> },
    /// Anything else.
    Request(Request),
}

/// Ids of messages, shared by all who make some.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ids(Arc<AtomicU64>);

/// See the module.
#[derive(Debug)]
pub(crate) struct Machine {
    options: Options,
    choice: Choice,
    ids: Ids,
    session: Session,
    outbox: Outbox,
    dispatch: Dispatch,
    poll_id: u64,
    announced: State,
    ended: Option<Error>,
    last_trouble: Option<Error>,
}

impl Machine {
    pub(crate) fn new(options: Options, ways: Vec<Via>, ids: Ids, now: Instant, seed: u64) -> Self {
        let backoff = |seed| Retries::new(options.backoff_first, options.backoff_longest, seed);
        let session = Session::new(now, backoff(seed));
        Self {
            outbox: Outbox::new(backoff(!seed)),
            dispatch: Dispatch::new(options.callback_queue),
            options,
            choice: Choice::new(ways),
            ids,
            announced: session.state(),
            session,
            poll_id: 0,
            ended: None,
            last_trouble: None,
        }
    }

    /// What the lane is to do now, if anything.
    pub(crate) fn next(&mut self, now: Instant, lane: Lane) -> Option<Work> {
        if self.ended.is_some() {
            return None;
        }
        if lane == Lane::Send {
            let client_id = self.session.client_id().filter(|_| self.session.is_open());
            let body = self.outbox.take(now, client_id, &self.options)?;
            return Some(Work::Request(Request {
                body,
                ids: self.outbox.in_flight(),
                hold: Duration::ZERO,
                via: self.choice.via(),
            }));
        }
        let turn = self.session.next(now)?;
        self.poll_id = self.ids.next();
        let id = self.poll_id;
        Some(match turn {
            Turn::Handshake => Work::Handshake {
                id,
                offer: self.choice.offer(),
            },
            Turn::Connect { probe, ack, hold } => Work::Request(Request {
                body: self.connect(id, probe, ack),
                ids: vec![id],
                hold,
                via: self.choice.via(),
            }),
        })
    }

    /// When to ask [`Self::next`] again, if nothing happens before.
    pub(crate) fn due(&self, lane: Lane) -> Option<Instant> {
        match lane {
            Lane::Poll => self.session.due(),
            Lane::Send => self.outbox.due().filter(|_| self.session.is_open()),
        }
    }

    /// Whether the lane, should it be asleep, is to ask [`Self::next`] or [`Self::due`] again.
    pub(crate) fn is_wanted(&self, lane: Lane) -> bool {
        let waits = match lane {
            Lane::Poll => self.session.due().is_some(),
            Lane::Send => self.outbox.is_waiting(),
        };
        waits || self.ended.is_some()
    }

    /// Messages that came, in their order.
    pub(crate) fn receive(&mut self, now: Instant, messages: &[Message]) {
        for message in messages {
            if self.ended.is_some() {
                return;
            }
            self.receive_one(now, message);
        }
    }

    /// The lane's request is over, and all messages of its answer are received. `pause`: the
    /// server asked to be left alone so long.
    pub(crate) fn finish(
        &mut self,
        now: Instant,
        lane: Lane,
        result: Result<(), Error>,
        pause: Option<Duration>,
    ) {
        match lane {
            Lane::Poll => self.poll_finished(now, result, pause),
            Lane::Send => {
                let result = result.map_err(|error| match error {
                    Error::Failed(failure) => failure,
                    other => Failure::Protocol(other.to_string()),
                });
                self.outbox.finish(now, result);
                let longest = self.options.backoff_longest;
                self.outbox
                    .pause(pause.map(|pause| later(now, pause.min(longest))));
                self.take_reports();
            }
        }
    }

    fn poll_finished(&mut self, now: Instant, result: Result<(), Error>, pause: Option<Duration>) {
        if let Err(Error::Failed(failure)) = &result {
            if self.choice.fall_back(failure) && self.session.again(now) {
                let error = Error::Failed(failure.clone());
                self.dispatch.emit(&Event::FellBack { error });
                return;
            }
        }
        let change = self.session.finish(now, result, pause);
        self.apply(change);
        if self.session.state() == State::Handshaking {
            self.choice.begin();
        }
    }

    /// Takes a message back that nobody waits for any longer. Says whether it had left.
    pub(crate) fn abandon(&mut self, id: u64) -> bool {
        self.outbox.abandon(id)
    }

    /// Gives the session up and begins a new one.
    pub(crate) fn reconnect(&mut self, now: Instant) {
        self.choice.reset();
        if let Some(client_id) = self.session.restart(now) {
            self.session_lost();
            let forget = self.op(Kind::Forget { client_id }, "/meta/disconnect", None);
            self.outbox.push_first(vec![forget]);
        }
        self.announce();
    }

    /// Sends what is queued, then the disconnect, and closes. Without a working session closes.
    pub(crate) fn disconnect(&mut self) {
        match self.session.state() {
            State::Disconnecting | State::Closed => {}
            _ if self.session.is_open() => {
                self.session.disconnecting();
                let op = self.op(Kind::Disconnect, "/meta/disconnect", None);
                self.outbox.push_anyway(vec![op]);
                self.announce();
            }
            _ => self.close(&Error::Closed),
        }
    }

    /// Ends everything, without a word to the server.
    pub(crate) fn close(&mut self, reason: &Error) {
        if self.ended.is_some() {
            return;
        }
        self.ended = Some(reason.clone());
        self.session.close();
        self.outbox.close(reason);
        for report in self.outbox.reports() {
            if let Report::Unheard { channel, error } = report {
                let channel = channel.into();
                self.dispatch.emit(&Event::Unheard { channel, error });
            }
        }
        self.dispatch.close(reason);
        self.announce();
        self.dispatch.dismiss();
    }

    pub(crate) fn state(&self) -> State {
        self.session.state()
    }

    pub(crate) fn client_id(&self) -> Option<&str> {
        self.session.client_id()
    }

    /// How messages travel now.
    pub(crate) fn via(&self) -> Via {
        self.choice.via()
    }

    /// Why it is over, if it is.
    pub(crate) fn ended(&self) -> Option<&Error> {
        self.ended.as_ref()
    }

    /// Why the last handshake or connect failed, until one works.
    pub(crate) fn last_trouble(&self) -> Option<&Error> {
        self.last_trouble.as_ref()
    }

    /// A function that is to hear of events.
    pub(crate) fn listen(&mut self, listener: Listener) {
        self.dispatch.listen(listener);
        if self.ended.is_some() {
            self.dispatch.dismiss();
        }
    }

    /// The way to the user's code.
    pub(crate) fn dispatch(&mut self) -> &mut Dispatch {
        &mut self.dispatch
    }

    pub(crate) fn stats(&self) -> Stats {
        Stats {
            queued: self.outbox.len(),
            ..self.dispatch.stats
        }
    }

    fn receive_one(&mut self, now: Instant, message: &Message) {
        let ours = message.id().is_none_or(|id| id.parse() == Ok(self.poll_id));
        match message.channel() {
            "/meta/handshake" if ours => {
                let types: Vec<_> = self.choice.offered().iter().map(|via| via.name()).collect();
                let change = self.session.handshaken(now, message, &types);
                if matches!(change, Change::Established { .. }) {
                    let offered: Option<Vec<String>> = message.value("supportedConnectionTypes");
                    self.choice.settled(offered.as_deref());
                }
                self.apply(change);
            }
            "/meta/connect" if ours => {
                let change = self.session.connected(now, message);
                self.apply(change);
                if self.session.state() == State::Connected {
                    self.last_trouble = None;
                }
            }
            "/meta/disconnect" if message.id().is_none() && message.successful() == Some(true) => {
                self.dispatch.deliver(message);
                if self.session.state() != State::Disconnecting {
                    self.close(&Error::Disconnected);
                }
                return;
            }
            channel if channel.starts_with("/meta/") => drop(self.outbox.reply(message)),
            _ => return self.receive_other(message),
        }
        self.take_reports();
        self.dispatch.deliver(message);
    }

    fn receive_other(&mut self, message: &Message) {
        let claimed = match (message.has_data(), message.successful()) {
            (true, _) => self.outbox.answer(message),
            (false, Some(_)) => {
                self.outbox.reply(message);
                self.take_reports();
                return;
            }
            (false, None) => false,
        };
        self.dispatch.stats.received += 1;
        if !claimed && !self.dispatch.deliver(message) {
            self.dispatch.stats.unclaimed += 1;
        }
    }

    fn apply(&mut self, change: Change) {
        match change {
            Change::Nothing => {}
            Change::Established { gap } => {
                self.dispatch.stats.sessions += 1;
                let resubscribed = self.resubscribe();
                if let Some(gap) = gap {
                    self.dispatch
                        .emit(&Event::SessionReplaced { resubscribed, gap });
                }
            }
            Change::Trouble {
                error,
                retry_in,
                lost,
            } => {
                self.dispatch.stats.failures += 1;
                self.last_trouble = Some(error.clone());
                if lost {
                    self.session_lost();
                }
                self.dispatch.emit(&Event::Trouble { error, retry_in });
            }
            Change::Ended(error) => self.close(&error),
        }
        self.announce();
    }

    fn session_lost(&mut self) {
        self.dispatch.registry.session_lost();
        self.outbox.session_lost();
        self.take_reports();
    }

    /// Tells of a change of state, if there was one.
    fn announce(&mut self) {
        let (from, to) = (self.announced, self.session.state());
        if from != to {
            self.announced = to;
            self.dispatch.emit(&Event::State { from, to });
        }
    }

    fn check_open(&self) -> Result<(), Error> {
        match self.session.state() {
            State::Disconnecting | State::Closed => Err(Error::Closed),
            _ => Ok(()),
        }
    }

    fn op(&self, kind: Kind, channel: &str, slot: Option<Arc<Slot>>) -> Op {
        Op {
            id: self.ids.next(),
            kind,
            channel: channel.into(),
            data: None,
            ext: None,
            slot,
        }
    }

    fn connect(&self, id: u64, probe: bool, ack: Option<u64>) -> String {
        let ext = ack.map(|ack| format!("{{\"ack\":{ack}}}"));
        let mut body = String::from("[");
        Encoder::begin(&mut body, "/meta/connect")
            .text("clientId", self.session.client_id().unwrap_or_default())
            .text("id", &id.to_string())
            .text("connectionType", self.choice.via().name())
            .maybe("advice", probe.then_some("{\"timeout\":0}"))
            .maybe("ext", ext.as_deref())
            .end();
        body.push(']');
        body
    }
}

impl Ids {
    /// Rising from 1.
    pub(crate) fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed) + 1
    }
}

mod subscriptions;
#[cfg(test)]
mod tests;
