//! The browser cookie: when it is issued, and what it protects.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bayeux::{Access, BrokerConfig, ServiceCall};
use bayeux::{BrowserId, Transport};
use serde_json::{Value, json};

use crate::common::world::{World, connect};

const ME: Option<BrowserId> = Some(BrowserId(1));
const OTHER: Option<BrowserId> = Some(BrowserId(2));

fn strict() -> World {
    World::new(BrokerConfig {
        require_browser_cookie: true,
        ..BrokerConfig::default()
    })
}

#[test]
fn a_cookie_is_issued_with_the_first_handshake_of_a_browser_only() {
    let mut world = World::new(BrokerConfig::default());
    let handshake = json!({"channel": "/meta/handshake"});
    let first = world.response(&json!([handshake, handshake]));
    assert!(first.cookie.is_some());
    assert_ne!(
        world.response(&json!([handshake])).cookie,
        first.cookie,
        "another browser"
    );
    world.browser = first.cookie;
    assert_eq!(world.response(&json!([handshake])).cookie, None);
    world.browser = None;
    let failing = json!({"channel": "/meta/handshake", "supportedConnectionTypes": ["flash"]});
    assert_eq!(world.response(&json!([failing])).cookie, None);
    world.transport = Transport::WebSocket;
    assert_eq!(world.response(&json!([handshake])).cookie, None);
}

#[test]
fn a_session_is_found_with_its_cookie_only() {
    let mut world = strict();
    world.browser = ME;
    let a = world.open();
    let messages = [
        connect(&a),
        json!({"channel": "/meta/subscribe", "clientId": a, "subscription": "/x"}),
        json!({"channel": "/meta/unsubscribe", "clientId": a, "subscription": "/x"}),
        json!({"channel": "/x", "clientId": a, "data": 1}),
        json!({"channel": "/service/x", "clientId": a}),
        json!({"channel": "/meta/x", "clientId": a}),
        json!({"channel": "/meta/disconnect", "clientId": a}),
    ];
    for transport in [Transport::LongPolling, Transport::WebSocket] {
        world.transport = transport;
        for browser in [None, OTHER] {
            world.browser = browser;
            for message in &messages {
                let reply = world.reply(message);
                assert_eq!(reply["error"], "402::session_unknown", "{message}");
                let advice = match message["channel"].as_str() {
                    Some("/meta/connect") => json!({"reconnect": "handshake", "interval": 2000}),
                    _ => Value::Null,
                };
                assert_eq!(reply["advice"], advice, "{message}");
            }
        }
    }
    world.browser = ME;
    let bye = messages.last().expect("one of them");
    assert_eq!(world.reply(bye)["successful"], true);
}

#[test]
fn a_session_of_a_socket_is_bound_to_its_browser() {
    let mut world = strict();
    world.transport = Transport::WebSocket;
    world.browser = ME;
    let a = world.open();
    let publish = json!({"channel": "/x", "clientId": a, "data": 1});
    for transport in [Transport::WebSocket, Transport::LongPolling] {
        world.transport = transport;
        for (browser, error) in [
            (None, json!("402::session_unknown")),
            (OTHER, json!("402::session_unknown")),
            (ME, Value::Null),
        ] {
            world.browser = browser;
            assert_eq!(world.reply(&publish)["error"], error, "{browser:?}");
        }
    }
}

#[test]
fn a_session_of_nobody_is_found_by_nobody() {
    let mut world = strict();
    world.transport = Transport::WebSocket;
    let a = world.handshake();
    for transport in [Transport::WebSocket, Transport::LongPolling] {
        world.transport = transport;
        for browser in [None, ME] {
            world.browser = browser;
            let reply = world.reply(&connect(&a));
            assert_eq!(reply["error"], "402::session_unknown");
        }
    }
}

#[test]
fn a_window_that_is_told_to_wait_lives_as_long() {
    let mut world = World::new(BrokerConfig {
        max_interval: Duration::from_secs(1),
        max_client_interval: Duration::ZERO,
        multiple_clients_interval: Duration::from_secs(60),
        ..BrokerConfig::default()
    });
    world.browser = ME;
    let (a, b) = (world.open(), world.open());
    world.hold(&connect(&a));
    let reply = world.reply(&connect(&b));
    assert_eq!(reply["advice"]["interval"], 60_000);
    world.hold(&connect(&a));
    world.advance(Duration::from_secs(29));
    world.hold(&connect(&a));
    world.advance(Duration::from_secs(29));
    assert_eq!(world.reply(&connect(&b))["successful"], true, "it lives");
}

#[test]
fn a_connect_of_a_transport_that_is_not_offered_is_refused() {
    let mut world = World::new(BrokerConfig {
        connection_types: vec!["eventsource"],
        ..BrokerConfig::default()
    });
    let a = world.handshake();
    for kind in [json!("long-polling"), json!("x"), Value::Null] {
        let connect = json!({"channel": "/meta/connect", "clientId": a, "connectionType": kind});
        let reply = world.reply(&connect);
        let kind = kind.as_str().unwrap_or("long-polling");
        assert_eq!(
            reply["error"],
            format!("301:{kind}:connection_types_unsupported")
        );
        assert_eq!(reply["advice"], json!({"reconnect": "none"}));
    }
    let mut connect = connect(&a);
    connect["connectionType"] = json!("eventsource");
    for _ in 0..2 {
        let reply = world.reply(&connect);
        assert_eq!(reply["successful"], true, "at once, without a stream too");
    }
    world.transport = Transport::WebSocket;
    assert_eq!(world.reply(&connect)["successful"], true);
}

#[test]
fn an_open_service_is_not_told_a_caller_whose_cookie_does_not_match() {
    let mut world = strict();
    let seen: Arc<Mutex<Vec<bool>>> = Arc::default();
    let note = Arc::clone(&seen);
    let service = move |call: &ServiceCall<'_>| {
        note.lock().unwrap().push(call.client.is_some());
        Ok(Vec::new())
    };
    let added = world
        .broker
        .add_service("/service/open", Access::Anyone, service);
    added.unwrap();
    world.browser = ME;
    let a = world.open();
    let call = json!({"channel": "/service/open", "clientId": a});
    assert_eq!(world.reply(&call)["successful"], true);
    world.browser = OTHER;
    assert_eq!(world.reply(&call)["successful"], true);
    assert_eq!(*seen.lock().unwrap(), [true, false]);
}
