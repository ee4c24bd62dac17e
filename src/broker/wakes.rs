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
        // There are as many outlets as connector threads: a handful.
        let known = self
            .groups
            .iter_mut()
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

fn same(a: &Arc<dyn Outlet>, b: &Arc<dyn Outlet>) -> bool {
    // Addresses only: the vtable of one type may exist twice.
    std::ptr::addr_eq(Arc::as_ptr(a), Arc::as_ptr(b))
}
