//! Starting and stopping a reactor.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::acceptor::{Acceptor, AcceptorShared};
use super::admission::Admission;
use super::config::Config;
use super::counters::Stats;
use super::mailbox::{Command, Mailbox, Waker};
use super::poll::Poll;
use super::service::Service;
use super::thread::Thread;
use crate::clock::Clock;
use crate::tcp::{Address, Listener};

/// A running reactor. Dropping it aborts all connections and ends its threads.
pub struct Reactor {
    acceptor: Arc<AcceptorShared>,
    accepting: Option<JoinHandle<()>>,
    io_threads: Vec<IoThread>,
    /// Disconnected when every I/O thread has ended.
    running: mpsc::Receiver<()>,
    addresses: Vec<Address>,
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
    /// before anything is accepted.
    pub fn start<S, F>(config: &Config, listeners: Vec<Listener>, mut make: F) -> io::Result<Self>
    where
        S: Service,
        F: FnMut(usize, Waker) -> S,
    {
        if listeners.len() > usize::from(u16::MAX) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "too many listeners",
            ));
        }
        let poll = Arc::new(Poll::new()?);
        let (limit, per_address) = (config.max_connections, config.max_per_address);
        let admission = Arc::new(Admission::new(Arc::clone(&poll), limit, per_address));
        let (alive, running) = mpsc::channel();
        let mut reactor = Self {
            acceptor: Arc::new(AcceptorShared::new(poll, admission)),
            accepting: None,
            io_threads: Vec::new(),
            running,
            addresses: listeners.iter().map(|l| l.local_addr().clone()).collect(),
            clock: Arc::clone(&config.clock),
        };
        for index in 0..config.threads.max(1) {
            let mailbox = Arc::new(Mailbox::new(Arc::new(Poll::new()?)));
            let service = make(index, Waker(Arc::clone(&mailbox)));
            let io_thread = Thread::new(service, Arc::clone(&mailbox), config);
            let alive = alive.clone();
            let handle = spawn(format!("{}-io-{index}", config.name), move || {
                io_thread.run();
                drop(alive);
            })?;
            reactor.io_threads.push(IoThread {
                mailbox,
                handle: Some(handle),
            });
        }
        let mailboxes = reactor
            .io_threads
            .iter()
            .map(|t| Arc::clone(&t.mailbox))
            .collect();
        let clock = Arc::clone(&config.clock);
        let acceptor = Acceptor::new(Arc::clone(&reactor.acceptor), listeners, mailboxes, clock)?;
        let name = format!("{}-accept", config.name);
        reactor.accepting = Some(spawn(name, move || acceptor.run())?);
        Ok(reactor)
    }

    /// Where it listens, in the order of the listeners given.
    pub fn local_addrs(&self) -> &[Address] {
        &self.addresses
    }

    /// One waker per I/O thread, in the order in which their services were made.
    pub fn wakers(&self) -> impl Iterator<Item = Waker> + '_ {
        self.io_threads
            .iter()
            .map(|thread| Waker(Arc::clone(&thread.mailbox)))
    }

    /// Changes how many connections there may be. Takes effect at once, in both directions, and
    /// closes none; `Some(0)` accepts none, `None` as many as come.
    pub fn set_max_connections(&self, limit: Option<usize>) {
        self.acceptor.admission.set_limit(limit);
    }

    /// How many connections there may be.
    pub fn max_connections(&self) -> Option<usize> {
        self.acceptor.admission.limit()
    }

    /// Figures since the start.
    pub fn stats(&self) -> Stats {
        let mut stats = Stats {
            open: self.acceptor.admission.open(),
            ..Stats::default()
        };
        stats.add_acceptor(&self.acceptor.counters);
        for thread in &self.io_threads {
            stats.add_thread(&thread.mailbox.counters);
        }
        stats
    }

    /// Closes the listeners; the connections stay. Returns when nobody can connect any more.
    pub fn stop_accepting(&mut self) {
        self.acceptor.stop();
        if let Some(accepting) = self.accepting.take() {
            join(accepting);
        }
    }

    /// Calls [`Service::stopping`] for every connection, and waits for nothing.
    pub fn drain(&self) {
        for thread in &self.io_threads {
            thread.mailbox.command(Command::Drain);
        }
    }

    /// Stops: accepts no more, tells the services, waits until all connections are closed or `grace`
    /// is over, aborts the rest, and ends the threads.
    pub fn stop(mut self, grace: Duration) -> Stopped {
        self.shut_down(grace)
    }

    fn shut_down(&mut self, grace: Duration) -> Stopped {
        self.stop_accepting();
        let deadline = self.clock.now() + grace;
        for thread in &self.io_threads {
            thread.mailbox.command(Command::Stop(deadline));
        }
        // Only the end of the last thread ends this wait early.
        let _ = self.running.recv_timeout(grace + LATE);
        let mut stuck = 0;
        for thread in &mut self.io_threads {
            let Some(handle) = thread.handle.take() else {
                continue;
            };
            if handle.is_finished()
                || self.running.try_recv() == Err(mpsc::TryRecvError::Disconnected)
            {
                join(handle);
            } else {
                stuck += 1;
            }
        }
        Stopped { stuck }
    }
}

impl Drop for Reactor {
    fn drop(&mut self) {
        if self.io_threads.iter().any(|thread| thread.handle.is_some()) {
            self.shut_down(Duration::ZERO);
        }
    }
}

impl fmt::Debug for Reactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reactor")
            .field("addresses", &self.addresses)
            .field("threads", &self.io_threads.len())
            .finish_non_exhaustive()
    }
}

fn spawn(name: String, run: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name(name).spawn(run)
}

fn join(handle: JoinHandle<()>) {
    if handle.join().is_err() {
        log::error!("a thread of the reactor ended by a panic");
    }
}

/// How long after the deadline a thread may take to end.
const LATE: Duration = Duration::from_secs(1);
