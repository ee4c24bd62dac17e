//! Streams of events.

use std::time::Duration;

use bayeux::Publication;
use bayeux::Publisher;
use serde_json::{Value, json};

use crate::common::websocket::{A_WHILE, Client, Socket, World};

fn ask(id: &str) -> String {
    format!("GET /cometd/{id} HTTP/1.1\r\nHost: h\r\nAccept: text/event-stream\r\n\r\n")
}

/// The stream of a session, with its head read.
fn open(world: &World, client: &Client) -> Socket {
    let mut stream = world.tcp();
    stream.send_raw(ask(&client.id).as_bytes());
    let head = stream.head();
    assert!(
        head.starts_with("HTTP/1.1 200 ") && head.contains("text/event-stream"),
        "{head}"
    );
    assert_eq!(stream.up_to("\n\n"), "retry: 5000\n\n");
    stream
}

fn post(world: &World, message: &Value) -> Value {
    let mut http = world.tcp();
    let body = message.to_string();
    let head = "POST /cometd HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length:";
    http.send_raw(format!("{head} {}\r\n\r\n{body}", body.len()).as_bytes());
    http.head();
    let mut items: Vec<Value> = serde_json::from_str(&http.up_to("}]")).unwrap();
    items.remove(0)
}

fn heartbeat(client: &Client) -> Value {
    json!({"channel": "/meta/connect", "clientId": client.id, "connectionType": "eventsource"})
}

#[test]
fn events_carry_the_queue_and_what_comes_later() {
    let world = World::with(|config| config.broker.timeout = Duration::from_secs(20));
    let mut client = world.unconnected();
    client.subscribe("/a");
    world.publish("/a", &json!(1));
    world.publish("/a", &json!(2));
    let mut stream = open(&world, &client);
    let first = stream.up_to("\n\n");
    assert_eq!(
        first,
        "data: [{\"channel\":\"/a\",\"data\":1},{\"channel\":\"/a\",\"data\":2}]\n\n"
    );
    for n in 3..50 {
        world.publish("/a", &json!(n));
        let event = stream.up_to("\n\n");
        assert_eq!(
            event,
            format!("data: [{{\"channel\":\"/a\",\"data\":{n}}}]\n\n")
        );
    }
    let reply = post(&world, &heartbeat(&client));
    assert_eq!(
        reply["advice"],
        json!({"reconnect": "retry", "interval": 20_000, "timeout": 0})
    );
    let broken = r#"[{"channel":"/a","clientId":"#.to_owned()
        + &json!(client.id).to_string()
        + ",\"data\":[1,\n2]}]";
    client.socket.send_text(&broken);
    let event = stream.up_to("\n\n");
    assert_eq!(
        event,
        "data: [{\"channel\":\"/a\",\"data\":[1,\ndata: 2]}]\n\n"
    );
    world.until("all is written", |stats| stats.broker.queued_bytes == 0);
}

#[test]
fn a_stream_keeps_its_session_alive_and_then_does_not() {
    let world = World::with(|config| {
        config.broker.timeout = Duration::from_millis(100);
        config.broker.max_interval = Duration::from_millis(200);
    });
    let mut client = world.unconnected();
    client.subscribe("/a");
    let mut stream = open(&world, &client);
    std::thread::sleep(Duration::from_millis(800));
    world.publish("/a", &json!(1));
    assert!(stream.up_to("\n\n").contains("\"data\":1"));
    drop(stream);
    world.until("it expires", |stats| stats.broker.sessions == 0);
}

#[test]
fn streams_that_end() {
    let world = World::new();
    let mut client = world.unconnected();
    client.subscribe("/a");
    let mut first = open(&world, &client);
    let mut second = open(&world, &client);
    first.ends();
    world.publish("/a", &json!(1));
    assert!(second.up_to("\n\n").contains("\"data\":1"));
    let bye = json!({"channel": "/meta/disconnect", "clientId": client.id});
    assert_eq!(post(&world, &bye)["successful"], true);
    second.ends();

    let client = world.unconnected();
    let mut stream = open(&world, &client);
    let id = bayeux::ClientId::parse(&client.id).unwrap();
    let message = Publication::new(&"/a".try_into().unwrap(), "1", Publisher::Nobody);
    world.server.broker().push(id, message).unwrap();
    world.server.broker().disconnect(id);
    let events = stream.up_to("\"none\"}}]\n\n");
    let items = events.split("\n\n").filter(|event| !event.is_empty());
    let items = items.flat_map(|event| {
        let event = event.strip_prefix("data: ").unwrap();
        serde_json::from_str::<Vec<Value>>(event).unwrap()
    });
    let expected = [
        json!({"channel": "/a", "data": 1}),
        json!({"channel": "/meta/disconnect", "successful": true}),
        json!({"channel": "/meta/connect", "successful": true, "advice": {"reconnect": "none"}}),
    ];
    assert_eq!(items.collect::<Vec<_>>(), expected);
    stream.ends();

    let mut client = world.unconnected();
    client.subscribe("/a");
    let mut stream = open(&world, &client);
    world.publish("/a", &json!(7));
    world.server.shutdown(Duration::from_secs(1));
    assert!(stream.up_to("\n\n").contains("\"data\":7"));
    stream.ends();
}

