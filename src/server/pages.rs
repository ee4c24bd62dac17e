//! The demo pages, as part of the program. A test compares the list with the folder.

/// Paths below the site's root, with their content.
pub(super) const PAGES: &[(&str, &[u8])] = &[
    page!("index.html"),
];
