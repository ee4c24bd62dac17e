//! A site asked as connectors ask it: every refusal, every form of request, every form of answer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;

use super::access_log::AccessLog;
use super::config::SiteConfig;
use super::cors::CallbackPolling;
use super::files::Expiry;
use super::proxies::{Caller, TrustedProxies};
use super::refusal::Refused;
use super::request::Request;
use super::site::{Handled, Site};
use super::testing::{Lines, Seen, TempDir, ask, connection, handle, site, with_head};
use crate::broker::{Broker, BrokerConfig};
use crate::clock::ManualClock;
use crate::refusals::Reason;

const HANDSHAKE: &str =
    r#"{"channel":"/meta/handshake","id":"1","supportedConnectionTypes":["long-polling"]}"#;
const FOREIGN: (&str, &str) = ("Origin", "http://evil.example");
const ALLOWED: (&str, &str) = ("Origin", "http://app.example");
const OWN: (&str, &str) = ("Origin", "https://own.example");
const OWN_PAGE: (&str, &str) = ("Referer", "http://own.example/page.html");
const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");
const TEXT: (&str, &str) = ("Content-Type", "text/plain;charset=UTF-8");
const XML: (&str, &str) = ("Content-Type", "application/xml");

fn usual() -> Site {
    site(
        SiteConfig {
            allowed_origins: vec!["http://app.example".parse().unwrap()],
            max_body: 1000,
            max_messages: 5,
            max_depth: 10,
            embedded: &[("index.html", b"root"), ("d/x", b"")],
            ..SiteConfig::default()
        },
        BrokerConfig::default(),
    )
}

/// Replies in an answer's JSON array.
fn replies(text: &str) -> Vec<Value> {
    serde_json::from_str(text).unwrap()
}

