//! The timers that a handler has set.

use std::time::Instant;

/// The timers of a handler. They are few, so a list does.
#[derive(Default)]
pub(super) struct Timers(Vec<(u32, Instant)>);

impl Timers {
    pub(super) fn set(&mut self, timer: u32, at: Instant) {
        self.cancel(timer);
        self.0.push((timer, at));
    }

    pub(super) fn cancel(&mut self, timer: u32) {
        self.0.retain(|(number, _)| *number != timer);
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.0.iter().map(|(_, at)| *at).min()
    }

    /// Takes those that are due, the earliest first.
    pub(super) fn take_due(&mut self, now: Instant) -> Vec<u32> {
        let mut due: Vec<(Instant, u32)> = self
            .0
            .iter()
            .filter(|(_, at)| *at <= now)
            .map(|(n, at)| (*at, *n))
            .collect();
        self.0.retain(|(_, at)| *at > now);
        due.sort_unstable();
        due.into_iter().map(|(_, timer)| timer).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn timers_come_in_order_and_can_be_moved() {
        let clock = crate::clock::ManualClock::new();
        let start = crate::clock::Clock::now(&clock);
        let at = |ms| start + Duration::from_millis(ms);
        let mut timers = Timers::default();
        timers.set(1, at(30));
        timers.set(2, at(10));
        timers.set(3, at(20));
        timers.set(1, at(5));
        timers.cancel(3);
        assert_eq!(timers.next(), Some(at(5)));
        assert!(timers.take_due(at(4)).is_empty());
        assert_eq!(timers.take_due(at(10)), [1, 2]);
        assert_eq!(timers.next(), None);
    }
}
