//! Threads for user code: a fixed pool, and what waits for its threads.
//!
//! An I/O thread never runs user code and never waits for it: it hands a job over and is woken
//! when the result is there. Jobs wait in an [`Inbox`], one for each piece of user code. The
//! inboxes of a pool take turns, and in each the owners of its jobs do: whoever has many waits
//! behind its own. And neither an inbox nor an owner has more than half of the threads, so that
//! user code that does not come back leaves some to the others.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::clock::Clock;
use crate::util::{Owner, shrink};

type Job = Box<dyn FnOnce() + Send>;

/// A fixed number of named threads. Dropping it lets them finish what they have, and joins them;
/// but those that user code keeps for too long are left to end by themselves.
pub(crate) struct Pool {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    name: String,
    clock: Arc<dyn Clock>,
    threads: usize,
    /// Of what waits in an inbox, the part that one owner may have, in percent.
    share: usize,
    state: Mutex<State>,
    /// There may be something to do.
    work: Condvar,
    ended: Condvar,
    /// Jobs in all inboxes; changed under the lock.
    waiting: AtomicUsize,
}

struct State {
    /// The inboxes in which something waits, in the order of their turns.
    turns: VecDeque<Arc<Inbox>>,
    /// What each thread does.
    running: Vec<Option<Running>>,
    /// Threads that wait for work.
    idle: usize,
    /// Threads that have not ended.
    alive: usize,
    closing: bool,
    /// When stuck jobs were last told of.
    told: Option<Instant>,
}

struct Running {
    inbox: Arc<Inbox>,
    owner: Option<Owner>,
    since: Instant,
}

/// A time after which a job lets others have the thread, if any wait.
pub(crate) struct Turn {
    shared: Arc<Shared>,
    ends: Instant,
}

impl Turn {
    pub(crate) fn is_over(&self) -> bool {
        self.shared.waiting.load(Ordering::Relaxed) > 0 && self.shared.clock.now() >= self.ends
    }
}

impl Pool {
    /// One owner may have `share` percent of what waits in an inbox, and half of the threads; all
    /// of both if that is 100.
    pub(crate) fn start(
        name: &str,
        threads: usize,
        share: usize,
        clock: Arc<dyn Clock>,
    ) -> std::io::Result<Self> {
        let threads = threads.max(1);
        let state = State {
            turns: VecDeque::new(),
            running: (0..threads).map(|_| None).collect(),
            idle: 0,
            alive: 0,
            closing: false,
            told: None,
        };
        let shared = Shared {
            name: name.to_owned(),
            clock,
            threads,
            share,
            state: Mutex::new(state),
            work: Condvar::new(),
            ended: Condvar::new(),
            waiting: AtomicUsize::new(0),
        };
        let mut pool = Self {
            shared: Arc::new(shared),
            threads: Vec::new(),
        };
        for n in 0..threads {
            let shared = Arc::clone(&pool.shared);
            let thread = Builder::new()
                .name(format!("bayeux-{name}-{n}"))
                .spawn(move || shared.work(n))?;
            pool.shared.state.lock().alive += 1;
            pool.threads.push(thread);
        }
        Ok(pool)
    }

    /// Has a thread perform something with a piece; gives that back when too much waits already.
    pub(crate) fn submit<P: Send + 'static>(
        &self,
        inbox: &Arc<Inbox>,
        owner: Option<Owner>,
        piece: P,
        perform: impl FnOnce(P) + Send + 'static,
    ) -> Result<(), P> {
        let state = self.shared.state.lock();
        if !inbox.has_room(owner, self.shared.share) {
            return Err(piece);
        }
        let job = Box::new(move || perform(piece));
        self.shared.enter(state, inbox, owner, job);
        Ok(())
    }

    /// Has a thread do it, however much waits: for work that has a bound of its own.
    pub(crate) fn run(
        &self,
        inbox: &Arc<Inbox>,
        owner: Option<Owner>,
        job: impl FnOnce() + Send + 'static,
    ) {
        let state = self.shared.state.lock();
        self.shared.enter(state, inbox, owner, Box::new(job));
    }

    /// The turn of a job that begins now.
    pub(crate) fn turn(&self) -> Turn {
        Turn {
            shared: Arc::clone(&self.shared),
            ends: self.shared.clock.now() + TURN,
        }
    }

    /// Jobs that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.shared.waiting.load(Ordering::Relaxed)
    }

    /// What there is to tell of jobs that do not come back: once a minute at the most.
    pub(crate) fn stuck(&self, now: Instant) -> Option<String> {
        let mut state = self.shared.state.lock();
        if state.told.is_some_and(|told| now < told + TELL_INTERVAL) {
            return None;
        }
        let age = |running: &&Running| now.saturating_duration_since(running.since);
        let all = state.running.iter().flatten();
        let stuck = all.filter(|running| age(running) >= STUCK);
        let count = stuck.clone().count();
        let oldest = stuck.min_by_key(|running| running.since)?;
        let text = format!(
            "{} has not come back for {} s{}; {count} of {} {} threads are kept for so long, and \
             {} jobs wait",
            oldest.inbox.name,
            age(&oldest).as_secs(),
            oldest
                .owner
                .map_or_else(String::new, |owner| format!(", for {owner}")),
            self.shared.threads,
            self.shared.name,
            self.waiting(),
        );
        state.told = Some(now);
        Some(text)
    }
}

