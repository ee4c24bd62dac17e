//! The small, portable connector, on the `tiny_http` library: no poller, blocking reads and writes.
//!
//! In scope: handing requests of the library to the site, parking held connects, writing answers.
//! Out of scope: what requests mean; WebSocket and event streams, which the library cannot carry.
//!
//! A fixed pool of workers waits for requests (`intake`) and has them executed. A request whose
//! answer comes later is parked with its client in a [`Shard`] until its connection is woken.
//!
//! # Limits of the library
//! It has a thread per connection, no time limits for reading, stops accepting after one error, and
//! allocates what an unread body claims to be long; `intake` and [`give_up`] keep it up in spite of
//! that. It cannot see that the peer of a held connect has left, and as many half-sent bodies as
//! there are workers stop it. For trusted networks.

mod intake;

use std::collections::HashMap;
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
        while let Some(request) = intake.next() {
            self.requests.one();
            if catch_unwind(AssertUnwindSafe(|| self.serve(request))).is_err() {
                log::error!("a request failed inside the server");
            }
        }
    }

    /// Reads a request, has it executed, and answers or parks it.
    fn serve(&self, mut request: Request) {
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
        // The library shows nothing of a connection but addresses, so its peer is its key.
        let key = self.hasher.hash_one(peer);
        let shard = &self.shards[key as usize % SHARDS];
        let sink = Arc::clone(shard) as _;
        let connection = ConnectionHandle { sink, key };
        let request = http::Request { head, body, caller };
        let handled = site.handle(route, &request, &connection);
        match handled.plain(site, &request, &connection) {
            Ok(finished) => self.write(output, finished),
            Err(pending) => shard.park((key, pending, output)),
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

/// A request whose answer comes later, with the key of its connection.
type Parked = (u64, PendingResponse, Output);

/// Whose a parked request is: the client's whose connect is held, or nobody's yet.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Owner {
    Client(ClientId),
    Connection(u64),
}

/// Requests of some connections.
#[derive(Default)]
struct Shard {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Without those that are being looked at.
    parked: HashMap<Owner, Vec<Parked>>,
    /// Whose requests came by a connection.
    owners: HashMap<u64, Vec<Owner>>,
    /// Parked requests, with those that are being looked at.
    count: usize,
    /// Connections for which there may be something.
    woken: Vec<u64>,
    stopping: bool,
}

impl State {
    /// Puts a request where a wake of its connection finds it.
    fn keep(&mut self, request: Parked) {
        let (key, pending, _) = &request;
        let owner = pending.client_id();
        let owner = owner.map_or(Owner::Connection(*key), Owner::Client);
        self.owners.entry(*key).or_default().push(owner);
        self.parked.entry(owner).or_default().push(request);
    }

    /// Takes out the requests of all whose connection was woken.
    fn take_woken(&mut self) -> Vec<Parked> {
        let mut taken = Vec::new();
        for key in std::mem::take(&mut self.woken) {
            for owner in self.owners.remove(&key).unwrap_or_default() {
                taken.extend(self.parked.remove(&owner).unwrap_or_default());
            }
        }
        // A client may have come by several connections.
        for (key, ..) in &taken {
            if let Some(owners) = self.owners.get_mut(key) {
                owners.retain(|owner| self.parked.contains_key(owner));
                if owners.is_empty() {
                    self.owners.remove(key);
                }
            }
        }
        taken
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
        state.count += 1;
        state.woken.push(request.0);
        state.keep(request);
        self.changed.notify_all();
    }

    /// The life of the thread that writes the answers.
    fn write_answers(&self, shared: &Shared) {
        while let Some(woken) = self.next() {
            for (key, mut pending, output) in woken {
                match catch_unwind(AssertUnwindSafe(|| pending.poll(&shared.site))) {
                    Ok(None) => {
                        self.state.lock().keep((key, pending, output));
                        continue;
                    }
                    Ok(Some(finished)) => shared.write(output, finished),
                    Err(_) => log::error!("an exchange failed inside the server"),
                }
                self.state.lock().count -= 1;
            }
            self.changed.notify_all();
        }
        let given_up = std::mem::take(&mut self.state.lock().parked);
        drop(given_up);
    }

    /// Waits for wakes; takes out the requests they are for. `None`: the end.
    fn next(&self) -> Option<Vec<Parked>> {
        let mut state = self.state.lock();
        let idle = |state: &mut State| state.woken.is_empty() && !state.stopping;
        self.changed.wait_while(&mut state, idle);
        if state.stopping {
            return None;
        }
        Some(state.take_woken())
    }

    /// Gives what is parked so long to be answered, then gives it up.
    fn stop(&self, patience: Duration) {
        let mut state = self.state.lock();
        let waiting = |state: &mut State| state.count > 0;
        self.changed.wait_while_for(&mut state, waiting, patience);
        state.stopping = true;
        self.changed.notify_all();
    }
}
