//! Effects of a locked step: connections to wake once no lock is held.

use std::sync::Arc;

use crate::transport::{Link, Outlet};

/// Collects links and wakes each outlet once with all its keys.
#[derive(Default)]
pub(crate) struct Wakes {
    groups: Vec<(Arc<dyn Outlet>, Vec<u64>)>,
}

impl Wakes {
    pub(crate) fn add(&mut self, link: &Link) {
        // There are as many outlets as threads of the native connector: a handful. Where every
        // request has its own there is nothing to be found.
        let known = self
            .groups
            .iter_mut()
            .rev()
            .take(LOOKED_AT)
            .find(|(outlet, _)| same(outlet, &link.outlet));
        match known {
            Some((_, keys)) => keys.push(link.key),
            None => self.groups.push((Arc::clone(&link.outlet), vec![link.key])),
        }
    }

    /// Wakes them all. No broker lock may be held here.
    pub(crate) fn send(&mut self) {
        for (outlet, keys) in self.groups.drain(..) {
            outlet.wake(&keys);
        }
    }
}

/// Groups that are looked at for one outlet.
const LOOKED_AT: usize = 64;

/// Also when a run fails half way: whoever got something is told.
impl Drop for Wakes {
    fn drop(&mut self) {
        self.send();
    }
}

fn same(a: &Arc<dyn Outlet>, b: &Arc<dyn Outlet>) -> bool {
    // Addresses only: the vtable of one type may exist twice.
    std::ptr::addr_eq(Arc::as_ptr(a), Arc::as_ptr(b))
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;

    use super::*;

    #[derive(Default)]
    struct Calls(Mutex<Vec<Vec<u64>>>);

    impl Outlet for Calls {
        fn wake(&self, keys: &[u64]) {
            self.0.lock().push(keys.to_vec());
        }
    }

    #[test]
    fn each_outlet_is_called_once_and_at_the_latest_in_the_end() {
        let outlets = [Arc::new(Calls::default()), Arc::new(Calls::default())];
        let link = |n: usize, key| Link {
            outlet: Arc::clone(&outlets[n]) as _,
            key,
        };
        let mut wakes = Wakes::default();
        for (n, key) in [(0, 1), (1, 2), (0, 3)] {
            wakes.add(&link(n, key));
        }
        wakes.send();
        wakes.add(&link(1, 4));
        drop(wakes);
        assert_eq!(*outlets[0].0.lock(), [vec![1, 3]]);
        assert_eq!(*outlets[1].0.lock(), [vec![2], vec![4]]);
    }
}
