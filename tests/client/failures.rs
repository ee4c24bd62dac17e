//! The client on real sockets, against a scripted server that misbehaves.

use std::net::TcpListener;
use std::sync::{Mutex, mpsc};
use std::time::Duration;

use bayeux::client::{Client, ClientBuilder, Error, Event, Failure};
use serde_json::json;

use crate::common::wait::{PATIENCE, eventually};
use crate::support::{Script, Server, quick};

fn builder(server: &Server) -> ClientBuilder {
    quick(&server.url())
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
    assert_eq!(first.recv_timeout(PATIENCE).unwrap().data_json(), "1");
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
    let mut events = std::iter::from_fn(|| seen.recv_timeout(PATIENCE).ok());
    assert!(events.any(replaced));
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
        eventually("it has failed", || client.stats().failures > failures);
        client.wait_connected(PATIENCE).unwrap();
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
    client.wait_connected(PATIENCE).unwrap();
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
    server.script("/a", Script::Delay(Duration::from_secs(3)));
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
fn large_responses_are_refused() {
    let server = Server::start();
    let limited = builder(&server).max_response(1000).connect().unwrap();
    server.wait_for("/meta/connect", 2);
    server.push(&json!({"channel": "/a", "data": "x".repeat(2000)}));
    server.wait_for("/meta/connect", 3);
    assert_eq!(limited.stats().received, 0);
    assert_eq!(limited.stats().failures, 1);
}

#[cfg(feature = "client-tls")]
#[test]
fn an_encrypted_client_refuses_a_plain_server() {
    let server = Server::start();
    let url = format!("https://{}/cometd", server.addr);
    let refused = quick(&url)
        .connect_timeout(Duration::from_millis(300))
        .connect();
    assert!(matches!(refused, Err(Error::NotConnected(Some(_)))));
}
