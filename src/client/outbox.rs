//! Everything but handshakes and connects on its way to the server: one queue, one request at a
//! time.
//!
//! The order of the calls is the order on the wire. What queues up while a request is under way
//! leaves together in the next. No I/O here, and no clock.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::error::{Error, Failure, Rejection};
use super::message::Message;
use super::options::Options;
use super::receipt::{Outcome, Receipt};
use super::wire;
use crate::clock::later;
use crate::protocol::json;
use crate::util::Retries;

/// A message to send.
#[derive(Debug)]
pub(crate) struct Queued {
    /// Has its id.
    pub(crate) receipt: Arc<Receipt>,
    pub(crate) kind: Kind,
    /// Where it goes on the wire.
    pub(crate) channel: Box<str>,
    /// Of an earlier session, which is to be forgotten; else of the present one.
    pub(crate) client_id: Option<Box<str>>,
    /// The pattern of a subscribe or unsubscribe.
    pub(crate) subscription: Option<Box<str>>,
    /// As JSON text, like `ext`.
    pub(crate) data: Option<Box<str>>,
    pub(crate) ext: Option<Box<str>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Publish,
    /// A publish to a service whose answer is a message with the same id.
    Call,
    Subscribe,
    /// For what was there before, on a new session.
    Resubscribe,
    Unsubscribe,
    Disconnect,
    /// The disconnect of an earlier session.
    Forget,
}

/// What the owner of the outbox must know.
#[derive(Debug, PartialEq)]
pub(crate) enum Report {
    /// A message failed, and nobody waits for it.
    Unheard { channel: Box<str>, error: Error },
    /// The outcome of a subscribe.
    Subscribed {
        pattern: Box<str>,
        id: u64,
        outcome: Outcome,
    },
    /// The disconnect is done, as far as it can be.
    Disconnected,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Outbox {
    queue: VecDeque<Queued>,
    queued_bytes: usize,
    in_flight: VecDeque<Queued>,
    busy: bool,
    /// The request under way was sent in a session that is gone.
    stale: bool,
    /// Of the request under way: refused for now, to be sent again.
    again: Vec<Queued>,
    /// Calls that the server has taken, by id.
    awaiting: HashMap<u64, Queued>,
    not_before: Option<Instant>,
    backoff: Retries,
    reports: Vec<Report>,
}

impl Queued {
    /// With nothing but what each has.
    pub(crate) fn new(receipt: Arc<Receipt>, kind: Kind, channel: &str) -> Self {
        Self {
            receipt,
            kind,
            channel: channel.into(),
            client_id: None,
            subscription: None,
            data: None,
            ext: None,
        }
    }

    /// Its outcome is reported, for those who wait for the subscription.
    pub(crate) fn subscribe(id: u64, kind: Kind, pattern: &str, ext: Option<Box<str>>) -> Self {
        Self {
            subscription: Some(pattern.into()),
            ext,
            ..Self::new(Receipt::new(id), kind, "/meta/subscribe")
        }
    }

    pub(crate) fn unsubscribe(receipt: Arc<Receipt>, pattern: &str) -> Self {
        Self {
            subscription: Some(pattern.into()),
            ..Self::new(receipt, Kind::Unsubscribe, "/meta/unsubscribe")
        }
    }

    pub(crate) fn id(&self) -> u64 {
        self.receipt.id
    }

    /// The pattern, if it is a subscribe.
    pub(crate) fn subscribes_to(&self) -> Option<&str> {
        let subscribe = matches!(self.kind, Kind::Subscribe | Kind::Resubscribe);
        self.subscription.as_deref().filter(|_| subscribe)
    }

    /// Appends it as JSON, in the session's name.
    fn encode(&self, out: &mut Vec<u8>, client_id: &str) {
        let client_id = json::string(self.client_id.as_deref().unwrap_or(client_id));
        let id = format!("\"{}\"", self.id());
        let subscription = self.subscription.as_deref().map(json::string);
        let fields = [
            ("clientId", Some(&*client_id)),
            ("id", Some(&*id)),
            ("data", self.data.as_deref()),
            ("ext", self.ext.as_deref()),
            ("subscription", subscription.as_deref()),
        ];
        wire::write(out, &self.channel, &fields);
    }

    /// About its length on the wire.
    fn size(&self) -> usize {
        let fields = [&self.subscription, &self.data, &self.ext];
        let length = |field: &Option<Box<str>>| field.as_ref().map_or(0, |text| text.len());
        self.channel.len() + fields.map(length).iter().sum::<usize>() + 96
    }
}

impl Outbox {
    pub(crate) fn new(backoff: Retries) -> Self {
        Self {
            queue: VecDeque::new(),
            queued_bytes: 0,
            in_flight: VecDeque::new(),
            busy: false,
            stale: false,
            again: Vec::new(),
            awaiting: HashMap::new(),
            not_before: None,
            backoff,
            reports: Vec::new(),
        }
    }

