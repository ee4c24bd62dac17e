//! Effects of a locked step: connections to wake once no lock is held.

use std::sync::Arc;

use crate::transport::{ConnectionHandle, WakeSink};

/// Collects connections and wakes each sink once with all its keys.
#[derive(Default)]
pub(crate) struct Wakes {
    groups: Vec<(Arc<dyn WakeSink>, Vec<u64>)>,
}

impl Wakes {
    pub(crate) fn add(&mut self, connection: &ConnectionHandle) {
        // There are as many sinks as threads of the native connector: a handful. Where every
        // request has its own there is nothing to be found.
        let known = self
            .groups
            .iter_mut()
            .rev()
            .take(LOOKED_AT)
            .find(|(sink, _)| same(sink, &connection.sink));
        match known {
            Some((_, keys)) => keys.push(connection.key),
            None => self
                .groups
                .push((Arc::clone(&connection.sink), vec![connection.key])),
        }
    }

    /// Wakes them all. No broker lock may be held here.
    pub(crate) fn send(&mut self) {
        for (sink, keys) in self.groups.drain(..) {
            sink.wake(&keys);
        }
    }
}

/// Groups that are looked at for one sink.
const LOOKED_AT: usize = 64;

/// Also when a run fails half way: whoever got something is told.
impl Drop for Wakes {
    fn drop(&mut self) {
        self.send();
    }
}

fn same(a: &Arc<dyn WakeSink>, b: &Arc<dyn WakeSink>) -> bool {
    // Addresses only: the vtable of one type may exist twice.
    std::ptr::addr_eq(Arc::as_ptr(a), Arc::as_ptr(b))
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;

    use super::*;

    #[derive(Default)]
    struct Calls(Mutex<Vec<Vec<u64>>>);

    impl WakeSink for Calls {
        fn wake(&self, keys: &[u64]) {
            self.0.lock().push(keys.to_vec());
        }
    }

    #[test]
    fn each_sink_is_called_once_and_at_the_latest_in_the_end() {
        let sinks = [Arc::new(Calls::default()), Arc::new(Calls::default())];
        let connection = |n: usize, key| ConnectionHandle {
            sink: Arc::clone(&sinks[n]) as _,
            key,
        };
        let mut wakes = Wakes::default();
        for (n, key) in [(0, 1), (1, 2), (0, 3)] {
            wakes.add(&connection(n, key));
        }
        wakes.send();
        wakes.add(&connection(1, 4));
        drop(wakes);
        assert_eq!(*sinks[0].0.lock(), [vec![1, 3]]);
        assert_eq!(*sinks[1].0.lock(), [vec![2], vec![4]]);
    }
}
