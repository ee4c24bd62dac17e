//! What the endpoint makes of requests, by their heads.

use super::*;
use crate::http::testing::with_head;

fn endpoint(change: impl FnOnce(&mut SiteConfig)) -> Endpoint {
    let mut config = SiteConfig {
        allowed_origins: vec!["http://app.example".parse().unwrap()],
        ..SiteConfig::default()
    };
    change(&mut config);
    Endpoint::new(&config, Offers::new(&["long-polling", "callback-polling"])).unwrap()
}

/// An endpoint that offers these transports.
fn offering(types: &[&str], mount: &str) -> Endpoint {
    let config = SiteConfig {
        mount: mount.to_owned(),
        ..SiteConfig::default()
    };
    Endpoint::new(&config, Offers::new(types)).unwrap()
}

/// What the endpoint makes of a request, in short.
fn outcome(endpoint: &Endpoint, method: &str, target: &str, lines: &[(&str, &str)]) -> String {
    with_head(method, target, lines, |head| {
        let target = head.target().unwrap();
        match endpoint.admit(&head, target.path, target.query) {
            Ok(Ask::Post { kind, origin }) => format!("{kind:?} {origin:?}"),
            Ok(Ask::Script { callback, origin }) => format!("{callback} {origin:?}"),
            Ok(Ask::Options(origin)) => format!("options {origin:?}"),
            Ok(Ask::Socket(_)) => "socket".to_owned(),
            Ok(Ask::Events { client, .. }) => format!("events of {client}"),
            Err(Denied { refusal, .. }) => format!("{refusal:?}"),
        }
    })
}

type Lines = &'static [(&'static str, &'static str)];

const FOREIGN: (&str, &str) = ("Origin", "http://evil.example");
const ALLOWED: (&str, &str) = ("Origin", "http://app.example");
const OWN: (&str, &str) = ("Origin", "http://own.example");
const OWN_PAGE: (&str, &str) = ("Referer", "http://own.example/page.html");
const HTML: (&str, &str) = ("Content-Type", "text/html");
const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");
const ECHOED: &str = "Allowed(\"http://app.example\")";

#[test]
fn heads_are_admitted_or_refused() {
    let endpoint = endpoint(|_| {});
    let table: [(&str, &str, Lines, &str); 22] = [
        ("POST", "/cometd", &[], "Text Absent"),
        ("POST", "/cometd?message=x", &[FORM], "Form Absent"),
        ("POST", "/cometd", &[OWN], "Text Own"),
        ("POST", "/cometd", &[ALLOWED], &format!("Text {ECHOED}")),
        ("POST", "/cometd", &[FOREIGN], "Origin"),
        ("POST", "/cometd", &[FOREIGN, HTML], "Origin"),
        ("POST", "/cometd", &[HTML], "MediaType"),
        ("GET", "/cometd", &[], "Method"),
        ("GET", "/cometd?jsonp=cb", &[OWN_PAGE], "Method"),
        ("GET", "/cometd?messages=[]", &[OWN_PAGE], "Method"),
        (
            "GET",
            "/cometd?message=[]",
            &[OWN_PAGE],
            "jsonpcallback Absent",
        ),
        (
            "GET",
            "/cometd?message=[]&jsonp=a.b",
            &[OWN_PAGE],
            "a.b Absent",
        ),
        (
            "GET",
            "/cometd?message=[]&jsonp=a(b)",
            &[OWN_PAGE],
            "Callback",
        ),
        ("GET", "/cometd?message=[]&jsonp=", &[OWN_PAGE], "Callback"),
        ("GET", "/cometd?message=[]&jsonp=a(b)", &[], "Page"),
        ("GET", "/cometd?message=[]", &[FOREIGN, OWN_PAGE], "Origin"),
        (
            "GET",
            "/cometd?message=[]&jsonp=c",
            &[ALLOWED],
            &format!("c {ECHOED}"),
        ),
        ("GET", "/cometd?message=[]&jsonp=c", &[OWN], "c Own"),
        ("OPTIONS", "/cometd", &[FOREIGN], "options Foreign"),
        (
            "OPTIONS",
            "/cometd",
            &[ALLOWED],
            &format!("options {ECHOED}"),
        ),
        ("HEAD", "/cometd?message=[]", &[OWN_PAGE], "Method"),
        ("post", "/cometd", &[], "Method"),
    ];
    for (method, target, lines, expected) in table {
        let found = outcome(&endpoint, method, target, lines);
        assert_eq!(found, expected, "{method} {target} {lines:?}");
    }
}

#[test]
fn callback_polling_can_be_opened_and_closed() {
    let open = endpoint(|config| config.callback_polling = CallbackPolling::Open);
    let off = endpoint(|config| config.callback_polling = CallbackPolling::Off);
    let any = endpoint(|config| config.allowed_origins.push("*".parse().unwrap()));
    let target = "/cometd?message=[]&jsonp=cb";
    assert_eq!(outcome(&open, "GET", target, &[]), "cb Absent");
    assert_eq!(outcome(&open, "GET", target, &[FOREIGN]), "cb Foreign");
    assert_eq!(
        outcome(&open, "GET", "/cometd?message=[]&jsonp=(", &[]),
        "Callback"
    );
    assert_eq!(outcome(&off, "GET", target, &[OWN_PAGE]), "Scripts");
    assert_eq!(outcome(&any, "GET", target, &[]), "cb Absent");
    assert_eq!(
        (open.allow(), off.allow()),
        ("GET, POST, OPTIONS", "POST, OPTIONS")
    );
    assert!(open.uses_cookies() && !any.uses_cookies());
}

