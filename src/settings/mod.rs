//! How a setting is written, bounded and documented: a module declares its settings in one table,
//! by [`settings!`], and owns so their names, defaults, limits and help.
//!
//! In scope: kinds of values (how they are read from text, and what is said of wrong ones), the
//! macro of the table, what settings allow to be in memory. Out of scope: which settings there are
//! (each module's own), and where their values come from (`config`).

#[cfg(feature = "cli")]
mod bound;
mod kind;
mod number;
mod table;
mod text;
mod word;

#[cfg(feature = "cli")]
pub(crate) use bound::{Bound, Bounds};
pub use kind::Form;
pub(crate) use kind::{Auto, Kind, List, Off, Switch, elements, nothing, within};
pub use number::duration;
pub(crate) use number::{Count, Size, Time};
pub use table::{Conflict, Setting};
pub(crate) use table::{Settings, settings};
pub(crate) use text::{DIR, FILE, Text};
pub(crate) use word::{Named, Word, did_you_mean, nearest};
