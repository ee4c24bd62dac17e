//! Cookies, the limit of held connects per browser, pages of other origins, scripts.

use std::time::{Duration, Instant};

use bayeux::CallbackPolling;
use bayeux::{AllowedOrigin, Reason, SameSite};
use serde_json::{Value, json};

use super::harness::{HOLD, On, World, post_on};
use crate::common::http::{Connection, Response};

fn handshake(world: &World, headers: &str) -> Response {
    post_on(
        &mut world.connection(),
        headers,
        &json!([{"channel": "/meta/handshake"}]),
    )
}

fn cookie_line(response: &Response) -> String {
    format!(
        "Cookie: other=1; {}\r\n",
        response.cookie().expect("a cookie is set")
    )
}

pub(crate) fn the_cookie_of_a_browser(on: On) {
    let world = World::new(on);
    let response = handshake(&world, "");
    let cookie = response
        .header("set-cookie")
        .expect("the first handshake sets it");
    let pair = response.cookie().expect("a cookie is set");
    assert!(pair.starts_with("BAYEUX_BROWSER="), "{cookie}");
    // No more than cookie jars of any age know.
    assert_eq!(cookie, format!("{pair}; Path=/; HttpOnly"));
    let again = handshake(&world, &cookie_line(&response));
    assert_eq!(again.cookie(), None, "it has a genuine one");
    let forged = handshake(
        &world,
        "Cookie: BAYEUX_BROWSER=0123456789abcdef0123456789abcdef\r\n",
    );
    assert!(forged.cookie().is_some(), "a made-up one is replaced");
    let failed = json!([{"channel": "/meta/handshake", "supportedConnectionTypes": ["x"]}]);
    assert_eq!(
        world.post(&failed).cookie(),
        None,
        "none for a failed handshake"
    );
}

pub(crate) fn a_cookie_as_pages_of_other_sites_need_it(on: On) {
    let world = World::with(on, |config| {
        config.site.cookie.name = "__Secure-b".to_owned();
        config.site.cookie.same_site = SameSite::None;
        config.site.cookie.secure = Some(true);
        config.site.cookie.domain = Some("bayeux.test".to_owned());
        config.site.cookie.partitioned = true;
    });
    let response = handshake(&world, "");
    let pair = response.cookie().expect("a cookie is set");
    assert!(pair.starts_with("__Secure-b="), "{pair}");
    assert_eq!(
        response.header("set-cookie"),
        Some(
            &format!(
                "{pair}; Path=/; HttpOnly; Secure; Domain=bayeux.test; SameSite=None; Partitioned"
            )[..]
        )
    );
    let cookie = cookie_line(&response);
    assert_eq!(handshake(&world, &cookie).cookie(), None, "it is known");
    let (a, b) = (world.client_with(&cookie), world.client_with(&cookie));
    let _held = a.hold(&world);
    let reply = b.connect().answer().remove(0);
    assert_eq!(reply["advice"]["multiple-clients"], true, "{reply}");
}

pub(crate) fn windows_wait_as_long_as_they_are_told(on: On) {
    let world = World::with(on, |config| {
        config.broker.multiple_clients_interval = Duration::from_millis(345);
    });
    let cookie = cookie_line(&handshake(&world, ""));
    let (a, b) = (world.client_with(&cookie), world.client_with(&cookie));
    let _held = a.hold(&world);
    let reply = b.connect().answer().remove(0);
    assert_eq!(reply["advice"]["interval"], 345, "{reply}");
}

pub(crate) fn one_held_connect_per_browser(on: On) {
    let world = World::new(on);
    let cookie = cookie_line(&handshake(&world, ""));
    let (a, b) = (world.client_with(&cookie), world.client_with(&cookie));
    let mut held = a.hold(&world);
    let begun = Instant::now();
    let reply = b.connect().answer().remove(0);
    assert!(begun.elapsed() < HOLD);
    let expected = json!({"multiple-clients": true, "reconnect": "retry", "interval": 2000});
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&reply["advice"][name], value, "{reply}");
    }
    assert_eq!(reply["successful"], true);
    held.answer();
    assert!(b.connect().is_held(), "once the first has ended");
}

