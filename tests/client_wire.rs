//! The client on real sockets, against a scripted server: what it sends, and how it takes what no
//! good server would do.
#![cfg(feature = "client")]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod client_support;

use std::net::TcpListener;
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bayeux::client::{
    Client, ClientBuilder, Error, Event, Failure, RecvError, State, SubscribeOptions,
};
use client_support::{Script, Server};
use serde_json::{Value, json};

const LONG: Duration = Duration::from_secs(20);

fn builder(server: &Server) -> ClientBuilder {
    quick(&server.url())
}

fn quick(url: &str) -> ClientBuilder {
    let (first, longest) = (Duration::from_millis(20), Duration::from_millis(200));
    Client::builder(url)
        .backoff(first, longest)
        .connect_timeout(LONG)
}

fn connected(server: &Server) -> Client {
    builder(server).connect().unwrap()
}

fn html(status: &str) -> Script {
    let body = "<html><h1>no</h1></html>";
    let length = body.len();
    let page = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}");
    Script::Raw(page.into_bytes())
}

#[test]
fn the_handshake_on_the_wire() {
    let server = Server::start();
    let client = builder(&server)
        .header("X-Test", "yes")
        .ext(&json!({"a": 1}))
        .credentials(|| Ok::<_, String>(json!({"authentication": {"user": "u"}})))
        .acknowledged(true)
        .connect()
        .unwrap();
    let first = &server.requests()[0];
    assert!(
        first.head.starts_with("post /cometd http/1.1\r\n"),
        "{}",
        first.head
    );
    for header in [
        "content-type: application/json;charset=utf-8\r\n",
        "x-test: yes\r\n",
        "user-agent: bayeux-client/",
        "accept: application/json\r\n",
    ] {
        assert!(first.head.contains(header), "{header} in {}", first.head);
    }
    let expected = json!([{
        "channel": "/meta/handshake", "id": "1", "version": "1.0", "minimumVersion": "1.0",
        "supportedConnectionTypes": ["long-polling"],
        "ext": {"a": 1, "ack": true, "authentication": {"user": "u"}},
    }]);
    assert_eq!(
        serde_json::from_str::<Value>(&first.body).unwrap(),
        expected
    );
    assert_eq!(client.client_id().as_deref(), Some("session1"));
    assert_eq!(client.state(), State::Connected);
}

#[test]
fn two_connections_are_enough() {
    let server = Server::start();
    let client = connected(&server);
    server.wait_for("/meta/connect", 2);
    for n in 0..20 {
        client.publish("/a", &n).unwrap();
        if n % 5 == 0 {
            server.push(&json!({"channel": "/b", "data": n}));
        }
    }
    assert_eq!(server.connections(), 2);
    let data: Vec<_> = server
        .messages("/a")
        .iter()
        .map(|m| m["data"].clone())
        .collect();
    assert_eq!(data, (0..20).map(|n| json!(n)).collect::<Vec<_>>());
}

#[test]
fn what_queues_up_leaves_in_one_request() {
    let server = Server::start();
    let client = connected(&server);
    server.script("/slow", Script::Delay(Duration::from_millis(300)));
    let slow = client.publish_later("/slow", &0).unwrap();
    server.wait_for("/slow", 1);
    let later: Vec<_> = (0..10)
        .map(|n| client.publish_later("/a", &n).unwrap())
        .collect();
    let (b, c) = client.batch(|batch| (batch.publish("/b", &1), batch.publish("/c", &[2.5])));
    slow.wait().unwrap();
    assert!(later.into_iter().all(|pending| pending.wait().is_ok()));
    assert_eq!(b.unwrap().wait().unwrap().reply().channel(), "/b");
    c.unwrap().wait().unwrap();
    let requests = server.requests();
    let with_a: Vec<_> = requests
        .iter()
        .filter(|r| r.body.contains("\"/a\""))
        .collect();
    assert_eq!(with_a.len(), 1);
    assert_eq!(with_a[0].messages().len(), 12);
}

#[test]
fn calls_before_the_connection_keep_their_order() {
    let server = Server::start();
    server.script("/meta/handshake", Script::Delay(Duration::from_millis(100)));
    let client = builder(&server).start().unwrap();
    client.post("/a", &1).unwrap();
    let (subscription, _) = client
        .subscribe_later("/b", SubscribeOptions::default())
        .unwrap();
    client.post("/a", &2).unwrap();
    client.publish("/a", &3).unwrap();
    let requests = server.requests();
    let batch = requests.iter().find(|r| r.body.contains("\"/a\"")).unwrap();
    assert_eq!(batch.channels(), ["/a", "/meta/subscribe", "/a", "/a"]);
    assert_eq!(subscription.pattern(), "/b");
}

