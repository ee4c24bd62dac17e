//! The router behind its lock, what its effects do, and the threads that use it.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};
use parking_lot::{Condvar, Mutex};

use super::connection::Order;
use crate::clock::{Clock, FOREVER, SystemClock};
use crate::link::hello::Identity;
use crate::link::message::Message;
use crate::link::router::{DeliveryTag, Effects, Router};
use crate::link::{Limits, LinkEnd, LinkId};
use crate::tcp::Connection;

/// What the handles, connections and threads of a node share. Locks are not nested.
pub(crate) struct NodeInner {
    locked: Mutex<Locked>,
    /// Told when posters, callers of `wait_for` and the like may look again.
    changed: Condvar,
    /// Told when the ticker is to look again.
    alarm: Condvar,
    clock: SystemClock,
    pub(super) identity: Identity,
    pub(crate) limits: Limits,
    jobs: Sender<Job>,
    links: Mutex<HashMap<LinkId, Connection<Order>>>,
    next_link: AtomicU64,
}

impl fmt::Debug for NodeInner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node")
            .field("id", &self.identity.id)
            .field("name", &self.identity.name)
            .finish_non_exhaustive()
    }
}

struct Locked {
    router: Router,
    /// Counts what `changed` was told.
    changes: u64,
    /// Until when the ticker sleeps, while it does.
    asleep_until: Option<Option<Instant>>,
    ended: bool,
}

impl NodeInner {
    pub(super) fn new(identity: Identity, limits: Limits, jobs: Sender<Job>) -> Self {
        let clock = SystemClock;
        let router = Router::new(identity.id, &identity.name, limits.clone(), clock.now());
        Self {
            locked: Mutex::new(Locked {
                router,
                changes: 0,
                asleep_until: None,
                ended: false,
            }),
            changed: Condvar::new(),
            alarm: Condvar::new(),
            clock,
            identity,
            limits,
            jobs,
            links: Mutex::default(),
            next_link: AtomicU64::new(1),
        }
    }

    /// Uses the router, and does what it asks for when it is unlocked again.
    pub(crate) fn with<T>(&self, use_it: impl FnOnce(&mut Router) -> T) -> T {
        self.with_changes(use_it).0
    }

    /// Uses the router, and again whenever something has changed, until it is done or the time is
    /// over. Returns the last result.
    pub(super) fn with_until<T>(
        &self,
        time: Duration,
        is_done: impl Fn(&T) -> bool,
        mut use_it: impl FnMut(&mut Router) -> T,
    ) -> T {
        let mut deadline = None;
        loop {
            let (result, changes) = self.with_changes(&mut use_it);
            if is_done(&result) {
                return result;
            }
            let deadline = *deadline.get_or_insert_with(|| self.after(time));
            let mut locked = self.locked.lock();
            while locked.changes == changes {
                let waited = self.changed.wait_until(&mut locked, deadline);
                if waited.timed_out() && locked.changes == changes {
                    return result;
                }
            }
        }
    }

