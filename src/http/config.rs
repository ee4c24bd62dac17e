//! The settings of a site, and what is wrong with them.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::cookie::{CookieConfig, CookieKey, InvalidCookie};
use super::cors::CallbackPolling;
use super::files::Expiry;
use super::kinds::{EndingTypes, HEADER, INDEX, Origin, PATH, TypeTimes};
use super::origin::AllowedOrigin;
use super::proxies::TrustedProxies;
use crate::settings::{Count, DIR, List, Off, Size, Word, nothing, settings};

settings! {
    /// What the public site serves, to whom, and how much it reads. Plain data;
    /// [`Site::new`](super::Site::new) checks it.
    #[derive(Clone, Debug)]
    pub struct SiteConfig {
        /// What the cookie is called, and to whom browsers send it.
        pub cookie: CookieConfig = CookieConfig::default();
        /// Recognises the cookies that this server issued. Default: a key for the life of the
        /// process.
        pub cookie_key: Option<CookieKey> = None;
        /// Proxies that say for whom they ask. Default none; a server's `trusted_proxy` goes first.
        pub trusted_proxies: Option<TrustedProxies> = None;
        /// Files that are part of the program: their paths without the first slash. Default none.
        /// The directory goes before them.
        pub embedded: &'static [(&'static str, &'static [u8])] = &[];
        /// A script that pages load as `client.js` below the mount. Default none; a server has one.
        /// A file of the directory goes before it.
        pub client_script: Option<&'static [u8]> = None;
    }
    "Listening" {
        /// Path of the Bayeux endpoint.
        ///
        /// Also served with a slash at its end and with any path below it, as clients append the
        /// kind of message. With `/` files are where a request carries no message.
        mount as "path": String = PATH, default "/cometd";
    }
    "Browsers" {
        /// Origin whose pages may use the endpoint, such as `https://app.example`; `*` is any.
        ///
        /// Also `https://*.app.example` for all names below, `http://localhost:*` for any port,
        /// `file://` for pages of files, and `null` for pages whose origin browsers keep secret:
        /// anybody can make one. Pages of the server itself always may, and native clients that
        /// name the server. With `*` cookies are neither read nor set.
        allowed_origins as "allowed_origin": Vec<AllowedOrigin> =
            List { each: Origin, may_be_empty: true },
            default "none" from nothing;

        /// Header that pages of allowed origins may send; `*` is any.
        ///
        /// For headers that the page's program adds, such as `X-CSRF-Token`. What stock clients
        /// send they always may; an empty list leaves it at that.
        allowed_headers: Vec<String> = List { each: HEADER, may_be_empty: true }, default "*";

        /// Whether callback-polling (JSONP) is offered.
        ///
        /// Browsers let any page load a script from anywhere: `guarded` asks the request to show
        /// that it comes from the own or an allowed origin, `open` does not, `off` removes it.
        callback_polling: CallbackPolling = Word::<CallbackPolling>::KIND, default "guarded";
    }
    "Requests" {
        /// Most bytes of a request's body; beyond them status 413.
        max_body: usize = Size, within "256B or more", default "1MiB";

        /// Most messages in one request; beyond them status 400.
        max_messages: usize = Count, within "1 or more", default "1000";

        /// Deepest nesting of JSON in a request; beyond it status 400.
        ///
        /// Receivers parse what is sent through the server, and many of them recursively.
        max_depth: usize = Count, within "4 to 1000", default "128";
    }
    "Files" {
        /// Folder with files to serve outside the endpoint.
        ///
        /// Nothing outside of it is reachable, nor are names that begin with a dot.
        document_root: Option<PathBuf> = Off(DIR), default "off";

        /// Name of the file that is served for a folder; the first that is there.
        directory_index: Vec<String> = List { each: INDEX, may_be_empty: true },
            default "index.html";

        /// Media type of files with an ending, such as `wasm=application/wasm`.
        ///
        /// Before the built-in table, which knows the usual ones; the longest ending decides. What
        /// has no type is sent as `application/octet-stream`.
        media_types as "mime": Vec<(String, String)> = EndingTypes, default "none" from nothing;

        /// How long files of a media type may be cached, such as `text/css=1h`.
        ///
        /// Sent as an `Expires` header. Other types have none: browsers then ask again whether
        /// their copy is still good.
        expires: Vec<Expiry> = TypeTimes, within "0s to 366d",
            default "none" from nothing;
    }
}

impl SiteConfig {
    /// What settings demand of each other: the offending key and the reason. Looks at the file
    /// system.
    pub(crate) fn conflicts(&self) -> Vec<(&'static str, String)> {
        let mut conflicts = Vec::new();
        if let Err(wrong) = self.cookie.check() {
            conflicts.push((wrong.setting, wrong.message.to_owned()));
        }
        if let Some(folder) = self
            .document_root
            .as_ref()
            .filter(|folder| !folder.is_dir())
        {
            let message = format!("{} is no folder", folder.display());
            conflicts.push(("document_root", message));
        }
        conflicts
    }
}

/// Why a site cannot be set up.
#[derive(Debug)]
#[non_exhaustive]
pub enum SiteError {
    /// The mount is not a plain absolute path.
    Mount(String),
    /// An allowed header is not the name of one.
    AllowedHeader(String),
    /// Sessions are to be bound to cookies that are not read because every origin is allowed.
    CookieOfAnyOrigin,
    /// Browsers would not take the cookie.
    Cookie(InvalidCookie),
    /// An index file is not the name of a file that may be served.
    DirectoryIndex(String),
    /// A media type, of an ending or an expiry, is none.
    MediaType(String),
    /// The path of a content handler is none, is there twice, or is the endpoint's.
    Content(String),
    /// The document root cannot be used.
    DocumentRoot(PathBuf, io::Error),
    /// No random key for the cookie.
    Random(getrandom::Error),
}

impl fmt::Display for SiteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mount(mount) => {
                write!(
                    f,
                    "mount {mount:?}: must begin with a slash and hold plain names only"
                )
            }
            Self::AllowedHeader(name) => {
                write!(f, "allowed header {name:?}: must be * or like X-CSRF-Token")
            }
            Self::CookieOfAnyOrigin => f.write_str(
                "allowed origin * and a required browser cookie exclude each other: \
                 with * cookies are not read",
            ),
            Self::Cookie(wrong) => write!(f, "{}: {}", wrong.setting, wrong.message),
            Self::DirectoryIndex(name) => {
                write!(
                    f,
                    "index file {name:?}: must be a file name without slash or first dot"
                )
            }
            Self::MediaType(media) => write!(f, "media type {media:?}: must be like text/css"),
            Self::Content(path) => write!(
                f,
                "content handler at {path:?}: must begin with a slash, be there once, and lie \
                 outside the endpoint"
            ),
            Self::DocumentRoot(path, error) => {
                write!(f, "document root {}: {error}", path.display())
            }
            Self::Random(error) => write!(f, "no random key for cookies: {error}"),
        }
    }
}

impl std::error::Error for SiteError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::DocumentRoot(_, error) => Some(error),
            _ => None,
        }
    }
}
