//! What the policy refuses: the error, the advice, and that it is not done.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bayeux::Advice;
use bayeux::{Access, AuthRequest, BrokerConfig, Decision, ServiceCall, ServiceReply, Verdict};
use serde_json::{Value, json};

use crate::common::world::{World, connect, data_of};

/// A world whose policy refuses messages that ask for it in their `ext`.
fn world() -> World {
    let policy = |request: &AuthRequest<'_>| match request.ext {
        Some(ext) if ext.contains("\"advised\"") => Decision::Deny {
            reason: "later".to_owned(),
            advice: Some(Advice::retry_after(5000)),
        },
        Some(ext) if ext.contains("\"no\"") => Decision::deny("no: never"),
        Some(ext) if ext.contains("\"panic\"") => panic!("a bad policy"),
        _ => Decision::Allow,
    };
    World::with_policy(BrokerConfig::default(), Some(Box::new(policy)))
}

/// The message, refused in that way.
fn refused(mut message: Value, how: &str) -> Value {
    message["ext"] = json!({ "is": how });
    message
}

#[test]
fn every_refusal_has_its_error() {
    let mut world = world();
    let echo = |call: &ServiceCall<'_>| Ok(vec![ServiceReply::raw_data(call.data)]);
    let added = world
        .broker
        .add_service("/service/echo", Access::Sessions, echo);
    added.unwrap();
    let a = world.open();
    for (channel, error) in [
        ("/meta/connect", "connect_denied"),
        ("/meta/subscribe", "subscribe_denied"),
        ("/meta/unsubscribe", "unsubscribe_denied"),
        ("/meta/disconnect", "disconnect_denied"),
        ("/x", "publish_denied"),
        ("/service/echo", "publish_denied"),
    ] {
        let message = json!({"channel": channel, "clientId": a, "id": 1, "data": 1,
            "subscription": "/x"});
        for (how, reason) in [("no", "no  never"), ("panic", "")] {
            let mut expected = json!({"channel": channel, "clientId": a, "id": 1,
                "successful": false, "error": format!("403:{reason}:{error}")});
            if error.contains("subscribe") {
                expected["subscription"] = json!("/x");
            }
            let reply = world.reply(&refused(message.clone(), how));
            assert_eq!(reply, expected, "{how}");
        }
    }
}

#[test]
fn a_refused_handshake_leaves_nothing_behind() {
    let mut world = world();
    let handshake = json!({"channel": "/meta/handshake", "id": 1});
    for (how, advice) in [
        ("no", json!({"reconnect": "none"})),
        ("panic", json!({"reconnect": "none"})),
        ("advised", json!({"reconnect": "retry", "interval": 5000})),
    ] {
        let response = world.response(&json!([refused(handshake.clone(), how)]));
        assert_eq!(response.cookie, None, "{how}");
        let reply = &response.items[0];
        assert_eq!(reply["advice"], advice, "{how}");
        assert_eq!(reply.get("clientId"), None, "{how}");
    }
    assert_eq!(world.broker.stats().sessions, 0);
}

#[test]
fn a_refused_connect_supersedes_nothing_and_starts_no_session() {
    let mut world = world();
    let a = world.handshake();
    let reply = world.reply(&refused(connect(&a), "no"));
    assert_eq!(reply["error"], "403:no  never:connect_denied");
    let first = world.reply(&connect(&a));
    assert_eq!(
        first["successful"], true,
        "still the first: answered at once"
    );
    let held = world.hold(&connect(&a));
    world.reply(&refused(connect(&a), "no"));
    assert!(world.answers().is_empty());
    assert_eq!(world.broker.stats().held, 1);
    world.publish(&a, "/x", &json!(1));
    world.advance(Duration::from_secs(30));
    assert_eq!(world.answer(held).written()[0]["successful"], true);
}

#[test]
fn what_is_refused_is_not_done() {
    let mut world = world();
    let calls = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&calls);
    let service = move |_: &ServiceCall<'_>| {
        count.fetch_add(1, Ordering::Relaxed);
        Ok(Vec::new())
    };
    let added = world
        .broker
        .add_service("/service/count", Access::Sessions, service);
    added.unwrap();
    let (a, b) = (world.open(), world.open());
    world.subscribe(&b, &json!("/x"));
    let subscription = |verb: &str, channel: &str| {
        refused(
            json!({"channel": format!("/meta/{verb}"), "clientId": b, "subscription": channel}),
            "no",
        )
    };
    world.reply(&subscription("unsubscribe", "/x"));
    world.reply(&subscription("subscribe", "/y"));
    let say = |channel: &str| json!({"channel": channel, "clientId": a, "data": channel});
    world.reply(&refused(say("/x"), "no"));
    world.reply(&refused(say("/service/count"), "no"));
    world.reply(&refused(
        json!({"channel": "/meta/disconnect", "clientId": b}),
        "no",
    ));
    world.ask(&json!([say("/x"), say("/y"), say("/service/count")]));
    assert_eq!(calls.load(Ordering::Relaxed), 1);
    let items = world.ask(&json!([connect(&b)]));
    assert_eq!(data_of(&items), [json!("/x")], "{items:?}");
    assert_eq!(world.broker.stats().sessions, 2);
}

#[test]
fn advice_of_the_policy_is_taken_back_by_the_next_connect() {
    let mut world = world();
    let a = world.open();
    for channel in [
        "/meta/connect",
        "/meta/subscribe",
        "/meta/unsubscribe",
        "/meta/disconnect",
        "/x",
    ] {
        let message = json!({"channel": channel, "clientId": a, "data": 1, "subscription": "/x"});
        let advice = json!({"reconnect": "retry", "interval": 5000});
        let reply = world.reply(&refused(message, "advised"));
        assert_eq!(reply["advice"], advice, "{channel}");
        for expected in [
            Some(&json!({"reconnect": "retry", "interval": 0, "timeout": 30000})),
            None,
        ] {
            let held = world.hold(&connect(&a));
            world.advance(Duration::from_secs(30));
            let reply = world.answer(held).written().remove(0);
            assert_eq!(reply.get("advice"), expected, "{channel}");
        }
    }
}

#[test]
fn listeners_veto_what_is_published_and_called() {
    let mut world = World::new(BrokerConfig::default());
    let service = |_: &ServiceCall<'_>| -> Result<Vec<ServiceReply>, _> { unreachable!() };
    let broker = &world.broker;
    broker
        .add_service("/service/s", Access::Sessions, service)
        .unwrap();
    broker
        .add_listener("/service/*", |_: &AuthRequest<'_>| Verdict::Veto)
        .unwrap();
    broker
        .add_listener("/v/**", |request: &AuthRequest<'_>| match request.data {
            Some("1") => Verdict::Veto,
            Some("2") => panic!("a bad listener"),
            _ => Verdict::Pass,
        })
        .unwrap();
    let a = world.open();
    world.subscribe(&a, &json!("/**"));
    let table = [
        ("/v/x", 0, None),
        ("/v/x", 1, Some("404::message_deleted")),
        ("/v/x/y", 2, Some("404::message_deleted")),
        ("/other", 1, None),
        ("/service/s", 0, Some("404::message_deleted")),
    ];
    for (channel, data, error) in table {
        let items = world.publish(&a, channel, &json!(data));
        let reply = items.last().expect("a reply");
        assert_eq!(reply["successful"], error.is_none(), "{channel} {data}");
        assert_eq!(reply["error"].as_str(), error, "{channel} {data}");
        assert_eq!(items.len(), 1 + usize::from(error.is_none()));
    }
}
