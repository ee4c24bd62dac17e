//! What connections have in common: those of one I/O thread, and those of all.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Instant, SystemTime};

use crossbeam_utils::CachePadded;

use super::config::{NativeConfig, SocketLimits};
use super::outbound::Ready;
use crate::clock::Clock;
use crate::counters::{Counter, Gauge};
use crate::http::{DateCache, Site};
use crate::tcp::reactor::Io;
use crate::transport::{ConnectionHandle, WakeSink};

/// What the connections of one thread have in common.
pub(super) struct Thread {
    pub(super) shared: Arc<Shared>,
    pub(super) sink: Arc<dyn WakeSink>,
    pub(super) requests: Arc<ThreadCounter>,
    /// What is being put together for the connection at hand.
    pub(super) ready: Ready,
    pub(super) date: TurnDate,
    /// Where the WebSocket message at hand is.
    pub(super) scratch: Vec<u8>,
    pub(super) limits: SocketLimits,
}

impl Thread {
    pub(super) fn new(
        shared: &Arc<Shared>,
        sink: Arc<dyn WakeSink>,
        requests: Arc<ThreadCounter>,
    ) -> Self {
        Self {
            sink,
            requests,
            ready: Ready::new(),
            date: TurnDate::new(Arc::clone(&shared.clock)),
            scratch: Vec::new(),
            limits: SocketLimits::new(&shared.config, shared.site.broker().config()),
            shared: Arc::clone(shared),
        }
    }

    /// The connection, for the broker.
    pub(super) fn handle(&self, io: &Io<'_>) -> ConnectionHandle {
        ConnectionHandle {
            sink: Arc::clone(&self.sink),
            key: io.key(),
        }
    }

    /// Comes back to the connection when the others had their turn.
    pub(super) fn come_back(&self, io: &Io<'_>) {
        self.sink.wake(&[io.key()]);
    }
}

/// The date in responses, the same for all of a turn.
pub(super) struct TurnDate {
    clock: Arc<dyn Clock>,
    cache: DateCache,
    /// The turn in which the wall clock was last looked at, and what it said.
    turn: Option<Instant>,
    wall: SystemTime,
}

impl TurnDate {
    fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            cache: DateCache::new(),
            turn: None,
            wall: SystemTime::UNIX_EPOCH,
        }
    }

    pub(super) fn at(&mut self, now: Instant) -> &str {
        if self.turn != Some(now) {
            self.turn = Some(now);
            self.wall = self.clock.wall();
        }
        self.cache.at(self.wall)
    }
}

/// One per connector.
pub(super) struct Shared {
    pub(super) site: Arc<Site>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) config: NativeConfig,
    pub(super) input: InputTotal,
    /// WebSockets at present.
    pub(super) sockets: Gauge,
    /// Streams of events at present.
    pub(super) streams: Gauge,
}

impl Shared {
    pub(super) fn new(config: NativeConfig, site: Arc<Site>, clock: Arc<dyn Clock>) -> Self {
        let input = InputTotal {
            bytes: AtomicUsize::new(0),
            limit: config.max_input_total,
        };
        Self {
            site,
            clock,
            config,
            input,
            sockets: Gauge::default(),
            streams: Gauge::default(),
        }
    }
}

/// What one thread counts at every request, in a cache line that no other thread writes to.
pub(super) type ThreadCounter = CachePadded<Counter>;

/// Bytes of unfinished requests over all connections, and their bound.
pub(super) struct InputTotal {
    bytes: AtomicUsize,
    limit: usize,
}

impl InputTotal {
    /// Books that a connection holds `now` bytes where it held `before`. `false` if that is more
    /// and brought the sum over the bound: the connection has to give its share back.
    pub(super) fn change(&self, before: usize, now: usize) -> bool {
        if now <= before {
            // Most connections never hold anything; they do not touch the shared number.
            if now < before {
                self.bytes.fetch_sub(before - now, Ordering::Relaxed);
            }
            return true;
        }
        self.bytes.fetch_add(now - before, Ordering::Relaxed) + (now - before) <= self.limit
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_adds_is_refused() {
        let total = InputTotal {
            bytes: AtomicUsize::new(0),
            limit: 10,
        };
        assert!(total.change(0, 6));
        assert!(total.change(0, 4));
        assert!(!total.change(6, 7), "the eleventh byte");
        assert!(total.change(4, 4), "who adds nothing may stay");
        assert!(total.change(7, 0));
        assert_eq!(total.bytes(), 4);
    }
}
