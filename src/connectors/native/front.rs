//! All connections of one I/O thread. Each begins with HTTP, and may turn into something else.

use std::sync::Arc;

use super::connection::{Becomes, Connection};
use super::events::{EventStream, EventStreams};
use super::service::Native;
use super::shared::{Shared, ThreadCounter};
use super::socket::{Socket, Sockets};
use crate::tcp::reactor::{CloseReason, Io, Refuse, Service};
use crate::transport::WakeSink;

/// A connection of any kind.
#[allow(clippy::large_enum_variant)] // the usual two cost no second allocation
pub(super) enum Conn {
    Http(Connection),
    Socket(Socket),
    Events(Box<EventStream>),
}

/// The service of one I/O thread.
pub(super) struct Front {
    shared: Arc<Shared>,
    http: Native,
    sockets: Sockets,
    events: EventStreams,
}

/// Hands a callback to whoever has to do with that kind of connection.
macro_rules! by_kind {
    ($self:ident, $conn:ident, $callback:ident $(, $argument:expr)*) => {
        match $conn {
            Conn::Http(http) => $self.http.$callback(http $(, $argument)*),
            Conn::Socket(socket) => $self.sockets.$callback(socket $(, $argument)*),
            Conn::Events(stream) => $self.events.$callback(stream $(, $argument)*),
        }
    };
}

impl Service for Front {
    type Conn = Conn;

    fn open(&mut self, io: &mut Io<'_>) -> Result<Conn, Refuse> {
        self.http.open(io).map(Conn::Http)
    }

    fn input(&mut self, conn: &mut Conn, io: &mut Io<'_>, input: &[u8]) -> usize {
        let taken = by_kind!(self, conn, input, io, input);
        let Conn::Http(http) = conn else {
            return taken;
        };
        let Some(becomes) = http.becomes.take() else {
            return taken;
        };
        self.shared
            .input
            .change(std::mem::take(&mut http.booked), 0);
        *conn = self.turn_into(*becomes, io);
        let rest = &input[taken..];
        if rest.is_empty() || io.is_closing() {
            return taken;
        }
        taken + by_kind!(self, conn, input, io, rest)
    }

    fn end_of_input(&mut self, conn: &mut Conn, io: &mut Io<'_>) {
        by_kind!(self, conn, end_of_input, io);
    }

    fn woken(&mut self, conn: &mut Conn, io: &mut Io<'_>) {
        by_kind!(self, conn, woken, io);
    }

    fn timer(&mut self, conn: &mut Conn, io: &mut Io<'_>) {
        by_kind!(self, conn, timer, io);
    }

    fn drained(&mut self, conn: &mut Conn, io: &mut Io<'_>) {
        by_kind!(self, conn, drained, io);
    }

    fn received(&mut self, conn: &mut Conn, io: &mut Io<'_>) {
        match conn {
            Conn::Http(http) => self.http.received(http, io),
            Conn::Socket(socket) => self.sockets.received(socket, io),
            // Its session lives for as long as the stream.
            Conn::Events(_) => {}
        }
    }

    fn stopping(&mut self, conn: &mut Conn, io: &mut Io<'_>) {
        by_kind!(self, conn, stopping, io);
    }

    fn closed(&mut self, conn: Conn, reason: CloseReason) {
        if reason == CloseReason::Panic {
            // What had been put together for it must not go to the next.
            self.http.sender.forget();
            self.sockets.forget();
            self.events.forget();
        }
        match conn {
            Conn::Http(http) => self.http.closed(http, reason),
            Conn::Socket(socket) => self.sockets.closed(&socket),
            Conn::Events(stream) => self.events.closed(&stream),
        }
    }
}

impl Front {
    pub(super) fn new(
        shared: &Arc<Shared>,
        sink: Arc<dyn WakeSink>,
        requests: Arc<ThreadCounter>,
    ) -> Self {
        let counter = Arc::clone(&requests);
        Self {
            sockets: Sockets::new(Arc::clone(shared), Arc::clone(&sink), counter),
            events: EventStreams::new(Arc::clone(shared)),
            http: Native::new(Arc::clone(shared), sink, requests),
            shared: Arc::clone(shared),
        }
    }

    /// What came before on the connection has been answered.
    fn turn_into(&mut self, becomes: Becomes, io: &mut Io<'_>) -> Conn {
        match becomes {
            Becomes::Socket(peer) => Conn::Socket(self.sockets.begin(peer, io)),
            Becomes::Events(session) => Conn::Events(Box::new(self.events.begin(session, io))),
        }
    }
}
