//! The connections of one I/O thread: gives each event to the connection's kind. Each begins with
//! HTTP, and may turn into something else.

use super::events::EventStream;
use super::http1::{Becomes, HttpConnection};
use super::outbound::Outbound;
use super::thread::Thread;
use super::websocket::Socket;
use crate::tcp::reactor::{CloseReason, Io, Refuse, Service, Turn};

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
        let (outbound, ip) = (std::mem::take(&mut http.outbound), http.served_ip);
        *conn = match *becomes {
            Becomes::Socket(peer) => Conn::Socket(Socket::begin(self, io, peer, outbound)),
            Becomes::Events(session) => {
                Conn::Events(EventStream::begin(self, io, ip, session, outbound))
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

    fn turn_ended(&mut self, turn: &mut Turn<'_, Conn>) {
        if let Some(at) = self.look_at_postponed(turn.now()) {
            turn.wake_at(at);
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
