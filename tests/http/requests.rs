//! Bodies, statuses, keep-alive: what a request may look like and what comes back.

use bayeux::Transport;
use serde_json::json;

use super::harness::{On, World, post_bytes};
use crate::common::http::request_bytes;

const HANDSHAKE: &str = r#"[{"channel":"/meta/handshake","id":"1"}]"#;

pub(crate) fn a_response_has_these_headers(on: On) {
    let world = World::new(on);
    let response = world.post(&json!([{"channel": "/meta/handshake"}]));
    assert_eq!(response.status, 200);
    assert_eq!(
        response.header("content-type"),
        Some("application/json;charset=UTF-8")
    );
    assert_eq!(response.header("cache-control"), Some("no-store"));
    assert_eq!(response.header("x-content-type-options"), Some("nosniff"));
    assert!(response.header("date").is_some());
    assert_eq!(response.array().len(), 1);
}

pub(crate) fn any_path_below_the_mount(on: On) {
    let world = World::new(on);
    let mut connection = world.connection();
    for path in [
        "/cometd",
        "/cometd/",
        "/cometd/handshake",
        "/cometd/x/y?z=1",
    ] {
        let kind = "Content-Type: application/json\r\n";
        let response = connection.request("POST", path, kind, HANDSHAKE.as_bytes());
        assert_eq!(response.messages()[0]["successful"], true, "{path}");
    }
    let elsewhere = connection.request("POST", "/cometdx", "", HANDSHAKE.as_bytes());
    assert!(matches!(elsewhere.status, 404 | 405), "{elsewhere:?}");
}

pub(crate) fn types_of_bodies(on: On) {
    let world = World::new(on);
    let form = format!(
        "message={}",
        HANDSHAKE.replace('"', "%22").replace('/', "%2F")
    );
    let table = [
        (
            "Content-Type: application/json;charset=UTF-8\r\n",
            HANDSHAKE,
            200,
        ),
        ("Content-Type: text/json\r\n", HANDSHAKE, 200),
        (
            "Content-Type: text/plain; charset=utf-8\r\n",
            HANDSHAKE,
            200,
        ),
        ("", HANDSHAKE, 200),
        (
            "Content-Type: application/x-www-form-urlencoded\r\n",
            &form,
            200,
        ),
        ("Content-Type: text/plain\r\n", &form, 200),
        ("", &form, 200),
        ("Content-Type: application/json\r\n", &form, 400),
        ("Content-Type: application/xml\r\n", HANDSHAKE, 415),
        ("Content-Type: application/json\r\n", "[{", 400),
        ("Content-Type: application/json\r\n", "3", 400),
        ("Content-Type: application/json\r\n", "[[]]", 400),
        ("Content-Type: application/json\r\n", "\u{feff}[]", 200),
    ];
    for (headers, body, status) in table {
        let mut connection = world.connection();
        let response = connection.request("POST", "/cometd", headers, body.as_bytes());
        assert_eq!(response.status, status, "{headers:?} {body:?}");
        if body.contains("handshake") && status == 200 {
            assert_eq!(response.messages()[0]["id"], "1", "{headers:?}");
        }
        if status != 200 {
            assert_eq!(
                response.text().trim_end().lines().count(),
                1,
                "one line of plain text"
            );
        }
    }
}

pub(crate) fn transports_that_are_not_offered(on: On) {
    let script = "/cometd?message=%5B%5D&jsonp=cb";
    let page = "Sec-Fetch-Site: same-origin\r\n";
    let socket = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    let with =
        |transports: &[Transport]| World::with(on, |config| config.transport = transports.to_vec());
    let polling = with(&[Transport::LongPolling]);
    let reply = polling.reply(&json!({"channel": "/meta/handshake"}));
    let types = &reply["supportedConnectionTypes"];
    assert_eq!(types, &json!(["long-polling", "cross-origin-long-polling"]));
    for (target, headers) in [
        (script, page),
        ("/cometd", socket),
        ("/cometd/x", "Accept: text/event-stream\r\n"),
    ] {
        let response = polling.connection().request("GET", target, headers, b"");
        assert_eq!(response.status, 405, "{headers}");
        assert_eq!(response.text(), "this transport is not offered\n");
        assert_eq!(response.header("allow"), Some("POST, OPTIONS"));
    }
    let scripts = with(&[Transport::CallbackPolling]);
    let response = scripts.connection().request("GET", script, page, b"");
    assert_eq!(response.text(), "/**/cb([]);");
    let response = scripts.post(&json!([{"channel": "/meta/handshake"}]));
    assert_eq!(
        (response.status, response.header("allow")),
        (405, Some("GET, OPTIONS"))
    );
}

