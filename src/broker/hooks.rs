//! User code: what the embedder has added, and the threads that run it.
//!
//! Policy and listeners run in one pool, services, callbacks and observers in another, so that
//! neither waits for the other. Nothing of it runs on an I/O thread: where there is a delivery
//! filter, all publishing goes by the policy's pool.

use std::sync::Arc;
use std::time::Instant;

use super::events::{Event, EventKind, Observers};
use super::filter::Filters;
use super::listeners::Listeners;
use super::policy::{Action, Policy, PolicyHook};
use super::pool::{Inbox, Pool, Threads};
use super::service::Services;
use crate::clock::Clock;
use crate::protocol::Target;

pub(crate) struct Hooks {
    policy: Option<PolicyHook>,
    pub(crate) listeners: Listeners,
    pub(crate) observers: Observers,
    pub(crate) filters: Filters,
    pub(crate) services: Arc<Services>,
    pub(crate) policy_pool: Pool,
    /// Requests that wait for the policy, the listeners and the filters.
    pub(crate) policy_inbox: Arc<Inbox>,
    pub(crate) callback_pool: Pool,
    /// Clients in this process for whom something has arrived.
    pub(crate) local_clients: Arc<Inbox>,
}

impl Hooks {
    /// Starts so many threads in each pool, of which an owner may have that share, in percent.
    pub(crate) fn start(
        workers: usize,
        share: usize,
        policy: Option<Box<dyn Policy>>,
        clock: &Arc<dyn Clock>,
    ) -> std::io::Result<Self> {
        let pool = |name| Pool::start(name, workers, share, Arc::clone(clock));
        Ok(Self {
            policy: policy.map(PolicyHook::new),
            listeners: Listeners::default(),
            observers: Observers::default(),
            filters: Filters::default(),
            services: Arc::default(),
            policy_pool: pool("policy")?,
            policy_inbox: Inbox::new("the policy", Threads::All, POLICY_QUEUE),
            callback_pool: pool("callback")?,
            local_clients: Inbox::new("a client in this process", Threads::Half, usize::MAX),
        })
    }

    /// Whether user code must see a message to there before it is executed.
    pub(crate) fn come_before(&self, target: &Target) -> bool {
        let judged = |action| self.policy_for(action).is_some();
        self.listeners.any() || self.filters.any() || Action::of(target).is_some_and(judged)
    }

    /// The policy, if there is one and it judges that.
    pub(crate) fn policy_for(&self, action: Action) -> Option<&dyn Policy> {
        self.policy.as_ref()?.for_action(action)
    }

    /// What waits for a thread.
    pub(crate) fn waiting_jobs(&self) -> usize {
        self.policy_pool.waiting() + self.callback_pool.waiting()
    }

    /// Says in the log what user code does not come back, now and then.
    pub(crate) fn tell_stuck(&self, now: Instant) {
        let pools = [&self.policy_pool, &self.callback_pool];
        for text in pools.into_iter().filter_map(|pool| pool.stuck(now)) {
            log::warn!("{text}");
        }
    }

    /// Tells the observers who asked for this kind of events, if anybody did. Never blocks.
    pub(crate) fn tell(&self, kind: EventKind, event: impl FnOnce() -> Event) {
        self.observers.tell(&self.callback_pool, kind, event);
    }
}

/// Requests that wait for the policy at the most; there is one per connection.
const POLICY_QUEUE: usize = 16_384;
