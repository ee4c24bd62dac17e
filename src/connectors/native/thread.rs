//! What connections have in common: those of one I/O thread, and those of all.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crossbeam_utils::CachePadded;

use super::config::{NativeConfig, SocketLimits};
use super::outbound::Ready;
use crate::clock::Clock;
use crate::counters::{Counter, Gauge};
use crate::http::{DateCache, Site};
use crate::tcp::reactor::Io;
use crate::transport::{ConnectionHandle, WakeSink};
use crate::util::{Booking, Owner};

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
    /// Connections that have something to do once less output waits for their owners, and when
    /// to look at them again.
    postponed: HashSet<u64>,
    look: Option<Instant>,
}

/// What a connection has taken of the input of all; no memory while that is nothing.
pub(super) type InputBooking = Option<Box<Booking<Owner>>>;

impl Thread {
    pub(super) fn new(
        shared: &Arc<Shared>,
        sink: Arc<dyn WakeSink>,
        requests: Arc<ThreadCounter>,
    ) -> Self {
        Self {
            sink,
            requests,
            ready: Ready::new(Arc::clone(&shared.site.traffic.output)),
            date: TurnDate::new(Arc::clone(&shared.clock)),
            scratch: Vec::new(),
            limits: SocketLimits::new(&shared.config, shared.site.broker().config()),
            shared: Arc::clone(shared),
            postponed: HashSet::new(),
            look: None,
        }
    }

    /// The connection, for the broker.
    pub(super) fn handle(&self, io: &Io<'_>) -> ConnectionHandle {
        ConnectionHandle {
            sink: Arc::clone(&self.sink),
            key: io.key(),
        }
    }

    /// Books what a connection of that address holds of unfinished requests. `false` if that is
    /// more than it may: the connection has to give it back.
    pub(super) fn book_input(&self, booking: &mut InputBooking, ip: IpAddr, holds: usize) -> bool {
        if holds == 0 {
            // Most connections never hold anything.
            *booking = None;
            return true;
        }
        let owner = Owner::from(ip);
        drop(booking.take_if(|booking| booking.owner() != owner));
        let input = &self.shared.site.traffic.input;
        let booking = booking.get_or_insert_with(|| Box::new(Booking::new(input, owner)));
        booking.set(holds).is_ok()
    }

    /// Whether more may be made for that address, which has to read what waits for it first.
    pub(super) fn has_room(&self, ip: IpAddr) -> bool {
        self.shared.site.traffic.output.has_room(ip)
    }

    /// Comes back to the connection later: there is no room for what it has to do.
    pub(super) fn postpone(&mut self, io: &Io<'_>) {
        self.postponed.insert(io.key());
    }

    /// Has some of those looked at that were postponed. When to come back, if any are left.
    pub(super) fn look_at_postponed(&mut self, now: Instant) -> Option<Instant> {
        if self.postponed.is_empty() {
            self.look = None;
            self.postponed.shrink_to_fit();
            return None;
        }
        if self.look.is_some_and(|at| at <= now) {
            let some: Vec<u64> = self.postponed.iter().copied().take(LOOKED_AT).collect();
            for key in &some {
                self.postponed.remove(key);
            }
            self.sink.wake(&some);
            self.look = None;
        }
        Some(*self.look.get_or_insert(now + LOOK))
    }

    /// Comes back to the connection when the others had their turn.
    pub(super) fn come_back(&self, io: &Io<'_>) {
        self.sink.wake(&[io.key()]);
    }
}

/// How often those are looked at that were postponed, and how many of them.
const LOOK: Duration = Duration::from_millis(50);
const LOOKED_AT: usize = 256;

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
    /// WebSockets at present.
    pub(super) sockets: Gauge,
    /// Streams of events at present.
    pub(super) streams: Gauge,
}

impl Shared {
    pub(super) fn new(config: NativeConfig, site: Arc<Site>, clock: Arc<dyn Clock>) -> Self {
        Self {
            site,
            clock,
            config,
            sockets: Gauge::default(),
            streams: Gauge::default(),
        }
    }
}

/// What one thread counts at every request, in a cache line that no other thread writes to.
pub(super) type ThreadCounter = CachePadded<Counter>;
