//! The small, portable connector, on the `tiny_http` library: no poller, blocking reads and writes.
//!
//! In scope: handing requests of the library to the site, parking held connects, writing answers.
//! Out of scope: what requests mean; WebSocket and event streams, which the library cannot carry.
//!
//! A fixed pool of workers waits for requests (`intake`) and has them executed (`request`). A
//! request whose answer comes later is parked with its client (`parking`).
//!
//! # Limits of the library
//! It has one thread per connection, no time limits for reading, stops accepting after one error,
//! and allocates what an unread body claims to be long. A write timeout that accepted sockets
//! inherit, a new start after errors, a nudge after bursts and care with unread bodies keep the
//! service up. It cannot see that the peer of a held connect has left, and as many half-sent bodies
//! as there are workers stop it. For trusted networks.

mod intake;
mod parking;
mod request;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use self::intake::Intake;
use self::parking::Parking;
use crate::clock::Clock;
use crate::counters::Counter;
use crate::http::{DateCache, Finished, Output, Site};

/// The knobs of this connector.
#[derive(Clone, Debug)]
pub(crate) struct TinyHttpConfig {
    /// Threads that read and execute requests. Default 4.
    pub workers: usize,
    /// Groups of clients with held connects, each with a thread that writes answers. Default 2.
    pub shards: usize,
    /// How long a peer may take nothing of what is written. Default 30 s.
    pub write_timeout: Duration,
}

impl Default for TinyHttpConfig {
    fn default() -> Self {
        let write_timeout = Duration::from_secs(30);
        Self {
            workers: 4,
            shards: 2,
            write_timeout,
        }
    }
}

/// What the connector has done so far, and holds at present.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub(crate) struct TinyHttpStats {
    /// Requests that were read.
    pub requests: u64,
    /// Requests whose answer is not there yet, at present.
    pub parked: u64,
    /// Answers that could not be written.
    pub failed_writes: u64,
    /// Times the library had to be started anew.
    pub rebuilds: u64,
}

/// A running connector. Dropping it stops it at once.
pub(crate) struct TinyHttp {
    intakes: Vec<Arc<Intake>>,
    workers: Threads,
    repliers: Threads,
    shared: Arc<Shared>,
}

/// What the threads share.
struct Shared {
    site: Arc<Site>,
    clock: Arc<dyn Clock>,
    parking: Parking,
    requests: Counter,
    failed_writes: Counter,
}

impl Shared {
    fn write(&self, output: Output, finished: Finished, date: &mut DateCache) {
        if let Err(error) = output.write(finished, date.at(self.clock.wall())) {
            self.failed_writes.one();
            log::debug!("a response was not written: {error}");
        }
    }
}

impl TinyHttp {
    /// Serves the site on listeners that are bound already.
    ///
    /// # Errors
    /// If a socket refuses its options or a thread cannot be started.
    pub(crate) fn start(
        config: &TinyHttpConfig,
        listeners: Vec<TcpListener>,
        site: &Arc<Site>,
        clock: &Arc<dyn Clock>,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            site: Arc::clone(site),
            clock: Arc::clone(clock),
            parking: Parking((0..config.shards.max(1)).map(|_| Arc::default()).collect()),
            requests: Counter::default(),
            failed_writes: Counter::default(),
        });
        let mut running = Self {
            intakes: Vec::new(),
            workers: Threads::default(),
            repliers: Threads::default(),
            shared,
        };
        for (n, shard) in running.shared.parking.0.iter().enumerate() {
            let (shared, shard) = (Arc::clone(&running.shared), Arc::clone(shard));
            let reply = move || shared.parking.write_answers(&shard, &shared);
            running
                .repliers
                .start(&format!("bayeux-reply-{n}"), reply)?;
        }
        for listener in listeners {
            let intake = Arc::new(Intake::open(listener, config.write_timeout)?);
            running.intakes.push(Arc::clone(&intake));
            for n in 0..config.workers.max(1) {
                let (shared, intake) = (Arc::clone(&running.shared), Arc::clone(&intake));
                let work = move || request::work(&shared, &intake);
                running.workers.start(&format!("bayeux-tiny-{n}"), work)?;
            }
            running
                .workers
                .start("bayeux-nudge", move || intake.nudge())?;
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
        self.workers.join();
        self.shared.parking.stop(grace, &*self.shared.clock);
        self.repliers.join();
    }

    /// What it has done so far.
    pub(crate) fn stats(&self) -> TinyHttpStats {
        let rebuilds = self.intakes.iter().map(|intake| intake.rebuilds.get());
        TinyHttpStats {
            requests: self.shared.requests.get(),
            parked: self.shared.parking.parked(),
            failed_writes: self.shared.failed_writes.get(),
            rebuilds: rebuilds.sum(),
        }
    }
}

impl Drop for TinyHttp {
    fn drop(&mut self) {
        self.end(Duration::ZERO);
    }
}

#[derive(Default)]
struct Threads(Vec<JoinHandle<()>>);

impl Threads {
    fn start(&mut self, name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
        self.0
            .push(Builder::new().name(name.to_owned()).spawn(work)?);
        Ok(())
    }

    fn join(&mut self) {
        for thread in self.0.drain(..) {
            if thread.join().is_err() {
                log::error!("a thread of the tiny_http connector panicked");
            }
        }
    }
}
