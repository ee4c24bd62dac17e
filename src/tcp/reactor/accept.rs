//! The thread that accepts connections, and gives each to whoever serves them.

use std::fmt;
use std::io;
use std::net::TcpStream;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use socket2::Socket;

use super::admission::{Admission, Permit};
use super::config::{AfterError, Config, Stats};
use super::events::catch_panic;
use super::handle::{join, spawn};
use super::poll::{Events, Interest, Poll, Source};
use crate::tcp::listener::Endpoint;
use crate::tcp::{Address, Listener};

/// A thread that accepts connections within the limits. Dropping it closes the listeners.
///
/// A [`Reactor`](super::Reactor) has one inside. Started by itself it replaces everything that
/// would come after accepting: the connections go to a function, as sockets.
pub struct AcceptLoop {
    admission: Arc<Admission>,
    thread: Option<JoinHandle<()>>,
    addresses: Vec<Address>,
}

/// A connection as it was accepted.
#[derive(Debug)]
pub struct Accepted {
    /// The connection, non-blocking.
    pub socket: Socket,
    /// Who is at the other end.
    pub peer: Address,
    /// Which listener accepted it, by its position in the list given at the start.
    pub listener: usize,
    /// Counts the connection until it is dropped: keep it as long as the connection.
    pub permit: Permit,
}

impl Accepted {
    /// The connection as a blocking stream of the standard library.
    pub fn into_std(self) -> io::Result<(TcpStream, Permit)> {
        self.socket.set_nonblocking(false)?;
        Ok((self.socket.into(), self.permit))
    }
}

impl AcceptLoop {
    /// Starts the thread. `accept` is called on it for each connection, so it should hand the
    /// connection over and return. If it panics, that connection is closed and the next accepted.
    ///
    /// Of the configuration it uses the name, the limits, the clock, and the hooks.
    pub fn start<F>(config: &Config, listeners: Vec<Listener>, accept: F) -> io::Result<Self>
    where
        F: FnMut(Accepted) + Send + 'static,
    {
        let addresses = listeners.iter().map(|l| l.local_addr().clone()).collect();
        let admission = Arc::new(Admission::new(Arc::new(Poll::new()?), config));
        let mut thread = None;
        if !listeners.is_empty() {
            let acceptor = Acceptor::new(Arc::clone(&admission), listeners, accept, config)?;
            thread = Some(spawn(format!("{}-accept", config.name), move || {
                acceptor.run();
            })?);
        }
        Ok(Self {
            admission,
            thread,
            addresses,
        })
    }

    /// Where it listens, in the order of the listeners given.
    pub fn local_addrs(&self) -> &[Address] {
        &self.addresses
    }

    /// Changes how many connections there may be. Takes effect at once, in both directions, and
    /// closes none; `Some(0)` accepts none, `None` as many as come.
    pub fn set_max_connections(&self, limit: Option<usize>) {
        self.admission.set_limit(limit);
    }

    /// How many connections there may be.
    pub fn max_connections(&self) -> Option<usize> {
        self.admission.limit()
    }

    /// Figures since the start; those of I/O threads are 0 here.
    pub fn stats(&self) -> Stats {
        let mut stats = Stats {
            open: self.admission.open(),
            ..Stats::default()
        };
        self.admission.counters.add_to(&mut stats);
        stats
    }

    /// Closes the listeners; the connections stay. Returns when nobody can connect any more.
    pub fn stop(&mut self) {
        self.admission.stop();
        if let Some(thread) = self.thread.take() {
            join(thread);
        }
    }
}

impl Drop for AcceptLoop {
    fn drop(&mut self) {
        self.stop();
    }
}

impl fmt::Debug for AcceptLoop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AcceptLoop")
            .field("addresses", &self.addresses)
            .finish_non_exhaustive()
    }
}

struct Acceptor<F> {
    admission: Arc<Admission>,
    listening: Vec<Listening>,
    accept: F,
    config: Config,
    /// Where a connection was last accepted.
    last: usize,
    /// Waiting out an error of `accept`.
    pause_until: Option<Instant>,
    /// How long the next such wait is.
    delay: Duration,
}

