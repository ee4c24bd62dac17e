//! From a path to a response: which source has the file, and how it is sent.

use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::path::PathBuf;
use std::time::SystemTime;

use super::directory::DocumentRoot;
use super::embedded::Embedded;
use super::media::{Expiry, MediaTypes, content_type, expiry_headers};
use super::negotiation::{Conditions, Part, evaluate, range, range_applies};
use super::path::SitePath;
use crate::http::config::{SiteConfig, SiteError};
use crate::http::date;
use crate::http::refusal::Refusal;
use crate::http::request::RequestHead;
use crate::http::response::{Body, Response, push_header};

/// The outcome of a search.
#[derive(Debug)]
pub(in crate::http) enum Found {
    /// A file, open.
    Asset(Asset),
    /// A directory, asked for without the slash at its end.
    Directory,
    /// A directory without any of the index files.
    NoIndex,
    /// Nothing that may be served.
    Missing,
    /// A file the server has no right to read.
    Unreadable,
    /// The server is short of something.
    Trouble,
}

/// A file that can be sent.
#[derive(Debug)]
pub(in crate::http) struct Asset {
    pub(super) content: Content,
    /// In bytes.
    pub(super) len: u64,
    /// The entity tag, with its quotes: a strong one.
    pub(super) tag: String,
    /// When it was changed, if that is known.
    pub(super) modified: Option<SystemTime>,
    /// The name that decides about the type, without `.gz`.
    pub(super) name: String,
    /// Whether there is a compressed form beside the plain one.
    pub(super) has_gzip: bool,
    /// Whether this is the compressed form.
    pub(super) is_gzip: bool,
}

/// Where the bytes are.
#[derive(Debug)]
pub(super) enum Content {
    Static(&'static [u8]),
    /// Read already.
    Read(Vec<u8>),
    /// Positioned at its beginning.
    File(File),
}

/// All static files of a site. The directory goes before what is built in.
#[derive(Clone, Debug, Default)]
pub(in crate::http) struct StaticFiles {
    /// Files of a directory.
    pub(super) root: Option<DocumentRoot>,
    /// Files that are part of the program.
    pub(super) embedded: Embedded,
    /// Names of the file that stands for a directory, tried in order.
    pub(super) index: Vec<String>,
    /// Types by ending.
    pub(super) types: MediaTypes,
    /// How long files may be kept, by type.
    pub(super) expiry: Vec<Expiry>,
}

impl StaticFiles {
    /// Opens the document root and reads the settings.
    ///
    /// # Errors
    ///
    /// What is wrong with the configuration.
    pub(in crate::http) fn new(config: &SiteConfig) -> Result<Self, SiteError> {
        let open = |path: &PathBuf| {
            DocumentRoot::open(path).map_err(|error| SiteError::DocumentRoot(path.clone(), error))
        };
        let mut embedded = Embedded::new(config.embedded);
        if let Some(script) = config.client_script {
            let path = format!("{}/client.js", config.mount.trim_matches('/'));
            embedded.insert(path.trim_start_matches('/').to_owned().into(), script);
        }
        Ok(Self {
            root: config.document_root.as_ref().map(open).transpose()?,
            embedded,
            index: config.directory_index.clone(),
            types: MediaTypes::new(&config.media_types),
            expiry: config.expires.clone(),
        })
    }

    /// Whether files are looked for in a directory, which may take as long as it likes.
    pub(in crate::http) fn may_block(&self) -> bool {
        self.root.is_some()
    }

    /// Whether there is something built in at a path.
    pub(in crate::http) fn has(&self, path: &str) -> bool {
        let path = SitePath::parse(path);
        path.is_some_and(|path| !matches!(self.look(&path, false), Found::Missing))
    }

    /// Answers GET or HEAD of a path where that was found; `refuse` makes a refusal. The body for
    /// HEAD is still to be left out.
    pub(in crate::http) fn respond(
        &self,
        head: &RequestHead<'_>,
        path: &SitePath,
        found: Found,
        now: SystemTime,
        refuse: &dyn Fn(Refusal) -> Response,
    ) -> Response {
        let query = head.target().and_then(|target| target.query);
        match found {
            Found::Asset(asset) => self.send(asset, head, now, refuse),
            Found::Directory => Response::new(301).header("Location", &path.with_slash(query)),
            Found::NoIndex => refuse(Refusal::Listing),
            Found::Missing => refuse(Refusal::NotFound),
            Found::Unreadable => refuse(Refusal::Unreadable),
            Found::Trouble => refuse(Refusal::Unavailable),
        }
    }

