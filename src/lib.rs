//! A Bayeux (CometD) publish-subscribe server, synchronous and embeddable: threads, no async
//! runtime.
//!
//! ```no_run
//! use bayeux::Server;
//!
//! let server = Server::builder().listen([([127, 0, 0, 1], 8080).into()]).start()?;
//! let clock = server.local_client();
//! println!("serving {}", server.url());
//! loop {
//!     clock.publish("/ticks", &"tick")?;
//!     std::thread::sleep(std::time::Duration::from_secs(1));
//! }
//! # #[allow(unreachable_code)]
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The layers
//!
//! A module names those of rows below it only, and none of its own row. A test reads this drawing
//! and checks it.
//!
//! ```text
//!  cli
//!  server
//!  config  bridge
//!  connectors  link  client  ops
//!  http  demo
//!  broker
//!  transport  extensions
//!  protocol  tcp
//!  refusals
//!  clock  counters  settings  util
//! ```
//!
//! - `cli`: the program: arguments, signals, the log.
//! - `server`: everything wired together. `config`: its settings. `bridge`: linked processes as
//!   part of it.
//! - `connectors`: native (HTTP/1.1 on `tcp`) and tiny_http.
//! - `link`: messaging between processes, over `tcp`; stands alone with it.
//! - `client`: the Bayeux client. `ops`: handlers for health and metrics. `demo`: what the demo
//!   pages need.
//! - `http`: sites: the endpoint, static files, handlers; without sockets.
//! - `broker`: sessions, subscriptions, fan-out, services, policy.
//! - `transport`: the seam between broker and connectors. `extensions`: what rides in `ext`.
//! - `protocol`: channels, messages, replies; no threads, no clock.
//! - `tcp`: stands alone: a general TCP server and client component.
//! - `refusals`: why something is refused: counted, and told in the log.
//!
//! A request becomes bytes, then a request, then messages, then effects: JSON ends in [`protocol`],
//! HTTP words end in [`http`], and nothing is written to a connection but by its own thread. A
//! publisher only queues and wakes.

pub mod bridge;
pub mod broker;
#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "client")]
pub mod client;
pub mod clock;
pub mod config;
pub mod connectors;
pub mod counters;
pub mod demo;
pub mod extensions;
pub mod http;
pub mod link;
mod ops;
pub mod protocol;
pub mod refusals;
pub mod server;
mod settings;
pub mod tcp;
pub mod transport;
mod util;

pub use broker::{
    Access, AuthRequest, Broker, Decision, Delivery, DeliveryDecision, Event, EventKind, Flags,
    LocalClient, LocalError, LocalSubscription, Policy, Service, ServiceCall, ServiceError,
    ServiceReply, Verdict,
};
pub use config::Config;
pub use refusals::Reason;
pub use server::{Server, ServerBuilder, ServerStats, StartError};
