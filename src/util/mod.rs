//! Small tools that more than one room needs: one of each.
//!
//! In scope: how long to wait after failures, results that come from another thread, short lists,
//! what the machine offers, ranges of IP addresses, whose something is and how much one may have,
//! bytes that are counted, maps that give memory back.
//! Out of scope: whatever knows a word of the field.

mod backoff;
mod booked;
mod completion;
pub(crate) mod machine;
mod network;
mod one_or_many;
mod owner;
mod shares;
mod shrink;

pub use backoff::Backoff;
#[cfg(feature = "client")]
pub(crate) use backoff::Retries;
pub(crate) use booked::{Booked, Sum, as_i64};
pub(crate) use completion::{Completion, Notify, Promise};
pub use machine::raise_file_limit;
pub(crate) use network::from_here;
pub use network::{InvalidNetwork, Network};
pub(crate) use one_or_many::OneOrMany;
pub(crate) use owner::Owner;
pub(crate) use shares::{Booking, Exhausted, Shares};
pub(crate) use shrink::shrink;
