//! What the predecessors' own tests showed, and what went wrong with them: their black-box tests
//! rebuilt, the requests that ended their process, and each known trap.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bayeux::Action;
use bayeux::ClientId;
use bayeux::{
    Access, AuthRequest, Decision, DeliveryDecision, ServerBuilder, ServiceCall, ServiceReply,
};
use serde_json::{Value, json};

use super::harness::{HOLD, On, World, data_of, post_on};

/// The predecessor's ten rows, and what was observed of it beyond them: what it took by accident
/// is no channel here.
pub(crate) fn channel_matching(on: On) {
    let world = World::new(on);
    let mut client = world.client();
    for (published, pattern, matches) in [
        ("/chat/demo", "/chat/demo", true),
        ("/chat/demo/sub", "/chat/demo", false),
        ("/chat/demo", "/chat/*", true),
        ("/chat/demo/sub", "/chat/*", false),
        ("/chat/demo/sub", "/chat/**", true),
        ("/chat", "/chat/*", false),
        ("/chat", "/*", true),
        ("/chat/demo", "/*", false),
        ("/private/demo", "/chat/demo", false),
        // Of the tenth row, `/*/demo`, see below. From here on those beyond the ten.
        ("/a", "/a/**", false),
        ("/a/b", "/a/**", true),
        ("/a/b/c", "/a/**", true),
        ("/a", "/**", true),
        ("/a/b/c", "/**", true),
        ("/A", "/a", false),
    ] {
        client.subscribe(&json!(pattern));
        let heard = data_of(&client.publish(published, &json!(1))).len();
        assert_eq!(heard == 1, matches, "{published} {pattern}");
        let undo = json!({"channel": "/meta/unsubscribe", "subscription": pattern});
        assert_eq!(client.reply(&undo)["successful"], true);
    }
    for pattern in [
        "/*/demo",
        "/**/c",
        "/a/**/zzz",
        "/a/",
        "/a/*/",
        "/a//b",
        "/",
        "*",
        "**",
        "a",
        "/a/x*",
    ] {
        let message = json!({"channel": "/meta/subscribe", "subscription": pattern});
        assert_eq!(
            client.reply(&message)["error"],
            "403::subscription_invalid",
            "{pattern}"
        );
    }
    client.subscribe(&json!("/**"));
    for channel in ["/a/*", "/a/**", "/a/", "/a//b", "/", "a"] {
        let message = json!({"channel": channel, "data": 1});
        assert_eq!(
            client.reply(&message)["error"],
            "405::channel_invalid",
            "{channel}"
        );
    }
}

/// Subscribing below `/private` is refused.
fn private(on: On) -> World {
    let policy = |request: &AuthRequest<'_>| {
        let mut patterns = request.subscriptions.iter();
        let prohibited = patterns.any(|pattern| pattern.as_str().starts_with("/private/"));
        match request.action {
            Action::Subscribe if prohibited => Decision::deny("Private channel prohibited"),
            _ => Decision::Allow,
        }
    };
    World::built(on, |_| {}, |builder| builder.policy(policy))
}

pub(crate) fn acls(on: On) {
    let world = private(on);
    let (mut subscriber, mut publisher) = (world.client(), world.client());
    let secret = json!("/private/top/secret");
    let reply = subscriber.reply(&json!({"channel": "/meta/subscribe", "subscription": secret}));
    assert_eq!(
        (
            &reply["successful"],
            &reply["subscription"],
            &reply["error"]
        ),
        (
            &json!(false),
            &secret,
            &json!("403:Private channel prohibited:subscribe_denied")
        )
    );
    publisher.publish("/private/top/secret", &json!("psst"));
    assert_eq!(data_of(&subscriber.poll()), [] as [Value; 0]);
    subscriber.subscribe(&json!("/public/**"));
}

/// Subscribing and publishing in one request, before anything else: the publisher hears itself,
/// and so does another client.
pub(crate) fn server_and_client(on: On) {
    let world = World::new(on);
    let (mut client, mut other) = (world.client(), world.client());
    other.subscribe(&json!("/test/*"));
    let walrus = json!({"message": "I am a walrus"});
    let items = client.send(&json!([
        {"channel": "/meta/subscribe", "subscription": "/test/*"},
        {"channel": "/test/channel", "data": walrus},
    ]));
    let heard = [data_of(&items), data_of(&client.poll())].concat();
    assert_eq!(heard, std::slice::from_ref(&walrus));
    assert_eq!(data_of(&other.poll()), [walrus]);
}