impl Shared {
    /// A thread's life.
    fn work(&self, me: usize) {
        let mut state = self.state.lock();
        let mut looks = 0;
        loop {
            if let Some(job) = self.take(&mut state, me) {
                looks = 0;
                // What has ended or begun may have made room for more than one.
                if state.idle > 0 && self.next(&state).is_some() {
                    self.work.notify_one();
                }
                // What jobs call is guarded one by one; this keeps the thread if one of our own
                // steps fails.
                let _ = MutexGuard::unlocked(&mut state, || guarded("a worker thread", job));
                if let Some(done) = state.running[me].take() {
                    done.inbox.line.lock().running -= 1;
                }
            } else if state.closing {
                break;
            } else if looks < LOOKS {
                // Where much is to do, more comes before this thread would be asleep.
                looks += 1;
                MutexGuard::unlocked(&mut state, std::thread::yield_now);
            } else {
                state.idle += 1;
                self.work.wait(&mut state);
                state.idle -= 1;
                looks = 0;
            }
        }
        state.alive -= 1;
        self.ended.notify_all();
    }

    fn enter(
        &self,
        mut state: MutexGuard<'_, State>,
        inbox: &Arc<Inbox>,
        owner: Option<Owner>,
        job: Job,
    ) {
        let mut line = inbox.line.lock();
        if line.waiting == 0 {
            state.turns.push_back(Arc::clone(inbox));
        }
        line.push(owner, job);
        drop(line);
        self.waiting.fetch_add(1, Ordering::Relaxed);
        // A thread that may not take it would be woken for nothing.
        if state.idle > 0 && self.next(&state).is_some() {
            self.work.notify_one();
        }
    }

    /// Takes the next job that may be run.
    fn take(&self, state: &mut State, me: usize) -> Option<Job> {
        let (at, owner) = self.next(state)?;
        let inbox = state.turns.remove(at)?;
        let mut line = inbox.line.lock();
        let job = line.pop(owner)?;
        line.running += 1;
        if line.waiting > 0 {
            state.turns.push_back(Arc::clone(&inbox));
        }
        drop(line);
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        let since = self.clock.now();
        state.running[me] = Some(Running {
            inbox,
            owner,
            since,
        });
        Some(job)
    }

    /// Whose job is the next that may be run: the place of its inbox, and its owner. Looks at no
    /// more inboxes than there are pieces of user code, and at no more owners than can have half of
    /// the threads.
    fn next(&self, state: &State) -> Option<(usize, Option<Owner>)> {
        let most = match self.share {
            100.. => self.threads,
            _ => Threads::Half.of(self.threads),
        };
        let has_thread = |owner: &Option<Owner>| {
            let of_owner = |running: &&Running| running.owner == *owner;
            let all = state.running.iter().flatten();
            owner.is_none() || all.filter(of_owner).count() < most
        };
        let mut inboxes = state.turns.iter().enumerate();
        inboxes.find_map(|(at, inbox)| {
            let line = inbox.line.lock();
            if line.running >= inbox.threads.of(self.threads) {
                return None;
            }
            let owner = line.owners.iter().find(|owner| has_thread(owner));
            owner.map(|owner| (at, *owner))
        })
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // The last handle to the broker may die on one of these threads.
        let (all, me) = (self.threads.len(), std::thread::current().id());
        self.threads.retain(|thread| thread.thread().id() != me);
        let mine = all - self.threads.len();
        let mut state = self.shared.state.lock();
        state.closing = true;
        self.shared.work.notify_all();
        let goes_on = |state: &mut State| state.alive > mine;
        self.shared.ended.wait_while_for(&mut state, goes_on, GRACE);
        let stuck = state.alive - mine;
        drop(state);
        if stuck > 0 {
            log::warn!("{stuck} worker threads are left behind in user code");
        }
        for thread in self.threads.drain(..) {
            if (stuck == 0 || thread.is_finished()) && thread.join().is_err() {
                log::error!("a worker thread panicked");
            }
        }
    }
}

