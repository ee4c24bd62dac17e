//! Handlers of the embedder's own for paths outside the endpoint: any method, on worker threads.

use std::sync::Arc;

use super::config::SiteError;
use super::headers;
use super::pending::failed;
use super::request::{Request, Target};
use super::response::Response;
use crate::broker::{Inbox, Threads, guarded};
use crate::transport::Peer;

/// A request to a handler. It owns what it holds, since it is handled on another thread.
#[derive(Clone, Debug)]
pub struct ContentRequest {
    /// As it came; methods are case-sensitive.
    pub method: String,
    /// The path, not decoded.
    pub path: String,
    /// What follows the question mark, not decoded.
    pub query: Option<String>,
    /// Header lines in the order they came.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body, without any transfer coding.
    pub body: Vec<u8>,
    /// Who sent it; its transport means nothing here.
    pub peer: Peer,
}

impl ContentRequest {
    pub(super) fn new(request: &Request<'_>, target: Target<'_>, peer: Peer) -> Self {
        Self {
            method: request.head.method.to_owned(),
            path: target.path.to_owned(),
            query: target.query.map(str::to_owned),
            headers: request.head.headers.to_owned(),
            body: request.body.to_owned(),
            peer,
        }
    }

    /// The value of the first line with this name, in any case, if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        headers::text_of(&self.headers, name)
    }
}

/// Answers the requests to a path. On a public site it is called on a worker thread and may block,
/// which holds up nobody but the client; on an internal site it is called on the connector's own
/// thread and must not block. A panic is answered with status 500.
pub trait ContentHandler: Send + Sync + 'static {
    /// The response. Lines about the connection and the length are added by the server.
    fn handle(&self, request: &ContentRequest) -> Response;
}

impl<F> ContentHandler for F
where
    F: Fn(&ContentRequest) -> Response + Send + Sync + 'static,
{
    fn handle(&self, request: &ContentRequest) -> Response {
        self(request)
    }
}

/// A handler and where it is.
pub struct Mount {
    path: String,
    pub(super) max_body: usize,
    pub(super) handler: Arc<dyn ContentHandler>,
    pub(super) inbox: Arc<Inbox>,
}

/// Requests that wait for one handler at the most.
const INBOX: usize = 10_000;

impl Mount {
    /// `path` is one path, or with a slash at its end that and everything below it; of several the
    /// longest goes first, and all before static files. Bodies may have `max_body` bytes, 413
    /// beyond.
    pub fn new(path: &str, max_body: usize, handler: impl ContentHandler) -> Self {
        Self {
            path: path.to_owned(),
            max_body,
            handler: Arc::new(handler),
            inbox: Inbox::new(format!("the handler of {path}"), Threads::Half, INBOX),
        }
    }

    fn covers(&self, path: &str) -> bool {
        path == self.path || self.path.ends_with('/') && path.starts_with(&self.path)
    }
}

/// The response, made on this thread.
pub(super) fn answer_here(handler: &dyn ContentHandler, request: &ContentRequest) -> Response {
    let made = guarded("a handler", || handler.handle(request));
    let response = made.unwrap_or_else(failed);
    match request.method.as_str() {
        "HEAD" => response.without_body(),
        _ => response,
    }
}

/// All handlers, the longest path first.
#[derive(Default)]
pub(super) struct Mounts(Vec<Mount>);

impl Mounts {
    /// # Errors
    /// A path that is none, is there twice, or is the endpoint's.
    pub(super) fn new(
        mut list: Vec<Mount>,
        is_endpoint: impl Fn(&str) -> bool,
    ) -> Result<Self, SiteError> {
        list.sort_by(|a, b| b.path.len().cmp(&a.path.len()).then(a.path.cmp(&b.path)));
        let twice = list.windows(2).find(|pair| pair[0].path == pair[1].path);
        let wrong = |mount: &&Mount| {
            !mount.path.starts_with('/')
                || mount.path.contains(['?', '#'])
                || is_endpoint(&mount.path)
        };
        match twice
            .map(|pair| &pair[0])
            .or_else(|| list.iter().find(wrong))
        {
            Some(mount) => Err(SiteError::Content(mount.path.clone())),
            None => Ok(Self(list)),
        }
    }

