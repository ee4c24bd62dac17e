//! A Bayeux server with a worker in another process, which is killed and started again.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod link_support;
#[allow(dead_code, reason = "`main` is not used")]
#[path = "../examples/link_worker.rs"]
mod link_worker;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::Duration;

use bayeux::bridge::Remote;
use bayeux::link::{Config as LinkConfig, Node};
use bayeux::{Config, Server};
use link_support::{LONG, Process, SECRET, eventually, key, linked, role};
use serde_json::{Value, json};

/// Not a test by itself: what the worker's process does.
#[test]
fn worker() {
    if let Some(role) = role() {
        let (address, alias) = role.split_once(' ').unwrap();
        let alias = Some(alias).filter(|alias| !alias.is_empty());
        link_worker::run(address, key(), alias).unwrap();
    }
}

struct KeyFile(PathBuf);

impl KeyFile {
    fn new(name: &str) -> Self {
        let name = format!("bayeux-link-{}-{name}.key", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, [SECRET, b"\n"].concat()).unwrap();
        Self(path)
    }
}

impl Drop for KeyFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn server(key: &KeyFile, authoriser: Option<&str>) -> (Server, String) {
    let config = Config {
        listen: vec![
            "127.0.0.1:0"
                .parse::<std::net::SocketAddr>()
                .unwrap()
                .into(),
        ],
        link: Some(
            "127.0.0.1:0"
                .parse::<std::net::SocketAddr>()
                .unwrap()
                .into(),
        ),
        link_key_file: Some(key.0.clone()),
        link_authoriser: authoriser.map(str::to_owned),
        demo: Some(false),
        ..Config::default()
    };
    let server = Server::builder().config(config).start().unwrap();
    let address = server.link_addr().unwrap().to_string();
    (server, address)
}

/// One request over HTTP, in the plainest way.
fn ask(server: &Server, messages: &Value) -> Vec<Value> {
    let mut stream = TcpStream::connect(server.local_addrs()[0]).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    let body = messages.to_string();
    let head = format!(
        "POST /cometd HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"))
}

fn handshake(server: &Server) -> Vec<Value> {
    let message = json!([{"channel": "/meta/handshake", "version": "1.0",
        "supportedConnectionTypes": ["long-polling"]}]);
    ask(server, &message)
}

fn client(server: &Server) -> String {
    handshake(server)[0]["clientId"]
        .as_str()
        .unwrap()
        .to_owned()
}

fn echo(server: &Server, client: &str) -> Vec<Value> {
    ask(
        server,
        &json!([{"channel": "/service/echo", "clientId": client, "data": "hello"}]),
    )
}

fn is_echo(answer: &[Value]) -> bool {
    answer
        .iter()
        .any(|message| message["data"]["echo"] == "hello")
}

#[test]
fn a_worker_is_killed_and_comes_back_with_its_service_and_subscription() {
    let key = KeyFile::new("worker");
    let (server, address) = server(&key, None);
    let client = client(&server);
    assert!(!is_echo(&echo(&server, &client)), "nobody is there yet");
    let start = || Process::start("worker", &format!("{address} "));
    let mut process = start();
    for round in 0..3 {
        eventually("the service is there", || is_echo(&echo(&server, &client)));
        let publish = json!([{"channel": "/chat/demo", "clientId": client, "data": round}]);
        assert_eq!(ask(&server, &publish)[0]["successful"], true);
        assert_eq!(process.line("/chat/demo: "), round.to_string());
        process.kill();
        eventually("it has gone", || {
            server.link_node().unwrap().nodes().is_empty()
        });
        let gone = echo(&server, &client);
        assert!(
            gone[0]["error"].is_string() && gone[0]["successful"] == false,
            "{gone:?}"
        );
        process = start();
    }
    assert!(server.broker().stats().subscriptions <= 1);
}

