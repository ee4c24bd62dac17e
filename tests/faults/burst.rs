//! Many connections in one moment.

use std::sync::Barrier;
use std::time::{Duration, Instant};

use serde_json::json;

use super::program::Program;
use super::scale::{alone, few, handshake, lenient, metric, post, tell, until};
use crate::common::http::Connection;

const THREADS: usize = 8;
/// From the first connection until the last has got its answer.
const LIMIT: Duration = Duration::from_secs(10);

#[test]
fn five_thousand_connections_at_once_are_all_served() {
    let _alone = alone();
    let count = few(5000);
    let files = bayeux::config::raise_file_limit().unwrap_or(u64::MAX);
    assert!(files > 2 * count as u64, "the file limit is {files}");
    let program = Program::start(&[]);
    let (start, open) = (Barrier::new(THREADS), Barrier::new(THREADS + 1));
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                start.wait();
                clients(&program, count / THREADS, &open);
            });
        }
        open.wait();
        let took = begun.elapsed();
        let connections = metric(&program, "connections");
        tell(&format!(
            "\n== burst: {connections} connections at once, all answered after {took:.2?}"
        ));
        assert!(connections >= (count / THREADS * THREADS) as f64);
        assert!(took < lenient(LIMIT), "{took:?}");
        open.wait();
    });
    until("all gone", lenient(Duration::from_secs(5)), || {
        metric(&program, "connections") == 0.0
    });
}

/// All connect and say something before the first is listened to; all are served twice.
fn clients(program: &Program, count: usize, open: &Barrier) {
    let mut connections: Vec<Connection> = (0..count)
        .map(|_| {
            let mut connection = Connection::open(program.address);
            connection.send(handshake());
            connection
        })
        .collect();
    let replies = connections
        .iter_mut()
        .map(|connection| connection.response().messages().remove(0));
    let ids: Vec<_> = replies.map(|reply| reply["clientId"].clone()).collect();
    open.wait();
    open.wait();
    for (connection, id) in connections.iter_mut().zip(ids) {
        connection.send(post(&json!({"channel": "/meta/connect", "clientId": id})));
    }
    for connection in &mut connections {
        assert_eq!(connection.response().messages()[0]["successful"], true);
    }
}
