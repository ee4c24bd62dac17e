//! When which connection of a thread is due.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// Milliseconds since the epoch of a [`Ticks`]. 0 stands for "none".
pub(super) type Tick = u64;

/// Converts between instants and ticks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticks {
    epoch: Instant,
}

impl Ticks {
    pub(super) fn new(epoch: Instant) -> Self {
        Self { epoch }
    }

    /// The tick that has been reached at `now`.
    pub(super) fn reached(&self, now: Instant) -> Tick {
        now.saturating_duration_since(self.epoch).as_millis() as Tick
    }

    /// The first tick that is not before `at`; never 0.
    pub(super) fn due(&self, at: Instant) -> Tick {
        ticks_in(at.saturating_duration_since(self.epoch)).max(1)
    }

    /// How long from `now` until `tick` is reached; [`Duration::MAX`] if no clock can show it.
    pub(super) fn until(&self, tick: Tick, now: Instant) -> Duration {
        let at = self.epoch.checked_add(Duration::from_millis(tick));
        at.map_or(Duration::MAX, |at| at.saturating_duration_since(now))
    }
}

/// How many ticks a time takes, rounded up, so that a short time is not taken for none. Always so
/// few that they can be added to the tick that has been reached.
pub(super) fn ticks_in(time: Duration) -> Tick {
    let part = Tick::from(time.subsec_nanos().div_ceil(1_000_000));
    (time.as_secs().saturating_mul(1000).saturating_add(part)).min(FOREVER)
}

/// 146 million years.
const FOREVER: Tick = Tick::MAX / 4;

/// At most one entry per slot. An entry rarely moves: a later deadline is only noted by the owner,
/// and the entry that then comes early is put back.
#[derive(Debug, Default)]
pub(super) struct Timers {
    entries: BTreeSet<(Tick, u32)>,
    /// By slot: the tick of its entry, 0 if it has none.
    scheduled: Vec<Tick>,
}

impl Timers {
    /// Sees to it that the slot comes at `tick` (0: never) or earlier; after `now` in any case.
    pub(super) fn schedule(&mut self, slot: u32, tick: Tick, now: Tick) {
        if tick == 0 {
            return;
        }
        let index = slot as usize;
        if self.scheduled.len() <= index {
            self.scheduled.resize(index + 1, 0);
        }
        let before = self.scheduled[index];
        if before == 0 || tick < before {
            self.remove(slot);
            let tick = tick.max(now + 1);
            self.entries.insert((tick, slot));
            self.scheduled[index] = tick;
        }
    }

    /// Takes the slot's entry out, if it has one.
    pub(super) fn remove(&mut self, slot: u32) {
        if let Some(tick) = self.scheduled.get_mut(slot as usize) {
            if *tick > 0 {
                self.entries.remove(&(std::mem::take(tick), slot));
            }
        }
    }

    /// When the next entry comes.
    pub(super) fn next(&self) -> Option<Tick> {
        self.entries.first().map(|(tick, _)| *tick)
    }

    /// Takes out the earliest entry if it is due.
    pub(super) fn pop_due(&mut self, now: Tick) -> Option<u32> {
        let (_, slot) = *self.entries.first().filter(|(tick, _)| *tick <= now)?;
        self.remove(slot);
        Some(slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A small generator, so that runs repeat.
    struct Random(u64);

    impl Random {
        fn below(&mut self, bound: u64) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0 % bound
        }
    }

    #[test]
    fn behaves_like_a_list() {
        for seed in 1..40 {
            let mut random = Random(seed);
            let mut timers = Timers::default();
            let mut model = [0; 30];
            let mut now = 0;
            for _ in 0..1000 {
                let slot = random.below(30) as u32;
                let entry = &mut model[slot as usize];
                match random.below(5) {
                    0 => {
                        timers.remove(slot);
                        *entry = 0;
                    }
                    1 => {
                        let magnitude = random.below(34);
                        now += random.below(1 << magnitude);
                        let due = std::iter::from_fn(|| timers.pop_due(now));
                        let mut due: Vec<u32> = due.collect();
                        due.sort_unstable();
                        let expected = (0..30_u32).filter(|slot| {
                            let tick = model[*slot as usize];
                            tick > 0 && tick <= now
                        });
                        assert_eq!(due, expected.collect::<Vec<_>>(), "seed {seed}");
                        for slot in due {
                            model[slot as usize] = 0;
                        }
                    }
                    _ => {
                        let magnitude = random.below(34);
                        let tick = now + 1 + random.below(1 << magnitude);
                        timers.schedule(slot, tick, now);
                        if *entry == 0 || tick < *entry {
                            *entry = tick;
                        }
                    }
                }
                let earliest = model.iter().copied().filter(|tick| *tick > 0).min();
                assert_eq!(timers.next(), earliest, "seed {seed}");
            }
        }
    }

    #[test]
    fn the_past_comes_next() {
        let mut timers = Timers::default();
        timers.schedule(3, 10, 1000);
        assert_eq!((timers.next(), timers.pop_due(1000)), (Some(1001), None));
        assert_eq!(timers.pop_due(1001), Some(3));
        timers.schedule(3, 0, 1001);
        assert_eq!(timers.next(), None);
    }

    #[test]
    fn instants_round_up_to_ticks_and_down_from_them() {
        let epoch = crate::clock::ManualClock::new();
        let epoch = crate::clock::Clock::now(&epoch);
        let ticks = Ticks::new(epoch);
        let at = epoch + Duration::from_micros(1500);
        assert_eq!((ticks.due(at), ticks.reached(at)), (2, 1));
        assert_eq!(ticks.due(epoch), 1);
        assert_eq!(ticks.until(2, at), Duration::from_micros(500));
        assert_eq!(ticks_in(Duration::MAX), FOREVER);
    }
}
