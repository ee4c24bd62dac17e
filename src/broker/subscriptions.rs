//! Recording and removing subscriptions, for remote and local clients.
//!
//! The lock of a session's own set is held while the table is changed, so that the two always
//! agree. Order: the set, then the table or the session's state, never the other way.

use std::sync::Arc;

use super::core::{Core, client_of};
use super::events::{Event, EventKind};
use super::session::Session;
use crate::protocol::{ErrorText, Message, Pattern, Shown, error, parse_subscriptions};
use crate::refusals::Reason;
use crate::util::shrink;

/// Why nothing was recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotSubscribed {
    /// The session has just ended.
    Gone,
    /// It has as many subscriptions as it may.
    TooMany,
    /// All together, or those of its address, take as much memory as they may.
    NoRoom,
}

impl NotSubscribed {
    /// What its client is told.
    pub(crate) fn error(self) -> ErrorText {
        match self {
            Self::Gone => error::session_unknown(),
            Self::TooMany => error::subscribe_denied("too_many"),
            Self::NoRoom => error::subscribe_denied("busy"),
        }
    }

    /// The limit that decided.
    pub(crate) fn limit(self) -> Option<Reason> {
        match self {
            Self::Gone => None,
            Self::TooMany => Some(Reason::MaxSubscriptions),
            Self::NoRoom => Some(Reason::MaxSubscriptionBytes),
        }
    }
}

impl Core {
    /// Records all of them or none. Repeating is harmless; what is below `/service` is accepted
    /// and not recorded.
    pub(crate) fn subscribe(
        self: &Arc<Self>,
        session: &Arc<Session>,
        patterns: &[Pattern],
    ) -> Result<(), NotSubscribed> {
        let mut subscriptions = session.subscriptions.lock();
        let mut new: Vec<&Pattern> = patterns
            .iter()
            .filter(|pattern| {
                !is_below(pattern, "/service") && !subscriptions.contains_key(*pattern)
            })
            .collect();
        new.sort_unstable();
        new.dedup();
        let bound = match session.remote_id() {
            Some(_) => self.config.max_subscriptions,
            None => usize::MAX,
        };
        if subscriptions.len() + new.len() > bound {
            return Err(NotSubscribed::TooMany);
        }
        if session.lock().gone().is_some() {
            return Err(NotSubscribed::Gone);
        }
        let room = self.table.make_room(&new, session);
        room.map_err(|_| NotSubscribed::NoRoom)?;
        let now = self.clock.wall().into();
        for pattern in new {
            let Some(pattern) = self.table.insert(pattern, session) else {
                continue;
            };
            subscriptions.insert(pattern.clone(), now);
            let client = client_of(session);
            self.hooks
                .tell(EventKind::Subscribed, || Event::Subscribed {
                    client,
                    pattern,
                });
        }
        drop(subscriptions);
        tell(session, "subscribes to", patterns);
        Ok(())
    }

    /// Removes those that are there; returns how many.
    pub(crate) fn unsubscribe(
        self: &Arc<Self>,
        session: &Arc<Session>,
        patterns: &[Pattern],
    ) -> usize {
        let mut subscriptions = session.subscriptions.lock();
        let before = subscriptions.len();
        for pattern in patterns {
            if subscriptions.remove(pattern).is_some() {
                self.table.remove(pattern, session);
                let client = client_of(session);
                let pattern = pattern.clone();
                self.hooks
                    .tell(EventKind::Unsubscribed, || Event::Unsubscribed {
                        client,
                        pattern,
                    });
            }
        }
        let removed = before - subscriptions.len();
        shrink(&mut subscriptions);
        drop(subscriptions);
        tell(session, "unsubscribes from", patterns);
        removed
    }
}

/// Tells the log what was asked for.
fn tell(session: &Session, what: &str, patterns: &[Pattern]) {
    if log::log_enabled!(log::Level::Debug) {
        let client = client_of(session);
        for pattern in patterns {
            log::debug!("session {client}: {what} {}", Shown(pattern.as_str()));
        }
    }
}

/// The patterns of a (un)subscribe, all checked before any is applied.
pub(super) fn subscriptions(message: Message<'_>) -> Result<Vec<Pattern>, ErrorText> {
    let Some(raw) = message.subscription() else {
        return Err(error::subscription_missing());
    };
    let patterns = parse_subscriptions(raw).map_err(|error| error.text())?;
    if patterns.iter().any(|pattern| is_below(pattern, "/meta")) {
        return Err(error::subscribe_denied(DENIED));
    }
    Ok(patterns)
}

/// Whether the pattern is the channel or anything below it.
fn is_below(pattern: &Pattern, channel: &str) -> bool {
    let rest = pattern.as_str().strip_prefix(channel);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

pub(super) const DENIED: &str = "denied_by_security_policy";
