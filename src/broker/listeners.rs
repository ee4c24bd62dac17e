//! Message listeners: they see what clients publish before anybody gets it, and may veto it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::RwLock;

use super::policy::{AuthRequest, Verdict};
use super::pool::guarded;
use crate::protocol::{ChannelName, Pattern};

type Listener = Box<dyn Fn(&AuthRequest<'_>) -> Verdict + Send + Sync>;

type List = Arc<[Arc<(Pattern, Listener)>]>;

#[derive(Default)]
pub(crate) struct Listeners {
    some: AtomicBool,
    list: RwLock<List>,
}

impl Listeners {
    pub(crate) fn add(&self, pattern: Pattern, listener: Listener) {
        let mut list = self.list.write();
        *list = list
            .iter()
            .cloned()
            .chain([Arc::new((pattern, listener))])
            .collect();
        self.some.store(true, Ordering::Release);
    }

    pub(crate) fn any(&self) -> bool {
        self.some.load(Ordering::Acquire)
    }

    /// Asks every listener of the channel until one vetoes. A panic is a veto.
    pub(crate) fn judge(&self, channel: &ChannelName, request: &AuthRequest<'_>) -> Verdict {
        let list = Arc::clone(&self.list.read());
        let vetoed = list
            .iter()
            .filter(|entry| entry.0.matches(channel))
            .any(|entry| guarded("a listener", || (entry.1)(request)) != Some(Verdict::Pass));
        if vetoed { Verdict::Veto } else { Verdict::Pass }
    }
}
