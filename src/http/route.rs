//! Where a request goes, by its head alone.

use super::content::Mount;
use super::cookie::Cookies;
use super::cors::Verdict;
use super::endpoint::{Ask, Denied, Endpoint};
use super::files::StaticFiles;
use super::refusal::Refusal;
use super::request::{RequestHead, Target};
use super::site::Site;

/// What a public site has besides handlers.
pub(super) struct Public {
    pub(super) endpoint: Endpoint,
    pub(super) files: StaticFiles,
    pub(super) cookies: Cookies,
}

/// Where a request goes.
pub(super) enum Route<'a> {
    Bayeux(&'a Public, Ask<'a>),
    Content(Target<'a>, &'a Mount),
    File {
        public: &'a Public,
        path: &'a str,
        query: Option<&'a str>,
    },
    /// OPTIONS of the server as a whole.
    Server,
}

impl<'a> Route<'a> {
    pub(super) fn verdict(&self) -> Verdict<'a> {
        match self {
            Self::Bayeux(_, ask) => ask.verdict(),
            Self::Content(..) | Self::File { .. } | Self::Server => Verdict::Absent,
        }
    }
}

impl Site {
    pub(super) fn route<'a>(&'a self, head: &RequestHead<'a>) -> Result<Route<'a>, Denied<'a>> {
        let denied = |refusal| Denied {
            refusal,
            verdict: Verdict::Absent,
        };
        let target = head.target().ok_or(denied(Refusal::Target))?;
        let content = self.mounts.find(target.path);
        let Some(
            public @ Public {
                endpoint, files, ..
            },
        ) = self.public()
        else {
            let found = content.map(|mount| Route::Content(target, mount));
            return found.ok_or(denied(Refusal::NotFound));
        };
        let file = Route::File {
            public,
            path: target.path,
            query: target.query,
        };
        if endpoint.is_file(head.method, target.path) {
            return Ok(file);
        }
        // Paths below the root are the endpoint's only as far as nobody else has them.
        let content_first = endpoint.is_root() && content.is_some();
        if !content_first && endpoint.takes(head, &target) {
            let asked = endpoint.admit(head, target.path, target.query);
            return asked.map(|ask| Route::Bayeux(public, ask));
        }
        if let Some(mount) = content {
            return Ok(Route::Content(target, mount));
        }
        match (head.method, target.path) {
            ("OPTIONS", "*") => Ok(Route::Server),
            (_, "*") => Err(denied(Refusal::Target)),
            ("GET" | "HEAD", _) => Ok(file),
            (_, path) if files.has(path) => Err(denied(Refusal::Method)),
            _ => Err(denied(Refusal::Path)),
        }
    }

    pub(super) fn max_body(&self, route: &Route<'_>) -> usize {
        match route {
            Route::Bayeux(public, Ask::Post { .. }) => public.endpoint.max_body,
            Route::Content(_, mount) => mount.max_body,
            Route::Bayeux(..) | Route::File { .. } | Route::Server => 0,
        }
    }
}
