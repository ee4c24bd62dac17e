//! Threads: workers run handlers and observers, the ticker watches the time.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};

use super::shared::Shared;
use crate::link::message::Message;
use crate::link::router::Origin;

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

/// The threads of a node.
pub(super) struct Threads {
    workers: usize,
    all: Vec<JoinHandle<()>>,
    /// Closed when the last thread has ended.
    alive: Receiver<()>,
}

impl Threads {
    pub(super) fn start(
        shared: &Arc<Shared>,
        workers: usize,
        jobs: &Receiver<Job>,
    ) -> std::io::Result<Self> {
        let (life, alive) = crossbeam_channel::bounded(0);
        let workers = workers.max(1);
        let mut threads = Self {
            workers,
            all: Vec::new(),
            alive,
        };
        for n in 0..workers {
            let (worker, jobs, life) = (Arc::clone(shared), jobs.clone(), life.clone());
            let run = move || work(&worker, &jobs, &life);
            threads.add(shared, format!("link-worker-{n}"), run)?;
        }
        let (ticker, last) = (Arc::clone(shared), life);
        let run = move || {
            ticker.tick_until_end();
            drop(last);
        };
        threads.add(shared, "link-ticker".to_owned(), run)?;
        Ok(threads)
    }

    fn add(
        &mut self,
        shared: &Shared,
        name: String,
        run: impl FnOnce() + Send + 'static,
    ) -> std::io::Result<()> {
        match Builder::new().name(name).spawn(run) {
            Ok(thread) => self.all.push(thread),
            Err(error) => {
                self.tell(shared);
                return Err(error);
            }
        }
        Ok(())
    }

    fn tell(&self, shared: &Shared) {
        for _ in 0..self.workers {
            shared.job(Job::End);
        }
        shared.end();
    }

    /// Ends them. A handler that does not return in time is left to itself.
    pub(super) fn end(self, shared: &Shared, grace: Duration) {
        self.tell(shared);
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

fn work(shared: &Arc<Shared>, jobs: &Receiver<Job>, _life: &Sender<()>) {
    for job in jobs {
        match job {
            Job::Run(alias, token) => run(shared, alias, token),
            Job::Observe => observe(shared),
            Job::End => return,
        }
    }
}

fn run(shared: &Arc<Shared>, alias: Arc<str>, token: u64) {
    let mut handled: Option<Origin> = None;
    for _ in 0..PER_TURN {
        let next = shared.with(|router| {
            if let Some(origin) = handled {
                router.finished(&alias, origin);
            }
            router.next_delivery(&alias, token)
        });
        let Some((handler, delivery)) = next else {
            return;
        };
        handled = Some(delivery.origin());
        let message = Message::new(shared, &alias, delivery);
        // Dropped within: the export may have ended.
        guarded("a handler of a link", move || handler.handle(message));
    }
    if let Some(origin) = handled {
        shared.with(|router| router.finished(&alias, origin));
    }
    shared.job(Job::Run(alias, token));
}

fn observe(shared: &Shared) {
    for _ in 0..PER_TURN {
        let Some(event) = shared.with(|router| router.events().next()) else {
            return;
        };
        // Anew for each event: whoever has begun to observe before it happened is told of it.
        for observer in shared.observers() {
            // Dropped within: it may be the last of one that was ended.
            let event = &event;
            guarded("an observer of a link", move || observer(event));
        }
    }
    shared.job(Job::Observe);
}

fn guarded(what: &str, call: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(call)).is_err() {
        log::error!("{what} panicked");
    }
}
