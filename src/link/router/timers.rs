//! Deadlines, each with a name, so that it can be moved and forgotten.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;

use super::StreamKey;
use crate::link::{LinkId, NodeId};

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Timer {
    /// A stream has made no progress, or its receiver does not come back.
    Stream(StreamKey),
    /// The sender of a stream is to be told what has arrived.
    Receipt(StreamKey),
    Call(u64),
    Ping(LinkId),
    Forget(NodeId),
    Parked,
    /// An alias is free again.
    Claim(Arc<str>),
}

#[derive(Default)]
pub(super) struct Timers {
    order: BTreeSet<(Instant, Timer)>,
    at: HashMap<Timer, Instant>,
}

impl Timers {
    /// Sets it, or moves it.
    pub(super) fn set(&mut self, timer: Timer, at: Instant) {
        if let Some(before) = self.at.insert(timer.clone(), at) {
            self.order.remove(&(before, timer.clone()));
        }
        self.order.insert((at, timer));
    }

    /// Sets it unless it is set.
    pub(super) fn start(&mut self, timer: Timer, at: Instant) {
        if !self.at.contains_key(&timer) {
            self.set(timer, at);
        }
    }

    /// Sets it, or moves it forward.
    pub(super) fn hasten(&mut self, timer: Timer, at: Instant) {
        if self.at.get(&timer).is_none_or(|before| at < *before) {
            self.set(timer, at);
        }
    }

    pub(super) fn cancel(&mut self, timer: Timer) {
        if let Some(at) = self.at.remove(&timer) {
            self.order.remove(&(at, timer));
        }
    }

    /// The streams for which a receipt is due.
    pub(super) fn receipts(&self) -> impl Iterator<Item = &StreamKey> {
        self.at.keys().filter_map(|timer| match timer {
            Timer::Receipt(key) => Some(key),
            _ => None,
        })
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.order.first().map(|(at, _)| *at)
    }

    pub(super) fn take_due(&mut self, now: Instant) -> Option<Timer> {
        if self.next()? > now {
            return None;
        }
        let (_, timer) = self.order.pop_first()?;
        self.at.remove(&timer);
        Some(timer)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::{Clock, ManualClock};

    #[test]
    fn they_come_in_order_once_and_can_be_moved() {
        let start = ManualClock::new().now();
        let at = |n| start + Duration::from_secs(n);
        let mut timers = Timers::default();
        timers.set(Timer::Call(1), at(5));
        timers.set(Timer::Call(2), at(3));
        timers.set(Timer::Call(3), at(4));
        timers.set(Timer::Call(1), at(2));
        timers.start(Timer::Call(2), at(1));
        timers.hasten(Timer::Call(2), at(4));
        timers.cancel(Timer::Call(3));
        assert_eq!(timers.next(), Some(at(2)));
        assert_eq!(timers.take_due(at(1)), None);
        assert_eq!(timers.take_due(at(9)), Some(Timer::Call(1)));
        assert_eq!(timers.take_due(at(9)), Some(Timer::Call(2)));
        assert_eq!((timers.take_due(at(9)), timers.next()), (None, None));
    }
}
