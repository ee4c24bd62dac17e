//! One address that takes all it can get, beside well-behaved clients of another.
//!
//! On Linux a client may come from any address of the loopback network.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use super::good::Good;
use super::program::Program;
use super::scale::{alone, is_full, lenient, metric, session, span, tell, tell_latencies, until};
use crate::common::http::{Connection, request_bytes};

/// A connection of the one that takes all.
fn hog(program: &Program) -> Connection {
    Connection::open_from([127, 0, 0, 2].into(), program.address)
}

fn post(messages: &[Value]) -> Vec<u8> {
    let kind = "Content-Type: application/json\r\n";
    let body = Value::from(messages).to_string();
    request_bytes("POST", "/cometd", kind, body.as_bytes())
}

fn ask(connection: &mut Connection, messages: &[Value]) -> Vec<Value> {
    connection.send(post(messages));
    connection.response().messages()
}

const EVICTED: &str = r#"sessions_ended_total{reason="evicted"}"#;

#[test]
fn an_address_with_all_sessions_makes_room_for_others() {
    let _alone = alone();
    let most = if is_full() { 100_000 } else { 3000 };
    tell("\n== all sessions taken by one address, at full speed");
    let program = Program::start(&[&format!("--max-sessions={most}")]);
    let good = Good::start(program.address, 50);
    let peace = good.measured(span());
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _stop = StopInTheEnd(&stop);
        let (program, stop) = (&program, &stop);
        for count in [1000, 10] {
            let crowd = post(&vec![json!({"channel": "/meta/handshake"}); count]);
            scope.spawn(move || {
                let mut connection = hog(program);
                while !stop.load(Ordering::Relaxed) {
                    connection.send(&crowd);
                    connection.response();
                }
            });
        }
        until("all are taken", lenient(Duration::from_secs(5)), || {
            metric(program, "sessions") > f64::from(most - 20)
        });
        let trouble = good.measured(span());
        tell_latencies("others", &peace, &trouble);
        let mut newcomers = Vec::new();
        for n in 0..50 {
            let mut connection = Connection::open(program.address);
            let id = session(&mut connection);
            let channel = format!("/newcomer/{n}");
            let hello = [
                json!({"channel": "/meta/connect", "clientId": id,
                    "connectionType": "long-polling"}),
                json!({"channel": "/meta/subscribe", "clientId": id, "subscription": channel}),
            ];
            let replies = ask(&mut connection, &hello);
            assert!(
                replies.iter().all(|reply| reply["successful"] == true),
                "{replies:?}"
            );
            newcomers.push((connection, id, channel));
        }
        for (connection, id, channel) in &mut newcomers {
            let own = json!({"channel": channel, "clientId": id, "data": "here"});
            let items = ask(connection, &[own]);
            assert_eq!(items[0]["data"], "here", "it has stayed: {items:?}");
        }
    });
    let evicted = metric(&program, EVICTED);
    tell(&format!("   {evicted} sessions made room for 50 newcomers"));
    assert!(evicted >= 30.0, "{evicted}: hardly twenty places were free");
    assert!(metric(&program, "sessions") <= f64::from(most));
    assert_eq!(good.stop(), Vec::<String>::new());
}

/// Sessions that are subscribed and away. `channel` tells what each is subscribed to.
fn away(
    connection: &mut Connection,
    count: usize,
    channel: impl Fn(usize) -> String,
) -> Vec<String> {
    let handshakes = vec![json!({"channel": "/meta/handshake"}); count];
    let replies = ask(connection, &handshakes);
    let ids = replies.iter().map(|reply| reply["clientId"].as_str());
    let ids: Vec<String> = ids.map(|id| id.expect("a session").to_owned()).collect();
    let messages: Vec<Value> = ids
        .iter()
        .enumerate()
        .flat_map(|(n, id)| {
            [
                json!({"channel": "/meta/connect", "clientId": id,
                    "connectionType": "long-polling"}),
                json!({"channel": "/meta/subscribe", "clientId": id, "subscription": channel(n)}),
            ]
        })
        .collect();
    for reply in ask(connection, &messages) {
        assert_eq!(reply["successful"], true, "{reply}");
    }
    ids
}

#[test]
fn messages_that_wait_for_one_address_cost_others_none_of_theirs() {
    const BOUND: f64 = 4.0 * 1_048_576.0;
    let _alone = alone();
    tell("\n== one message for many sessions of one address, then many messages");
    let program = Program::start(&["--max-queued-total=4MiB"]);
    let good = Good::start(program.address, 50);
    let mut honest = Connection::open(program.address);
    let friend = away(&mut honest, 1, |_| "/friend".to_owned()).remove(0);
    let waiting = away(&mut honest, 50, |n| format!("/honest/{n}"));
    let kept = "k".repeat(20_000);
    for (n, id) in waiting.iter().enumerate() {
        let data = json!({"channel": format!("/honest/{n}"), "clientId": friend,
            "data": [id, kept]});
        assert_eq!(ask(&mut honest, &[data])[0]["successful"], true);
    }
    let before = program.resident();
    let mut hog = hog(&program);
    let talker = away(&mut hog, 1, |_| "/hog/talker".to_owned()).remove(0);
    away(&mut hog, 500, |n| format!("/hog/{n}"));
    for _ in 0..2 {
        away(&mut hog, 500, |_| "/hog/all".to_owned());
    }
    let text = "x".repeat(12_000);
    // It waits for 1,000 of them: 12 MB for all, and little in memory.
    let all = json!({"channel": "/hog/all", "clientId": talker, "data": text});
    assert_eq!(ask(&mut hog, &[all])[0]["successful"], true);
    let numbers = program.metrics();
    let lost = |name: &str| {
        let name = format!("bayeux_sessions_ended_total{{reason=\"{name}\"}}");
        program.metrics().get(&name)
    };
    let ended = lost("overflowed");
    tell(&format!(
        "   one message of 12 KB for 1,000: {} bytes to deliver, {} in memory, {ended} sessions \
         lost",
        numbers.get("bayeux_queued_bytes"),
        numbers.get("bayeux_memory_bytes{kind=\"messages\"}"),
    ));
    assert_eq!(ended, 0.0);
    // Then each of the others has its own, until there is twice as much as may wait.
    for first in (0..700).step_by(20) {
        let own = |n| {
            let channel = format!("/hog/{}", n % 500);
            json!({"channel": channel, "clientId": talker, "data": format!("{text}{n}")})
        };
        let messages: Vec<Value> = (first..first + 20).map(own).collect();
        assert_eq!(ask(&mut hog, &messages)[0]["successful"], true);
    }
    let numbers = program.metrics();
    let in_memory = numbers.get("bayeux_memory_bytes{kind=\"messages\"}");
    tell(&format!(
        "   then 8 MB of messages for 500: {in_memory} bytes in memory, {} sessions lost, the \
         process has grown by {:.1} MiB",
        lost("overflowed"),
        (program.resident() - before) / 1_048_576.0,
    ));
    assert!(
        in_memory > BOUND / 2.0 && in_memory < BOUND * 1.1,
        "{in_memory}"
    );
    assert!(lost("overflowed") > 0.0);
    for (n, id) in waiting.iter().enumerate() {
        let connect = json!({"channel": "/meta/connect", "clientId": id,
            "connectionType": "long-polling"});
        let items = ask(&mut honest, &[connect]);
        assert_eq!(
            items[0]["data"],
            json!([id, kept]),
            "client {n} has lost its message"
        );
    }
    assert_eq!(good.stop(), Vec::<String>::new());
}

struct StopInTheEnd<'a>(&'a AtomicBool);

impl Drop for StopInTheEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
