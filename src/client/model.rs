//! The whole client without threads, sockets or clock: session, outbox and subscriptions together.
//!
//! The driver asks for the next request of each [`Exchange`], carries it out, and tells what came
//! of it (`requests`). The user's calls come here and to `subscribing`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::error::Error;
use super::event::{Event, State, Stats};
use super::message::Message;
use super::options::Options;
use super::outbox::{Kind, Outbox, Queued, Report};
use super::receipt::Receipt;
use super::session::{Change, Session};
use super::subscriptions::{Listener, Subscriptions};
use super::transport::{Fallback, Transport};
use crate::util::Retries;

pub(crate) use requests::{Answer, Exchange, Handshake, Request};
use requests::{Socket, UnderWay};

/// Ids of messages, shared by all who make some.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ids(Arc<AtomicU64>);

/// See the module.
#[derive(Debug)]
pub(crate) struct Model {
    options: Arc<Options>,
    pub(super) fallback: Fallback,
    ids: Ids,
    pub(super) session: Session,
    pub(super) outbox: Outbox,
    pub(super) subscriptions: Subscriptions,
    /// What is under way, by [`Exchange`].
    under_way: [Option<UnderWay>; 2],
    requests: u64,
    socket: Option<Socket>,
    sockets: u64,
    /// Of the last handshake or connect.
    connect_id: u64,
    announced: State,
    /// Why it is over, if it is.
    pub(super) ended: Option<Error>,
    /// Why the last handshake or connect failed, until one works.
    pub(super) last_trouble: Option<Error>,
}

impl Model {
    pub(crate) fn new(
        options: Arc<Options>,
        transport: Transport,
        ids: Ids,
        now: Instant,
        seed: u64,
    ) -> Self {
        let backoff = |seed| Retries::new(options.backoff_first, options.backoff_longest, seed);
        Self {
            fallback: Fallback::new(transport),
            ids,
            session: Session::new(now, backoff(seed)),
            outbox: Outbox::new(backoff(!seed)),
            subscriptions: Subscriptions::new(options.callback_messages, options.callback_bytes),
            options,
            under_way: [None, None],
            requests: 0,
            socket: None,
            sockets: 0,
            connect_id: 0,
            announced: State::Handshaking,
            ended: None,
            last_trouble: None,
        }
    }

    /// Gives the session up and begins a new one.
    pub(crate) fn reconnect(&mut self, now: Instant) {
        self.fallback.reset();
        if let Some(client_id) = self.session.restart(now) {
            self.session_lost();
            let forget = self.message(Kind::Forget, "/meta/disconnect");
            self.outbox.push_first(vec![Queued {
                client_id: Some(client_id),
                ..forget
            }]);
        }
        self.announce();
    }

    /// Sends what is queued, then the disconnect, and closes. Without a working session closes.
    pub(crate) fn disconnect(&mut self) {
        match self.session.state() {
            State::Disconnecting | State::Closed => {}
            _ if self.session.open().is_some() => {
                self.session.disconnecting();
                let disconnect = self.message(Kind::Disconnect, "/meta/disconnect");
                self.outbox.push_anyway(disconnect);
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
        self.subscriptions.close(reason);
        self.take_reports();
        self.announce();
        self.subscriptions.dismiss();
    }

    /// A function that is to hear of events.
    pub(crate) fn listen(&mut self, listener: Listener) {
        self.subscriptions.listen(listener);
        if self.ended.is_some() {
            self.subscriptions.dismiss();
        }
    }

    pub(crate) fn stats(&self) -> Stats {
        Stats {
            queued: self.outbox.len(),
            ..self.subscriptions.stats
        }
    }

    fn receive(&mut self, now: Instant, messages: &[Message]) {
        for message in messages {
            if self.ended.is_some() {
                return;
            }
            self.receive_one(now, message);
        }
    }

    fn receive_one(&mut self, now: Instant, message: &Message) {
        let ours = message
            .id()
            .is_none_or(|id| id.parse() == Ok(self.connect_id));
        match message.channel() {
            "/meta/handshake" if ours => {
                let offered = self.fallback.offered();
                let change = self.session.handshaken(now, message, offered);
                if matches!(change, Change::Established { .. }) {
                    let theirs: Option<Vec<String>> = message.value("supportedConnectionTypes");
                    self.fallback.settled(theirs.as_deref());
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
                self.subscriptions.deliver(message);
                if self.session.state() != State::Disconnecting {
                    self.close(&Error::Disconnected);
                }
                return;
            }
            channel if channel.starts_with("/meta/") => drop(self.outbox.reply(message)),
            _ => return self.receive_other(message),
        }
        self.take_reports();
        self.subscriptions.deliver(message);
    }

    fn receive_other(&mut self, message: &Message) {
        if !message.has_data() && message.successful().is_some() {
            self.outbox.reply(message);
            return self.take_reports();
        }
        let claimed = message.has_data() && self.outbox.answer(message);
        self.subscriptions.stats.received += 1;
        if !claimed && !self.subscriptions.deliver(message) {
            self.subscriptions.stats.unclaimed += 1;
        }
    }

    fn apply(&mut self, change: Change) {
        match change {
            Change::Nothing => {}
            Change::Established { gap } => {
                self.subscriptions.stats.sessions += 1;
                let resubscribed = self.resubscribe();
                if let Some(gap) = gap {
                    self.subscriptions
                        .emit(&Event::SessionReplaced { resubscribed, gap });
                }
            }
            Change::Trouble {
                error,
                retry_in,
                lost,
            } => {
                self.subscriptions.stats.failures += 1;
                self.last_trouble = Some(error.clone());
                if lost {
                    self.session_lost();
                }
                self.subscriptions.emit(&Event::Trouble { error, retry_in });
            }
            Change::Ended(error) => self.close(&error),
        }
        self.announce();
    }

    fn session_lost(&mut self) {
        self.subscriptions.session_lost();
        self.outbox.session_lost();
        self.take_reports();
    }

    /// Acts on what the outbox has to tell.
    fn take_reports(&mut self) {
        for report in self.outbox.reports() {
            match report {
                Report::Unheard { channel, error } => {
                    let channel = channel.into();
                    self.subscriptions.emit(&Event::Unheard { channel, error });
                }
                Report::Subscribed {
                    pattern,
                    id,
                    outcome,
                } => {
                    self.subscriptions.settle(&pattern, id, outcome);
                }
                Report::Disconnected => self.close(&Error::Closed),
            }
        }
    }

    /// Tells of a change of state, if there was one.
    fn announce(&mut self) {
        let (from, to) = (self.announced, self.session.state());
        if from != to {
            self.announced = to;
            self.subscriptions.emit(&Event::State { from, to });
        }
    }

    fn message(&self, kind: Kind, channel: &str) -> Queued {
        let receipt = Receipt::new(self.ids.next());
        Queued::new(receipt, kind, channel)
    }
}

impl Ids {
    /// Rising from 1.
    pub(crate) fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed) + 1
    }
}

mod requests;
mod subscribing;
#[cfg(test)]
mod tests;
