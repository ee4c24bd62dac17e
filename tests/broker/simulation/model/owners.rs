//! Who makes room for whom.

use std::collections::BTreeMap;
use std::net::IpAddr;

use bayeux::Gone;

use super::{Model, Session};

/// How much a client would miss its session, from least to most; then since when it has it.
type Missed = (u8, Option<u64>, u64);

impl Session {
    fn missed(&self) -> Missed {
        match self.expires {
            _ if !self.connected => (0, None, self.number),
            Some(expires) => (1, Some(expires - self.lifetime), self.number),
            None => (2, None, self.number),
        }
    }
}

impl Model {
    /// Whether there are so many places; others may have to go for it.
    pub(super) fn reserve(&mut self, owner: IpAddr, places: usize) -> bool {
        let mut counts: BTreeMap<IpAddr, usize> = BTreeMap::new();
        for session in self.sessions.values().filter(|s| s.is_registered()) {
            *counts.entry(session.owner).or_default() += 1;
        }
        let taken: usize = counts.values().sum();
        if places == 0 || taken + places <= self.config.max_sessions {
            return true;
        }
        let has = counts.get(&owner).copied().unwrap_or(0);
        let most = counts.into_iter().max_by_key(|(other, n)| (*n, *other));
        let Some((hog, _)) = most.filter(|(_, n)| *n >= has + 2 * places && *n > 1) else {
            return false;
        };
        self.sums.refused += 1;
        let its = self
            .sessions
            .iter()
            .filter(|(_, session)| session.owner == hog);
        let its = its.filter(|(_, session)| session.is_registered());
        let mut its: Vec<_> = its
            .map(|(id, session)| (session.missed(), id.clone()))
            .collect();
        its.sort();
        for (_, id) in its.into_iter().take(places) {
            let parting = self.sessions[&id].parting;
            self.end(&id, parting.unwrap_or(Gone::Evicted));
        }
        true
    }
}
