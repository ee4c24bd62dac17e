//! Small tools that more than one room needs: one of each.
//!
//! In scope: how long to wait after failures, results that come from another thread, short lists.
//! Out of scope: whatever knows a word of the field.

mod backoff;
mod completion;
mod one_or_many;

pub use backoff::Backoff;
#[cfg(feature = "client")]
pub(crate) use backoff::Retries;
pub(crate) use completion::{Completion, Notify, Promise};
pub(crate) use one_or_many::OneOrMany;
