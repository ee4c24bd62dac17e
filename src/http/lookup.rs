//! Requests for files that may be in the document root: looked for where that may take long.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use super::cors::OriginKind;
use super::endpoint::Denied;
use super::files::{Found, SitePath, StaticFiles, accepts_gzip, wants};
use super::headers::Headers;
use super::pending::{Hooked, PendingResponse};
use super::proxies::Caller;
use super::refusal::Refusal;
use super::request::{Request, RequestHead};
use super::response::{Body, Response};
use super::site::{Handled, Site};
use crate::transport::ConnectionHandle;
use crate::util::{Completion, Owner};

/// A request for a file: what is needed of it when that has been found, or has not.
pub struct Lookup {
    method: String,
    target: String,
    minor_version: u8,
    lines: Vec<(String, Vec<u8>)>,
    caller: Caller,
    path: SitePath,
    files: Arc<StaticFiles>,
    /// Who changes the response.
    pub(super) hooked: Option<Hooked>,
}

impl Lookup {
    /// Looks on this thread, however long that takes.
    pub(super) fn here(self, site: &Site) -> Response {
        let found = self.search()();
        self.respond(site, found)
    }

    /// Has a worker look, when it is the turn of whoever asked.
    ///
    /// # Errors
    /// The refusal, where too much waits already.
    pub fn later(
        self: Box<Self>,
        site: &Site,
        connection: &ConnectionHandle,
    ) -> Result<PendingResponse, Response> {
        let (found, promise) = Completion::new(connection.clone(), || Found::Trouble);
        let search = self.search();
        let look = move || promise.complete(search());
        let owner = Owner::from(self.caller.ip);
        match site.broker().run(&site.file_inbox, owner, look) {
            true => Ok(PendingResponse::file(connection, found, self)),
            false => Err(site.busy(self.caller.ip)),
        }
    }

    fn search(&self) -> impl FnOnce() -> Found + Send + use<> {
        let (files, path) = (Arc::clone(&self.files), self.path.clone());
        let how = |head: &RequestHead<'_>| (accepts_gzip(&head.headers), wants(head));
        let (gzip, wanted) = self.with_head(how);
        move || files.find(&path, gzip, wanted)
    }

    pub(super) fn respond(&self, site: &Site, found: Found) -> Response {
        self.with_head(|head| site.found(head, &self.caller, &self.path, found))
    }

    fn with_head<'a, R>(&'a self, work: impl FnOnce(&RequestHead<'_>) -> R) -> R {
        let line = |(name, value): &'a (String, Vec<u8>)| httparse::Header { name, value };
        let lines = self.lines.iter().map(line);
        let lines: Vec<_> = lines.collect();
        work(&RequestHead {
            method: &self.method,
            target: &self.target,
            minor_version: self.minor_version,
            headers: Headers::new(&lines),
        })
    }
}

impl Site {
    /// Answers a request for a file: at once, unless there is a document root.
    pub(super) fn file(
        &self,
        request: &Request<'_>,
        files: &Arc<StaticFiles>,
        path: &str,
    ) -> Handled {
        let Request { head, caller, .. } = request;
        let Some(path) = SitePath::parse(path) else {
            let refused = self.refuse(Refusal::NotFound.refused(), Some(head), caller);
            return Handled::Done(refused);
        };
        if !files.may_block() {
            let found = files.find(&path, accepts_gzip(&head.headers), false);
            return Handled::Done(self.found(head, caller, &path, found));
        }
        Handled::File(Box::new(Lookup {
            method: head.method.to_owned(),
            target: head.target.to_owned(),
            minor_version: head.minor_version,
            lines: head.headers.to_owned(),
            caller: (*caller).clone(),
            path,
            files: Arc::clone(files),
            hooked: None,
        }))
    }

    /// Answers a request for a file that has been looked for.
    fn found(
        &self,
        head: &RequestHead<'_>,
        caller: &Caller,
        path: &SitePath,
        found: Found,
    ) -> Response {
        let Some(public) = self.public() else {
            return self.refuse(Refusal::NotFound.refused(), Some(head), caller);
        };
        if !matches!(head.method, "GET" | "HEAD") {
            let refusal = match found {
                Found::Missing => Refusal::Path,
                _ => Refusal::Method,
            };
            let origin = OriginKind::Absent;
            return self.deny(head, caller, &Denied { refusal, origin });
        }
        let endpoint = &public.endpoint;
        let target = head.target();
        let refuse = |refusal: Refusal| {
            // Browsers look for the map by themselves; it is nobody's mistake.
            let is_file = |path| endpoint.is_file(head.method, path);
            if refusal == Refusal::NotFound && target.is_some_and(|target| is_file(target.path)) {
                return Response::text(404, refusal.refused().line);
            }
            let query = target.and_then(|target| target.query);
            let lost = refusal == Refusal::NotFound && endpoint.is_meant(head, query);
            let refusal = if lost { Refusal::Path } else { refusal };
            self.refuse(refusal.refused(), Some(head), caller)
        };
        let response = public.files.respond(head, path, found, self.now(), &refuse);
        match head.is_head() {
            true => response.without_body(),
            false => response,
        }
    }

    fn now(&self) -> SystemTime {
        self.clock.wall()
    }

    /// Has a worker read the next piece of a file, when it is the turn of whoever gets it. An error
    /// also where too much waits already.
    pub(crate) fn read_piece(
        &self,
        mut file: Body,
        most: usize,
        ip: IpAddr,
        connection: &ConnectionHandle,
    ) -> Completion<Piece, ConnectionHandle> {
        let busy = || Err(io::Error::other("too much waits for the file system"));
        let (piece, promise) = Completion::new(connection.clone(), busy);
        let read = move || {
            let len = usize::try_from(file.len()).unwrap_or(most).min(most);
            let mut bytes = vec![0; len];
            let read = file.read(&mut bytes);
            promise.complete(read.map(|read| {
                bytes.truncate(read);
                (bytes, file)
            }));
        };
        if !self.broker().run(&self.file_inbox, Owner::from(ip), read) {
            self.count_busy(ip);
        }
        piece
    }
}

/// A piece of a file, and the rest.
pub(crate) type Piece = io::Result<(Vec<u8>, Body)>;
