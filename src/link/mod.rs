//! Transparent messaging between processes: what one exports under an alias, all others can post to
//! and call, whether it is in this process, at a neighbour, or behind several others.
//!
//! In scope: nodes, links between them over [`tcp`](crate::tcp), authentication, announcing
//! aliases, posts and calls in order, reconnecting; mutual TLS, with the feature `tls`.
//! Out of scope: what the messages mean; Bayeux.
//!
//! ```
//! use std::time::Duration;
//! use bayeux::link::{Config, Fault, Key, Message, Methods, Node};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let key = Key::new(b"a secret of at least 16 bytes")?;
//! let hub = Node::start(Config::named("hub", key.clone()))?;
//! let address = hub.listen("127.0.0.1:0")?[0].to_string();
//! let add = |message: &Message| {
//!     let numbers: Vec<i64> = message.args()?;
//!     Ok::<i64, Fault>(numbers.iter().sum())
//! };
//! hub.export("adder", Methods::new().on("add", add))?.keep();
//!
//! // Most likely in another process:
//! let worker = Node::start(Config::named("worker", key))?;
//! worker.connect(&address)?;
//! assert!(worker.wait_for("adder", Duration::from_secs(10)));
//! let sum: i64 = worker.call("adder", "add", &[1, 2, 3], Duration::from_secs(10))?;
//! assert_eq!(sum, 6);
//! # Ok(())
//! # }
//! ```
//!
//! # What is promised
//!
//! - **Order**: what a node sends to an alias of a node is handled in that order, by one thread at
//!   a time.
//! - **Once**: no message is handled twice, whatever happens to links on the way.
//! - **Delivery**: an accepted message is kept until its receiver has it, and sent again by another
//!   way or over a new link, for as long as both processes live and the receiver is not away for
//!   longer than [`Limits::outbox_time`]. What does not arrive is reported as
//!   [`Event::Undelivered`]; calls tell their callers.
//! - **Back-pressure**: a slow handler slows down those who post to it, and nobody else.
//! - **Names**: an alias belongs to the node that exported it first; only that node can remove it.
//!   Of two that have taken it before they were linked, the lower id keeps it, or the one that has
//!   it firmly ([`Handle::export_firmly`]). Exports that are shared by all their owners are used in
//!   turn.
//! - **Trust**: peers prove to each other that they know the key; nothing is said before. A
//!   neighbour is called what it has proved; what others are called and export is what neighbours
//!   say, so whoever is let in is trusted not to invent nodes. Nothing is encrypted, unless
//!   by TLS with certificates of both ends (`Tls`, feature `tls`), instead of a key or beside it:
//!   then a node's name has to be one that its certificate is for.
//!
//! | File | What it holds |
//! |---|---|
//! | `node` | [`Node`] and [`Handle`]: threads, sockets, waiting |
//! | `router` | everything that is decided, without any of these; the way of a message |
//! | `hello`, `key` | who is there, and whether it may be |
//! | `tls` | what may lie under a link and tell who is there |
//! | `wire` | frames as bytes |
//! | `message`, `event`, `error`, `config`, `names` | what users see |

mod config;
mod error;
mod event;
mod hello;
mod key;
mod message;
mod names;
mod node;
mod router;
#[cfg(feature = "tls")]
mod tls;
mod wire;

pub use config::{Config, DEFAULT_ADDRESS, Limits};
pub use error::{
    CallError, ExportError, Fault, FaultKind, KeyError, LinkEnd, PostError, TlsFailure,
};
pub use event::{Event, Stats};
pub use hello::Peer;
pub use key::{Key, Keys, MIN_KEY};
pub use message::{Handler, Message, Methods, Reply, Sender};
pub use names::{Alias, InvalidName, LinkId, MAX_NAME, NodeId};
pub(crate) use names::{check as check_name, split as split_address};
pub use node::{Absent, Call, Export, Full, Handle, Node, Observing, Outgoing, PostOptions};
#[cfg(feature = "tls")]
pub use tls::Tls;
