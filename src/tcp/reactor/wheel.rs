//! A hierarchical timing wheel with at most one entry per slot.
//!
//! In scope: when is which slot due. Out of scope: clocks; time comes in as [`Tick`]s.
//!
//! Entries are links in lists that are threaded through one array, so inserting, moving and
//! removing cost the same few writes whatever the number of entries, and nothing is allocated after
//! the array has grown. A connection rarely moves its entry: a later deadline is only noted by the
//! owner, and the entry that then comes early is put back.

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
        let since = now.saturating_duration_since(self.epoch);
        since.as_secs() * 1000 + Tick::from(since.subsec_millis())
    }

    /// The first tick that is not before `at`; never 0.
    pub(super) fn due(&self, at: Instant) -> Tick {
        let since = at.saturating_duration_since(self.epoch);
        let part = since.subsec_nanos().div_ceil(1_000_000);
        (since.as_secs() * 1000 + Tick::from(part)).max(1)
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
    let ticks = time.as_nanos().div_ceil(1_000_000);
    Tick::try_from(ticks).map_or(FOREVER, |ticks| ticks.min(FOREVER))
}

/// The wheel. Level `n` has 64 buckets of 64^n ticks each.
#[derive(Debug)]
pub(super) struct Wheel {
    /// Everything before and at this tick has been expired.
    now: Tick,
    /// First slot of each bucket's list.
    heads: [u32; LEVELS * BUCKETS],
    /// One bit per bucket that is not empty.
    occupied: [u64; LEVELS],
    links: Vec<Link>,
}

#[derive(Clone, Copy, Debug)]
struct Link {
    next: u32,
    previous: u32,
    bucket: u16,
    tick: Tick,
}

impl Wheel {
    pub(super) fn new() -> Self {
        Self {
            now: 0,
            heads: [NIL; LEVELS * BUCKETS],
            occupied: [0; LEVELS],
            links: Vec::new(),
        }
    }

    /// The tick at which the slot's entry comes, 0 if it has none.
    pub(super) fn scheduled(&self, slot: u32) -> Tick {
        match self.links.get(slot as usize) {
            Some(link) if link.bucket != NO_BUCKET => link.tick,
            _ => 0,
        }
    }

    /// Enters the slot, or moves its entry. A tick in the past comes with the next `expire`.
    pub(super) fn insert(&mut self, slot: u32, tick: Tick) {
        self.remove(slot);
        if self.links.len() <= slot as usize {
            self.links.resize(slot as usize + 1, Link::NONE);
        }
        let tick = tick.max(self.now + 1);
        let bucket = self.bucket_of(tick);
        let head = self.heads[bucket];
        if head != NIL {
            self.links[head as usize].previous = slot;
        }
        let link = Link {
            next: head,
            previous: NIL,
            bucket: bucket as u16,
            tick,
        };
        self.links[slot as usize] = link;
        self.heads[bucket] = slot;
        self.occupied[bucket / BUCKETS] |= 1 << (bucket % BUCKETS);
    }

    /// Takes the slot's entry out, if it has one.
    pub(super) fn remove(&mut self, slot: u32) {
        let Some(&link) = self.links.get(slot as usize) else {
            return;
        };
        if link.bucket == NO_BUCKET {
            return;
        }
        let bucket = usize::from(link.bucket);
        if link.next != NIL {
            self.links[link.next as usize].previous = link.previous;
        }
        if link.previous != NIL {
            self.links[link.previous as usize].next = link.next;
        } else {
            self.heads[bucket] = link.next;
            if link.next == NIL {
                self.occupied[bucket / BUCKETS] &= !(1 << (bucket % BUCKETS));
            }
        }
        self.links[slot as usize] = Link::NONE;
    }

    /// No entry comes before this tick; `None` if there are no entries.
    pub(super) fn next(&self) -> Option<Tick> {
        let mut earliest: Option<Tick> = None;
        for level in 0..LEVELS {
            if self.occupied[level] == 0 {
                continue;
            }
            let shift = level * BITS;
            let index = (self.now >> shift) as u32 % BUCKETS as u32;
            // How many buckets ahead; the current one is always empty.
            let ahead = self.occupied[level].rotate_right(index).trailing_zeros();
            debug_assert!(ahead > 0);
            let tick = ((self.now >> shift) + u64::from(ahead)) << shift;
            earliest = Some(earliest.map_or(tick, |e| e.min(tick)));
        }
        earliest
    }

