//! What travels on the wire, without the wire.
//!
//! In scope: channel names and patterns, request bodies to messages, publications, replies,
//! advice, error texts.
//! Out of scope: sockets, time, sessions, who may do what.
//!
//! Values that no program reads on their way, such as `data`, are never decoded: a parsed message
//! says where in the body they are, and they are copied from there.
//!
//! From the bytes of a request to the bytes of its response:
//!
//! ```
//! use bayeux::Publication;
//! use bayeux::Publisher;
//! use bayeux::connector::message::{BatchLimits, Parsed, Target, parse};
//!
//! let body = br#"[{"channel":"/demo","data":{"text":"hi"},"id":"1"},{"channel":7,"id":"2"}]"#;
//! let batch = parse(&body[..], &BatchLimits::default())?;
//!
//! let mut delivered = Vec::new();
//! let mut replies = Vec::new();
//! for parsed in batch.iter() {
//!     match parsed {
//!         Parsed::Message(message) => {
//!             if let Target::Broadcast(channel) = message.target() {
//!                 let by = Publisher::Nobody;
//!                 delivered.push(Publication::from_message(message, channel, by, None));
//!             }
//!             message.reply_to().success(&mut replies).finish();
//!         }
//!         Parsed::Rejected(rejected) => {
//!             let reply = rejected.reply_to();
//!             reply.failure(&mut replies, rejected.error(), None).finish();
//!         }
//!     }
//! }
//!
//! assert_eq!(delivered[0].json(), br#"{"channel":"/demo","data":{"text":"hi"}}"#);
//! assert_eq!(
//!     std::str::from_utf8(&replies)?,
//!     concat!(
//!         r#"{"channel":"/demo","id":"1","successful":true},"#,
//!         r#"{"id":"2","successful":false,"error":"400:channel:invalid_field"}"#
//!     )
//! );
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub(crate) mod advice;
pub(crate) mod batch;
pub(crate) mod channel;
pub(crate) mod client_id;
pub(crate) mod depth;
pub(crate) mod error;
mod fields;
pub(crate) mod json;
pub(crate) mod message;
#[cfg(test)]
mod mutation_test;
pub(crate) mod publication;
pub(crate) mod reply;
pub(crate) mod subscription;
mod values;

pub use advice::{Advice, Reconnect};
pub use batch::{Batch, BatchError, BatchLimits, parse};
pub(crate) use channel::for_each_match;
pub use channel::{ChannelKind, ChannelName, InvalidChannel, Pattern, Tail};
pub use client_id::{ClientId, LocalId, SentId};
pub(crate) use client_id::{Shown, ShownId};
pub(crate) use error::ERROR_CODES;
pub use error::ErrorText;
pub use message::{AdviceRequest, Message, Parsed, Rejected, Target};
pub(crate) use publication::{Draft, Fit, frame_header};
pub use publication::{Publication, Publisher};
pub(crate) use reply::add_ext;
pub use reply::{Reply, ReplyTo};
pub(crate) use subscription::parse_subscriptions;
