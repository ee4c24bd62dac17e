//! The life of sessions in a world without sockets: holding, waking, superseding, expiry, flights.

use std::sync::{Mutex, mpsc};
use std::time::Duration;

use bayeux::Reason;
use bayeux::connector::AnswerStatus;
use bayeux::{
    Access, AuthRequest, BrokerConfig, Decision, Overflow, ServiceCall, ServiceReply, Verdict,
};
use bayeux::{BrowserId, Transport};
use serde_json::{Value, json};

use crate::common::world::{World, connect, data_of};

fn world() -> World {
    World::new(BrokerConfig::default())
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

#[test]
fn a_publish_ends_a_hold_with_the_message_before_the_reply() {
    let mut world = world();
    let (a, b) = (world.open(), world.open());
    assert_eq!(world.subscribe(&a, &json!("/x"))["successful"], true);
    let held = world.hold(&connect(&a));
    assert_eq!(
        world.publish(&b, "/x", &json!({"n": 1})),
        [json!({"channel": "/x", "id": "p", "clientId": b, "successful": true})]
    );
    assert_eq!(
        world.answer(held).written(),
        [
            json!({"channel": "/x", "data": {"n": 1}}),
            json!({"channel": "/meta/connect", "id": "c", "clientId": a, "successful": true}),
        ]
    );
}

/// While others wait for their turn, whoever comes back for messages lines up, and takes with it
/// what arrives until then. Where it must not be held it is answered at once.
#[test]
fn a_connect_lines_up_behind_others_that_were_woken() {
    let mut world = world();
    world.browser = Some(BrowserId(1));
    let (a, b) = (world.open(), world.open());
    world.subscribe(&a, &json!("/x"));
    world.publish(&b, "/x", &json!(1));
    world.fall_behind(true);
    let late = world.send(&json!([connect(&a)])).err().unwrap();
    world.publish(&b, "/x", &json!(2));
    let items = world.answer(late).written();
    assert_eq!(data_of(&items), [json!(1), json!(2)]);
    assert_eq!(world.broker.stats().held, 0);

    world.fall_behind(false);
    let other = world.hold(&connect(&b));
    world.publish(&b, "/x", &json!(3));
    world.fall_behind(true);
    let items = world.send(&json!([connect(&a)])).ok().unwrap().written();
    assert_eq!(data_of(&items), [json!(3)], "its browser holds another");
    assert_eq!(items[1].get("advice"), None);
    world.fall_behind(false);
    world.leave(other);
}

#[test]
fn a_hold_ends_at_its_timeout_and_carries_no_advice() {
    let mut world = world();
    let a = world.open();
    let held = world.hold(&connect(&a));
    world.advance(seconds(29));
    assert!(world.answers().is_empty());
    world.advance(seconds(1));
    let reply = world.answer(held).written().remove(0);
    assert_eq!(reply["successful"], true);
    assert_eq!(reply.get("advice"), None);
}

#[test]
fn a_newer_connect_supersedes_the_older_one() {
    let mut world = world();
    let (a, b) = (world.open(), world.open());
    world.subscribe(&a, &json!("/x"));
    let older = world.hold(&connect(&a));
    let newer = world.hold(&connect(&a));
    let reply = world.answer(older).written().remove(0);
    assert_eq!(reply["error"], "409::connect_superseded");
    assert_eq!(
        reply["advice"],
        json!({"reconnect": "retry", "interval": 2000})
    );
    world.publish(&b, "/x", &json!(7));
    let items = world.answer(newer).written();
    assert_eq!(data_of(&items), [json!(7)]);
    assert_eq!(
        items[1]["advice"]["interval"], 0,
        "what the client was last told is taken back"
    );
}

#[test]
fn what_a_broken_connection_did_not_write_comes_again_before_what_is_newer() {
    let mut world = world();
    let (a, b) = (world.open(), world.open());
    world.subscribe(&a, &json!("/x"));
    let first = world.hold(&connect(&a));
    world.publish(&b, "/x", &json!(1));
    let unwritten = world.answer(first);
    world.publish(&b, "/x", &json!(2));
    let second = world.hold(&connect(&a));
    assert!(unwritten.is_cut(), "the newer connect wants it");
    assert!(
        world.answers().is_empty(),
        "nothing overtakes what is in flight"
    );
    unwritten.broken();
    assert_eq!(
        data_of(&world.answer(second).written()),
        [json!(1), json!(2)]
    );
}

#[test]
fn what_was_written_wakes_a_newer_connect_for_the_rest_only() {
    let mut world = world();
    let (a, b) = (world.open(), world.open());
    world.subscribe(&a, &json!("/x"));
    let first = world.hold(&connect(&a));
    world.publish(&b, "/x", &json!(1));
    let writing = world.answer(first);
    let second = world.hold(&connect(&a));
    world.publish(&b, "/x", &json!(2));
    assert_eq!(data_of(&writing.written()), [json!(1)]);
    assert_eq!(data_of(&world.answer(second).written()), [json!(2)]);
}

#[test]
fn own_messages_ride_along_once() {
    let mut world = world();
    let a = world.open();
    world.subscribe(&a, &json!("/x"));
    let held = world.hold(&connect(&a));
    let items = world.publish(&a, "/x", &json!("own"));
    assert_eq!(items[0], json!({"channel": "/x", "data": "own"}));
    assert_eq!(items[1]["successful"], true);
    assert!(
        world.answers().is_empty(),
        "the held connect has nothing to say"
    );
    world.advance(seconds(30));
    assert_eq!(world.answer(held).written().len(), 1);
}

#[test]
fn sessions_expire_after_their_grace_and_not_while_held() {
    let mut world = world();
    let (a, never) = (world.open(), world.handshake());
    world.advance(Duration::from_millis(30_100));
    let reply = world.reply(&connect(&never));
    assert_eq!(reply["error"], "402::session_unknown");
    assert_eq!(
        reply["advice"],
        json!({"reconnect": "handshake", "interval": 0})
    );
    let held = world.hold(&connect(&a));
    world.advance(seconds(25));
    world.leave(held);
    world.advance(Duration::from_millis(119_900));
    assert_eq!(world.broker.stats().sessions, 1);
    world.advance(Duration::from_millis(200));
    assert_eq!(world.broker.stats().sessions, 0);
    assert_eq!(world.broker.stats().ended_expired, 2);
}

#[test]
fn disconnecting_answers_the_held_connect_and_takes_the_subscriptions_along() {
    let mut world = world();
    let a = world.open();
    world.subscribe(&a, &json!(["/x", "/y/**"]));
    let held = world.hold(&connect(&a));
    let bye = json!({"channel": "/meta/disconnect", "clientId": a});
    assert_eq!(world.reply(&bye)["successful"], true);
    let reply = world.answer(held).written().remove(0);
    assert_eq!(
        (&reply["successful"], &reply["advice"]),
        (&json!(true), &json!({"reconnect": "none"}))
    );
    let stats = world.broker.stats();
    assert_eq!((stats.sessions, stats.subscriptions, stats.held), (0, 0, 0));
    assert_eq!(world.reply(&bye)["error"], "402::session_unknown");
}

/// A session for which there were so many messages and is room for three.
fn a_full_queue(overflow: Overflow, messages: u32) -> (World, String) {
    let mut config = BrokerConfig::default();
    config.queue.messages = 3;
    config.queue.overflow = overflow;
    let mut world = World::new(config);
    let (a, b) = (world.open(), world.open());
    world.subscribe(&a, &json!("/x"));
    for n in 0..messages {
        world.publish(&b, "/x", &json!(n));
    }
    (world, a)
}

#[test]
fn overflow_policies() {
    for (overflow, expected) in [
        (Overflow::DropOldest, vec![json!(2), json!(3), json!(4)]),
        (Overflow::DropNewest, vec![json!(0), json!(1), json!(2)]),
    ] {
        let (mut world, a) = a_full_queue(overflow, 5);
        assert_eq!(
            data_of(&world.ask(&json!([connect(&a)]))),
            expected,
            "{overflow:?}"
        );
    }
    let default = BrokerConfig::default().queue.overflow;
    let (mut world, a) = a_full_queue(default, 4);
    assert_eq!(
        world.reply(&connect(&a))["advice"]["reconnect"],
        "handshake"
    );
    assert_eq!(world.broker.stats().queued_bytes, 0);
}

#[test]
fn limits_are_refused_whole() {
    let mut world = World::new(BrokerConfig {
        max_sessions: 2,
        max_held_per_ip: Some(1),
        ..BrokerConfig::default()
    });
    let (a, b) = (world.open(), world.open());
    let two = json!([{"channel": "/meta/handshake"}, {"channel": "/x", "clientId": a, "data": 1}]);
    let refused = world.send(&two).unwrap_or_else(|_| panic!("answered"));
    assert_eq!(refused.status, AnswerStatus::Unavailable);
    let items = refused.written();
    assert_eq!(items.len(), 2);
    assert!(
        items
            .iter()
            .all(|item| item["error"] == "503::session_limit")
    );
    let held = world.hold(&connect(&a));
    let refused = world
        .send(&json!([connect(&b)]))
        .unwrap_or_else(|_| panic!("answered"));
    assert_eq!(refused.status, AnswerStatus::Unavailable);
    assert_eq!(refused.written()[0]["error"], "503::held_limit");
    world.hold(&connect(&a));
    drop(world.answer(held));
}

#[test]
fn user_code_runs_elsewhere_and_its_answer_comes_later() {
    let policy = |request: &AuthRequest<'_>| match request.channel {
        "/secret" => Decision::deny("no"),
        "/boom" => panic!("a bad policy"),
        _ => Decision::Allow,
    };
    let mut world = World::with_policy(BrokerConfig::default(), Some(Box::new(policy)));
    let echo = |call: &ServiceCall<'_>| Ok(vec![ServiceReply::raw_data(call.data)]);
    world
        .broker
        .add_service("/service/echo", Access::Sessions, echo)
        .unwrap();
    world
        .broker
        .add_listener("/veto", |_: &AuthRequest<'_>| Verdict::Veto)
        .unwrap();
    let a = world.handshake();
    let say = |channel: &str| json!({"channel": channel, "clientId": a, "id": 1, "data": [1]});
    let batch = json!([
        say("/secret"),
        say("/service/echo"),
        say("/boom"),
        say("/veto"),
        say("/x")
    ]);
    let items = world.ask(&batch);
    let errors: Vec<&Value> = items.iter().map(|item| &item["error"]).collect();
    assert_eq!(
        errors,
        [
            &json!("403:no:publish_denied"),
            &Value::Null,
            &Value::Null,
            &json!("403::publish_denied"),
            &json!("404::message_deleted"),
            &Value::Null,
        ]
    );
    assert_eq!(
        items[1],
        json!({"channel": "/service/echo", "id": 1, "data": [1], "successful": true})
    );
}

#[test]
fn local_clients_receive_and_publish() {
    let mut world = world();
    let bot = world.broker.local_client();
    let a = world.open();
    world.subscribe(&a, &json!("/chat/*"));
    let _queue = bot.subscribe_queue("/chat/**").unwrap();
    world.publish(&a, "/chat/x", &json!("hello"));
    let message = bot.recv_timeout(seconds(5)).expect("the message");
    assert_eq!(message.data(), "\"hello\"");
    let held = world.hold(&connect(&a));
    assert_eq!(bot.publish("/chat/y", &"hi").unwrap(), 2);
    assert_eq!(data_of(&world.answer(held).written()), [json!("hi")]);
    assert!(bot.publish("/chat/*", &1).is_err());
    drop(bot);
    assert_eq!(world.broker.stats().subscriptions, 1);
}

/// A call that finds too many others before it fails, and is forgotten with its caller.
#[test]
fn what_comes_behind_a_call_that_fails_is_not_of_its_caller() {
    let mut world = world();
    let (entered, enters) = mpsc::channel();
    let (go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let slow = move |_: &ServiceCall<'_>| {
        entered.send(()).ok();
        // Until the test is over.
        let _ = wait.lock().unwrap().recv();
        Ok(Vec::<ServiceReply>::new())
    };
    let broker = world.broker.clone();
    broker
        .add_service("/service/slow", Access::Anyone, slow)
        .unwrap();
    let a = world.open();
    world.subscribe(&a, &json!("/x"));
    let call = json!([{"channel": "/service/slow", "data": 1}]);
    assert!(world.send(&call).is_err());
    enters.recv_timeout(seconds(20)).unwrap();
    // A quarter of what may wait for a service: all come from one address.
    for _ in 0..2_500 {
        assert!(world.send(&call).is_err(), "it waits");
    }
    let items = world.ask(&json!([
        {"channel": "/service/slow", "clientId": a, "data": 1},
        {"channel": "/x", "clientId": "0", "data": 2},
    ]));
    let errors: Vec<_> = items.iter().map(|item| item["error"].as_str()).collect();
    let expected = ["503:/service/slow:busy", "402::session_unknown"];
    assert_eq!(errors, expected.map(Some));
    let refused = world.broker.refusals().snapshot();
    assert!(refused.contains(&(Reason::Busy, 1)), "{refused:?}");
    drop(go);
}

#[test]
fn draining_answers_every_held_connect() {
    let mut world = world();
    let clients = [world.open(), world.open()];
    let held: Vec<u64> = clients
        .iter()
        .map(|client| world.hold(&connect(client)))
        .collect();
    world.broker.drain(Duration::from_millis(20));
    let answers = world.answers();
    for key in held {
        let response = &answers[&key];
        assert!(response.close);
        assert_eq!(response.items[0]["successful"], true);
        assert_eq!(response.items[0].get("advice"), None);
    }
    let refused = world
        .send(&json!([connect(&clients[0])]))
        .unwrap_or_else(|_| panic!("answered"));
    assert_eq!(refused.items[0]["error"], "503::draining");
}

#[test]
fn the_bounds_on_held_connects_are_for_polling_only() {
    let mut world = World::new(BrokerConfig {
        max_held_per_ip: Some(1),
        ..BrokerConfig::default()
    });
    world.browser = Some(BrowserId(7));
    let clients = [world.open(), world.open(), world.open()];
    world.hold(&connect(&clients[0]));
    let slow = world.reply(&connect(&clients[1]));
    assert_eq!(
        (&slow["successful"], &slow["advice"]),
        (
            &json!(true),
            &json!({"multiple-clients": true, "reconnect": "retry", "interval": 2000})
        )
    );
    world.transport = Transport::WebSocket;
    world.hold(&connect(&clients[1]));
    world.hold(&connect(&clients[2]));
    assert_eq!(world.broker.stats().held, 3);
}

#[test]
fn messages_bound_to_connects_leave_with_no_other_reply() {
    let mut world = World::new(BrokerConfig {
        meta_connect_deliver_only: true,
        ..BrokerConfig::default()
    });
    let (a, b) = (world.open(), world.open());
    world.subscribe(&a, &json!("/x"));
    world.subscribe(&b, &json!("/x"));
    assert_eq!(world.publish(&a, "/x", &json!(1)).len(), 1);
    let both = world.ask(&json!([connect(&a), connect(&b)]));
    assert_eq!(data_of(&both), [json!(1)], "those of the first session");
    assert_eq!(data_of(&world.ask(&json!([connect(&b)]))), [json!(1)]);
    let held = world.hold(&connect(&a));
    assert_eq!(world.publish(&a, "/x", &json!(2)).len(), 1);
    assert_eq!(data_of(&world.answer(held).written()), [json!(2)]);
}

#[test]
fn a_slow_service_delays_nobody_but_its_caller() {
    let mut world = world();
    let (go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let slow = move |_: &ServiceCall<'_>| {
        wait.lock().unwrap().recv().unwrap();
        Ok(Vec::new())
    };
    world
        .broker
        .add_service("/service/slow", Access::Sessions, slow)
        .unwrap();
    let (a, b) = (world.open(), world.open());
    world.subscribe(&b, &json!("/x"));
    let held = world.hold(&connect(&b));
    let Err(key) = world.send(&json!([
        {"channel": "/x", "clientId": a, "data": 1},
        {"channel": "/service/slow", "clientId": a},
    ])) else {
        panic!("the service waits")
    };
    assert_eq!(data_of(&world.answer(held).written()), [json!(1)]);
    go.send(()).unwrap();
    assert_eq!(world.worked(key).written().len(), 2);
}
