//! The browser cookie: when it is issued, and what it protects.
#![allow(clippy::unwrap_used)]

mod world;

use std::sync::{Arc, Mutex};

use bayeux::broker::{Access, BrokerConfig, ServiceCall};
use bayeux::transport::{BrowserId, Transport};
use serde_json::{Value, json};
use world::{World, connect};

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
fn a_session_of_a_socket_without_cookie_is_bound_to_none() {
    let mut world = strict();
    world.transport = Transport::WebSocket;
    let a = world.open();
    world.transport = Transport::LongPolling;
    for browser in [None, ME] {
        world.browser = browser;
        world.hold(&connect(&a));
    }
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
