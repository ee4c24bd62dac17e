//! Maps by numbers that we count ourselves: of sessions, of answers that wait.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// What has a number.
pub(crate) type Numbered<T> = HashMap<u64, T, BuildHasherDefault<NumberHasher>>;

/// Nobody else chooses the numbers, so they need to be spread but not to be protected.
#[derive(Default)]
pub(crate) struct NumberHasher(u64);

impl Hasher for NumberHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(self.0 ^ u64::from(*byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        // An odd number without pattern: 2^64 divided by the golden ratio.
        self.0 = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
