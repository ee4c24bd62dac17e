//! Static files: from a directory, and from what is built into the program.
//!
//! In scope: which file a path means, its type, tag and dates, conditional and partial requests,
//! expiry. Out of scope: sending it (a file is handed on open, not read), and every other path of
//! the site.
//!
//! Nothing outside the root is served, nothing whose name or directory begins with a dot, and
//! nothing through a link that leads out of the root.

mod coding;
mod conditional;
mod directory;
mod embedded;
mod expiry;
mod found;
mod media;
mod path;
mod range;
mod serve;

pub use expiry::Expiry;
pub(super) use media::is_media_type;
pub(super) use path::is_servable;
pub(super) use serve::StaticFiles;
