//! The demo pages, as part of the program. A test compares the list with the folder.

macro_rules! pages {
    ($($path:literal)*) => {
        &[$(($path, include_bytes!(concat!("../../htdocs/", $path)).as_slice())),*]
    };
}

/// Paths below the site's root, with their content.
pub(super) const PAGES: &[(&str, &[u8])] = pages! {
    "css/demo.css"
    "examples/chat/chat.js"
    "examples/chat/index.html"
    "examples/echo/echo.js"
    "examples/echo/index.html"
    "favicon.svg"
    "index.html"
    "js/bayeux.js"
    "js/chatroom.js"
    "js/index.js"
    "js/members.js"
    "js/messages.js"
    "js/page.js"
    "js/session.js"
    "js/transports.js"
};
