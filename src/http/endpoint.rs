//! The Bayeux endpoint's rules of admission: what is asked, by its head alone, before a byte of the
//! body is read.

use super::config::{SiteConfig, SiteError};
use super::cors::{CallbackPolling, Cors, OriginKind};
use super::form::{self, BodyKind};
use super::format;
use super::refusal::Refusal;
use super::request::{RequestHead, Target};
use super::response::Response;
use super::streaming::{Offers, wants_events, wants_socket};
use crate::settings::Conflict;

/// Where the endpoint is and what it takes.
#[derive(Debug)]
pub(super) struct Endpoint {
    /// Without a slash at its end: empty if every path is the endpoint's.
    mount: String,
    cors: Cors,
    callback_polling: CallbackPolling,
    offers: Offers,
    pub(super) max_body: usize,
}

/// What a request asks of the endpoint.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ask<'a> {
    /// To execute the messages of a body.
    Post {
        kind: BodyKind,
        origin: OriginKind<'a>,
    },
    /// To execute the messages of the query, and to answer with a script.
    Script {
        callback: Box<str>,
        origin: OriginKind<'a>,
    },
    /// What it may ask.
    Options(OriginKind<'a>),
    /// To make the connection a WebSocket.
    Socket(OriginKind<'a>),
    /// To make the connection a session's stream of events.
    Events {
        client: &'a str,
        origin: OriginKind<'a>,
    },
}

/// Why it is not admitted.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Denied<'a> {
    pub(super) refusal: Refusal,
    pub(super) origin: OriginKind<'a>,
}

impl Endpoint {
    /// `offers` is what its broker offers.
    pub(super) fn new(config: &SiteConfig, mut offers: Offers) -> Result<Self, SiteError> {
        offers.scripts &= config.callback_polling != CallbackPolling::Off;
        let mount = config.mount.strip_suffix('/').unwrap_or(&config.mount);
        if let Err(wrong) = check_path(mount) {
            let message = format!("`{}` {wrong}", config.mount);
            return Err(SiteError::Setting(Conflict::new("path", message)));
        }
        Ok(Self {
            mount: mount.to_owned(),
            cors: Cors::new(&config.allowed_origins, &config.allowed_headers),
            callback_polling: config.callback_polling,
            offers,
            max_body: config.max_body,
        })
    }

    /// The path of the endpoint.
    pub(super) fn mount(&self) -> &str {
        if self.mount.is_empty() {
            "/"
        } else {
            &self.mount
        }
    }

    /// Whether it has all paths, and shares them with files and content handlers.
    pub(super) fn is_root(&self) -> bool {
        self.mount.is_empty()
    }

    /// Whether a path is the endpoint's: the mount itself, or below it.
    pub(super) fn covers(&self, path: &str) -> bool {
        let rest = path.strip_prefix(&self.mount[..]);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// Whether a request is for a file in spite of that: for the client's script, or for the map
    /// that a browser's developer tools look for beside each script.
    pub(super) fn is_file(&self, method: &str, path: &str) -> bool {
        let rest = path.strip_prefix(&self.mount[..]);
        matches!(method, "GET" | "HEAD") && matches!(rest, Some("/client.js" | "/client.js.map"))
    }

    /// Whether any other request is the endpoint's: by its path, and at the root, where there are
    /// files too, what GET and HEAD ask for by what they carry.
    pub(super) fn takes(&self, head: &RequestHead<'_>, target: &Target<'_>) -> bool {
        let may_be_file = self.is_root() && matches!(head.method, "GET" | "HEAD");
        self.covers(target.path) && (!may_be_file || self.is_meant(head, target.query))
    }

    /// Whether cookies are read and set.
    pub(super) fn uses_cookies(&self) -> bool {
        !self.cors.any()
    }

    /// The answer to OPTIONS.
    pub(super) fn options(&self, head: &RequestHead<'_>, origin: OriginKind<'_>) -> Response {
        self.cors.preflight(head, origin, self.allow())
    }

    /// The methods that are understood here.
    pub(super) fn allow(&self) -> &'static str {
        let Offers {
            posts,
            scripts,
            sockets,
            events,
        } = self.offers;
        match (self.is_root(), scripts || sockets || events, posts) {
            (true, _, true) => "GET, HEAD, POST, OPTIONS",
            (true, _, false) => "GET, HEAD, OPTIONS",
            (false, true, true) => "GET, POST, OPTIONS",
            (false, true, false) => "GET, OPTIONS",
            (false, false, _) => "POST, OPTIONS",
        }
    }

