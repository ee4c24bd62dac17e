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
    pub(super) fn full(&self, failures: u32) -> Duration {
        let factor = 1_u32.checked_shl(failures).unwrap_or(u32::MAX);
        self.min
            .saturating_mul(factor)
            .min(self.max)
            .max(self.min.min(self.max))
    }

    /// That time as it is, or shortened; `random` decides by how much.
    pub(super) fn shortened(&self, failures: u32, random: u32) -> Duration {
        let full = self.full(failures);
        let part = full.mul_f64(f64::from(self.jitter_percent.min(100)) / 100.0);
        full - part
            .mul_f64(f64::from(random) / f64::from(u32::MAX))
            .min(full)
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
