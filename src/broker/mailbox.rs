//! What has arrived for a client in this process, on its way to callbacks or to whoever waits.
//!
//! The client's session gets messages like any other and wakes [`LocalInbox`], its sink.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::core::Core;
use super::pool::guarded;
use super::queue::{Outcome, Queue};
use super::session::{Gone, Session};
use crate::protocol::{ChannelName, LocalId, Pattern, Publication, Tail};
use crate::transport::WakeSink;

pub(crate) type Callback = Box<dyn FnMut(&Arc<Publication>) + Send>;
pub(crate) type Ending = Box<dyn FnOnce(Gone) + Send>;

struct Entry {
    /// Of a subscription; never used again.
    token: u64,
    pattern: Pattern,
    goes: Destination,
}

/// Where the messages of a subscription go.
#[derive(Clone)]
pub(crate) enum Destination {
    /// To a function.
    Callback(Arc<Mutex<Callback>>),
    /// To `recv_timeout`.
    Queue,
    /// Nobody wants them.
    Nowhere,
}

impl Destination {
    pub(crate) fn callback(callback: impl FnMut(&Arc<Publication>) + Send + 'static) -> Self {
        Self::Callback(Arc::new(Mutex::new(Box::new(callback))))
    }
}

impl Mailbox {
    /// Where a message goes: to the most specific subscription that wants it, or, if it was pushed
    /// past all subscriptions, to `recv_timeout`.
    fn way(&self, channel: &ChannelName) -> Destination {
        let matching = || {
            let entries = self.entries.iter();
            entries.filter(|entry| entry.pattern.matches(channel))
        };
        let wanted = matching().filter(|entry| !matches!(entry.goes, Destination::Nowhere));
        match wanted.max_by_key(|entry| specificity(&entry.pattern)) {
            Some(entry) => entry.goes.clone(),
            None if matching().next().is_some() => Destination::Nowhere,
            None => Destination::Queue,
        }
    }
}

/// What a client is subscribed to, and what waits for `recv_timeout`. Its lock is held from taking
/// a message off the session's queue to putting it here, so that the order stays.
#[derive(Default)]
struct Mailbox {
    entries: Vec<Entry>,
    tokens: u64,
    inbox: Queue,
    /// To be called when the client has ended and all before is done.
    ending: Option<Ending>,
}

pub(crate) struct LocalInbox {
    me: Weak<Self>,
    core: Weak<Core>,
    session: Weak<Session>,
    mailbox: Mutex<Mailbox>,
    /// A job that calls callbacks is on its way or running.
    scheduled: AtomicBool,
    arrived: Condvar,
}

/// All clients in this process, for what concerns the queues of all.
#[derive(Default)]
pub(crate) struct Locals {
    list: Mutex<HashMap<u64, Weak<LocalInbox>>>,
}

impl Locals {
    pub(crate) fn add(&self, number: u64, shared: &Arc<LocalInbox>) {
        self.list.lock().insert(number, Arc::downgrade(shared));
    }

    pub(crate) fn remove(&self, number: u64) {
        self.list.lock().remove(&number);
    }

    /// The session of a client in this process.
    pub(crate) fn session(&self, id: LocalId) -> Option<Arc<Session>> {
        let shared = self.list.lock().get(&id.0)?.upgrade()?;
        shared.session.upgrade()
    }

    pub(crate) fn for_each(&self, mut visit: impl FnMut(&Arc<LocalInbox>)) {
        let list: Vec<_> = self
            .list
            .lock()
            .values()
            .filter_map(Weak::upgrade)
            .collect();
        list.iter().for_each(&mut visit);
    }
}

impl WakeSink for LocalInbox {
    fn wake(&self, _keys: &[u64]) {
        let Some(core) = self.core.upgrade() else {
            return;
        };
        let mut mailbox = self.mailbox.lock();
        let calls = |entry: &Entry| matches!(entry.goes, Destination::Callback(_));
        let ends = mailbox.ending.is_some() && self.gone().is_some();
        if ends || mailbox.entries.iter().any(calls) {
            drop(mailbox);
            if !self.scheduled.swap(true, Ordering::AcqRel) {
                self.schedule();
            }
            return;
        }
        while let Some(message) = self.take() {
            match mailbox.way(message.channel()) {
                Destination::Nowhere => core.budget.left(1),
                Destination::Queue | Destination::Callback(_) => {
                    self.keep(&core, &mut mailbox.inbox, &message);
                }
            }
        }
        if self.gone().is_some() {
            self.arrived.notify_all();
        }
    }
}

