//! Threads for user code: a fixed pool, and inboxes that have at most one job in it.
//!
//! An I/O thread never runs user code and never waits for it: it hands a job over and is woken
//! when the result is there.

use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TrySendError};
use parking_lot::{Condvar, Mutex};

use super::answer::{Answer, AnswerStatus, Executed};
use crate::transport::Link;

/// Work that needs no more than a thread.
pub(crate) type Job = Box<dyn FnOnce() + Send>;

/// A fixed number of named threads. Dropping it lets them finish what they have, and joins them;
/// but those that user code keeps for too long are left to end by themselves.
pub(crate) struct Pool<T> {
    work: Option<Sender<T>>,
    threads: Vec<JoinHandle<()>>,
    /// How many of the threads have not ended.
    running: Arc<(Mutex<usize>, Condvar)>,
}

impl<T: Send + 'static> Pool<T> {
    /// `bound` is the most pieces of work that wait; for inboxes that have one job each, none is
    /// needed.
    pub(crate) fn start(
        name: &str,
        threads: usize,
        bound: Option<usize>,
        perform: fn(T),
    ) -> std::io::Result<Self> {
        let (sender, work) = match bound {
            Some(bound) => crossbeam_channel::bounded(bound),
            None => crossbeam_channel::unbounded(),
        };
        let mut pool = Self {
            work: Some(sender),
            threads: Vec::new(),
            running: Arc::default(),
        };
        for n in 0..threads.max(1) {
            let work = work.clone();
            let running = Arc::clone(&pool.running);
            let thread = Builder::new()
                .name(format!("bayeux-{name}-{n}"))
                .spawn(move || {
                    perform_all(&work, perform);
                    *running.0.lock() -= 1;
                    running.1.notify_all();
                })?;
            *pool.running.0.lock() += 1;
            pool.threads.push(thread);
        }
        Ok(pool)
    }

    /// Hands work over; gives it back when too much waits already.
    pub(crate) fn submit(&self, piece: T) -> Result<(), T> {
        let work = self
            .work
            .as_ref()
            .expect("the sender lives until the pool is dropped");
        work.try_send(piece).map_err(|refused| match refused {
            TrySendError::Full(piece) | TrySendError::Disconnected(piece) => piece,
        })
    }
}

impl<T> Drop for Pool<T> {
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

fn perform_all<T>(work: &Receiver<T>, perform: fn(T)) {
    for piece in work {
        // Hooks are guarded one by one; this keeps the thread if one of our own steps fails.
        if catch_unwind(AssertUnwindSafe(|| perform(piece))).is_err() {
            log::error!("a worker thread failed at a piece of work");
        }
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

/// Work for one receiver, done in order by at most one thread at a time.
pub(crate) struct Inbox<T> {
    state: Mutex<InboxState<T>>,
    limit: usize,
}

struct InboxState<T> {
    waiting: VecDeque<T>,
    running: bool,
}

impl<T> Inbox<T> {
    pub(crate) fn new(limit: usize) -> Self {
        let state = InboxState {
            waiting: VecDeque::new(),
            running: false,
        };
        Self {
            state: Mutex::new(state),
            limit,
        }
    }

    /// Adds an item. `Ok(true)`: the caller is to submit the job that empties the inbox.
    pub(crate) fn push(&self, item: T) -> Result<bool, T> {
        let mut state = self.state.lock();
        if state.waiting.len() >= self.limit {
            return Err(item);
        }
        state.waiting.push_back(item);
        Ok(!std::mem::replace(&mut state.running, true))
    }

    /// How many items wait, and whether a job is at work on them.
    pub(crate) fn busy(&self) -> (usize, bool) {
        let state = self.state.lock();
        (state.waiting.len(), state.running)
    }

    /// The next item; after `None` the job is over, and the next push begins a new one.
    pub(crate) fn next(&self) -> Option<T> {
        let mut state = self.state.lock();
        let next = state.waiting.pop_front();
        state.running = next.is_some();
        next
    }
}

/// Where the result of work is put, and who is told.
pub(crate) struct Slot {
    link: Link,
    result: Mutex<Option<Executed>>,
}

/// The duty to put a result into a slot. If it is dropped before (the run failed, or the broker is
/// being dropped), the connection gets an empty answer instead of waiting for ever.
pub(crate) struct Ticket(Option<Arc<Slot>>);

impl Ticket {
    pub(crate) fn complete(mut self, result: Executed) {
        if let Some(slot) = self.0.take() {
            slot.complete(result);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(slot) = self.0.take() {
            let mut answer = Answer::new(Vec::new());
            answer.status = AnswerStatus::Unavailable;
            slot.complete(Executed::Now(answer));
        }
    }
}

impl Slot {
    pub(crate) fn new(link: Link) -> (Arc<Self>, Ticket) {
        let slot = Arc::new(Self {
            link,
            result: Mutex::new(None),
        });
        (Arc::clone(&slot), Ticket(Some(slot)))
    }

    fn complete(&self, result: Executed) {
        *self.result.lock() = Some(result);
        self.link.outlet.wake(&[self.link.key]);
    }

    pub(crate) fn take(&self) -> Option<Executed> {
        self.result.lock().take()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::transport::Outlet;

    #[derive(Default)]
    struct Bell(AtomicUsize);

    impl Outlet for Bell {
        fn wake(&self, keys: &[u64]) {
            self.0.fetch_add(keys.len(), Ordering::Relaxed);
        }
    }

    #[test]
    fn a_lost_ticket_answers_too() {
        let bell = Arc::new(Bell::default());
        let link = Link {
            outlet: Arc::clone(&bell) as _,
            key: 1,
        };
        let (slot, ticket) = Slot::new(link);
        assert!(slot.take().is_none());
        drop(ticket);
        let Some(Executed::Now(answer)) = slot.take() else {
            panic!("an answer")
        };
        assert_eq!(answer.status, AnswerStatus::Unavailable);
        assert_eq!(bell.0.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn an_inbox_has_one_job_at_a_time_and_a_bound() {
        let inbox = Inbox::new(2);
        assert_eq!(inbox.push(1), Ok(true), "a job is to be submitted");
        assert_eq!(inbox.push(2), Ok(false), "it is on its way");
        assert_eq!(inbox.push(3), Err(3));
        assert_eq!(
            (inbox.next(), inbox.next(), inbox.next()),
            (Some(1), Some(2), None)
        );
        assert_eq!(inbox.push(4), Ok(true), "the job is over");
    }

    #[test]
    fn a_pool_survives_panics_and_finishes_what_it_has() {
        let (done, ended) = crossbeam_channel::unbounded();
        let pool = Pool::start("test", 1, Some(8), |job: Job| job()).unwrap();
        for n in 0..4 {
            let done = done.clone();
            let job = Box::new(move || {
                assert_ne!(n, 1, "a job fails");
                done.send(n).unwrap();
            });
            assert!(pool.submit(job).is_ok());
        }
        drop((pool, done));
        // To its end also where the thread takes longer than a pool waits for it.
        assert_eq!(ended.iter().collect::<Vec<_>>(), [0, 2, 3]);
    }
}
