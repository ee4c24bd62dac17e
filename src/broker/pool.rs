//! Threads for user code: a fixed pool, and inboxes that keep at most one thread of it busy.
//!
//! An I/O thread never runs user code and never waits for it: it hands a job over and is woken
//! when the result is there.

use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use crossbeam_channel::Sender;
use parking_lot::{Condvar, Mutex};

/// Work that needs no more than a thread.
pub(crate) type Job = Box<dyn FnOnce() + Send>;

/// A fixed number of named threads. Dropping it lets them finish what they have, and joins them;
/// but those that user code keeps for too long are left to end by themselves.
pub(crate) struct Pool {
    work: Option<Sender<Job>>,
    /// How much of the work that has a bound waits.
    waiting: Arc<AtomicUsize>,
    bound: usize,
    threads: Vec<JoinHandle<()>>,
    /// How many of the threads have not ended.
    running: Arc<(Mutex<usize>, Condvar)>,
}

impl Pool {
    /// `bound` is the most that waits of what is [submitted](Self::submit).
    pub(crate) fn start(name: &str, threads: usize, bound: usize) -> std::io::Result<Self> {
        let (sender, work) = crossbeam_channel::unbounded::<Job>();
        let mut pool = Self {
            work: Some(sender),
            waiting: Arc::default(),
            bound,
            threads: Vec::new(),
            running: Arc::default(),
        };
        for n in 0..threads.max(1) {
            let work = work.clone();
            let running = Arc::clone(&pool.running);
            let thread = Builder::new()
                .name(format!("bayeux-{name}-{n}"))
                .spawn(move || {
                    // What jobs call is guarded one by one; this keeps the thread if one of our own
                    // steps fails.
                    work.iter().for_each(|job| {
                        guarded("a worker thread", job);
                    });
                    *running.0.lock() -= 1;
                    running.1.notify_all();
                })?;
            *pool.running.0.lock() += 1;
            pool.threads.push(thread);
        }
        Ok(pool)
    }

    /// Has a thread perform something with a piece; gives that back when too much waits already.
    pub(crate) fn submit<T: Send + 'static>(&self, piece: T, perform: fn(T)) -> Result<(), T> {
        let waiting = Arc::clone(&self.waiting);
        if waiting.fetch_add(1, Ordering::Relaxed) >= self.bound {
            waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(piece);
        }
        self.run(move || {
            waiting.fetch_sub(1, Ordering::Relaxed);
            perform(piece);
        });
        Ok(())
    }

    /// Has a thread do it, however much waits: for work that has a bound of its own.
    pub(crate) fn run(&self, job: impl FnOnce() + Send + 'static) {
        let work = self.work.as_ref();
        let work = work.expect("the sender lives until the pool is dropped");
        // Without threads nobody is there for whom it could be done.
        drop(work.send(Box::new(job)));
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.work = None;
        // The last handle to the broker may die on one of these threads.
        let (all, me) = (self.threads.len(), std::thread::current().id());
        self.threads.retain(|thread| thread.thread().id() != me);
        let mine = all - self.threads.len();
        let (running, ended) = &*self.running;
        let mut running = running.lock();
        ended.wait_while_for(&mut running, |running| *running > mine, GRACE);
        let stuck = *running - mine;
        drop(running);
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

/// How long threads may take to end.
const GRACE: Duration = Duration::from_millis(500);

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

/// Work for one receiver, done in order by at most one thread of a pool at a time.
pub(crate) struct Inbox<T> {
    state: Mutex<InboxState<T>>,
    limit: usize,
    perform: Box<dyn Fn(T) + Send + Sync>,
}

struct InboxState<T> {
    waiting: VecDeque<T>,
    running: bool,
}

impl<T: Send + 'static> Inbox<T> {
    /// `limit` is the most that waits.
    pub(crate) fn new(limit: usize, perform: impl Fn(T) + Send + Sync + 'static) -> Arc<Self> {
        let state = InboxState {
            waiting: VecDeque::new(),
            running: false,
        };
        Arc::new(Self {
            state: Mutex::new(state),
            limit,
            perform: Box::new(perform),
        })
    }

    /// Makes an item of a piece and adds it; gives the piece back when too much waits already.
    pub(crate) fn send<P>(
        self: &Arc<Self>,
        pool: &Arc<Pool>,
        piece: P,
        item: impl FnOnce(P) -> T,
    ) -> Result<(), P> {
        let mut state = self.state.lock();
        if state.waiting.len() >= self.limit {
            return Err(piece);
        }
        state.waiting.push_back(item(piece));
        let is_served = std::mem::replace(&mut state.running, true);
        drop(state);
        if !is_served {
            Arc::clone(self).serve(pool);
        }
        Ok(())
    }

    /// Whether nothing waits and nothing is being done.
    pub(crate) fn is_idle(&self) -> bool {
        self.len_and_running() == (0, false)
    }

    /// How much waits, and whether a thread is at it.
    pub(crate) fn len_and_running(&self) -> (usize, bool) {
        let state = self.state.lock();
        (state.waiting.len(), state.running)
    }

    /// Has a thread of the pool empty the inbox, in turns, so that others may use the thread.
    fn serve(self: Arc<Self>, pool: &Arc<Pool>) {
        let again = Arc::downgrade(pool);
        pool.run(move || {
            loop {
                for _ in 0..TURN {
                    let Some(item) = self.next() else {
                        return;
                    };
                    guarded("a worker thread", || (self.perform)(item));
                }
                // When the pool is being dropped, nobody else does the rest.
                if let Some(pool) = again.upgrade() {
                    return self.serve(&pool);
                }
            }
        });
    }

    fn next(&self) -> Option<T> {
        let mut state = self.state.lock();
        let next = state.waiting.pop_front();
        state.running = next.is_some();
        next
    }
}