    pub(super) fn find(&self, path: &str) -> Option<&Mount> {
        self.0.iter().find(|mount| mount.covers(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::BrokerConfig;
    use crate::clock::ManualClock;
    use crate::http::SiteConfig;
    use crate::http::site::Site;
    use crate::http::testing::{ask, site, with_head};

    fn mounts(paths: &[&str]) -> Result<Mounts, SiteError> {
        let handler = |_: &ContentRequest| Response::new(204);
        let list = paths.iter().map(|path| Mount::new(path, 0, handler));
        Mounts::new(list.collect(), |path| path.starts_with("/cometd"))
    }

    #[test]
    fn the_longest_path_goes_first() {
        let mounts = mounts(&["/", "/api/", "/api/users", "/one"]).unwrap();
        for (path, found) in [
            ("/", "/"),
            ("/x", "/"),
            ("/api", "/"),
            ("/api/", "/api/"),
            ("/api/x/y", "/api/"),
            ("/api/users", "/api/users"),
            ("/api/users/1", "/api/"),
            ("/one", "/one"),
            ("/one/", "/"),
        ] {
            assert_eq!(mounts.find(path).unwrap().path, found, "{path}");
        }
    }

    #[test]
    fn conflicts_are_errors() {
        for wrong in [&["/a", "/a"][..], &["/cometd"], &["a"], &[""], &["/a?b"]] {
            let Err(SiteError::Content(path)) = mounts(wrong) else {
                panic!("{wrong:?}");
            };
            assert_eq!(path, wrong[0]);
        }
        assert!(mounts(&["/a"]).unwrap().find("/b").is_none());
    }

    #[test]
    fn an_internal_site_is_handlers_that_answer_at_once() {
        let broker = site(SiteConfig::default(), BrokerConfig::default())
            .broker()
            .clone();
        let name = |name: &'static str| move |_: &ContentRequest| Response::text(200, name);
        let list = || {
            let broken = |_: &ContentRequest| panic!("as it should");
            vec![
                Mount::new("/", 2, name("all")),
                Mount::new("/api/", 0, name("api")),
                Mount::new("/broken", 0, broken),
            ]
        };
        let clock = Arc::new(ManualClock::new());
        let config = SiteConfig {
            own_hosts: vec!["own.example".to_owned()],
            ..SiteConfig::default()
        };
        let site = Site::internal(list(), &config, broker.clone(), clock).unwrap();
        for (method, target, body, status, text) in [
            ("GET", "/", "", 200, "all\n"),
            ("POST", "/x?message=%5B%5D", "[]", 200, "all\n"),
            ("POST", "/x", "[ ]", 413, "the request body is too large\n"),
            ("GET", "/api/x", "", 200, "api\n"),
            ("HEAD", "/api/", "", 200, ""),
            ("GET", "/broken", "", 500, "internal server error\n"),
            ("OPTIONS", "*", "", 404, "not found\n"),
        ] {
            let seen = ask(&site, method, target, &[], body);
            assert_eq!((seen.status, &seen.body[..]), (status, text), "{target}");
        }
        // Neither sockets nor streams of events, nor cookies, nor a path of the endpoint.
        let upgrade = [("Connection", "upgrade"), ("Upgrade", "websocket")];
        assert_eq!(ask(&site, "GET", "/", &upgrade, "").status, 200);
        with_head("GET", "/", &upgrade, |head| {
            let caller = site.caller(&head, [127, 0, 0, 1].into(), false);
            assert!(!site.route(&head, &caller).takes_over())
        });
        assert_eq!(site.mount(), "");
        assert!(site.refused_statuses().contains(&(413, 1)));
        let mut twice = list();
        twice.extend(list());
        let clock = Arc::new(ManualClock::new());
        assert!(matches!(
            Site::internal(twice, &config, broker, clock),
            Err(SiteError::Content(path)) if path == "/broken"
        ));
    }
}
