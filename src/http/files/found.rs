//! What looking for a path brings.

use std::fs::File;
use std::time::SystemTime;

/// The outcome of a search.
#[derive(Debug)]
pub(super) enum Found {
    /// A file, open.
    Asset(Asset),
    /// A directory, asked for without the slash at its end.
    Directory,
    /// A directory without any of the index files.
    NoIndex,
    /// Nothing that may be served.
    Missing,
    /// A file the server has no right to read.
    Unreadable,
    /// The server is short of something.
    Trouble,
}

/// A file that can be sent.
#[derive(Debug)]
pub(super) struct Asset {
    pub(super) content: Content,
    /// In bytes.
    pub(super) len: u64,
    /// The entity tag, with its quotes: a strong one.
    pub(super) tag: String,
    /// When it was changed, if that is known.
    pub(super) modified: Option<SystemTime>,
    /// The name that decides about the type, without `.gz`.
    pub(super) name: String,
    /// Whether there is a compressed form beside the plain one.
    pub(super) has_gzip: bool,
    /// Whether this is the compressed form.
    pub(super) is_gzip: bool,
}

/// Where the bytes are.
#[derive(Debug)]
pub(super) enum Content {
    Static(&'static [u8]),
    /// Positioned at its beginning.
    File(File),
}
