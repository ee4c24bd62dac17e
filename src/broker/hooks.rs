//! User code: what the embedder has added, and the threads that run it.
//!
//! Policy and listeners run in one pool, services, callbacks and observers in another, so that
//! neither waits for the other. Nothing of it runs on an I/O thread: where there is a delivery
//! filter, all publishing goes by the policy's pool.

use std::sync::Arc;

use super::events::{Event, EventKind, Observers};
use super::filter::Filters;
use super::listeners::Listeners;
use super::policy::{Action, Policy, PolicyHook};
use super::pool::Pool;
use super::service::Services;
use crate::protocol::Target;

pub(crate) struct Hooks {
    policy: Option<PolicyHook>,
    pub(crate) listeners: Listeners,
    pub(crate) observers: Observers,
    pub(crate) filters: Filters,
    pub(crate) services: Arc<Services>,
    pub(crate) policy_pool: Pool,
    pub(crate) callback_pool: Arc<Pool>,
}

impl Hooks {
    /// Starts so many threads in each pool.
    pub(crate) fn start(workers: usize, policy: Option<Box<dyn Policy>>) -> std::io::Result<Self> {
        Ok(Self {
            policy: policy.map(PolicyHook::new),
            listeners: Listeners::default(),
            observers: Observers::default(),
            filters: Filters::default(),
            services: Arc::default(),
            policy_pool: Pool::start("policy", workers, POLICY_QUEUE)?,
            callback_pool: Arc::new(Pool::start("callback", workers, 0)?),
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

    /// Tells the observers who asked for this kind of events, if anybody did. Never blocks.
    pub(crate) fn tell(&self, kind: EventKind, event: impl FnOnce() -> Event) {
        self.observers.tell(&self.callback_pool, kind, event);
    }
}

/// Requests that wait for the policy at the most; there is one per connection.
const POLICY_QUEUE: usize = 16_384;
