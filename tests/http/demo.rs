//! The demo server: its services, its bot, its private channels, its files.

use std::time::SystemTime;

use serde_json::{Value, json};

use super::harness::{Client, On, World, data_of};
use crate::common::wait;

fn demo(on: On) -> World {
    World::with(on, |config| config.demo = None)
}

/// The data that a service answers, which comes before the reply; `None` if it failed.
fn call(client: &mut Client, channel: &str, data: &Value) -> Option<Value> {
    let items = client.send(&json!({"channel": channel, "id": "q", "data": data}));
    let (reply, answers) = items.split_last().expect("a reply");
    assert_eq!(reply["channel"], channel, "{items:?}");
    if reply["successful"] == false {
        assert_eq!(reply["error"], format!("500:{channel}:service_failed"));
        assert!(answers.is_empty(), "{items:?}");
        return None;
    }
    let answer = answers.first()?;
    assert_eq!(
        (&answer["channel"], &answer["id"]),
        (&json!(channel), &json!("q"))
    );
    Some(answer["data"].clone())
}

/// Waits for something that another thread brings about.
fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    wait::until(what, || look().ok_or("not yet"))
}

pub(crate) fn a_calculator(on: On) {
    let world = demo(on);
    let mut client = world.client();
    let table = [
        (json!({"a": 10, "operand": "*", "b": 2}), Some(json!(20))),
        (json!({"a": 10, "operand": "+", "b": 2}), Some(json!(12))),
        (json!({"a": 10, "operand": "-", "b": 2}), Some(json!(8))),
        (json!({"a": 10, "operand": "/", "b": 4}), Some(json!(2.5))),
        (json!({"a": 10, "operand": "/", "b": 0}), None),
        (json!({"a": 10, "operand": "%", "b": 2}), None),
        (json!({"a": 10, "operand": "+1;exit;", "b": 2}), None),
        (json!({"a": "10", "operand": "+", "b": 2}), None),
        (json!({"a": 10, "operand": "+"}), None),
        (json!({"a": 10, "operand": ["+"], "b": 2}), None),
        (json!([10, "+", 2]), None),
        (json!("10+2"), None),
        (Value::Null, None),
    ];
    for (data, answer) in table {
        let expected = answer.map(|answer| {
            let mut whole = data.clone();
            whole["answer"] = answer;
            whole
        });
        assert_eq!(
            call(&mut client, "/service/math", &data),
            expected,
            "{data}"
        );
    }
    assert_eq!(
        call(&mut client, "/service/echo", &json!([1])),
        Some(json!([1]))
    );
}

pub(crate) fn private_channels(on: On) {
    let world = demo(on);
    let (mut ann, mut bob) = (world.client(), world.client());
    let own = format!("/private/{}", ann.id);
    for pattern in [
        &own,
        "/private/*",
        "/private/**",
        "/**",
        "/private/top/secret",
    ] {
        let message = json!({"channel": "/meta/subscribe", "subscription": [pattern, "/a"]});
        let reply = bob.reply(&message);
        let expected = "403:Permission denied:subscribe_denied";
        assert_eq!(reply["error"], expected, "{pattern}");
    }
    ann.subscribe(&json!(own));
    bob.publish(&own, &json!("for you"));
    bob.publish("/a", &json!("not recorded either"));
    assert_eq!(data_of(&ann.poll()), [json!("for you")]);
    assert_eq!(data_of(&bob.poll()), [] as [Value; 0]);
    world
        .server
        .local_client()
        .subscribe("/**", |_| {})
        .unwrap()
        .keep();
}

pub(crate) fn a_bot_confirms(on: On) {
    let world = demo(on);
    let mut ann = world.client();
    ann.subscribe(&json!("/chat/demo"));
    let talk = [
        json!({"user": "Ann", "join": true, "chat": "Ann has joined"}),
        json!({"user": "Bot", "chat": "Beep", "bot": true}),
        json!({"user": "Twin", "chat": "I got your message, Jerkbot"}),
        json!({"user": "Ann", "chat": "Hello"}),
    ];
    // The bot may be so quick that its answer comes with the reply to what it answers.
    let mut heard = Vec::new();
    for line in &talk {
        heard.extend(data_of(
            &ann.send(&json!({"channel": "/chat/demo", "data": line})),
        ));
    }
    let confirmed = until("the bot answers", || {
        heard.extend(data_of(&ann.poll()));
        heard.iter().find(|data| data["user"] == "Jerkbot").cloned()
    });
    let expected = json!({"user": "Jerkbot", "bot": true, "chat": "I got your message, Ann"});
    assert_eq!(confirmed, expected);
    // What is heard in this process comes from a bot.
    let other = world.server.local_client();
    let line = json!({"user": "Ann", "chat": "Not a person"});
    other.publish("/chat/demo", &line).unwrap();
    let again = json!({"channel": "/chat/demo", "data": {"chat": "Again"}});
    let mut heard = data_of(&ann.send(&again));
    let bot = until("the bot answers", || {
        heard.extend(data_of(&ann.poll()));
        heard.iter().find(|data| data["bot"] == true).cloned()
    });
    assert_eq!(bot["chat"], "I got your message, anon", "{heard:?}");
}

