//! How many connects are held per browser and per address.
//!
//! Entries exist only while something is held. A [`Place`] gives its count back when dropped. The
//! locks here are leaves: they may be taken under a session's lock and take no other.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;

use super::shrink::shrink;
use crate::counters::Gauge;
use crate::transport::BrowserId;

#[derive(Default)]
pub(crate) struct HeldCounts {
    browsers: Mutex<HashMap<Browser, usize>>,
    addresses: Mutex<HashMap<IpAddr, usize>>,
    total: Gauge,
}

/// A browser's id in halves, which need no wide alignment in every session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Browser([u64; 2]);

impl From<BrowserId> for Browser {
    fn from(id: BrowserId) -> Self {
        Self([(id.0 >> 64) as u64, id.0 as u64])
    }
}

/// The bounds for one connect; `None` is no bound.
#[derive(Clone, Copy)]
pub(crate) struct HeldLimits {
    pub(crate) per_browser: Option<usize>,
    pub(crate) per_address: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    Browser,
    Address,
}

/// A held connect's share of the counts.
pub(crate) struct Place {
    counts: Arc<HeldCounts>,
    browser: Option<Browser>,
    address: Option<IpAddr>,
}

impl HeldCounts {
    pub(crate) fn total(&self) -> u64 {
        self.total.get()
    }

    /// Takes a place, if both bounds allow it. What has no bound is not counted.
    pub(crate) fn take(
        self: &Arc<Self>,
        browser: Option<BrowserId>,
        address: IpAddr,
        limits: HeldLimits,
    ) -> Result<Place, Full> {
        let browser = browser.filter(|_| limits.per_browser.is_some());
        let browser = browser.map(Browser::from);
        let address = limits.per_address.map(|_| address);
        if let (Some(id), Some(limit)) = (browser, limits.per_browser) {
            if !count(&self.browsers, id, limit) {
                return Err(Full::Browser);
            }
        }
        if let (Some(ip), Some(limit)) = (address, limits.per_address) {
            if !count(&self.addresses, ip, limit) {
                if let Some(id) = browser {
                    discount(&self.browsers, &id);
                }
                return Err(Full::Address);
            }
        }
        self.total.add(1);
        Ok(Place {
            counts: Arc::clone(self),
            browser,
            address,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(id) = self.browser {
            discount(&self.counts.browsers, &id);
        }
        if let Some(ip) = self.address {
            discount(&self.counts.addresses, &ip);
        }
        self.counts.total.sub(1);
    }
}

fn count<K: Eq + Hash>(counts: &Mutex<HashMap<K, usize>>, key: K, limit: usize) -> bool {
    let mut counts = counts.lock();
    if counts.get(&key).copied().unwrap_or(0) >= limit {
        return false;
    }
    *counts.entry(key).or_insert(0) += 1;
    true
}

fn discount<K: Eq + Hash>(counts: &Mutex<HashMap<K, usize>>, key: &K) {
    let mut counts = counts.lock();
    if let Some(n) = counts.get_mut(key) {
        *n -= 1;
        if *n == 0 {
            counts.remove(key);
            shrink(&mut counts);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_exact_and_entries_vanish() {
        let counts = Arc::new(HeldCounts::default());
        let limits = HeldLimits {
            per_browser: Some(1),
            per_address: Some(2),
        };
        let ip = IpAddr::from([127, 0, 0, 1]);
        let one = counts
            .take(Some(BrowserId(1)), ip, limits)
            .unwrap_or_else(|_| panic!("the first of a browser"));
        assert_eq!(
            counts.take(Some(BrowserId(1)), ip, limits).err(),
            Some(Full::Browser)
        );
        let two = counts
            .take(None, ip, limits)
            .unwrap_or_else(|_| panic!("without a cookie"));
        assert_eq!(
            counts.take(Some(BrowserId(2)), ip, limits).err(),
            Some(Full::Address)
        );
        assert_eq!(counts.total(), 2);
        drop((one, two));
        assert_eq!(counts.total(), 0);
        assert!(counts.browsers.lock().is_empty());
        assert!(counts.addresses.lock().is_empty());
    }
}
