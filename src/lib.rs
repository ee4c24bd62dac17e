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
//!  config  bridge  connector
//!  connectors  link  client  ops
//!  http  demo
//!  broker
//!  transport  extensions
//!  protocol  tcp
//!  refusals  log_writer
//!  clock  counters  settings  util
//! ```
//!
//! - `cli`: the program: arguments, signals, the log.
//! - `server`: everything wired together. `config`: its settings. `bridge`: linked processes as
//!   part of it.
//! - `connectors`: native (HTTP/1.1 on `tcp`) and tiny_http.
//! - `connector`: the names that a connector of one's own needs.
//! - `link`: messaging between processes, over `tcp`; stands alone with it.
//! - `client`: the Bayeux client. `ops`: handlers for health and metrics. `demo`: what the demo
//!   pages need.
//! - `http`: sites: the endpoint, static files, handlers; without sockets.
//! - `broker`: sessions, subscriptions, fan-out, services, policy.
//! - `transport`: the seam between broker and connectors. `extensions`: what rides in `ext`.
//! - `protocol`: channels, messages, replies; no threads, no clock.
//! - `tcp`: stands alone: a general TCP server and client component.
//! - `refusals`: why something is refused: counted, and told in the log. `log_writer`: lines that
//!   nobody waits for.
//!
//! A request becomes bytes, then a request, then messages, then effects: JSON ends in `protocol`,
//! HTTP words end in `http`, and nothing is written to a connection but by its own thread. A
//! publisher only queues and wakes.

// What only one feature uses is idle without it; the whole build shows what nobody uses.
#![cfg_attr(
    not(feature = "cli"),
    allow(dead_code, unused_imports, unused_variables, unreachable_pub),
    allow(clippy::needless_pass_by_value)
)]

#[cfg(feature = "link")]
pub mod bridge;
mod broker;
#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "client")]
pub mod client;
mod clock;
#[cfg(any(feature = "native", feature = "tiny-http"))]
pub mod config;
pub mod connector;
mod connectors;
mod counters;
#[cfg(feature = "demo")]
mod demo;
mod extensions;
mod http;
#[cfg(feature = "link")]
pub mod link;
mod log_writer;
#[cfg(feature = "ops")]
mod ops;
mod protocol;
mod refusals;
#[cfg(any(feature = "native", feature = "tiny-http"))]
mod server;
mod settings;
#[cfg(feature = "tcp")]
pub mod tcp;
mod transport;
mod util;

// The server and its settings.
#[cfg(any(feature = "native", feature = "tiny-http"))]
pub use config::Config;
#[cfg(feature = "native")]
pub use connectors::native::NativeConfig;
pub use extensions::Extensions;
pub use http::{
    AllowedHost, AllowedOrigin, CallbackPolling, CookieConfig, Expiry, SameSite, SiteConfig,
    SiteError, TrustedProxies,
};
pub use refusals::Reason;
#[cfg(any(feature = "native", feature = "tiny-http"))]
pub use server::{Server, ServerBuilder, ServerStats, StartError};
pub use settings::Conflict;
pub use transport::Transport;

// The broker: channels, clients inside the process, services, policy, observers.
pub use broker::{
    Access, Action, AuthRequest, Broker, BrokerConfig, BrokerStats, Client, Decision, Delivery,
    DeliveryDecision, Event, EventKind, Extra, Flags, Gone, LocalClient, LocalError,
    LocalSubscription, Overflow, Policy, Principal, QueueLimits, Service, ServiceCall,
    ServiceError, ServiceReply, SessionInfo, TrafficLimits, Verdict, WeakBroker,
};
pub use clock::{Clock, ManualClock, SystemClock};
pub use extensions::timesync::ClockEstimate;
pub use protocol::{
    Advice, ChannelName, ClientId, InvalidChannel, LocalId, Pattern, Publication, Publisher,
    Reconnect,
};
pub use transport::{BrowserId, Peer};

// Handlers and hooks of the site.
pub use http::{Body, ContentHandler, ContentRequest, HookedRequest, Response};
