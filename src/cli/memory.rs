//! Gives memory back to the system.
//!
//! glibc keeps what is freed, and much of it for good: blocks as large as one that was freed before
//! come from the heap from then on, and of a heap only the end is returned. After a storm the
//! process would look as large as in its middle. Other allocators are left alone.
//!
//! What stays is the few freed blocks of each size that every thread keeps at hand: they cannot be
//! reclaimed from outside, and each holds its page. That is one or two MiB in all, and nothing if
//! the program runs with `GLIBC_TUNABLES=glibc.malloc.tcache_count=0`.

use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};

/// How often it is looked how much is in use, so that a short storm is seen too.
const LOOK: Duration = Duration::from_millis(250);
/// After so many looks it is judged whether a storm has passed.
const LOOKS: u32 = 20;
/// A fall by less is not worth while: to look for free pages takes tens of milliseconds with tens
/// of thousands of clients, and keeps their threads from allocating. With few clients it takes no
/// time, and what the last ones leave may be all over the heap.
const WORTH_WHILE: u64 = 10;

/// To be called before other threads are started.
pub(super) fn prepare() {
    glibc::map_large_blocks();
}

/// Returns free memory whenever much less is in use than before, until the channel is closed.
/// `in_use` tells what is, in any measure that follows clients and queued messages; it is asked
/// four times a second.
pub(super) fn watch(in_use: impl Fn() -> u64, stop: &Receiver<()>) {
    let (mut peak, mut looks) = (Peak::default(), 0);
    while stop.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
        let now = in_use();
        peak.rise(now);
        looks += 1;
        if looks % LOOKS == 0 && peak.has_fallen(now) {
            glibc::trim();
        }
    }
}

/// The most that was in use since it last fell.
#[derive(Default)]
struct Peak {
    high: u64,
}

impl Peak {
    fn rise(&mut self, now: u64) {
        self.high = self.high.max(now);
    }

    /// Whether it has fallen by a quarter.
    fn has_fallen(&mut self, now: u64) -> bool {
        self.rise(now);
        let fallen = self.high - now > (self.high / 4).max(WORTH_WHILE);
        if fallen {
            self.high = now;
        }
        fallen
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code)]
mod glibc {
    /// Blocks of at least so many bytes are mapped one by one, and unmapped when they are freed.
    /// Bodies and responses of most applications are smaller.
    const MAPPED: libc::c_int = 128 << 10;

    pub(super) fn map_large_blocks() {
        // SAFETY: sets a parameter of the allocator; any thread may do so at any time.
        unsafe {
            libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED);
        }
    }

    pub(super) fn trim() {
        // SAFETY: frees nothing that is in use; any thread may call it at any time.
        unsafe {
            libc::malloc_trim(0);
        }
    }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
mod glibc {
    pub(super) fn map_large_blocks() {}

    pub(super) fn trim() {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_fall_by_a_quarter_counts() {
        let mut peak = Peak::default();
        let seen = [0, 10, 0, 1000, 800, 700, 690, 2000, 0, 0, 11, 0].map(|n| peak.has_fallen(n));
        let fallen = [3, 4, 5, 8, 11].map(|at: usize| seen[at]);
        assert_eq!(fallen, [false, false, true, true, true]);
        assert_eq!(seen.iter().filter(|fallen| **fallen).count(), 3);
    }

    #[test]
    fn a_peak_between_two_looks_counts() {
        let mut peak = Peak::default();
        peak.rise(300);
        assert!(peak.has_fallen(0) && !peak.has_fallen(0));
    }
}
