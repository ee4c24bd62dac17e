//! How many connects are held per browser and per address.
//!
//! A [`Place`] gives its count back when dropped. The locks here are leaves: they may be taken
//! under a session's lock and take no other.

use std::net::IpAddr;
use std::sync::Arc;

use crate::counters::Gauge;
use crate::transport::BrowserId;
use crate::util::{Owner, Shares};

pub(crate) struct HeldCounts {
    browsers: Option<Shares<Browser>>,
    addresses: Option<Shares<Owner>>,
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    Browser,
    Address,
}

/// A held connect's share of the counts.
pub(crate) struct Place {
    counts: Arc<HeldCounts>,
    browser: Option<Browser>,
    address: Option<Owner>,
}

impl HeldCounts {
    /// What has no bound is not counted.
    pub(crate) fn new(per_browser: Option<usize>, per_address: Option<usize>) -> Self {
        Self {
            browsers: per_browser.map(|most| Shares::new(usize::MAX, most)),
            addresses: per_address.map(|most| Shares::new(usize::MAX, most)),
            total: Gauge::default(),
        }
    }

    pub(crate) fn total(&self) -> u64 {
        self.total.get()
    }

    /// Takes a place that counts for nobody.
    pub(crate) fn take_free(self: &Arc<Self>) -> Place {
        self.total.add(1);
        Place {
            counts: Arc::clone(self),
            browser: None,
            address: None,
        }
    }

    /// Takes a place, if both bounds allow it.
    pub(crate) fn take(
        self: &Arc<Self>,
        browser: Option<BrowserId>,
        address: IpAddr,
    ) -> Result<Place, Full> {
        let mut place = self.take_free();
        if let (Some(browsers), Some(id)) = (&self.browsers, browser.map(Browser::from)) {
            browsers.take(id, 1).map_err(|_| Full::Browser)?;
            place.browser = Some(id);
        }
        if let Some(addresses) = &self.addresses {
            let owner = Owner::from(address);
            addresses.take(owner, 1).map_err(|_| Full::Address)?;
            place.address = Some(owner);
        }
        Ok(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let counts = &self.counts;
        if let (Some(browsers), Some(id)) = (&counts.browsers, self.browser) {
            browsers.give_back(id, 1);
        }
        if let (Some(addresses), Some(owner)) = (&counts.addresses, self.address) {
            addresses.give_back(owner, 1);
        }
        counts.total.sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_exact() {
        let counts = Arc::new(HeldCounts::new(Some(1), Some(2)));
        let take = |browser: Option<u128>| {
            let ip = IpAddr::from([127, 0, 0, 1]);
            counts.take(browser.map(BrowserId), ip)
        };
        let one = take(Some(1));
        assert_eq!(take(Some(1)).err(), Some(Full::Browser));
        let two = take(None);
        assert!(one.is_ok() && two.is_ok());
        assert_eq!(take(Some(2)).err(), Some(Full::Address));
        let free = counts.take_free();
        assert_eq!(counts.total(), 3);
        drop((one, free));
        assert!(take(Some(1)).is_ok() && take(Some(2)).is_ok());
        drop(two);
        assert_eq!(counts.total(), 0);
    }
}