/// A listener that is registered with the poller.
struct Listening {
    /// Dropped first, as in [`Listener`].
    endpoint: Endpoint,
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

impl<F: FnMut(Accepted) + Send> Acceptor<F> {
    fn new(
        admission: Arc<Admission>,
        listeners: Vec<Listener>,
        accept: F,
        config: &Config,
    ) -> io::Result<Self> {
        let mut listening = Vec::with_capacity(listeners.len());
        for (index, listener) in listeners.into_iter().enumerate() {
            let (socket, endpoint) = listener.into_parts();
            let poll = Arc::clone(&admission.poll);
            let source = Source::register(poll, socket, index, Interest::READ)?;
            listening.push(Listening { endpoint, source });
        }
        Ok(Self {
            admission,
            listening,
            accept,
            config: config.clone(),
            last: usize::MAX,
            pause_until: None,
            delay: DELAY_MIN,
        })
    }

    /// Runs until it is stopped.
    fn run(mut self) {
        let mut events = Events::new();
        let mut ready = Vec::new();
        while !self.admission.is_stopping() {
            let timeout = self.prepare();
            if let Err(error) = self.admission.poll.wait(&mut events, timeout) {
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
        ready.sort_unstable_by_key(|index| (*index <= self.last, *index));
        for _ in 0..ROUND {
            let mut next = 0;
            while let Some(index) = ready.get(next) {
                match self.accept_one(*index) {
                    Attempt::More => next += 1,
                    Attempt::Empty => drop(ready.remove(next)),
                    Attempt::Pause => return,
                }
            }
        }
    }

    /// Decides whether to listen at all, and how long to wait.
    fn prepare(&mut self) -> Option<Duration> {
        let admission = &self.admission;
        let mut timeout = None;
        let mut open = true;
        if let Some(until) = self.pause_until {
            // A connection that was closed since may have been what was missing.
            let rest = until.saturating_duration_since(self.config.clock.now());
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
        for (index, listening) in self.listening.iter_mut().enumerate() {
            if let Err(error) = listening.source.set_interest(index, interest) {
                log::error!("listening on {}: {error}", listening.endpoint.address);
            }
        }
        timeout
    }

    fn accept_one(&mut self, index: usize) -> Attempt {
        if self.admission.is_stopping() || !self.admission.has_room() {
            return Attempt::Pause;
        }
        let listening = &self.listening[index];
        match listening.endpoint.accept(listening.source.socket()) {
            Ok((socket, peer)) => {
                self.last = index;
                self.delay = DELAY_MIN;
                self.admission.counters.accepted.one();
                self.hand_over(index, socket, peer);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Attempt::Empty,
            Err(error) if concerns_one_connection(&error) => {
                self.admission.counters.accept_errors.one();
            }
            Err(error) => {
                self.fail(index, &error);
                return Attempt::Pause;
            }
        }
        Attempt::More
    }

    fn fail(&mut self, index: usize, error: &io::Error) {
        self.admission.counters.accept_errors.one();
        if self.delay == DELAY_MIN {
            let address = &self.listening[index].endpoint.address;
            log::warn!("accepting on {address} fails, will try again: {error}");
        }
        if let Some(hook) = &self.config.on_accept_error {
            if !matches!(catch_panic(|| hook(error)), Ok(AfterError::Retry)) {
                return self.admission.stop();
            }
        }
        self.admission.notify_on_close();
        self.pause_until = Some(self.config.clock.now() + self.delay);
        self.delay = (self.delay * 2).min(DELAY_MAX);
    }

    fn hand_over(&mut self, listener: usize, socket: Socket, peer: Address) {
        let Some(permit) = self.admission.admit(peer.ip()) else {
            self.admission.counters.refused_by_address.one();
            let hook = self.config.on_over_limit.as_ref();
            if hook.is_some_and(|hook| catch_panic(|| hook(&peer)).is_err()) {
                log::error!("the hook for connections over the limit panicked");
            }
            return;
        };
        let accepted = Accepted {
            socket,
            peer,
            listener,
            permit,
        };
        if catch_panic(|| (self.accept)(accepted)).is_err() {
            log::error!("an acceptor panicked; its connection is closed");
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
