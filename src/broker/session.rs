//! One client as the server knows it: a state machine without locks of others, clocks or sockets.
//!
//! Every method of [`State`] takes the time as an argument and returns what is to be done once the
//! lock is released.

mod ending;
mod receiver;
mod times;
mod writer;

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};

use super::flags::Flags;
use super::held_limits::{Browser, Place};
use super::queue::{Outcome, Pushed, Queue, QueueLimits};
use super::receiver::Receiver;
use crate::protocol::{Advice, ClientId, LocalId, Pattern, Publication};
use crate::transport::{BrowserId, ConnectionHandle};
use crate::util::Owner;
pub(crate) use ending::Remains;
use times::Lifetime;
pub(crate) use times::WallTime;
use writer::Writer;

/// A session's place in the world. Shared by the registry, the subscription table, and whoever
/// answers it at the moment.
///
/// Its neighbours in memory are other sessions that other threads deliver to, so what changes with
/// each message has a cache line of its own, with what rarely changes around it, in the order
/// written here.
#[repr(C, align(64))]
pub(crate) struct Session {
    number: u64,
    identity: Identity,
    /// From the cookie at the handshake or of the socket, or issued with either. None after a
    /// handshake over a socket that has none.
    pub(crate) browser: Option<Browser>,
    /// The client asked for responses inside a comment.
    pub(crate) filtered: bool,
    /// Messages leave with connect replies only.
    pub(crate) deliver_only: bool,
    pub(crate) created: WallTime,
    /// What it is subscribed to. Held while the table is changed, so that both always agree; taken
    /// before `state`, never after it.
    pub(crate) subscriptions: Mutex<HashMap<Pattern, WallTime>>,
    state: Mutex<State>,
    /// What hooks remember about the client.
    pub(crate) flags: Flags,
    /// Where the handshake of a remote client came from, without a byte for what it is: `::` for
    /// none, and those of version 4 mapped into version 6.
    address: Ipv6Addr,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Identity {
    Remote(ClientId),
    Local(LocalId),
}

#[derive(Default)]
pub(crate) struct SessionSettings {
    pub(crate) browser: Option<BrowserId>,
    pub(crate) filtered: bool,
    pub(crate) deliver_only: bool,
    pub(crate) created: WallTime,
    pub(crate) address: Option<IpAddr>,
}

impl Session {
    pub(crate) fn new(number: u64, identity: Identity, settings: &SessionSettings) -> Self {
        Self {
            number,
            identity,
            browser: settings.browser.map(Browser::from),
            filtered: settings.filtered,
            deliver_only: settings.deliver_only,
            subscriptions: Mutex::default(),
            state: Mutex::new(State {
                local: matches!(identity, Identity::Local(_)),
                ..State::default()
            }),
            flags: Flags::default(),
            created: settings.created,
            address: match settings.address {
                Some(IpAddr::V4(ip)) => ip.to_ipv6_mapped(),
                Some(IpAddr::V6(ip)) => ip,
                None => Ipv6Addr::UNSPECIFIED,
            },
        }
    }

    /// Unique for the life of the server; no credential.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Where the handshake of a remote client came from.
    pub(crate) fn address(&self) -> Option<IpAddr> {
        let is_none = self.address.is_unspecified();
        (!is_none).then(|| IpAddr::V6(self.address).to_canonical())
    }

    /// Whose it counts as; of no stranger, if it is of a client in this process.
    pub(crate) fn owner(&self) -> Option<Owner> {
        let is_strange = self.remote_id().is_some() || !self.address.is_unspecified();
        is_strange.then(|| IpAddr::V6(self.address).into())
    }

    pub(crate) fn identity(&self) -> Identity {
        self.identity
    }

