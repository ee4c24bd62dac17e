//! Bytes that count for as long as what has them lives.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use crossbeam_utils::CachePadded;

/// A sum of bytes. Many threads may change it; those that want to be apart have one each, of which
/// any can be negative.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sum(Arc<CachePadded<AtomicI64>>);

impl Sum {
    pub(crate) fn add(&self, bytes: i64) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Adds so many until what is returned is dropped.
    pub(crate) fn book(&self, bytes: usize) -> Booked {
        self.add(as_i64(bytes));
        Booked {
            sum: self.clone(),
            bytes,
        }
    }
}

/// Bytes in a [`Sum`], given back when dropped.
#[derive(Debug)]
pub(crate) struct Booked {
    sum: Sum,
    bytes: usize,
}

impl Drop for Booked {
    fn drop(&mut self) {
        self.sum.add(-as_i64(self.bytes));
    }
}

pub(crate) fn as_i64(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_booked_counts_until_it_is_dropped() {
        let sum = Sum::default();
        sum.add(-3);
        let booked = sum.book(10);
        assert_eq!(sum.get(), 7);
        drop(booked);
        assert_eq!(sum.get(), -3);
    }
}
