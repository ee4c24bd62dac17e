//! Extensions, between a request and its reply: what is said when, on a clock moved by hand.

use std::time::Duration;

use bayeux::ClientId;
use bayeux::ClockEstimate;
use bayeux::Extensions;
use bayeux::{Action, AuthRequest, BrokerConfig, Decision, Policy};
use serde_json::{Value, json};

use crate::common::world::World;

fn config(timesync: bool) -> BrokerConfig {
    let mut extensions = Extensions::default();
    extensions.timesync = timesync;
    BrokerConfig {
        extensions,
        ..BrokerConfig::default()
    }
}

fn asking(mut message: Value) -> Value {
    message["ext"] = json!({"timesync": {"tc": 7}, "other": 1});
    message
}

#[test]
fn every_reply_to_a_meta_message_tells_the_time() {
    let mut world = World::new(config(true));
    let client = world.open();
    world.advance(Duration::from_millis(1234));
    let messages = [
        json!({"channel": "/meta/handshake"}),
        json!({"channel": "/meta/connect", "clientId": client, "advice": {"timeout": 0}}),
        json!({"channel": "/meta/subscribe", "clientId": client, "subscription": "/a"}),
        json!({"channel": "/meta/unsubscribe", "clientId": client, "subscription": "/a"}),
        json!({"channel": "/meta/subscribe", "clientId": client}),
        json!({"channel": "/meta/ping", "clientId": client}),
        json!({"channel": "/meta/ping"}),
        json!({"channel": "/meta/pong", "clientId": client}),
        json!({"channel": "/meta/disconnect", "clientId": client}),
    ];
    for message in messages {
        let reply = world.reply(&asking(message.clone()));
        let ext = json!({"timesync": {"tc": 7, "ts": 1234, "p": 0}});
        assert_eq!(reply["ext"], ext, "{message}");
    }
}

#[test]
fn nothing_is_said_unasked() {
    let mut world = World::new(config(true));
    let client = world.open();
    world.subscribe(&client, &json!("/a"));
    let silent = json!({"channel": "/meta/ping", "clientId": client, "ext": {"other": 1}});
    assert!(world.reply(&silent).get("ext").is_none());
    // A message for others carries its ext to them, and no answer.
    let items = world.ask(&json!([asking(
        json!({"channel": "/a", "clientId": client, "data": 1})
    )]));
    assert_eq!(items[0]["ext"]["timesync"], json!({"tc": 7}));
    assert!(items[1].get("ext").is_none(), "{items:?}");
}

#[test]
fn a_server_without_the_extension_knows_no_ping() {
    let mut world = World::new(config(false));
    let client = world.open();
    let reply = world.reply(&asking(
        json!({"channel": "/meta/ping", "clientId": client}),
    ));
    let error = "403:denied_by_security_policy:channel_create_denied";
    assert_eq!((&reply["error"], reply.get("ext")), (&json!(error), None));
}

#[test]
fn the_hold_of_a_connect_is_told() {
    let mut world = World::new(config(true));
    let client = world.open();
    let connect = json!({"channel": "/meta/connect", "clientId": client});
    let key = world.hold(&asking(connect));
    world.advance(Duration::from_secs(30));
    let reply = world.answer(key).written().remove(0);
    assert_eq!(
        reply["ext"]["timesync"],
        json!({"tc": 7, "ts": 0, "p": 30_000})
    );
    // With a message, and when a newer connect takes over.
    let key = world.hold(&asking(
        json!({"channel": "/meta/connect", "clientId": client}),
    ));
    world.advance(Duration::from_millis(5));
    let newer = world.hold(&asking(
        json!({"channel": "/meta/connect", "clientId": client}),
    ));
    let superseded = world.answer(key).written().remove(0);
    assert_eq!(superseded["error"], "409::connect_superseded");
    assert_eq!(superseded["ext"]["timesync"]["p"], 5);
    world.subscribe(&client, &json!("/a"));
    let other = world.open();
    world.publish(&other, "/a", &json!(1));
    let items = world.answer(newer).written();
    assert_eq!(
        items.last().expect("a reply")["ext"]["timesync"]["p"],
        0,
        "{items:?}"
    );
}

#[test]
fn beside_a_comment_filter() {
    let mut world = World::new(config(true));
    let ext = json!({"timesync": {"tc": 7, "l": 0, "o": 0}, "json-comment-filtered": true});
    let reply = world.reply(&json!({"channel": "/meta/handshake", "ext": ext}));
    let expected = json!({"json-comment-filtered": true,
        "timesync": {"tc": 7, "ts": 0, "p": 0, "a": 7}});
    assert_eq!(reply["ext"], expected);
}