    /// Appends all of them, or gives all back.
    pub(crate) fn push(
        &mut self,
        messages: Vec<Queued>,
        options: &Options,
    ) -> Result<(), (Vec<Queued>, Error)> {
        let bytes: usize = messages.iter().map(Queued::size).sum();
        let full = self.queue.len() + messages.len() > options.queue_messages
            || self.queued_bytes + bytes > options.queue_bytes;
        // An empty queue takes anything, or a large message could never leave.
        if full && !self.queue.is_empty() && !messages.is_empty() {
            let (waiting, bytes) = (self.queue.len(), self.queued_bytes);
            let error = Error::QueueFull {
                messages: waiting,
                bytes,
            };
            return Err((messages, error));
        }
        messages.into_iter().for_each(|one| self.push_anyway(one));
        Ok(())
    }

    /// Appends without a look at the limits, for what is bounded otherwise.
    pub(crate) fn push_anyway(&mut self, message: Queued) {
        self.queued_bytes += message.size();
        self.queue.push_back(message);
    }

    /// Puts them before everything else, in their order.
    pub(crate) fn push_first(&mut self, messages: Vec<Queued>) {
        for message in messages.into_iter().rev() {
            self.queued_bytes += message.size();
            self.queue.push_front(message);
        }
    }

    /// The ids of the subscribes in the queue.
    pub(crate) fn subscribes(&self) -> HashSet<u64> {
        let subscribes = self
            .queue
            .iter()
            .filter(|one| one.subscribes_to().is_some());
        subscribes.map(Queued::id).collect()
    }

    /// The next request, if one may leave now. Without a session only what names its own.
    pub(crate) fn take(
        &mut self,
        now: Instant,
        client_id: Option<&str>,
        options: &Options,
    ) -> Option<String> {
        if !self.is_waiting() || self.not_before.is_some_and(|at| at > now) {
            return None;
        }
        let mut body = Vec::new();
        while let Some(next) = self.queue.front() {
            let room = self.in_flight.len() < options.batch_messages
                && body.len() + next.size() <= options.batch_bytes;
            let sendable = client_id.is_some() || next.kind == Kind::Forget;
            if !sendable || !(room || self.in_flight.is_empty()) {
                break;
            }
            body.reserve(next.size() + 2);
            if body.is_empty() {
                body.push(b'[');
            }
            next.encode(&mut body, client_id.unwrap_or_default());
            self.queued_bytes -= next.size();
            self.in_flight.extend(self.queue.pop_front());
        }
        if self.in_flight.is_empty() {
            return None;
        }
        body.push(b']');
        self.busy = true;
        self.stale = false;
        Some(String::from_utf8(body).expect("because it is made of text"))
    }

    /// Whether there is something for [`Self::take`], if not now then later.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.busy && !self.queue.is_empty()
    }

    /// Whether each message of the request under way has its reply.
    pub(crate) fn is_answered(&self) -> bool {
        self.in_flight.is_empty()
    }