#[test]
fn an_authoriser_decides_and_while_it_is_away_nothing_is_allowed() {
    let key = KeyFile::new("authoriser");
    let (server, address) = server(&key, Some("judge"));
    let refused = handshake(&server);
    assert_eq!(refused[0]["successful"], false);
    let error = refused[0]["error"].as_str().unwrap();
    assert!(error.contains("authoriser_unavailable"), "{error}");
    let start = || Process::start("worker", &format!("{address} judge"));
    let mut process = start();
    for _ in 0..2 {
        eventually("it decides", || handshake(&server)[0]["successful"] == true);
        let client = client(&server);
        let subscribe = |pattern: &str| {
            let message = json!([{"channel": "/meta/subscribe", "clientId": client,
                "subscription": pattern}]);
            ask(&server, &message)[0].clone()
        };
        assert_eq!(subscribe("/public/x")["successful"], true);
        let denied = subscribe("/private/x");
        assert_eq!(denied["successful"], false);
        assert!(
            denied["error"]
                .as_str()
                .unwrap()
                .starts_with("403:private:"),
            "{denied}"
        );
        process.kill();
        eventually("it has gone", || {
            server.link_node().unwrap().nodes().is_empty()
        });
        assert_eq!(subscribe("/public/y")["successful"], false);
        process = start();
    }
}

#[test]
fn linked_processes_publish_and_push() {
    let key = KeyFile::new("publish");
    let (server, address) = server(&key, None);
    let client = client(&server);
    let subscribe = json!([{"channel": "/meta/subscribe", "clientId": client,
        "subscription": "/news/*"}]);
    assert_eq!(ask(&server, &subscribe)[0]["successful"], true);
    let node = linked("editor", &address);
    let editor = Remote::new(&node, "editor").unwrap();
    assert!(node.wait_for("bayeux", LONG));
    assert_eq!(editor.publish("/news/today", &json!({"n": 1})), Ok(1));
    assert_eq!(editor.push(&client, "/only/you", &2), Ok(()));
    assert!(editor.publish("/meta/handshake", &1).is_err());
    assert!(editor.push("nobody", "/only/you", &2).is_err());
    let connect = json!([{"channel": "/meta/connect", "clientId": client,
        "connectionType": "long-polling"}]);
    let all = ask(&server, &connect);
    let data = |channel: &str| {
        all.iter()
            .find(|message| message["channel"] == channel)
            .map(|m| m["data"].clone())
    };
    assert_eq!(
        (data("/news/today"), data("/only/you")),
        (Some(json!({"n": 1})), Some(json!(2)))
    );
    let sessions = server.broker().stats().subscriptions;
    editor.subscribe("/chat/**", |_, _| {});
    eventually("it is subscribed", || {
        server.broker().stats().subscriptions == sessions + 1
    });
    drop(editor);
    eventually("it is not", || {
        server.broker().stats().subscriptions == sessions
    });
}

#[test]
fn a_remote_subscribes_again_when_the_server_comes_back() {
    let key_file = KeyFile::new("again");
    let (first, address) = server(&key_file, None);
    let node = Node::start(LinkConfig::named("listener", key())).unwrap();
    node.connect(&address).unwrap();
    let remote = Remote::new(&node, "listener").unwrap();
    let (told, tell) = std::sync::mpsc::channel();
    remote.subscribe("/chat/*", move |_, data| told.send(data.clone()).unwrap());
    let publish = |server: &Server, n: u64| {
        eventually("it is subscribed", || {
            server.broker().stats().subscriptions == 1
        });
        server.broker().publish("/chat/x", &n).unwrap();
        assert_eq!(tell.recv_timeout(LONG).unwrap(), json!(n));
    };
    publish(&first, 1);
    first.shutdown(Duration::from_secs(1));
    // Another server; that it has another address makes no difference to the subscriptions.
    let (second, address) = server(&key_file, None);
    node.connect(&address).unwrap();
    publish(&second, 2);
}

#[test]
fn the_key_is_needed() {
    let config = Config {
        link: Some(std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()),
        ..Config::default()
    };
    assert!(
        config
            .check()
            .unwrap_err()
            .to_string()
            .contains("link_key_file")
    );
}