#[test]
fn a_connect_that_a_stream_leaves_behind_is_answered_in_its_time() {
    let world = World::new();
    let mut client = world.client("/a");
    let second = world.unconnected();
    client.socket.tell(&second.connect(0));
    assert_eq!(client.socket.item()["successful"], true);
    client.socket.tell(&client.connect(400));
    world.until("held", |stats| stats.broker.held == 1);
    let _stream = open(&world, &client);
    let reply = client.socket.item();
    assert_eq!(
        (&reply["channel"], &reply["successful"]),
        (&json!("/meta/connect"), &json!(true))
    );
}

#[test]
fn a_client_that_polls_again_ends_its_stream() {
    let world = World::with(|config| config.broker.timeout = Duration::from_millis(100));
    let client = world.unconnected();
    let mut stream = open(&world, &client);
    let mut poll = heartbeat(&client);
    poll["connectionType"] = "long-polling".into();
    assert_eq!(post(&world, &poll)["successful"], true);
    stream.ends();
}

#[test]
fn no_stream_for_nobody() {
    let world = World::new();
    let mut socket = world.tcp();
    for id in ["nobody", &"0".repeat(26)] {
        socket.send_raw(ask(id).as_bytes());
        let head = socket.head();
        assert!(
            head.starts_with("HTTP/1.1 404 ") && head.contains("application/json"),
            "{head}"
        );
        let body: Value = serde_json::from_str(&socket.up_to("}]")).unwrap();
        assert_eq!(body[0]["error"], "402::session_unknown");
        assert_eq!(body[0]["advice"]["reconnect"], "handshake");
    }
}

#[test]
fn what_a_peer_sends_on_a_stream_means_nothing() {
    let world = World::new();
    let mut client = world.unconnected();
    client.subscribe("/a");
    let mut stream = open(&world, &client);
    stream.send_raw(&vec![b'x'; 1 << 20]);
    world.publish("/a", &json!(1));
    assert!(stream.up_to("\n\n").contains("\"data\":1"));
    stream.stream.shutdown(std::net::Shutdown::Write).unwrap();
    stream.ends();
    std::thread::sleep(A_WHILE);
    world.publish("/a", &json!(2));
    let mut again = open(&world, &client);
    assert!(again.up_to("\n\n").contains("\"data\":2"));
}

#[test]
fn what_waits_for_some_holds_up_the_others_of_their_address_until_it_is_read() {
    let world = World::with(|config| {
        config.broker.traffic.max_output_total = 1 << 16;
        config.broker.timeout = Duration::from_secs(20);
    });
    let mut slow = [(); 3].map(|()| world.client("/slow"));
    let mut other = world.client("/other");
    let mut client = world.unconnected();
    client.subscribe("/events");
    let mut stream = open(&world, &client);
    let large = json!("x".repeat(400_000));
    let mut sent = 0;
    while world.server.stats().broker.output_bytes < 1 << 14 {
        world.publish("/slow", &large);
        sent += 1;
        std::thread::sleep(Duration::from_millis(20));
    }
    world.publish("/other", &json!(1));
    world.publish("/events", &json!(2));
    other.socket.tell(&other.connect(0));
    other.socket.quiet();
    stream.quiet();
    let mut http = world.tcp();
    http.send_raw(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(http.head().starts_with("HTTP/1.1 503 "));
    // All at once: what one of them does not read holds up the others too.
    std::thread::scope(|scope| {
        for client in &mut slow {
            let large = &large;
            scope.spawn(move || {
                (0..sent).for_each(|_| assert_eq!(client.socket.item()["data"], *large));
            });
        }
    });
    assert_eq!(other.socket.item()["data"], 1);
    assert_eq!(other.socket.item()["successful"], true);
    assert!(stream.up_to("\n\n").contains("\"data\":2"));
    world.until("all is given back", |stats| stats.broker.output_bytes == 0);
}
