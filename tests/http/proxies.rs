//! Clients behind proxies, and the access log.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bayeux::{AuthRequest, Decision};
use serde_json::{Value, json};

use super::harness::{On, World, post_on};

/// What policies were told of the addresses: ip and whether it was secure.
type Seen = Arc<Mutex<Vec<(String, bool)>>>;

fn world(on: On, trusted: &str) -> (World, Seen) {
    let seen = Seen::default();
    let list = Arc::clone(&seen);
    let policy = move |request: &AuthRequest<'_>| {
        let peer = request.peer;
        list.lock()
            .unwrap()
            .push((peer.ip.to_string(), peer.secure));
        Decision::Allow
    };
    let trust = |config: &mut bayeux::Config| {
        config.trusted_proxy = trusted
            .split_terminator(',')
            .map(|one| one.parse().unwrap())
            .collect();
    };
    (
        World::built(on, trust, |builder| builder.policy(policy)),
        seen,
    )
}

fn handshake(world: &World, headers: &str) -> crate::common::http::Response {
    post_on(
        &mut world.connection(),
        headers,
        &json!({"channel": "/meta/handshake"}),
    )
}

const REPORT: &str = "X-Forwarded-For: 6.6.6.6, 1.2.3.4\r\nX-Forwarded-Proto: https\r\n";

pub(crate) fn nobody_is_believed_by_default(on: On) {
    for trusted in ["", "10.0.0.0/8"] {
        let (world, seen) = world(on, trusted);
        handshake(&world, REPORT);
        assert_eq!(*seen.lock().unwrap(), [("127.0.0.1".to_owned(), false)]);
    }
}

pub(crate) fn a_trusted_proxy_is_believed(on: On) {
    let (world, seen) = world(on, "127.0.0.0/8,10.0.0.0/8");
    handshake(&world, REPORT);
    handshake(&world, "X-Forwarded-For: 1.2.3.4, 10.9.9.9\r\n");
    handshake(
        &world,
        "Forwarded: for=\"[2001:db8::1]:4711\";proto=https\r\n",
    );
    handshake(&world, "X-Forwarded-For: 1.2.3.4, not an address\r\n");
    let expected = [
        ("1.2.3.4", true),
        ("1.2.3.4", false),
        ("2001:db8::1", true),
        ("127.0.0.1", false),
    ];
    let expected = expected.map(|(ip, secure)| (ip.to_owned(), secure));
    assert_eq!(*seen.lock().unwrap(), expected);
}

pub(crate) fn a_limit_per_address_counts_the_client(on: On) {
    let world = World::with(on, |config| {
        config.trusted_proxy = vec!["127.0.0.1".parse().unwrap()];
        config.broker.max_held_per_ip = Some(1);
        config.broker.timeout = Duration::from_secs(20);
    });
    let from = |ip: &str| format!("X-Forwarded-For: {ip}\r\n");
    let clients = [from("1.1.1.1"), from("2.2.2.2"), from("1.1.1.1")];
    let [a, b, c] = clients.map(|headers| world.client_with(&headers));
    let _held = [a.hold(&world), b.hold(&world)];
    let mut refused = c.connect();
    let response = refused.connection.response();
    assert_eq!(response.status, 503);
    assert_eq!(response.array()[0]["error"], "503::held_limit");
}

pub(crate) fn secure_behind_a_proxy(on: On) {
    let (world, _) = world(on, "127.0.0.1");
    for (headers, secure) in [("", false), (REPORT, true)] {
        let response = handshake(&world, headers);
        let line = response.header("set-cookie").unwrap();
        assert_eq!(line.ends_with("; Secure"), secure, "{line}");
    }
}

pub(crate) fn pages_of_the_reported_host_are_own(on: On) {
    let page = "Origin: https://app.example\r\nX-Forwarded-Host: app.example\r\n";
    let (believing, _) = world(on, "127.0.0.1");
    assert_eq!(handshake(&believing, page).status, 200);
    let (other, _) = world(on, "");
    assert_eq!(handshake(&other, page).status, 403);
}

/// A log file of its own, removed with the test.
struct LogFile(PathBuf);

