//! What one stranger's requests may cost the others: bytes that are made for him or kept of him,
//! and time on an I/O thread. He comes from another address than the well-behaved.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::abuse::Rude;
use super::good::Good;
use super::program::Program;
use super::scale::{alone, few, is_full, metric, span, tell, until};
use crate::common::http::{Connection, request_bytes};
use crate::common::websocket::{Frame, Socket, frame};

const PATIENCE: Duration = Duration::from_secs(20);
const MIB: f64 = (1 << 20) as f64;

fn request(body: &str) -> Vec<u8> {
    let kind = "Content-Type: application/json\r\n";
    request_bytes("POST", "/cometd", kind, body.as_bytes())
}

/// One who asks and does not read, at an address of his own.
fn silent(address: SocketAddr, request: &[u8]) -> Rude {
    let mut rude = Rude::open_elsewhere(address, Some(4096)).expect("a connection");
    rude.send(request, PATIENCE);
    rude
}

/// The worst that anybody waits for an answer of the server for as long as that takes, and how
/// many were given.
fn waits(address: SocketAddr, meanwhile: impl FnOnce()) -> (Duration, usize) {
    let over = AtomicBool::new(false);
    let mut connection = Connection::open(address);
    let ask = move || {
        let begun = Instant::now();
        connection.send(request("[]"));
        connection.response();
        begun.elapsed()
    };
    std::thread::scope(|scope| {
        let over = &over;
        let asking = scope.spawn(move || {
            let mut ask = ask;
            let (mut worst, mut answers) = (Duration::ZERO, 0);
            while !over.load(Ordering::Relaxed) {
                worst = worst.max(ask());
                answers += 1;
                std::thread::sleep(Duration::from_millis(1));
            }
            (worst, answers)
        });
        meanwhile();
        over.store(true, Ordering::Relaxed);
        asking.join().expect("everybody is answered")
    })
}

/// So many sessions of a stranger, each subscribed to `/many`.
fn subscribe_many(address: SocketAddr, count: usize) -> Vec<String> {
    let mut rude = Rude::open_elsewhere(address, None).expect("a connection");
    let mut ids = Vec::new();
    while ids.len() < count {
        let handshakes = vec![json!({"channel": "/meta/handshake"}); 500];
        let replies = rude.post(&Value::Array(handshakes).to_string());
        let replies: Value = serde_json::from_str(&replies.expect("sessions")).unwrap();
        let new = replies.as_array().unwrap().iter();
        let new: Vec<_> = new
            .map(|one| one["clientId"].as_str().unwrap().to_owned())
            .collect();
        let subscribe = |id: &String| {
            json!({"channel": "/meta/subscribe", "clientId": id,
                "subscription": "/many"})
        };
        let subscribes: Value = new.iter().map(subscribe).collect();
        rude.post(&subscribes.to_string()).expect("subscriptions");
        ids.extend(new);
    }
    ids
}