const SOCKET: Lines = &[("Connection", "Upgrade"), ("Upgrade", "websocket")];
const EVENTS: Lines = &[("Accept", "text/event-stream")];

#[test]
fn what_is_not_offered_is_refused() {
    let all = [
        "websocket",
        "eventsource",
        "long-polling",
        "callback-polling",
    ];
    let script = "/cometd?message=[]&jsonp=cb";
    let table: [(&[&str], [&str; 4], &str); 6] = [
        (
            &all,
            ["Text Absent", "cb Absent", "socket", "events of x"],
            "GET, POST, OPTIONS",
        ),
        (
            &["long-polling"],
            ["Text Absent", "Scripts", "Transport", "Transport"],
            "POST, OPTIONS",
        ),
        (
            &["callback-polling"],
            ["Transport", "cb Absent", "Transport", "Transport"],
            "GET, OPTIONS",
        ),
        (
            &["websocket"],
            ["Transport", "Scripts", "socket", "Transport"],
            "GET, OPTIONS",
        ),
        // Its clients speak by POST.
        (
            &["eventsource"],
            ["Text Absent", "Scripts", "Transport", "events of x"],
            "GET, POST, OPTIONS",
        ),
        (
            &["websocket", "long-polling"],
            ["Text Absent", "Scripts", "socket", "Transport"],
            "GET, POST, OPTIONS",
        ),
    ];
    for (types, [post, callback, socket, events], allow) in table {
        let endpoint = Endpoint {
            callback_polling: CallbackPolling::Open,
            ..offering(types, "/cometd")
        };
        assert_eq!(outcome(&endpoint, "POST", "/cometd", &[]), post);
        assert_eq!(outcome(&endpoint, "GET", script, &[]), callback);
        assert_eq!(outcome(&endpoint, "GET", "/cometd", SOCKET), socket);
        assert_eq!(outcome(&endpoint, "GET", "/cometd/x", EVENTS), events);
        assert_eq!(
            outcome(&endpoint, "OPTIONS", "/cometd", &[]),
            "options Absent"
        );
        assert_eq!(endpoint.allow(), allow, "{types:?}");
    }
}

#[test]
fn at_the_root_there_are_files_too() {
    let endpoint = offering(&["websocket", "long-polling", "callback-polling"], "/");
    let quiet = offering(&["long-polling"], "/");
    let takes = |endpoint: &Endpoint, method, target, lines: Lines| {
        with_head(method, target, lines, |head| {
            endpoint.takes(&head, &head.target().unwrap())
        })
    };
    let table: [(&str, &str, Lines, bool, bool); 12] = [
        ("POST", "/", &[], true, true),
        ("POST", "/handshake", &[], true, true),
        ("OPTIONS", "/x", &[], true, true),
        ("PUT", "/x", &[], true, true),
        ("GET", "/", &[], false, false),
        ("HEAD", "/index.html", &[], false, false),
        ("GET", "/x.html?messages=1", &[], false, false),
        ("GET", "/?message=[]", &[], true, false),
        ("HEAD", "/?message=[]", &[], false, false),
        ("GET", "/", SOCKET, true, true),
        ("GET", "/x", EVENTS, true, true),
        ("OPTIONS", "*", &[], false, false),
    ];
    for (method, target, lines, taken, by_quiet) in table {
        let found = takes(&endpoint, method, target, lines);
        assert_eq!(found, taken, "{method} {target}");
        let found = takes(&quiet, method, target, lines);
        assert_eq!(found, by_quiet, "{method} {target}");
    }
    let elsewhere = offering(&["long-polling"], "/cometd");
    assert!(takes(&elsewhere, "GET", "/cometd/x", &[]));
    assert!(!takes(&elsewhere, "POST", "/", &[]));
    assert_eq!(endpoint.allow(), "GET, HEAD, POST, OPTIONS");
    assert_eq!(offering(&["websocket"], "/").allow(), "GET, HEAD, OPTIONS");
}

#[test]
fn the_mount_covers_itself_and_what_is_below() {
    let table: [(&str, &[&str], &[&str]); 4] = [
        (
            "/cometd",
            &[
                "/cometd",
                "/cometd/",
                "/cometd/handshake",
                "/cometd/x/y",
                "/cometd//",
            ],
            &[
                "/",
                "/cometdx.html",
                "/comet",
                "/Cometd",
                "/x/cometd",
                "//cometd",
                "*",
            ],
        ),
        ("/cometd/", &["/cometd", "/cometd/x"], &["/"]),
        ("/a/b", &["/a/b", "/a/b/c"], &["/a", "/a/bc"]),
        ("/", &["/", "/x"], &["*"]),
    ];
    for (mount, inside, outside) in table {
        let endpoint = endpoint(|config| config.mount = mount.to_owned());
        for path in inside {
            assert!(endpoint.covers(path), "{mount} {path}");
        }
        for path in outside {
            assert!(!endpoint.covers(path), "{mount} {path}");
        }
    }
    assert_eq!(
        endpoint(|config| config.mount = "/".to_owned()).mount(),
        "/"
    );
    assert_eq!(endpoint(|_| {}).mount(), "/cometd");
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    for mount in [
        "cometd", "/a//b", "//", "/a?b", "/a%20b", "/a b", "/..", "/a/./b", "/\u{e9}",
    ] {
        let config = SiteConfig {
            mount: mount.to_owned(),
            ..SiteConfig::default()
        };
        let error = Endpoint::new(&config, Offers::new(&[]))
            .unwrap_err()
            .to_string();
        assert!(error.starts_with(&format!("path: `{mount}` ")), "{error}");
    }
}