    /// When [`Self::take`] is worth another try, if time alone can change its mind.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.not_before.filter(|_| self.is_waiting())
    }

    /// A message without data that is a reply. `false`: to none of ours.
    pub(crate) fn reply(&mut self, reply: &Message) -> bool {
        let id = reply.id().map(|id| id.parse::<u64>().ok());
        let position = self.in_flight.iter().position(|sent| match id {
            Some(id) => Some(sent.id()) == id,
            None => *sent.channel == *reply.channel(),
        });
        let Some(sent) = position.and_then(|position| self.in_flight.remove(position)) else {
            return self.answer(reply);
        };
        if reply.successful() == Some(true) {
            if sent.kind != Kind::Call {
                self.settle(sent, Ok(reply.clone()));
            } else if is_open(&sent.receipt) {
                self.awaiting.insert(sent.id(), sent);
            }
            return true;
        }
        let rejection = Rejection::new(&sent.channel, reply.error().as_deref());
        let busy = rejection.code().is_some_and(|code| code >= 500);
        let repeat = match sent.kind {
            // Nobody waits for this one, so there is time to try again.
            Kind::Resubscribe => busy,
            Kind::Unsubscribe => self.stale,
            _ => false,
        };
        if repeat {
            self.again.push(sent);
        } else {
            self.settle(sent, Err(Error::Rejected(rejection)));
        }
        true
    }

    /// A message that may be what a call waits for. `false`: it is not.
    pub(crate) fn answer(&mut self, message: &Message) -> bool {
        let Some(id) = message.id().and_then(|id| id.parse::<u64>().ok()) else {
            return false;
        };
        let asks = |one: &Queued| {
            one.id() == id && one.kind == Kind::Call && *one.channel == *message.channel()
        };
        let outcome = match message.successful() {
            Some(false) if !message.has_data() => Err(Error::Rejected(Rejection::new(
                message.channel(),
                message.error().as_deref(),
            ))),
            _ => Ok(message.clone()),
        };
        if self.awaiting.get(&id).is_some_and(asks) {
            if let Some(call) = self.awaiting.remove(&id) {
                self.settle(call, outcome);
            }
            return true;
        }
        // The answer rides before the reply, which will find the call settled.
        match self.in_flight.iter().find(|one| asks(one)) {
            Some(call) if call.receipt.get().is_none() => {
                call.receipt.settle(outcome);
                true
            }
            _ => false,
        }
    }

    /// The request is over. What got no reply is sent again where that is safe; the rest fails.
    /// `pause`: the server asked to be left alone so long.
    pub(crate) fn finish(
        &mut self,
        now: Instant,
        result: Result<(), Failure>,
        pause: Option<Duration>,
    ) {
        self.busy = false;
        let mut again = std::mem::take(&mut self.again);
        let backoff = if result.is_err() || !again.is_empty() {
            Some(self.backoff.failed())
        } else {
            self.backoff.reset();
            None
        };
        let wait = backoff
            .max(pause)
            .map(|wait| wait.min(self.backoff.longest()));
        self.not_before = wait.map(|wait| later(now, wait));
        let failure = result.err().unwrap_or(Failure::NoReply);
        for sent in std::mem::take(&mut self.in_flight) {
            match sent.kind {
                Kind::Disconnect | Kind::Forget => {
                    self.settle(sent, Err(Error::SessionLost));
                }
                _ if failure.nothing_sent() => again.push(sent),
                // Sending it twice does the same as sending it once.
                Kind::Subscribe | Kind::Resubscribe | Kind::Unsubscribe
                    if self.stale || failure != Failure::NoReply =>
                {
                    again.push(sent);
                }
                _ if self.stale => self.settle(sent, Err(Error::SessionLost)),
                _ => self.settle(sent, Err(Error::Unacknowledged(failure.clone()))),
            }
        }
        self.push_first(again);
    }

    /// The session is gone, and with it what the server owed to it. Subscribes under way are
    /// forgotten: the new session needs new ones.
    pub(crate) fn session_lost(&mut self) {
        self.stale = self.busy;
        self.in_flight.retain(|sent| sent.subscribes_to().is_none());
        self.again.retain(|sent| sent.subscribes_to().is_none());
        for (_, call) in std::mem::take(&mut self.awaiting) {
            self.settle(call, Err(Error::SessionLost));
        }
    }

    /// Nobody waits any longer: takes it back if it has not left. Says whether it has. A subscribe
    /// stays, as others may have joined it.
    pub(crate) fn abandon(&mut self, id: u64) -> bool {
        self.awaiting.remove(&id);
        let subscribe = |one: &Queued| one.id() == id && one.subscribes_to().is_some();
        !self.queue.iter().any(subscribe) && !self.take_back(id)
    }

    /// Takes a message out of the queue. Says whether it was there.
    pub(crate) fn take_back(&mut self, id: u64) -> bool {
        let position = self.queue.iter().position(|one| one.id() == id);
        let message = position.and_then(|position| self.queue.remove(position));
        self.queued_bytes -= message.as_ref().map_or(0, Queued::size);
        message.is_some()
    }

    /// Fails everything.
    pub(crate) fn close(&mut self, reason: &Error) {
        let mut all: Vec<_> = std::mem::take(&mut self.queue).into();
        all.extend(std::mem::take(&mut self.in_flight));
        all.append(&mut self.again);
        all.extend(std::mem::take(&mut self.awaiting).into_values());
        self.queued_bytes = 0;
        for message in all {
            self.settle(message, Err(reason.clone()));
        }
    }

    /// What happened that nobody waits for, since the last call.
    pub(crate) fn reports(&mut self) -> Vec<Report> {
        std::mem::take(&mut self.reports)
    }

    /// Messages waiting or under way.
    pub(crate) fn len(&self) -> usize {
        self.queue.len() + self.in_flight.len()
    }

    fn settle(&mut self, message: Queued, outcome: Outcome) {
        let watched = Receipt::is_watched(&message.receipt);
        let report = match (message.kind, outcome) {
            (Kind::Subscribe | Kind::Resubscribe, outcome) => Report::Subscribed {
                id: message.id(),
                pattern: message.subscription.unwrap_or_default(),
                outcome,
            },
            (Kind::Disconnect, _) => Report::Disconnected,
            (Kind::Publish | Kind::Call, Err(error)) if !watched => Report::Unheard {
                channel: message.channel,
                error,
            },
            (_, outcome) => return message.receipt.settle(outcome),
        };
        self.reports.push(report);
    }
}

/// Whether somebody waits for it.
fn is_open(receipt: &Arc<Receipt>) -> bool {
    Receipt::is_watched(receipt) && receipt.get().is_none()
}

#[cfg(test)]
mod tests;
