//! The program and the server behind TLS: every transport, what is refused, certificates that are
//! read again, and messages for a peer that does not take them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bayeux::Config;
use bayeux::config::Connector;
use bayeux::tcp::tls::{TlsAcceptor, certificates, server_config};
use bayeux::{Server, StartError};
use serde_json::json;

use crate::common::certificates::file;
use crate::common::https::Https;
use crate::common::program::{Running, output, text};
use crate::common::wait::PATIENCE;

/// A program that serves by TLS with these files.
fn serve(certificate: &Path, key: &Path) -> (Running, String) {
    serve_with(certificate, key, &[])
}

/// The same with more flags.
fn serve_with(certificate: &Path, key: &Path, flags: &[&str]) -> (Running, String) {
    let (certificate, key) = (certificate.to_str().unwrap(), key.to_str().unwrap());
    let own = [
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--tls-cert",
        certificate,
        "--tls-key",
        key,
    ];
    let all: Vec<_> = own.into_iter().chain(flags.iter().copied()).collect();
    let running = Running::start(&all);
    let url = running.line("listening on https://");
    let address = url.split_once('/').unwrap().0.to_owned();
    (running, address)
}

#[test]
fn every_transport() {
    let (mut running, address) = serve(&file("server.pem"), &file("server.key"));
    let mut https = Https::connect(&address);
    let (head, reply) = https.post(&json!([{"channel": "/meta/handshake", "version": "1.0",
        "supportedConnectionTypes": ["long-polling"]}]));
    assert_eq!(https.protocol(), Some(&b"http/1.1"[..]));
    let cookie = head.lines().find(|line| line.starts_with("Set-Cookie: "));
    assert!(cookie.unwrap().ends_with("; Secure"), "{head}");
    let id = reply[0]["clientId"].clone();
    let (_, reply) = https.post(&json!([
        {"channel": "/meta/connect", "clientId": id, "connectionType": "long-polling",
            "advice": {"timeout": 0}},
        {"channel": "/meta/subscribe", "clientId": id, "subscription": "/a"}
    ]));
    assert_eq!(
        (&reply[0]["successful"], &reply[1]["successful"]),
        (&json!(true), &json!(true))
    );

    // Over a WebSocket another publishes, and gets the confirmation.
    let mut socket = Https::connect(&address);
    socket.upgrade();
    socket.send_frame(
        &json!([{"channel": "/meta/handshake", "version": "1.0",
            "supportedConnectionTypes": ["websocket"]}])
        .to_string(),
    );
    let reply = socket.frame();
    let other = reply[0]["clientId"].clone();
    socket.send_frame(&json!([{"channel": "/a", "clientId": other, "data": 1}]).to_string());
    assert_eq!(socket.frame()[0]["successful"], true);
    let (_, reply) = https.post(&json!([{"channel": "/meta/connect", "clientId": id,
        "connectionType": "long-polling"}]));
    assert_eq!(reply[0]["data"], 1);

    // A stream of events.
    let mut events = Https::connect(&address);
    events.send(format!(
        "GET /cometd/{} HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n",
        other.as_str().unwrap()
    ));
    let head = events.head();
    assert!(head.contains("text/event-stream"), "{head}");

    running.signal("TERM");
    assert!(running.wait().success());
}

