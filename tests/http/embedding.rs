//! What a program around the library adds: content handlers, the response hook, late answers.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bayeux::ClientId;
use bayeux::{Access, ServiceCall, ServiceReply};
use bayeux::{Body, ContentRequest, HookedRequest, Response};
use serde_json::{Value, json};

use super::harness::{On, World, data_of};

/// Says back what it was asked.
fn mirror(request: &ContentRequest) -> Response {
    let seen = json!({
        "method": request.method, "path": request.path, "query": request.query,
        "x": request.header("x-own"), "body": String::from_utf8_lossy(&request.body),
        "ip": request.peer.ip.to_string(),
    });
    let mut response = Response::new(200).header("Content-Type", "application/json");
    response.body = Body::Bytes(seen.to_string().into_bytes());
    response
}

pub(crate) fn content_by_path_and_any_method(on: On) {
    let world = World::built(
        on,
        |_| {},
        |builder| {
            builder
                .content("/api/", 100, mirror)
                .content("/api/one", 100, |_: &ContentRequest| Response::new(204))
        },
    );
    let mut connection = world.connection();
    for method in ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"] {
        let response = connection.request(method, "/api/x%20y?q=1", "X-Own: 7\r\n", b"hello");
        assert_eq!(response.status, 200, "{method}");
        let expected = json!({"method": method, "path": "/api/x%20y", "query": "q=1", "x": "7",
            "body": "hello", "ip": "127.0.0.1"});
        let seen: Value = serde_json::from_str(response.text()).unwrap();
        assert_eq!(seen, expected, "{method}");
    }
    let head = connection.request("HEAD", "/api/x", "", b"");
    assert_eq!((head.status, head.text()), (200, ""));
    assert_eq!(connection.get("/api/one").status, 204);
    assert_eq!(
        connection.get("/api").status,
        404,
        "one path is not the other"
    );
    assert_eq!(
        world.reply(&json!({"channel": "/meta/handshake"}))["successful"],
        true
    );
}

pub(crate) fn bodies_of_content_are_bounded(on: On) {
    let calls = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&calls);
    let handler = move |_: &ContentRequest| {
        count.fetch_add(1, Ordering::Relaxed);
        Response::new(204)
    };
    let world = World::built(on, |_| {}, |builder| builder.content("/in", 10, handler));
    let send = |length: usize| {
        let body = vec![b'x'; length];
        world.connection().request("POST", "/in", "", &body).status
    };
    assert_eq!((send(0), send(10), send(11)), (204, 204, 413));
    assert_eq!(
        calls.load(Ordering::Relaxed),
        2,
        "what is too long is not handled"
    );
}

pub(crate) fn content_that_fails(on: On) {
    let world = World::built(
        on,
        |_| {},
        |builder| {
            builder
                .content("/panic", 0, |_: &ContentRequest| -> Response {
                    panic!("a bad handler")
                })
                .content("/split", 0, |_: &ContentRequest| {
                    Response::new(200).header("X-A", "1\r\nX-B: 2")
                })
        },
    );
    let mut connection = world.connection();
    for _ in 0..20 {
        let response = connection.get("/panic");
        assert_eq!(
            (response.status, response.text()),
            (500, "internal server error\n")
        );
    }
    let split = connection.get("/split");
    assert_eq!(
        (split.header("x-a"), split.header("x-b")),
        (Some("1  X-B: 2"), None)
    );
    world.client();
}

