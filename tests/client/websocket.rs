//! The client over WebSocket, against a scripted server: the upgrade, falling back from it, frames
//! that should not be, and how connections end.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use bayeux::client::{Client, ClientBuilder, Error, Event, Failure, RecvError, Transport};
use serde_json::{Value, json};

use crate::common::wait::{PATIENCE, eventually};
use crate::support::frames::{close, frame};
use crate::support::{Script, Server, Upgrade, quick};

const NOT_FOUND: Upgrade = Upgrade::Answer(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");

fn server() -> Server {
    let server = Server::start();
    server.set_upgrade(Upgrade::Accept);
    server
}

fn auto(server: &Server) -> ClientBuilder {
    quick(&server.url()).transport(Transport::Auto)
}

fn over_websocket(server: &Server) -> ClientBuilder {
    quick(&server.url()).transport(Transport::WebSocket)
}

fn connected(server: &Server) -> Client {
    over_websocket(server).connect().unwrap()
}

#[test]
fn the_upgrade_on_the_wire() {
    let server = server();
    server.set_cookie("BAYEUX_BROWSER=xyz; Path=/; HttpOnly");
    let client = auto(&server).header("X-Test", "yes").connect().unwrap();
    assert_eq!(client.transport(), Transport::WebSocket);
    server.wait_for("/meta/connect", 2);
    let handshake = &server.messages("/meta/handshake")[0];
    let offered = json!(["websocket", "long-polling"]);
    assert_eq!(handshake["supportedConnectionTypes"], offered);
    assert_eq!(
        server.messages("/meta/connect")[0]["connectionType"],
        "websocket"
    );
    client.publish("/a", &1).unwrap();
    assert_eq!(server.connections(), 1);
    // The next one brings the cookie that the first was given.
    server.script("/b", Script::Hangup);
    assert!(client.publish("/b", &1).is_err());
    client.publish("/a", &2).unwrap();
    let upgrades = server.upgrades();
    for part in [
        "get /cometd http/1.1\r\n",
        "upgrade: websocket\r\n",
        "x-test: yes\r\n",
        "user-agent: bayeux-client/",
    ] {
        assert!(upgrades[0].contains(part), "{part} in {}", upgrades[0]);
    }
    assert!(!upgrades[0].contains("cookie:"));
    assert!(upgrades[1].contains("cookie: bayeux_browser=xyz\r\n"));
}

#[test]
fn websocket_urls_mean_websocket() {
    let server = server();
    let url = format!("ws://{}/cometd", server.addr);
    let client = Client::builder(&url).connect().unwrap();
    assert_eq!(client.transport(), Transport::WebSocket);
    let offered = &server.messages("/meta/handshake")[0]["supportedConnectionTypes"];
    assert_eq!(*offered, json!(["websocket"]));
}

#[test]
fn a_refused_upgrade_leads_to_long_polling_at_once() {
    let wrong_key = b"HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                      Sec-WebSocket-Accept: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    for refusal in [
        NOT_FOUND,
        Upgrade::Hangup,
        Upgrade::Silence,
        Upgrade::Answer(b"SSH-2.0-nonsense\r\n\r\n"),
        Upgrade::Answer(wrong_key),
    ] {
        let server = Server::start();
        server.set_upgrade(refusal);
        let (events, seen) = mpsc::channel();
        let client = auto(&server)
            .network_timeout(Duration::from_millis(300))
            .on_event(move |event| drop(events.send(event.clone())))
            .connect()
            .unwrap();
        assert_eq!(client.transport(), Transport::LongPolling);
        let fell_back = seen.recv_timeout(PATIENCE).unwrap();
        let Event::FellBack { error } = &fell_back else {
            panic!("{fell_back:?}")
        };
        assert!(
            matches!(error, Error::Failed(Failure::Upgrade { .. })),
            "{error}"
        );
        let handshake = &server.messages("/meta/handshake")[0];
        assert_eq!(
            handshake["supportedConnectionTypes"],
            json!(["long-polling"])
        );
        assert_eq!(
            server.messages("/meta/connect")[0]["connectionType"],
            "long-polling"
        );
        client.publish("/a", &1).unwrap();
        assert_eq!(client.stats().failures, 0);
        // A new session stays with what works; a reconnect tries again.
        server.set_upgrade(Upgrade::Accept);
        server.script(
            "/meta/connect",
            Script::Json(
                r#"[{"channel":"/meta/connect","id":"ID","successful":false,"error":"402::x",
                 "advice":{"reconnect":"handshake","interval":0}}]"#,
            ),
        );
        server.push(&json!({"channel": "/b", "data": 1}));
        server.wait_for("/meta/handshake", 2);
        eventually("connected again", || client.stats().sessions == 2);
        assert_eq!(
            (server.upgrades().len(), client.transport()),
            (1, Transport::LongPolling)
        );
        client.wait_connected(PATIENCE).unwrap();
        client.reconnect();
        eventually("back to WebSocket", || {
            client.transport() == Transport::WebSocket
        });
        client.wait_connected(PATIENCE).unwrap();
        client.publish("/a", &2).unwrap();
    }
}