pub(crate) fn a_browser_may_be_asked_for(on: On) {
    let world = World::with(on, |config| config.broker.require_browser_cookie = true);
    let cookie = cookie_line(&handshake(&world, ""));
    let mut own = world.client_with(&cookie);
    own.publish("/x", &json!(1));
    let stolen = json!([{"channel": "/x", "clientId": own.id, "data": 1}]);
    assert_eq!(world.reply(&stolen)["error"], "402::session_unknown");
    let made_up = format!("Cookie: BAYEUX_BROWSER={}\r\n", "0".repeat(64));
    let reply = post_on(&mut world.connection(), &made_up, &stolen).messages();
    assert_eq!(reply[0]["error"], "402::session_unknown");
    let other = cookie_line(&handshake(&world, ""));
    let connect = json!([{"channel": "/meta/connect", "clientId": own.id}]);
    let reply = post_on(&mut world.connection(), &other, &connect)
        .messages()
        .remove(0);
    assert_eq!(reply["error"], "402::session_unknown");
    assert_eq!(
        reply["advice"],
        json!({"reconnect": "handshake", "interval": 2000})
    );
    own.publish("/x", &json!("unaffected"));
}

pub(crate) fn pages_of_allowed_origins(on: On) {
    let app = "Origin: http://app.example\r\n";
    let world = World::with(on, |config| {
        config.site.allowed_origins = origins(&["http://app.example"]);
    });
    let response = handshake(&world, app);
    assert_eq!(response.status, 200);
    assert_eq!(
        response.header("access-control-allow-origin"),
        Some("http://app.example")
    );
    assert_eq!(
        response.header("access-control-allow-credentials"),
        Some("true")
    );
    assert!(
        response
            .header("vary")
            .is_some_and(|vary| vary.contains("Origin"))
    );
    let own = handshake(&world, "Origin: http://bayeux.test\r\n");
    assert_eq!(own.status, 200, "its own pages always may");
    let foreign = handshake(&world, "Origin: http://evil.example\r\n");
    assert_eq!(foreign.status, 403);
    assert_eq!(foreign.header("access-control-allow-origin"), None);
    assert_eq!(world.server.stats().broker.handshakes, 2);
    let ask = "Access-Control-Request-Method: POST\r\n\
               Access-Control-Request-Headers: content-type\r\n";
    let ask = format!("{}, X-CSRF-Token\r\n", ask.trim_end());
    let preflight = |origin: &str| {
        world
            .connection()
            .request("OPTIONS", "/cometd", &format!("{origin}{ask}"), b"")
    };
    let allowed = preflight(app);
    assert!(matches!(allowed.status, 200 | 204));
    assert_eq!(
        allowed.header("access-control-allow-origin"),
        Some("http://app.example")
    );
    let headers = allowed
        .header("access-control-allow-headers")
        .expect("the headers");
    assert!(headers.to_lowercase().contains("content-type"), "{headers}");
    assert!(headers.ends_with(", X-CSRF-Token"), "{headers}");
    assert_eq!(allowed.header("access-control-max-age"), Some("86400"));
    let denied = preflight("Origin: http://evil.example\r\n");
    assert_eq!(denied.status, 204);
    assert_eq!(denied.header("access-control-allow-origin"), None);
}

pub(crate) fn pages_of_any_origin(on: On) {
    let world = World::with(on, |config| config.site.allowed_origins = origins(&["*"]));
    for origin in [
        "http://any.example",
        "null",
        "file://",
        "http://any.example/path",
        "app://x",
        "no URL",
    ] {
        let response = handshake(&world, &format!("Origin: {origin}\r\n"));
        let echoed = response.header("access-control-allow-origin");
        assert_eq!((response.status, echoed), (200, Some(origin)));
        assert_eq!(response.cookie(), None, "no cookies then");
    }
}

