//! How long to wait before the next attempt.

use std::time::Duration;

/// Waiting times that double from attempt to attempt, each shortened by chance, so that many
/// clients that lost the same server do not come back at the same moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The first. Default 500 ms.
    pub min: Duration,
    /// The longest. Default 30 s.
    pub max: Duration,
    /// The part of each that is left to chance, in percent. Default 50.
    pub jitter_percent: u8,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            min: Duration::from_millis(500),
            max: Duration::from_secs(30),
            jitter_percent: 50,
        }
    }
}

impl Backoff {
    /// The time to wait after `failures` attempts in a row (0: the first), without chance.
    pub(crate) fn full(&self, failures: u32) -> Duration {
        let factor = 1_u32.checked_shl(failures).unwrap_or(u32::MAX);
        self.min.saturating_mul(factor).min(self.max)
    }

    /// That time as it is, or shortened; `random` decides by how much.
    pub(crate) fn shortened(&self, failures: u32, random: u32) -> Duration {
        let full = self.full(failures);
        let part = full.mul_f64(f64::from(self.jitter_percent.min(100)) / 100.0);
        full - part
            .mul_f64(f64::from(random) / f64::from(u32::MAX))
            .min(full)
    }
}

/// The failures in a row of somebody who tries again, and the chance in the waits.
#[cfg(feature = "client")]
#[derive(Debug)]
pub(crate) struct Retries {
    backoff: Backoff,
    failures: u32,
    random: u64,
}

#[cfg(feature = "client")]
impl Retries {
    /// `seed` makes the chance; clients of one server need different ones.
    pub(crate) fn new(first: Duration, longest: Duration, seed: u64) -> Self {
        let backoff = Backoff {
            min: first,
            max: longest.max(first),
            ..Backoff::default()
        };
        Self {
            backoff,
            failures: 0,
            random: seed,
        }
    }

    /// Counts a failure, and says how long to wait for the next attempt.
    pub(crate) fn failed(&mut self) -> Duration {
        let before = self.failures;
        self.failures = before.saturating_add(1);
        // By SplitMix64: enough to spread clients, and repeatable in tests.
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        self.backoff.shortened(before, (mixed >> 32) as u32)
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
        self.backoff.max
    }

    /// How long things must go well until earlier failures are forgotten.
    pub(crate) fn probation(&self) -> Duration {
        self.backoff.min
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_its_bound() {
        let backoff = Backoff {
            max: Duration::from_secs(3),
            ..Backoff::default()
        };
        let ms: Vec<u128> = (0..5).map(|n| backoff.full(n).as_millis()).collect();
        assert_eq!(ms, [500, 1000, 2000, 3000, 3000]);
        assert_eq!(backoff.full(200), Duration::from_secs(3));
        let odd = Backoff {
            min: Duration::from_secs(5),
            ..backoff
        };
        assert_eq!(odd.full(0), Duration::from_secs(3));
    }

    #[test]
    fn chance_only_shortens() {
        let backoff = Backoff::default();
        assert_eq!(backoff.shortened(1, 0), Duration::from_secs(1));
        assert_eq!(backoff.shortened(1, u32::MAX), Duration::from_millis(500));
        let fixed = Backoff {
            jitter_percent: 0,
            ..backoff
        };
        assert_eq!(fixed.shortened(1, u32::MAX), Duration::from_secs(1));
        let any = Backoff {
            jitter_percent: 255,
            ..backoff
        };
        assert_eq!(any.shortened(1, u32::MAX), Duration::ZERO);
    }
}

#[cfg(all(test, feature = "client"))]
mod retries {
    use super::*;

    fn usual(seed: u64) -> Retries {
        Retries::new(Duration::from_secs(1), Duration::from_secs(60), seed)
    }

    #[test]
    fn delays_double_up_to_the_cap_within_their_jitter() {
        for seed in 0..100 {
            let mut retries = usual(seed);
            for full in [1, 2, 4, 8, 16, 32, 60, 60, 60] {
                let delay = retries.failed();
                let full = Duration::from_secs(full);
                assert!(delay <= full && delay >= full / 2, "{delay:?} of {full:?}");
            }
            retries.reset();
            assert!(retries.failed() <= Duration::from_secs(1));
        }
    }

    #[test]
    fn endless_failures_do_not_overflow() {
        let mut retries = usual(1);
        retries.failures = u32::MAX - 2;
        for _ in 0..5 {
            assert!(retries.failed() >= Duration::from_secs(30));
        }
    }

    #[test]
    fn the_first_may_be_free() {
        let mut retries = usual(1);
        assert_eq!(retries.failed_once_free(), Duration::ZERO);
        assert!(retries.failed_once_free() >= Duration::from_secs(1));
        retries.reset();
        assert_eq!(retries.failed_once_free(), Duration::ZERO);
    }

    #[test]
    fn clients_differ() {
        let first = |seed| Retries::new(Duration::from_secs(1), Duration::MAX, seed).failed();
        assert_ne!(first(1), first(2));
    }
}
