//! The native connector on real sockets: what a client sees of its queues, limits and timeouts.
//! What every connector does alike is tested elsewhere.

mod harness;
mod panics;
mod redelivery;
#[cfg(target_os = "linux")] // elsewhere the system does not tell what was received
mod slowness;
mod stale;

use std::time::{Duration, Instant};

use bayeux::{Access, ServiceCall, ServiceError, ServiceReply};
use harness::{Server, post};
use serde_json::{Value, json};

use crate::common::wait::eventually;

/// A timeout in a test that waits for it.
const SHORT: Duration = Duration::from_millis(300);

#[test]
fn a_publish_behind_a_held_connect_is_what_it_waits_for() {
    let server = Server::start(|_| {});
    let session = server.session("/a");
    let mut client = server.connect();
    let mut both = session.connect(&json!({"id": "c"}));
    both.extend(session.publish("/a", 1));
    client.send(&both);
    let connect = client.response();
    assert_eq!(connect.data(), [json!(1)]);
    assert_eq!(connect.json()[1]["id"], "c");
    let publish = client.response().json();
    assert_eq!(
        publish.as_array().unwrap().len(),
        1,
        "the message came once: {publish}"
    );
    assert_eq!(
        (&publish[0]["id"], &publish[0]["successful"]),
        (&json!("p"), &json!(true))
    );
    client.send(&session.connect(&json!({"advice": {"timeout": 0}})));
    assert!(client.response().data().is_empty());
}

#[test]
fn messages_do_not_overtake_each_other_in_a_pipeline() {
    let server = Server::start(|_| {});
    let (first, second) = (server.session("/first"), server.session("/second"));
    let other = server.session("/other");
    let mut client = server.connect();
    // Two held connects, and a publish to the second of them in between and behind.
    let mut requests = first.connect(&json!({}));
    requests.extend(other.publish("/second", 1));
    requests.extend(second.connect(&json!({})));
    requests.extend(other.publish("/second", 2));
    client.send(&requests);
    assert!(client.is_silent(100), "the first connect is held");
    server.broker.publish("/second", &3).unwrap();
    server.broker.publish("/first", &"go").unwrap();
    assert_eq!(client.response().data(), [json!("go")]);
    assert_eq!(client.response().json()[0]["successful"], true);
    let (connect, publish) = (client.response(), client.response());
    let mut seen = connect.data();
    assert_eq!(publish.json()[0]["successful"], true);
    client.send(&second.connect(&json!({"advice": {"timeout": 0}})));
    seen.extend(client.response().data());
    assert_eq!(seen, [json!(1), json!(2), json!(3)]);
}

#[test]
fn a_long_pipeline_behind_a_held_connect_is_answered_in_order() {
    let server = Server::start(|_| {});
    let (waiting, speaking) = (server.session("/waiting"), server.session("/nothing"));
    let mut client = server.connect();
    let mut requests = waiting.connect(&json!({}));
    for n in 0..200 {
        requests.extend(speaking.publish("/counted", n));
    }
    client.send(&requests);
    assert!(client.is_silent(100));
    let executed = server.running.stats().requests;
    assert!(
        executed < 30,
        "only a few are executed behind a held connect: {executed}"
    );
    server.broker.publish("/waiting", &"go").unwrap();
    assert_eq!(client.response().data(), [json!("go")]);
    for _ in 0..200 {
        assert_eq!(client.response().json()[0]["successful"], true);
    }
    assert!(client.is_silent(50));
}

#[test]
fn a_thousand_requests_at_once_are_served() {
    let server = Server::start(|_| {});
    let session = server.session("/a");
    let mut requests = Vec::new();
    for n in 0..1000 {
        requests.extend(session.publish("/a", n));
    }
    let mut client = server.connect();
    client.send(&requests);
    client.half_close();
    let mut seen: Vec<Value> = Vec::new();
    for _ in 0..1000 {
        seen.extend(client.response().data());
    }
    assert!(client.ends_silently());
    assert!(
        seen.into_iter().eq((0..1000).map(Value::from)),
        "all messages, in order"
    );
}