pub(crate) fn origins_by_pattern(on: On) {
    let world = World::with(on, |config| {
        let list = ["https://*.app.example", "http://localhost:*", "file://"];
        config.site.allowed_origins = origins(&list);
    });
    for (origin, status) in [
        ("https://a.b.app.example", 200),
        ("https://app.example", 403),
        ("http://a.app.example", 403),
        ("http://localhost:3000", 200),
        ("http://localhost", 200),
        ("https://localhost", 403),
        ("file://", 200),
        ("null", 403),
    ] {
        let response = handshake(&world, &format!("Origin: {origin}\r\n"));
        let echoed = response.header("access-control-allow-origin");
        assert_eq!(response.status, status, "{origin}");
        assert_eq!(echoed, (status == 200).then_some(origin));
    }
    let world = World::with(on, |config| {
        config.site.allowed_origins = origins(&["null"])
    });
    assert_eq!(handshake(&world, "Origin: null\r\n").status, 200);
    assert_eq!(handshake(&world, "Origin: file://\r\n").status, 403);
}

pub(crate) fn native_clients_name_the_server(on: On) {
    let world = World::new(on);
    for (origin, status) in [
        ("ws://bayeux.test", 200),
        ("wss://bayeux.test", 200),
        ("wss://bayeux.test:443/", 200),
        ("http://bayeux.test/cometd", 200),
        ("ws://bayeux.test:8080", 403),
        ("ws://evil.example/bayeux.test", 403),
        ("app://bayeux.test", 403),
    ] {
        let response = handshake(&world, &format!("Origin: {origin}\r\n"));
        assert_eq!(response.status, status, "{origin}");
    }
}

fn origins(list: &[&str]) -> Vec<AllowedOrigin> {
    list.iter().map(|origin| origin.parse().unwrap()).collect()
}

/// Loads a script from a page, which the headers tell about.
fn script(world: &World, query: &str, headers: &str) -> Response {
    let message = "message=%5B%7B%22channel%22%3A%22/meta/handshake%22%7D%5D";
    Connection::open(world.address).request(
        "GET",
        &format!("/cometd?{message}{query}"),
        headers,
        b"",
    )
}

const OWN_PAGE: &str = "Sec-Fetch-Site: same-origin\r\n";

pub(crate) fn messages_in_a_script(on: On) {
    let world = World::new(on);
    let response = script(&world, "&jsonp=my.call-back_1", OWN_PAGE);
    assert_eq!(response.status, 200);
    let kind = response.header("content-type").expect("a type");
    assert!(kind.starts_with("text/javascript"), "{kind}");
    assert_eq!(response.header("x-content-type-options"), Some("nosniff"));
    let inside = response
        .text()
        .strip_prefix("/**/my.call-back_1(")
        .expect("one call");
    let inside = inside.strip_suffix(");").expect("one call");
    let items: Vec<Value> = serde_json::from_str(inside).expect("of an array");
    assert_eq!(items[0]["successful"], true);
    let unnamed = script(&world, "", OWN_PAGE);
    assert!(
        unnamed.text().starts_with("/**/jsonpcallback("),
        "{}",
        unnamed.text()
    );
    for bad in ["&jsonp=a(b)", "&jsonp=1a", "&jsonp=%3Cscript%3E"] {
        let response = script(&world, bad, OWN_PAGE);
        assert_eq!(response.status, 400, "{bad}");
        assert!(!response.text().contains("script>"), "not echoed");
    }
}

pub(crate) fn who_may_load_scripts(on: On) {
    let world = World::with(on, |config| {
        config.site.allowed_origins = origins(&["http://app.example"]);
    });
    let table = [
        ("", 403),
        (OWN_PAGE, 200),
        ("Referer: http://bayeux.test/page.html\r\n", 200),
        ("Referer: http://app.example/\r\n", 200),
        ("Referer: http://evil.example/\r\n", 403),
        ("Sec-Fetch-Site: cross-site\r\n", 403),
        (
            "Sec-Fetch-Site: cross-site\r\nReferer: http://app.example/\r\n",
            200,
        ),
    ];
    for (headers, status) in table {
        assert_eq!(
            script(&world, "&jsonp=c", headers).status,
            status,
            "{headers:?}"
        );
    }
    let open = World::with(on, |config| {
        config.site.callback_polling = CallbackPolling::Open
    });
    assert_eq!(script(&open, "&jsonp=c", "").status, 200);
    let off = World::with(on, |config| {
        config.site.callback_polling = CallbackPolling::Off
    });
    assert!(matches!(
        script(&off, "&jsonp=c", OWN_PAGE).status,
        404 | 405
    ));
    let types = &handshake(&off, "").messages()[0]["supportedConnectionTypes"];
    assert!(
        !types
            .as_array()
            .unwrap()
            .contains(&json!("callback-polling")),
        "{types}"
    );
}

