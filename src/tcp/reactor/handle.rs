//! Starting and stopping a reactor.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, TryRecvError};

use super::accept::{AcceptLoop, Accepted};
use super::config::{Config, Stats};
use super::mailbox::{Command, Mailbox, MailboxGuard, Waker};
use super::poll::Poll;
use super::service::Service;
use super::thread::Thread;
use crate::clock::Clock;
use crate::tcp::{Address, Listener};

/// A running reactor. Dropping it aborts all connections and ends its threads.
///
/// ```text
/// accepting --stop_accepting--> serving who is there --stop--> draining --last closed--> ended
///     |                                                           |                        ^
///     +-----stop (all of it in one call)                          +--deadline: abort-------+
/// ```
///
/// New connections are refused by the system from `stop_accepting` on. When draining begins, the
/// service is told of it once per connection, with [`Service::stopping`].
pub struct Reactor {
    accepting: AcceptLoop,
    io_threads: IoThreads,
}

/// The I/O threads; dropping them aborts their connections.
struct IoThreads {
    threads: Vec<IoThread>,
    /// Disconnected when every thread has ended.
    running: Receiver<()>,
    clock: Arc<dyn Clock>,
}

struct IoThread {
    mailbox: Arc<Mailbox>,
    handle: Option<JoinHandle<()>>,
}

/// How a stop went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// Threads that were still in a callback a second after the deadline, and are left behind.
    pub stuck: usize,
}

impl Reactor {
    /// Starts the threads. `make` is called for each I/O thread, with its number and its waker,
    /// before anything is accepted. Without listeners it is there for the connections that its
    /// services make.
    pub fn start<S, F>(config: &Config, listeners: Vec<Listener>, make: F) -> io::Result<Self>
    where
        S: Service,
        F: FnMut(usize, Waker) -> S,
    {
        let io_threads = IoThreads::start(config, make)?;
        let threads = io_threads.threads.iter();
        let mailboxes: Vec<_> = threads.map(|t| Arc::clone(&t.mailbox)).collect();
        let accept = move |accepted| give(&mailboxes, accepted);
        let accepting = AcceptLoop::start(config, listeners, accept)?;
        Ok(Self {
            accepting,
            io_threads,
        })
    }

    /// Where it listens, in the order of the listeners given.
    pub fn local_addrs(&self) -> &[Address] {
        self.accepting.local_addrs()
    }

    /// One waker per I/O thread, in the order in which their services were made.
    pub fn wakers(&self) -> impl Iterator<Item = Waker> + '_ {
        self.io_threads
            .threads
            .iter()
            .map(|thread| Waker(Arc::clone(&thread.mailbox)))
    }

    /// Changes how many connections there may be. Takes effect at once, in both directions, and
    /// closes none; `Some(0)` accepts none, `None` as many as come.
    pub fn set_max_connections(&self, limit: Option<usize>) {
        self.accepting.set_max_connections(limit);
    }

    /// How many connections there may be.
    pub fn max_connections(&self) -> Option<usize> {
        self.accepting.max_connections()
    }

    /// Figures since the start.
    pub fn stats(&self) -> Stats {
        let mut stats = self.accepting.stats();
        for thread in &self.io_threads.threads {
            thread.mailbox.counters.add_to(&mut stats);
        }
        stats
    }

    /// Closes the listeners; the connections stay. Returns when nobody can connect any more.
    pub fn stop_accepting(&mut self) {
        self.accepting.stop();
    }

    /// Calls [`Service::stopping`] for every connection, and for those that still come, and waits
    /// for nothing.
    pub fn drain(&self) {
        for thread in &self.io_threads.threads {
            thread.mailbox.command(Command::Drain);
        }
    }

    /// Stops: accepts no more, tells the services, waits until all connections are closed or
    /// `grace` is over, aborts the rest, and ends the threads.
    pub fn stop(mut self, grace: Duration) -> Stopped {
        self.stop_accepting();
        self.io_threads.stop(grace)
    }
}

impl IoThreads {
    fn start<S, F>(config: &Config, mut make: F) -> io::Result<Self>
    where
        S: Service,
        F: FnMut(usize, Waker) -> S,
    {
        let (alive, running) = crossbeam_channel::bounded::<()>(0);
        let clock = Arc::clone(&config.clock);
        let mut started = Self {
            threads: Vec::new(),
            running,
            clock,
        };
        for index in 0..config.threads.max(1) {
            let mailbox = Arc::new(Mailbox::new(Poll::new()?));
            let service = make(index, Waker(Arc::clone(&mailbox)));
            let io_thread = Thread::new(service, Arc::clone(&mailbox), config);
            let alive = alive.clone();
            let guard = MailboxGuard(Arc::clone(&mailbox));
            let handle = spawn(format!("{}-io-{index}", config.name), move || {
                io_thread.run();
                drop((guard, alive));
            })?;
            started.threads.push(IoThread {
                mailbox,
                handle: Some(handle),
            });
        }
        Ok(started)
    }

    fn stop(&mut self, grace: Duration) -> Stopped {
        let deadline = self.clock.now().checked_add(grace);
        for thread in &self.threads {
            thread.mailbox.command(Command::Stop(deadline));
        }
        // Only the end of the last thread ends this wait early.
        let _ = self.running.recv_timeout(grace.saturating_add(LATE));
        let mut stuck = 0;
        for thread in &mut self.threads {
            let Some(handle) = thread.handle.take() else {
                continue;
            };
            let ended = self.running.try_recv() == Err(TryRecvError::Disconnected);
            if ended || handle.is_finished() {
                join(handle);
            } else {
                stuck += 1;
            }
        }
        Stopped { stuck }
    }
}

impl Drop for IoThreads {
    fn drop(&mut self) {
        if self.threads.iter().any(|thread| thread.handle.is_some()) {
            self.stop(Duration::ZERO);
        }
    }
}

impl fmt::Debug for Reactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reactor")
            .field("addresses", &self.local_addrs())
            .field("threads", &self.io_threads.threads.len())
            .finish_non_exhaustive()
    }
}

/// Gives a connection to the thread with the fewest.
fn give(threads: &[Arc<Mailbox>], mut accepted: Accepted) {
    let load = |thread: &&Arc<Mailbox>| thread.connections.load(Ordering::Relaxed);
    let fewest = threads.iter().min_by_key(load);
    // The others only count if that thread has ended.
    for thread in fewest.into_iter().chain(threads) {
        match thread.arrive(accepted) {
            Ok(()) => return,
            Err(back) => accepted = back,
        }
    }
}

pub(super) fn spawn(
    name: String,
    run: impl FnOnce() + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name(name).spawn(run)
}

pub(super) fn join(handle: JoinHandle<()>) {
    if handle.join().is_err() {
        log::error!("a thread of the reactor ended by a panic");
    }
}

/// How long after the deadline a thread may take to end.
const LATE: Duration = Duration::from_secs(1);
