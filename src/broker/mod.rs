//! Sessions and routing: who is here, who listens to what, and what waits for whom.
//!
//! In scope: sessions and their queues, the subscription table, fan-out, held connects, local
//! clients, services, policy, listeners, time.
//! Out of scope: bytes on sockets, HTTP, JSON text beyond raw values.
//!
//! # Threads
//! - [`Broker::execute`] runs on the connector's thread and never blocks or runs user code there.
//! - Policy and message listeners run in one pool of workers, services, callbacks of local clients
//!   and observers in another, so that neither waits for the other.
//! - The ticker ends holds and sessions when their time has come.
//!
//! # Locks
//! Each lock has its own private state, and none is held while another is taken, but for these:
//! - a local client's mailbox before its session's `subscriptions` or state;
//! - a session's `subscriptions` before the table, the session's state or the observers' inboxes;
//! - in the table, a shard of the cache before the trie;
//! - a session's state before the leaves: held counts and the ticker's calendar.
//!
//! Never the table and a session's state together, never two sessions. What a locked step brings
//! about for others is collected as `wakes::Wakes` and done when no lock is held.

mod answer;
mod behalf;
mod config;
mod connect;
mod core;
mod ending;
mod events;
mod facade;
mod failures;
mod filter;
mod flags;
mod held;
mod info;
mod listeners;
mod load;
mod local;
mod mailbox;
mod meta;
mod permission;
mod policy;
mod public_id;
mod publish;
mod queue;
mod registry;
mod request;
mod service;
mod session;
mod shrink;
mod stale;
mod stats;
mod stream;
mod stripes;
mod subscriptions;
mod table;
mod ticker;
mod trie;
mod wakes;
mod work;

pub use answer::{Answer, AnswerStatus, Exchange, Executed, Flight, Unread};
pub use config::BrokerConfig;
pub use events::{Client, Event, EventKind};
pub use facade::{Broker, WeakBroker};
pub use filter::{Delivery, Passage};
pub use flags::Flags;
pub use info::SessionInfo;
pub use local::{LocalClient, LocalError, LocalSubscription};
pub use policy::{Action, Decision, Extra, Policy, Principal, Question, Verdict};
pub use queue::{Overflow, QueueLimits};
pub use request::Call;
pub(crate) use service::Cover;
pub use service::{Access, Service, ServiceCall, ServiceError, ServiceReply};
pub use session::Gone;
pub use stats::BrokerStats;
pub use stream::{Attachment, Collected, Ended, NoStream};
pub(crate) use work::guarded;
