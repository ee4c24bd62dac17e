//! What all parts of the broker share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::budget::QueueBudget;
use super::config::BrokerConfig;
use super::events::Client;
use super::failures::Failures;
use super::held_limits::{Browser, HeldCounts};
use super::hooks::Hooks;
use super::local::LocalError;
use super::mailbox::Locals;
use super::public_id::PublicIds;
use super::queue::QueueLimits;
use super::registry::Registry;
use super::session::{Identity, Session, State};
use super::stale::StaleConnects;
use super::stripes::Stripes;
use super::table::Table;
use super::ticker::Ticker;
use super::traffic::Traffic;
use crate::clock::Clock;
use crate::counters::Counter;
use crate::protocol::{ClientId, Publication, ShownId};
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
    pub(crate) budget: QueueBudget,
    pub(crate) traffic: Arc<Traffic>,
    pub(crate) counters: Counters,
    pub(crate) refusals: Refusals,
    pub(crate) stale: StaleConnects,
    pub(crate) hooks: Hooks,
    /// Makes public ids of publishers, where they are shown.
    pub(crate) senders: Option<PublicIds>,
    /// The last message to a client that is sent away.
    pub(crate) farewell: Arc<Publication>,
    pub(crate) draining: AtomicBool,
    pub(crate) stopped: AtomicBool,
}

/// What the broker counts.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) busy_ones: Stripes<BusyCounters>,
    pub(crate) handshakes: Counter,
    pub(crate) dropped_session: Counter,
    pub(crate) ended: [Counter; 6],
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

/// A client id that finds no session.
pub(crate) struct Unknown {
    /// The session exists, but the cookie is not the one of its handshake.
    pub(crate) wrong_cookie: bool,
}

impl Core {
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

    /// Changes a session, and does what that brings about once it is not locked any more: lets go
    /// of one that is over, and wakes whoever has something to take now.
    pub(crate) fn change<T>(
        self: &Arc<Self>,
        session: &Arc<Session>,
        change: impl FnOnce(&mut State) -> T,
    ) -> T {
        let mut state = session.lock();
        let changed = change(&mut state);
        let (wake, over) = (state.next_wake().cloned(), state.is_over());
        drop(state);
        if over {
            self.let_go(session);
        }
        if let Some(connection) = wake {
            connection.sink.wake(&[connection.key]);
        }
        changed
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
}

/// How an event names a session.
pub(crate) fn client_of(session: &Session) -> Client {
    match session.identity() {
        Identity::Remote(id) => Client::Remote(id),
        Identity::Local(id) => Client::Local(id),
    }
}
