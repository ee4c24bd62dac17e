//! The `subscription` of subscribe and unsubscribe.

use super::channel::Pattern;
use super::error::{self, ErrorText};

/// Why a `subscription` is refused, all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubscriptionError {
    /// It is `null`.
    Missing,
    /// No pattern, or no array with one or more patterns.
    Invalid,
}

impl SubscriptionError {
    /// For the reply.
    pub fn text(self) -> ErrorText {
        match self {
            Self::Missing => error::subscription_missing(),
            Self::Invalid => error::subscription_invalid(),
        }
    }
}

/// The patterns in a raw JSON string or array of strings. Patterns below `/meta` and `/service` are
/// valid here; what becomes of them is the broker's decision.
pub fn parse_subscriptions(raw: &str) -> Result<Vec<Pattern>, SubscriptionError> {
    let _ = raw;
    unimplemented!()
}
