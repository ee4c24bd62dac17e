//! Where a request goes. Found once, by its head alone: before a byte of its body is read.

use std::sync::Arc;

use super::content::ContentHandler;
use super::cookie::Cookies;
use super::cors::OriginKind;
use super::endpoint::{Ask, Denied, Endpoint};
use super::files::StaticFiles;
use super::form::BodyKind;
use super::proxies::Caller;
use super::refusal::Refusal;
use super::request::RequestHead;
use super::response::Response;
use super::site::Site;
use crate::broker::Inbox;

/// What a public site has besides handlers.
pub(super) struct Public {
    pub(super) endpoint: Endpoint,
    pub(super) files: Arc<StaticFiles>,
    pub(super) cookies: Cookies,
}

/// Where a request goes. Kept beside a body that is still coming.
pub struct Route {
    pub(super) to: To,
    /// The origin of the page that may read the answer, to be echoed.
    pub(super) echo: Option<Box<str>>,
    /// Most bytes that the body may have.
    pub(super) max_body: usize,
}

pub(super) enum To {
    /// To the broker, with the messages of the body.
    Post(BodyKind),
    /// To the broker, with the messages of the query; the answer calls this function.
    Script(Box<str>),
    /// OPTIONS of the endpoint.
    Options,
    /// The connection is to become a WebSocket.
    Socket,
    /// The connection is to become the stream of events of this session.
    Events(Box<str>),
    /// To a handler.
    Content(Arc<dyn ContentHandler>, Arc<Inbox>),
    File,
    /// OPTIONS of the server as a whole.
    Server,
    /// Nowhere.
    Refused(Refusal),
}

impl Route {
    fn new(to: To) -> Self {
        Self {
            to,
            echo: None,
            max_body: 0,
        }
    }

    fn echoing(to: To, origin: OriginKind<'_>) -> Self {
        Self {
            echo: origin.echo().map(Box::from),
            ..Self::new(to)
        }
    }

    fn asked(ask: Ask<'_>, max_body: usize) -> Self {
        match ask {
            Ask::Post { kind, origin } => Self {
                max_body,
                ..Self::echoing(To::Post(kind), origin)
            },
            Ask::Script { callback, origin } => Self::echoing(To::Script(callback), origin),
            Ask::Options(origin) => Self::echoing(To::Options, origin),
            Ask::Socket(origin) => Self::echoing(To::Socket, origin),
            Ask::Events { client, origin } => Self::echoing(To::Events(client.into()), origin),
        }
    }

    /// Whether the request takes its connection over, so that all responses before it must
    /// have been sent.
    pub fn takes_over(&self) -> bool {
        matches!(self.to, To::Socket | To::Events(_))
    }
}

impl Site {
    /// Finds out where a request goes.
    pub fn route(&self, head: &RequestHead<'_>, caller: &Caller) -> Route {
        let head = caller.addressed(*head);
        match self.hosts.admit(caller.ip, head.authority()) {
            true => self.find(&head),
            false => Route::new(To::Refused(Refusal::Host)),
        }
    }

    /// Looks at a request before its body is read: how many bytes the body may have, or the refusal
    /// to be sent instead of reading it.
    ///
    /// # Errors
    ///
    /// The refusal. It is counted.
    pub fn wants_body(
        &self,
        route: &Route,
        head: &RequestHead<'_>,
        caller: &Caller,
    ) -> Result<usize, Response> {
        match route.to {
            To::Refused(refusal) => {
                let origin = OriginKind::echoing(route.echo.as_deref());
                let denied = Denied { refusal, origin };
                Err(self.deny(&caller.addressed(*head), caller, &denied))
            }
            _ => Ok(route.max_body),
        }
    }

    fn find(&self, head: &RequestHead<'_>) -> Route {
        let refused = |refusal| Route::new(To::Refused(refusal));
        let Some(target) = head.target() else {
            return refused(Refusal::Target);
        };
        let content = self.mounts.find(target.path);
        let to_content = content.map(|mount| Route {
            max_body: mount.max_body,
            ..Route::new(To::Content(
                Arc::clone(&mount.handler),
                Arc::clone(&mount.inbox),
            ))
        });
        let Some(public) = self.public() else {
            return to_content.unwrap_or(refused(Refusal::NotFound));
        };
        let Public {
            endpoint, files, ..
        } = public;
        if endpoint.is_file(head.method, target.path) {
            return Route::new(To::File);
        }
        // Paths below the root are the endpoint's only as far as nobody else has them.
        let content_first = endpoint.is_root() && to_content.is_some();
        if !content_first && endpoint.takes(head, &target) {
            return match endpoint.admit(head, target.path, target.query) {
                Ok(ask) => Route::asked(ask, endpoint.max_body),
                Err(Denied { refusal, origin }) => Route::echoing(To::Refused(refusal), origin),
            };
        }
        if let Some(route) = to_content {
            return route;
        }
        match (head.method, target.path) {
            ("OPTIONS", "*") => Route::new(To::Server),
            (_, "*") => refused(Refusal::Target),
            ("GET" | "HEAD", _) => Route::new(To::File),
            // What it is for is known when the file was looked for.
            _ if files.may_block() => Route {
                max_body: endpoint.max_body,
                ..Route::new(To::File)
            },
            (_, path) if files.has(path) => refused(Refusal::Method),
            _ => refused(Refusal::Path),
        }
    }
}
