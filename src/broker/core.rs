//! What all parts of the broker share, and the steps that touch several sessions.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::config::BrokerConfig;
use super::events::{Client, Event, EventKind, Observers};
use super::failures::Failures;
use super::filter::{self, Filter, Filters};
use super::held::{Browser, HeldCounts};
use super::listeners::Listeners;
use super::load::Load;
use super::local::{LocalError, check_fit};
use super::mailbox::Locals;
use super::policy::{Action, Judge, Policy};
use super::public_id::PublicIds;
use super::queue::{Outcome, QueueLimits};
use super::registry::Registry;
use super::service::Services;
use super::session::{Gone, Identity, Session};
use super::stale::StaleConnects;
use super::stripes::Stripes;
use super::table::Table;
use super::ticker::Ticker;
use super::wakes::Wakes;
use super::work::Pool;
use crate::clock::Clock;
use crate::counters::Counter;
use crate::protocol::{
    ChannelKind, ChannelName, ClientId, Draft, Fit, Publication, Publisher, Shown, ShownId, Target,
};
use crate::refusals::{Reason, Refusals};
use crate::transport::BrowserId;

pub(crate) struct Core {
    pub(crate) config: BrokerConfig,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) table: Table,
    pub(crate) held: Arc<HeldCounts>,
    pub(crate) locals: Locals,
    /// The bounds of the queues of local clients.
    pub(crate) local_queue: QueueLimits,
    pub(crate) ticker: Ticker,
    pub(crate) load: Load,
    pub(crate) counters: Counters,
    pub(crate) refusals: Refusals,
    pub(crate) stale: StaleConnects,
    pub(crate) policy: Option<Judge>,
    pub(crate) listeners: Listeners,
    pub(crate) observers: Observers,
    pub(crate) filters: Filters,
    pub(crate) services: Arc<Services>,
    /// Makes public ids of publishers, where they are shown.
    pub(crate) senders: Option<PublicIds>,
    /// The last message to a client that is sent away.
    pub(crate) farewell: Arc<Publication>,
    /// Policy and listeners.
    pub(crate) policy_pool: Pool,
    /// Services, local callbacks and observers.
    pub(crate) callback_pool: Arc<Pool>,
    pub(crate) draining: AtomicBool,
    pub(crate) stopped: AtomicBool,
}

/// What the broker counts.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) busy_ones: Stripes<BusyCounters>,
    pub(crate) handshakes: Counter,
    pub(crate) dropped_session: Counter,
    pub(crate) ended: [Counter; 5],
    /// Messages that failed, by code.
    pub(crate) failed: Failures,
}

/// What changes with each message, or may do so.
#[derive(Default)]
pub(crate) struct BusyCounters {
    pub(crate) received: Counter,
    pub(crate) published: Counter,
    pub(crate) queued: Counter,
    pub(crate) dropped_oldest: Counter,
    pub(crate) dropped_newest: Counter,
}

impl Counters {
    /// Where the calling thread counts.
    pub(crate) fn mine(&self) -> &BusyCounters {
        self.busy_ones.mine()
    }

    /// One of the counters, of all threads together.
    pub(crate) fn sum(&self, which: fn(&BusyCounters) -> &Counter) -> u64 {
        self.busy_ones
            .iter()
            .map(|counters| which(counters).get())
            .sum()
    }
}

/// The publisher of a message and the session whose queue rides along in the publisher's response:
/// where they are, to be recognised without being looked at.
#[derive(Clone, Copy)]
pub(crate) struct Sender {
    publisher: *const Session,
    rider: *const Session,
}

impl Sender {
    pub(crate) fn new(publisher: Option<&Arc<Session>>, rider: Option<&Arc<Session>>) -> Self {
        Self {
            publisher: publisher.map_or(std::ptr::null(), Arc::as_ptr),
            rider: rider.map_or(std::ptr::null(), Arc::as_ptr),
        }
    }

    pub(crate) fn nobody() -> Self {
        Self::new(None, None)
    }
}

/// A client id that finds no session.
pub(crate) struct Unknown {
    /// The session exists, but the cookie is not the one of its handshake.
    pub(crate) wrong_cookie: bool,
}