    /// The id of a remote client's session.
    pub(crate) fn remote_id(&self) -> Option<&ClientId> {
        match &self.identity {
            Identity::Remote(id) => Some(id),
            Identity::Local(_) => None,
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

/// Why a session is no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// The client said `/meta/disconnect`.
    Disconnected,
    /// The server sent it away.
    Dismissed,
    /// It did not come back in time.
    Expired,
    /// Its queue was full and the overflow policy is to disconnect.
    Overflowed,
    /// There were too many sessions, and its owner had the most.
    Evicted,
    /// The server stops.
    Stopped,
}

/// How much a client would miss its session, from least to most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Presence {
    /// It has never made a connect.
    Unused,
    /// It has been away since then.
    Away(Option<Instant>),
    /// It is there: a connect is held, or messages leave as they come.
    There,
}

#[derive(Default)]
#[repr(C)]
pub(crate) struct State {
    /// Somebody was woken and has not come yet.
    woken: bool,
    /// Something has happened to a held connect since the receiver last looked.
    hold_changed: bool,
    /// Whether a connect has ever been answered or held.
    connected: bool,
    /// It is gone for everybody, but what waits and the word of its end are still to go out.
    parting: bool,
    /// The word that it has ended is written, or goes with what is in flight.
    told: bool,
    /// It is the session of a client in this process.
    local: bool,
    gone: Option<Gone>,
    queue: Queue,
    /// Whom to wake when there are messages: the receiver if it takes them, else the held connect.
    wake_target: Option<ConnectionHandle>,
    // So far what a delivery needs: a cache line with the lock before it.
    hold: Option<Hold>,
    /// The last number that a connect, a writer or a receiver was given, to be told from others.
    numbers: u64,
    /// The connection that is writing what the queue has in flight.
    writer: Option<Writer>,
    /// A receiver that takes messages as they come: an in-process client, a socket, a stream.
    receiver: Option<Receiver>,
    /// When it dies; never while a connect is held or an answer is being received.
    expires: Option<Instant>,
    /// How long it lives after its last answer.
    lifetime: Lifetime,
    /// Answers that its client has yet to receive.
    reading: u32,
    /// When the ticker will look at it.
    pub(crate) ticks_at: Option<Instant>,
    /// What the client was last told to do.
    pub(crate) advised: Option<Advice>,
}

/// A connect that waits.
struct Hold {
    number: u64,
    connection: ConnectionHandle,
    until: Instant,
    /// It is to be answered, messages or not.
    ends: bool,
    _place: Place,
}

/// What a held connect finds when its connection looks.
pub(crate) enum Look {
    /// Nothing yet.
    Wait,
    /// It is to be answered: there are messages, or its time is over.
    Due,
    /// A newer connect took its place.
    Superseded,
    /// The session is gone.
    Gone(Gone),
}

impl State {
    pub(crate) fn gone(&self) -> Option<Gone> {
        self.gone
    }

    /// Whether its client is still to be told of the end.
    pub(crate) fn is_parting(&self) -> bool {
        self.parting
    }

    pub(crate) fn is_local(&self) -> bool {
        self.local
    }

    pub(crate) fn is_held(&self) -> bool {
        self.hold.is_some()
    }

    pub(crate) fn queued(&self) -> (usize, usize) {
        (self.queue.len(), self.queue.bytes())
    }

    /// Its part of the memory that messages take: of those that wait, and of those that are being
    /// written.
    pub(crate) fn shares(&self) -> (usize, usize) {
        self.queue.shares()
    }

    /// Queues a message.
    pub(crate) fn push(&mut self, item: &Arc<Publication>, limits: &QueueLimits) -> Pushed {
        if self.gone.is_some() {
            return Pushed::alone(Outcome::Gone);
        }
        let stalls = || self.writer.as_ref().is_none_or(|writer| writer.stalled);
        self.queue.push(item, limits, stalls)
    }

    /// The connection that has something to collect and has not been told, marked as told.
    pub(crate) fn next_wake(&mut self) -> Option<&ConnectionHandle> {
        if self.woken || !(self.ready() || self.has_nothing_left()) {
            return None;
        }
        let connection = self.wake_target.as_ref()?;
        self.woken = true;
        Some(connection)
    }

    /// To be called whenever the held connect or the receiver has changed.
    fn update_wake_target(&mut self) {
        let held = self.hold.as_ref().map(|hold| &hold.connection);
        let receiver = self.receiver.as_ref().filter(|receiver| receiver.delivers);
        self.wake_target = receiver
            .map(|receiver| &receiver.connection)
            .or(held)
            .cloned();
    }

    /// Whether messages wait that may be taken now.
    pub(crate) fn ready(&self) -> bool {
        self.queue.is_ready()
    }

    /// Holds a connect on this connection, after any older one was superseded.
    pub(crate) fn hold(
        &mut self,
        connection: &ConnectionHandle,
        until: Instant,
        place: Place,
    ) -> u64 {
        debug_assert!(
            self.hold.is_none(),
            "an older connect was superseded before"
        );
        self.expires = None;
        self.hold = Some(Hold {
            number: self.numbers,
            connection: connection.clone(),
            until,
            ends: false,
            _place: place,
        });
        self.update_wake_target();
        self.numbers
    }

    /// Ends the held connect, if there is one; its connection is to be woken.
    pub(crate) fn supersede(&mut self) -> Option<ConnectionHandle> {
        self.numbers += 1;
        self.woken = false;
        let older = self.hold.take()?;
        self.update_wake_target();
        self.hold_changed = true;
        Some(older.connection)
    }

    /// What the held connect of that number is to do.
    pub(crate) fn look(&mut self, hold: u64) -> Look {
        if let Some(gone) = self.gone.filter(|_| !self.parting) {
            return Look::Gone(gone);
        }
        let Some(current) = self.hold.as_ref().filter(|current| current.number == hold) else {
            return Look::Superseded;
        };
        self.woken = false;
        match self.gone {
            _ if self.may_carry() => Look::Due,
            Some(gone) if self.queue.len() == 0 || self.is_last(&current.connection) => {
                Look::Gone(gone)
            }
            _ if current.ends => Look::Due,
            _ => Look::Wait,
        }
    }