#[test]
fn an_interim_response_does_not_overtake_an_answer() {
    let server = Server::start(|_| {});
    let session = server.session("/a");
    let mut client = server.connect();
    let mut requests = session.connect(&json!({}));
    let publish = String::from_utf8(session.publish("/b", 1)).unwrap();
    let (head, body) = publish.split_once("\r\n\r\n").unwrap();
    requests.extend(format!("{head}\r\nExpect: 100-continue\r\n\r\n").as_bytes());
    client.send(&requests);
    assert!(client.is_silent(100));
    server.broker.publish("/a", &1).unwrap();
    assert_eq!(client.response().data(), [json!(1)]);
    assert_eq!(client.response().status, 100);
    client.send(body.as_bytes());
    assert_eq!(client.response().json()[0]["successful"], true);
}

#[test]
fn a_peer_that_half_closes_gets_answers_but_no_held_connect() {
    let server = Server::start(|_| {});
    let session = server.session("/a");
    let mut client = server.connect();
    client.send(&session.publish("/b", 1));
    client.half_close();
    assert_eq!(client.response().json()[0]["successful"], true);
    assert!(client.ends_silently());

    let mut client = server.connect();
    client.send(&session.connect(&json!({})));
    assert!(client.is_silent(50));
    client.half_close();
    assert!(
        client.ends_silently(),
        "at once, not when the connect times out"
    );
    server.broker.publish("/a", &"kept").unwrap();
    let mut client = server.connect();
    client.send(&session.connect(&json!({})));
    assert_eq!(client.response().data(), [json!("kept")]);
}

#[test]
fn a_connect_behind_user_code_is_not_held_for_a_peer_that_has_half_closed_meanwhile() {
    let server = Server::start(|_| {});
    let slow = |_: &ServiceCall<'_>| -> Result<Vec<ServiceReply>, ServiceError> {
        std::thread::sleep(SHORT);
        Ok(Vec::new())
    };
    let service = "/service/slow";
    let added = server.broker.add_service(service, Access::Sessions, slow);
    added.unwrap();
    let session = server.session("/a");
    let mut client = server.connect();
    let mut both = session.publish(service, 1);
    both.extend(session.connect(&json!({})));
    client.send(&both);
    client.half_close();
    assert_eq!(client.response().json()[0]["successful"], true);
    assert!(client.ends_silently(), "not when the connect times out");
}

#[test]
fn a_newer_connect_cuts_an_unfinished_write_and_gets_its_messages_first() {
    let server = Server::start(|settings| {
        settings.site.max_body = 16 << 20;
        settings.broker.queue.bytes = 64 << 20;
    });
    let session = server.session("/big");
    let mut slow = server.connect();
    slow.send(&session.connect(&json!({})));
    assert!(slow.is_silent(50));
    // More than the sockets' buffers hold, so that a part of it stays with the server.
    let big = "x".repeat(12 << 20);
    server.broker.publish("/big", &big).unwrap();
    eventually("the beginning of the response", || {
        server.running.stats().connections.bytes_out > 100_000
    });
    server.broker.publish("/big", &"second").unwrap();
    let mut fast = server.connect();
    fast.send(&session.connect(&json!({"id": "newer"})));
    let got = fast.response();
    assert_eq!(got.data()[0].as_str().map(str::len), Some(big.len()));
    let mut rest = got.data().split_off(1);
    if rest.is_empty() {
        fast.send(&session.connect(&json!({})));
        rest = fast.response().data();
    }
    assert_eq!(rest, [json!("second")]);
    assert!(
        slow.try_response().is_none(),
        "the older connection ends inside its response"
    );
}

#[test]
fn a_reader_that_stops_is_cut_and_loses_nothing() {
    let server = Server::start(|settings| {
        settings.native.write_timeout = SHORT;
        settings.broker.queue.bytes = 64 << 20;
    });
    let session = server.session("/big");
    let mut stopped = server.connect();
    stopped.send(&session.connect(&json!({})));
    assert!(stopped.is_silent(50));
    let big = "x".repeat(12 << 20);
    server.broker.publish("/big", &big).unwrap();
    eventually("the connection to be cut", || {
        server.running.stats().connections.open == 1
    });
    let mut client = server.connect();
    client.send(&session.connect(&json!({})));
    assert_eq!(client.response().data(), [json!(big)]);
}

