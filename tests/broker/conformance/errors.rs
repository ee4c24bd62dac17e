//! Every error there is, brought about through the broker's front door.

use std::time::Duration;

use bayeux::{
    Access, Action, AuthRequest, BrokerConfig, Decision, ServiceCall, ServiceError, ServiceReply,
    Verdict,
};
use serde_json::{Value, json};

use crate::common::world::{World, connect};

/// A reply whose error is that, at once or after work in the pools.
fn error(world: &mut World, message: &Value) -> Value {
    let response = match world.send(&json!([message])) {
        Ok(response) => response,
        Err(key) => world.worked(key),
    };
    let items = response.written();
    let reply = items.last().expect("every message is replied to");
    assert_eq!(reply["successful"], false, "{reply}");
    reply["error"].clone()
}

fn plain() -> World {
    World::new(BrokerConfig::default())
}

fn guarded(decide: fn(&AuthRequest<'_>) -> Decision) -> World {
    World::with_policy(BrokerConfig::default(), Some(Box::new(decide)))
}

#[test]
fn of_the_message_itself() {
    let mut world = plain();
    let a = world.open();
    let table = [
        (json!({"channel": 1}), "400:channel:invalid_field"),
        (json!({"id": "1"}), "400::channel_missing"),
        (
            json!({"channel": "/x", "clientId": a}),
            "402:data:missing_parameter",
        ),
        (
            json!({"channel": "/x", "clientId": "nobody", "data": 1}),
            "402::session_unknown",
        ),
        (
            json!({"channel": "/x?", "clientId": a, "data": 1}),
            "405::channel_invalid",
        ),
        (
            json!({"channel": "/x", "id": {}, "data": 1}),
            "405::message_id_invalid",
        ),
        (
            json!({"channel": "/meta/subscribe", "clientId": a}),
            "403::subscription_missing",
        ),
        (
            json!({"channel": "/meta/subscribe", "clientId": a, "subscription": "/*/a"}),
            "403::subscription_invalid",
        ),
        (
            json!({"channel": "/meta/x", "clientId": a}),
            "403:denied_by_security_policy:channel_create_denied",
        ),
        (
            json!({"channel": "/service/x", "clientId": a}),
            "404:/service/x:unknown_service",
        ),
        (
            json!({"channel": "/meta/handshake", "supportedConnectionTypes": ["a", "b:c"]}),
            "301:a,b c:connection_types_unsupported",
        ),
        (
            json!({"channel": "/meta/handshake", "supportedConnectionTypes": []}),
            "301::connection_types_unsupported",
        ),
    ];
    for (message, expected) in table {
        assert_eq!(error(&mut world, &message), expected, "{message}");
    }
}

#[test]
fn errors_take_precedence_in_their_order() {
    let mut world = plain();
    let both = json!({"channel": "/x?", "id": {}, "ext": 5});
    assert_eq!(error(&mut world, &both), "400:ext:invalid_field");
    let both = json!({"id": {}, "data": 1});
    assert_eq!(error(&mut world, &both), "400::channel_missing");
    let both = json!({"channel": "/x?", "id": {}, "data": 1});
    assert_eq!(error(&mut world, &both), "405::channel_invalid");
}

#[test]
fn of_the_policy() {
    let mut world = guarded(|request| match request.action {
        Action::Handshake if request.ext.is_none() => Decision::Allow,
        Action::Handshake => Decision::deny(""),
        _ => Decision::deny("r"),
    });
    let a = world.handshake();
    let message =
        |channel: &str| json!({"channel": channel, "clientId": a, "data": 1, "subscription": "/x"});
    let table = [
        (
            json!({"channel": "/meta/handshake", "ext": {}}),
            "403::handshake_denied",
        ),
        (message("/meta/connect"), "403:r:connect_denied"),
        (message("/meta/subscribe"), "403:r:subscribe_denied"),
        (message("/meta/unsubscribe"), "403:r:unsubscribe_denied"),
        (message("/x"), "403:r:publish_denied"),
        (message("/meta/disconnect"), "403:r:disconnect_denied"),
    ];
    for (message, expected) in table {
        assert_eq!(error(&mut world, &message), expected, "{message}");
    }
    assert_eq!(world.broker.stats().sessions, 1, "denied means not done");
    assert_eq!(
        world.broker.stats().subscriptions,
        0,
        "denied means not done"
    );
}

#[test]
fn a_denied_handshake_is_told_to_stay_away() {
    let mut world = guarded(|_| Decision::deny("closed: for today"));
    let response = world.response(&json!({"channel": "/meta/handshake", "id": "1"}));
    assert_eq!(response.cookie, None);
    let mut reply = response.written().remove(0);
    assert_eq!(reply["advice"].take()["reconnect"], "none");
    assert_eq!(reply["error"], "403:closed  for today:handshake_denied");
    assert_eq!(reply.get("clientId"), None);
}

#[test]
fn of_services_and_listeners() {
    let mut world = plain();
    let a = world.open();
    let fails = |_: &ServiceCall<'_>| Err(ServiceError::from("secret detail"));
    let panics = |call: &ServiceCall<'_>| -> Result<Vec<ServiceReply>, ServiceError> {
        panic!("secret detail of {}", call.data)
    };
    world
        .broker
        .add_service("/service/fails", Access::Sessions, fails)
        .unwrap();
    world
        .broker
        .add_service("/service/panics", Access::Sessions, panics)
        .unwrap();
    world
        .broker
        .add_listener("/veto/*", |_: &AuthRequest<'_>| Verdict::Veto)
        .unwrap();
    let table = [
        ("/service/fails", "500:/service/fails:service_failed"),
        ("/service/panics", "500:/service/panics:service_failed"),
        ("/veto/x", "404::message_deleted"),
    ];
    for (channel, expected) in table {
        let message = json!({"channel": channel, "clientId": a, "data": 1});
        assert_eq!(error(&mut world, &message), expected);
    }
}

#[test]
fn of_limits() {
    let config = BrokerConfig {
        max_sessions: 1,
        max_held_per_ip: Some(0),
        max_subscriptions: 2,
        max_subscription_bytes: 1000,
        ..BrokerConfig::default()
    };
    let mut world = World::new(config);
    let a = world.open();
    assert_eq!(
        error(&mut world, &json!({"channel": "/meta/handshake"})),
        "503::session_limit"
    );
    assert_eq!(error(&mut world, &connect(&a)), "503::held_limit");
    let three = json!({"channel": "/meta/subscribe", "clientId": a,
        "subscription": ["/x", "/y", "/z"]});
    assert_eq!(error(&mut world, &three), "403:too_many:subscribe_denied");
    let two = json!({"channel": "/meta/subscribe", "clientId": a,
        "subscription": ["/x", format!("/{}", "y".repeat(200))]});
    assert_eq!(error(&mut world, &two), "403:busy:subscribe_denied");
    world.broker.drain(Duration::ZERO);
    assert_eq!(error(&mut world, &connect(&a)), "503::draining");
}

#[test]
fn of_a_connect_that_was_overtaken() {
    let mut world = plain();
    let a = world.open();
    let older = world.hold(&connect(&a));
    world.hold(&connect(&a));
    let reply = world.answer(older).written().remove(0);
    assert_eq!(reply["error"], "409::connect_superseded");
    assert_eq!(reply["successful"], false);
}
