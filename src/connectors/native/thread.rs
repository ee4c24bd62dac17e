//! One I/O thread and its connections. Each begins with HTTP, and may turn into something else.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use super::events::EventStream;
use super::http1::{Becomes, HttpConnection};
use super::outbound::{Outbound, Ready};
use super::server::{Shared, ThreadCounter};
use super::websocket::{Limits, Socket};
use crate::clock::Clock;
use crate::http::DateCache;
use crate::tcp::reactor::{CloseReason, Io, Refuse, Service};
use crate::transport::{ConnectionHandle, WakeSink};

/// A connection of any kind.
#[allow(clippy::large_enum_variant)] // the usual two cost no second allocation
pub(super) enum Conn {
    Http(HttpConnection),
    Socket(Socket),
    Events(Box<EventStream>),
}

impl Conn {
    fn outbound(&mut self) -> &mut Outbound {
        match self {
            Self::Http(http) => &mut http.outbound,
            Self::Socket(socket) => &mut socket.outbound,
            Self::Events(stream) => &mut stream.outbound,
        }
    }

    /// Whether messages that the kernel has not taken are wanted elsewhere.
    fn is_cut(&self) -> bool {
        match self {
            Self::Http(http) => http.outbound.is_cut(),
            Self::Socket(socket) => socket.is_cut(),
            Self::Events(stream) => stream.is_cut(),
        }
    }
}

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
    pub(super) limits: Limits,
}

/// Hands a callback to whoever has to do with that kind of connection.
macro_rules! by_kind {
    ($conn:ident, $callback:ident($($argument:expr),*)) => {
        match $conn {
            Conn::Http(http) => http.$callback($($argument),*),
            Conn::Socket(socket) => socket.$callback($($argument),*),
            Conn::Events(stream) => stream.$callback($($argument),*),
        }
    };
}

impl Service for Thread {
    type Conn = Conn;

    fn open(&mut self, io: &mut Io<'_>) -> Result<Conn, Refuse> {
        Ok(Conn::Http(HttpConnection::open(self, io)))
    }

    fn input(&mut self, conn: &mut Conn, io: &mut Io<'_>, input: &[u8]) -> usize {
        let taken = by_kind!(conn, input(self, io, input));
        let Conn::Http(http) = conn else {
            return taken;
        };
        let Some(becomes) = http.becomes.take() else {
            return taken;
        };
        self.shared.input.change(http.booked, 0);
        let outbound = std::mem::take(&mut http.outbound);
        *conn = match *becomes {
            Becomes::Socket(peer) => Conn::Socket(Socket::begin(self, io, peer, outbound)),
            Becomes::Events(session) => {
                Conn::Events(EventStream::begin(self, io, session, outbound))
            }
        };
        let rest = &input[taken..];
        if rest.is_empty() || io.is_closing() {
            return taken;
        }
        taken + by_kind!(conn, input(self, io, rest))
    }

    fn end_of_input(&mut self, conn: &mut Conn, io: &mut Io<'_>) {
        by_kind!(conn, end_of_input(self, io));
    }

    fn woken(&mut self, conn: &mut Conn, io: &mut Io<'_>) {
        if conn.is_cut() {
            // The peer has got a part of it; only the end of the connection tells it so.
            return io.abort();
        }
        by_kind!(conn, woken(self, io));
    }

    fn timer(&mut self, conn: &mut Conn, io: &mut Io<'_>) {
        by_kind!(conn, timer(self, io));
    }

    fn drained(&mut self, conn: &mut Conn, io: &mut Io<'_>) {
        by_kind!(conn, drained(self, io));
    }

    fn received(&mut self, conn: &mut Conn, io: &mut Io<'_>) {
        conn.outbound().received(io);
        if let Conn::Http(http) = conn {
            http.received(self, io);
        }
    }

    fn stopping(&mut self, conn: &mut Conn, io: &mut Io<'_>) {
        by_kind!(conn, stopping(self, io));
    }

    fn closed(&mut self, mut conn: Conn, reason: CloseReason) {
        if reason == CloseReason::Panic {
            // What had been put together for it must not go to the next.
            self.ready.abort();
        }
        conn.outbound().abort();
        by_kind!(conn, closed(self));
    }
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
            limits: Limits::new(&shared.config, shared.site.broker().config()),
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
