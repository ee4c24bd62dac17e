//! A stranger who keeps user code busy: the others have their turn, and threads are left for them.
//!
//! The stranger has an address of its own.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use bayeux::{Access, AllowedHost, AuthRequest, Config, Decision, Server, ServiceCall};
use bayeux::{ContentRequest, Response};
use serde_json::json;

use super::good::Good;
use super::scale::{alone, few, post, session, span, tell, tell_latencies};
use crate::common::http::{Connection, request_bytes};

const STRANGER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// How long the policy takes for each message of the stranger.
const POLICY: Duration = Duration::from_millis(5);

/// How long the slow services and the slow handler take.
const SLOW: Duration = Duration::from_secs(2);

/// What anybody else waits for at the most.
const AT_ONCE: Duration = Duration::from_millis(900);

fn server() -> Server {
    let mut config = Config {
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        demo: Some(false),
        workers: 4,
        ..Config::default()
    };
    config.broker.timeout = Duration::from_secs(2);
    config.site.allowed_hosts = vec![AllowedHost::any()];
    let slow = |_: &ServiceCall<'_>| {
        std::thread::sleep(SLOW);
        Ok(Vec::new())
    };
    let handler = |request: &ContentRequest| {
        if request.path == "/slow" {
            std::thread::sleep(SLOW);
        }
        Response::new(204)
    };
    let mut builder = Server::builder()
        .config(config)
        .policy(|request: &AuthRequest<'_>| {
            if request.channel == "/stranger" {
                std::thread::sleep(POLICY);
            }
            Decision::Allow
        })
        .service("/service/fast", Access::Anyone, |_: &ServiceCall<'_>| {
            Ok(Vec::new())
        })
        .content("/slow", 0, handler)
        .content("/fast", 0, handler);
    for n in 0..4 {
        builder = builder.service(&format!("/service/slow/{n}"), Access::Anyone, slow);
    }
    builder.start().unwrap()
}

/// How long somebody else waits for an answer.
fn waited(connection: &mut Connection, request: Vec<u8>) -> Duration {
    let begun = Instant::now();
    connection.send(request);
    let status = connection.response().status;
    assert!(matches!(status, 200 | 204), "{status}");
    begun.elapsed()
}

#[test]
fn who_publishes_much_past_a_slow_policy_waits_alone() {
    let _alone = alone();
    tell("\n== ten requests of 1,000 publishes past a policy that takes 5 ms");
    let server = server();
    let address = server.local_addrs()[0];
    let good = Good::start(address, few(500));
    good.measured(span().min(Duration::from_secs(2)));
    let peace = good.measured(span());
    let mut other = Connection::open(address);
    let id = session(&mut other);
    let mut stranger = Connection::open_from(STRANGER, address);
    let stranger = session(&mut stranger);
    let publish = json!({"channel": "/stranger", "clientId": stranger, "data": 1});
    let batch = serde_json::Value::from(vec![publish; 1000]).to_string();
    let kind = "Content-Type: application/json\r\n";
    let batch = request_bytes("POST", "/cometd", kind, batch.as_bytes());
    let send = |_| {
        let mut connection = Connection::open_from(STRANGER, address);
        connection.send(&batch);
        connection
    };
    let _strangers: Vec<_> = (0..10).map(send).collect();
    let meanwhile = good.measured(span());
    let subscribe = json!({"channel": "/meta/subscribe", "clientId": id, "subscription": "/a"});
    let waited = waited(&mut other, post(&subscribe));
    tell(&format!("   another client's subscribe: {waited:.2?}"));
    tell_latencies("others", &peace, &meanwhile);
    assert!(waited < AT_ONCE, "{waited:?}");
    assert!(meanwhile.p99_ms() < 900.0, "{} ms", meanwhile.p99_ms());
    assert_eq!(good.stop(), Vec::<String>::new());
}

#[test]
fn slow_services_and_handlers_leave_threads_to_others() {
    let _alone = alone();
    tell("\n== four slow services, and six requests to a slow handler");
    let call = |channel: &str| post(&json!({"channel": channel, "data": 1}));
    let get = |path| request_bytes("GET", path, "", b"");
    // What is begun goes on, so each has a server of its own.
    let beside = |from: &[u8], slow: &[Vec<u8>], other: Vec<u8>| {
        let server = server();
        let address = server.local_addrs()[0];
        let addresses = from.iter().cycle();
        let send = |(slow, from): (&Vec<u8>, &u8)| {
            let from = Ipv4Addr::new(127, 0, 0, *from);
            let mut connection = Connection::open_from(from, address);
            connection.send(slow);
            connection
        };
        let _callers: Vec<_> = slow.iter().zip(addresses).map(send).collect();
        waited(&mut Connection::open(address), other)
    };
    let slow: Vec<_> = (0..4)
        .map(|n| call(&format!("/service/slow/{n}")))
        .collect();
    let service = beside(&[2], &slow, call("/service/fast"));
    let slow = vec![get("/slow"); 6];
    let handler = beside(&[2], &slow, get("/fast"));
    let many = beside(&[2, 3, 4, 5, 6, 7], &slow, get("/fast"));
    tell(&format!(
        "   an unrelated service: {service:.2?}; an unrelated handler: {handler:.2?}, {many:.2?}"
    ));
    let longest = service.max(handler).max(many);
    assert!(longest < AT_ONCE, "{service:?}, {handler:?}, {many:?}");
}
