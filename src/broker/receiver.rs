//! Receivers that take a session's messages as they come, from the side of the connection: a
//! WebSocket, or a stream of events.
//!
//! A session has at most one. It is woken when there is something, collects what waits, and says
//! when the kernel has it; until then nothing more is collected, so a slow reader has one flight
//! in its connection and the rest in its session's bounded queue.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Instant;

use super::answer::Unread;
use super::core::Core;
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

/// A connection's tie to a session whose messages it takes. Dropping it says that the connection
/// has gone: what it had not finished writing waits again, and the session goes into its grace
/// period.
pub struct Attachment {
    core: Arc<Core>,
    session: Arc<Session>,
    number: u64,
    flight: Option<NonZeroU64>,
    /// The kernel did not take it at once.
    stalled: bool,
}

impl Attachment {
    pub(crate) fn new(core: &Arc<Core>, session: &Arc<Session>, number: u64) -> Self {
        Self {
            core: Arc::clone(core),
            session: Arc::clone(session),
            number,
            flight: None,
            stalled: false,
        }
    }

    /// Takes what waits, as many messages as fit into `budget` bytes, but at least one; to be
    /// called when the connection was woken. After any were given, no more are until they were
    /// [`delivered`](Self::delivered).
    ///
    /// # Errors
    /// Why the tie has ended; it is to be dropped.
    pub fn collect(
        &mut self,
        budget: usize,
        out: &mut Vec<Arc<Publication>>,
    ) -> Result<Collected, Ended> {
        let mut state = self.session.lock();
        if let Some(ended) = state.ended(self.number) {
            return Err(ended);
        }
        let answers = state.take_hold_changed();
        let collected = state.collect(budget, out);
        let messages = collected.is_some();
        self.flight = collected.and_then(NonZeroU64::new).or(self.flight);
        Ok(Collected { messages, answers })
    }

    /// Whether messages were collected and not delivered yet.
    pub fn is_in_flight(&self) -> bool {
        self.flight.is_some()
    }

    /// Whether there is something to collect now.
    pub fn has_more(&self) -> bool {
        let state = self.session.lock();
        state.ended(self.number).is_none() && state.ready() && state.is_streaming()
    }

    /// Whether a newer connection of the client waits for what this one has not finished writing:
    /// then this one is to be closed.
    pub fn is_cut(&self) -> bool {
        self.flight
            .is_some_and(|flight| self.session.lock().is_cut(flight.get()))
    }

    /// The kernel has not taken all of what was collected at once: from now on it counts against
    /// the limits of the session's queue, and the session lives until it is written.
    pub fn stalled(&mut self) {
        let Some(flight) = self.flight else {
            return;
        };
        let mut state = self.session.lock();
        state.stalled(flight.get());
        if !self.stalled {
            self.stalled = true;
            state.begin_reading();
        }
    }

    /// The kernel took the last byte of what was collected. Wakes the connection if more waits.
    /// What it did not take at once the client may not have received yet: then the session lives
    /// for as long as the value returned.
    pub fn delivered(&mut self) -> Option<Unread> {
        let flight = self.flight.take()?;
        let freed = self
            .core
            .change(&self.session, |state| state.commit_flight(flight.get()));
        self.core.budget.left(freed);
        let stalled = std::mem::take(&mut self.stalled);
        stalled.then(|| Unread::begun(&self.core, &self.session))
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        let now = self.core.clock.now();
        self.core.change(&self.session, |state| {
            if let Some(flight) = self.flight {
                state.abort_flight(flight.get());
            }
            if self.stalled {
                state.end_reading(now);
            }
            if let Some(kind) = state.detach(self.number) {
                state.extend_to(self.core.grace(kind, now));
            }
            self.core.ticker.schedule(&self.session, state);
        });
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