/// A service that echoes, one that computes, one that fails, one that panics, and one for the
/// rest.
fn serving(builder: ServerBuilder) -> ServerBuilder {
    let echo = |call: &ServiceCall<'_>| Ok(vec![ServiceReply::raw_data(call.data)]);
    let math = |call: &ServiceCall<'_>| {
        let data: Value = serde_json::from_str(call.data).unwrap_or_default();
        match (
            data["a"].as_i64(),
            data["operand"].as_str(),
            data["b"].as_i64(),
        ) {
            (Some(a), Some("*"), Some(b)) => {
                Ok(vec![ServiceReply::data(&json!({"answer": a * b}))?])
            }
            _ => Err("only products here; the password is 1234".into()),
        }
    };
    builder
        .service("/service/echo", Access::Sessions, echo)
        .service("/service/math", Access::Sessions, math)
        .service("/service/panic", Access::Sessions, |_: &ServiceCall<'_>| {
            panic!("oh")
        })
        .service("/service/open", Access::Anyone, echo)
}

pub(crate) fn services(on: On) {
    let world = World::built(on, |_| {}, serving);
    let mut client = world.client();
    client.subscribe(&json!("/service/echo"));
    let items = client.send(&json!({"channel": "/service/echo", "id": "1", "data": {"msg": "hi"}}));
    let expected = json!({"channel": "/service/echo", "id": "1", "data": {"msg": "hi"},
        "successful": true});
    assert_eq!(
        items[0], expected,
        "nothing else is added, and it comes in the same response"
    );
    let items = client.send(&json!({"channel": "/service/echo", "data": 1}));
    let expected = json!({"channel": "/service/echo", "data": 1});
    assert_eq!(items[0], expected, "who gave no id waits for no answer");
    let product = json!({"a": 10, "operand": "*", "b": 2});
    let items = client.send(&json!({"channel": "/service/math", "id": "2", "data": product}));
    assert_eq!(items[0]["data"]["answer"], 20);
    for (channel, data, error) in [
        (
            "/service/math",
            json!("system('rm')"),
            "500:/service/math:service_failed",
        ),
        (
            "/service/panic",
            json!(1),
            "500:/service/panic:service_failed",
        ),
        (
            "/service/nothing",
            json!(1),
            "404:/service/nothing:unknown_service",
        ),
        (
            "/service/_handler",
            json!(1),
            "404:/service/_handler:unknown_service",
        ),
    ] {
        let reply = client.reply(&json!({"channel": channel, "data": data}));
        assert_eq!(reply["error"], error, "and not a word about why");
    }
    // With a fallback nothing is unknown, and it has no name.
    let fallback = |call: &ServiceCall<'_>| Ok(vec![ServiceReply::data(&call.channel.as_str())?]);
    let world = World::built(
        on,
        |_| {},
        |builder| serving(builder).fallback_service(Access::Sessions, fallback),
    );
    let mut client = world.client();
    for channel in ["/service/nothing", "/service/deep/er", "/service/_handler"] {
        let items = client.send(&json!({"channel": channel, "data": 1}));
        assert_eq!(items[0]["data"], channel);
    }
    let items = client.send(&json!({"channel": "/service/echo", "data": 7}));
    assert_eq!(items[0]["data"], 7, "a service of its own goes first");
}

/// One reply for each message, whatever its neighbours are; 400 for what is no batch.
pub(crate) fn errors_are_delivered(on: On) {
    let world = World::new(on);
    let mut client = world.client();
    let items = client.send(&json!([
        {"channel": "/x", "data": 1, "id": "1"},
        {"channel": 5, "id": "2"},
        {"channel": "/meta/nonsense", "id": "3"},
        {"channel": "no slash", "id": "4"},
        {"channel": "/service/none", "id": "5"},
        {"channel": "/x", "data": 2, "id": "6"},
    ]));
    let outcomes: Vec<(&Value, &Value)> = items
        .iter()
        .map(|item| {
            (
                &item["id"],
                item.get("error").unwrap_or(&item["successful"]),
            )
        })
        .collect();
    let expected = [
        (json!("1"), json!(true)),
        (json!("2"), json!("400:channel:invalid_field")),
        (
            json!("3"),
            json!("403:denied_by_security_policy:channel_create_denied"),
        ),
        (json!("4"), json!("405::channel_invalid")),
        (json!("5"), json!("404:/service/none:unknown_service")),
        (json!("6"), json!(true)),
    ];
    let expected: Vec<(&Value, &Value)> = expected.iter().map(|(a, b)| (a, b)).collect();
    assert_eq!(outcomes, expected);
    for bad in ["{", "7", "[1]", "message=%5B"] {
        let response = world
            .connection()
            .request("POST", "/cometd", "", bad.as_bytes());
        assert_eq!(response.status, 400, "{bad}");
    }
}

