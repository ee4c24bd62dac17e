//! Time as a value: whatever needs it is given a [`Clock`], so that tests move time by hand.
//!
//! This is the only file that reads the system's clocks.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

/// As good as for ever: 100 years. It can be added to any moment without overflow, so longer
/// settings, such as [`Duration::MAX`], count as this.
pub(crate) const FOREVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// So long after a moment; what is longer than [`FOREVER`] is that.
pub(crate) fn later(moment: Instant, by: Duration) -> Instant {
    moment + by.min(FOREVER)
}

/// Where the time comes from.
pub trait Clock: Send + Sync + 'static {
    /// Monotonic time, for deadlines and durations.
    fn now(&self) -> Instant;
    /// Wall-clock time, for dates shown to others.
    fn wall(&self) -> SystemTime;
}

/// The system's clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn wall(&self) -> SystemTime {
        SystemTime::now()
    }
}

/// A clock that stands still until it is told to move. Clones share the time.
#[derive(Clone, Debug)]
pub struct ManualClock {
    base: Instant,
    base_wall: SystemTime,
    elapsed: Arc<Mutex<Duration>>,
}

impl ManualClock {
    /// Starts at the present moment of the monotonic clock and at the Unix epoch of the wall clock.
    pub fn new() -> Self {
        Self {
            base: Instant::now(),
            base_wall: SystemTime::UNIX_EPOCH,
            elapsed: Arc::default(),
        }
    }

    /// Moves the time forward.
    pub fn advance(&self, by: Duration) {
        *self
            .elapsed
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner()) += by;
    }

    fn elapsed(&self) -> Duration {
        *self
            .elapsed
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Instant {
        self.base + self.elapsed()
    }

    fn wall(&self) -> SystemTime {
        self.base_wall + self.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_moves_only_when_told() {
        let clock = ManualClock::new();
        let other = clock.clone();
        let start = clock.now();
        assert_eq!(clock.now(), start);
        clock.advance(Duration::from_millis(1500));
        assert_eq!(other.now() - start, Duration::from_millis(1500));
        assert_eq!(
            other.wall(),
            SystemTime::UNIX_EPOCH + Duration::from_millis(1500)
        );
    }
}