#[test]
fn a_request_that_comes_too_slowly_gets_408() {
    let server = Server::start(|settings| {
        settings.native.header_timeout = SHORT;
        settings.native.body_timeout = SHORT;
        settings.native.idle_timeout = 2 * SHORT;
    });
    let started = Instant::now();
    let (mut silent, mut head, mut body) = (server.connect(), server.connect(), server.connect());
    let mut idle = server.connect();
    head.send(b"POST /cometd HT");
    body.send(b"POST /cometd HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n[");
    assert_eq!(idle.post(&json!([])).json(), json!([]));
    for client in [&mut head, &mut body] {
        let response = client.response();
        assert_eq!((response.status, response.closes()), (408, true));
        assert!(client.ends_silently());
    }
    assert!(silent.ends_silently());
    assert!(started.elapsed() < 2 * SHORT, "{:?}", started.elapsed());
    assert!(idle.ends_silently());
    assert!(started.elapsed() >= 2 * SHORT, "{:?}", started.elapsed());
}

#[test]
fn times_may_be_endless() {
    let server = Server::start(|settings| {
        let native = &mut settings.native;
        native.header_timeout = Duration::MAX;
        native.body_timeout = Duration::MAX;
        native.idle_timeout = Duration::MAX;
        native.write_timeout = Duration::MAX;
        native.ping_interval = Duration::MAX;
        native.ping_timeout = Duration::MAX;
        settings.broker.connection_types = vec!["websocket", "long-polling"];
    });
    let mut client = server.connect();
    assert_eq!(client.post(&json!([])).json(), json!([]));
    let (request, mut late) = (post(&json!([])), server.connect());
    late.send(&request[..request.len() - 1]);
    assert!(late.is_silent(100));
    late.send(&request[request.len() - 1..]);
    assert_eq!(late.response().json(), json!([]));
    late.send(
        b"GET /cometd HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    assert_eq!(late.response().status, 101);
    assert!(late.is_silent(100));
}

#[test]
fn a_held_connect_is_not_subject_to_timeouts_of_the_connection() {
    let server = Server::start(|settings| {
        settings.native.header_timeout = SHORT;
        settings.native.body_timeout = SHORT;
        settings.native.idle_timeout = SHORT;
    });
    let session = server.session("/a");
    let mut client = server.connect();
    let mut requests = session.connect(&json!({}));
    requests.extend(b"POST /cometd HTT");
    client.send(&requests);
    assert!(client.is_silent(900));
    server.broker.publish("/a", &1).unwrap();
    assert_eq!(client.response().data(), [json!(1)]);
    assert_eq!(
        client.response().status,
        408,
        "now the time for the next head runs"
    );
}

#[test]
fn unfinished_requests_are_bounded_together() {
    let server = Server::start(|settings| settings.broker.traffic.max_input_total = 100_000);
    let head = "POST /cometd HTTP/1.1\r\nHost: h\r\nContent-Length: 60000\r\n\r\n";
    let body = "x".repeat(59_000);
    let (mut first, mut second) = (server.connect(), server.connect());
    first.send(format!("{head}{body}").as_bytes());
    eventually("the first body", || {
        server.running.stats().input_bytes > 59_000
    });
    second.send(format!("{head}{body}").as_bytes());
    let refused = second.response();
    assert_eq!((refused.status, refused.closes()), (503, true));
    assert!(refused.head.contains("\r\nRetry-After: "));
    first.send(" ".repeat(1000).as_bytes());
    assert_eq!(first.response().status, 400, "no JSON, but it was read");
    eventually("all input to be given back", || {
        server.running.stats().input_bytes == 0
    });
}

#[test]
fn connections_beyond_the_limit_wait() {
    let server = Server::start(|settings| settings.native.max_connections = 2);
    let (mut first, second) = (server.connect(), server.connect());
    server.settle(2);
    let mut third = server.connect();
    third.send(&post(&json!([])));
    assert!(third.is_silent(100));
    assert_eq!(first.post(&json!([])).json(), json!([]));
    drop(second);
    assert_eq!(third.response().json(), json!([]));
}

#[test]
fn a_refusal_can_be_read_although_the_request_goes_on() {
    let server = Server::start(|_| {});
    let mut client = server.connect();
    let head = "POST /cometd HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999\r\n\r\n";
    client.send(head.as_bytes());
    for _ in 0..100 {
        client.send(&[b' '; 10_000]);
    }
    let refused = client.response();
    assert_eq!((refused.status, refused.closes()), (413, true));
    assert!(client.ends_silently());
}

#[test]
fn http_1_0_is_served_and_kept_alive_on_demand() {
    let server = Server::start(|_| {});
    let mut client = server.connect();
    client.send(b"POST /cometd HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\n[]");
    let response = client.response();
    assert!(
        response.head.contains("\r\nConnection: keep-alive\r\n"),
        "{}",
        response.head
    );
    client.send(b"POST /cometd HTTP/1.0\r\nContent-Length: 2\r\n\r\n[]");
    assert!(client.response().closes());
    assert!(client.ends_silently());
}

#[test]
fn what_follows_the_last_request_is_ignored() {
    let server = Server::start(|_| {});
    let mut client = server.connect();
    let last =
        "POST /cometd HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 2\r\n\r\n[]";
    let mut requests = last.as_bytes().to_vec();
    requests.extend(post(&json!([])));
    client.send(&requests);
    assert!(client.response().closes());
    assert!(client.ends_silently());
    assert_eq!(server.running.stats().requests, 1);
}

#[test]
fn draining_answers_held_connects_and_closes() {
    let mut server = Server::start(|_| {});
    let session = server.session("/a");
    let (mut held, mut idle, mut late) = (server.connect(), server.connect(), server.connect());
    held.send(&session.connect(&json!({})));
    assert_eq!(idle.post(&json!([])).json(), json!([]));
    late.send(b"POST /cometd HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n[");
    assert!(held.is_silent(100));
    server.running.stop_accepting();
    server.running.drain();
    assert!(idle.ends_silently());
    server.broker.drain(Duration::from_millis(50));
    let answer = held.response();
    assert_eq!(
        (answer.json()[0]["successful"].clone(), answer.closes()),
        (json!(true), true)
    );
    assert!(held.ends_silently());
    late.send(b"]");
    let answer = late.response();
    assert!(answer.closes(), "{}", answer.head);
    assert!(late.ends_silently());
    let started = Instant::now();
    drop((held, idle, late));
    assert_eq!(server.running.stop(Duration::from_secs(5)).stuck, 0);
    assert!(
        started.elapsed() < Duration::from_secs(2),
        "{:?}",
        started.elapsed()
    );
}

#[test]
fn a_large_file_goes_out_in_pieces_and_holds_nobody_up() {
    let pattern: Vec<u8> = (0..9_u32 << 20).map(|n| (n % 251) as u8).collect();
    let root = std::env::temp_dir().join(format!("bayeux-native-{}", std::process::id()));
    std::fs::create_dir_all(&root).unwrap();
    std::fs::write(root.join("big.bin"), &pattern).unwrap();
    let server = Server::start(|settings| {
        settings.site.document_root = Some(root.clone());
        settings.native.io_threads = 1;
    });
    let get = b"GET /big.bin HTTP/1.1\r\nHost: h\r\n\r\n";
    let (mut slow, mut other) = (server.connect(), server.connect());
    slow.send(get);
    eventually("the beginning of the file", || {
        server.running.stats().connections.bytes_out > 0
    });
    assert_eq!(other.post(&json!([])).json(), json!([]));
    slow.send(&post(&json!([])));
    let file = slow.response();
    assert_eq!((file.status, file.body.len()), (200, pattern.len()));
    assert!(file.body == pattern);
    assert_eq!(slow.response().json(), json!([]), "the request behind it");
    std::fs::remove_dir_all(&root).unwrap();
}