/// Each of these ended the predecessor's process; here each costs its sender an error.
pub(crate) fn one_request_does_not_end_the_server(on: On) {
    let failing = AtomicBool::new(false);
    let policy = move |request: &AuthRequest<'_>| match request.ext {
        Some(ext) if ext.contains("panic") && !failing.swap(true, Ordering::Relaxed) => {
            panic!("a bad policy")
        }
        _ => Decision::Allow,
    };
    let world = World::built(
        on,
        |_| {},
        |builder| {
            let heard = |_: &bayeux::Event| panic!("a bad observer");
            serving(builder).policy(policy).observer(heard)
        },
    );
    let mut client = world.client();
    for message in [
        json!({"channel": "/meta/connect"}),
        json!({"channel": "/meta/connect", "connectionType": "long-polling"}),
        json!({"channel": "/meta/disconnect"}),
        json!({"channel": "/meta/unsubscribe"}),
        json!({"channel": "/meta/unsubscribe", "subscription": "/x"}),
        json!({"channel": "/meta/subscribe"}),
        json!({"channel": "/meta/handshake", "ext": "a string"}),
        json!({"channel": "/meta/handshake", "ext": ["an", "array"]}),
        json!({"channel": "/meta/handshake", "ext": {"do": "panic"}}),
        json!({"channel": {}, "clientId": []}),
    ] {
        assert_eq!(world.reply(&message)["successful"], false, "{message}");
    }
    for message in [
        json!({"channel": "/meta/connect", "id": 1, "advice": {"timeout": 0}}),
        json!({"channel": "/meta/unsubscribe", "subscription": "/never"}),
    ] {
        assert_eq!(client.reply(&message)["successful"], true, "{message}");
    }
    for message in [
        json!({"channel": "/meta/unsubscribe"}),
        json!({"channel": "/service/panic", "data": 1}),
    ] {
        assert_eq!(client.reply(&message)["successful"], false, "{message}");
    }
    client.subscribe(&json!("/x"));
    assert_eq!(data_of(&client.publish("/x", &json!(1))), [json!(1)]);
}

/// No client is shown another's id, local clients cannot be named from outside, and ids have
/// nothing in common that could be guessed.
pub(crate) fn ids_are_no_secrets_of_others(on: On) {
    for shown in [false, true] {
        let world = World::with(on, |config| config.broker.expose_sender = shown);
        let local = world.server.local_client();
        let (mut a, mut b) = (world.client(), world.client());
        assert!(ClientId::parse(&a.id).is_some());
        let alike =
            a.id.bytes()
                .zip(b.id.bytes())
                .filter(|(a, b)| a == b)
                .count();
        assert!(alike < 12, "{} {}", a.id, b.id);
        b.subscribe(&json!("/x"));
        a.send(&json!({"channel": "/x", "data": 1, "sender": "forged", "id": "mine"}));
        a.publish("/x", &json!(2));
        local.publish("/x", &3).unwrap();
        let items = b.poll();
        assert_eq!(data_of(&items), [json!(1), json!(2), json!(3)]);
        let text = json!(items[..3]).to_string();
        assert!(!text.contains(&a.id) && !text.contains("forged") && !text.contains("mine"));
        let broker = world.server.broker();
        let id = ClientId::parse(&a.id).unwrap();
        let expected = broker.sender_id(id).map(Value::from);
        assert_eq!(expected.is_some(), shown);
        assert_eq!(items[0].get("sender"), expected.as_ref());
        assert_eq!(items[1].get("sender"), expected.as_ref());
        let local_sender = broker.sender_id(local.id()).map(Value::from);
        assert_eq!(items[2].get("sender"), local_sender.as_ref());
        assert!(!shown || expected != local_sender);
        for name in [local.id().0.to_string(), "local".to_owned()] {
            let message = json!({"channel": "/x", "clientId": name, "data": 1});
            assert_eq!(world.reply(&message)["error"], "402::session_unknown");
        }
    }
}

