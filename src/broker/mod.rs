//! Sessions and routing: who is here, who listens to what, and what waits for whom.
//!
//! In scope: sessions and their queues, the subscription table, fan-out, held connects, local
//! clients, services, policy, listeners, time.
//! Out of scope: bytes on sockets, HTTP, JSON text beyond raw values.
//!
//! # The way of a message
//! A connector calls [`Broker::execute`] with a batch (`request`). Where user code must see a
//! message first, the rest of the request moves to a thread of the policy's pool. `meta`, `connect`
//! and `publish` execute it, after `permission`. What is published goes to everyone whom the
//! `table` names, through the `filter` into the queue of each `session` (`deliver`), and the
//! connection that takes that session's messages is woken (`wakes`). It comes back on a thread of
//! its own and takes what waits: as a socket or a stream of events (`receiver`), or with the reply
//! to a connect (`connect`). The messages stay at the head of the `queue` until the connection says
//! that the kernel has taken them, or that it has broken: then they wait again (`in_flight`).
//!
//! # Files
//! | | |
//! |---|---|
//! | `facade` `admin` `local` `mailbox` | what embedders call; clients in this process |
//! | `request` `steps` | the messages of a request in order, and where it waits |
//! | `meta` `connect` `publish` `subscriptions` | executing each kind of message |
//! | `hooks` `permission` `policy` `listeners` `filter` `service` `events` `flags` | user code |
//! | `pool` | the threads that run it |
//! | `deliver` `table` `subscribers` | who gets a publication |
//! | `session` `queue` `registry` `public_id` | one client; all of them |
//! | `receiver` `answer` `in_flight` `wakes` | receivers and answers, from the connections' side |
//! | `held_limits` `budget` `traffic` `stale` `failures` `stats` | bounds; what is refused |
//! | `ticker` `ending` | time, and how sessions end |
//!
//! # Threads
//! - [`Broker::execute`] runs on the connector's thread and never blocks or runs user code there.
//! - User code runs in two pools of workers, see `hooks`.
//! - The ticker ends holds and sessions when their time has come.
//!
//! # Locks
//! Each lock has its own private state, and none is held while another is taken, but for these:
//! - a local client's mailbox before its session's `subscriptions` or state;
//! - a session's `subscriptions` before the table, the session's state or the observers'
//!   list and inboxes;
//! - in the table, a shard of the cache before the patterns;
//! - a pool's before that of one of its inboxes;
//! - a callback's own lock while it runs, which may do anything that its owner may;
//! - a session's state before the leaves: held counts and the ticker's calendar.
//!
//! Never the table and a session's state together, never two sessions. What a locked step brings
//! about for others is collected as `wakes::Wakes` and done when no lock is held.

mod admin;
mod answer;
mod budget;
mod config;
mod connect;
mod core;
mod deliver;
mod ending;
mod events;
mod facade;
mod failures;
mod filter;
mod flags;
mod held_limits;
mod hooks;
mod in_flight;
mod info;
mod listeners;
mod local;
mod mailbox;
mod meta;
mod numbered;
mod permission;
mod policy;
mod pool;
mod public_id;
mod publish;
mod queue;
mod receiver;
mod registry;
mod request;
mod service;
mod session;
mod stale;
mod stats;
mod steps;
mod stripes;
mod subscribers;
mod subscriptions;
mod table;
mod ticker;
mod traffic;
mod wakes;

pub use answer::{Answer, AnswerStatus, Exchange, Executed};
pub use config::BrokerConfig;
pub use events::{Client, Event, EventKind};
pub use facade::{Broker, WeakBroker};
pub use filter::{Delivery, DeliveryDecision};
pub use flags::Flags;
pub use in_flight::{InFlight, Unread};
pub use info::SessionInfo;
pub use local::{LocalClient, LocalError, LocalSubscription};
pub use policy::{Action, AuthRequest, Decision, Extra, Policy, Principal, Verdict};
pub(crate) use pool::{Inbox, Threads, guarded};
pub use queue::{Overflow, QueueLimits};
pub use receiver::{Attachment, Collected, Ended, NoStream};
pub use request::Call;
pub(crate) use service::ServiceOverride;
pub use service::{Access, Service, ServiceCall, ServiceError, ServiceReply};
pub use session::Gone;
pub use stats::BrokerStats;
pub(crate) use traffic::Traffic;
pub use traffic::TrafficLimits;
