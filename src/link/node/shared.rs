//! The router behind its lock, and what its effects do.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use parking_lot::{Condvar, Mutex};

use super::connection::Order;
use super::threads::Job;
use crate::clock::{Clock, FOREVER, SystemClock};
use crate::link::hello::Own;
use crate::link::router::{Effects, Router};
use crate::link::{Event, Limits, LinkId};
use crate::tcp::Connection;

pub(super) type Observer = Arc<dyn Fn(&Event) + Send + Sync>;

/// What the handles and threads of a node share. Locks are not nested.
pub(crate) struct Shared {
    state: Mutex<State>,
    /// Told when posters, callers of `wait_for` and the like may look again.
    changed: Condvar,
    /// Told when the ticker is to look again.
    alarm: Condvar,
    clock: SystemClock,
    pub(super) own: Own,
    pub(super) limits: Limits,
    jobs: Sender<Job>,
    links: Mutex<HashMap<LinkId, Connection<Order>>>,
    next_link: AtomicU64,
    observers: Mutex<Vec<Observer>>,
}

struct State {
    router: Router,
    /// Counts what `changed` was told.
    changes: u64,
    /// Until when the ticker sleeps, while it does.
    asleep_until: Option<Option<Instant>>,
    ended: bool,
}

impl Shared {
    pub(super) fn new(own: Own, limits: Limits, jobs: Sender<Job>) -> Self {
        let clock = SystemClock;
        let router = Router::new(own.id, &own.name, limits.clone(), clock.now());
        let state = State {
            router,
            changes: 0,
            asleep_until: None,
            ended: false,
        };
        Self {
            state: Mutex::new(state),
            changed: Condvar::new(),
            alarm: Condvar::new(),
            clock,
            own,
            limits,
            jobs,
            links: Mutex::default(),
            next_link: AtomicU64::new(1),
            observers: Mutex::default(),
        }
    }

    /// Uses the router, and does what it asks for when it is unlocked again.
    pub(crate) fn with<T>(&self, use_it: impl FnOnce(&mut Router) -> T) -> T {
        self.with_changes(use_it).0
    }

    /// As `with`; also returns what to give to `wait` to wait for a change after it.
    pub(super) fn with_changes<T>(&self, use_it: impl FnOnce(&mut Router) -> T) -> (T, u64) {
        let mut state = self.state.lock();
        state.router.enter(self.clock.now());
        let result = use_it(&mut state.router);
        let effects = state.router.take_effects();
        state.changes += u64::from(effects.changed);
        let (changes, next) = (state.changes, state.router.next_deadline());
        // The ticker would sleep for too long.
        let ring = state
            .asleep_until
            .is_some_and(|until| next.is_some_and(|next| until.is_none_or(|until| next < until)));
        drop(state);
        if ring {
            self.alarm.notify_one();
        }
        self.perform(effects);
        (result, changes)
    }

    /// Waits until something has changed after `changes`; `false`: not in time.
    pub(super) fn wait(&self, changes: u64, until: Instant) -> bool {
        let mut state = self.state.lock();
        while state.changes == changes {
            if self.changed.wait_until(&mut state, until).timed_out() {
                return state.changes != changes;
            }
        }
        true
    }

    fn perform(&self, effects: Effects) {
        if effects.changed {
            self.changed.notify_all();
        }
        for link in effects.wake {
            if let Some(connection) = self.connection(link) {
                // If its mailbox is full, it is about to look anyway.
                let _ = connection.post(Order::Flush);
            }
        }
        for (link, reason) in effects.cut {
            if let Some(connection) = self.connection(link) {
                if connection.post(Order::Close(reason)).is_err() {
                    connection.abort();
                }
            }
        }
        drop(effects.discard);
        let runs = effects.run.into_iter();
        let runs = runs.map(|(alias, token)| Job::Run(alias, token));
        for job in runs.chain(effects.events.then_some(Job::Observe)) {
            // Fails when the workers are gone; then nobody is to be run.
            let _ = self.jobs.send(job);
        }
    }

    fn connection(&self, link: LinkId) -> Option<Connection<Order>> {
        self.links.lock().get(&link).cloned()
    }

    pub(super) fn add_link(&self, connection: Connection<Order>) -> LinkId {
        let link = LinkId(self.next_link.fetch_add(1, Ordering::Relaxed));
        self.links.lock().insert(link, connection);
        link
    }

    pub(super) fn remove_link(&self, link: LinkId) {
        let removed = self.links.lock().remove(&link);
        drop(removed);
    }

    pub(super) fn links(&self) -> Vec<Connection<Order>> {
        self.links.lock().values().cloned().collect()
    }

    pub(super) fn add_observer(&self, observer: Observer) {
        self.observers.lock().push(observer);
        self.with(|router| router.events().observe());
    }

    pub(super) fn remove_observer(&self, observer: &Observer) {
        let mut observers = self.observers.lock();
        let at = observers.iter().position(|one| Arc::ptr_eq(one, observer));
        let removed = at.map(|at| observers.remove(at));
        drop(observers);
        if removed.is_some() {
            self.with(|router| router.events().unobserve());
        }
    }

    pub(super) fn observers(&self) -> Vec<Observer> {
        self.observers.lock().clone()
    }

    /// They may hold handles, and so keep this alive.
    pub(super) fn forget_observers(&self) {
        let observers = std::mem::take(&mut *self.observers.lock());
        for observer in observers {
            self.with(|router| router.events().unobserve());
            drop(observer);
        }
    }

    /// When it is so much later; what is longer than [`FOREVER`] is that.
    pub(super) fn after(&self, time: Duration) -> Instant {
        self.clock.now() + time.min(FOREVER)
    }

    pub(super) fn now(&self) -> Instant {
        self.clock.now()
    }

    pub(crate) fn max_message(&self) -> usize {
        self.limits.max_message
    }

    pub(super) fn job(&self, job: Job) {
        let _ = self.jobs.send(job);
    }

    /// The ticker: does what the time brings until `end`.
    pub(super) fn tick_until_end(&self) {
        let mut state = self.state.lock();
        while !state.ended {
            let now = self.clock.now();
            let next = state.router.next_deadline();
            if next.is_some_and(|next| next <= now) {
                state.router.enter(now);
                state.router.tick();
                let effects = state.router.take_effects();
                state.changes += u64::from(effects.changed);
                drop(state);
                self.perform(effects);
                state = self.state.lock();
                continue;
            }
            state.asleep_until = Some(next);
            match next {
                Some(next) => drop(self.alarm.wait_until(&mut state, next)),
                None => self.alarm.wait(&mut state),
            }
            state.asleep_until = None;
        }
    }

    pub(super) fn end(&self) {
        self.state.lock().ended = true;
        self.alarm.notify_one();
    }
}
