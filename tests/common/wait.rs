//! Waiting for what others bring about.

use std::fmt::Debug;
use std::time::{Duration, Instant};

/// Longer than anything takes that works, on a busy machine too.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Longer than tests wait. Limits that a test does not set have this time, so that nothing comes to
/// pass by another limit than the one that it is about.
pub(crate) const NEVER: Duration = Duration::from_secs(600);

/// Waits until it is so.
#[track_caller]
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    until(what, || is_so().then_some(()).ok_or("not so"));
}

/// Waits until a look finds something. One that finds nothing tells what it sees instead.
#[track_caller]
pub(crate) fn until<T, E: Debug>(what: &str, mut look: impl FnMut() -> Result<T, E>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        match look() {
            Ok(found) => return found,
            Err(seen) => assert!(Instant::now() < end, "{what}: {seen:?}"),
        }
        std::thread::sleep(Duration::from_micros(500));
    }
}

/// Waits until numbers are as they should be.
#[track_caller]
pub(crate) fn until_numbers<S: Debug>(
    what: &str,
    numbers: impl Fn() -> S,
    mut are_so: impl FnMut(&S) -> bool,
) {
    until(what, || {
        let seen = numbers();
        if are_so(&seen) { Ok(()) } else { Err(seen) }
    });
}
