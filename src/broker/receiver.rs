//! Receivers that take a session's messages as they come, from the side of the connection: a
//! WebSocket, or a stream of events.
//!
//! A session has at most one. It is woken when there is something, collects what waits, and says
//! when the kernel has it; until then nothing more is collected, so a slow reader has one write's
//! messages in its connection and the rest in its session's bounded queue.

use std::sync::Arc;
use std::time::Instant;

use super::answer::Exchange;
use super::core::Core;
use super::in_flight::InFlight;
use super::session::{Gone, Session};
use crate::protocol::{Advice, ClientId, ErrorText, Publication, ReplyTo, ShownId, error};
use crate::transport::{ConnectionHandle, Peer};

/// What the session remembers of its receiver.
pub(crate) struct Receiver {
    /// Tells it from those before and after it.
    pub(crate) number: u64,
    pub(crate) connection: ConnectionHandle,
    pub(crate) kind: Kind,
    /// Messages go there. Without that, it is only told when the session ends.
    pub(crate) delivers: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A client in this process, for life.
    Local,
    /// A WebSocket. Connects keep its sessions alive.
    Socket,
    /// A stream of events, which keeps its session alive by being there.
    Events,
}

/// Why a connection is no longer where its session's messages go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// A newer socket or stream of the client took over.
    TakenOver,
    /// The client went back to polling.
    Released,
    /// There is no session any more.
    Gone {
        /// Why.
        reason: Gone,
    },
}

/// What a look at a session brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Collected {
    /// There are messages.
    pub messages: bool,
    /// Connects of the session that are held may have their answers: something has happened to
    /// them since the last look.
    pub answers: bool,
}

/// A connection's tie to a session whose messages it takes.
pub struct Attachment {
    in_flight: InFlight,
    /// By which the session knows its receiver; 0 when it was detached.
    number: u64,
}

impl Attachment {
    pub(crate) fn new(core: &Arc<Core>, session: &Arc<Session>, number: u64) -> Self {
        Self {
            in_flight: InFlight::new(core, session),
            number,
        }
    }

    /// Takes what waits, as many messages as fit into `budget` bytes, but at least one; to be
    /// called when the connection was woken. After any were given, no more are until they were
    /// [committed](InFlight::commit).
    ///
    /// # Errors
    /// Why the tie has ended; it is to be detached.
    pub fn collect(
        &mut self,
        budget: usize,
        out: &mut Vec<Arc<Publication>>,
    ) -> Result<Collected, Ended> {
        let mut state = self.in_flight.session.lock();
        if let Some(ended) = state.ended(self.number) {
            return Err(ended);
        }
        let answers = state.take_hold_changed();
        let collected = state.collect(budget, out);
        drop(state);
        let messages = collected.is_some();
        if let Some(number) = collected {
            self.in_flight.begin(number);
        }
        Ok(Collected { messages, answers })
    }

    /// The session is to wake the connection by this handle of it.
    pub fn wake_by(&self, handle: &ConnectionHandle) {
        let mut state = self.in_flight.session.lock();
        state.wake_by(self.number, handle);
    }

    /// Whether a connect of the session is held there.
    pub fn has_held(&self, exchange: &Exchange) -> bool {
        exchange.is_held_for(&self.in_flight.session)
    }

    /// What was collected and is neither committed nor aborted.
    pub fn in_flight(&mut self) -> Option<&mut InFlight> {
        Some(&mut self.in_flight).filter(|in_flight| in_flight.carries_messages())
    }

    /// Whether there is something [in flight](Self::in_flight).
    pub fn is_in_flight(&self) -> bool {
        self.in_flight.carries_messages()
    }

    /// Whether there is something to collect now.
    pub fn has_more(&self) -> bool {
        let state = self.in_flight.session.lock();
        state.ended(self.number).is_none() && state.ready() && state.is_streaming()
    }

    /// Whether a newer connection of the client waits for what this one has not finished writing:
    /// then this one is to be closed.
    pub fn is_cut(&self) -> bool {
        self.in_flight.is_cut()
    }

    /// The connection has gone: what it had not finished writing waits again, and the session goes
    /// into its grace period. Dropping it does the same.
    pub fn detach(mut self) {
        self.end();
    }

    fn end(&mut self) {
        let number = std::mem::take(&mut self.number);
        if number == 0 {
            return;
        }
        self.in_flight.abort();
        let InFlight { core, session, .. } = &self.in_flight;
        let now = core.clock.now();
        core.change(session, |state| {
            if let Some(kind) = state.detach(number) {
                state.extend_to(core.grace(kind, now));
            }
            core.ticker.schedule(session, state);
        });
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        self.end();
    }
}

/// Why there is no stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoStream {
    /// No such session, or not for this browser.
    Unknown,
    /// The server is about to stop.
    Draining,
}

impl NoStream {
    fn error(self) -> (ErrorText, Option<Advice>) {
        match self {
            Self::Unknown => (error::session_unknown(), Some(Advice::handshake(0))),
            Self::Draining => (error::draining(), None),
        }
    }

    /// The array that tells the client, as the answer to a connect would.
    pub fn array(self) -> Vec<u8> {
        let reply_to = ReplyTo {
            channel_raw: "\"/meta/connect\"",
            id: None,
            client_id: None,
            subscription: None,
        };
        let (error, advice) = self.error();
        let mut array = vec![b'['];
        reply_to
            .failure(&mut array, &error, advice.as_ref())
            .finish();
        array.push(b']');
        array
    }
}

impl Core {
    /// Makes the connection the stream of events of a session. What had its messages before ends.
    pub(crate) fn open_stream(
        self: &Arc<Self>,
        peer: &Peer,
        client: &str,
        connection: &ConnectionHandle,
    ) -> Result<Attachment, NoStream> {
        let stream = self.stream_of(peer, client, connection);
        if let Err(refused) = &stream {
            let (error, _) = refused.error();
            self.counters.failed.count(&error);
            log::debug!(
                "failed: a stream of events for {}: {} {}",
                ShownId(Some(client)),
                error.code(),
                error.text()
            );
        }
        stream
    }

    fn stream_of(
        self: &Arc<Self>,
        peer: &Peer,
        client: &str,
        connection: &ConnectionHandle,
    ) -> Result<Attachment, NoStream> {
        if self.is_draining() {
            return Err(NoStream::Draining);
        }
        let session = self.known(ClientId::parse(client).as_ref(), peer.browser);
        let session = session.map_err(|_| NoStream::Unknown)?;
        let mut state = session.lock();
        if state.gone().is_some() && !state.is_parting() {
            return Err(NoStream::Unknown);
        }
        let cut = state.cut(connection);
        let (number, older) = state.attach(connection, Kind::Events, !session.deliver_only);
        let waiting = state.next_wake().cloned();
        drop(state);
        for woken in [cut, older, waiting].into_iter().flatten() {
            woken.sink.wake(&[woken.key]);
        }
        Ok(Attachment::new(self, &session, number))
    }

    /// Until when a session lives that has lost its receiver.
    fn grace(&self, kind: Kind, now: Instant) -> Instant {
        let config = &self.config;
        let told = match kind {
            // Its client was told to make its next connect after so long.
            Kind::Events => config.timeout,
            Kind::Local | Kind::Socket => config.interval,
        };
        now + told + config.max_interval
    }
}
