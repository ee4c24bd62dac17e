//! The small, portable connector, on the `tiny_http` library: no poller, blocking reads and writes.
//!
//! In scope: handing requests of the library to the site, parking held connects, writing answers.
//! Out of scope: what requests mean; WebSocket and event streams, which the library cannot carry.
//!
//! A fixed pool of workers waits for requests (`intake`) and has them executed. A request whose
//! answer comes later is parked with its client in a [`Shard`] until its connection is woken. The
//! library reads on behind a request, and a write blocks until all before it have their answers: so
//! each has its [`Turn`], and of a connection only the first that is not answered is looked at.
//!
//! # Limits of the library
//! It has a thread per connection, no time limits for reading, stops accepting after one error, and
//! allocates what an unread body claims to be long; `intake` and [`give_up`] keep it up in spite of
//! that. It cannot see that the peer of a held connect has left, and as many half-sent bodies as
//! there are workers stop it. For trusted networks.

mod intake;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tiny_http::{HTTPVersion, Request};

use self::intake::Intake;
use crate::clock::{Clock, later};
use crate::counters::Counter;
use crate::http::{self, DateCache, Finished, Headers, Output, PendingResponse, RequestHead, Site};
use crate::protocol::ClientId;
use crate::transport::{ConnectionHandle, WakeSink};
use crate::util::shrink;

/// Groups of connections, each with a thread that writes the answers to held connects.
const SHARDS: usize = 2;

/// A running connector. Dropping it stops it at once.
pub(crate) struct TinyHttp {
    intakes: Vec<Arc<Intake>>,
    /// Those of the shards, and then those of the intakes.
    threads: Vec<JoinHandle<()>>,
    shared: Arc<Shared>,
}

impl TinyHttp {
    /// Serves the site on bound listeners, each with so many threads that execute requests. A peer
    /// may take nothing of what is written for `write_timeout`.
    ///
    /// # Errors
    /// If a socket refuses its options or a thread cannot be started.
    pub(crate) fn start(
        workers: usize,
        write_timeout: Duration,
        listeners: Vec<TcpListener>,
        site: &Arc<Site>,
        clock: &Arc<dyn Clock>,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            site: Arc::clone(site),
            clock: Arc::clone(clock),
            shards: Default::default(),
            hasher: RandomState::new(),
            requests: Counter::default(),
        });
        let mut running = Self {
            intakes: Vec::new(),
            threads: Vec::new(),
            shared: Arc::clone(&shared),
        };
        for (n, shard) in shared.shards.iter().enumerate() {
            let (shared, shard) = (Arc::clone(&shared), Arc::clone(shard));
            running.spawn(&format!("reply-{n}"), move || shard.write_answers(&shared))?;
        }
        for listener in listeners {
            let intake = Arc::new(Intake::open(listener, write_timeout)?);
            running.intakes.push(Arc::clone(&intake));
            for n in 0..workers.max(1) {
                let (shared, intake) = (Arc::clone(&shared), Arc::clone(&intake));
                running.spawn(&format!("tiny-{n}"), move || shared.work(&intake))?;
            }
            running.spawn("nudge", move || intake.nudge())?;
        }
        Ok(running)
    }

    /// The addresses that are served.
    pub(crate) fn local_addrs(&self) -> Vec<SocketAddr> {
        self.intakes.iter().map(|intake| intake.address).collect()
    }

    /// Takes no new connections and requests from now on; those at hand go on.
    pub(crate) fn stop_accepting(&self) {
        self.intakes.iter().for_each(|intake| intake.close());
    }

    /// Waits for the workers, and for parked answers at the most so long; then ends.
    pub(crate) fn stop(mut self, grace: Duration) {
        self.end(grace);
    }

    fn end(&mut self, grace: Duration) {
        self.stop_accepting();
        self.join(SHARDS);
        let clock = &self.shared.clock;
        let end = later(clock.now(), grace);
        for shard in &self.shared.shards {
            shard.stop(end.saturating_duration_since(clock.now()));
        }
        self.join(0);
    }

    fn spawn(&mut self, name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let thread = Builder::new().name(format!("bayeux-{name}")).spawn(run)?;
        self.threads.push(thread);
        Ok(())
    }

    /// Waits for all threads but the first so many.
    fn join(&mut self, first: usize) {
        for thread in self.threads.drain(first.min(self.threads.len())..) {
            if thread.join().is_err() {
                log::error!("a thread of the tiny_http connector panicked");
            }
        }
    }

    /// Requests that were read so far.
    pub(crate) fn requests(&self) -> u64 {
        self.shared.requests.get()
    }
}