pub(crate) fn an_empty_id_is_nobody(on: On) {
    for anonymous in [false, true] {
        let world = World::with(on, |config| config.broker.anonymous_publish = anonymous);
        for channel in ["/meta/connect", "/meta/subscribe", "/x", "/service/x"] {
            let message = json!({"channel": channel, "clientId": "", "data": 1,
                "subscription": "/x", "connectionType": "long-polling"});
            let reply = world.reply(&message);
            assert_eq!(reply["error"], "402::session_unknown", "{reply}");
        }
        for wrong in [json!(0), json!([]), json!(false)] {
            let message = json!({"channel": "/x", "clientId": wrong, "data": 1});
            assert_eq!(world.reply(&message)["error"], "400:clientId:invalid_field");
        }
        assert_eq!(world.server.stats().broker.sessions, 0);
    }
}

pub(crate) fn services_ask_for_session_and_policy(on: On) {
    let policy = |request: &AuthRequest<'_>| match request.action {
        Action::Call if request.channel == "/service/math" => Decision::deny("no sums"),
        _ => Decision::Allow,
    };
    let world = World::built(on, |_| {}, |builder| serving(builder).policy(policy));
    let message = json!({"channel": "/service/echo", "data": 1});
    assert_eq!(world.reply(&message)["error"], "402::session_unknown");
    let open = world
        .post(&json!({"channel": "/service/open", "data": 1}))
        .messages();
    assert_eq!(
        (&open[0]["data"], &open[1]["successful"]),
        (&json!(1), &json!(true))
    );
    let mut client = world.client();
    let product = json!({"channel": "/service/math", "data": {"a": 1, "operand": "*", "b": 1}});
    assert_eq!(
        client.reply(&product)["error"],
        "403:no sums:publish_denied"
    );
}

pub(crate) fn what_is_denied_is_not_done(on: On) {
    let policy = |request: &AuthRequest<'_>| match request.action {
        Action::Disconnect | Action::Unsubscribe => Decision::deny("stay"),
        _ => Decision::Allow,
    };
    let world = World::built(on, |_| {}, |builder| builder.policy(policy));
    let mut client = world.client();
    client.subscribe(&json!("/x"));
    let message = json!({"channel": "/meta/unsubscribe", "subscription": "/x"});
    assert_eq!(
        client.reply(&message)["error"],
        "403:stay:unsubscribe_denied"
    );
    let message = json!({"channel": "/meta/disconnect"});
    assert_eq!(
        client.reply(&message)["error"],
        "403:stay:disconnect_denied"
    );
    assert_eq!(data_of(&client.publish("/x", &json!(1))), [json!(1)]);
}

pub(crate) fn files_outside_are_out_of_reach(on: On) {
    let world = World::with(on, |config| config.demo = Some(true));
    let mut connection = world.connection();
    for target in [
        "/../Cargo.toml",
        "/js/../../Cargo.toml",
        "/%2e%2e/Cargo.toml",
        "/js/..%2f..%2fCargo.toml",
        "/js/%5c..%5c..%5cCargo.toml",
        "/index.html%00.png",
    ] {
        let response = connection.get(target);
        assert!(
            matches!(response.status, 400 | 404),
            "{target}: {}",
            response.status
        );
        assert!(
            !response.text().contains("Cargo"),
            "{target}: nothing is repeated"
        );
    }
    let listing = connection.get("/js/");
    assert_eq!(
        (listing.status, listing.text()),
        (403, "Directory listing denied\n")
    );
}

