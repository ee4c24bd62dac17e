//! What travels on the wire, without the wire.
//!
//! In scope: channel names and patterns, request bodies to messages, publications, replies,
//! advice, error texts.
//! Out of scope: sockets, time, sessions, who may do what.

pub mod advice;
pub mod batch;
pub mod channel;
pub mod client_id;
pub mod depth;
pub mod error;
mod fields;
pub mod json;
pub mod message;
pub mod publication;
pub mod reply;
pub mod subscription;

pub use advice::{Advice, Reconnect};
pub use batch::{Batch, BatchError, BatchLimits, parse};
pub use channel::{ChannelKind, ChannelName, InvalidChannel, Pattern, Tail, expand};
pub use client_id::{ClientId, LocalId, SentId};
pub use error::ErrorText;
pub use message::{AdviceRequest, Field, Message, Parsed, Rejected, Span, Target};
pub use publication::{Draft, Publication, Publisher};
pub use reply::{Reply, ReplyTo};
pub use subscription::{SubscriptionError, parse_subscriptions};