/// A proxy that does not end TLS says before it for whom it connects.
#[test]
fn the_proxy_protocol_goes_before_tls() {
    let pair = (&file("server.pem"), &file("server.key"));
    let v1 = b"PROXY TCP6 ::ffff:192.0.2.7 ::1 5000 443\r\n".to_vec();
    let mut v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    v2.extend_from_slice(&[192, 0, 2, 8, 127, 0, 0, 1, 0x13, 0x88, 1, 0xbb]);
    // Who a header names is no proxy, and its own reports are not believed.
    let request = "POST /cometd HTTP/1.1\r\nHost: x\r\nOrigin: http://evil.example\r\n\
                   X-Forwarded-For: 6.6.6.6\r\nContent-Length: 0\r\n\r\n";
    for (header, client) in [(&v1, "192.0.2.7"), (&v2, "192.0.2.8")] {
        let flags = ["--proxy-protocol=true", "--trusted-proxy=127.0.0.1"];
        let (running, address) = serve_with(pair.0, pair.1, &flags);
        let mut https = Https::connect_behind(&address, header);
        https.send(request);
        assert!(https.head().starts_with("HTTP/1.1 403 "));
        let line = running.line_with("refused (");
        let told = format!("refused (origin): POST \"/cometd\" from {client}: ");
        assert!(line.contains(&told), "{line}");
        // From a trusted proxy the header is required.
        let mut socket = std::net::TcpStream::connect(&address).unwrap();
        std::io::Write::write_all(&mut socket, b"\x16\x03\x01 hello").unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let end = std::io::Read::read(&mut socket, &mut [0; 9]);
        assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
        let line = running.line_with("refused (");
        assert!(
            line.contains("refused (pre_connect): a connection from 127.0.0.1:"),
            "{line}"
        );
        assert!(
            line.contains("decided by proxy_protocol, trusted_proxy"),
            "{line}"
        );
    }
    // From anybody else it is not understood: this is neither TLS nor believed.
    let flags = ["--proxy-protocol=true", "--trusted-proxy=10.0.0.0/8"];
    let (_running, address) = serve_with(pair.0, pair.1, &flags);
    let mut socket = std::net::TcpStream::connect(&address).unwrap();
    std::io::Write::write_all(&mut socket, &v1).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut answer = Vec::new();
    drop(std::io::Read::read_to_end(&mut socket, &mut answer));
    assert_ne!(answer.first(), Some(&0x16), "no handshake begins");
    let (head, _) = Https::connect(&address).post(&json!([]));
    assert!(
        head.starts_with("HTTP/1.1 200 "),
        "others connect directly: {head}"
    );
}

/// Certificate and key in a folder of its own, to be changed under way.
struct Files(PathBuf);

impl Files {
    fn new() -> Self {
        let files = Self(std::env::temp_dir().join(format!("bayeux-tls-{}", std::process::id())));
        std::fs::create_dir_all(&files.0).unwrap();
        files.put("server");
        files
    }

    fn put(&self, name: &str) {
        for end in ["pem", "key"] {
            std::fs::copy(file(&format!("{name}.{end}")), self.path(end)).unwrap();
        }
    }

