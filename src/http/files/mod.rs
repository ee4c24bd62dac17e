//! Static files: from a directory, and from what is built into the program.
//!
//! In scope: which file a path means, its type, tag and dates, conditional and partial requests,
//! expiry. Out of scope: the thread on which the directory is asked, sending a file that is long
//! (it is handed on open, not read), and every other path of the site.
//!
//! | file | what |
//! |---|---|
//! | `serve` | which source has the file, and the response |
//! | `directory`, `embedded` | the two sources |
//! | `path` | from a URL to names below a root |
//! | `media` | media types, and how long browsers may keep a file |
//! | `negotiation` | conditions, ranges and codings that a request asks for |
//!
//! Nothing outside the root is served, nothing whose name or directory begins with a dot, and
//! nothing through a link that leads out of the root.

mod directory;
mod embedded;
mod media;
mod negotiation;
mod path;
mod serve;

pub use media::Expiry;
pub(super) use media::is_media_type;
pub(super) use negotiation::{accepts_gzip, wants};
pub(super) use path::{SitePath, is_servable};
pub(super) use serve::{Found, StaticFiles};
