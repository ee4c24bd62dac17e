//! Parked requests: each shard is a mutex and a condvar around those whose answer is not there yet,
//! keyed by the held connect of a client, with one thread that writes answers as they come.

use std::collections::HashMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::Shared;
use super::output::Output;
use crate::broker::{Answer, Exchange};
use crate::clock::{Clock, FOREVER};
use crate::counters::Gauge;
use crate::http::{DateCache, Finished, Format, Site, Work};
use crate::transport::{Link, Outlet};

/// A request that waits for its answer.
struct Parked {
    waiting: Waiting,
    output: Output,
}

/// Who will say what is to be written.
pub(super) enum Waiting {
    /// The broker.
    Exchange(Exchange, Format),
    /// User code.
    Work(Box<Work>),
}

/// What has been said.
enum Said {
    Answer(Answer, Format),
    Finished(Finished),
}

impl Waiting {
    fn poll(&mut self, site: &Site) -> Option<Said> {
        match self {
            Self::Exchange(exchange, format) => {
                let answer = exchange.poll()?;
                Some(Said::Answer(answer, format.clone()))
            }
            Self::Work(work) => work.poll(site).map(Said::Finished),
        }
    }
}

#[derive(Default)]
struct State {
    parked: HashMap<u64, Parked>,
    /// Keys that have been woken and not been looked at. A wake may come before its request is
    /// parked, so parking one wakes it too.
    woken: Vec<u64>,
    /// Requests that were taken out of `parked` to be looked at.
    looked_at: usize,
    stopping: bool,
}

#[derive(Default)]
struct Shard {
    state: Mutex<State>,
    changed: Condvar,
}

impl Outlet for Shard {
    fn wake(&self, keys: &[u64]) {
        self.state.lock().woken.extend_from_slice(keys);
        self.changed.notify_one();
    }
}

/// All shards.
pub(super) struct Shards {
    shards: Vec<Arc<Shard>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    next: AtomicU64,
    parked: Gauge,
}

/// Where a request will be parked if it has to wait.
pub(super) struct Place {
    shard: Arc<Shard>,
    pub(super) link: Link,
}

impl Shards {
    pub(super) fn new(count: usize) -> Self {
        Self {
            shards: (0..count.max(1)).map(|_| Arc::default()).collect(),
            threads: Mutex::default(),
            next: AtomicU64::new(0),
            parked: Gauge::default(),
        }
    }

    /// Starts the threads that write answers.
    pub(super) fn start(&self, shared: &Arc<Shared>) -> io::Result<()> {
        for (n, shard) in self.shards.iter().enumerate() {
            let (shard, shared) = (Arc::clone(shard), Arc::clone(shared));
            let thread = Builder::new().name(format!("bayeux-replies-{n}"));
            self.threads
                .lock()
                .push(thread.spawn(move || shard.run(&shared))?);
        }
        Ok(())
    }

    pub(super) fn parked(&self) -> u64 {
        self.parked.get()
    }

    /// A new key, in the shards in turn.
    pub(super) fn place(&self) -> Place {
        let key = self.next.fetch_add(1, Ordering::Relaxed);
        let count = self.shards.len() as u64;
        let at = usize::try_from(key % count).expect("below the number of shards");
        let shard = Arc::clone(&self.shards[at]);
        let link = Link {
            outlet: Arc::clone(&shard) as Arc<dyn Outlet>,
            key,
        };
        Place { shard, link }
    }

    /// Gives what is parked so long to be answered, then gives it up.
    pub(super) fn stop(&self, grace: Duration, clock: &dyn Clock) {
        let end = clock.now() + grace.min(FOREVER);
        for shard in &self.shards {
            let left = end.saturating_duration_since(clock.now());
            let mut state = shard.state.lock();
            let waiting = |state: &mut State| !state.parked.is_empty() || state.looked_at > 0;
            shard.changed.wait_while_for(&mut state, waiting, left);
            state.stopping = true;
            drop(state);
            shard.changed.notify_all();
        }
        for thread in self.threads.lock().drain(..) {
            if thread.join().is_err() {
                log::error!("a reply thread panicked");
            }
        }
    }
}

impl Place {
    /// Keeps a request until its answer is there.
    pub(super) fn park(self, shared: &Shared, waiting: Waiting, output: Output) {
        shared.shards.parked.add(1);
        let mut state = self.shard.state.lock();
        let parked = Parked { waiting, output };
        state.parked.insert(self.link.key, parked);
        state.woken.push(self.link.key);
        drop(state);
        self.shard.changed.notify_one();
    }
}

impl Shard {
    /// The life of the thread that writes answers.
    fn run(&self, shared: &Shared) {
        let mut date = DateCache::new();
        while let Some(ready) = self.next() {
            for (mut parked, key) in ready {
                let poll = AssertUnwindSafe(|| parked.waiting.poll(&shared.site));
                match catch_unwind(poll) {
                    Ok(None) => self.park_again(key, parked),
                    Ok(Some(said)) => self.write(shared, parked, said, &mut date),
                    Err(_) => {
                        log::error!("an exchange failed inside the server");
                        shared.shards.parked.sub(1);
                    }
                }
            }
            self.state.lock().looked_at = 0;
            self.changed.notify_all();
        }
    }

    fn write(&self, shared: &Shared, parked: Parked, said: Said, date: &mut DateCache) {
        shared.shards.parked.sub(1);
        let Parked { waiting, output } = parked;
        drop(waiting);
        match said {
            Said::Answer(answer, format) => output.answer(shared, &format, answer, date),
            Said::Finished(finished) => output.finished(shared, finished, date),
        }
    }

    /// Waits for wakes; takes out the requests they are for. `None`: the end.
    fn next(&self) -> Option<Vec<(Parked, u64)>> {
        let mut state = self.state.lock();
        loop {
            if state.stopping {
                return None;
            }
            if !state.woken.is_empty() {
                break;
            }
            self.changed.wait(&mut state);
        }
        let mut woken = std::mem::take(&mut state.woken);
        woken.sort_unstable();
        woken.dedup();
        let parked = &mut state.parked;
        let ready: Vec<_> = woken
            .into_iter()
            .filter_map(|key| parked.remove(&key).map(|one| (one, key)))
            .collect();
        state.looked_at = ready.len();
        Some(ready)
    }

    /// It was woken for nothing. A wake that comes while it is out waits in `woken`, and this
    /// thread looks there next.
    fn park_again(&self, key: u64, parked: Parked) {
        self.state.lock().parked.insert(key, parked);
    }
}
