//! Static files beside the endpoint.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bayeux::{ContentRequest, Expiry, Response};

use super::harness::{On, World};

/// A folder that vanishes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("files-{}-{number}", std::process::id());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let root = path.join("root");
        fs::create_dir_all(root.join("sub")).unwrap();
        fs::create_dir_all(root.join("empty")).unwrap();
        fs::create_dir_all(root.join(".git")).unwrap();
        let files = [
            ("root/index.html", "<!doctype html><title>index</title>"),
            ("root/sub/index.html", "<!doctype html><title>sub</title>"),
            ("root/style.css", "body { margin: 0 }"),
            ("root/app.js", "console.log(1)"),
            ("root/numbers.txt", "0123456789"),
            ("root/with space.txt", "space"),
            ("root/.secret", "secret"),
            ("root/.git/config", "secret"),
            ("outside.txt", "secret"),
        ];
        for (name, content) in files {
            fs::write(path.join(name), content).unwrap();
        }
        #[cfg(unix)]
        std::os::unix::fs::symlink("../outside.txt", root.join("link.txt")).unwrap();
        Self(path)
    }

    fn world(&self, on: On) -> World {
        World::with(on, |config| {
            config.site.document_root = Some(self.0.join("root"));
            config.site.expires = vec![Expiry::new("text/css", Duration::from_secs(3600))];
        })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

pub(crate) fn files_and_their_types(on: On) {
    let folder = Folder::new();
    let world = folder.world(on);
    let mut connection = world.connection();
    let table = [
        ("/", "text/html", "<!doctype html><title>index</title>"),
        (
            "/index.html",
            "text/html",
            "<!doctype html><title>index</title>",
        ),
        ("/sub/", "text/html", "<!doctype html><title>sub</title>"),
        ("/style.css", "text/css", "body { margin: 0 }"),
        ("/app.js", "application/javascript", "console.log(1)"),
        ("/with%20space.txt", "text/plain", "space"),
    ];
    for (target, kind, content) in table {
        let response = connection.get(target);
        assert_eq!(
            (response.status, response.text()),
            (200, content),
            "{target}"
        );
        let sent = response.header("content-type").expect("a type");
        assert!(sent.starts_with(kind), "{target}: {sent}");
        assert_eq!(
            response.header("x-content-type-options"),
            Some("nosniff"),
            "{target}"
        );
        assert_eq!(
            response.header("expires").is_some(),
            kind == "text/css",
            "{target}"
        );
    }
    let moved = connection.get("/sub?x=1");
    assert_eq!(moved.status, 301);
    assert!(
        moved
            .header("location")
            .is_some_and(|to| to.contains("/sub/")),
        "{moved:?}"
    );
    assert_eq!(connection.get("/empty/").status, 403);
    assert_eq!(connection.get("/none.html").status, 404);
    assert_eq!(connection.request("PUT", "/style.css", "", b"").status, 405);
}

pub(crate) fn nothing_outside_the_root(on: On) {
    let folder = Folder::new();
    let world = folder.world(on);
    let targets = [
        "/../outside.txt",
        "/%2e%2e/outside.txt",
        "/..%2foutside.txt",
        "/sub/../../outside.txt",
        "/sub/%2e%2e/%2e%2e/outside.txt",
        "/..%5coutside.txt",
        "//outside.txt",
        "/link.txt",
        "/.secret",
        "/.git/config",
        "/%2esecret",
        "/index.html%00.txt",
        "/./.secret",
    ];
    for target in targets {
        let response = world.connection().get(target);
        assert!(
            matches!(response.status, 400 | 403 | 404),
            "{target}: {}",
            response.status
        );
        assert!(!response.text().contains("secret"), "{target}");
    }
}

pub(crate) fn copies_are_revalidated(on: On) {
    let folder = Folder::new();
    let world = folder.world(on);
    let mut connection = world.connection();
    let first = connection.get("/app.js");
    let tag = first.header("etag").expect("a tag").to_owned();
    let date = first.header("last-modified").expect("a date").to_owned();
    let same = connection.request("GET", "/app.js", &format!("If-None-Match: {tag}\r\n"), b"");
    assert_eq!(
        (same.status, same.header("etag")),
        (304, Some(tag.as_str()))
    );
    let same = connection.request(
        "GET",
        "/app.js",
        &format!("If-Modified-Since: {date}\r\n"),
        b"",
    );
    assert_eq!(same.status, 304);
    let other = connection.request("GET", "/app.js", "If-None-Match: \"other\"\r\n", b"");
    assert_eq!((other.status, other.text()), (200, "console.log(1)"));
}

pub(crate) fn the_client_script_lies_below_the_endpoint(on: On) {
    for (path, script) in [("/cometd", "/cometd/client.js"), ("/a/b", "/a/b/client.js")] {
        let world = World::with(on, |config| config.site.mount = path.to_owned());
        let mut connection = world.connection();
        let response = connection.get(script);
        assert!(response.text().contains("globalThis.Faye = Faye;"));
        let kind = response.header("content-type").expect("a type");
        assert!(kind.contains("javascript"), "{kind}");
        let tag = response.header("etag").expect("a tag").to_owned();
        let line = format!("If-None-Match: {tag}\r\n");
        assert_eq!(connection.request("GET", script, &line, b"").status, 304);
        assert_eq!(connection.get(&format!("{script}.map")).status, 404);
        // Browsers look for it by themselves: no refusal to tell the log of.
        let refusals = world.server.stats().refusals;
        assert!(refusals.iter().all(|(_, count)| *count == 0));
        // Everything else below the endpoint is the endpoint still, and above it there is nothing.
        assert_eq!(connection.request("POST", script, "", b"[]").status, 200);
        assert_eq!(connection.get(&format!("{path}/other.js")).status, 405);
        assert_eq!(connection.get("/client.js").status, 404);
        assert_eq!(connection.get("/a").status, 404);
    }
    let folder = Folder::new();
    let own = folder.0.join("root/cometd");
    fs::create_dir(&own).unwrap();
    let world = folder.world(on);
    let mut connection = world.connection();
    let built_in = connection.get("/cometd/client.js");
    assert!(built_in.text().contains("globalThis.Faye"));
    fs::write(own.join("client.js"), "another client").unwrap();
    assert_eq!(connection.get("/cometd/client.js").text(), "another client");
}

pub(crate) fn parts_of_files(on: On) {
    let folder = Folder::new();
    let world = folder.world(on);
    let mut connection = world.connection();
    let mut range = |range: &str| {
        connection.request(
            "GET",
            "/numbers.txt",
            &format!("Range: bytes={range}\r\n"),
            b"",
        )
    };
    for (asked, content, part) in [
        ("2-4", "234", "bytes 2-4/10"),
        ("7-", "789", "bytes 7-9/10"),
        ("-2", "89", "bytes 8-9/10"),
        ("5-100", "56789", "bytes 5-9/10"),
    ] {
        let response = range(asked);
        assert_eq!(
            (response.status, response.text()),
            (206, content),
            "{asked}"
        );
        assert_eq!(response.header("content-range"), Some(part));
    }
    let beyond = range("10-");
    assert_eq!(
        (beyond.status, beyond.header("content-range")),
        (416, Some("bytes */10"))
    );
    assert_eq!(range("x-y").status, 200, "what is no range is ignored");
    let head = connection.request("HEAD", "/numbers.txt", "", b"");
    assert_eq!(
        (head.status, head.header("content-length")),
        (200, Some("10"))
    );
    assert_eq!(
        connection.get("/numbers.txt").text(),
        "0123456789",
        "the connection goes on"
    );
}

pub(crate) fn demo_pages_are_built_in(on: On) {
    let world = World::with(on, |config| config.demo = None);
    let response = world.connection().get("/");
    assert_eq!(response.status, 200);
    assert!(response.text().contains("<html") || response.text().contains("<!doctype"));
    let world = World::new(on);
    assert_eq!(world.connection().get("/").status, 404, "demo = false");
}

pub(crate) fn files_beside_an_endpoint_at_the_root(on: On) {
    let folder = Folder::new();
    let content = |_: &ContentRequest| Response::text(200, "content");
    let world = World::built(
        on,
        |config| {
            config.site.mount = "/".to_owned();
            config.site.document_root = Some(folder.0.join("root"));
        },
        |builder| builder.content("/api/", 100, content),
    );
    let ask = |method, target, headers, body: &[u8]| {
        let response = world.connection().request(method, target, headers, body);
        (response.status, response.text().to_owned())
    };
    let handshake = br#"{"channel":"/meta/handshake"}"#;
    for target in ["/", "/handshake", "/numbers.txt"] {
        let (status, body) = ask("POST", target, "", handshake);
        assert!(status == 200 && body.contains("clientId"), "{body}");
    }
    let page = "Sec-Fetch-Site: same-origin\r\n";
    for (target, headers, expected) in [
        ("/numbers.txt", "", "0123456789"),
        ("/", "", "<!doctype html><title>index</title>"),
        (
            "/sub/?messages=1",
            page,
            "<!doctype html><title>sub</title>",
        ),
        ("/?message=%5B%5D&jsonp=cb", page, "/**/cb([]);"),
        ("/api/x?message=%5B%5D", page, "content\n"),
    ] {
        assert_eq!(ask("GET", target, headers, b"").1, expected, "{target}");
    }
    assert_eq!(ask("POST", "/api/x", "", b"x").1, "content\n");
    assert_eq!(ask("GET", "/none", "", b"").0, 404);
    let response = world.connection().request("PUT", "/", "", b"");
    let allow = response.header("allow");
    assert_eq!(
        (response.status, allow),
        (405, Some("GET, HEAD, POST, OPTIONS"))
    );
}
