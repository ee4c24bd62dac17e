//! How sessions end, one by one and all together: who is told, and in which order.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::connect::RESPONSE_BYTES;
use super::core::{Core, client_of};
use super::events::{Event, EventKind};
use super::registry::Reservation;
use super::session::{Gone, Remains, Session, State};
use super::wakes::Wakes;
use crate::protocol::{ChannelName, Publication};
use crate::refusals::Reason;
use crate::util::Owner;

impl Core {
    /// Ends a session at the word of its client or of the server's program, once. What waits for
    /// the client goes out first, then the word of its end: by the connect that is held, else by
    /// the socket or the stream, else by the next connect. The client that has said goodbye itself
    /// makes none: then what waits is returned, for the response to its goodbye. `None`: the
    /// session was not there any more.
    pub(crate) fn part(self: &Arc<Self>, session: &Arc<Session>, gone: Gone) -> Option<Last> {
        let mut last = Last::new();
        let mut state = session.lock();
        if state.gone().is_some() {
            return None;
        }
        if state.is_local() {
            drop(state);
            return self.end(session, gone).then_some(last);
        }
        let by_itself = gone == Gone::Disconnected;
        if by_itself && !state.is_held() && !state.is_streaming() {
            let messages = state.take_rest(RESPONSE_BYTES, &mut last);
            drop(state);
            self.budget.left(messages);
            return self.end(session, gone).then_some(last);
        }
        let notice = (!by_itself).then_some(&self.farewell);
        let older = state.part(gone, notice);
        state.extend_to(self.clock.now() + self.config.lifetime(None));
        self.ticker.schedule(session, &mut state);
        let waiting = state.next_wake().cloned();
        drop(state);
        self.budget.queued(usize::from(notice.is_some()), 0, 0);
        if by_itself {
            self.registry.remove(session);
        }
        self.forget(session, gone, 0);
        for connection in [older, waiting].into_iter().flatten() {
            connection.sink.wake(&[connection.key]);
        }
        Some(last)
    }

    /// Lets go of a session whose client has been told all there was.
    pub(crate) fn let_go(self: &Arc<Self>, session: &Arc<Session>) {
        self.end_if(session, Gone::Dismissed, State::is_over);
    }

    /// Ends a session, once: its subscriptions, its queue, and whatever is held for it. Whether it
    /// was still there.
    pub(crate) fn end(self: &Arc<Self>, session: &Arc<Session>, gone: Gone) -> bool {
        self.end_if(session, gone, |_| true)
    }

    /// Ends a session that is as the condition says, with nothing happening to it in between.
    pub(crate) fn end_if(
        self: &Arc<Self>,
        session: &Arc<Session>,
        gone: Gone,
        condition: impl FnOnce(&State) -> bool,
    ) -> bool {
        let mut state = session.lock();
        let ended = if condition(&state) {
            self.ticker.forget(session, &mut state);
            state.end(gone)
        } else {
            None
        };
        drop(state);
        let Some(Remains {
            connections,
            lost,
            left,
            news,
        }) = ended
        else {
            return false;
        };
        if session.remote_id().is_some() {
            self.registry.remove(session);
            self.counters.dropped_session.add(lost as u64);
        }
        self.budget.left(left);
        if news {
            self.forget(session, gone, lost);
        } else if lost > 0 {
            let client = client_of(session);
            log::debug!("session {client}: {lost} messages lost after its end");
        }
        for connection in connections.into_iter().flatten() {
            connection.sink.wake(&[connection.key]);
        }
        news
    }

    /// Reserves places for new sessions of that owner. Where all are taken, sessions of whoever has
    /// many more may end for it.
    pub(crate) fn reserve(self: &Arc<Self>, owner: Owner, places: usize) -> Option<Reservation> {
        self.registry.reserve(owner, places, |evicted| {
            let (count, of) = (evicted.sessions.len(), evicted.owner);
            let seen = format_args!("{count} sessions of {of}, which has the most, make room");
            self.refusals.count(Reason::MaxSessions, seen);
            for session in evicted.sessions {
                self.end(&session, Gone::Evicted);
            }
        })
    }

