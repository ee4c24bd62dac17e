//! A Bayeux client: blocking calls, with threads in the background that keep the session up.
//!
//! ```no_run
//! use bayeux::client::Client;
//!
//! let client = Client::builder("http://localhost:8080/cometd").connect()?;
//! let chat = client.subscribe("/chat/*")?;
//! client.publish("/chat/demo", &"hello")?;
//! for message in chat.iter() {
//!     println!("{}: {}", message.channel(), message.data_json());
//! }
//! # Ok::<(), bayeux::client::Error>(())
//! ```
//!
//! What it takes care of: handshakes and connects as the server advises; pauses with jitter after
//! failures; a new session when the server lost the old one, with everything subscribed again in
//! its first batch; order, as all calls go through one queue; errors for whatever the server may
//! not have got. Nothing it receives makes it panic.
//!
//! It uses a WebSocket where it can, and long-polling where a server or a proxy does not let one
//! through ([`Transport::Auto`]): a handshake whose upgrade fails is repeated over HTTP at once.
//! The client then stays with long-polling, until [`Handle::reconnect`].
//!
//! Messages of one publisher come in their order, with one exception: a client on long-polling that
//! also sends gets messages on two connections, whose answers may overtake each other, unless the
//! server delivers with connects only (its option, or [`ClientBuilder::acknowledged`]).
//!
//! Its threads: `bayeux-poll` has the connect, `bayeux-send` everything else, `bayeux-ws-io-0` the
//! WebSocket if there is one, and `bayeux-notify` runs the user's functions. They end when the
//! [`Client`] is dropped.
//!
//! It logs through the facade `log`: at level debug what happens and which messages come and go, by
//! channel and size, never with credentials.
//!
//! # Inside
//! - `api`, `builder`, `outgoing`, `subscription`, `event`, `message`, `error`: what users see.
//! - `model`: the whole client without threads, sockets or clock, made of `session` (handshakes,
//!   connects, back-off, the ack extension), `outbox` (what waits, is under way, or may be sent
//!   again), `subscriptions` (who gets what, and the queue to callbacks) and `transport` (falling
//!   back).
//! - `driver`: the lock around the model, and the threads that ask it for requests.
//! - `network`: takes requests to the server, by `http` or `websocket`, with what both know of the
//!   server in `peer`.
//! - `wire`: JSON. `receipt`, `ring`: where callers wait.
//!
//! # In scope
//! Long-polling, WebSocket, the ack extension, cookies of the server, `json-comment-filtered`
//! answers.
//!
//! # Out of scope
//! Proxies and redirects: the client talks to the URL it was given.

mod api;
mod builder;
mod cookies;
mod driver;
mod error;
mod event;
mod http;
mod message;
mod model;
mod network;
mod options;
mod outbox;
mod outgoing;
mod peer;
mod receipt;
mod ring;
mod session;
mod subscription;
mod subscriptions;
#[cfg(feature = "client-tls")]
mod tls;
mod transport;
mod websocket;
mod wire;

pub use api::{Batch, Client, Handle};
pub use builder::ClientBuilder;
pub use error::{Error, Failure, Rejection};
pub use event::{Event, State, Stats};
pub use message::Message;
pub use outgoing::{Outgoing, Pending};
pub use ring::RecvError;
pub use subscription::{Listening, SubscribeOptions, Subscription};
pub use transport::Transport;