#[test]
fn cookies_come_back() {
    let server = Server::start();
    server.set_cookie("BAYEUX_BROWSER=xyz; Path=/; HttpOnly");
    let client = connected(&server);
    client.publish("/a", &1).unwrap();
    let requests = server.requests();
    assert!(!requests[0].head.contains("cookie:"));
    let with = requests
        .iter()
        .filter(|r| r.head.contains("cookie: bayeux_browser=xyz\r\n"));
    assert_eq!(with.count(), requests.len() - 1);
}

#[test]
fn data_travels_as_it_was_written() {
    let server = Server::start();
    let client = connected(&server);
    let subscription = client.subscribe("/a/**").unwrap();
    let raw = serde_json::value::RawValue::from_string("{\"x\" : 1.50}".into()).unwrap();
    client.publish("/a/b", &raw).unwrap();
    assert!(
        server
            .requests()
            .iter()
            .any(|r| r.body.contains("\"data\":{\"x\" : 1.50}"))
    );
    server.push(&json!({"channel": "/a/b", "data": {"n": 7}, "ext": {}, "id": "9", "extra": 1}));
    let message = subscription.recv_timeout(LONG).unwrap();
    assert_eq!(message.data::<Value>().unwrap()["n"], 7);
    assert_eq!(
        (message.id(), message.field("extra")),
        (Some("9"), Some("1"))
    );
    assert_eq!(subscription.try_recv(), Err(RecvError::Empty));
}

#[test]
fn a_service_is_called() {
    let server = Server::start();
    let client = connected(&server);
    let answer = client.call("/service/echo", &"hi", LONG).unwrap();
    assert_eq!(answer.data_json(), r#"{"echo":"hi"}"#);
    let not_a_service = client.call("/echo", &"hi", LONG);
    assert_eq!(not_a_service, Err(Error::Channel("/echo".into())));
    server.script(
        "/service/mute",
        Script::Json(r#"[{"channel":"/service/mute","id":"ID","successful":true}]"#),
    );
    let unanswered = client.call("/service/mute", &1, Duration::from_millis(100));
    assert_eq!(unanswered, Err(Error::Timeout { sent: true }));
}

#[test]
fn a_lost_session_is_replaced_and_everything_subscribed_again() {
    let server = Server::start();
    server.set_hold(Duration::from_millis(200));
    let (events, seen) = mpsc::channel();
    let client = builder(&server)
        .on_event(move |event| drop(events.send(event.clone())))
        .connect()
        .unwrap();
    let first = client.subscribe("/a").unwrap();
    let _second = client.subscribe("/b/**").unwrap();
    drop(client.subscribe("/gone").unwrap());
    server.wait_for("/meta/unsubscribe", 1);
    server.script(
        "/meta/connect",
        Script::Json(
            r#"[{"channel":"/meta/connect","id":"ID","successful":false,
             "error":"402::session_unknown","advice":{"reconnect":"handshake","interval":0}}]"#,
        ),
    );
    server.wait_for("/meta/handshake", 2);
    server.wait_for("/meta/subscribe", 5);
    let requests = server.requests();
    let again = requests
        .iter()
        .rfind(|r| r.body.contains("/meta/subscribe"))
        .unwrap();
    let again: Vec<_> = again
        .messages()
        .iter()
        .map(|m| m["subscription"].clone())
        .collect();
    assert_eq!(again, ["/a", "/b/**"]);
    server.push(&json!({"channel": "/a", "data": 1}));
    assert_eq!(first.recv_timeout(LONG).unwrap().data_json(), "1");
    assert_eq!(client.client_id().as_deref(), Some("session2"));
    let replaced = |event: Event| {
        matches!(
            event,
            Event::SessionReplaced {
                resubscribed: 2,
                ..
            }
        )
    };
    assert!(seen.try_iter().any(replaced));
}

