//! The thread that accepts connections and gives each to the I/O thread with the fewest.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use socket2::Socket;

use super::accept_loop::Accepted;
use super::admission::Admission;
use super::config::{AcceptErrorHook, AfterError, Config, OverLimitHook};
use super::counters::AcceptCounters;
use super::events::guarded;
use super::mailbox::{Arrival, Mailbox};
use super::poll::{Events, Interest, Poll, Source};
use crate::clock::Clock;
use crate::tcp::listener::Door;
use crate::tcp::{Address, Listener};

/// The half of the acceptor that others may touch.
pub(super) struct AcceptorShared {
    pub(super) poll: Arc<Poll>,
    pub(super) admission: Arc<Admission>,
    pub(super) counters: AcceptCounters,
    stopping: AtomicBool,
}

impl AcceptorShared {
    pub(super) fn new(poll: Arc<Poll>, admission: Arc<Admission>) -> Self {
        Self {
            poll,
            admission,
            counters: AcceptCounters::default(),
            stopping: AtomicBool::new(false),
        }
    }

    /// Ends the thread, which closes the listeners.
    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        self.poll.notify();
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }
}

pub(super) struct Acceptor {
    shared: Arc<AcceptorShared>,
    doors: Vec<Entrance>,
    destination: Destination,
    clock: Arc<dyn Clock>,
    on_error: Option<AcceptErrorHook>,
    on_over_limit: Option<OverLimitHook>,
    /// Where a connection was last accepted.
    last: usize,
    /// Waiting out an error of `accept`.
    pause_until: Option<Instant>,
    /// How long the next such wait is.
    delay: Duration,
}

/// Where the connections go.
pub(super) enum Destination {
    Threads(Vec<Arc<Mailbox>>),
    Function(Box<dyn FnMut(Accepted) + Send>),
}

struct Entrance {
    /// Dropped first, as in [`Listener`].
    door: Door,
    source: Source,
}

enum Attempt {
    /// It accepted one, or failed for that one; more may wait.
    More,
    /// Nobody waits here.
    Empty,
    /// Nobody is to be accepted now, here or elsewhere: the limit is reached, `accept` fails in a
    /// way that takes time to pass, or a stop was asked for.
    Pause,
}

impl Acceptor {
    pub(super) fn new(
        shared: Arc<AcceptorShared>,
        listeners: Vec<Listener>,
        destination: Destination,
        config: &Config,
    ) -> io::Result<Self> {
        let mut doors = Vec::with_capacity(listeners.len());
        for (index, listener) in listeners.into_iter().enumerate() {
            let (socket, door) = listener.into_parts();
            let poll = Arc::clone(&shared.poll);
            let source = Source::register(poll, socket, index, Interest::READ)?;
            doors.push(Entrance { source, door });
        }
        Ok(Self {
            shared,
            doors,
            destination,
            clock: Arc::clone(&config.clock),
            on_error: config.on_accept_error.clone(),
            on_over_limit: config.on_over_limit.clone(),
            last: usize::MAX,
            pause_until: None,
            delay: DELAY_MIN,
        })
    }

    /// Runs until it is stopped.
    pub(super) fn run(mut self) {
        let mut events = Events::new();
        let mut ready = Vec::new();
        while !self.shared.is_stopping() {
            let timeout = self.prepare();
            if let Err(error) = self.shared.poll.wait(&mut events, timeout) {
                log::error!("accepting ends, because the poller fails: {error}");
                return;
            }
            ready.clear();
            ready.extend(events.iter().map(|event| event.key));
            self.accept_in_turns(&mut ready);
        }
    }

    /// Accepts one of each listener after the other, from behind the one that had the last: where
    /// one permit at a time becomes free, one crowd must not get them all.
    fn accept_in_turns(&mut self, ready: &mut Vec<usize>) {
        ready.sort_unstable_by_key(|door| (*door <= self.last, *door));
        for _ in 0..ROUND {
            let mut next = 0;
            while let Some(door) = ready.get(next) {
                match self.accept_one(*door) {
                    Attempt::More => next += 1,
                    Attempt::Empty => drop(ready.remove(next)),
                    Attempt::Pause => return,
                }
            }
        }
    }