impl LogFile {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("access-{}-{number}.log", std::process::id());
        Self(PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name))
    }

    /// The lines, once the server is gone.
    fn lines(&self) -> Vec<Value> {
        let text = fs::read_to_string(&self.0).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
        lines.collect()
    }
}

impl Drop for LogFile {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.0));
    }
}

fn logging(on: On, file: &LogFile) -> World {
    World::with(on, |config| {
        config.trusted_proxy = vec!["127.0.0.1".parse().unwrap()];
        config.access_log = Some(file.0.clone());
        config.demo = Some(true);
    })
}

fn column(lines: &[Value], name: &str) -> Vec<Value> {
    lines.iter().map(|line| line[name].clone()).collect()
}

pub(crate) fn a_line_for_every_request(on: On) {
    let file = LogFile::new();
    let world = logging(on, &file);
    let mut connection = world.connection();
    let page = connection.request("GET", "/index.html?token=secret", REPORT, b"");
    connection.get("/nothing");
    connection.request("PUT", "/index.html", "", b"");
    let handshake = connection.request(
        "POST",
        "/cometd/handshake",
        "",
        br#"[{"channel":"/meta/handshake"}]"#,
    );
    let id = handshake.messages()[0]["clientId"]
        .as_str()
        .unwrap()
        .to_owned();
    connection.request("POST", &format!("/cometd/{id}"), "", b"not json");
    drop(connection);
    drop(world);
    let lines = file.lines();
    let paths = [
        "/index.html",
        "/nothing",
        "/index.html",
        "/cometd/handshake",
        "/cometd/*",
    ];
    assert_eq!(column(&lines, "path"), paths);
    assert_eq!(
        column(&lines, "method"),
        ["GET", "GET", "PUT", "POST", "POST"]
    );
    assert_eq!(column(&lines, "status"), [200, 404, 405, 200, 400]);
    assert_eq!(
        (&lines[0]["client"], &lines[0]["peer"]),
        (&json!("1.2.3.4"), &json!("127.0.0.1"))
    );
    assert_eq!(lines[1]["client"], "127.0.0.1");
    let bytes = lines[0]["bytes"].as_u64().unwrap();
    assert!(
        bytes > page.text().len() as u64,
        "the head counts too: {bytes}"
    );
    for line in &lines {
        assert!(
            line["time"].as_str().unwrap().ends_with('Z') && line["ms"].is_number(),
            "{line}"
        );
    }
    let text = fs::read_to_string(&file.0).unwrap();
    assert!(!text.contains("secret") && !text.contains(&id), "{text}");
}

pub(crate) fn upgrades_and_streams_are_logged(on: On) {
    let file = LogFile::new();
    let world = logging(on, &file);
    let client = world.client();
    let mut socket = world.connection();
    socket.send(
        "GET /cometd HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    assert_eq!(socket.response().status, 101);
    let mut stream = world.connection();
    stream.send(format!(
        "GET /cometd/{} HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n",
        client.id
    ));
    world.until("the stream is open", |stats| stats.connections >= 3);
    let mut wrong = world.connection();
    wrong.send("nonsense\r\n\r\n");
    assert_eq!(wrong.response().status, 400);
    let mut large = world.connection();
    large.send("POST /cometd HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n");
    assert_eq!(large.response().status, 413);
    let held = client.hold(&world);
    drop(held);
    world.until("its peer is missed", |stats| stats.broker.held == 0);
    drop((client, socket, stream, wrong));
    drop(world);
    let lines = file.lines();
    // Handshake and first connect, then as above; the held connect was never answered.
    let found: Vec<String> = lines
        .iter()
        .map(|line| format!("{} {} {}", line["method"], line["path"], line["status"]))
        .collect();
    for expected in [
        "\"GET\" \"/cometd\" 101",
        "\"GET\" \"/cometd/*\" 200",
        "null null 400",
        "\"POST\" \"/cometd\" 413",
        "\"POST\" \"/cometd\" null",
    ] {
        let times = found.iter().filter(|line| *line == expected).count();
        assert_eq!(times, 1, "{expected} in {found:?}");
    }
}