#[test]
fn answers_that_are_longer_than_their_calls() {
    let _alone = alone();
    tell("\n== 8 requests with many calls of a service that answers much, unread");
    let program = Program::start(&["--demo=true", "--timeout=1s"]);
    let good = Good::start(program.address, few(50));
    let mut chat = Rude::open_elsewhere(program.address, None).unwrap();
    let id = chat.handshake().expect("a session");
    let line = "\\u0001".repeat(2000);
    for _ in 0..51 {
        let data = format!(r#"{{"user":"x","chat":"{line}"}}"#);
        let said = format!(r#"[{{"channel":"/chat/demo","clientId":"{id}","data":{data}}}]"#);
        assert!(chat.post(&said).expect("a reply").contains("true"));
    }
    let before = program.metrics();
    let call = format!(r#"{{"channel":"/service/chat/history","clientId":"{id}"}}"#);
    let calls = format!("[{}]", vec![call; few(1000)].join(","));
    let silent: Vec<_> = (0..8)
        .map(|_| silent(program.address, &request(&calls)))
        .collect();
    let refused = r#"bayeux_refusals_total{reason="max_reply_bytes"}"#;
    let mut most: f64 = 0.0;
    until("all calls have been answered or refused", PATIENCE, || {
        let now = program.metrics();
        most = most.max(now.resident - before.resident);
        now.get(refused) >= 8.0 || most > 256.0 * MIB
    });
    tell(&format!("   {:.1} MiB more", most / MIB));
    assert!(most < 48.0 * MIB, "{} MiB more", most / MIB);
    drop(silent);
    assert_eq!(good.stop(), Vec::<String>::new());
}

#[test]
fn answers_that_nobody_reads() {
    let _alone = alone();
    let count = if is_full() { 3000 } else { 40 };
    tell(&format!(
        "\n== {count} connections that do not read an answer of 1 MB"
    ));
    let total = if is_full() { 128.0 } else { 8.0 };
    let flag = format!("--max-output-total={total}MiB");
    let program = Program::start(&[&flag, "--timeout=1s"]);
    let good = Good::start(program.address, few(50));
    good.measured(span());
    let before = program.metrics();
    let long = format!(
        r#"[{{"channel":"/meta/subscribe","subscription":"{}"}}]"#,
        "x".repeat(1_000_000)
    );
    let long = request(&long);
    let mut unread = Vec::new();
    for _ in 0..count {
        unread.push(silent(program.address, &long));
    }
    let refused = r#"bayeux_refusals_total{reason="max_output_total"}"#;
    until("all were answered or refused", PATIENCE, || {
        let now = program.metrics();
        let bytes = now.get("bayeux_bytes_in_total") - before.get("bayeux_bytes_in_total");
        bytes >= count as f64 * 1e6
    });
    let metrics = program.metrics();
    let waiting = metrics.get("bayeux_output_bytes");
    let more = metrics.resident - before.resident;
    tell(&format!(
        "   {:.1} MiB wait, {:.1} MiB more",
        waiting / MIB,
        more / MIB
    ));
    assert!(
        waiting > 0.0 && waiting < total * MIB / 4.0 + 4.0 * MIB,
        "{} MiB",
        waiting / MIB
    );
    assert!(more < waiting + 24.0 * MIB, "{} MiB more", more / MIB);
    let refused = metrics.get(refused);
    assert!(refused > count as f64 / 4.0, "{refused} refused");
    drop(unread);
    until("it is given back", PATIENCE, || {
        metric(&program, "output_bytes") == 0.0
    });
    assert_eq!(good.stop(), Vec::<String>::new());
}

#[test]
fn bodies_that_are_never_finished() {
    let _alone = alone();
    let total = if is_full() { 256 } else { 4 };
    tell("\n== connections with a half-sent body each, more than all may hold");
    let flag = format!("--max-input-total={total}MiB");
    let program = Program::start(&[&flag, "--timeout=1s"]);
    let good = Good::start(program.address, few(50));
    let body = "x".repeat(1_000_000);
    let half = &request(&format!("[{body}]"))[..950_000];
    let count = total * 2;
    let _halves: Vec<_> = (0..count).map(|_| silent(program.address, half)).collect();
    let refused = r#"bayeux_refusals_total{reason="max_input_total"}"#;
    until("some were refused", PATIENCE, || {
        program.metrics().get(refused) > count as f64 / 3.0
    });
    // Whoever else sends in two parts is served.
    let mut honest = Connection::open(program.address);
    let whole = request(&format!("[{}]", " ".repeat(900_000)));
    let mut socket = Socket::open(program.address).upgraded();
    for at in 0..4 {
        let (first, rest) = whole.split_at(200_000 * (at + 1));
        honest.send(first);
        std::thread::sleep(Duration::from_millis(20));
        honest.send(rest);
        assert_eq!(honest.response().status, 200);
        let message = frame(0x81, format!("[{}]", " ".repeat(900_000)).as_bytes());
        let (first, rest) = message.split_at(200_000 * (at + 1));
        socket.send_raw(first);
        std::thread::sleep(Duration::from_millis(20));
        socket.send_raw(rest);
        assert!(matches!(socket.frame(), Frame::Text(text) if text == "[]"));
    }
    assert_eq!(good.stop(), Vec::<String>::new());
}

#[test]
fn one_request_that_is_for_very_many() {
    let _alone = alone();
    let receivers = if is_full() { 24_000 } else { 400 };
    tell(&format!(
        "\n== one request with 1,000 publishes to {receivers} receivers"
    ));
    let program = Program::start(&["--io-threads=1"]);
    let ids = subscribe_many(program.address, receivers);
    let publish = json!({"channel": "/many", "clientId": ids[0], "data": 1});
    let batch = Value::Array(vec![publish; 1000]).to_string();
    let mut rude = Rude::open_elsewhere(program.address, None).unwrap();
    let begun = Instant::now();
    let mut took = Duration::ZERO;
    let (worst, answers) = waits(program.address, || {
        let replies = rude.post(&batch).expect("replies");
        took = begun.elapsed();
        assert_eq!(replies.matches(r#""successful":true"#).count(), 1000);
    });
    tell(&format!(
        "   it took {took:.2?}; others waited {worst:.2?} at the most"
    ));
    assert!(answers >= 10, "{answers} answers in {took:?}");
    assert!(
        worst < took / 2 || worst < Duration::from_millis(100),
        "{worst:?} of {took:?}"
    );
}

#[test]
fn a_socket_that_carries_very_many_sessions() {
    let _alone = alone();
    let sessions = if is_full() { 24_000 } else { 1000 };
    tell(&format!(
        "\n== one WebSocket with {sessions} sessions that sends `[]`"
    ));
    let program = Program::start(&["--io-threads=1"]);
    let one = frames(&program, 1);
    let many = frames(&program, sessions);
    tell(&format!(
        "   1,000 of them: {one:.2?} with one session, {many:.2?} with many"
    ));
    assert!(
        many < one * 4 + Duration::from_millis(200),
        "{many:?}, {one:?}"
    );
}

/// How long a thousand empty frames take on a socket with so many sessions.
fn frames(program: &Program, sessions: usize) -> Duration {
    let mut socket = Socket::open(program.address).upgraded();
    let handshake = json!({"channel": "/meta/handshake"});
    let mut left = sessions;
    while left > 0 {
        let some = left.min(500);
        left -= some;
        let mut ask = |messages: Value| -> Vec<Value> {
            socket.send_text(&messages.to_string());
            match socket.frame() {
                Frame::Text(text) => serde_json::from_str(&text).unwrap(),
                other => panic!("{other:?}"),
            }
        };
        let new = ask(Value::Array(vec![handshake.clone(); some]));
        let connect = |one: &Value| {
            json!({"channel": "/meta/connect", "clientId": one["clientId"],
                "connectionType": "websocket"})
        };
        let replies = ask(new.iter().map(connect).collect());
        assert!(replies.iter().all(|reply| reply["successful"] == true));
    }
    let begun = Instant::now();
    for _ in 0..20 {
        (0..50).for_each(|_| socket.send_text("[]"));
        for _ in 0..50 {
            assert!(matches!(socket.frame(), Frame::Text(text) if text == "[]"));
        }
    }
    begun.elapsed()
}
