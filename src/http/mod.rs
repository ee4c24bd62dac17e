//! What every HTTP connector shares: requests and responses as values, and the [`Site`] that it
//! serves on its listeners. The public site is the Bayeux endpoint, static files and the embedder's
//! content handlers; an internal site is a table of handlers of our own, such as `ops` has one.
//!
//! In scope: routing, methods, who may ask (origins, cookies), bodies and what becomes of answers,
//! files, content handlers, the access log. Out of scope: sockets, framing and time limits (the
//! connectors), and what the messages mean (the broker). Nothing here waits for anything but a file
//! to be opened.
//!
//! A connector parses a head, finds out [who sent it](Site::caller) and where it
//! [goes](Site::route), asks [`Site::wants_body`] if the body is still on its way, and gives the
//! whole request to [`Site::handle`]; the messages of a socket it gives to [`Site::frame`]. It
//! counts its own refusals through [`Site::refuse`]. One that may block reads with
//! [`Site::read_body`] and writes with [`Output`].

mod access;
mod blocking;
mod body_kind;
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
mod origin;
mod pending;
mod proxies;
mod refusal;
mod request;
mod response;
mod route;
mod script;
mod site;
mod streaming;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use access::{AccessLog, Asked};
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
pub use origin::{AllowedOrigin, InvalidOrigin};
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