    /// Decides whether to listen at all, and how long to wait.
    fn prepare(&mut self) -> Option<Duration> {
        let admission = Arc::clone(&self.shared.admission);
        let mut timeout = None;
        let mut open = true;
        if let Some(until) = self.pause_until {
            // A connection that was closed since may have been what was missing.
            let rest = until.saturating_duration_since(self.clock.now());
            if rest.is_zero() || !admission.is_waiting() {
                self.pause_until = None;
            } else {
                timeout = Some(rest);
                open = false;
            }
        }
        if !admission.has_room() {
            admission.notify_on_close();
            // One may have been closed before the request was noted.
            open = open && admission.has_room();
        }
        let interest = if open { Interest::READ } else { Interest::NONE };
        for (index, entrance) in self.doors.iter_mut().enumerate() {
            if let Err(error) = entrance.source.set_interest(index, interest) {
                log::error!("listening on {}: {error}", entrance.door.address());
            }
        }
        timeout
    }

    fn accept_one(&mut self, door: usize) -> Attempt {
        if self.shared.is_stopping() || !self.shared.admission.has_room() {
            return Attempt::Pause;
        }
        let entrance = &self.doors[door];
        match entrance.door.accept(entrance.source.socket()) {
            Ok((socket, peer)) => {
                self.last = door;
                self.delay = DELAY_MIN;
                self.shared.counters.accepted.add(1);
                self.place(door, socket, peer);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Attempt::Empty,
            Err(error) if concerns_one_connection(&error) => self.shared.counters.errors.add(1),
            Err(error) => {
                self.fail(door, &error);
                return Attempt::Pause;
            }
        }
        Attempt::More
    }

    fn fail(&mut self, door: usize, error: &io::Error) {
        self.shared.counters.errors.add(1);
        if self.delay == DELAY_MIN {
            let address = self.doors[door].door.address();
            log::warn!("accepting on {address} fails, will try again: {error}");
        }
        if let Some(hook) = &self.on_error {
            if !matches!(guarded(|| hook(error)), Ok(AfterError::Retry)) {
                return self.shared.stop();
            }
        }
        self.shared.admission.notify_on_close();
        self.pause_until = Some(self.clock.now() + self.delay);
        self.delay = (self.delay * 2).min(DELAY_MAX);
    }

    fn place(&mut self, door: usize, socket: Socket, peer: Address) {
        let Some(permit) = self.shared.admission.admit(peer.ip()) else {
            self.shared.counters.over_address_limit.add(1);
            let hook = self.on_over_limit.as_ref();
            if hook.is_some_and(|hook| guarded(|| hook(&peer)).is_err()) {
                log::error!("the hook for connections over the limit panicked");
            }
            return;
        };
        match &mut self.destination {
            Destination::Threads(threads) => {
                give(
                    threads,
                    Arrival {
                        socket,
                        peer,
                        listener: door as u16,
                        permit,
                    },
                );
            }
            Destination::Function(accept) => {
                let accepted = Accepted {
                    socket,
                    peer,
                    listener: door,
                    permit,
                };
                if guarded(|| accept(accepted)).is_err() {
                    log::error!("an acceptor panicked; its connection is closed");
                }
            }
        }
    }
}

fn give(threads: &[Arc<Mailbox>], mut arrival: Arrival) {
    let fewest = threads
        .iter()
        .min_by_key(|thread| thread.load.load(Ordering::Relaxed));
    // The others only count if that thread has ended.
    for thread in fewest.into_iter().chain(threads) {
        match thread.arrive(arrival) {
            Ok(()) => return,
            Err(back) => arrival = back,
        }
    }
}

/// The connection failed before it was accepted; the next may be fine.
fn concerns_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
            | io::ErrorKind::TimedOut
            | io::ErrorKind::NetworkDown
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::HostUnreachable
    )
}

/// Connections accepted from each listener before the poller is asked again.
const ROUND: usize = 64;
const DELAY_MIN: Duration = Duration::from_millis(10);
const DELAY_MAX: Duration = Duration::from_secs(1);