#[test]
fn nothing_a_server_says_ends_the_loop() {
    let scripts = [
        html("200 OK"),
        html("502 Bad Gateway"),
        html("302 Found\r\nLocation: http://127.0.0.1:1/"),
        Script::Hangup,
        Script::Raw(b"SSH-2.0-nonsense\r\n".to_vec()),
        Script::Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\n[".to_vec()),
        Script::Raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n".to_vec()),
        Script::Json("[]"),
        Script::Json("{\"channel\":5}"),
        Script::Json("[1,2,null,{}]"),
        Script::Json("null"),
    ];
    let server = Server::start();
    server.set_hold(Duration::from_millis(10));
    let client = connected(&server);
    for script in scripts {
        let (before, failures) = (server.requests().len(), client.stats().failures);
        server.script("/meta/connect", script);
        let start = Instant::now();
        while client.stats().failures == failures && start.elapsed() < LONG {
            std::thread::sleep(Duration::from_millis(2));
        }
        client.wait_connected(LONG).unwrap();
        assert!(server.requests().len() > before);
    }
    assert_eq!(client.stats().sessions, 1, "the session lived on");
    client.publish("/a", &1).unwrap();
}

#[test]
fn failed_handshakes_are_repeated_until_one_works() {
    let server = Server::start();
    for script in [
        html("503 Service Unavailable"),
        Script::Hangup,
        Script::Json(r#"[{"channel":"/meta/handshake","id":"ID","successful":false}]"#),
        Script::Json("/*[{\"channel\":\"/meta/handshake\",\n\"successful\":false}]*/"),
    ] {
        server.script("/meta/handshake", script);
    }
    let _client = connected(&server);
    let handshakes: Vec<_> = server
        .requests()
        .iter()
        .map(|request| request.at)
        .take(5)
        .collect();
    let pauses: Vec<_> = handshakes
        .windows(2)
        .map(|pair| pair[1] - pair[0])
        .collect();
    for (pause, least) in pauses.iter().zip([10, 20, 40, 80]) {
        assert!(*pause >= Duration::from_millis(least), "{pauses:?}");
    }
}

#[test]
fn filtered_answers_are_read() {
    let server = Server::start();
    server.script(
        "/meta/handshake",
        Script::Raw(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/json-comment-filtered\r\n\r\n/*[\n\
          {\"channel\":\"/meta/handshake\",\"successful\":true,\"clientId\":\"x\"}\n]*/"
                .to_vec(),
        ),
    );
    assert_eq!(connected(&server).client_id().as_deref(), Some("x"));
}

#[test]
fn credentials_are_asked_for_each_time() {
    let server = Server::start();
    let asked = Mutex::new(0);
    let client = builder(&server)
        .credentials(move || {
            let mut asked = asked
                .lock()
                .unwrap_or_else(|poisoned| poisoned.into_inner());
            *asked += 1;
            match *asked {
                1 => Err("not yet"),
                2 => panic!("a bug in the callback"),
                n => Ok(json!({"ticket": n})),
            }
        })
        .connect()
        .unwrap();
    client.reconnect();
    server.wait_for("/meta/disconnect", 1);
    let handshakes = server.wait_for("/meta/handshake", 2);
    let tickets: Vec<_> = handshakes
        .iter()
        .map(|m| m["ext"]["ticket"].clone())
        .collect();
    assert_eq!(tickets, [3, 4]);
    client.wait_connected(LONG).unwrap();
}

#[test]
fn a_server_that_says_no_for_good_is_believed() {
    let server = Server::start();
    server.script(
        "/meta/handshake",
        Script::Json(
            r#"[{"channel":"/meta/handshake","id":"ID","successful":false,
             "error":"403:wrong password:handshake_denied","advice":{"reconnect":"none"}}]"#,
        ),
    );
    let Err(Error::Rejected(rejection)) = builder(&server).connect() else {
        panic!("let in")
    };
    assert_eq!(rejection.arguments(), "wrong password");
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn without_a_server_it_keeps_trying_and_then_works() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    drop(listener);
    let url = format!("http://{addr}/cometd");
    let refused = quick(&url)
        .connect_timeout(Duration::from_millis(200))
        .connect();
    let Err(Error::NotConnected(Some(last))) = refused else {
        panic!("{refused:?}")
    };
    assert!(
        matches!(*last, Error::Failed(Failure::Connect(_))),
        "{last:?}"
    );
    let client = quick(&url).start().unwrap();
    let pending = client.publish_later("/a", &1).unwrap();
    std::thread::sleep(Duration::from_millis(100));
    let server = Server::on(TcpListener::bind(addr).unwrap());
    pending.wait().unwrap();
    assert_eq!(server.messages("/a").len(), 1);
}

#[test]
fn a_publish_in_a_broken_exchange_is_an_error_and_not_repeated() {
    let server = Server::start();
    let client = connected(&server);
    server.script("/a", Script::Hangup);
    assert!(matches!(
        client.publish("/a", &1),
        Err(Error::Unacknowledged(Failure::Io(..)))
    ));
    client.publish("/b", &1).unwrap();
    assert_eq!(server.messages("/a").len(), 1);
}