    /// The held connect is being answered or its peer has left; it counts no longer.
    pub(crate) fn release(&mut self, hold: u64) -> bool {
        let mine = self
            .hold
            .as_ref()
            .is_some_and(|current| current.number == hold);
        if mine {
            self.hold = None;
            self.update_wake_target();
            self.woken = false;
        }
        mine
    }

    /// The session of a remote client begins: it has so long to connect.
    pub(crate) fn begins(&mut self, lifetime: Duration, now: Instant) {
        self.lifetime = lifetime.into();
        self.expires = Some(now + lifetime);
    }

    /// A connect was answered (or left): from now on the session has so long to come back.
    pub(crate) fn lives_for(&mut self, lifetime: Duration, now: Instant) {
        self.connected = true;
        self.lifetime = lifetime.into();
        if self.hold.is_none() && !self.is_kept_alive() {
            self.expires = Some(now + lifetime);
        }
    }

    /// Any other message is a sign of life too.
    pub(crate) fn extend(&mut self, deadline: Instant) {
        if let Some(expires) = &mut self.expires {
            *expires = deadline.max(*expires);
        }
    }

    /// It has so long to come back, unless something keeps it alive or it has longer already.
    pub(crate) fn extend_to(&mut self, deadline: Instant) {
        let there = self.gone.is_none() || self.parting;
        if there && self.hold.is_none() && !self.is_kept_alive() {
            let later = self
                .expires
                .map_or(deadline, |expires| expires.max(deadline));
            self.expires = Some(later);
        }
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.connected
    }

    /// Whether its client is there, or since when it is not.
    pub(crate) fn presence(&self) -> Presence {
        match self.expires {
            _ if !self.connected => Presence::Unused,
            Some(expires) => Presence::Away(expires.checked_sub(self.lifetime.into())),
            None => Presence::There,
        }
    }

    /// Whether waiting messages may leave with a response.
    pub(crate) fn may_carry(&self) -> bool {
        self.ready() && !self.is_streaming()
    }

    /// Takes one message for a receiver in this process.
    pub(crate) fn pop(&mut self) -> Option<Arc<Publication>> {
        self.woken = false;
        self.queue.pop()
    }

    /// Ends the hold in good order, at the latest now.
    pub(crate) fn finish_hold(&mut self) -> Option<ConnectionHandle> {
        let hold = self.hold.as_mut()?;
        hold.ends = true;
        self.hold_changed = true;
        Some(hold.connection.clone())
    }

    /// When the ticker has to look at it next; never, once it has ended.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        if self.gone.is_some() && !self.parting {
            return None;
        }
        let held = self
            .hold
            .as_ref()
            .filter(|hold| !hold.ends)
            .map(|hold| hold.until);
        held.or(self.expires)
    }

    /// Whether its time is over, with nobody reading what it was sent.
    pub(crate) fn is_expired(&self, now: Instant) -> bool {
        let over = self.expires.is_some_and(|expires| expires <= now);
        over && self.hold.is_none() && self.writer.is_none() && self.reading == 0
    }

    /// What the time brings.
    pub(crate) fn tick(&mut self, now: Instant) -> Ticked {
        if self.is_expired(now) {
            return Ticked::Expired;
        }
        match (&mut self.hold, self.expires) {
            (Some(hold), _) if !hold.ends && hold.until <= now => {
                hold.ends = true;
                self.hold_changed = true;
                Ticked::Wake(hold.connection.clone())
            }
            (None, Some(expires)) if expires <= now => {
                // Its client is still reading: that is a sign of life.
                self.expires = Some(now + READING_LOOK);
                Ticked::Nothing
            }
            _ => Ticked::Nothing,
        }
    }
}

/// What is to be done after a tick.
pub(crate) enum Ticked {
    Nothing,
    Wake(ConnectionHandle),
    Expired,
}

/// When to look again whether an answer is still being received. How long that may take is up to
/// the connection.
const READING_LOOK: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Publisher;

    #[test]
    fn the_notice_of_its_end_survives_when_room_is_made() {
        let message = |channel: &str| {
            let channel = channel.try_into().unwrap();
            Arc::new(Publication::new(&channel, "1", Publisher::Nobody))
        };
        let (first, notice) = (message("/a"), message("/end"));
        let limits = QueueLimits::default();
        let mut state = State::default();
        for item in [&first, &first] {
            assert_eq!(state.push(item, &limits).outcome, Outcome::Queued);
        }
        assert!(state.part(Gone::Dismissed, Some(&notice)).is_none());
        assert_eq!((state.clear_waiting(), state.clear_waiting()), (2, 0));
        assert!(Arc::ptr_eq(&state.pop().unwrap(), &notice) && state.pop().is_none());
    }

    #[test]
    fn what_a_delivery_needs_is_one_cache_line() {
        let lock = size_of::<Mutex<State>>() - size_of::<State>();
        assert_eq!(std::mem::offset_of!(Session, state) % 64, 0);
        assert!(lock + std::mem::offset_of!(State, hold) <= 64);
        assert!(size_of::<Session>() <= 512, "{}", size_of::<Session>());
    }
}