    /// Moves the time to `to` and takes out all slots that are due.
    pub(super) fn expire(&mut self, to: Tick, due: &mut Vec<u32>) {
        while let Some(next) = self.next().filter(|next| *next <= to) {
            self.now = next;
            for level in (0..LEVELS).rev() {
                let shift = level * BITS;
                if next & ((1 << shift) - 1) == 0 {
                    let bucket = level * BUCKETS + (next >> shift) as usize % BUCKETS;
                    self.empty(bucket, due);
                }
            }
        }
        self.now = self.now.max(to);
    }

    /// Slots of the bucket that are due come out, the others go to where they now belong.
    fn empty(&mut self, bucket: usize, due: &mut Vec<u32>) {
        let mut slot = std::mem::replace(&mut self.heads[bucket], NIL);
        self.occupied[bucket / BUCKETS] &= !(1 << (bucket % BUCKETS));
        while slot != NIL {
            let link = std::mem::replace(&mut self.links[slot as usize], Link::NONE);
            if link.tick <= self.now {
                due.push(slot);
            } else {
                self.insert(slot, link.tick);
            }
            slot = link.next;
        }
    }

    fn bucket_of(&self, tick: Tick) -> usize {
        debug_assert!(tick > self.now);
        // The highest digit in which the tick differs from now decides the level.
        let differs = 63 - (tick ^ self.now).leading_zeros() as usize;
        let level = (differs / BITS).min(LEVELS - 1);
        let shift = level * BITS;
        // Beyond the last level's lap: the farthest bucket, from where it is entered again.
        let lap = (self.now >> shift) + BUCKETS as u64 - 1;
        let index = (tick >> shift).min(lap);
        level * BUCKETS + index as usize % BUCKETS
    }
}

impl Link {
    const NONE: Self = Self {
        next: NIL,
        previous: NIL,
        bucket: NO_BUCKET,
        tick: 0,
    };
}

/// 146 million years.
const FOREVER: Tick = Tick::MAX / 4;
const BITS: usize = 6;
const BUCKETS: usize = 1 << BITS;
/// 64^5 ms are 12 days.
const LEVELS: usize = 5;
const NIL: u32 = u32::MAX;
const NO_BUCKET: u16 = u16::MAX;

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
    fn agrees_with_a_plain_list() {
        for seed in 1..40 {
            let mut random = Random(seed);
            let mut wheel = Wheel::new();
            let mut model = [0 as Tick; 50];
            let mut now = 0;
            for _ in 0..600 {
                let slot = random.below(50) as u32;
                match random.below(4) {
                    0 => {
                        wheel.remove(slot);
                        model[slot as usize] = 0;
                    }
                    1 => {
                        let magnitude = random.below(34);
                        now += random.below(1 << magnitude);
                        let mut due = Vec::new();
                        wheel.expire(now, &mut due);
                        due.sort_unstable();
                        let expected: Vec<u32> = (0..50)
                            .filter(|s| (1..=now).contains(&model[*s as usize]))
                            .collect();
                        assert_eq!(due, expected, "seed {seed} at {now}");
                        for slot in due {
                            model[slot as usize] = 0;
                        }
                    }
                    _ => {
                        let magnitude = random.below(34);
                        let tick = now + 1 + random.below(1 << magnitude);
                        wheel.insert(slot, tick);
                        model[slot as usize] = tick;
                    }
                }
                assert_eq!(wheel.scheduled(slot), model[slot as usize]);
                let earliest = model.iter().copied().filter(|t| *t > 0).min();
                match (wheel.next(), earliest) {
                    (None, None) => {}
                    (Some(next), Some(earliest)) => assert!(now < next && next <= earliest),
                    other => panic!("seed {seed}: {other:?}"),
                }
            }
        }
    }

    #[test]
    fn the_past_comes_next() {
        let mut wheel = Wheel::new();
        let mut due = Vec::new();
        wheel.expire(1000, &mut due);
        wheel.insert(3, 10);
        assert_eq!(wheel.next(), Some(1001));
        wheel.expire(1001, &mut due);
        assert_eq!(due, [3]);
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
    }
}
