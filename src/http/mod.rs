//! What every HTTP connector shares: requests and responses as values, and the [`Site`] that it
//! serves on its listeners. The public site is the Bayeux endpoint, static files and the embedder's
//! content handlers; an internal site is a table of handlers of our own, such as `ops` has one.
//!
//! In scope: routing, methods, who may ask (hosts, origins, cookies), bodies and what becomes of
//! answers, files, content handlers, the access log. Out of scope: sockets, framing and time limits
//! (the connectors), and what the messages mean (the broker). Nothing here waits for anything.
//!
//! A connector parses a head, finds out [who sent it](Site::caller) and where it
//! [goes](Site::route), asks [`Site::wants_body`] if the body is still on its way, and gives the
//! whole request to [`Site::handle`]; the messages of a socket it gives to [`Site::frame`]. It
//! counts its own refusals through [`Site::refuse`]. One that may block reads with
//! [`Site::read_body`] and writes with [`Output`].
//!
//! | file | what |
//! |---|---|
//! | `site`, `route` | the door for connectors, and where a request goes by its head |
//! | `endpoint` | what the Bayeux endpoint admits |
//! | `origin`, `cors` | where pages come from, and which of them may ask |
//! | `host` | which hosts a request may name |
//! | `cookie` | which browser it is |
//! | `proxies` | who asks, when a proxy stands between |
//! | `request`, `headers`, `form` | what has come |
//! | `response`, `format`, `date` | what is sent, and the forms of the broker's answers |
//! | `streaming` | what takes a connection over: WebSockets and streams of events |
//! | `content`, `pending` | handlers and the response hook of the embedder, on other threads |
//! | `files`, `lookup` | static files, and looking for them on other threads |
//! | `refusal` | what is turned down, told and counted |
//! | `access_log` | a line for each request |
//! | `blocking` | bodies and responses for connectors that may block |
//! | `config` | the settings |

mod access_log;
mod blocking;
mod config;
mod content;
mod cookie;
mod cors;
mod date;
mod endpoint;
mod files;
mod form;
mod format;
mod headers;
mod host;
mod lookup;
mod origin;
mod pending;
mod proxies;
mod refusal;
mod request;
mod response;
mod route;
mod site;
mod streaming;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use access_log::{AccessLog, LogEntry};
pub(crate) use blocking::Output;
pub use config::{SiteConfig, SiteError};
pub use content::{ContentHandler, ContentRequest, Mount};
pub use cookie::{CookieConfig, CookieKey, SameSite};
pub use cors::CallbackPolling;
pub(crate) use date::DateCache;
pub use files::Expiry;
pub use format::Format;
pub use headers::Headers;
pub(crate) use headers::is_token;
pub use host::AllowedHost;
pub use lookup::Lookup;
#[cfg(feature = "native")]
pub(crate) use lookup::Piece;
pub use origin::AllowedOrigin;
pub use pending::{Finished, HookedRequest, PendingResponse};
pub use proxies::{Caller, TrustedProxies};
pub use refusal::Refused;
pub use request::{Request, RequestHead, Target};
pub(crate) use response::CONTINUE;
pub use response::{Body, Response};
pub use route::Route;
pub use site::{Handled, Site};
pub(crate) use streaming::EVENTS_COMMENT;
pub use streaming::{Events, Upgrade};
