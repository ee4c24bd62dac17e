//! A Bayeux server with a worker in another process, which is killed and started again.

#[allow(dead_code, reason = "`main` is not used")]
#[path = "../../examples/link_worker.rs"]
mod link_worker;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bayeux::bridge::{Bridge, Judgement, Remote, Request};
use bayeux::link::{Config as LinkConfig, ExportError, Fault, Node};
use bayeux::{Access, ServiceCall, ServiceReply};
use bayeux::{Config, Server, ServerBuilder};
use serde_json::{Value, json};

use crate::common::wait::{PATIENCE, eventually};
use crate::support::{Process, SECRET, key, linked, role};

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
    start(Server::builder(), key, authoriser)
}

fn start(builder: ServerBuilder, key: &KeyFile, authoriser: Option<&str>) -> (Server, String) {
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
    let server = builder.config(config).start().unwrap();
    let address = server.link_addr().unwrap().to_string();
    (server, address)
}

/// One request over HTTP, in the plainest way.
fn ask(server: &Server, messages: &Value) -> Vec<Value> {
    let mut stream = TcpStream::connect(server.local_addrs()[0]).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let body = messages.to_string();
    let head = format!(
        "POST /cometd HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
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
    let start = || Process::start("bridge::worker", &format!("{address} "));
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
    let start = || Process::start("bridge::worker", &format!("{address} judge"));
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
fn an_authoriser_can_be_asked_for_by_the_name_of_its_process() {
    let key = KeyFile::new("named");
    let (server, address) = server(&key, Some("court/judge"));
    let is_allowed = || handshake(&server)[0]["successful"] == true;
    let (_a, impostor) = remote("impostor", &address);
    let judging = impostor.authorise("judge", |_| Judgement::allow()).unwrap();
    assert!(server.link_node().unwrap().wait_for("judge", PATIENCE));
    assert!(!is_allowed(), "another process has the alias");
    drop(judging);
    let (node, court) = remote("court", &address);
    let is_free = || node.aliases().iter().all(|a| &*a.alias != "judge");
    eventually("the alias is free", is_free);
    let _judging = court.authorise("judge", |_| Judgement::allow()).unwrap();
    eventually("it decides", is_allowed);
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
    assert!(node.wait_for("bayeux", PATIENCE));
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
        assert_eq!(tell.recv_timeout(PATIENCE).unwrap(), json!(n));
    };
    publish(&first, 1);
    first.shutdown(Duration::from_secs(1));
    // Another server; that it has another address makes no difference to the subscriptions.
    let (second, address) = server(&key_file, None);
    node.connect(&address).unwrap();
    publish(&second, 2);
}

/// Who has answered the echo; `None` if nobody has.
fn answered_by(server: &Server, client: &str) -> Option<String> {
    let answer = echo(server, client);
    let by = answer
        .iter()
        .find_map(|message| message["data"]["by"].as_str());
    by.map(str::to_owned)
}

fn by(name: &'static str) -> impl Fn(&Request) -> Result<Value, Fault> {
    move |_| Ok(json!({ "by": name }))
}

/// A process that takes part, with a name of its own.
fn remote(name: &str, address: &str) -> (Node, Remote) {
    let node = linked(name, address);
    let remote = Remote::new(&node, name).unwrap();
    assert!(node.wait_for("bayeux", PATIENCE));
    (node, remote)
}

#[test]
fn a_service_of_the_server_is_back_when_the_linked_one_has_gone() {
    let key = KeyFile::new("covered");
    let own = |_: &ServiceCall<'_>| Ok(vec![ServiceReply::data(&json!({"by": "server"}))?]);
    let builder = Server::builder().service("/service/echo", Access::Sessions, own);
    let (server, address) = start(builder, &key, None);
    let client = client(&server);
    let is_by = |name: &str| answered_by(&server, &client).as_deref() == Some(name);
    assert!(is_by("server"));
    for _ in 0..2 {
        let (node, remote) = remote("worker", &address);
        let service = remote.serve("echo", by("worker")).unwrap();
        eventually("the worker answers", || is_by("worker"));
        drop(service);
        eventually("the server answers", || is_by("server"));
        remote.serve("echo", by("worker")).unwrap().keep();
        eventually("the worker answers", || is_by("worker"));
        // The process goes, without a word about the service.
        node.shutdown(Duration::ZERO);
        eventually("the server answers", || is_by("server"));
    }
}

#[test]
fn of_two_processes_with_one_service_the_second_is_refused() {
    let key = KeyFile::new("refused");
    let (server, address) = server(&key, None);
    let client = client(&server);
    let is_by = |name: &str| answered_by(&server, &client).as_deref() == Some(name);
    let ((_a, first), (_b, second)) = (remote("first", &address), remote("second", &address));
    let service = first.serve("echo", by("first")).unwrap();
    assert!(second.node().wait_for("service:echo", PATIENCE));
    for refused in [
        second.serve("echo", by("second")),
        second.serve_shared("echo", by("second")),
    ] {
        assert!(matches!(refused, Err(ExportError::Taken { .. })));
    }
    eventually("the first answers", || is_by("first"));
    drop(service);
    eventually("nobody answers", || answered_by(&server, &client).is_none());
    let free = || {
        second
            .node()
            .aliases()
            .iter()
            .all(|a| &*a.alias != "service:echo")
    };
    eventually("it is free", free);
    let _service = second.serve("echo", by("second")).unwrap();
    eventually("the second answers", || is_by("second"));
}

#[test]
fn processes_that_share_a_service_have_it_in_turn() {
    let key = KeyFile::new("shared");
    let (server, address) = server(&key, None);
    let client = client(&server);
    let ((_a, first), (_b, second)) = (remote("first", &address), remote("second", &address));
    let one = first.serve_shared("echo", by("first")).unwrap();
    let _two = second.serve_shared("echo", by("second")).unwrap();
    let owners = || {
        let aliases = server.link_node().unwrap().aliases();
        aliases
            .iter()
            .filter(|a| &*a.alias == "service:echo")
            .count()
    };
    eventually("both are known", || owners() == 2);
    let answers = || -> Vec<String> {
        let each = (0..4).filter_map(|_| answered_by(&server, &client));
        each.collect()
    };
    eventually("the service is there", || answers().len() == 4);
    let mut four = answers();
    four.sort();
    assert_eq!(four, ["first", "first", "second", "second"]);
    drop(one);
    eventually("one is left", || owners() == 1);
    assert_eq!(answers(), ["second"; 4], "nobody notices");
    let call = json!([{"channel": "/service/echo", "clientId": client, "id": 7, "data": 1}]);
    let answer = &ask(&server, &call)[0];
    assert_eq!(
        (&answer["id"], &answer["successful"]),
        (&json!(7), &json!(true))
    );
}

#[test]
fn processes_that_stop_reading_hold_up_no_services() {
    let key = KeyFile::new("stuck");
    let service = |_: &ServiceCall<'_>| Ok(vec![ServiceReply::data(&json!({"echo": "hello"}))?]);
    let builder = Server::builder().service("/service/echo", Access::Sessions, service);
    let (server, address) = start(builder, &key, None);
    let gate = Arc::new(Mutex::new(()));
    let closed = gate.lock().unwrap();
    // One for each thread that services have.
    let threads = Config::default().workers;
    let before = server.broker().stats().subscriptions;
    let stuck: Vec<_> = (0..threads)
        .map(|n| {
            let (node, remote) = remote(&format!("stuck{n}"), &address);
            let gate = Arc::clone(&gate);
            remote.subscribe("/busy", move |_, _| drop(gate.lock()));
            (node, remote)
        })
        .collect();
    eventually("they are subscribed", || {
        server.broker().stats().subscriptions == before + threads as u64
    });
    let publisher = server.local_client();
    let client = client(&server);
    // Until they take no more, and further; others wait once for what is tried at first.
    let mut waits = Vec::new();
    for n in 0..300 {
        for _ in 0..100 {
            publisher.publish("/busy", &n).unwrap();
        }
        let begun = Instant::now();
        assert!(is_echo(&echo(&server, &client)));
        waits.push(begun.elapsed());
    }
    let long = waits.iter().filter(|wait| wait.as_millis() > 500).count();
    assert!(long < 4, "{waits:?}");
    drop(closed);
    drop(stuck);
}

#[test]
fn a_bridge_that_was_dropped_does_nothing_more() {
    let (server, _) = server(&KeyFile::new("dropped"), None);
    let broker = server.broker();
    let hub = Node::start(LinkConfig::named("hub", key())).unwrap();
    let address = hub.listen("127.0.0.1:0").unwrap()[0].to_string();
    let bridge = Bridge::install(broker, &hub).unwrap();
    let (_node, remote) = remote("worker", &address);
    let client = client(&server);
    remote.subscribe("/chat/*", |_, _| {});
    remote.serve("echo", by("worker")).unwrap().keep();
    let is_there = || answered_by(&server, &client).is_some();
    eventually("it takes part", || {
        is_there() && broker.stats().subscriptions == 1
    });
    drop(bridge);
    assert!(!is_there() && broker.stats().subscriptions == 0);
    remote.serve("late", by("worker")).unwrap().keep();
    assert!(hub.wait_for("service:late", PATIENCE));
    let late = json!([{"channel": "/service/late", "clientId": client, "data": 1}]);
    // Observers are told in order; when this one has been, so would have been the bridge.
    let (told, tell) = std::sync::mpsc::channel();
    hub.observe(move |event| drop(told.send(format!("{event:?}"))));
    remote.serve("later", by("worker")).unwrap().keep();
    while !tell
        .recv_timeout(PATIENCE)
        .unwrap()
        .contains("service:later")
    {}
    assert_eq!(ask(&server, &late)[0]["successful"], false);
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