pub(crate) fn a_form_with_several_messages(on: On) {
    let world = World::new(on);
    let field =
        |id: u32| format!("message=%7B%22channel%22:%22/meta/handshake%22,%22id%22:{id}%7D");
    let body = format!("{}&other=1&{}", field(1), field(2));
    let kind = "Content-Type: application/x-www-form-urlencoded\r\n";
    let response = world
        .connection()
        .request("POST", "/cometd", kind, body.as_bytes());
    let ids: Vec<_> = response
        .messages()
        .iter()
        .map(|item| item["id"].clone())
        .collect();
    assert_eq!(ids, [json!(1), json!(2)]);
}

pub(crate) fn an_empty_array_is_answered_in_kind(on: On) {
    let world = World::new(on);
    assert_eq!(world.post(&json!([])).text(), "[]");
}

pub(crate) fn other_methods(on: On) {
    let world = World::new(on);
    for method in ["PUT", "DELETE", "PATCH"] {
        let response = world.connection().request(method, "/cometd", "", b"");
        assert_eq!(response.status, 405, "{method}");
        let allow = response.header("allow").expect("what is allowed instead");
        assert!(allow.contains("POST"), "{allow}");
    }
}

pub(crate) fn refusals_are_counted(on: On) {
    let world = World::new(on);
    world.connection().request("PUT", "/cometd", "", b"");
    world.connection().request("POST", "/cometd", "", b"[{");
    world.until("both are counted", |stats| {
        let count = |status| {
            stats
                .refused_statuses
                .iter()
                .find(|(s, _)| *s == status)
                .map(|(_, n)| *n)
        };
        count(405) == Some(1) && count(400) == Some(1)
    });
}

pub(crate) fn nothing_of_a_bad_request_is_executed(on: On) {
    let world = World::with(on, |config| config.site.max_messages = 3);
    let mut listener = world.client();
    listener.subscribe(&json!("/x"));
    let message = json!({"channel": "/x", "clientId": listener.id, "data": 1});
    let bad = [
        format!("[{message},3]"),
        format!("[{message}"),
        json!([message, message, message, message]).to_string(),
        format!(
            "[{message},{{\"channel\":\"/x\",\"data\":{}1{}}}]",
            "[".repeat(200),
            "]".repeat(200)
        ),
    ];
    for body in bad {
        let mut connection = world.connection();
        connection.send(post_bytes("", &body));
        assert_eq!(connection.response().status, 400, "{body}");
    }
    assert_eq!(listener.poll().len(), 1, "nothing but the reply");
}

pub(crate) fn a_body_may_be_this_long(on: On) {
    let world = World::with(on, |config| config.site.max_body = 4096);
    let body = |length: usize| {
        let start = r#"[{"channel":"/meta/handshake","ext":{"x":""#;
        let end = r#""}}]"#;
        format!(
            "{start}{}{end}",
            "y".repeat(length - start.len() - end.len())
        )
    };
    let mut connection = world.connection();
    connection.send(post_bytes("", &body(4096)));
    assert_eq!(connection.response().status, 200);
    let mut connection = world.connection();
    connection.try_send(post_bytes("", &body(4097)));
    assert_eq!(connection.response().status, 413);
    assert_eq!(world.server.stats().broker.handshakes, 1);
}

pub(crate) fn fifty_requests_on_one_connection(on: On) {
    let world = World::new(on);
    let mut client = world.client();
    for n in 0..50 {
        let reply = client.reply(&json!({"channel": "/x", "id": n, "data": n}));
        assert_eq!(
            (&reply["id"], &reply["successful"]),
            (&json!(n), &json!(true))
        );
    }
}

