//! The client on real sockets, against a scripted server: what it sends, and when.

use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bayeux::client::{Client, ClientBuilder, Error, RecvError, State, SubscribeOptions};
use serde_json::{Value, json};

use crate::common::wait::PATIENCE;
use crate::support::{Script, Server, quick};

fn builder(server: &Server) -> ClientBuilder {
    quick(&server.url())
}

fn connected(server: &Server) -> Client {
    builder(server).connect().unwrap()
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
    server.script("/slow", Script::Delay(Duration::from_secs(1)));
    let slow = client.publish_later("/slow", &0).unwrap();
    server.wait_for("/slow", 1);
    let later: Vec<_> = (0..10)
        .map(|n| client.publish_later("/a", &n).unwrap())
        .collect();
    let (b, c) = client.batch(|batch| (batch.publish("/b", &1), batch.publish("/c", &[2.5])));
    slow.wait().unwrap();
    assert!(later.into_iter().all(|pending| pending.wait().is_ok()));
    assert_eq!(b.unwrap().wait().unwrap().channel(), "/b");
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
    server.script("/meta/handshake", Script::Delay(Duration::from_secs(1)));
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
    let message = subscription.recv_timeout(PATIENCE).unwrap();
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
    let answer = client.call("/service/echo", &"hi", PATIENCE).unwrap();
    assert_eq!(answer.data_json(), r#"{"echo":"hi"}"#);
    let not_a_service = client.call("/echo", &"hi", PATIENCE);
    assert_eq!(not_a_service, Err(Error::Channel("/echo".into())));
    server.script(
        "/service/mute",
        Script::Json(r#"[{"channel":"/service/mute","id":"ID","successful":true}]"#),
    );
    let unanswered = client.call("/service/mute", &1, Duration::from_secs(1));
    assert_eq!(unanswered, Err(Error::Timeout { sent: true }));
}

#[test]
fn dropping_says_goodbye_and_does_not_wait_for_the_poll() {
    let server = Server::start();
    let client = builder(&server).linger(PATIENCE).connect().unwrap();
    server.wait_for("/meta/connect", 2);
    client.post("/last", &"words").unwrap();
    let subscription = client.subscribe("/a").unwrap();
    let handle = client.handle();
    let start = Instant::now();
    drop(client);
    assert!(start.elapsed() < PATIENCE / 2, "{:?}", start.elapsed());
    assert_eq!(server.messages("/last").len(), 1);
    assert_eq!(server.messages("/meta/disconnect").len(), 1);
    assert_eq!(subscription.recv(), Err(RecvError::Ended(Error::Closed)));
    assert_eq!(handle.publish("/a", &1), Err(Error::Closed));
    assert_eq!(handle.close_reason(), Some(Error::Closed));
}

#[test]
fn closing_is_silent_and_quick() {
    let server = Server::start();
    let client = builder(&server).linger(PATIENCE).connect().unwrap();
    server.wait_for("/meta/connect", 2);
    let start = Instant::now();
    client.close();
    drop(client);
    assert!(start.elapsed() < PATIENCE / 2, "{:?}", start.elapsed());
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
    is_done.recv_timeout(PATIENCE).unwrap();
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