impl Core {
    /// Whether user code must see a message to there before it is executed.
    pub(crate) fn judging(&self, target: &Target) -> bool {
        let judged = |action| self.policy_for(action).is_some();
        self.listeners.any() || self.filters.any() || Action::of(target).is_some_and(judged)
    }

    /// The policy, if there is one and it judges that.
    pub(crate) fn policy_for(&self, action: Action) -> Option<&dyn Policy> {
        self.policy.as_ref()?.for_action(action)
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Nothing is published or pushed any more once the broker has stopped.
    pub(crate) fn check_running(&self) -> Result<(), LocalError> {
        match self.stopped.load(Ordering::Acquire) {
            false => Ok(()),
            true => Err(LocalError::Stopped),
        }
    }

    /// The session of that id, if that browser may use it.
    pub(crate) fn known(
        &self,
        id: Option<&ClientId>,
        browser: Option<BrowserId>,
    ) -> Result<Arc<Session>, Unknown> {
        let session = id.and_then(|id| self.registry.get(id));
        let session = session.ok_or(Unknown {
            wrong_cookie: false,
        })?;
        // Nobody is no browser: a session of nobody's is found by none.
        let same = browser.is_some() && session.browser == browser.map(Browser::from);
        if self.config.require_browser_cookie && !same {
            let id = ShownId(id.map(ClientId::as_str));
            let seen = format_args!("a message of session {id} without its cookie");
            self.refusals.count(Reason::Cookie, seen);
            return Err(Unknown { wrong_cookie: true });
        }
        Ok(session)
    }

    /// Queues the message for everyone who is subscribed; returns how many that are.
    pub(crate) fn fan_out(
        self: &Arc<Self>,
        item: &Arc<Publication>,
        sender: Sender,
        wakes: &mut Wakes,
    ) -> usize {
        self.counters.mine().published.one();
        self.observers
            .tell(&self.callback_pool, EventKind::Published, || {
                Event::Published {
                    publication: Arc::clone(item),
                }
            });
        let receivers = self.table.receivers(item.channel());
        let silent = if self.config.broadcast_to_publisher {
            std::ptr::null()
        } else {
            sender.publisher
        };
        let mut sums = Sums::default();
        let filter = self.filters.get();
        let filter = filter.as_deref();
        for session in receivers
            .iter()
            .filter(|session| Arc::as_ptr(session) != silent)
        {
            self.filtered(filter, item, session, sender.rider, wakes, &mut sums);
        }
        let reached = sums.queued;
        self.settle(sums);
        let (name, bytes) = (item.channel().as_str(), item.json().len());
        log::trace!(
            "published on {}: {bytes} bytes, {reached} receivers",
            Shown(name)
        );
        reached
    }

    /// The session of a client, remote or local.
    pub(crate) fn session_of(&self, client: Client) -> Option<Arc<Session>> {
        match client {
            Client::Remote(id) => self.registry.get(&id),
            Client::Local(id) => self.locals.session(id),
        }
    }

    /// The public id of a publisher, if those are shown.
    pub(crate) fn public_id(&self, session: &Session) -> Option<String> {
        let senders = self.senders.as_ref()?;
        Some(senders.of(session.number()))
    }

    /// Publishes in the name of that session; returns how many clients it was queued for.
    pub(crate) fn publish_as(
        self: &Arc<Self>,
        session: &Arc<Session>,
        channel: &ChannelName,
        data: &str,
    ) -> usize {
        let publication = self.publication_of(session, channel, data);
        let mut wakes = Wakes::default();
        let reached = self.fan_out(&publication, Sender::new(Some(session), None), &mut wakes);
        wakes.send();
        reached
    }

    /// A message published by that session.
    fn publication_of(
        &self,
        session: &Session,
        channel: &ChannelName,
        data: &str,
    ) -> Arc<Publication> {
        let publisher = match session.identity() {
            Identity::Remote(id) => Publisher::Remote(id),
            Identity::Local(id) => Publisher::Local(id),
        };
        let sender = self.public_id(session);
        let draft = Draft {
            data: Some(data),
            sender: sender.as_deref(),
            publisher,
            ..Draft::new(channel)
        };
        Arc::new(draft.build())
    }

    /// Queues a message for one client.
    pub(crate) fn push(
        self: &Arc<Self>,
        client: Client,
        publication: Publication,
    ) -> Result<(), LocalError> {
        self.check_running()?;
        // Only the server itself speaks about sessions.
        if publication.channel().kind() == ChannelKind::Meta {
            let channel = publication.channel().to_string();
            return Err(LocalError::InvalidChannel(channel));
        }
        check_fit(&publication, Fit::OneClient)?;
        let session = self.session_of(client).ok_or(LocalError::UnknownClient)?;
        let publication = Arc::new(publication);
        let (mut wakes, mut sums) = (Wakes::default(), Sums::default());
        let nobody = std::ptr::null();
        let filter = self.filters.get();
        let filter = filter.as_deref();
        self.filtered(
            filter,
            &publication,
            &session,
            nobody,
            &mut wakes,
            &mut sums,
        );
        let (queued, full) = (sums.queued == 1, sums.refused + sums.overflowed.len() > 0);
        self.settle(sums);
        wakes.send();
        if full {
            return Err(LocalError::QueueFull);
        }
        if !queued {
            return Err(match filter {
                Some(_) if session.lock().gone().is_none() => LocalError::Filtered,
                _ => LocalError::UnknownClient,
            });
        }
        log::trace!(
            "pushed to {client}: {}",
            Shown(publication.channel().as_str())
        );
        self.observers
            .tell(&self.callback_pool, EventKind::Pushed, || Event::Pushed {
                client,
                publication,
            });
        Ok(())
    }

    /// Delivers what the filter lets through. With no lock held: the filter is user code.
    fn filtered(
        &self,
        filter: Option<&Filter>,
        item: &Arc<Publication>,
        session: &Arc<Session>,
        rider: *const Session,
        wakes: &mut Wakes,
        sums: &mut Sums,
    ) {
        let Some(filter) = filter else {
            return self.deliver(item, session, rider, wakes, sums);
        };
        if let Some(item) = filter::apply(filter, session, item) {
            self.deliver(&item, session, rider, wakes, sums);
        }
    }

    fn deliver(
        &self,
        item: &Arc<Publication>,
        session: &Arc<Session>,
        rider: *const Session,
        wakes: &mut Wakes,
        sums: &mut Sums,
    ) {
        let mut state = session.lock();
        let limits = if state.is_local() {
            &self.local_queue
        } else {
            &self.config.queue
        };
        let pushed = state.push(item, limits);
        if pushed.outcome == Outcome::Queued && Arc::as_ptr(session) != rider {
            if let Some(link) = state.next_wake() {
                wakes.add(link);
            }
        }
        drop(state);
        sums.dropped += pushed.dropped;
        sums.dropped_bytes += pushed.dropped_bytes;
        match pushed.outcome {
            Outcome::Queued => {
                sums.queued += 1;
                sums.queued_bytes += item.json().len();
            }
            Outcome::Refused => sums.refused += 1,
            Outcome::Gone => {}
            Outcome::Overflowed => sums.overflowed.push(Arc::clone(session)),
        }
    }

    /// Books what a delivery did, outside of all locks.
    fn settle(self: &Arc<Self>, sums: Sums) {
        let counters = self.counters.mine();
        counters.queued.add(sums.queued as u64);
        counters.dropped_oldest.add(sums.dropped as u64);
        counters.dropped_newest.add(sums.refused as u64);
        let too_much = self.load.change(sums.queued_bytes, sums.dropped_bytes);
        for session in sums.overflowed {
            self.end(&session, Gone::Overflowed);
        }
        if too_much {
            self.relieve();
        }
    }
}

/// How an event names a session.
pub(crate) fn client_of(session: &Session) -> Client {
    match session.identity() {
        Identity::Remote(id) => Client::Remote(id),
        Identity::Local(id) => Client::Local(id),
    }
}

#[derive(Default)]
struct Sums {
    queued: usize,
    queued_bytes: usize,
    refused: usize,
    dropped: usize,
    dropped_bytes: usize,
    overflowed: Vec<Arc<Session>>,
}