    fn with_changes<T>(&self, use_it: impl FnOnce(&mut Router) -> T) -> (T, u64) {
        let mut locked = self.locked.lock();
        locked.router.enter(self.clock.now());
        let result = use_it(&mut locked.router);
        let effects = locked.router.take_effects();
        locked.changes += u64::from(effects.changed);
        let (changes, next) = (locked.changes, locked.router.next_deadline());
        // The ticker would sleep for too long.
        let ring = locked
            .asleep_until
            .is_some_and(|until| next.is_some_and(|next| until.is_none_or(|until| next < until)));
        drop(locked);
        if ring {
            self.alarm.notify_one();
        }
        self.perform(effects);
        (result, changes)
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
            self.close(link, reason);
        }
        drop(effects.discard);
        for (alias, token) in effects.run {
            self.job(Job::Run(alias, token));
        }
        if effects.events {
            self.job(Job::Observe);
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

    pub(super) fn close_links(&self) {
        let links: Vec<LinkId> = self.links.lock().keys().copied().collect();
        for link in links {
            self.close(link, LinkEnd::Closed);
        }
    }

    fn close(&self, link: LinkId, end: LinkEnd) {
        if let Some(connection) = self.connection(link) {
            if connection.post(Order::Close(end)).is_err() {
                connection.abort();
            }
        }
    }

    /// When it is so much later; what is longer than [`FOREVER`] is that.
    pub(super) fn after(&self, time: Duration) -> Instant {
        self.clock.now() + time.min(FOREVER)
    }

    pub(super) fn now(&self) -> Instant {
        self.clock.now()
    }

    fn job(&self, job: Job) {
        // Fails when the workers are gone; then nobody is to be run.
        let _ = self.jobs.send(job);
    }

    /// The ticker: does what the time brings until `end`.
    fn tick_until_end(&self) {
        let mut locked = self.locked.lock();
        while !locked.ended {
            let next = locked.router.next_deadline();
            if next.is_some_and(|next| next <= self.clock.now()) {
                drop(locked);
                self.with(Router::tick);
                locked = self.locked.lock();
                continue;
            }
            locked.asleep_until = Some(next);
            match next {
                Some(next) => drop(self.alarm.wait_until(&mut locked, next)),
                None => self.alarm.wait(&mut locked),
            }
            locked.asleep_until = None;
        }
    }
}

/// What a worker does. There is at most one of the first kind per export, and one of the second.
pub(super) enum Job {
    /// Gives the export of an alias its messages.
    Run(Arc<str>, u64),
    /// Tells observers what has happened.
    Observe,
    /// No more.
    End,
}

/// Messages that are handled for one alias before others have their turn.
const PER_TURN: usize = 64;

/// The threads of a node: workers run handlers and observers, the ticker watches the time.
pub(super) struct Threads {
    workers: usize,
    all: Vec<JoinHandle<()>>,
    /// Closed when the last thread has ended.
    alive: Receiver<()>,
}

impl Threads {
    pub(super) fn start(
        inner: &Arc<NodeInner>,
        workers: usize,
        jobs: &Receiver<Job>,
    ) -> io::Result<Self> {
        let (life, alive) = crossbeam_channel::bounded(0);
        let (workers, all) = (workers.max(1), Vec::new());
        let mut threads = Self {
            workers,
            all,
            alive,
        };
        for n in 0..=workers {
            let (inner_there, jobs, life) = (Arc::clone(inner), jobs.clone(), life.clone());
            let is_ticker = n == workers;
            let name = match is_ticker {
                true => "link-ticker".to_owned(),
                false => format!("link-worker-{n}"),
            };
            let spawned = Builder::new().name(name).spawn(move || {
                let _life = life;
                match is_ticker {
                    true => inner_there.tick_until_end(),
                    false => work(&inner_there, &jobs),
                }
            });
            match spawned {
                Ok(thread) => threads.all.push(thread),
                Err(error) => {
                    threads.tell(inner);
                    return Err(error);
                }
            }
        }
        Ok(threads)
    }

    fn tell(&self, inner: &NodeInner) {
        for _ in 0..self.workers {
            inner.job(Job::End);
        }
        inner.locked.lock().ended = true;
        inner.alarm.notify_one();
    }

    /// Ends them. A handler that does not return in time is left to itself.
    pub(super) fn end(self, inner: &NodeInner, grace: Duration) {
        self.tell(inner);
        // Nothing is ever sent: this waits until all have gone.
        let gone = self.alive.recv_timeout(grace);
        if gone == Err(crossbeam_channel::RecvTimeoutError::Timeout) {
            log::warn!("a handler of a link's node did not return in time");
            return;
        }
        for thread in self.all {
            if thread.thread().id() != std::thread::current().id() && thread.join().is_err() {
                log::error!("a thread of a link's node panicked");
            }
        }
    }
}

fn work(inner: &Arc<NodeInner>, jobs: &Receiver<Job>) {
    for job in jobs {
        match job {
            Job::Run(alias, token) => run(inner, alias, token),
            Job::Observe => observe(inner),
            Job::End => return,
        }
    }
}

fn run(inner: &Arc<NodeInner>, alias: Arc<str>, token: u64) {
    let mut handled: Option<DeliveryTag> = None;
    for _ in 0..PER_TURN {
        let next = inner.with(|router| {
            if let Some(tag) = handled {
                router.finished(&alias, tag);
            }
            router.next_delivery(&alias, token)
        });
        let Some((handler, delivery)) = next else {
            return;
        };
        handled = Some(delivery.tag());
        let message = Message::new(inner, &alias, delivery);
        // Dropped within: the export may have ended.
        guarded("a handler of a link", move || handler.handle(message));
    }
    if let Some(tag) = handled {
        inner.with(|router| router.finished(&alias, tag));
    }
    inner.job(Job::Run(alias, token));
}

fn observe(inner: &NodeInner) {
    for _ in 0..PER_TURN {
        let Some((event, observers)) = inner.with(|router| router.events().next()) else {
            return;
        };
        for observer in observers {
            // Dropped within: it may be the last of one that was ended.
            let event = &event;
            guarded("an observer of a link", move || observer(event));
        }
    }
    inner.job(Job::Observe);
}

fn guarded(what: &str, call: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(call)).is_err() {
        log::error!("{what} panicked");
    }
}
