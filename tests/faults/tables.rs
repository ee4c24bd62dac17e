//! What one address puts into the server's tables, and what is left of it when it has ended.

use std::time::Duration;

use serde_json::{Value, json};

use super::good::Good;
use super::program::Program;
use super::scale::{alone, lenient, metric, post, session, tell, until};
use crate::common::http::{Connection, request_bytes};

/// Well-behaved clients.
const GOOD: usize = 50;
const BEHIND_A_PROXY: &str = "--trusted-proxy=127.0.0.1";
/// Their connects are held no longer, so that they end soon.
const SHORT: &str = "--timeout=1s";
const MIB: f64 = 1_048_576.0;

/// Somebody whom a proxy reports under an address of its own.
struct Stranger(Connection);

impl Stranger {
    fn open(program: &Program) -> Self {
        Self(Connection::open(program.address))
    }

    fn ask(&mut self, messages: &Value) -> Vec<Value> {
        let headers = "Content-Type: application/json\r\nX-Forwarded-For: 192.0.2.66\r\n";
        let body = messages.to_string();
        let request = request_bytes("POST", "/cometd", headers, body.as_bytes());
        self.0.send(request);
        self.0.response().messages()
    }

    /// So many sessions in one request.
    fn sessions(&mut self, count: usize) -> Vec<Value> {
        let handshakes = vec![json!({"channel": "/meta/handshake"}); count];
        let replies = self.ask(&handshakes.into());
        let ids = replies.iter().map(|reply| reply["clientId"].clone());
        let ids: Vec<Value> = ids.collect();
        assert!(ids.iter().all(Value::is_string), "{}", replies[0]);
        ids
    }

    /// Ends them in one request.
    fn leave(&mut self, ids: &[Value]) {
        let goodbye = |id| json!({"channel": "/meta/disconnect", "clientId": id});
        let replies = self.ask(&ids.iter().map(goodbye).collect());
        assert!(replies.iter().all(|reply| reply["successful"] == true));
    }
}

#[test]
fn subscriptions_of_one_address_take_what_it_may_have() {
    let _alone = alone();
    let program = Program::start(&[BEHIND_A_PROXY, SHORT, "--max-subscription-bytes=8MiB"]);
    let good = Good::start(program.address, GOOD);
    let before = program.resident();
    let mut stranger = Stranger::open(&program);
    let ids = stranger.sessions(40);
    let mut refused = 0;
    for (n, id) in ids.iter().enumerate() {
        let deep = |m: usize| format!("/{}{}", n * 1000 + m, "/x".repeat(31));
        let patterns: Vec<String> = (0..1000).map(deep).collect();
        let message = json!([{"channel": "/meta/subscribe", "clientId": id,
            "subscription": patterns}]);
        let reply = stranger.ask(&message).remove(0);
        refused += u32::from(reply["error"] == "403:busy:subscribe_denied");
    }
    let taken = metric(&program, "subscription_bytes");
    let grown = program.resident() - before;
    tell(&format!(
        "\n== 40,000 patterns of 32 segments: {taken} bytes counted, {:.1} MiB more in memory",
        grown / MIB
    ));
    // A quarter is the address's; ten sessions come to that.
    assert_eq!(refused, 30);
    assert!(taken < 2.1 * MIB, "{taken}");
    assert!(grown < 16.0 * MIB, "{grown}");
    // Others subscribe as ever.
    let mut other = Connection::open(program.address);
    let id = session(&mut other);
    other.send(post(
        &json!({"channel": "/meta/subscribe", "clientId": id, "subscription": "/other"}),
    ));
    assert_eq!(other.response().messages()[0]["successful"], true);
    stranger.leave(&ids);
    until("all is given back", lenient(Duration::from_secs(5)), || {
        metric(&program, "subscription_bytes") < 0.1 * MIB
    });
    assert_eq!(good.stop(), Vec::<String>::new());
}

#[test]
fn sessions_that_have_ended_take_nothing() {
    let _alone = alone();
    let program = Program::start(&[BEHIND_A_PROXY, SHORT]);
    let good = Good::start(program.address, GOOD);
    let mut stranger = Stranger::open(&program);
    let mut come_and_go = || {
        let ids = stranger.sessions(1000);
        stranger.leave(&ids);
    };
    // What the allocator keeps for the next time is there after the first.
    come_and_go();
    let before = program.resident();
    for _ in 0..30 {
        come_and_go();
    }
    let grown = program.resident() - before;
    tell(&format!(
        "\n== 30,000 sessions that came and went: {:.1} MiB more in memory",
        grown / MIB
    ));
    assert!(grown < 8.0 * MIB, "{grown}");
    assert_eq!(metric(&program, "sessions"), GOOD as f64);
    assert_eq!(good.stop(), Vec::<String>::new());
}
