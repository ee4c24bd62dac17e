//! How long to wait after the n-th failure in a row.

use std::time::{Duration, Instant};

use crate::clock::FOREVER;

/// So long after a moment. Far futures do not overflow.
pub(crate) fn later(moment: Instant, by: Duration) -> Instant {
    moment + by.min(FOREVER)
}

/// Doubling delays with jitter, so that many clients of one server do not come back together.
#[derive(Debug)]
pub(crate) struct Backoff {
    first: Duration,
    longest: Duration,
    failures: u32,
    random: u64,
}

impl Backoff {
    /// `seed` makes the jitter; clients need different ones.
    pub(crate) fn new(first: Duration, longest: Duration, seed: u64) -> Self {
        Self {
            first,
            longest: longest.max(first),
            failures: 0,
            random: seed,
        }
    }

    /// Counts a failure, and says how long to wait for the next attempt.
    pub(crate) fn failed(&mut self) -> Duration {
        self.failures = self.failures.saturating_add(1);
        let doubling = 1u32.checked_shl(self.failures - 1).unwrap_or(u32::MAX);
        let full = self.first.saturating_mul(doubling).min(self.longest);
        full - full.mul_f64(self.fraction() / 2.0)
    }

    /// Like [`Self::failed`], but the first failure in a row costs no time.
    pub(crate) fn failed_once_free(&mut self) -> Duration {
        if self.failures == 0 {
            self.failures = 1;
            return Duration::ZERO;
        }
        self.failed()
    }

    /// All is well again.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    pub(crate) fn longest(&self) -> Duration {
        self.longest
    }

    /// How long things must go well until earlier failures are forgotten.
    pub(crate) fn probation(&self) -> Duration {
        self.first
    }

    /// 0 to 1, by SplitMix64: enough to spread clients, and repeatable in tests.
    fn fraction(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed >> 40) as f64 / (1u64 << 24) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_cap_within_their_jitter() {
        for seed in 0..100 {
            let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60), seed);
            for full in [1, 2, 4, 8, 16, 32, 60, 60, 60] {
                let delay = backoff.failed();
                let full = Duration::from_secs(full);
                assert!(delay <= full && delay >= full / 2, "{delay:?} of {full:?}");
            }
            backoff.reset();
            assert!(backoff.failed() <= Duration::from_secs(1));
        }
    }

    #[test]
    fn endless_failures_do_not_overflow() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60), 1);
        backoff.failures = u32::MAX - 2;
        for _ in 0..5 {
            assert!(backoff.failed() >= Duration::from_secs(30));
        }
    }

    #[test]
    fn the_first_may_be_free() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60), 1);
        assert_eq!(backoff.failed_once_free(), Duration::ZERO);
        assert!(backoff.failed_once_free() >= Duration::from_secs(1));
        backoff.reset();
        assert_eq!(backoff.failed_once_free(), Duration::ZERO);
    }

    #[test]
    fn clients_differ() {
        let first = |seed| Backoff::new(Duration::from_secs(1), Duration::MAX, seed).failed();
        assert_ne!(first(1), first(2));
    }
}