/// A limit of two means two; whoever is not held is not counted, and a place that is given back
/// can be taken at once.
pub(crate) fn the_limit_of_held_connects_is_exact(on: On) {
    let world = World::with(on, |config| {
        config.broker.max_held_per_ip = Some(2);
        config.broker.timeout = Duration::from_secs(20);
    });
    let clients: Vec<_> = (0..3).map(|_| world.client()).collect();
    let _first = clients[0].hold(&world);
    let mut second = clients[1].hold(&world);
    let response = clients[2].connect().connection.response();
    assert_eq!(
        (response.status, &response.array()[0]["error"]),
        (503, &json!("503::held_limit"))
    );
    assert!(response.header("retry-after").is_some());
    // Others may do everything but wait.
    let mut third = world.client();
    third.publish("/x", &json!(1));
    let broker = world.server.broker();
    assert!(broker.disconnect(ClientId::parse(&clients[1].id).unwrap()));
    second.answer();
    let _third = clients[2].hold(&world);
    assert!(
        !broker.disconnect(ClientId::random()),
        "an unknown id is a result, no error"
    );
}

pub(crate) fn companions_wait_for_nothing(on: On) {
    let world = World::with(on, |config| config.broker.timeout = Duration::from_secs(20));
    let mut client = world.client();
    let begun = Instant::now();
    let connect = json!({"channel": "/meta/connect", "id": "c", "connectionType": "long-polling"});
    let items = client.send(&json!([
        {"channel": "/meta/subscribe", "subscription": "/x", "id": "s"}, connect
    ]));
    assert_eq!(items.len(), 2);
    let items = world
        .post(&json!([connect, {"channel": "/meta/handshake", "id": "h"}]))
        .messages();
    assert_eq!(
        (&items[0]["id"], &items[1]["successful"]),
        (&json!("c"), &json!(true))
    );
    assert!(begun.elapsed() < Duration::from_secs(5));
    // A poll that came with company has no mark that something else could erase.
    let mut held = client.hold(&world);
    client.subscribe(&json!("/y"));
    let mut publisher = world.client();
    publisher.publish("/x", &json!(1));
    assert_eq!(data_of(&held.answer()), [json!(1)]);
}

pub(crate) fn a_second_connect_keeps_the_session(on: On) {
    let world = World::with(on, |config| config.broker.timeout = Duration::from_secs(20));
    let mut client = world.client();
    client.subscribe(&json!("/x"));
    let mut older = client.hold(&world);
    let mut newer = client.connect_with(&json!({"error": "x"}));
    let reply = older.answer().remove(0);
    assert_eq!(reply["error"], "409::connect_superseded");
    assert_eq!(
        reply["advice"]["reconnect"], "retry",
        "nobody loses the session"
    );
    world.client().publish("/x", &json!(1));
    assert_eq!(data_of(&newer.answer()), [json!(1)]);
    assert_eq!(data_of(&client.poll()), [] as [Value; 0], "and once only");
}

/// Events for a connect that is gone come with the next one, in order and once, with the ids that
/// they had.
pub(crate) fn messages_outlive_a_lost_connect(on: On) {
    let world = World::new(on);
    let (mut client, mut publisher) = (world.client(), world.client());
    client.subscribe(&json!("/x"));
    let held = client.hold(&world);
    drop(held);
    // The small connector does not see that; there the hold has to end first.
    world.until("nothing is held", |stats| stats.broker.held == 0);
    for n in 0..3 {
        publisher.publish("/x", &json!(n));
    }
    let items = client.poll();
    assert_eq!(data_of(&items), [json!(0), json!(1), json!(2)]);
    assert!(
        items[..3].iter().all(|item| item.get("id").is_none()),
        "{items:?}"
    );
}

pub(crate) fn the_first_connect_returns_at_once(on: On) {
    let world = World::with(on, |config| config.broker.timeout = Duration::from_secs(20));
    let handshake = world.reply(&json!({"channel": "/meta/handshake"}));
    let begun = Instant::now();
    let connect = json!({"channel": "/meta/connect", "clientId": handshake["clientId"],
        "connectionType": "long-polling"});
    assert_eq!(world.reply(&connect)["successful"], true);
    assert!(begun.elapsed() < Duration::from_secs(5));
}

pub(crate) fn the_id_zero_comes_back(on: On) {
    let world = World::built(on, |_| {}, serving);
    let mut client = world.client();
    for id in [json!("0"), json!(0)] {
        for message in [
            json!({"channel": "/meta/subscribe", "subscription": "/x", "id": id}),
            json!({"channel": "/y", "data": 1, "id": id}),
        ] {
            assert_eq!(client.reply(&message)["id"], id);
        }
        let items = client.send(&json!({"channel": "/service/echo", "data": 1, "id": id}));
        assert_eq!((&items[0]["id"], &items[1]["id"]), (&id, &id));
        let handshake = world.reply(&json!({"channel": "/meta/handshake", "id": id}));
        assert_eq!(handshake["id"], id);
    }
}

