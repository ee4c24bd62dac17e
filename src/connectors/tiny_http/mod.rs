//! The small, portable connector, on the `tiny_http` library: no poller, blocking reads and writes.
//!
//! In scope: handing requests of the library to the site, parking held connects, writing answers.
//! Out of scope: what requests mean; WebSocket and event streams, which the library cannot carry.
//!
//! A fixed pool of workers waits in the library's `recv`. A request whose answer comes later is
//! parked in a `shard`: a mutex, a condvar and one thread that writes the answers.
//!
//! # Limits of the library
//! It has one thread per connection, no time limits for reading, stops accepting after one error,
//! and allocates what an unread body claims to be long. A write timeout on the listener, which
//! accepted sockets inherit, a new start after errors (`listen`), care with unread bodies
//! (`intake`), and a reminder of connections that arrived in a burst (`knocker`) keep the service
//! up. It cannot see that the peer of a held connect has left, and as many half-sent bodies as
//! there are workers stop it. For trusted networks.

mod intake;
mod knocker;
mod listen;
mod output;
mod shard;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use self::listen::Intake;
use self::shard::Shards;
use crate::clock::Clock;
use crate::counters::Counter;
use crate::http::Site;

/// The knobs of this connector.
#[derive(Clone, Debug)]
pub struct TinyHttpConfig {
    /// Threads that read and execute requests. Default 4.
    pub workers: usize,
    /// Groups of parked connects, each with a thread that writes answers. Default 2.
    pub shards: usize,
    /// How long a peer may take nothing of what is written. Default 30 s.
    pub write_timeout: Duration,
}

impl Default for TinyHttpConfig {
    fn default() -> Self {
        Self {
            workers: 4,
            shards: 2,
            write_timeout: Duration::from_secs(30),
        }
    }
}

/// What the connector has done so far, and holds at present.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TinyHttpStats {
    /// Requests that were read.
    pub requests: u64,
    /// Requests whose answer is not there yet, at present.
    pub parked: u64,
    /// Answers that could not be written.
    pub failed_writes: u64,
    /// Times the library had to be started anew.
    pub rebuilds: u64,
}

#[derive(Default)]
struct Counts {
    requests: Counter,
    failed_writes: Counter,
    rebuilds: Counter,
}

/// A running connector. Stops when dropped.
pub struct TinyHttp {
    addresses: Vec<SocketAddr>,
    intakes: Vec<Arc<Intake>>,
    workers: Vec<JoinHandle<()>>,
    shared: Arc<Shared>,
}

/// What the threads share.
struct Shared {
    site: Arc<Site>,
    clock: Arc<dyn Clock>,
    shards: Shards,
    counts: Counts,
    stopping: AtomicBool,
}

impl TinyHttp {
    /// Serves the site on listeners that are bound already.
    ///
    /// # Errors
    /// If a socket refuses its options or a thread cannot be started.
    pub fn start(
        config: &TinyHttpConfig,
        listeners: Vec<TcpListener>,
        site: &Arc<Site>,
        clock: &Arc<dyn Clock>,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            site: Arc::clone(site),
            clock: Arc::clone(clock),
            shards: Shards::new(config.shards),
            counts: Counts::default(),
            stopping: AtomicBool::new(false),
        });
        let mut running = Self {
            addresses: Vec::new(),
            intakes: Vec::new(),
            workers: Vec::new(),
            shared: Arc::clone(&shared),
        };
        shared.shards.start(&shared)?;
        for listener in listeners {
            running.addresses.push(listener.local_addr()?);
            let intake = Arc::new(Intake::open(listener, config.write_timeout)?);
            running.intakes.push(Arc::clone(&intake));
            let (knocks, knocker) = (Arc::clone(&intake), Builder::new());
            let knocker = knocker.name("bayeux-tiny-knock".to_owned());
            running.workers.push(knocker.spawn(move || knocks.knock())?);
            for n in 0..config.workers.max(1) {
                let (shared, intake) = (Arc::clone(&shared), Arc::clone(&intake));
                let worker = Builder::new().name(format!("bayeux-tiny-{n}"));
                running
                    .workers
                    .push(worker.spawn(move || intake::work(&shared, &intake))?);
            }
        }
        Ok(running)
    }

    /// The addresses that are served.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Takes no new connections and requests from now on; those at hand go on.
    pub fn stop_accepting(&self) {
        self.shared.stopping.store(true, Ordering::Release);
        for intake in &self.intakes {
            intake.close();
        }
    }

    /// Waits for the workers, and for parked answers at the most so long; then ends.
    pub fn stop(mut self, grace: Duration) {
        self.end(grace);
    }

    fn end(&mut self, grace: Duration) {
        self.stop_accepting();
        for thread in self.workers.drain(..) {
            if thread.join().is_err() {
                log::error!("a tiny_http worker panicked");
            }
        }
        self.shared.shards.stop(grace, &*self.shared.clock);
    }

    /// What it has done so far.
    pub fn stats(&self) -> TinyHttpStats {
        let counts = &self.shared.counts;
        TinyHttpStats {
            requests: counts.requests.get(),
            parked: self.shared.shards.parked(),
            failed_writes: counts.failed_writes.get(),
            rebuilds: counts.rebuilds.get(),
        }
    }
}

impl Drop for TinyHttp {
    fn drop(&mut self) {
        self.end(Duration::ZERO);
    }
}