    /// Whether a request carries Bayeux messages, or asks for a connection that does.
    pub(super) fn is_meant(&self, head: &RequestHead<'_>, query: Option<&str>) -> bool {
        let script = || self.offers.scripts && query.is_some_and(has_message);
        head.method == "GET" && (wants_socket(head) || wants_events(head) || script())
    }

    /// Admits or denies a request to a path that the endpoint covers.
    pub(super) fn admit<'a>(
        &self,
        head: &RequestHead<'a>,
        path: &'a str,
        query: Option<&'a str>,
    ) -> Result<Ask<'a>, Denied<'a>> {
        let origin = self.cors.classify(head);
        let ask = match (head.method, query) {
            ("POST", _) => self.post(head, origin),
            ("GET", _) if self.takes_over(head) && origin == OriginKind::Foreign => {
                Err(Refusal::Origin)
            }
            ("GET", _) if self.offers.sockets && wants_socket(head) => Ok(Ask::Socket(origin)),
            ("GET", _) if self.takes_over(head) => {
                let client = path.strip_prefix(&self.mount[..]).unwrap_or_default();
                let client = client.trim_start_matches('/');
                Ok(Ask::Events { client, origin })
            }
            ("GET", Some(query)) if has_message(query) => self.script(head, query, origin),
            ("GET", _) if wants_socket(head) || wants_events(head) => Err(Refusal::Transport),
            ("OPTIONS", _) => Ok(Ask::Options(origin)),
            _ => Err(Refusal::Method),
        };
        ask.map_err(|refusal| Denied { refusal, origin })
    }

    /// Whether a GET asks for what takes its connection over.
    pub(super) fn takes_over(&self, head: &RequestHead<'_>) -> bool {
        self.offers.sockets && wants_socket(head) || self.offers.events && wants_events(head)
    }

    fn post<'a>(&self, head: &RequestHead<'a>, origin: OriginKind<'a>) -> Result<Ask<'a>, Refusal> {
        if !self.offers.posts {
            return Err(Refusal::Transport);
        }
        if origin == OriginKind::Foreign {
            return Err(Refusal::Origin);
        }
        let kind = BodyKind::of(&head.headers).ok_or(Refusal::MediaType)?;
        Ok(Ask::Post { kind, origin })
    }

    fn script<'a>(
        &self,
        head: &RequestHead<'a>,
        query: &'a str,
        origin: OriginKind<'a>,
    ) -> Result<Ask<'a>, Refusal> {
        if !self.offers.scripts {
            return Err(Refusal::Scripts);
        }
        if self.callback_polling == CallbackPolling::Guarded {
            match origin {
                OriginKind::Foreign => return Err(Refusal::Origin),
                OriginKind::Absent if !self.cors.shows_its_page(head) => {
                    return Err(Refusal::Page);
                }
                OriginKind::Absent | OriginKind::Own | OriginKind::Allowed(_) => {}
            }
        }
        let named = form::values(query.as_bytes(), "jsonp").next();
        let name = named
            .as_deref()
            .unwrap_or(format::DEFAULT_CALLBACK.as_bytes());
        let callback = format::callback(name).ok_or(Refusal::Callback)?.into();
        Ok(Ask::Script { callback, origin })
    }
}

/// Whether a query carries messages.
fn has_message(query: &str) -> bool {
    form::has(query.as_bytes(), "message")
}

/// Checks the path of an endpoint: empty, or slashes each with a name behind it that needs no
/// escapes. The error says what it has or contains that is wrong.
pub(super) fn check_path(path: &str) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._~!$&'()*+,;=:@".contains(c);
    if let Some(c) = path.chars().find(|&c| c != '/' && !plain(c)) {
        return Err(format!(
            "contains `{}`, which is not for paths",
            c.escape_debug()
        ));
    }
    let named = |name: &str| !name.is_empty() && name != "." && name != "..";
    match path.strip_prefix('/') {
        Some(rest) if rest.split('/').all(named) => Ok(()),
        None if path.is_empty() => Ok(()),
        None => Err("does not begin with a slash".to_owned()),
        Some(_) => Err("has an empty or a dot segment".to_owned()),
    }
}

#[cfg(test)]
mod tests;
