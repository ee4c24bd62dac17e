//! Threads for user code: a fixed pool, and inboxes that have at most one job in it.
//!
//! An I/O thread never runs user code and never waits for it: it hands a job over and is woken
//! when the result is there.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use crossbeam_channel::{Receiver, Sender, TrySendError};
use parking_lot::Mutex;

use super::answer::Executed;
use crate::transport::Link;

/// Work that needs no more than a thread.
pub(crate) type Job = Box<dyn FnOnce() + Send>;

/// A fixed number of named threads. Dropping it lets them finish what they have, and joins them.
pub(crate) struct Pool<T> {
    work: Option<Sender<T>>,
    threads: Vec<JoinHandle<()>>,
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
        };
        for n in 0..threads.max(1) {
            let work = work.clone();
            let thread = Builder::new()
                .name(format!("bayeux-{name}-{n}"))
                .spawn(move || perform_all(&work, perform))?;
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
        for thread in self.threads.drain(..) {
            // The last handle to the broker may die on one of these threads.
            if thread.thread().id() != std::thread::current().id() && thread.join().is_err() {
                log::error!("a worker thread panicked");
            }
        }
    }
}

fn perform_all<T>(work: &Receiver<T>, perform: fn(T)) {
    for piece in work {
        // Hooks are guarded one by one; this keeps the thread if one of our own steps fails.
        if catch_unwind(AssertUnwindSafe(|| perform(piece))).is_err() {
            log::error!("a worker thread failed at a piece of work");
        }
    }
}

/// Calls user code; a panic is logged and becomes `None`.
pub(crate) fn guarded<T>(what: &str, call: impl FnOnce() -> T) -> Option<T> {
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

impl Slot {
    pub(crate) fn new(link: Link) -> Arc<Self> {
        Arc::new(Self {
            link,
            result: Mutex::new(None),
        })
    }

    pub(crate) fn complete(&self, result: Executed) {
        *self.result.lock() = Some(result);
        self.link.outlet.wake(&[self.link.key]);
    }

    pub(crate) fn take(&self) -> Option<Executed> {
        self.result.lock().take()
    }
}
