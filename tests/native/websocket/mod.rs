//! WebSocket and EventSource on the native connector, over real sockets.

mod closing;
mod events;
mod frames;
mod slowness;
mod working;

use std::time::Duration;

use bayeux::Publication;
use bayeux::Publisher;
use bayeux::{Access, ServiceCall, ServiceError, ServiceReply};
use serde_json::{Value, json};

use crate::common::websocket::{Client, Frame, Socket, UPGRADE, World, frame};

#[test]
fn a_push_is_a_frame_of_its_own_and_does_not_end_the_hold() {
    let world = World::new();
    let mut client = world.client("/a");
    client.hold();
    assert_eq!(world.publish("/a", &json!({"n": 1})), 1);
    assert_eq!(client.socket.text(), r#"[{"channel":"/a","data":{"n":1}}]"#);
    let large = "x".repeat(100_000);
    world.publish("/a", &json!(large));
    let expected = format!(r#"[{{"channel":"/a","data":"{large}"}}]"#);
    assert!(client.socket.text() == expected, "a large one too");
    for n in 0..100 {
        world.publish("/a", &json!(n));
    }
    for n in 0..100 {
        let expected = format!(r#"[{{"channel":"/a","data":{n}}}]"#);
        assert_eq!(client.socket.text(), expected);
    }
    client.socket.quiet();
    world.until("all is written", |stats| stats.broker.queued_bytes == 0);
}

#[test]
fn what_was_queued_comes_with_the_connect() {
    let world = World::new();
    let mut client = world.unconnected();
    client.subscribe("/a");
    world.publish("/a", &json!(1));
    client.socket.quiet();
    client.socket.tell(&client.connect(0));
    let items = [client.socket.item(), client.socket.item()];
    let data: Vec<_> = items.iter().filter_map(|item| item.get("data")).collect();
    assert_eq!(data, [&json!(1)]);
}

#[test]
fn own_messages_come_before_the_reply() {
    let world = World::new();
    let mut client = world.client("/a");
    client.socket.tell(&client.message("/a", 1));
    assert_eq!(client.socket.item()["data"], 1);
    assert_eq!(client.socket.item()["id"], "p");

    let mut unconnected = world.unconnected();
    unconnected.subscribe("/b");
    unconnected.socket.tell(&unconnected.message("/b", 2));
    assert_eq!(unconnected.socket.item()["data"], 2);
    assert_eq!(unconnected.socket.item()["id"], "p");
}

#[test]
fn frames_may_follow_the_upgrade_at_once_and_come_in_pieces() {
    let world = World::new();
    let handshake = json!([{"channel": "/meta/handshake", "id": "1"}]).to_string();
    let mut bytes = UPGRADE.as_bytes().to_vec();
    bytes.extend(frame(0x81, handshake.as_bytes()));
    bytes.extend(frame(0x89, b"ping"));
    bytes.extend(frame(0x01, &handshake.as_bytes()[..10]));
    bytes.extend(frame(0x80, &handshake.as_bytes()[10..]));
    for piece in [bytes.len(), 100, 1] {
        let mut socket = world.tcp();
        for part in bytes.chunks(piece) {
            socket.send_raw(part);
        }
        assert!(socket.head().contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        assert_eq!(socket.item()["successful"], true);
        assert_eq!(socket.frame(), Frame::Pong(b"ping".to_vec()));
        assert_eq!(socket.item()["successful"], true);
    }
}

#[test]
fn an_upgrade_waits_for_the_answers_before_it() {
    let world = World::with(|config| config.broker.timeout = Duration::from_millis(300));
    let client = world.client("/a");
    let connect = json!([{"channel": "/meta/connect", "clientId": client.id}]).to_string();
    let mut socket = world.tcp();
    let post = format!(
        "POST /cometd HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{connect}{UPGRADE}",
        connect.len()
    );
    socket.send_raw(post.as_bytes());
    assert!(socket.head().starts_with("HTTP/1.1 200 "));
    assert!(socket.up_to("}]").contains("/meta/connect"));
    assert!(socket.head().starts_with("HTTP/1.1 101 "));
    socket.handshake();
}

#[test]
fn upgrades_that_are_refused() {
    let world = World::with(|config| {
        config.site.allowed_origins = vec!["http://app.example".parse().unwrap()]
    });
    let with = |change: &dyn Fn(&str) -> String| {
        let mut socket = world.tcp();
        socket.send_raw(change(UPGRADE).as_bytes());
        socket.head()
    };
    let head = with(&|ask| ask.replace("Version: 13", "Version: 8"));
    assert!(head.starts_with("HTTP/1.1 426 ") && head.contains("Sec-WebSocket-Version: 13\r\n"));
    let head = with(&|ask| ask.replace("Sec-WebSocket-Version: 13\r\n", ""));
    assert!(head.starts_with("HTTP/1.1 426 "), "{head}");
    let head = with(&|ask| ask.replace("dGhlIHNhbXBsZSBub25jZQ==", "short"));
    assert!(head.starts_with("HTTP/1.1 400 "), "{head}");
    let head = with(&|ask| ask.replace("Upgrade: websocket\r\n", ""));
    assert!(head.starts_with("HTTP/1.1 405 "), "{head}");
    let origin = |origin: &str| {
        let line = format!("Origin: {origin}\r\nHost: h\r\n");
        with(&|ask| ask.replace("Host: h\r\n", &line))
    };
    assert!(origin("http://evil.example").starts_with("HTTP/1.1 403 "));
    assert!(origin("http://app.example").starts_with("HTTP/1.1 101 "));
    assert!(origin("http://h").starts_with("HTTP/1.1 101 "));
}

/// Browsers give a connection up when none of the subprotocols that they offer is chosen.
#[test]
fn the_first_subprotocol_is_chosen() {
    let world = World::new();
    let mut socket = world.tcp();
    let line = "Sec-WebSocket-Protocol: bayeux, other\r\nHost: h\r\n";
    socket.send_raw(UPGRADE.replace("Host: h\r\n", line).as_bytes());
    let head = socket.head();
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert!(
        head.contains("\r\nSec-WebSocket-Protocol: bayeux\r\n"),
        "{head}"
    );
    socket.handshake();
    let mut socket = world.tcp();
    socket.send_raw(UPGRADE.as_bytes());
    assert!(!socket.head().contains("Sec-WebSocket-Protocol"));
}

#[test]
fn what_is_offered_depends_on_the_connector() {
    let world = World::new();
    let mut socket = world.socket();
    socket.tell(&json!({"channel": "/meta/handshake"}));
    let types = socket.item()["supportedConnectionTypes"].clone();
    assert_eq!(types[0], "websocket");
    assert_eq!(types[1], "eventsource");

    let tiny = World::with(|config| config.connector = bayeux::config::Connector::TinyHttp);
    let mut socket = tiny.tcp();
    socket.send_raw(UPGRADE.as_bytes());
    assert!(socket.head().starts_with("HTTP/1.1 405 "));
}

#[test]
fn an_empty_array_is_answered_in_kind() {
    let world = World::new();
    let mut socket = world.socket();
    socket.send_text("[]");
    assert_eq!(socket.text(), "[]");
    socket.send_text(" { \"channel\" : \"/meta/handshake\" } ");
    assert_eq!(socket.item()["successful"], true, "an object alone");
}

#[test]
fn a_session_moves_between_connections() {
    let world = World::new();
    let mut client = world.client("/a");
    client.hold();
    let mut other = world.socket();
    other.tell(&client.connect(0));
    assert_eq!(other.item()["successful"], true);
    assert_eq!(client.socket.item()["error"], "409::connect_superseded");
    assert_eq!(client.socket.closing().0, 1000);
    world.publish("/a", &json!(1));
    assert_eq!(other.item()["data"], 1);
    other.reset();
    world.until("the socket is gone", |stats| stats.connections == 0);
    world.publish("/a", &json!(2));
    let mut last = world.socket();
    last.tell(&client.connect(20_000));
    assert_eq!(last.item()["data"], 2);
    last.quiet();
}

#[test]
fn a_socket_that_others_use_stays() {
    let world = World::new();
    let mut client = world.client("/one");
    let mut second = world.client("/two");
    client.socket.tell(&second.connect(0));
    assert_eq!(client.socket.item()["successful"], true);
    assert_eq!(second.socket.closing().0, 1000, "it had no other session");
    // The second session moves on, the first stays.
    let mut third = world.socket();
    third.tell(&second.connect(0));
    assert_eq!(third.item()["successful"], true);
    client.socket.quiet();
    world.publish("/one", &json!(1));
    world.publish("/two", &json!(2));
    assert_eq!(client.socket.item()["data"], 1);
    assert_eq!(third.item()["data"], 2);
    client.socket.quiet();
}

/// The held connect is answered with the word that it is over, then the disconnect, then nothing.
fn expect_farewell(client: &mut Client) {
    let connect = client.socket.item();
    assert_eq!(
        (&connect["id"], &connect["successful"]),
        (&json!("c"), &json!(true))
    );
    assert_eq!(connect["advice"]["reconnect"], "none");
    assert_eq!(client.socket.item()["id"], "d");
    client.socket.quiet();
}

#[test]
fn the_held_connect_is_answered_before_the_disconnect() {
    let world = World::new();
    let mut client = world.client("/a");
    client.hold();
    let bye = json!({"channel": "/meta/disconnect", "clientId": client.id, "id": "d"});
    client.socket.tell(&bye);
    expect_farewell(&mut client);
    let again = client.socket.handshake();
    assert_ne!(again, client.id, "the socket can be used again");
}

/// Its last message comes back to it, and is on its way when it says goodbye in the same write.
#[test]
fn the_held_connect_is_answered_before_the_disconnect_also_behind_a_message() {
    let world = World::new();
    let mut client = world.client("/a");
    client.hold();
    let bye = json!({"channel": "/meta/disconnect", "clientId": client.id, "id": "d"});
    let frames = [client.message("/a", 1), bye].map(|message| {
        let text = json!([message]).to_string();
        frame(0x81, text.as_bytes())
    });
    client.socket.send_raw(&frames.concat());
    assert_eq!(client.socket.item()["data"], 1);
    assert_eq!(client.socket.item()["id"], "p");
    expect_farewell(&mut client);
    let stats = world.server.broker().stats();
    assert_eq!((stats.sessions, stats.queued_bytes), (0, 0));
    assert_eq!(stats.dropped_with_session, 0);
}

#[test]
fn a_client_that_is_sent_away_is_told() {
    let world = World::new();
    let notice = json!({"channel": "/meta/disconnect", "successful": true});
    let dismiss = |id: &str| {
        let id = bayeux::ClientId::parse(id).unwrap();
        assert!(world.server.broker().disconnect(id));
    };
    let mut idle = world.client("/a");
    dismiss(&idle.id);
    assert_eq!(idle.socket.item(), notice);
    let mut held = world.client("/a");
    held.hold();
    dismiss(&held.id);
    assert_eq!(held.socket.item(), notice);
    assert_eq!(held.socket.item()["advice"]["reconnect"], "none");
    held.socket.quiet();
}

/// Whoever is pushed a message and sent away gets both, and then an advice that ends it: with a
/// connect that is held, without one, and at any moment.
#[test]
fn a_push_and_then_the_end_lose_nothing() {
    let world = World::new();
    let broker = world.server.broker();
    for round in 0..60 {
        let mut client = world.client("/a");
        let held = world.server.stats().broker.held;
        if round % 3 < 2 {
            client.socket.tell(&client.connect(20_000));
        }
        if round % 3 == 0 {
            world.until("it is held", |stats| stats.broker.held == held + 1);
        }
        let id = bayeux::ClientId::parse(&client.id).unwrap();
        let channel = "/kicked".try_into().unwrap();
        let message = Publication::new(&channel, &round.to_string(), Publisher::Nobody);
        broker.push(id, message).unwrap();
        assert!(broker.disconnect(id));
        assert_eq!(client.socket.item()["data"], round, "round {round}");
        let farewell = json!({"channel": "/meta/disconnect", "successful": true});
        assert_eq!(client.socket.item(), farewell, "round {round}");
        if round % 3 == 2 {
            client.socket.tell(&client.connect(20_000));
        }
        let reply = client.socket.item();
        assert_eq!(reply["successful"], true, "round {round}: {reply}");
        assert_eq!(reply["advice"]["reconnect"], "none", "round {round}");
    }
    world.until("all are gone", |stats| stats.broker.sessions == 0);
}

/// What is queued when the server stops goes out before the sockets close.
#[test]
fn what_waits_goes_out_before_the_server_stops() {
    let world = World::new();
    let mut client = world.client("/a");
    let large = "x".repeat(1000);
    for _ in 0..1000 {
        world.publish("/a", &json!(large));
    }
    let server = world.server;
    let stop = std::thread::spawn(move || server.shutdown(Duration::from_secs(10)));
    for n in 0..1000 {
        assert_eq!(client.socket.item()["data"], large, "{n}");
    }
    assert!(matches!(client.socket.frame(), Frame::Close(1001, _)));
    stop.join().unwrap();
}

#[test]
fn delivery_bound_to_connects() {
    let world = World::with(|config| config.broker.meta_connect_deliver_only = true);
    let mut client = world.client("/a");
    world.publish("/a", &json!(1));
    client.socket.quiet();
    client.socket.tell(&client.connect(20_000));
    assert_eq!(client.socket.text(), r#"[{"channel":"/a","data":1}]"#);
    assert_eq!(client.socket.item()["id"], "c");
    client.hold();
    world.publish("/a", &json!(2));
    assert_eq!(client.socket.item()["data"], 2);
    assert_eq!(client.socket.item()["id"], "c");
    world.until("all is written", |stats| stats.broker.queued_messages == 0);
}

#[test]
fn frames_behind_user_code_wait_for_it() {
    let slow = |call: &ServiceCall<'_>| -> Result<Vec<ServiceReply>, ServiceError> {
        std::thread::sleep(Duration::from_millis(100));
        Ok(vec![ServiceReply::raw_data(call.data)])
    };
    let world = World::built(
        |_| {},
        |builder| builder.service("/service/slow", Access::Sessions, slow),
    );
    let mut client = world.client("/a");
    client.hold();
    let mut bytes = Vec::new();
    for n in 0..3 {
        for channel in ["/service/slow", "/a"] {
            let message = json!([client.message(channel, n)]).to_string();
            bytes.extend(frame(0x81, message.as_bytes()));
        }
    }
    bytes.extend(frame(0x89, b""));
    client.socket.send_raw(&bytes);
    let mut seen: Vec<(String, Value)> = Vec::new();
    while seen.len() < 6 {
        let item = client.socket.item();
        if let Some(data) = item.get("data") {
            let channel = item["channel"].as_str().unwrap().to_owned();
            seen.push((channel, data.clone()));
        }
    }
    let expected: Vec<(String, Value)> = (0..3)
        .flat_map(|n| ["/service/slow", "/a"].map(|channel| (channel.into(), json!(n))))
        .collect();
    assert_eq!(seen, expected);
}

/// Opens a socket with these header lines; the cookie that its answer sets, if any.
fn opened_with(world: &World, lines: &str) -> (Socket, Option<String>) {
    let mut socket = world.tcp();
    let host = format!("Host: h\r\n{lines}");
    socket.send_raw(UPGRADE.replace("Host: h\r\n", &host).as_bytes());
    let head = socket.head();
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    let set = head
        .lines()
        .find_map(|line| line.strip_prefix("Set-Cookie: "));
    let cookie = set.and_then(|set| set.split(';').next()).map(str::to_owned);
    (socket, cookie)
}

#[test]
fn a_session_of_a_socket_without_a_cookie_is_that_sockets() {
    let world = World::with(|config| config.broker.require_browser_cookie = true);
    let (mut own, cookie) = opened_with(&world, "");
    let cookie = cookie.expect("the answer sets one");
    assert!(cookie.starts_with("BAYEUX_BROWSER="), "{cookie}");
    let id = own.handshake();
    let messages = [
        json!({"channel": "/a", "clientId": id, "data": 1}),
        json!({"channel": "/meta/subscribe", "clientId": id, "subscription": "/a"}),
        json!({"channel": "/meta/connect", "clientId": id, "advice": {"timeout": 0}}),
    ];
    let mine = format!("Cookie: {cookie}\r\n");
    let made_up = format!("Cookie: BAYEUX_BROWSER={}\r\n", "1".repeat(64));
    for (lines, error) in [
        ("", Some("402::session_unknown")),
        (&made_up, Some("402::session_unknown")),
        (&mine, None),
    ] {
        let (mut other, set) = opened_with(&world, lines);
        assert_eq!(set.is_some(), error.is_some(), "one that is genuine stays");
        for message in &messages {
            other.tell(message);
            assert_eq!(other.item()["error"].as_str(), error, "{message}");
            let body = message.to_string();
            let mut http = world.tcp();
            let length = body.len();
            let post = format!(
                "POST /cometd HTTP/1.1\r\nHost: h\r\n{lines}Content-Length: {length}\r\n\r\n{body}"
            );
            http.send_raw(post.as_bytes());
            http.head();
            let reply: Value = serde_json::from_str(&http.up_to("}]")).unwrap();
            assert_eq!(reply[0]["error"].as_str(), error, "{message} by POST");
        }
    }
}

#[test]
fn sockets_are_given_no_cookie_unless_sessions_are_bound_to_one() {
    let (_, cookie) = opened_with(&World::new(), "");
    assert_eq!(cookie, None);
}

#[test]
fn cookies_count_for_sockets_too() {
    let world = World::with(|config| config.broker.require_browser_cookie = true);
    let mut http = world.tcp();
    let body = r#"{"channel":"/meta/handshake"}"#;
    let post = format!(
        "POST /cometd HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    http.send_raw(post.as_bytes());
    let head = http.head();
    let (_, rest) = head.split_once("Set-Cookie: ").unwrap();
    let cookie = rest.split(';').next().unwrap();
    let reply: Value = serde_json::from_str(&http.up_to("}]")).unwrap();
    let connect = json!({"channel": "/meta/connect", "clientId": reply[0]["clientId"]});
    for (lines, error) in [
        ("Host: h\r\n".to_owned(), Some("402::session_unknown")),
        (format!("Host: h\r\nCookie: {cookie}\r\n"), None),
    ] {
        let mut socket = world.tcp();
        socket.send_raw(UPGRADE.replace("Host: h\r\n", &lines).as_bytes());
        assert!(socket.head().starts_with("HTTP/1.1 101 "));
        socket.tell(&connect);
        assert_eq!(socket.item()["error"].as_str(), error);
    }
}
