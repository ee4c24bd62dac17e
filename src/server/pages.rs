//! The demo pages, as part of the program. A test compares the list with the folder.

macro_rules! pages {
    ($($path:literal)*) => {
        &[$(($path, include_bytes!(concat!("../../htdocs/", $path)).as_slice())),*]
    };
}

/// Paths below the site's root, with their content.
pub(super) const PAGES: &[(&str, &[u8])] = pages! {};