#[test]
fn timeouts_tell_whether_it_left() {
    let server = Server::start();
    let client = connected(&server);
    server.script("/a", Script::Delay(Duration::from_millis(500)));
    let first = client.publish_later("/a", &1);
    server.wait_for("/a", 1);
    let second = client.publish_later("/b", &1);
    let wait = Duration::from_millis(50);
    assert_eq!(
        first.unwrap().wait_timeout(wait),
        Err(Error::Timeout { sent: true })
    );
    assert_eq!(
        second.unwrap().wait_timeout(wait),
        Err(Error::Timeout { sent: false })
    );
    client.publish("/c", &1).unwrap();
    assert_eq!(server.messages("/b").len(), 0);
}

#[test]
fn dropping_says_goodbye_and_does_not_wait_for_the_poll() {
    let server = Server::start();
    let client = connected(&server);
    server.wait_for("/meta/connect", 2);
    client.post("/last", &"words").unwrap();
    let subscription = client.subscribe("/a").unwrap();
    let handle = client.handle();
    let start = Instant::now();
    drop(client);
    assert!(
        start.elapsed() < Duration::from_secs(1),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(server.messages("/last").len(), 1);
    assert_eq!(server.messages("/meta/disconnect").len(), 1);
    assert_eq!(subscription.recv(), Err(RecvError::Ended(Error::Closed)));
    assert_eq!(handle.publish("/a", &1), Err(Error::Closed));
    assert_eq!(handle.close_reason(), Some(Error::Closed));
}

#[test]
fn closing_is_silent_and_quick() {
    let server = Server::start();
    let client = connected(&server);
    server.wait_for("/meta/connect", 2);
    let start = Instant::now();
    client.close();
    drop(client);
    assert!(
        start.elapsed() < Duration::from_secs(1),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(server.messages("/meta/disconnect").len(), 0);
}

#[test]
fn callbacks_may_call_panic_and_drop_the_client() {
    let server = Server::start();
    let client = connected(&server);
    let handle = client.handle();
    let owner = Arc::new(Mutex::new(Some(client)));
    let held = Arc::clone(&owner);
    let (done, is_done) = mpsc::channel();
    let listening = handle.listen("/a", {
        let handle = handle.clone();
        move |message| match message.data::<u32>() {
            Ok(0) => panic!("a bug in the callback"),
            Ok(1) => drop(handle.publish("/answer", &1).unwrap()),
            _ => {
                drop(held.lock().unwrap().take());
                done.send(()).unwrap();
            }
        }
    });
    let listening = listening.unwrap();
    for n in 0..3 {
        server.push(&json!({"channel": "/a", "data": n}));
    }
    is_done.recv_timeout(LONG).unwrap();
    assert_eq!(server.messages("/answer").len(), 1);
    assert_eq!(handle.stats().callbacks_panicked, 1);
    assert_eq!(handle.state(), State::Closed);
    assert!(owner.lock().unwrap().is_none());
    drop(listening);
}

#[test]
fn bad_arguments_are_refused_before_anything_is_sent() {
    let server = Server::start();
    let config = |builder: ClientBuilder| matches!(builder.start(), Err(Error::Config(_)));
    assert!(config(Client::builder("nonsense")));
    assert!(config(builder(&server).header("bad name", "x")));
    let json = builder(&server).ext(&5).start();
    assert!(matches!(json, Err(Error::Json(_))));
    let channel = builder(&server).listen("/a/**/b", |_| ()).start();
    assert!(matches!(channel, Err(Error::Channel(_))));
    assert_eq!(server.requests().len(), 0);
    let client = connected(&server);
    for channel in [
        "",
        "a",
        "/a/*",
        "/meta/connect",
        "/meta",
        "/service",
        "/a//b",
    ] {
        assert_eq!(
            client.publish(channel, &1),
            Err(Error::Channel(channel.into()))
        );
    }
    assert!(matches!(
        client.subscribe("/a/**/b"),
        Err(Error::Channel(_))
    ));
    assert_eq!(server.messages("/meta/subscribe").len(), 0);
}

#[test]
fn large_responses_are_refused() {
    let server = Server::start();
    let limited = builder(&server).max_response(1000).connect().unwrap();
    server.wait_for("/meta/connect", 2);
    server.push(&json!({"channel": "/a", "data": "x".repeat(2000)}));
    server.wait_for("/meta/connect", 3);
    assert_eq!(limited.stats().received, 0);
    assert_eq!(limited.stats().failures, 1);
}
