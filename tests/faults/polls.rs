//! The connector `tiny-http` has as many threads of ours with clients as without.

use std::time::Duration;

use serde_json::json;

use super::program::Program;
use super::scale::{lenient, metric, post, session, until};
use crate::common::http::Connection;

const POLLS: usize = 60;

#[test]
fn parked_polls_take_no_threads_of_ours() {
    let program = Program::start(&[
        "--connector=tiny-http",
        "--timeout=60s",
        "--anonymous-publish=true",
    ]);
    let pool = [
        "bayeux-nudge",
        "bayeux-reply-0",
        "bayeux-reply-1",
        "bayeux-tiny-0",
        "bayeux-tiny-1",
        "bayeux-tiny-2",
        "bayeux-tiny-3",
    ];
    let connector = || {
        let mut names = program.threads("bayeux-");
        names.retain(|name| ["nudge", "reply", "tiny"].contains(&name.split('-').nth(1).unwrap()));
        names
    };
    // A thread names itself when it begins.
    until("the pool is there", lenient(Duration::from_secs(5)), || {
        connector() == pool
    });
    let mut polls: Vec<(Connection, String)> = (0..POLLS)
        .map(|_| {
            let mut connection = Connection::open(program.address);
            let id = session(&mut connection);
            let first = [
                json!({"channel": "/meta/subscribe", "clientId": id, "subscription": "/polls"}),
                json!({"channel": "/meta/connect", "clientId": id}),
            ];
            for message in first {
                connection.send(post(&message));
                connection.response().messages();
            }
            connection.send(post(&json!({"channel": "/meta/connect", "clientId": id})));
            (connection, id)
        })
        .collect();
    until("all are held", lenient(Duration::from_secs(5)), || {
        metric(&program, "held_connects") == POLLS as f64
    });
    assert_eq!(connector(), pool);
    let all = program.threads("bayeux-");
    // Each gets what there is for it; one that was answered parks again.
    let mut publisher = Connection::open(program.address);
    for n in 0..3 {
        publisher.send(post(&json!({"channel": "/polls", "data": n})));
        assert_eq!(publisher.response().messages()[0]["successful"], true);
        for (connection, id) in &mut polls {
            let messages = connection.response().messages();
            assert_eq!(messages[0]["data"], n, "{messages:?}");
            connection.send(post(&json!({"channel": "/meta/connect", "clientId": id})));
        }
    }
    assert_eq!(program.threads("bayeux-"), all);
}
