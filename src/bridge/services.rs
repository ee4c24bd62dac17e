//! The services of a server that linked processes handle.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;

use super::service::{LinkedService, channel_of};
use crate::broker::{Access, Broker, ServiceOverride, WeakBroker};
use crate::link::Handle;

/// Puts a linked process in the place of the service of its name, for as long as there is one.
pub(super) struct Services {
    node: Handle,
    broker: WeakBroker,
    /// By alias. `None` when the bridge has gone.
    covers: Mutex<Option<HashMap<Box<str>, ServiceOverride>>>,
}

impl Services {
    pub(super) fn new(broker: &Broker, node: &Handle) -> Self {
        Self {
            node: node.clone(),
            broker: broker.downgrade(),
            covers: Mutex::new(Some(HashMap::new())),
        }
    }

    /// An alias may have come or gone. What counts is whether it is there now: events are told
    /// later than they happen, and at the start beside others.
    pub(super) fn look_at(&self, alias: &str) {
        let (Some(channel), Some(broker)) = (channel_of(alias), self.broker.upgrade()) else {
            return;
        };
        loop {
            // Others may share it.
            let is_there = self.node.wait_for(alias, Duration::ZERO);
            self.cover(&broker, &channel, alias, is_there);
            // Others may have done the same at once, with another answer.
            if self.node.wait_for(alias, Duration::ZERO) == is_there {
                return;
            }
        }
    }

    /// Covers the service, or no longer. What is made or dropped for it is so with no lock held.
    fn cover(&self, broker: &Broker, channel: &str, alias: &str, wanted: bool) {
        let mut cover = None;
        if wanted {
            let service = LinkedService {
                node: self.node.clone(),
                alias: alias.to_owned(),
            };
            cover = broker
                .override_service(channel, Access::Sessions, service)
                .ok();
            if cover.is_none() {
                log::warn!("{alias} cannot handle {channel}: this is no name of a channel");
                return;
            }
        }
        let mut covers = self.covers.lock();
        let Some(by_alias) = covers.as_mut() else {
            return;
        };
        let needless = match cover.take() {
            Some(cover) if by_alias.contains_key(alias) => Some(cover),
            Some(cover) => by_alias.insert(alias.into(), cover),
            None => by_alias.remove(alias),
        };
        drop(covers);
        drop(needless);
    }

    /// Gives all their places back, for good.
    pub(super) fn end(&self) {
        let covers = self.covers.lock().take();
        drop(covers);
    }
}