#[test]
fn without_a_choice_it_keeps_trying() {
    let server = Server::start();
    server.set_upgrade(NOT_FOUND);
    let refused = over_websocket(&server)
        .connect_timeout(Duration::from_millis(100))
        .connect();
    let Err(Error::NotConnected(Some(last))) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(last.to_string(), "no WebSocket: HTTP status 404");
    assert_eq!(server.requests().len(), 0);
    let client = over_websocket(&server).start().unwrap();
    let pending = client.publish_later("/a", &1).unwrap();
    eventually("tried twice", || client.stats().failures >= 2);
    server.set_upgrade(Upgrade::Accept);
    pending.wait().unwrap();
    assert_eq!(server.messages("/a").len(), 1);
}

#[test]
fn a_session_goes_on_over_long_polling_where_no_socket_follows() {
    let server = server();
    // Short, as this server would give the message to the connect of the lost socket.
    server.set_hold(Duration::from_millis(50));
    let client = auto(&server).connect().unwrap();
    let subscription = client.subscribe("/a").unwrap();
    server.wait_for("/meta/connect", 2);
    server.set_upgrade(NOT_FOUND);
    server.script("/b", Script::Hangup);
    assert!(client.publish("/b", &1).is_err());
    client.publish("/c", &1).unwrap();
    assert_eq!(client.transport(), Transport::LongPolling);
    assert_eq!(client.stats().sessions, 1);
    let so_far = server.messages("/meta/connect").len();
    server.wait_for("/meta/connect", so_far + 3);
    server.push(&json!({"channel": "/a", "data": 7}));
    assert_eq!(
        subscription.recv_timeout(PATIENCE).unwrap().data_json(),
        "7"
    );
    let connects = server.messages("/meta/connect");
    assert_eq!(connects.last().unwrap()["connectionType"], "long-polling");
}

#[test]
fn a_closed_socket_is_replaced_after_a_pause() {
    let server = server();
    let (events, seen) = mpsc::channel();
    let client = over_websocket(&server)
        .on_event(move |event| drop(events.send((event.clone(), Instant::now()))))
        .connect()
        .unwrap();
    for (count, (code, reason)) in [(1001, "bye"), (1000, ""), (1013, "later")]
        .iter()
        .enumerate()
    {
        // With a connect under way, the end of the socket is trouble.
        let held = |message: &&Value| message["advice"]["timeout"].is_null();
        eventually("a connect is held", || {
            let connects = server.messages("/meta/connect");
            connects.iter().filter(held).count() == count + 1
        });
        server.script("/a", Script::Raw(close(*code, reason)));
        let unacknowledged = Failure::Closed {
            code: Some(*code),
            reason: (*reason).into(),
        };
        let published = client.publish("/a", &1);
        assert_eq!(
            published,
            Err(Error::Unacknowledged(unacknowledged.clone()))
        );
        let mut events = std::iter::from_fn(|| seen.recv_timeout(PATIENCE).ok());
        let trouble = events.find_map(|(event, at)| match event {
            Event::Trouble { error, .. } => Some((error, at)),
            _ => None,
        });
        let (error, at) = trouble.unwrap();
        assert_eq!(error, Error::Failed(unacknowledged));
        eventually("another socket", || server.upgrades().len() == count + 2);
        assert!(
            at.elapsed() >= Duration::from_millis(8),
            "{:?}",
            at.elapsed()
        );
        assert_eq!(server.control(0x88)[..2], code.to_be_bytes(), "the answer");
    }
    client.wait_connected(PATIENCE).unwrap();
    assert_eq!(client.stats().sessions, 1);
    assert_eq!(server.messages("/a").len(), 3, "none is repeated");
}

#[test]
fn what_is_not_a_proper_frame_costs_the_connection_only() {
    let server = server();
    let client = over_websocket(&server)
        .max_response(10_000)
        .connect()
        .unwrap();
    let mut endless = vec![0x81, 127];
    endless.extend_from_slice(&(1_u64 << 40).to_be_bytes());
    let long = format!("[{}]", " ".repeat(10_000));
    for (bytes, code) in [
        (frame(0x81, b"{]"), 1007_u16),
        (frame(0x81, b"\"text\""), 1007),
        (frame(0x81, b"\xff"), 1007),
        (frame(0x82, b"[]"), 1003),
        (frame(0x80, b"[]"), 1002),
        (frame(0x83, b""), 1002),
        (frame(0xc1, b"[]"), 1002),
        (vec![0x81, 0x82, 1, 2, 3, 4, b'[', b']'], 1002),
        (vec![0x09, 0], 1002),
        (frame(0x81, long.as_bytes()), 1009),
        (endless, 1009),
    ] {
        client.wait_connected(PATIENCE).unwrap();
        server.script("/a", Script::Raw(bytes.clone()));
        let published = client.publish("/a", &1);
        assert!(
            matches!(published, Err(Error::Unacknowledged(_))),
            "{bytes:02x?}"
        );
        let told = server.control(0x88);
        assert_eq!(told[..2], code.to_be_bytes(), "{bytes:02x?}");
    }
    client.publish("/b", &1).unwrap();
    assert_eq!(client.stats().sessions, 1, "the session lived on");
}