pub(crate) fn who_is_there_and_what_was_said(on: On) {
    let world = demo(on);
    let (mut ann, mut bob) = (world.client(), world.client());
    let say = |client: &mut Client, data: Value| {
        client.publish("/chat/demo", &data);
    };
    say(
        &mut ann,
        json!({"user": "Ann", "join": true, "chat": "Ann has joined"}),
    );
    say(
        &mut bob,
        json!({"user": "Bob", "join": true, "chat": "Bob has joined"}),
    );
    for n in 0..60 {
        say(
            &mut ann,
            json!({"user": "Ann", "chat": format!("line {n}")}),
        );
    }
    until("all of it is noted", || {
        let said = call(&mut bob, "/service/chat/history", &json!({}))?;
        let lines = said["lines"].as_array()?.clone();
        (lines.last()?["chat"] == "line 59").then(|| {
            assert_eq!(lines.len(), 50);
            assert_eq!(lines[0], json!({"user": "Ann", "chat": "line 10"}));
        })
    });
    let names = |client: &mut Client| call(client, "/service/chat/members", &json!({}));
    assert_eq!(names(&mut bob), Some(json!({"members": ["Ann", "Bob"]})));
    ann.send(&json!({"channel": "/meta/disconnect"}));
    until("Ann is missed", || {
        (names(&mut bob)? == json!({"members": ["Bob"]})).then_some(())
    });
}

pub(crate) fn magnets_stay_where_they_were_put(on: On) {
    const SERVICE: &str = "/service/magnets";
    let world = demo(on);
    let (mut ann, mut bob) = (world.client(), world.client());
    bob.subscribe(&json!("/magnets/moved"));
    let put = |id: u32, x: u32| json!({"id": id, "x": x, "y": 1000, "by": "ann", "held": true});
    for (id, x) in [(0, 1), (63, 2), (0, 3)] {
        assert_eq!(call(&mut ann, SERVICE, &put(id, x)), None);
    }
    let place = |id: u32, x: u32, n: u32| json!({"id": id, "x": x, "y": 1000, "n": n});
    let told = |id, x, n| {
        let mut place = place(id, x, n);
        place["held"] = json!(true);
        place["by"] = json!("ann");
        place
    };
    assert_eq!(
        data_of(&bob.poll()),
        [told(0, 1, 1), told(63, 2, 2), told(0, 3, 3)]
    );
    let late = call(&mut world.client(), SERVICE, &json!({}));
    let places = json!([place(0, 3, 3), place(63, 2, 2)]);
    assert_eq!(late, Some(json!({"n": 3, "magnets": places})));
    for wrong in [
        put(64, 0),
        put(0, 1001),
        json!({"id": 0}),
        json!({"id": 0, "x": -1, "y": 0}),
        json!({"id": 0, "x": 0.5, "y": 0}),
        json!({"id": 0, "x": 0, "y": 0, "by": "x".repeat(33)}),
        json!("0"),
    ] {
        let reply = ann.reply(&json!({"channel": SERVICE, "data": wrong}));
        assert_eq!(
            reply["error"], "500:/service/magnets:service_failed",
            "{wrong}"
        );
    }
    assert_eq!(call(&mut ann, SERVICE, &json!({"tidy": true})), None);
    assert_eq!(data_of(&bob.poll()), [json!({"tidy": true, "n": 4})]);
    let empty = call(&mut ann, SERVICE, &json!({}));
    assert_eq!(empty, Some(json!({"n": 4, "magnets": []})));
}

pub(crate) fn pages_may_be_kept(on: On) {
    let world = demo(on);
    let mut connection = world.connection();
    for (target, hours) in [
        ("/css/demo.css", Some(2)),
        ("/js/bayeux.js", Some(2)),
        ("/favicon.svg", Some(1)),
        ("/", None),
    ] {
        let response = connection.get(target);
        assert_eq!(response.status, 200, "{target}");
        let Some(hours) = hours else {
            assert_eq!(response.header("expires"), None, "{target}");
            continue;
        };
        let expires = response.header("expires").expect("a date");
        let expires = httpdate::parse_http_date(expires).expect("an HTTP date");
        let left = expires.duration_since(SystemTime::now()).unwrap().as_secs();
        let asked = hours * 3600;
        assert!((asked - 60..=asked).contains(&left), "{target}: {left} s");
    }
}