pub(crate) fn requests_in_a_row_are_answered_in_order(on: On) {
    let world = World::new(on);
    let mut connection = world.connection();
    let bytes: Vec<u8> = (0..20)
        .flat_map(|n| {
            post_bytes(
                "",
                &json!([{"channel": "/x", "id": n, "data": 1}]).to_string(),
            )
        })
        .collect();
    connection.send(bytes);
    for n in 0..20 {
        assert_eq!(connection.response().messages()[0]["id"], n);
    }
}

pub(crate) fn a_request_behind_a_held_connect_waits_its_turn(on: On) {
    let world = World::new(on);
    let client = world.client();
    let mut held = client.hold(&world);
    let behind = client.signed(&json!([{"channel": "/x", "id": "behind", "data": 1}]));
    held.connection.send(post_bytes("", &behind.to_string()));
    assert!(held.is_held());
    assert_eq!(held.answer()[0]["id"], "held");
    assert_eq!(held.answer()[0]["id"], "behind");
}

pub(crate) fn bodies_in_chunks(on: On) {
    let world = World::new(on);
    let mut connection = world.connection();
    connection.send(
        "POST /cometd HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n\
         5\r\n[{\"ch\r\n",
    );
    std::thread::sleep(std::time::Duration::from_millis(20));
    connection.send("19;x=y\r\nannel\":\"/meta/handshake\"}\r\n1\r\n]\r\n0\r\n\r\n");
    assert_eq!(connection.response().messages()[0]["successful"], true);
}

pub(crate) fn http_1_0_is_answered_and_closed(on: On) {
    let world = World::new(on);
    let mut connection = world.connection();
    connection.send(format!(
        "POST /cometd HTTP/1.0\r\nContent-Length: {}\r\n\r\n{HANDSHAKE}",
        HANDSHAKE.len()
    ));
    assert_eq!(connection.response().messages()[0]["successful"], true);
    connection.closed_silently();
}

pub(crate) fn a_body_is_asked_for_when_it_is_wanted(on: On) {
    let world = World::new(on);
    let mut connection = world.connection();
    let head = |length: usize| {
        let line = format!("Expect: 100-continue\r\nContent-Length: {length}\r\n");
        request_bytes("POST", "/cometd", &line, b"")
    };
    connection.send(head(HANDSHAKE.len()));
    assert_eq!(connection.response().status, 100);
    connection.send(HANDSHAKE);
    assert_eq!(connection.response().status, 200);
    let mut connection = world.connection();
    connection.send(head(100 << 20));
    assert_eq!(connection.response().status, 413);
    let mut connection = world.connection();
    connection.send(request_bytes("POST", "/cometd", "Expect: magic\r\n", b"[]"));
    assert_eq!(connection.response().status, 417);
}

pub(crate) fn smuggled_requests_are_refused(on: On) {
    let world = World::new(on);
    let both = "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n";
    let table = [
        (
            format!("POST /cometd HTTP/1.1\r\nHost: x\r\n{both}\r\n0\r\n\r\n"),
            400,
        ),
        (
            "POST /cometd HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n[]"
                .to_owned(),
            400,
        ),
        (
            "POST /cometd HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n".to_owned(),
            501,
        ),
        (
            "POST /cometd HTTP/1.1\r\nContent-Length: 2\r\n\r\n[]".to_owned(),
            400,
        ),
        (
            "GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n".to_owned(),
            400,
        ),
        (
            "GET / HTTP/1.1\r\nHost: x\r\nBad Name: y\r\n\r\n".to_owned(),
            400,
        ),
        (
            "GET / HTTP/1.1\r\nHost: x\r\nName: a\u{1}b\r\n\r\n".to_owned(),
            400,
        ),
        (
            format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "x".repeat(20_000)),
            414,
        ),
        (
            format!(
                "GET / HTTP/1.1\r\nHost: x\r\nName: {}\r\n\r\n",
                "x".repeat(20_000)
            ),
            431,
        ),
    ];
    for (request, status) in table {
        let mut connection = world.connection();
        connection.try_send(&request);
        let start = &request[..request.len().min(90)];
        assert_eq!(connection.response().status, status, "{start:?}");
        connection.closed_silently();
    }
}