/// What waits for one piece of user code, such as a service: a line for each owner, of which the
/// first ones take turns.
pub(crate) struct Inbox {
    /// What it is, for the log.
    name: String,
    threads: Threads,
    /// Jobs that wait at the most.
    bound: usize,
    /// Locked for moments, and mostly under the lock of its pool.
    line: Mutex<Line>,
}

/// How many threads of a pool an inbox may have at a time.
#[derive(Clone, Copy)]
pub(crate) enum Threads {
    /// One: its jobs are done one after the other.
    One,
    Half,
    /// All: it has the pool for itself.
    All,
}

impl Threads {
    fn of(self, all: usize) -> usize {
        match self {
            Self::One => 1,
            // Of a single thread there is no half, and turns must do.
            Self::Half => (all / 2).max(1),
            Self::All => all,
        }
    }
}

#[derive(Default)]
struct Line {
    waiting: usize,
    running: usize,
    /// Those of whom something waits, in the order of their turns. Nobody is one, too.
    owners: VecDeque<Option<Owner>>,
    jobs: HashMap<Option<Owner>, VecDeque<Job>>,
}

impl Inbox {
    /// `bound` is the most that waits.
    pub(crate) fn new(name: impl Into<String>, threads: Threads, bound: usize) -> Arc<Self> {
        Arc::new(Self {
            name: name.into(),
            threads,
            bound,
            line: Mutex::default(),
        })
    }

    /// How much waits, and on how many threads something is done.
    pub(crate) fn waiting_and_running(&self) -> (usize, usize) {
        let line = self.line.lock();
        (line.waiting, line.running)
    }

    fn has_room(&self, owner: Option<Owner>, share: usize) -> bool {
        let line = self.line.lock();
        let of_owner = line.jobs.get(&owner).map_or(0, VecDeque::len);
        let most = self.bound.saturating_mul(share).div_ceil(100);
        line.waiting < self.bound && (owner.is_none() || of_owner < most)
    }
}

impl Line {
    fn push(&mut self, owner: Option<Owner>, job: Job) {
        let jobs = self.jobs.entry(owner).or_default();
        if jobs.is_empty() {
            self.owners.push_back(owner);
        }
        jobs.push_back(job);
        self.waiting += 1;
    }

    /// The next job of an owner, whose next turn comes after those of the others.
    fn pop(&mut self, owner: Option<Owner>) -> Option<Job> {
        let at = self.owners.iter().position(|other| *other == owner)?;
        self.owners.remove(at);
        let jobs = self.jobs.get_mut(&owner)?;
        let job = jobs.pop_front();
        if jobs.is_empty() {
            self.jobs.remove(&owner);
            shrink(&mut self.jobs);
        } else {
            self.owners.push_back(owner);
        }
        self.waiting -= 1;
        job
    }
}

/// Calls user code; a panic is logged and becomes `None`.
pub(crate) fn guarded<T>(what: impl fmt::Display, call: impl FnOnce() -> T) -> Option<T> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(value) => Some(value),
        Err(panic) => {
            let text = panic
                .downcast_ref::<&str>()
                .copied()
                .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
            log::error!("{what} panicked: {}", text.unwrap_or("(no text)"));
            None
        }
    }
}

/// So long a job may go on while others wait, if it has parts.
const TURN: Duration = Duration::from_millis(1);

/// So often a thread looks for work before it sleeps.
const LOOKS: u32 = 8;

/// A job that has not come back for so long is told of.
const STUCK: Duration = Duration::from_secs(10);

const TELL_INTERVAL: Duration = Duration::from_secs(60);

/// How long threads may take to end.
const GRACE: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests;
