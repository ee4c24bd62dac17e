//! What the connector's threads have in common: the site, the limits, and what is counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crossbeam_utils::CachePadded;

use super::config::NativeConfig;
use crate::clock::Clock;
use crate::counters::{Counter, Gauge};
use crate::http::Site;

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