    fn path(&self, end: &str) -> PathBuf {
        self.0.join(format!("now.{end}"))
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn certificates_are_read_again() {
    let files = Files::new();
    let (mut running, address) = serve(&files.path("pem"), &files.path("key"));
    let handshake = json!([{"channel": "/meta/handshake", "version": "1.0",
        "supportedConnectionTypes": ["long-polling"]}]);
    let mut old = Https::connect(&address);
    old.post(&handshake);
    assert_eq!(
        old.certificates(),
        certificates(&file("server.pem")).unwrap()
    );

    files.put("renewed");
    running.signal("HUP");
    while !running.line("").contains("certificate and key read again") {}
    let renewed = certificates(&file("renewed.pem")).unwrap();
    let mut new = Https::connect(&address);
    new.post(&handshake);
    assert_eq!(new.certificates(), renewed);

    std::fs::write(files.path("key"), "no key").unwrap();
    running.signal("HUP");
    let line = loop {
        let line = running.line("");
        if line.contains("stay as they were") {
            break line;
        }
    };
    assert!(line.contains("now.key has no private key"), "{line}");
    let mut newest = Https::connect(&address);
    newest.post(&handshake);
    assert_eq!(newest.certificates(), renewed);
    // The connections from before are still there.
    old.post(&handshake);
    new.post(&handshake);
    running.signal("TERM");
    assert!(running.wait().success());
}

#[test]
fn what_cannot_be_served_is_said() {
    let (server, key, other) = (file("server.pem"), file("server.key"), file("renewed.key"));
    let path = |path: &PathBuf| path.to_str().unwrap().to_owned();
    let (server, key, other) = (path(&server), path(&key), path(&other));
    for (arguments, code, said) in [
        (vec!["--tls-cert", &server], 2, "cannot be without tls_key"),
        (vec!["--tls-key", &key], 2, "cannot be without tls_cert"),
        (
            vec!["--tls-cert", "/no/such", "--tls-key", &key],
            1,
            "cannot read /no/such",
        ),
        (
            vec!["--tls-cert", &server, "--tls-key", &other],
            1,
            "renewed.key is not the key of",
        ),
        (
            vec![
                "--tls-cert",
                &server,
                "--tls-key",
                &key,
                "--connector",
                "tiny-http",
            ],
            2,
            "tiny-http cannot serve TLS",
        ),
    ] {
        let mut all = vec!["serve", "--listen", "127.0.0.1:0"];
        all.extend(arguments);
        let output = output(&all);
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{stderr}");
        assert!(stderr.contains(said), "{stderr}");
    }
}

fn config() -> Config {
    let mut config = Config {
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        demo: Some(false),
        workers: 2,
        ..Config::default()
    };
    config.native.io_threads = 1;
    config.native.write_timeout = Duration::from_millis(300);
    config
}

fn acceptor() -> Arc<TlsAcceptor> {
    let tls = server_config(&file("server.pem"), &file("server.key"), &["http/1.1"]);
    Arc::new(TlsAcceptor::new(tls.unwrap()))
}

#[test]
fn an_embedder_brings_its_own_certificate() {
    let server = Server::builder()
        .config(config())
        .tls(acceptor())
        .start()
        .unwrap();
    assert!(server.url().starts_with("https://"));
    assert_eq!(server.scheme(), "https");
    server.reload_tls().unwrap();
    let tiny = Config {
        connector: Connector::TinyHttp,
        ..config()
    };
    let refused = Server::builder().config(tiny).tls(acceptor()).start();
    assert!(matches!(refused, Err(StartError::Config(_))));
}

#[test]
fn messages_that_the_peer_did_not_take_come_again() {
    let mut config = config();
    config.broker.queue.bytes = 64 << 20;
    let server = Server::builder()
        .config(config)
        .tls(acceptor())
        .start()
        .unwrap();
    let address = server.local_addrs()[0].to_string();
    let mut client = Https::connect(&address);
    let (_, reply) = client.post(&json!([{"channel": "/meta/handshake", "version": "1.0",
        "supportedConnectionTypes": ["long-polling"]}]));
    let id = reply[0]["clientId"].clone();
    client.post(&json!([{"channel": "/meta/connect", "clientId": id,
        "connectionType": "long-polling", "advice": {"timeout": 0}},
        {"channel": "/meta/subscribe", "clientId": id, "subscription": "/a"}]));
    let connect = json!([{"channel": "/meta/connect", "clientId": id,
        "connectionType": "long-polling"}]);
    // More than the kernel takes for a peer that does not read.
    let long = "x".repeat(16 << 20);
    server.broker().publish("/a", &json!([0, long])).unwrap();
    let expected = 1;
    // It asks, does not read, and is cut by the write timeout or by its own reset.
    let mut deaf = Https::connect_with_small_buffer(&address);
    deaf.post_only(&connect);
    std::thread::sleep(Duration::from_millis(150));
    let queued = server.stats().broker.queued_messages;
    assert!(queued > 0, "not delivered: a part of them waits");
    deaf.reset();
    server
        .broker()
        .publish("/a", &json!([expected, "last"]))
        .unwrap();
    let mut seen = Vec::new();
    let mut again = Https::connect(&address);
    while seen.last() != Some(&json!(expected)) {
        let (_, reply) = again.post(&connect);
        let messages = reply.as_array().unwrap().iter();
        seen.extend(messages.filter_map(|item| item.get("data").map(|data| data[0].clone())));
    }
    let all: Vec<_> = (0..=expected).map(|n| json!(n)).collect();
    assert_eq!(seen, all);
}