impl Drop for TinyHttp {
    fn drop(&mut self) {
        self.end(Duration::ZERO);
    }
}

/// What the threads share.
struct Shared {
    site: Arc<Site>,
    clock: Arc<dyn Clock>,
    shards: [Arc<Shard>; SHARDS],
    hasher: RandomState,
    requests: Counter,
}

impl Shared {
    /// A worker's life.
    fn work(&self, intake: &Intake) {
        while let Some((request, turn)) = self.next(intake) {
            self.requests.one();
            if catch_unwind(AssertUnwindSafe(|| self.serve(request, turn))).is_err() {
                log::error!("a request failed inside the server");
            }
        }
    }

    /// Waits for a request. It has its turn before anybody gets the next one of its connection.
    fn next(&self, intake: &Intake) -> Option<(Request, Turn)> {
        let _order = intake.order.lock();
        let request = intake.next()?;
        // The library shows nothing of a connection but addresses, so they are its key.
        let key = self
            .hasher
            .hash_one((intake.address, request.remote_addr()));
        let turn = Turn::new(&self.shards[key as usize % SHARDS], key);
        Some((request, turn))
    }

    /// Reads a request, has it executed, and answers or parks it.
    fn serve(&self, mut request: Request, turn: Turn) {
        let site = &self.site;
        let (method, target) = (request.method().to_string(), request.url().to_owned());
        let lines = request.headers().to_vec();
        let lines = lines.iter().map(|line| httparse::Header {
            name: line.field.as_str().as_str(),
            value: line.value.as_bytes(),
        });
        let lines: Vec<_> = lines.collect();
        let head = RequestHead {
            method: &method,
            target: &target,
            minor_version: u8::from(*request.http_version() > HTTPVersion(1, 0)),
            headers: Headers::new(&lines),
        };
        let peer = request.remote_addr().copied();
        let peer = peer.unwrap_or((Ipv4Addr::LOCALHOST, 0).into());
        let caller = &site.caller(&head, peer.ip().to_canonical(), false);
        let route = site.route(&head, caller);
        let announced = request.body_length();
        let body = site.read_body(&route, &head, caller, announced, || request.as_reader());
        let unread = body.is_err() && announced.unwrap_or(0) > 64 << 20;
        let entry = site.log_entry(Some(&head), caller);
        let writer = match unread {
            true => give_up(request),
            false => request.into_writer(),
        };
        let output = Output::new(&head, entry, !unread, writer);
        let body = &match body {
            Ok(body) => body,
            Err(Some(refusal)) => return self.write(output, refusal.into()),
            Err(None) => return,
        };
        let shard = Arc::clone(&turn.shard);
        let connection = ConnectionHandle {
            sink: Arc::clone(&shard) as _,
            key: turn.key,
        };
        let request = http::Request { head, body, caller };
        let handled = site.handle(route, &request, &connection);
        match handled.plain(site, &request, &connection) {
            Ok(finished) => self.write(output, finished),
            Err(pending) => shard.park((pending, output, turn)),
        }
    }

    fn write(&self, output: Output, finished: Finished) {
        if let Err(error) = output.write(finished, DateCache::new().at(self.clock.wall())) {
            log::debug!("a response was not written: {error}");
        }
    }
}

/// Refuses a request whose body is too large to be dropped unread, as the library would allocate
/// all of it; gives its connection up, with its thread. Returns what stands in for its writer.
fn give_up(request: Request) -> Box<dyn Write + Send> {
    log::warn!("a request announced a body far over the limit; its connection is given up");
    let mut stream = request.upgrade("HTTP/1.1", tiny_http::Response::empty(413));
    if let Err(error) = stream.flush() {
        log::debug!("a refusal was not written: {error}");
    }
    std::mem::forget(stream);
    Box::new(io::sink())
}

/// A request whose answer comes later.
type Parked = (PendingResponse, Output, Turn);

/// Whose a parked request is: the client's whose connect is held, or nobody's yet.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Owner {
    Client(ClientId),
    Connection(u64),
}

/// A request's turn among those of its connection, until it is answered or given up.
struct Turn {
    shard: Arc<Shard>,
    /// The connection's.
    key: u64,
    number: u64,
}

