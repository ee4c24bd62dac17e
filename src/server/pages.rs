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
    "examples/magnets/index.html"
    "examples/magnets/magnets.js"
    "examples/timesync/index.html"
    "examples/timesync/timesync.js"
    "favicon.svg"
    "index.html"
    "js/bayeux.js"
    "js/board.js"
    "js/chatroom.js"
    "js/faye.js"
    "js/index.js"
    "js/magnets.js"
    "js/members.js"
    "js/messages.js"
    "js/page.js"
    "js/session.js"
    "js/timesync.js"
    "js/transports.js"
};

/// The pages for an endpoint at that path. They look for it at `/cometd`, beside them, unless a
/// `meta` element names another; so for another path the pages are written anew, once for the life
/// of the process.
pub(super) fn pages(path: &str) -> &'static [(&'static str, &'static [u8])] {
    if path == "/cometd" {
        return PAGES;
    }
    let named = format!("<meta name=\"cometd\" content=\"{path}\">");
    let pages = PAGES
        .iter()
        .map(|(name, content)| match std::str::from_utf8(content) {
            Ok(text) if text.contains(UNNAMED) => (
                *name,
                text.replace(UNNAMED, &named).into_bytes().leak() as &[u8],
            ),
            _ => (*name, *content),
        });
    pages.collect::<Vec<_>>().leak()
}

/// What the pages say where the path is to be filled in.
const UNNAMED: &str = "<meta name=\"cometd\" content=\"\">";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_learns_the_path() {
        assert_eq!(pages("/cometd"), PAGES);
        let named = "<meta name=\"cometd\" content=\"/bayeux\">";
        let pages = pages("/bayeux")
            .iter()
            .filter(|(name, _)| name.ends_with(".html"));
        for (name, content) in pages {
            let text = std::str::from_utf8(content).unwrap();
            assert!(text.contains(named), "{name}");
        }
    }
}