/// Allows everything, on another thread.
struct Agreeable;

impl Policy for Agreeable {
    fn authorize(&self, _: &AuthRequest<'_>) -> Decision {
        Decision::Allow
    }
}

#[test]
fn with_a_policy_in_between() {
    let mut world = World::with_policy(config(true), Some(Box::new(Agreeable)));
    let client = world.open();
    let batch = json!([
        asking(json!({"channel": "/meta/subscribe", "clientId": client, "subscription": "/a"})),
        {"channel": "/b", "clientId": client, "data": 1},
        asking(json!({"channel": "/meta/ping", "clientId": client})),
    ]);
    let items = world.ask(&batch);
    let told: Vec<bool> = items.iter().map(|item| item.get("ext").is_some()).collect();
    assert_eq!(told, [true, false, true]);
}

/// What the client is known to reckon with: lag and offset in milliseconds.
fn known(world: &World, client: &str) -> Option<(u128, i64)> {
    let id = ClientId::parse(client).expect("an id");
    let known = world.broker.clock_estimate(id);
    known.map(|known| (known.lag.as_millis(), known.offset_ms))
}

fn telling(mut message: Value, lag: &Value, offset: i64) -> Value {
    message["ext"] = json!({"timesync": {"tc": 7, "l": lag, "o": offset}});
    message
}

#[test]
fn the_embedder_sees_the_clock_estimates_of_clients() {
    let mut world = World::new(config(true));
    let quiet = world.open();
    let shaken = telling(json!({"channel": "/meta/handshake"}), &json!(3), 0);
    let client = world.reply(&shaken)["clientId"]
        .as_str()
        .expect("an id")
        .to_owned();
    assert_eq!(known(&world, &client), Some((3, 0)));
    let steps = [
        ("/meta/connect", json!(4), Some((4, -1))),
        ("/meta/subscribe", json!(5), Some((5, -1))),
        ("/meta/unsubscribe", json!(6), Some((6, -1))),
        ("/meta/ping", json!(7), Some((7, -1))),
        ("/meta/pong", json!(8), Some((7, -1))),
        ("/meta/ping", json!("9"), Some((7, -1))),
        ("/meta/ping", json!(-9), Some((7, -1))),
        ("/meta/ping", json!(3_600_001), Some((7, -1))),
    ];
    for (channel, lag, expected) in steps {
        let message = json!({"channel": channel, "clientId": client, "subscription": "/a"});
        world.reply(&telling(message, &lag, -1));
        assert_eq!(known(&world, &client), expected, "{channel} {lag}");
    }
    // Only where it is an extension's: not in a message for others, nor from a stranger.
    let publish = json!({"channel": "/a", "clientId": client, "data": 1});
    world.ask(&json!([telling(publish, &json!(10), 0)]));
    world.reply(&telling(json!({"channel": "/meta/ping"}), &json!(11), 0));
    assert_eq!(known(&world, &client), Some((7, -1)));
    assert_eq!(known(&world, &quiet), None);
    world.reply(&json!({"channel": "/meta/disconnect", "clientId": client}));
    assert_eq!(known(&world, &client), None, "it went with its session");
}

#[test]
fn a_server_without_the_extension_keeps_nothing() {
    let mut world = World::new(config(false));
    let client = world.open();
    let connect = json!({"channel": "/meta/connect", "clientId": client, "advice": {"timeout": 0}});
    world.reply(&telling(connect, &json!(4), 0));
    assert_eq!(known(&world, &client), None);
}

#[test]
fn denied_messages_leave_no_clock_estimate() {
    let policy = |request: &AuthRequest<'_>| match request.action {
        Action::Subscribe => Decision::deny("no"),
        // A policy sees what the client said before.
        Action::Unsubscribe if request.flags.get::<ClockEstimate>().is_none() => {
            Decision::deny("why")
        }
        _ => Decision::Allow,
    };
    let mut world = World::with_policy(config(true), Some(Box::new(policy)));
    let client = world.open();
    let about =
        |channel: &str| json!({"channel": channel, "clientId": client, "subscription": "/a"});
    for (channel, lag, successful, expected) in [
        ("/meta/subscribe", 4, false, None),
        ("/meta/unsubscribe", 5, false, None),
        ("/meta/ping", 6, true, Some((6, 0))),
        ("/meta/subscribe", 7, false, Some((6, 0))),
        ("/meta/unsubscribe", 8, true, Some((8, 0))),
    ] {
        let reply = world.reply(&telling(about(channel), &json!(lag), 0));
        assert_eq!(reply["successful"], successful, "{reply}");
        assert_eq!(known(&world, &client), expected, "{channel} {lag}");
    }
}
