//! What has come, what has not, and how long it took.

use std::collections::HashSet;
use std::time::Duration;

/// Which messages each subscriber has, and how late they came.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Messages that came, each counted once for each subscriber.
    pub(crate) delivered: u64,
    /// Messages that came again.
    pub(crate) duplicates: u64,
    /// Messages that came after a later one.
    pub(crate) reordered: u64,
    /// From when a message was sent to when it came.
    pub(crate) latencies: Latencies,
    publishers: usize,
    /// By subscriber and publisher, the number of the message that is to come next.
    next: Vec<u64>,
    /// By the same, messages that were left out.
    missing: HashSet<(usize, u64)>,
}

impl Tally {
    pub(crate) fn new(subscribers: usize, publishers: usize) -> Self {
        Self {
            publishers,
            next: vec![0; subscribers * publishers],
            ..Self::default()
        }
    }

    /// A message has come. Tells whether it came for the first time.
    pub(crate) fn delivered(
        &mut self,
        subscriber: usize,
        publisher: usize,
        message: u64,
        latency: Duration,
    ) -> bool {
        let line = subscriber * self.publishers + publisher;
        let next = self.next[line];
        if message >= next {
            self.missing
                .extend((next..message).map(|left_out| (line, left_out)));
            self.next[line] = message + 1;
        } else if self.missing.remove(&(line, message)) {
            self.reordered += 1;
        } else {
            self.duplicates += 1;
            return false;
        }
        self.delivered += 1;
        self.latencies.add(latency);
        true
    }
}

/// Times in steps of five percent, from a microsecond to some minutes.
#[derive(Debug)]
pub(crate) struct Latencies {
    counts: Vec<u64>,
    count: u64,
}

const STEPS: usize = 400;
const STEP: f64 = 1.05;

impl Default for Latencies {
    fn default() -> Self {
        Self {
            counts: vec![0; STEPS],
            count: 0,
        }
    }
}

impl Latencies {
    /// One more.
    pub(crate) fn add(&mut self, time: Duration) {
        let microseconds = (time.as_secs_f64() * 1e6).max(1.0);
        let step = (microseconds.ln() / STEP.ln()).ceil() as usize;
        self.counts[step.min(STEPS - 1)] += 1;
        self.count += 1;
    }

    /// How many there are.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// The time that so many of a hundred did not exceed, within five percent.
    pub(crate) fn percentile(&self, percent: f64) -> Duration {
        let wanted = (self.count as f64 * percent / 100.0).ceil() as u64;
        let mut seen = 0;
        let step = self.counts.iter().position(|count| {
            seen += count;
            seen >= wanted.max(1)
        });
        let microseconds = STEP.powi(step.unwrap_or(0) as i32);
        Duration::from_secs_f64(microseconds / 1e6)
    }
}
