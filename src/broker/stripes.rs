//! Values kept once for each thread, or nearly so, and added up when somebody asks.
//!
//! Two threads that write to one place wait for each other's cache line each time, and since that
//! makes them keep step, they meet there again and again. What every message changes is therefore
//! striped.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};

use crossbeam_utils::CachePadded;

/// More than the threads that are busy at once on most machines. Threads beyond share stripes,
/// which is slower and still right.
pub(crate) const STRIPES: usize = 16;

/// One value for each stripe.
#[derive(Default)]
pub(crate) struct Stripes<T>([CachePadded<T>; STRIPES]);

impl<T> Stripes<T> {
    /// The value of the calling thread's stripe.
    pub(crate) fn mine(&self) -> &T {
        &self.0[index()]
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|padded| &**padded)
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// The value at a place that the caller chooses, for things that are spread by other means.
    pub(crate) fn at(&self, place: usize) -> &T {
        &self.0[place % STRIPES]
    }
}

fn index() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static MINE: Cell<usize> = const { Cell::new(usize::MAX) };
    }
    MINE.with(|mine| {
        if mine.get() == usize::MAX {
            mine.set(NEXT.fetch_add(1, Ordering::Relaxed) % STRIPES);
        }
        mine.get()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counters::Counter;

    #[test]
    fn threads_have_their_own_until_there_are_too_many() {
        let stripes = Stripes::<Counter>::default();
        std::thread::scope(|scope| {
            for _ in 0..2 * STRIPES {
                scope.spawn(|| {
                    for _ in 0..100 {
                        stripes.mine().one();
                    }
                });
            }
        });
        let sum: u64 = stripes.iter().map(Counter::get).sum();
        assert_eq!(sum, 200 * STRIPES as u64);
        assert!(stripes.iter().filter(|counter| counter.get() > 0).count() > 1);
    }
}