#[test]
fn every_refusal_has_its_status_and_is_counted() {
    let big = " ".repeat(1001);
    let deep = format!("[{}{}]", "[".repeat(10), "]".repeat(10));
    let query = |text: &str| format!("/cometd?message={text}");
    let table: [(&str, &str, Lines<'_>, &str, u16); 33] = [
        ("POST", "/cometd", &[], "[{", 400),
        ("POST", "/cometd", &[], "", 400),
        ("POST", "/cometd", &[], "3", 400),
        ("POST", "/cometd", &[], "[3]", 400),
        ("POST", "/cometd", &[], &deep, 400),
        ("POST", "/cometd", &[], "[{},{},{},{},{},{}]", 400),
        ("POST", "/cometd", &[FORM], "a=b", 400),
        ("POST", "/cometd", &[FORM], "message=", 400),
        ("POST", "/cometd", &[FORM], "message=[{}&message={}]", 400),
        ("POST", "/cometd", &[FORM], "message=%ff", 400),
        ("POST", "/cometd", &[TEXT], "message=3", 400),
        ("GET", &query("[{"), &[OWN_PAGE], "", 400),
        ("GET", &query("[]&jsonp=a(b)"), &[OWN_PAGE], "", 400),
        ("GET", "x", &[], "", 400),
        ("GET", "*", &[], "", 400),
        ("POST", "/cometd", &[FOREIGN], HANDSHAKE, 403),
        ("POST", "/cometd/x", &[FOREIGN, FORM], "message=[]", 403),
        ("GET", &query("[]"), &[], "", 403),
        ("GET", &query("[]"), &[FOREIGN], "", 403),
        ("GET", "/d/", &[], "", 403),
        ("GET", "/nothing", &[], "", 404),
        ("GET", "/cometdx.html", &[], "", 404),
        ("GET", "/%2e%2e/x", &[], "", 404),
        ("POST", "/", &[], "[]", 405),
        ("POST", "/bayeux", &[], "[]", 404),
        ("DELETE", "/x", &[], "", 404),
        ("PUT", "/cometd", &[], "[]", 405),
        ("GET", "/cometd?jsonp=cb", &[OWN_PAGE], "", 405),
        ("POST", "/index.html", &[], "x", 405),
        ("POST", "/cometd", &[], &big, 413),
        ("GET", "/", &[], "x", 413),
        ("POST", "/cometd", &[XML], "[]", 415),
        ("GET", "/", &[("Range", "bytes=9-")], "", 416),
    ];
    let site = usual();
    let mut expected = BTreeMap::new();
    for (method, target, lines, body, status) in table {
        let seen = ask(&site, method, target, lines, body);
        assert_eq!(seen.status, status, "{method} {target} {lines:?} {body}");
        assert_eq!(
            seen.header("Content-Type"),
            Some("text/plain;charset=UTF-8")
        );
        assert_eq!(seen.header("X-Content-Type-Options"), Some("nosniff"));
        assert!(
            seen.body.ends_with('\n') && seen.body.lines().count() == 1,
            "{:?}",
            seen.body
        );
        *expected.entry(status).or_insert(0) += 1;
    }
    let counted = site
        .refused_statuses()
        .into_iter()
        .filter(|(_, count)| *count > 0);
    assert_eq!(
        counted.collect::<Vec<_>>(),
        expected.into_iter().collect::<Vec<_>>()
    );
    assert_eq!(site.broker().stats().received, 0);
}

#[test]
fn who_looks_for_the_endpoint_elsewhere_is_told_where_it_is() {
    let site = usual();
    let table: [(&str, &str, Lines<'_>, bool); 7] = [
        ("POST", "/bayeux", &[], true),
        ("OPTIONS", "/bayeux", &[], true),
        ("GET", "/bayeux?message=[]&jsonp=cb", &[OWN_PAGE], true),
        ("GET", "/bayeux/x", &[("Accept", "text/event-stream")], true),
        (
            "GET",
            "/bayeux",
            &[("Connection", "Upgrade"), ("Upgrade", "websocket")],
            true,
        ),
        ("GET", "/bayeux", &[], false),
        ("GET", "/picture.png?messages=1", &[], false),
    ];
    for (method, target, lines, hint) in table {
        let seen = ask(&site, method, target, lines, "");
        let line = match hint {
            true => "not found; the Bayeux endpoint is at /cometd\n",
            false => "not found\n",
        };
        assert_eq!(
            (seen.status, &seen.body[..]),
            (404, line),
            "{method} {target}"
        );
    }
    let counts = site.broker().refusals().snapshot();
    assert!(counts.contains(&(Reason::Path, 5)) && counts.contains(&(Reason::NotFound, 2)));
}

#[test]
fn a_body_is_refused_before_it_comes() {
    let site = usual();
    let table: [(&str, &str, Lines<'_>, Result<usize, u16>); 13] = [
        ("POST", "/cometd", &[], Ok(1000)),
        ("POST", "/cometd/connect", &[OWN, FORM], Ok(1000)),
        ("POST", "http://other.example/cometd", &[OWN], Err(403)),
        ("GET", "/cometd?message=[]", &[OWN_PAGE], Ok(0)),
        ("GET", "/nothing", &[], Ok(0)),
        ("OPTIONS", "/cometd", &[], Ok(0)),
        ("OPTIONS", "*", &[], Ok(0)),
        ("POST", "/cometd", &[FOREIGN], Err(403)),
        ("POST", "/cometd", &[XML], Err(415)),
        ("PUT", "/cometd", &[], Err(405)),
        ("POST", "/x", &[], Err(404)),
        ("POST", "/index.html", &[], Err(405)),
        ("POST", "x", &[], Err(400)),
    ];
    for (method, target, lines, expected) in table {
        with_head(method, target, lines, |head| {
            let caller = site.caller(&head, [127, 0, 0, 1].into(), false);
            let found = site
                .wants_body(&site.route(&head, &caller), &head, &caller)
                .map_err(|response| response.status);
            assert_eq!(found, expected, "{method} {target} {lines:?}");
        });
    }
    assert!(site.refused_statuses().contains(&(403, 2)));
}

#[test]
fn messages_come_in_many_forms() {
    let site = usual();
    let array = format!("[{HANDSHAKE}]");
    let encoded = array.replace('"', "%22");
    let with_bom = format!("\u{feff}{array}");
    let table: [(&str, &str, Lines<'_>, String); 9] = [
        ("POST", "/cometd", &[], array.clone()),
        ("POST", "/cometd/", &[], HANDSHAKE.to_owned()),
        (
            "POST",
            "/cometd/handshake?x=1",
            &[("Content-Type", "text/json")],
            array.clone(),
        ),
        ("POST", "http://own.example/cometd", &[OWN], array.clone()),
        ("POST", "/cometd", &[TEXT], array.clone()),
        ("POST", "/cometd", &[], with_bom),
        (
            "POST",
            "/cometd",
            &[FORM],
            format!("other=[{{&message={encoded}"),
        ),
        ("POST", "/cometd", &[TEXT], format!("message={encoded}")),
        (
            "POST",
            "/cometd",
            &[FORM],
            format!("message=[]&message={HANDSHAKE}&messages=3"),
        ),
    ];
    for (method, target, lines, body) in table {
        let seen = ask(&site, method, target, lines, &body);
        assert_eq!(seen.status, 200, "{method} {target} {lines:?} {body}");
        let replies = replies(&seen.body);
        assert_eq!(replies.len(), 1);
        assert_eq!(replies[0]["successful"], true, "{}", seen.body);
    }
    for body in ["[]", " [ ] \r\n"] {
        assert_eq!(ask(&site, "POST", "/cometd", &[], body).body, "[]");
    }
    assert_eq!(
        ask(&site, "POST", "/cometd", &[FORM], &"message=[]&".repeat(50)).body,
        "[]"
    );
}

#[test]
fn several_fields_are_one_batch_in_order() {
    let site = usual();
    let message = |id: u32| format!(r#"{{"channel":"/a","data":"a+b%26","id":{id}}}"#);
    let body = format!(
        "message={}&message=[{},{}]",
        message(1),
        message(2),
        message(3)
    );
    let ids = |text: &str| -> Vec<_> { replies(text).iter().map(|r| r["id"].clone()).collect() };
    assert_eq!(
        ids(&ask(&site, "POST", "/cometd", &[FORM], &body).body),
        [1, 2, 3]
    );
    let target = format!("/cometd?{body}&jsonp=f");
    let script = ask(&site, "GET", &target, &[OWN_PAGE], "").body;
    let array = script
        .strip_prefix("/**/f(")
        .and_then(|rest| rest.strip_suffix(");"));
    assert_eq!(ids(array.unwrap()), [1, 2, 3]);
}

#[test]
fn refusals_of_methods_say_what_is_allowed() {
    let site = usual();
    for (method, target, allow) in [
        ("PUT", "/cometd", "GET, POST, OPTIONS"),
        ("GET", "/cometd", "GET, POST, OPTIONS"),
        ("HEAD", "/cometd/x", "GET, POST, OPTIONS"),
        ("TRACE", "/cometd", "GET, POST, OPTIONS"),
        ("POST", "/", "GET, HEAD"),
        ("OPTIONS", "/", "GET, HEAD"),
        ("get", "/", "GET, HEAD"),
    ] {
        let seen = ask(&site, method, target, &[], "");
        assert_eq!(
            (seen.status, seen.header("Allow")),
            (405, Some(allow)),
            "{method} {target}"
        );
        assert_eq!(seen.body.is_empty(), method == "HEAD");
    }
    for target in ["/cometd", "*"] {
        let seen = ask(&site, "OPTIONS", target, &[], "");
        assert_eq!((seen.status, &seen.body[..]), (204, ""));
        assert!(seen.header("Allow").is_some());
    }
}

#[test]
fn pages_of_allowed_origins_may_read_everything() {
    let site = usual();
    let big = " ".repeat(1001);
    for (method, body, status) in [
        ("POST", HANDSHAKE, 200),
        ("POST", "[{", 400),
        ("PUT", "", 405),
        ("OPTIONS", "", 204),
        ("POST", &big, 413),
    ] {
        let seen = ask(&site, method, "/cometd", &[ALLOWED], body);
        assert_eq!(seen.status, status);
        let echoed = seen.header("Access-Control-Allow-Origin");
        assert_eq!(echoed, Some(ALLOWED.1), "{method} {status}");
        assert_eq!(
            seen.header("Access-Control-Allow-Credentials"),
            Some("true")
        );
        assert_eq!(seen.header("Vary"), Some("Origin"));
    }
    for lines in [&[][..], &[OWN], &[FOREIGN], &[("Origin", "")]] {
        for method in ["POST", "OPTIONS", "PUT"] {
            let seen = ask(&site, method, "/cometd", lines, HANDSHAKE);
            assert!(
                !seen.headers.contains("Access-Control"),
                "{method} {}",
                seen.headers
            );
        }
    }
}

#[test]
fn head_of_a_file_has_the_headers_of_get() {
    let dir = TempDir::new();
    dir.write("style.css", "body { margin: 0 }\n");
    let config = SiteConfig {
        document_root: Some(dir.path().to_owned()),
        ..SiteConfig::default()
    };
    let site = site(config, BrokerConfig::default());
    let done = |method: &str, target: &str| match handle(&site, method, target, &[], b"") {
        Handled::Done(response) => response,
        _ => panic!("{target}"),
    };
    for target in ["/style.css", "/nothing"] {
        let (head, get) = (done("HEAD", target), done("GET", target));
        assert_eq!((head.status, &head.headers), (get.status, &get.headers));
        assert!(head.body.is_empty() && !get.body.is_empty());
        let mut out = Vec::new();
        head.write_head("now", true, false, &mut out);
        let length = format!("\r\nContent-Length: {}\r\n", get.body.len());
        assert!(
            String::from_utf8(out).unwrap().contains(&length),
            "{target}"
        );
    }
}

#[test]
fn cookies_are_issued_once_and_never_for_any_origin() {
    let first = usual();
    let seen = ask(&first, "POST", "/cometd", &[], HANDSHAKE);
    let cookie = seen.header("Set-Cookie").unwrap();
    let (pair, attributes) = cookie.split_once(';').unwrap();
    assert_eq!(attributes, " Path=/; HttpOnly");
    for (value, issued) in [
        (pair, false),
        ("BAYEUX_BROWSER=made-up", true),
        ("a=b", true),
    ] {
        let seen = ask(&first, "POST", "/cometd", &[("Cookie", value)], HANDSHAKE);
        assert_eq!(seen.header("Set-Cookie").is_some(), issued, "{value}");
    }
    let config = SiteConfig {
        allowed_origins: vec!["*".parse().unwrap()],
        ..SiteConfig::default()
    };
    let any = site(config, BrokerConfig::default());
    for lines in [&[][..], &[("Cookie", pair)], &[FOREIGN]] {
        let seen = ask(&any, "POST", "/cometd", lines, HANDSHAKE);
        assert_eq!((seen.status, seen.header("Set-Cookie")), (200, None));
    }
}

#[test]
fn callback_polling_may_be_off() {
    let config = SiteConfig {
        callback_polling: CallbackPolling::Off,
        ..SiteConfig::default()
    };
    let site = site(config, BrokerConfig::default());
    let seen = ask(&site, "GET", "/cometd?message=[]", &[OWN_PAGE], "");
    assert_eq!(
        (seen.status, seen.header("Allow")),
        (405, Some("POST, OPTIONS"))
    );
}

#[test]
fn what_a_connector_refuses_is_counted_too() {
    let site = usual();
    let caller = Caller::direct([127, 0, 0, 1].into(), false);
    let refuse = |reason, status, line| {
        let refused = Refused {
            reason,
            status,
            line,
        };
        Seen::of(&site.refuse(refused, None, &caller))
    };
    let seen = refuse(Reason::MaxHeader, 431, "too large");
    assert_eq!((seen.status, &seen.body[..]), (431, "too large\n"));
    let seen = refuse(Reason::MaxInputTotal, 503, "busy");
    assert_eq!(seen.header("Retry-After"), Some("2"));
    let statuses = site.refused_statuses();
    assert!(statuses.contains(&(431, 1)) && statuses.contains(&(503, 1)));
    let reasons = site.broker().refusals().snapshot();
    assert!(reasons.contains(&(Reason::MaxHeader, 1)));
    assert!(reasons.contains(&(Reason::MaxInputTotal, 1)));
    assert_eq!(site.mount(), "/cometd");
}

#[test]
fn configurations_that_cannot_work_are_refused() {
    type Change<'a> = &'a dyn Fn(&mut SiteConfig);
    let refused = |change: Change<'_>| {
        let broker = usual().broker().clone();
        let clock = Arc::new(ManualClock::new());
        let mut config = SiteConfig::default();
        change(&mut config);
        Site::new(config, broker, clock)
            .err()
            .map(|error| error.to_string())
    };
    assert_eq!(refused(&|_| {}), None);
    let table: [(Change<'_>, &str); 6] = [
        (&|config| config.mount = "x".to_owned(), "path: "),
        (
            &|config| config.allowed_headers = vec!["a b".to_owned()],
            "allowed_headers: ",
        ),
        (
            &|config| config.directory_index = vec!["a/b".to_owned()],
            "directory_index: ",
        ),
        (
            &|config| config.expires = vec![Expiry::new("css", Duration::from_secs(1))],
            "expires: ",
        ),
        (
            &|config| config.media_types = vec![(".x".to_owned(), "a\nb/c".to_owned())],
            "mime: ",
        ),
        (
            &|config| config.document_root = Some("/nothing/there".into()),
            "document root",
        ),
    ];
    for (change, start) in table {
        let error = refused(change).unwrap();
        assert!(error.starts_with(start), "{error}");
    }
}

#[test]
fn a_required_cookie_excludes_any_origin() {
    let clock = Arc::new(ManualClock::new());
    let broker = BrokerConfig {
        require_browser_cookie: true,
        workers: 1,
        ..BrokerConfig::default()
    };
    let broker = Broker::start_without_ticker(broker, clock.clone(), None).unwrap();
    let config = SiteConfig {
        allowed_origins: vec!["*".parse().unwrap()],
        ..SiteConfig::default()
    };
    let error = Site::new(config, broker, clock).err().unwrap().to_string();
    assert!(error.starts_with("require_browser_cookie: "), "{error}");
}

#[test]
fn proxies_are_asked_for_once_in_a_request() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let trusted = TrustedProxies::new(move |ip| {
        count.fetch_add(1, Ordering::Relaxed);
        ip.is_loopback()
    });
    let config = SiteConfig {
        trusted_proxies: Some(trusted),
        ..SiteConfig::default()
    };
    let log = AccessLog::to_stream(std::io::sink(), 1024).unwrap();
    let site = site(config, BrokerConfig::default()).with_access_log(log);
    let lines = [
        ("X-Forwarded-For", "1.2.3.4, 127.0.0.9"),
        ("X-Forwarded-Host", "app.example"),
        ("Origin", "https://app.example"),
    ];
    with_head("POST", "/cometd", &lines, |head| {
        let caller = site.caller(&head, [127, 0, 0, 1].into(), false);
        let route = site.route(&head, &caller);
        assert_eq!(site.wants_body(&route, &head, &caller).unwrap(), 1 << 20);
        assert!(site.log_entry(Some(&head), &caller).is_some());
        let request = Request {
            head,
            body: b"[]",
            caller: &caller,
        };
        assert!(matches!(
            site.handle(route, &request, &connection()),
            Handled::Bayeux(..)
        ));
    });
    // The peer, its proxy, and the client.
    assert_eq!(asked.load(Ordering::Relaxed), 3);
}
