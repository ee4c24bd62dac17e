//! A service that takes its time, and a policy that is asked about everything.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bayeux::AllowedHost;
use bayeux::Config;
use bayeux::{Access, AuthRequest, Decision, Server, ServiceCall};
use serde_json::json;

use super::good::{Good, Latencies};
use super::priority::stand_back;
use super::scale::{alone, few, is_full, post, session, span, tell, tell_latencies};
use crate::common::http::Connection;

/// How long each call takes.
const SERVICE: Duration = Duration::from_secs(1);

#[test]
fn a_service_that_sleeps_holds_up_its_callers_only() {
    let _alone = alone();
    let callers = few(50);
    tell(&format!(
        "\n== a service that takes {SERVICE:?}, {callers} callers, with a policy"
    ));
    let server = server();
    let address = server.local_addrs()[0];
    let good = Good::start(address, few(100));
    good.measured(span().min(Duration::from_secs(2)));
    let peace = good.measured(span());
    // That much of it is the machine's: the same, with another server.
    let beside = is_full().then(|| {
        let other = self::server();
        called(other.local_addrs()[0], callers, &good).0
    });
    let (called, answers) = called(address, callers, &good);
    tell_latencies("others", &peace, &called);
    if let Some(beside) = beside {
        tell_latencies("others, with the calls to another server", &peace, &beside);
    }
    tell(&format!("   {answers} calls were answered"));
    assert!(answers > 0);
    assert_eq!(good.stop(), Vec::<String>::new());
    // Nobody has waited for a call; at the full size nobody has felt any.
    let most = if is_full() { 20.0 } else { 900.0 };
    assert!(called.p99_ms() < most, "{} ms", called.p99_ms());
}

/// A server with a policy and a service that takes its time.
fn server() -> Server {
    let mut config = Config {
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        demo: Some(false),
        ..Config::default()
    };
    config.site.allowed_hosts = vec![AllowedHost::any()];
    config.broker.timeout = Duration::from_secs(2);
    let sleepy = |_: &ServiceCall<'_>| {
        std::thread::sleep(SERVICE);
        Ok(Vec::new())
    };
    Server::builder()
        .config(config)
        .policy(|_: &AuthRequest<'_>| Decision::Allow)
        .service("/service/sleepy", Access::Sessions, sleepy)
        .start()
        .unwrap()
}

/// Lets so many call for a while: what the others feel, and how many calls were answered.
fn called(address: SocketAddr, callers: usize, good: &Good) -> (Latencies, usize) {
    let (over, answers) = (AtomicBool::new(false), AtomicUsize::new(0));
    let latencies = std::thread::scope(|scope| {
        scope.spawn(|| {
            stand_back(is_full());
            for _ in 0..callers {
                scope.spawn(|| call(address, &over, &answers));
            }
        });
        let latencies = good.measured(span() + SERVICE);
        over.store(true, Ordering::Relaxed);
        latencies
    });
    (latencies, answers.into_inner())
}

/// Calls, one after the other.
fn call(address: SocketAddr, over: &AtomicBool, answers: &AtomicUsize) {
    let mut connection = Connection::open(address);
    let id = session(&mut connection);
    let message = json!({"channel": "/service/sleepy", "clientId": id, "data": 1});
    while !over.load(Ordering::Relaxed) {
        connection.send(post(&message));
        // So many callers may wait for long.
        while connection.is_silent_for(Duration::from_millis(100)) {
            if over.load(Ordering::Relaxed) {
                return;
            }
        }
        let reply = connection.response().messages().remove(0);
        let error = reply["error"].as_str().unwrap_or_default();
        assert!(
            reply["successful"] == true || error.starts_with("503:"),
            "{reply}"
        );
        answers.fetch_add(1, Ordering::Relaxed);
    }
}