/// What an inbox has done before others may use the thread.
const TURN: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inbox_has_one_thread_at_a_time_and_a_bound() {
        let pool = Arc::new(Pool::start("test", 4, 0).unwrap());
        let (done, finished) = crossbeam_channel::unbounded();
        let (permit, permitted) = crossbeam_channel::unbounded();
        let inbox = Inbox::new(2, move |n: usize| {
            permitted.recv().unwrap();
            done.send(n).unwrap();
        });
        let send = |n: usize| inbox.send(&pool, n, |n| n);
        assert_eq!(send(0), Ok(()));
        // Until it has been taken up, it is one of those that wait.
        while inbox.len_and_running() != (0, true) {
            std::thread::yield_now();
        }
        assert_eq!((send(1), send(2)), (Ok(()), Ok(())));
        assert_eq!(send(3), Err(3));
        assert_eq!(inbox.len_and_running(), (2, true));
        for n in 0..3 {
            permit.send(()).unwrap();
            assert_eq!(finished.recv(), Ok(n), "in order");
        }
        while !inbox.is_idle() {
            std::thread::yield_now();
        }
        assert_eq!(send(4), Ok(()), "it begins anew");
        permit.send(()).unwrap();
        assert_eq!(finished.recv(), Ok(4));
    }

    #[test]
    fn a_pool_has_a_bound_for_what_is_submitted() {
        let pool = Pool::start("test", 1, 2).unwrap();
        let (permit, permitted) = crossbeam_channel::bounded::<()>(0);
        let (begun, begins) = crossbeam_channel::unbounded();
        pool.run(move || {
            begun.send(()).unwrap();
            assert!(permitted.recv().is_err(), "until it is dropped");
        });
        begins.recv().unwrap();
        let (done, finished) = crossbeam_channel::unbounded();
        let submit = |n: usize| pool.submit((n, done.clone()), |(n, done)| done.send(n).unwrap());
        assert!(submit(0).is_ok() && submit(1).is_ok());
        assert_eq!(submit(2).map_err(|(n, _)| n), Err(2));
        drop(permit);
        assert_eq!((finished.recv(), finished.recv()), (Ok(0), Ok(1)));
        assert!(submit(3).is_ok(), "there is room again");
    }

    #[test]
    fn a_pool_survives_panics_and_finishes_what_it_has() {
        let (done, ended) = crossbeam_channel::unbounded();
        let pool = Pool::start("test", 1, 0).unwrap();
        for n in 0..4 {
            let done = done.clone();
            pool.run(move || {
                assert_ne!(n, 1, "a job fails");
                done.send(n).unwrap();
            });
        }
        drop((pool, done));
        // To its end also where the thread takes longer than a pool waits for it.
        assert_eq!(ended.iter().collect::<Vec<_>>(), [0, 2, 3]);
    }
}