    /// Takes a session that has ended out of the table, and tells observers.
    fn forget(&self, session: &Arc<Session>, gone: Gone, lost: usize) {
        if session.remote_id().is_some() {
            self.counters.ended[gone as usize].one();
        }
        let client = client_of(session);
        log::debug!("session {client}: ends, {gone:?}, {lost} messages lost");
        let mut subscriptions = session.subscriptions.lock();
        for (pattern, _) in subscriptions.drain() {
            self.table.remove(&pattern, session);
            self.hooks
                .tell(EventKind::Unsubscribed, || Event::Unsubscribed {
                    client,
                    pattern,
                });
        }
        drop(subscriptions);
        self.hooks
            .tell(EventKind::Disconnected, || Event::Disconnected {
                client,
                reason: gone,
            });
    }

    /// Ends every session, and tells observers and clients in this process. Waits for observers
    /// that are behind, for so long at the most.
    pub(crate) fn stop(self: &Arc<Self>, patience: Duration) {
        self.draining.store(true, Ordering::Relaxed);
        if self.stopped.swap(true, Ordering::AcqRel) {
            return;
        }
        let mut steps = patience.as_millis() / STOP_STEP.as_millis();
        let mut wait_until = |holds: &dyn Fn() -> bool| {
            while steps > 0 && !holds() {
                steps -= 1;
                std::thread::park_timeout(STOP_STEP);
            }
        };
        let mut sessions = Vec::new();
        self.registry
            .for_each(|session| sessions.push(Arc::clone(session)));
        self.locals
            .for_each(|local| sessions.extend(local.session()));
        for session in sessions {
            // Its own end, and that of each subscription.
            let events = 1 + session.subscriptions.lock().len();
            wait_until(&|| self.hooks.observers.have_room(events));
            self.end(&session, Gone::Stopped);
        }
        wait_until(&|| self.hooks.observers.are_idle());
    }

    /// Answers every held connect in good order, spread over the time so that the clients do not
    /// come back all at once. Blocks for so long.
    pub(crate) fn drain(self: &Arc<Self>, spread: Duration) {
        // Before the sessions are looked at: a connect that finds its session's lock free after
        // this look sees the flag, and is not held.
        self.draining.store(true, Ordering::Relaxed);
        let mut waiting = Wakes::default();
        for connection in self.ticker.take_answers() {
            waiting.add(&connection);
        }
        waiting.send();
        let mut held = Vec::new();
        self.registry.for_each(|session| {
            if session.lock().is_held() {
                held.push(Arc::clone(session));
            }
        });
        let steps =
            u32::try_from((spread.as_millis() / DRAIN_STEP.as_millis()).max(1)).unwrap_or(u32::MAX);
        let per_step = held.len().div_ceil(steps as usize).max(1);
        for (n, chunk) in held.chunks(per_step).enumerate() {
            if n > 0 {
                std::thread::park_timeout(DRAIN_STEP);
            }
            let mut wakes = Wakes::default();
            for session in chunk {
                if let Some(connection) = session.lock().finish_hold() {
                    wakes.add(&connection);
                }
            }
            wakes.send();
        }
    }
}

/// The last message to a client that is sent away.
pub(crate) fn farewell() -> Arc<Publication> {
    let channel = ChannelName::try_from("/meta/disconnect").expect("because it is one");
    let fields = [("successful", "true")];
    Arc::new(Publication::with_fields(&channel, &fields))
}

/// Messages for the last response to a client.
pub(crate) type Last = Vec<Arc<Publication>>;

/// How long to wait between looks at observers.
const STOP_STEP: Duration = Duration::from_millis(1);

/// Held connects are answered in steps of so long while draining.
const DRAIN_STEP: Duration = Duration::from_millis(10);
