//! Observers of a node, as programs set them.

use std::fmt;
use std::sync::Arc;

use super::handle::Handle;
use super::shared::{Observer, Shared};
use crate::link::Event;

impl Handle {
    /// Tells the observer what happens from now on, in order, on a worker thread. It may block;
    /// what it is much too slow for is dropped and counted.
    pub fn observe(&self, observer: impl Fn(&Event) + Send + Sync + 'static) {
        self.shared().add_observer(Arc::new(observer));
    }

    /// As [`observe`](Self::observe), until what is returned is dropped. An event that is being
    /// told then still is.
    pub fn observe_while(&self, observer: impl Fn(&Event) + Send + Sync + 'static) -> Observing {
        let observer: Observer = Arc::new(observer);
        self.shared().add_observer(Arc::clone(&observer));
        Observing {
            shared: Arc::clone(self.shared()),
            observer,
        }
    }
}

/// An observer that is told of events. Dropping this ends it.
#[must_use = "dropping it ends the observer"]
pub struct Observing {
    shared: Arc<Shared>,
    observer: Observer,
}

impl Drop for Observing {
    fn drop(&mut self) {
        self.shared.remove_observer(&self.observer);
    }
}

impl fmt::Debug for Observing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observing").finish_non_exhaustive()
    }
}