#[test]
fn pieces_pings_and_empty_messages_are_fine() {
    let server = server();
    let client = connected(&server);
    let subscription = client.subscribe("/a").unwrap();
    let mut bytes = frame(0x81, b"[]");
    bytes.extend(frame(0x01, b"[{\"channel\":\"/a\","));
    bytes.extend(frame(0x89, b"are you there?"));
    bytes.extend(frame(0x8a, b"unasked"));
    bytes.extend(frame(0x80, b"\"data\":1}]"));
    bytes.extend(frame(0x81, b"{\"channel\":\"/a\",\"data\":2}"));
    bytes.extend(frame(0x81, b"[{\"channel\":\"/b\",\"successful\":true}]"));
    server.script("/b", Script::Raw(bytes));
    client.publish("/b", &1).unwrap();
    assert_eq!(server.control(0x8a), b"are you there?");
    let data: Vec<_> = (0..2)
        .map(|_| {
            subscription
                .recv_timeout(PATIENCE)
                .unwrap()
                .data_json()
                .to_owned()
        })
        .collect();
    assert_eq!(data, ["1", "2"]);
    assert_eq!(subscription.try_recv(), Err(RecvError::Empty));
}

#[test]
fn a_connect_that_is_never_answered_means_a_dead_connection() {
    let server = server();
    server.script(
        "/meta/handshake",
        Script::Json(
            r#"[{"channel":"/meta/handshake","id":"ID","successful":true,"clientId":"x",
             "advice":{"reconnect":"retry","interval":0,"timeout":100}}]"#,
        ),
    );
    let client = over_websocket(&server)
        .network_timeout(Duration::from_millis(200))
        .connect()
        .unwrap();
    eventually("another socket", || server.upgrades().len() == 2);
    client.wait_connected(PATIENCE).unwrap();
    assert_eq!(
        (client.stats().sessions, client.client_id().as_deref()),
        (1, Some("x"))
    );
}

#[test]
fn large_messages_go_both_ways() {
    let server = server();
    let client = connected(&server);
    let subscription = client.subscribe("/a").unwrap();
    let large = "x".repeat(3 << 20);
    client.publish("/b", &large).unwrap();
    assert_eq!(server.messages("/b")[0]["data"], large);
    server.push(&json!({"channel": "/a", "data": large}));
    let message = subscription.recv_timeout(PATIENCE).unwrap();
    assert_eq!(message.data::<String>().unwrap(), large);
    assert_eq!(server.connections(), 1);
}

#[test]
fn a_connect_behind_a_large_message_waits_for_it() {
    let server = server();
    let client = over_websocket(&server)
        .queue(100, 1000)
        .network_timeout(PATIENCE)
        .connect()
        .unwrap();
    let subscription = client.subscribe("/a").unwrap();
    server.wait_for("/meta/connect", 2);
    let stopped = server.stop_reading();
    client.post("/b", &"x".repeat(8 << 20)).unwrap();
    server.push(&json!({"channel": "/a", "data": 1}));
    subscription.recv_timeout(PATIENCE).unwrap();
    // In this time it wants to send the next connect.
    std::thread::sleep(Duration::from_millis(200));
    drop(stopped);
    server.wait_for("/meta/connect", 3);
    assert_eq!(server.wait_for("/b", 1).len(), 1);
    assert_eq!(server.connections(), 1);
}

#[test]
fn times_without_end_do_not_overflow() {
    for transport in [Transport::WebSocket, Transport::LongPolling] {
        let server = server();
        let endless = quick(&server.url())
            .transport(transport)
            .network_timeout(Duration::MAX)
            .reply_timeout(Duration::MAX);
        let client = endless.connect_timeout(PATIENCE).connect().unwrap();
        client.publish("/a", &1).unwrap();
        assert_eq!(server.messages("/a")[0]["data"], 1);
    }
}

#[test]
fn dropping_says_goodbye_and_closes_in_order() {
    let server = server();
    let client = over_websocket(&server).linger(PATIENCE).connect().unwrap();
    server.wait_for("/meta/connect", 2);
    client.post("/last", &"words").unwrap();
    let start = Instant::now();
    drop(client);
    assert!(start.elapsed() < PATIENCE / 2, "{:?}", start.elapsed());
    assert_eq!(server.messages("/last").len(), 1);
    assert_eq!(server.messages("/meta/disconnect").len(), 1);
    assert_eq!(server.control(0x88), 1000_u16.to_be_bytes());
}

#[test]
fn dropping_does_not_wait_for_what_never_comes() {
    for upgrade in [Upgrade::Silence, Upgrade::Hangup] {
        let server = Server::start();
        server.set_upgrade(upgrade);
        let client = over_websocket(&server).linger(PATIENCE).start().unwrap();
        eventually("an attempt", || !server.upgrades().is_empty());
        let start = Instant::now();
        drop(client);
        assert!(start.elapsed() < PATIENCE / 2, "{:?}", start.elapsed());
    }
}
