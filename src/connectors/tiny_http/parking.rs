//! Parked requests, keyed by client id: each shard is a mutex and a condvar around the requests of
//! some clients, with one thread that blocks until one of them has something, and writes it.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::Shared;
use crate::clock::{Clock, later};
use crate::http::{DateCache, Output, Work};
use crate::protocol::ClientId;
use crate::transport::{ConnectionHandle, WakeSink};

/// Whom a parked request belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Key {
    /// The client whose connect is held.
    Client(ClientId),
    /// A request that user code has, by the address of its waker: it may be of nobody yet.
    Request(usize),
}

/// What the broker wakes for one request. Whose request it is turns out when it is parked; wakes
/// before that are not needed, since parking is a wake.
pub(super) struct Waker {
    peer: SocketAddr,
    place: Mutex<Option<(Arc<Shard>, Key)>>,
}

impl Waker {
    /// For a request that came from there.
    pub(super) fn new(peer: SocketAddr) -> Self {
        let place = Mutex::default();
        Self { peer, place }
    }
}

impl WakeSink for Waker {
    fn wake(&self, _keys: &[u64]) {
        let parked = self.place.lock().clone();
        if let Some((shard, key)) = parked {
            shard.state.lock().woken.push(key);
            shard.changed.notify_all();
        }
    }

    /// There is one for each request: the library shows of a connection nothing but addresses.
    fn peer_of_request(&self) -> Option<SocketAddr> {
        Some(self.peer)
    }
}

type Parked = (Work, Output, Arc<Waker>);

#[derive(Default)]
struct State {
    parked: HashMap<Key, Vec<Parked>>,
    /// Those for whom there may be something.
    woken: Vec<Key>,
    /// Requests that were taken out of `parked` to be looked at.
    looked_at: usize,
    stopping: bool,
}

impl State {
    fn len(&self) -> u64 {
        (self.parked.values().map(Vec::len).sum::<usize>() + self.looked_at) as u64
    }
}

/// Requests of some clients.
#[derive(Default)]
pub(super) struct Shard {
    state: Mutex<State>,
    changed: Condvar,
}

/// All shards, each key in one of them.
pub(super) struct Parking(pub(super) Box<[Arc<Shard>]>);

impl Parking {
    pub(super) fn parked(&self) -> u64 {
        self.0.iter().map(|shard| shard.state.lock().len()).sum()
    }

    fn shard(&self, key: &Key) -> &Arc<Shard> {
        // Keys are not the peer's to choose.
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        &self.0[hasher.finish() as usize % self.0.len()]
    }

    /// Keeps a request until its answer is there.
    pub(super) fn park(&self, work: Work, output: Output, waker: Arc<Waker>) {
        let by_request = || Key::Request(Arc::as_ptr(&waker) as usize);
        let key = work.client_id().map_or_else(by_request, Key::Client);
        let shard = self.shard(&key);
        let before = waker.place.lock().replace((Arc::clone(shard), key));
        let mut state = shard.state.lock();
        if state.stopping {
            // Dropped after the lock: dropping it tells its session.
            return drop(state);
        }
        let requests = state.parked.entry(key).or_default();
        requests.push((work, output, waker));
        // Back in its place it hears of wakes that came meanwhile.
        if before.is_none_or(|(_, before)| before != key) {
            state.woken.push(key);
            shard.changed.notify_all();
        }
    }

    /// The life of the thread that writes the answers of a shard.
    pub(super) fn write_answers(&self, shard: &Shard, shared: &Shared) {
        let mut date = DateCache::new();
        while let Some(ready) = shard.next() {
            for (mut work, output, waker) in ready {
                match catch_unwind(AssertUnwindSafe(|| work.poll(&shared.site))) {
                    Ok(None) => self.park(work, output, waker),
                    Ok(Some(finished)) => shared.write(output, finished, &mut date),
                    Err(_) => log::error!("an exchange failed inside the server"),
                }
            }
            shard.state.lock().looked_at = 0;
            shard.changed.notify_all();
        }
        // Requests know their shard: what is given up has to be taken out of it.
        let given_up = std::mem::take(&mut shard.state.lock().parked);
        drop(given_up);
    }

    /// Gives what is parked so long to be answered, then gives it up.
    pub(super) fn stop(&self, grace: Duration, clock: &dyn Clock) {
        let end = later(clock.now(), grace);
        for shard in &self.0 {
            let left = end.saturating_duration_since(clock.now());
            let mut state = shard.state.lock();
            let waiting = |state: &mut State| state.len() > 0;
            shard.changed.wait_while_for(&mut state, waiting, left);
            state.stopping = true;
            shard.changed.notify_all();
        }
    }
}

impl Shard {
    /// Waits for wakes; takes out the requests they are for. `None`: the end.
    fn next(&self) -> Option<Vec<Parked>> {
        let mut state = self.state.lock();
        let idle = |state: &mut State| state.woken.is_empty() && !state.stopping;
        self.changed.wait_while(&mut state, idle);
        if state.stopping {
            return None;
        }
        let woken = std::mem::take(&mut state.woken);
        let ready = woken.iter().filter_map(|key| state.parked.remove(key));
        let ready: Vec<_> = ready.flatten().collect();
        state.looked_at = ready.len();
        Some(ready)
    }
}

/// A connection to the request that is woken through it.
pub(super) fn connection(waker: &Arc<Waker>) -> ConnectionHandle {
    let sink = Arc::clone(waker) as Arc<dyn WakeSink>;
    ConnectionHandle { sink, key: 0 }
}