/// Stopping answers what is held, may be asked for twice, and tells local clients nothing worse
/// than that it is over.
pub(crate) fn stopping_with_held_connects_twice(on: On) {
    let world = World::with(on, |config| config.broker.timeout = Duration::from_secs(60));
    let client = world.client();
    let mut held = client.hold(&world);
    let local = world.server.local_client();
    world.server.broker().drain(Duration::ZERO);
    world.server.broker().drain(Duration::ZERO);
    assert_eq!(held.answer()[0]["successful"], true);
    assert_eq!(local.publish("/x", &1), Ok(0));
    let begun = Instant::now();
    world.server.shutdown(Duration::from_secs(5));
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert_eq!(local.recv_timeout(Duration::ZERO).map(|_| ()), None);
}

/// The harness takes no answer without a length; here for one that had to wait.
pub(crate) fn every_answer_has_a_length(on: On) {
    let world = World::new(on);
    let client = world.client();
    let begun = Instant::now();
    let response = client.hold(&world).connection.response();
    for name in ["content-length", "content-type", "date"] {
        assert!(response.header(name).is_some(), "{name}");
    }
    assert!(begun.elapsed() >= HOLD / 2);
}

/// A stock library of old says subscribe where it means unsubscribe.
pub(crate) fn a_repeated_subscribe_is_harmless(on: On) {
    let world = World::new(on);
    let mut client = world.client();
    for _ in 0..3 {
        client.subscribe(&json!("/chat/demo"));
    }
    assert_eq!(
        data_of(&client.publish("/chat/demo", &json!(1))),
        [json!(1)]
    );
    assert_eq!(world.server.stats().broker.subscriptions, 1);
}

/// The hook that could not be passed to the predecessor's constructor.
pub(crate) fn a_callback_filters_deliveries(on: On) {
    let asked: Arc<Mutex<usize>> = Arc::default();
    let count = Arc::clone(&asked);
    let filter = move |delivery: &bayeux::Delivery<'_>| {
        *count.lock().unwrap() += 1;
        match delivery.flags.get::<&str>().as_deref() {
            Some(&"deaf") => DeliveryDecision::Drop,
            Some(&"partial") => {
                let other = delivery.publication.with_data("\"...\"");
                DeliveryDecision::Replace(Arc::new(other))
            }
            Some(&"bad") => panic!("a bad filter"),
            _ => DeliveryDecision::Pass,
        }
    };
    let policy = |request: &AuthRequest<'_>| {
        if let (Action::Handshake, Some(ext)) = (request.action, request.ext) {
            let kinds = ["deaf", "partial", "bad"];
            if let Some(kind) = kinds.into_iter().find(|kind| ext.contains(kind)) {
                request.flags.set(kind);
            }
        }
        Decision::Allow
    };
    let world = World::built(
        on,
        |_| {},
        |builder| builder.policy(policy).delivery_filter(filter),
    );
    let open = |kind: &str| {
        let handshake = json!({"channel": "/meta/handshake", "ext": {"kind": kind}});
        let reply = post_on(&mut world.connection(), "", &handshake)
            .messages()
            .remove(0);
        let id = reply["clientId"].as_str().unwrap().to_owned();
        let subscribe = json!({"channel": "/meta/subscribe", "clientId": id, "subscription": "/x"});
        assert_eq!(world.reply(&subscribe)["successful"], true);
        id
    };
    let ids = ["deaf", "partial", "bad", "plain"].map(open);
    let message = json!({"channel": "/x", "clientId": ids[0], "data": "all of it"});
    assert_eq!(world.reply(&message)["successful"], true);
    assert_eq!(*asked.lock().unwrap(), 4);
    let got = ids.map(|id| {
        let connect = json!({"channel": "/meta/connect", "clientId": id,
            "connectionType": "long-polling", "advice": {"timeout": 0}});
        data_of(&world.post(&connect).messages())
    });
    assert_eq!(
        got,
        [vec![], vec![json!("...")], vec![], vec![json!("all of it")]]
    );
}