    /// Asks the directory, and where it has nothing to send, what is built in. Of a file that is
    /// `wanted` the content is there too, if it is short.
    pub(in crate::http) fn find(&self, path: &SitePath, gzip: bool, wanted: bool) -> Found {
        match self.look(path, gzip) {
            Found::Asset(asset) if wanted => asset.read_ahead(),
            found => found,
        }
    }

    fn look(&self, path: &SitePath, gzip: bool) -> Found {
        let root = self.root.as_ref();
        let first = root.map_or(Found::Missing, |root| root.find(path, &self.index, gzip));
        if !matches!(first, Found::Missing | Found::NoIndex) {
            return first;
        }
        match self.embedded.find(path, &self.index, gzip) {
            Found::Missing => first,
            second => second,
        }
    }

    fn send(
        &self,
        asset: Asset,
        head: &RequestHead<'_>,
        now: SystemTime,
        refuse: &dyn Fn(Refusal) -> Response,
    ) -> Response {
        // A file from the future must not say so: what is served now is older than now.
        let modified = asset.modified.map(|modified| modified.min(now));
        let mut response = match evaluate(&head.headers, &asset.tag, modified) {
            Conditions::Hold => Response::new(200),
            Conditions::NotModified => Response::new(304),
            Conditions::Fail => return refuse(Refusal::Precondition),
        };
        let part = self.part(&asset, head, modified);
        self.push_validators(&mut response.headers, &asset, modified, now);
        if response.status == 304 {
            return response;
        }
        let (first, len) = match part {
            Part::Whole => (0, asset.len),
            Part::Bytes { first, last } => {
                response.status = 206;
                let range = format!("bytes {first}-{last}/{}", asset.len);
                push_header(&mut response.headers, "Content-Range", &range);
                (first, last - first + 1)
            }
            Part::Outside => {
                let range = format!("bytes */{}", asset.len);
                return refuse(Refusal::Range).header("Content-Range", &range);
            }
        };
        self.push_content(&mut response.headers, &asset);
        match body(asset.content, first, len) {
            Some(body) => Response { body, ..response },
            None => refuse(Refusal::Unavailable),
        }
    }

    /// Ranges are for GET alone.
    fn part(&self, asset: &Asset, head: &RequestHead<'_>, modified: Option<SystemTime>) -> Part {
        match head.headers.get("range") {
            Some(value)
                if head.method == "GET" && range_applies(&head.headers, &asset.tag, modified) =>
            {
                range(value, asset.len)
            }
            _ => Part::Whole,
        }
    }

    /// What 200, 206 and 304 have in common.
    fn push_validators(
        &self,
        out: &mut Vec<u8>,
        asset: &Asset,
        modified: Option<SystemTime>,
        now: SystemTime,
    ) {
        push_header(out, "ETag", &asset.tag);
        if let Some(modified) = modified {
            push_header(out, "Last-Modified", &date::format(modified));
        }
        let media = self.types.of(&asset.name);
        let essence = media.split(';').next().unwrap_or_default().trim_ascii_end();
        if let Some((cache, expires)) = expiry_headers(&self.expiry, essence, now) {
            push_header(out, "Cache-Control", &cache);
            push_header(out, "Expires", &expires);
        }
        if asset.has_gzip {
            push_header(out, "Vary", "Accept-Encoding");
        }
    }