impl Turn {
    fn new(shard: &Arc<Shard>, key: u64) -> Self {
        let mut state = shard.state.lock();
        state.numbers += 1;
        let number = state.numbers;
        let unanswered = state.unanswered.entry(key).or_default();
        unanswered.push_back((number, None));
        drop(state);
        let shard = Arc::clone(shard);
        Self { shard, key, number }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut state = self.shard.state.lock();
        let Some(unanswered) = state.unanswered.get_mut(&self.key) else {
            return;
        };
        let place = unanswered
            .iter()
            .position(|(number, _)| *number == self.number);
        place.and_then(|place| unanswered.remove(place));
        if unanswered.is_empty() {
            state.unanswered.remove(&self.key);
            shrink(&mut state.unanswered);
            self.shard.answered.notify_all();
        } else {
            state.woken.push_back(self.key);
            self.shard.changed.notify_all();
        }
    }
}

/// Requests of some connections.
#[derive(Default)]
struct Shard {
    state: Mutex<State>,
    /// Somebody was woken, or this is to stop.
    changed: Condvar,
    /// All requests of a connection have their answers.
    answered: Condvar,
}

#[derive(Default)]
struct State {
    /// Without the one that is being looked at.
    parked: HashMap<Owner, Vec<Parked>>,
    /// The requests of each connection that are not answered, in order: their numbers, and whose
    /// those are that are parked.
    unanswered: HashMap<u64, VecDeque<(u64, Option<Owner>)>>,
    numbers: u64,
    /// Connections for which there may be something.
    woken: VecDeque<u64>,
    stopping: bool,
}

impl State {
    /// Puts a request where a wake of its connection finds it.
    fn keep(&mut self, request: Parked) {
        let (pending, _, turn) = &request;
        let owner = pending.client_id();
        let owner = owner.map_or(Owner::Connection(turn.key), Owner::Client);
        let mut unanswered = self.unanswered.get_mut(&turn.key).into_iter().flatten();
        if let Some((_, place)) = unanswered.find(|(number, _)| *number == turn.number) {
            *place = Some(owner);
        }
        self.parked.entry(owner).or_default().push(request);
    }

    /// Takes out the request that a connection is to answer next, if it is parked.
    fn take_next(&mut self, key: u64) -> Option<Parked> {
        let (next, owner) = self.unanswered.get_mut(&key)?.front_mut()?;
        let owner = owner.take()?;
        let parked = self.parked.get_mut(&owner)?;
        let at = parked.iter().position(|(.., turn)| turn.number == *next)?;
        let taken = parked.swap_remove(at);
        if parked.is_empty() {
            self.parked.remove(&owner);
            shrink(&mut self.parked);
        }
        Some(taken)
    }
}

impl WakeSink for Shard {
    fn wake(&self, keys: &[u64]) {
        self.state.lock().woken.extend(keys);
        self.changed.notify_all();
    }
}

impl Shard {
    /// Keeps a request until its answer is there, which it may be already.
    fn park(&self, request: Parked) {
        let mut state = self.state.lock();
        if state.stopping {
            // Dropped after the lock: dropping it tells its session.
            return drop(state);
        }
        state.woken.push_back(request.2.key);
        state.keep(request);
        self.changed.notify_all();
    }

    /// The life of the thread that writes the answers.
    fn write_answers(&self, shared: &Shared) {
        while let Some((mut pending, output, turn)) = self.next() {
            match catch_unwind(AssertUnwindSafe(|| pending.poll(&shared.site))) {
                Ok(None) => self.state.lock().keep((pending, output, turn)),
                Ok(Some(finished)) => shared.write(output, finished),
                Err(_) => log::error!("an exchange failed inside the server"),
            }
        }
        let given_up = std::mem::take(&mut self.state.lock().parked);
        drop(given_up);
    }

    /// Waits for a wake; takes out the request it is for. `None`: the end.
    fn next(&self) -> Option<Parked> {
        let mut state = self.state.lock();
        while !state.stopping {
            match state.woken.pop_front() {
                None => self.changed.wait(&mut state),
                Some(key) => match state.take_next(key) {
                    None => {}
                    next => return next,
                },
            }
        }
        None
    }

    /// Gives what is parked so long to be answered, then gives it up.
    fn stop(&self, patience: Duration) {
        let mut state = self.state.lock();
        let waiting = |state: &mut State| !state.unanswered.is_empty();
        self.answered.wait_while_for(&mut state, waiting, patience);
        state.stopping = true;
        self.changed.notify_all();
    }
}
