//! The knobs of a site, and what is wrong with them.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::cookie::{CookieConfig, CookieKey, InvalidCookie};
use super::cors::CallbackPolling;
use super::files::Expiry;
use super::origin::AllowedOrigin;
use super::proxies::TrustedProxies;

/// What a site serves, to whom, and how much it reads. Plain data; [`Site::new`](super::Site::new)
/// checks it.
#[derive(Clone, Debug)]
pub struct SiteConfig {
    /// The path of the Bayeux endpoint; it answers there and on every path below. Default
    /// `/cometd`.
    pub mount: String,
    /// Origins whose pages may use the server besides its own; with `*` cookies are neither read
    /// nor set. Default none.
    pub allowed_origins: Vec<AllowedOrigin>,
    /// Names of headers that pages of those origins may send, besides what stock clients send; `*`
    /// is any. Default `*`.
    pub allowed_headers: Vec<String>,
    /// Who may use callback-polling, which browsers do not guard. Default `Guarded`. With `Off` the
    /// broker should not offer it either.
    pub callback_polling: CallbackPolling,
    /// Most bytes of a request body, 413 beyond. Default 1 MiB.
    pub max_body: usize,
    /// Most messages of a request, 400 beyond. Default 1000.
    pub max_messages: usize,
    /// Most arrays and objects open at once in a request, 400 beyond. Default 128.
    pub max_depth: usize,
    /// Proxies that say for whom they ask. Default none.
    pub trusted_proxies: Option<TrustedProxies>,
    /// Recognises the cookies that this server issued. Default: a key for the life of the process.
    pub cookie_key: Option<CookieKey>,
    /// What the cookie is called, and to whom browsers send it.
    pub cookie: CookieConfig,
    /// A directory whose files are served. Default none.
    pub document_root: Option<PathBuf>,
    /// Files that are part of the program: their paths without the first slash. Default none. The
    /// directory goes before them.
    pub embedded: &'static [(&'static str, &'static [u8])],
    /// A script that pages load as `client.js` below the mount. Default none. A file of the
    /// directory goes before it.
    pub client_script: Option<&'static [u8]>,
    /// The files that stand for a directory, tried in order. Default `index.html`.
    pub directory_index: Vec<String>,
    /// Media types by ending, before the built-in ones. Default none.
    pub media_types: Vec<(String, String)>,
    /// How long browsers may keep files, by media type. Default: nothing is said about it.
    pub expires: Vec<Expiry>,
}

impl Default for SiteConfig {
    fn default() -> Self {
        Self {
            mount: "/cometd".to_owned(),
            allowed_origins: Vec::new(),
            allowed_headers: vec!["*".to_owned()],
            callback_polling: CallbackPolling::default(),
            max_body: 1 << 20,
            max_messages: 1000,
            max_depth: 128,
            trusted_proxies: None,
            cookie_key: None,
            cookie: CookieConfig::default(),
            document_root: None,
            embedded: &[],
            client_script: None,
            directory_index: vec!["index.html".to_owned()],
            media_types: Vec::new(),
            expires: Vec::new(),
        }
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