impl LocalInbox {
    pub(crate) fn new(core: &Arc<Core>, session: &Arc<Session>) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            me: Weak::clone(me),
            core: Arc::downgrade(core),
            session: Arc::downgrade(session),
            mailbox: Mutex::default(),
            scheduled: AtomicBool::new(false),
            arrived: Condvar::new(),
        })
    }

    /// The client's session.
    pub(crate) fn session(&self) -> Option<Arc<Session>> {
        self.session.upgrade()
    }

    fn gone(&self) -> Option<Gone> {
        self.session()?.lock().gone()
    }

    /// What to call when the client has ended.
    pub(crate) fn on_end(&self, ending: Option<Ending>) {
        let former = {
            let mut mailbox = self.mailbox.lock();
            std::mem::replace(&mut mailbox.ending, ending)
        };
        // With no lock held: it may own anything.
        drop(former);
        if self.gone().is_some() {
            self.wake(&[]);
        }
    }

    /// Adds a subscription and calls `record`, with nothing being delivered in between.
    pub(crate) fn add(&self, pattern: Pattern, goes: Destination, record: impl FnOnce()) -> u64 {
        let mut mailbox = self.mailbox.lock();
        mailbox.tokens += 1;
        let token = mailbox.tokens;
        mailbox.entries.push(Entry {
            token,
            pattern,
            goes,
        });
        record();
        token
    }

    /// Removes a subscription; calls `forget` if it was the last with its pattern, before anybody
    /// can add another.
    pub(crate) fn remove(&self, token: u64, forget: impl FnOnce(&Pattern)) {
        let mut mailbox = self.mailbox.lock();
        let entries = &mut mailbox.entries;
        let Some(at) = entries.iter().position(|entry| entry.token == token) else {
            return;
        };
        let gone = entries.remove(at);
        if !entries.iter().any(|entry| entry.pattern == gone.pattern) {
            forget(&gone.pattern);
        }
        drop(mailbox);
        // The callback may own anything, a subscription of this client too.
        drop(gone);
    }

    /// Waits for a message that no callback gets, for as long as any may come.
    pub(crate) fn wait(&self, timeout: Duration) -> Option<Arc<Publication>> {
        let mut mailbox = self.mailbox.lock();
        let comes = || self.gone().is_none() || self.scheduled.load(Ordering::Acquire);
        let empty = |mailbox: &mut Mailbox| mailbox.inbox.len() == 0 && comes();
        self.arrived.wait_while_for(&mut mailbox, empty, timeout);
        mailbox.inbox.pop()
    }

    /// Messages and bytes that wait.
    pub(crate) fn queued(&self) -> (usize, usize) {
        let (messages, bytes) = {
            let mailbox = self.mailbox.lock();
            (mailbox.inbox.len(), mailbox.inbox.bytes())
        };
        let session = self.session.upgrade();
        let queued = session.map_or((0, 0), |session| session.lock().queued());
        (messages + queued.0, bytes + queued.1)
    }

    /// Its part of the memory that messages take. None are being written.
    pub(crate) fn shares(&self) -> (usize, usize) {
        let (kept, _) = self.mailbox.lock().inbox.shares();
        let session = self.session.upgrade();
        let queued = session.map_or((0, 0), |session| session.lock().shares());
        (kept + queued.0, queued.1)
    }

    /// Drops all that waits; returns how many messages.
    pub(crate) fn clear(&self) -> usize {
        let (messages, _) = self.mailbox.lock().inbox.clear();
        let session = self.session.upgrade();
        let cleared = session.map_or(0, |session| session.lock().clear_waiting());
        messages + cleared
    }

    fn schedule(&self) {
        let (Some(core), Some(me)) = (self.core.upgrade(), self.me.upgrade()) else {
            return;
        };
        let hooks = &core.hooks;
        hooks
            .callback_pool
            .run(&hooks.local_clients, None, move || me.serve());
    }

    /// Calls the callbacks of what has arrived; at most a turn, then others may use the thread.
    fn serve(&self) {
        let Some(turn) = self
            .core
            .upgrade()
            .map(|core| core.hooks.callback_pool.turn())
        else {
            return;
        };
        while !turn.is_over() {
            if self.dispatch() {
                continue;
            }
            self.scheduled.store(false, Ordering::Release);
            self.end();
            // Something may have arrived before the flag was cleared.
            let session = self.session.upgrade();
            let more = session.is_some_and(|session| session.lock().ready());
            if more && !self.scheduled.swap(true, Ordering::AcqRel) {
                break;
            }
            return;
        }
        self.schedule();
    }

    /// All that has arrived is done: if nothing more comes, whoever waits for that is told.
    fn end(&self) {
        let Some(gone) = self.gone() else {
            return;
        };
        let mut mailbox = self.mailbox.lock();
        let ending = mailbox.ending.take();
        self.arrived.notify_all();
        drop(mailbox);
        if let Some(ending) = ending {
            guarded("the end of a local client", || ending(gone));
        }
    }

    fn take(&self) -> Option<Arc<Publication>> {
        self.session.upgrade()?.lock().pop()
    }

    /// Deals with one message, if there is one. It goes to the most specific subscription.
    fn dispatch(&self) -> bool {
        let Some(core) = self.core.upgrade() else {
            return false;
        };
        let mut mailbox = self.mailbox.lock();
        let Some(message) = self.take() else {
            return false;
        };
        let callback = match mailbox.way(message.channel()) {
            Destination::Callback(callback) => callback,
            Destination::Queue => {
                self.keep(&core, &mut mailbox.inbox, &message);
                return true;
            }
            Destination::Nowhere => {
                core.budget.left(1);
                return true;
            }
        };
        drop(mailbox);
        core.budget.left(1);
        drop(core);
        // By value: its subscription may have ended, and dropping it runs user code as well.
        guarded("a local client", move || {
            (callback.lock())(&message);
            drop(callback);
        });
        true
    }

    /// Keeps a message for `recv_timeout`, bounded like the session's queue.
    fn keep(&self, core: &Core, inbox: &mut Queue, message: &Arc<Publication>) {
        let pushed = inbox.push(message, &core.local_queue, || true);
        core.counters
            .mine()
            .dropped_oldest
            .add(pushed.dropped as u64);
        core.budget.left(pushed.dropped);
        if pushed.outcome == Outcome::Queued {
            self.arrived.notify_one();
        } else {
            core.counters.mine().dropped_newest.one();
            core.budget.left(1);
        }
    }
}

/// Exact before `*` before `**`, and then the deeper one.
fn specificity(pattern: &Pattern) -> (u8, usize) {
    let rank = match pattern.tail() {
        Tail::Exact => 2,
        Tail::One => 1,
        Tail::Deep => 0,
    };
    (rank, pattern.prefix_segments().count())
}