pub(crate) fn filtered_comments(on: On) {
    let world = World::new(on);
    let ext = json!({"json-comment-filtered": true});
    let first = world.reply(&json!([{"channel": "/meta/handshake", "ext": ext}]));
    assert_eq!(first["ext"]["json-comment-filtered"], true);
    let id = &first["clientId"];
    let batch = json!([
        {"channel": "/meta/subscribe", "clientId": id, "subscription": "/x"},
        {"channel": "/x", "clientId": id, "data": "a */ b"},
    ]);
    let response = world.post(&batch);
    let kind = response.header("content-type").expect("a type");
    assert!(kind.starts_with("text/json-comment-filtered"), "{kind}");
    let inside = response
        .text()
        .strip_prefix("/*")
        .and_then(|text| text.strip_suffix("*/"));
    let inside = inside.expect("a comment");
    assert!(!inside.contains("*/"), "{inside}");
    let items: Vec<Value> = serde_json::from_str(inside).expect("an array");
    assert_eq!(items[0]["data"], "a */ b");
}

/// A page whose name was made to point here would be of the server's own origin.
pub(crate) fn names_that_are_not_the_servers(on: On) {
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let guarded = World::with(on, |config| config.site.allowed_hosts.clear());
    let told = World::with(on, |config| {
        config.site.allowed_hosts = vec!["*.app.example".parse().unwrap()];
        config.trusted_proxy = vec!["127.0.0.1".parse().unwrap()];
    });
    let behind = World::with(on, |config| {
        config.site.allowed_hosts.clear();
        config.trusted_proxy = vec!["127.0.0.1".parse().unwrap()];
    });
    let status = |world: &World, head: &str| {
        let mut connection = world.connection();
        connection.send(format!("{head}\r\n"));
        connection.response().status
    };
    let get = |host: &str, lines: &str| format!("GET / HTTP/1.1\r\nHost: {host}\r\n{lines}");
    let page = "Origin: http://evil.example\r\nContent-Length: 2\r\n\r\n[]";
    let post = format!("POST /cometd HTTP/1.1\r\nHost: evil.example\r\n{page}");
    let socket = format!("GET /cometd HTTP/1.1\r\nHost: evil.example\r\n{upgrade}");
    let reports = "X-Forwarded-Host: evil.example\r\n";
    let good = "X-Forwarded-Host: a.app.example:8443\r\n";
    for (world, head, expected) in [
        (&guarded, get("evil.example", ""), 421),
        (&guarded, get("evil.example:8080", ""), 421),
        (&guarded, get("a.app.example", ""), 421),
        (&guarded, post, 421),
        (&guarded, socket, 421),
        // Anybody may say so, but nobody is believed who is no trusted proxy.
        (
            &guarded,
            get("evil.example", "X-Forwarded-Host: localhost\r\n"),
            421,
        ),
        (&guarded, get("localhost:1", reports), 404),
        (&guarded, get("127.0.0.1", ""), 404),
        (&guarded, get("[::1]:8080", ""), 404),
        (&guarded, "GET / HTTP/1.0\r\n".to_owned(), 404),
        (&told, get("evil.example", ""), 421),
        (&told, get("a.app.example", ""), 404),
        (&told, get("127.0.0.1", reports), 421),
        (&told, get("evil.example", good), 404),
        (&told, get("localhost", ""), 404),
        // A proxy says for whom it asks; a page that was rebound comes from here.
        (
            &behind,
            get("app.example", "X-Forwarded-For: 192.0.2.7\r\n"),
            404,
        ),
        (&behind, get("evil.example", ""), 421),
    ] {
        assert_eq!(status(world, &head), expected, "{head}");
    }
    let refusals = guarded.server.stats().refusals;
    assert!(refusals.contains(&(Reason::AllowedHost, 6)), "{refusals:?}");
}
