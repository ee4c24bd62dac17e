//! What the broker says to what: tables of requests and their replies, without sockets.
//!
//! A row is a name, the request, and exactly what must come back. `$A` and `$B` stand for the ids
//! of two open sessions, `$NEW` for an id made by a handshake in the row.

mod connect;
mod cookies;
mod errors;
mod handshake;
mod message;
mod policy;
mod publish;
mod subscribe;

use bayeux::BrokerConfig;
use serde_json::Value;

use crate::common::world::World;

type Row<'a> = (&'a str, &'a str, &'a str);

/// Each row in a world of its own, with that configuration.
fn check(config: &BrokerConfig, rows: &[Row<'_>]) {
    for (name, request, expected) in rows {
        let mut world = World::new(config.clone());
        let (a, b) = (world.open(), world.open());
        let fill = |text: &str| text.replace("$A", &a).replace("$B", &b);
        let response = world.send_text(&fill(request));
        let items = response
            .unwrap_or_else(|_| panic!("{name}: held"))
            .written();
        let expected: Vec<Value> = serde_json::from_str(&fill(expected)).expect("a valid row");
        assert_eq!(
            unnamed(items, &fill(request)),
            expected,
            "{name}: {request}"
        );
    }
}

/// As `check`, with the defaults.
fn check_defaults(rows: &[Row<'_>]) {
    check(&BrokerConfig::default(), rows);
}

/// Writes `$NEW` for ids of sessions that the request does not name.
fn unnamed(mut items: Vec<Value>, request: &str) -> Vec<Value> {
    for item in &mut items {
        let Some(id) = item.get_mut("clientId") else {
            continue;
        };
        let text = id.as_str().expect("client ids are strings");
        if !request.contains(text) {
            let fits = text
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
            assert!(
                fits && text.len() >= 25,
                "128 bits need 25 such characters: {text}"
            );
            *id = Value::from("$NEW");
        }
    }
    items
}