pub(crate) fn a_slow_handler_delays_nobody_but_its_caller(on: On) {
    let slow = |_: &ContentRequest| {
        std::thread::sleep(Duration::from_millis(400));
        Response::new(204)
    };
    let world = World::built(on, |_| {}, |builder| builder.content("/slow", 0, slow));
    let mut caller = world.connection();
    let begun = Instant::now();
    caller.send("GET /slow HTTP/1.1\r\nHost: x\r\n\r\nGET /x HTTP/1.1\r\nHost: x\r\n\r\n");
    let mut client = world.client();
    client.subscribe(&json!("/x"));
    assert_eq!(data_of(&client.publish("/x", &json!(1))), [json!(1)]);
    assert!(
        begun.elapsed() < Duration::from_millis(350),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(caller.response().status, 204, "and in order");
    assert_eq!(caller.response().status, 404);
}

pub(crate) fn the_hook_sees_every_response(on: On) {
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let list = Arc::clone(&seen);
    let hook = move |request: &HookedRequest, response: &mut Response| {
        let line = format!("{} {} {}", request.method, request.path, response.status);
        list.lock().unwrap().push(line);
        let changed = std::mem::replace(response, Response::new(0));
        let host = request.header("host").is_some();
        let about = format!("{} {host}", request.target);
        let changed = changed.header("X-About", &about);
        *response = changed.header("X-Hooked", &request.peer.ip.to_string());
    };
    let world = World::built(
        on,
        |config| config.demo = Some(true),
        |builder| builder.response_hook(hook).content("/own", 0, mirror),
    );
    let mut connection = world.connection();
    for target in ["/index.html", "/nothing", "/own", "/examples/chat"] {
        assert_eq!(
            connection.get(target).header("x-hooked"),
            Some("127.0.0.1"),
            "{target}"
        );
    }
    let asked = connection.get("/nothing?q=1");
    assert_eq!(asked.header("x-about"), Some("/nothing?q=1 true"));
    let refused = connection.request("PUT", "/index.html", "", b"");
    assert_eq!(
        (refused.status, refused.header("x-hooked")),
        (405, Some("127.0.0.1"))
    );
    let handshake = world.post(&json!({"channel": "/meta/handshake"}));
    assert_eq!(handshake.header("x-hooked"), Some("127.0.0.1"));
    let seen = seen.lock().unwrap();
    assert_eq!(
        *seen,
        [
            "GET /index.html 200",
            "GET /nothing 404",
            "GET /own 200",
            "GET /examples/chat 301",
            "GET /nothing 404",
            "PUT /index.html 405",
            "POST /cometd 200",
        ]
    );
}

pub(crate) fn a_hook_that_fails(on: On) {
    let hook = |request: &HookedRequest, response: &mut Response| {
        match request.path.as_str() {
            "/panic" => panic!("a bad hook"),
            "/status" => response.status = 7,
            _ => {}
        };
    };
    let world = World::built(on, |_| {}, |builder| builder.response_hook(hook));
    let mut connection = world.connection();
    for target in ["/panic", "/status"] {
        let response = connection.get(target);
        assert_eq!(
            (response.status, response.text()),
            (500, "internal server error\n")
        );
    }
    assert_eq!(connection.get("/x").status, 404);
    world.client();
}

/// The way through the hook loses nothing and keeps the order.
pub(crate) fn messages_survive_the_hook(on: On) {
    let hook = |_: &HookedRequest, _: &mut Response| {};
    let world = World::built(on, |_| {}, |builder| builder.response_hook(hook));
    let (mut sender, mut receiver) = (world.client(), world.client());
    receiver.subscribe(&json!("/x"));
    let mut got = Vec::new();
    for round in 0..10 {
        let mut held = receiver.hold(&world);
        for n in 0..10 {
            sender.publish("/x", &json!(round * 10 + n));
        }
        got.extend(data_of(&held.answer()));
        got.extend(data_of(&receiver.poll()));
    }
    let expected: Vec<Value> = (0..100).map(|n| json!(n)).collect();
    assert_eq!(got, expected);
    world.until("all is delivered", |stats| {
        stats.broker.queued_messages == 0
    });
}

pub(crate) fn types_by_ending(on: On) {
    let world = World::with(on, |config| {
        config.demo = Some(true);
        config
            .site
            .media_types
            .push(("svg".to_owned(), "text/x-own".to_owned()));
    });
    let response = world.connection().get("/favicon.svg");
    let kind = response.header("content-type");
    assert_eq!(
        (response.status, kind),
        (200, Some("text/x-own;charset=utf-8"))
    );
}

/// A service answers with nothing, and later with a message of any fields.
pub(crate) fn a_late_answer_of_a_service(on: On) {
    let asked: Arc<Mutex<Option<(ClientId, Value)>>> = Arc::default();
    let slot = Arc::clone(&asked);
    let service = move |call: &ServiceCall<'_>| {
        let id = serde_json::from_str(call.id.unwrap_or("null")).unwrap();
        *slot.lock().unwrap() = call.client.map(|client| (client, id));
        Ok(Vec::new())
    };
    let world = World::built(
        on,
        |_| {},
        |builder| builder.service("/service/late", Access::Sessions, service),
    );
    let mut client = world.client();
    let reply = client.reply(&json!({"channel": "/service/late", "id": "q7", "data": 1}));
    assert_eq!(reply["successful"], true);
    let mut held = client.hold(&world);
    let (caller, id) = asked.lock().unwrap().take().unwrap();
    let answer = ServiceReply::data(&json!({"answer": 42})).unwrap();
    let answer = answer.field("id", &id).unwrap();
    let answer = answer.field("clientId", &"never").unwrap();
    let broker = world.server.broker();
    broker.push_reply(caller, "/service/late", &answer).unwrap();
    let expected = json!({"channel": "/service/late", "id": "q7", "successful": true,
        "data": {"answer": 42}});
    assert_eq!(held.answer()[0], expected);
}
