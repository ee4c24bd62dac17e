//! The ticker: the one place where time ends holds and sessions.
//!
//! A calendar of turns of 100 ms. Each session has at most one entry that counts; a later deadline
//! only changes a field of the session, and an entry that comes early puts itself back. So the
//! cost follows what expires, not what exists.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::core::Core;
use super::session::{Gone, Session, State, Ticked};
use super::wakes::Wakes;
use crate::transport::ConnectionHandle;

/// The length of a turn. Deadlines are kept to the end of the turn they fall into.
const TURN: Duration = Duration::from_millis(100);

pub(crate) struct Ticker {
    base: Instant,
    sessions: Calendar<Weak<Session>>,
    /// Answers that have to wait, by the connections that are to be woken for them.
    answers: Calendar<ConnectionHandle>,
}

/// What is due in which turn. The lock is a leaf.
struct Calendar<T>(Mutex<BTreeMap<u64, Vec<T>>>);

impl<T> Calendar<T> {
    const fn new() -> Self {
        Self(Mutex::new(BTreeMap::new()))
    }

    fn enter(&self, turn: u64, item: T) {
        self.0.lock().entry(turn).or_default().push(item);
    }

    /// Takes out what is due up to that turn.
    fn due(&self, turn: u64) -> Vec<T> {
        let mut calendar = self.0.lock();
        let first = calendar.first_key_value();
        if first.is_none_or(|(first, _)| *first > turn) {
            return Vec::new();
        }
        let later = turn
            .checked_add(1)
            .map(|next| calendar.split_off(&next))
            .unwrap_or_default();
        let due = std::mem::replace(&mut *calendar, later);
        due.into_values().flatten().collect()
    }
}

impl Ticker {
    pub(crate) fn new(base: Instant) -> Self {
        Self {
            base,
            sessions: Calendar::new(),
            answers: Calendar::new(),
        }
    }

    /// Makes sure that the session is looked at when its deadline has come. Called under the
    /// session's lock, of which `state` is the proof; the calendar's own lock is a leaf.
    pub(crate) fn schedule(&self, session: &Arc<Session>, state: &mut State) {
        let Some(deadline) = state.deadline() else {
            return;
        };
        if state.ticks_at.is_some_and(|earlier| earlier <= deadline) {
            return;
        }
        state.ticks_at = Some(deadline);
        let turn = self.turn_after(deadline);
        self.sessions.enter(turn, Arc::downgrade(session));
    }

    /// Wakes the connection then, for an answer that waits.
    pub(crate) fn answer_at(&self, connection: &ConnectionHandle, at: Instant) {
        self.answers.enter(self.turn_after(at), connection.clone());
    }

    /// The connections that answers wait for, which are not woken any more.
    pub(crate) fn take_answers(&self) -> Vec<ConnectionHandle> {
        self.answers.due(u64::MAX)
    }

    /// The first turn that ends at or after the moment.
    fn turn_after(&self, moment: Instant) -> u64 {
        let since = moment.saturating_duration_since(self.base).as_nanos();
        u64::try_from(since.div_ceil(TURN.as_nanos())).unwrap_or(u64::MAX)
    }

    /// The last turn that is over.
    fn turn_before(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.base).as_nanos() / TURN.as_nanos();
        u64::try_from(since).unwrap_or(u64::MAX)
    }
}

/// One turn: ends the holds and the sessions whose time has come.
pub(crate) fn tick(core: &Arc<Core>) {
    let now = core.clock.now();
    let mut wakes = Wakes::default();
    let mut expired = Vec::new();
    let turn = core.ticker.turn_before(now);
    for connection in core.ticker.answers.due(turn) {
        wakes.add(&connection);
    }
    for entry in core.ticker.sessions.due(turn) {
        let Some(session) = entry.upgrade() else {
            continue;
        };
        let mut state = session.lock();
        if state.ticks_at.is_none_or(|at| at > now) {
            continue; // A newer entry counts.
        }
        state.ticks_at = None;
        match state.tick(now) {
            Ticked::Wake(connection) => wakes.add(&connection),
            Ticked::Expired => expired.push(Arc::clone(&session)),
            Ticked::Nothing => {}
        }
        core.ticker.schedule(&session, &mut state);
    }
    wakes.send();
    for session in expired {
        // Between the locks the client may have come back.
        core.end_if(&session, Gone::Expired, |state| state.is_expired(now));
    }
}

/// The thread that ticks. Stops and is joined when dropped.
pub(crate) struct TickerThread {
    stop: Arc<(Mutex<bool>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

impl TickerThread {
    pub(crate) fn start(core: &Arc<Core>) -> std::io::Result<Self> {
        let stop = Arc::new((Mutex::new(false), Condvar::new()));
        let (signal, core) = (Arc::clone(&stop), Arc::downgrade(core));
        let thread = Builder::new().name("bayeux-ticker".into()).spawn(move || {
            let (stopped, changed) = &*signal;
            let mut stopped = stopped.lock();
            while !*stopped {
                changed.wait_for(&mut stopped, TURN);
                let Some(core) = core.upgrade() else { return };
                parking_lot::MutexGuard::unlocked(&mut stopped, || tick(&core));
            }
        })?;
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for TickerThread {
    fn drop(&mut self) {
        *self.stop.0.lock() = true;
        self.stop.1.notify_all();
        let Some(thread) = self.thread.take() else {
            return;
        };
        // The last handle to the core may die on the ticker itself.
        if thread.thread().id() != std::thread::current().id() && thread.join().is_err() {
            log::error!("the ticker panicked");
        }
    }
}