    fn push_content(&self, out: &mut Vec<u8>, asset: &Asset) {
        push_header(
            out,
            "Content-Type",
            &content_type(self.types.of(&asset.name)),
        );
        push_header(out, "X-Content-Type-Options", "nosniff");
        push_header(out, "Accept-Ranges", "bytes");
        if asset.is_gzip {
            push_header(out, "Content-Encoding", "gzip");
        }
    }
}

fn body(content: Content, first: u64, len: u64) -> Option<Body> {
    match content {
        Content::Static(bytes) => {
            let first = usize::try_from(first).ok()?;
            let len = usize::try_from(len).ok()?;
            bytes.get(first..first.checked_add(len)?).map(Body::Static)
        }
        Content::Read(mut bytes) => {
            bytes.truncate(usize::try_from(first + len).ok()?);
            bytes.drain(..usize::try_from(first).ok()?);
            Some(Body::Bytes(bytes))
        }
        Content::File(mut file) => {
            if first > 0 {
                file.seek(SeekFrom::Start(first)).ok()?;
            }
            Some(Body::File {
                file,
                offset: first,
                len,
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::files::{accepts_gzip, wants};
    use crate::http::refusal::Refused;
    use crate::http::testing::{TempDir, with_head};
    use std::time::Duration;

    const EMBEDDED: &[(&str, &[u8])] = &[
        ("index.html", b"built in"),
        ("demo/index.html", b"demo"),
        ("sub/x.txt", b"hidden by the directory"),
    ];

    struct World {
        dir: TempDir,
        files: StaticFiles,
    }

    fn world() -> World {
        let dir = TempDir::new();
        dir.write("root/style.css", "body { margin: 0 }\n");
        dir.write("root/numbers.txt", "0123456789".repeat(10));
        dir.write("root/empty.txt", "");
        dir.write("root/app.js", "plain script");
        dir.write("root/app.js.gz", "packed");
        dir.write("root/sub/x.txt", "of the directory");
        let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(3600);
        for name in ["style.css", "numbers.txt"] {
            let file = File::options()
                .write(true)
                .open(dir.path().join("root").join(name))
                .unwrap();
            file.set_modified(modified).unwrap();
        }
        let files = StaticFiles {
            root: Some(DocumentRoot::open(&dir.path().join("root")).unwrap()),
            embedded: Embedded::new(EMBEDDED),
            index: vec!["index.html".to_owned()],
            types: MediaTypes::default(),
            expiry: vec![Expiry::new("text/css", Duration::from_secs(60))],
        };
        World { dir, files }
    }

    impl World {
        fn ask(&self, method: &str, target: &str, lines: &[(&str, &str)]) -> (Response, String) {
            let now = SystemTime::UNIX_EPOCH + Duration::from_secs(7200);
            let refuse = |refusal: Refusal| {
                let Refused { status, line, .. } = refusal.refused();
                Response::text(status, line)
            };
            let mut response = with_head(method, target, lines, |head| {
                let Some(path) = SitePath::parse(head.target().unwrap().path) else {
                    return refuse(Refusal::NotFound);
                };
                let found = self
                    .files
                    .find(&path, accepts_gzip(&head.headers), wants(&head));
                self.files.respond(&head, &path, found, now, &refuse)
            });
            let text = content(&mut response.body);
            (response, text)
        }

        fn get(&self, target: &str, lines: &[(&str, &str)]) -> (Response, String) {
            self.ask("GET", target, lines)
        }
    }

    fn content(body: &mut Body) -> String {
        let mut all = body.in_memory().unwrap_or_default().to_vec();
        let mut piece = [0; 7];
        while let Ok(got @ 1..) = body.read(&mut piece) {
            all.extend_from_slice(&piece[..got]);
        }
        String::from_utf8(all).unwrap()
    }

    fn header(response: &Response, name: &str) -> Option<String> {
        let text = String::from_utf8(response.headers.clone()).unwrap();
        let start = format!("{name}: ");
        text.lines()
            .find_map(|line| line.strip_prefix(&start).map(str::to_owned))
    }

    #[test]
    fn a_file_comes_with_its_headers() {
        let world = world();
        let (response, text) = world.get("/style.css?v=../1", &[]);
        assert_eq!((response.status, &text[..]), (200, "body { margin: 0 }\n"));
        for (name, value) in [
            ("Content-Type", "text/css;charset=utf-8"),
            ("X-Content-Type-Options", "nosniff"),
            ("Last-Modified", "Thu, 01 Jan 1970 01:00:00 GMT"),
            ("Cache-Control", "max-age=60"),
            ("Expires", "Thu, 01 Jan 1970 02:01:00 GMT"),
            ("Accept-Ranges", "bytes"),
        ] {
            assert_eq!(header(&response, name).as_deref(), Some(value), "{name}");
        }
        let (response, _) = world.get("/numbers.txt", &[]);
        for name in ["Cache-Control", "Expires", "Vary", "Content-Encoding"] {
            assert_eq!(header(&response, name), None, "{name}");
        }
    }

    #[test]
    fn what_is_not_there_is_refused() {
        let world = world();
        world.dir.write("root/none/x", "");
        for (target, status, line) in [
            ("/nothing", 404, "not found\n"),
            ("/%3Cscript%3E", 404, "not found\n"),
            ("/../x", 404, "not found\n"),
            ("/none/", 403, "Directory listing denied\n"),
        ] {
            let (response, text) = world.get(target, &[]);
            assert_eq!((response.status, &text[..]), (status, line), "{target}");
            let path = target.split('?').next().unwrap();
            let has = world.files.has(path);
            assert_eq!(has, status == 403, "{target}");
        }
        for path in ["/", "/sub", "/sub/x.txt", "/demo/"] {
            assert!(world.files.has(path), "{path}");
        }
    }

    #[test]
    fn directories_get_their_slash_and_what_is_built_in_fills_gaps() {
        let world = world();
        let (response, _) = world.get("/sub?a=b", &[]);
        assert_eq!(response.status, 301);
        assert_eq!(header(&response, "Location").as_deref(), Some("/sub/?a=b"));
        for (target, content) in [
            ("/", "built in"),
            ("/demo/", "demo"),
            ("/sub/x.txt", "of the directory"),
        ] {
            assert_eq!(world.get(target, &[]).1, content, "{target}");
        }
        let (response, _) = world.get("/demo", &[]);
        assert_eq!(header(&response, "Location").as_deref(), Some("/demo/"));
    }

    #[test]
    fn what_the_client_has_is_not_sent_again() {
        let world = world();
        let (first, _) = world.get("/style.css", &[]);
        let tag = header(&first, "ETag").unwrap();
        let date = header(&first, "Last-Modified").unwrap();
        for line in [("If-None-Match", &tag[..]), ("If-Modified-Since", &date)] {
            let (response, text) = world.get("/style.css", &[line]);
            assert_eq!((response.status, &text[..]), (304, ""));
            for name in ["ETag", "Last-Modified", "Cache-Control", "Expires"] {
                assert_eq!(header(&response, name), header(&first, name), "{name}");
            }
            assert_eq!(header(&response, "Content-Type"), None);
        }
        let (response, _) = world.get("/style.css", &[("If-Match", "\"x\"")]);
        assert_eq!(response.status, 412);
        let (response, _) = world.get("/", &[("If-None-Match", "*")]);
        assert_eq!(response.status, 304);
    }

    #[test]
    fn ranges_are_cut_out() {
        let world = world();
        for (value, status, range, text) in [
            ("bytes=0-9", 206, Some("bytes 0-9/100"), "0123456789"),
            ("bytes=-5", 206, Some("bytes 95-99/100"), "56789"),
            (
                "bytes=100-",
                416,
                Some("bytes */100"),
                "range not satisfiable\n",
            ),
        ] {
            let (response, found) = world.get("/numbers.txt", &[("Range", value)]);
            assert_eq!((response.status, &found[..]), (status, text), "{value}");
            assert_eq!(header(&response, "Content-Range").as_deref(), range);
        }
        for lines in [
            &[("Range", "bytes=9-0")][..],
            &[("Range", "bytes=0-1"), ("If-Range", "\"other\"")],
        ] {
            let (response, text) = world.get("/numbers.txt", lines);
            assert_eq!((response.status, text.len()), (200, 100));
        }
        let (response, text) = world.get("/demo/", &[("Range", "bytes=1-2")]);
        assert_eq!((response.status, &text[..]), (206, "em"));
        let (response, _) = world.ask("HEAD", "/numbers.txt", &[("Range", "bytes=0-1")]);
        assert_eq!(
            (response.status, response.without_body().body.len()),
            (200, 0)
        );
        assert_eq!(
            world.get("/empty.txt", &[("Range", "bytes=0-")]).0.status,
            416
        );
        assert_eq!(world.get("/empty.txt", &[]).0.status, 200);
    }

    #[test]
    fn the_compressed_form_is_sent_to_those_who_take_it() {
        let world = world();
        let (plain, text) = world.get("/app.js", &[]);
        assert_eq!(&text, "plain script");
        let (packed, text) = world.get("/app.js", &[("Accept-Encoding", "br, gzip")]);
        assert_eq!(&text, "packed");
        assert_eq!(header(&packed, "Content-Encoding").as_deref(), Some("gzip"));
        for response in [&plain, &packed] {
            assert_eq!(header(response, "Vary").as_deref(), Some("Accept-Encoding"));
            let media = header(response, "Content-Type");
            assert_eq!(
                media.as_deref(),
                Some("application/javascript;charset=utf-8")
            );
        }
        assert_ne!(header(&plain, "ETag"), header(&packed, "ETag"));
    }
}
