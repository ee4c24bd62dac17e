//! The ticker: the one place where time ends holds and sessions.
//!
//! A calendar of turns of 100 ms. Each session has at most one entry; a later deadline only changes
//! a field of the session, and an entry that comes early puts itself back. So the cost follows what
//! expires, not what exists. What ends takes its entry along.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::core::Core;
use super::numbered::Numbered;
use super::session::{Gone, Session, State, Ticked};
use super::wakes::Wakes;
use crate::transport::ConnectionHandle;
use crate::util::shrink;

/// The length of a turn. Deadlines are kept to the end of the turn they fall into.
const TURN: Duration = Duration::from_millis(100);

pub(crate) struct Ticker {
    base: Instant,
    /// By the sessions' own numbers.
    sessions: Calendar<Arc<Session>>,
    /// Answers that have to wait, by the connections that are to be woken for them.
    answers: Calendar<ConnectionHandle>,
    /// The number of the next answer that waits.
    next_answer: AtomicU64,
}

/// What is due in which turn, each under a number of its own. The lock is a leaf.
struct Calendar<T>(Mutex<BTreeMap<u64, Numbered<T>>>);

impl<T> Calendar<T> {
    const fn new() -> Self {
        Self(Mutex::new(BTreeMap::new()))
    }

    fn enter(&self, turn: u64, number: u64, item: T) {
        self.0.lock().entry(turn).or_default().insert(number, item);
    }

    /// Takes an entry out before its time, if it is there.
    fn leave(&self, turn: u64, number: u64) -> Option<T> {
        let mut calendar = self.0.lock();
        let entries = calendar.get_mut(&turn)?;
        let item = entries.remove(&number);
        shrink(entries);
        if entries.is_empty() {
            calendar.remove(&turn);
        }
        item
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
        due.into_values().flat_map(Numbered::into_values).collect()
    }
}

impl Ticker {
    pub(crate) fn new(base: Instant) -> Self {
        Self {
            base,
            sessions: Calendar::new(),
            answers: Calendar::new(),
            next_answer: AtomicU64::new(0),
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
        self.forget(session, state);
        state.ticks_at = Some(deadline);
        let turn = self.turn_after(deadline);
        let entry = Arc::clone(session);
        self.sessions.enter(turn, session.number(), entry);
    }

    /// Looks at the session no more: it has ended, or is to be looked at earlier. Called under the
    /// session's lock.
    pub(crate) fn forget(&self, session: &Session, state: &mut State) {
        if let Some(at) = state.ticks_at.take() {
            // Whoever calls has the session too, so nothing of it is dropped under its lock.
            self.sessions.leave(self.turn_after(at), session.number());
        }
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
    for session in core.ticker.sessions.due(turn) {
        let mut state = session.lock();
        if state.ticks_at.is_none_or(|at| at > now) {
            continue; // It has just made a new entry, or ended.
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
    core.hooks.tell_stuck(now);
    for session in expired {
        // Between the locks the client may have come back.
        core.end_if(&session, Gone::Expired, |state| state.is_expired(now));
    }
}

/// Wakes a connection at its time, for an answer that waits; unless it is dropped before.
pub(crate) struct Alarm {
    core: Arc<Core>,
    turn: u64,
    number: u64,
}

impl Alarm {
    pub(crate) fn set(core: &Arc<Core>, connection: &ConnectionHandle, at: Instant) -> Self {
        let ticker = &core.ticker;
        let turn = ticker.turn_after(at);
        let number = ticker.next_answer.fetch_add(1, Ordering::Relaxed);
        ticker.answers.enter(turn, number, connection.clone());
        Self {
            core: Arc::clone(core),
            turn,
            number,
        }
    }

    /// Who rings.
    pub(crate) fn core(&self) -> &Core {
        &self.core
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        let entry = self.core.ticker.answers.leave(self.turn, self.number);
        // With no lock held: it may be the last handle to the connection.
        drop(entry);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::session::{Identity, SessionSettings};
    use crate::broker::{Broker, BrokerConfig};
    use crate::clock::ManualClock;
    use crate::protocol::ClientId;
    use crate::transport::WakeSink;

    fn broker() -> Broker {
        let clock = Arc::new(ManualClock::new());
        Broker::start_without_ticker(BrokerConfig::default(), clock, None).unwrap()
    }

    fn schedule(core: &Core, session: &Arc<Session>, lifetime: Duration) {
        let mut state = session.lock();
        state.begins(lifetime, core.clock.now());
        core.ticker.schedule(session, &mut state);
    }

    fn entries<T>(calendar: &Calendar<T>) -> usize {
        calendar.0.lock().values().map(Numbered::len).sum()
    }

    #[test]
    fn a_session_has_one_entry_and_what_ends_is_freed_at_once() {
        let broker = broker();
        let core = &broker.core;
        let sessions: Vec<Arc<Session>> = (0..100)
            .map(|number| {
                let identity = Identity::Remote(ClientId::random());
                let settings = SessionSettings::default();
                Arc::new(Session::new(number, identity, &settings))
            })
            .collect();
        // Later ones change nothing, earlier ones take the entry along.
        for seconds in [60, 90, 30, 10, 20] {
            for session in &sessions {
                schedule(core, session, Duration::from_secs(seconds));
            }
            assert_eq!(entries(&core.ticker.sessions), 100);
        }
        for session in sessions {
            assert!(core.end(&session, Gone::Dismissed));
            schedule(core, &session, Duration::from_secs(5));
            assert_eq!(Arc::strong_count(&session), 1);
            assert_eq!(Arc::weak_count(&session), 0);
        }
        assert!(core.ticker.sessions.0.lock().is_empty());
    }

    #[test]
    fn an_alarm_that_nobody_waits_for_is_forgotten() {
        #[derive(Default)]
        struct Bell(Mutex<Vec<u64>>);
        impl WakeSink for Bell {
            fn wake(&self, keys: &[u64]) {
                self.0.lock().extend(keys);
            }
        }
        let broker = broker();
        let core = &broker.core;
        let bell = Arc::new(Bell::default());
        let at = core.clock.now() + Duration::from_secs(1);
        let set = |key| {
            let sink = Arc::clone(&bell) as _;
            Alarm::set(core, &ConnectionHandle { sink, key }, at)
        };
        let alarms = [set(1), set(1), set(2)];
        let [first, second, third] = alarms;
        drop((first, third));
        assert_eq!(entries(&core.ticker.answers), 1);
        let mut wakes = Wakes::default();
        let rung = core.ticker.take_answers();
        rung.iter().for_each(|connection| wakes.add(connection));
        drop((wakes, rung, second));
        assert_eq!(*bell.0.lock(), [1]);
        assert_eq!(Arc::strong_count(&bell), 1);
    }
}
