//! The files made by `tests/certificates/make`.

use std::path::{Path, PathBuf};

/// The folder of all of them.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/certificates")
}

/// One of them.
pub(crate) fn file(name: &str) -> PathBuf {
    folder().join(name)
}
