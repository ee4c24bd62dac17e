//! Held connects: when they are answered, and by whom.

use std::time::{Duration, Instant};

use bayeux::Publisher;
use bayeux::Reason;
use bayeux::{ClientId, Publication};
use serde_json::{Value, json};

use super::harness::{A_WHILE, HOLD, On, World, data_of, post_on};

const ADVICE_LATER: Duration = Duration::from_millis(500);

pub(crate) fn held_until_the_timeout(on: On) {
    let world = World::new(on);
    let client = world.client();
    let (answer, time) = client.connect().timed_answer();
    let expected = json!([{"channel": "/meta/connect", "id": "held", "clientId": client.id,
        "successful": true}]);
    // The first connect asked for no time, and its reply told so: this one says what is usual.
    let mut reply = answer;
    reply[0].as_object_mut().unwrap().remove("advice");
    assert_eq!(Value::Array(reply), expected);
    assert!(
        time >= HOLD && time < HOLD + Duration::from_secs(1),
        "{time:?}"
    );
}

pub(crate) fn the_wish_for_a_shorter_hold_is_granted(on: On) {
    let world = World::new(on);
    let client = world.client();
    let advice = json!({"advice": {"timeout": 300}});
    let (_, time) = client.connect_with(&advice).timed_answer();
    assert!(
        time >= Duration::from_millis(300) && time < HOLD,
        "{time:?}"
    );
    let advice = json!({"advice": {"timeout": 3_600_000}});
    let (_, time) = client.connect_with(&advice).timed_answer();
    assert!(
        time >= HOLD && time < HOLD + Duration::from_secs(1),
        "never longer: {time:?}"
    );
}

pub(crate) fn a_message_ends_the_hold(on: On) {
    let world = World::new(on);
    let (mut a, mut b) = (world.client(), world.client());
    a.subscribe(&json!("/x"));
    let mut held = a.hold(&world);
    assert!(held.is_held());
    let published = Instant::now();
    b.publish("/x", &json!({"n": 1}));
    let answer = held.answer();
    assert!(
        published.elapsed() < ADVICE_LATER,
        "{:?}",
        published.elapsed()
    );
    assert_eq!(
        answer[0],
        json!({"channel": "/x", "data": {"n": 1}}),
        "before the reply"
    );
    assert_eq!((answer.len(), &answer[1]["id"]), (2, &json!("held")));
}

pub(crate) fn other_messages_do_not(on: On) {
    let world = World::new(on);
    let (mut a, mut b) = (world.client(), world.client());
    a.subscribe(&json!("/x"));
    let mut held = a.hold(&world);
    b.publish("/y", &json!(1));
    assert!(held.is_held());
}

pub(crate) fn messages_between_connects_wait_for_the_next(on: On) {
    let world = World::new(on);
    let (mut a, mut b) = (world.client(), world.client());
    a.subscribe(&json!("/x"));
    for n in 0..3 {
        b.publish("/x", &json!(n));
    }
    let (answer, time) = a.connect().timed_answer();
    assert_eq!(data_of(&answer), [json!(0), json!(1), json!(2)]);
    assert!(time < ADVICE_LATER, "at once: {time:?}");
}

pub(crate) fn a_newer_connect_takes_over(on: On) {
    let world = World::new(on);
    let (mut a, mut b) = (world.client(), world.client());
    a.subscribe(&json!("/x"));
    let mut older = a.hold(&world);
    let mut newer = a.connect();
    let reply = older.answer().remove(0);
    assert_eq!(reply["error"], "409::connect_superseded");
    assert_eq!(reply["successful"], false);
    assert_eq!(
        reply["advice"],
        json!({"reconnect": "retry", "interval": 2000})
    );
    assert!(newer.is_held());
    b.publish("/x", &json!("for the newer"));
    assert_eq!(data_of(&newer.answer()), [json!("for the newer")]);
}

pub(crate) fn in_company_never_held(on: On) {
    let world = World::new(on);
    let mut client = world.client();
    let begun = Instant::now();
    let answer = client.send(&json!([
        {"channel": "/meta/connect", "connectionType": "long-polling"},
        {"channel": "/meta/subscribe", "subscription": "/x"},
    ]));
    assert_eq!(answer.len(), 2);
    assert!(begun.elapsed() < ADVICE_LATER, "{:?}", begun.elapsed());
}

pub(crate) fn disconnecting_ends_the_hold(on: On) {
    let world = World::new(on);
    let mut client = world.client();
    let mut held = client.hold(&world);
    assert_eq!(
        client.reply(&json!({"channel": "/meta/disconnect"}))["successful"],
        true
    );
    let reply = held.answer().remove(0);
    assert_eq!(reply["successful"], true);
    assert_eq!(reply["advice"]["reconnect"], "none");
    let reply = client.reply(&json!({"channel": "/x", "data": 1}));
    assert_eq!(reply["error"], "402::session_unknown");
}

pub(crate) fn the_server_may_end_a_session(on: On) {
    let world = World::new(on);
    let client = world.client();
    let mut held = client.hold(&world);
    let id = ClientId::parse(&client.id).expect("our own id");
    assert!(world.server.broker().disconnect(id));
    let answer = held.answer();
    assert_eq!(
        answer[0],
        json!({"channel": "/meta/disconnect", "successful": true})
    );
    assert_eq!(answer[1]["advice"]["reconnect"], "none");
}

/// Three hundred clients are pushed a message and sent away: in a poll, between two, or at any
/// moment.
pub(crate) fn a_push_and_then_the_end_lose_nothing(on: On) {
    let world = World::with(on, |config| config.broker.timeout = Duration::from_secs(20));
    let broker = world.server.broker();
    for round in 0..300 {
        let mut client = world.client();
        let mut held = match round % 3 {
            0 => Some(client.hold(&world)),
            1 => Some(client.connect()),
            _ => None,
        };
        let id = ClientId::parse(&client.id).expect("our own id");
        let channel = "/kicked".try_into().expect("a channel");
        let message = Publication::new(&channel, &round.to_string(), Publisher::Nobody);
        broker.push(id, message).expect("there is room");
        assert!(broker.disconnect(id));
        let mut items = Vec::new();
        while items
            .iter()
            .all(|item: &Value| item["advice"]["reconnect"] != "none")
        {
            items.extend(match held.take() {
                Some(mut held) => held.answer(),
                None => client.poll(),
            });
            let failed = items.iter().find(|item| item["successful"] == false);
            assert_eq!(failed, None, "round {round}");
        }
        let channels = items.iter().filter_map(|item| item["channel"].as_str());
        let mut told: Vec<&str> = channels.collect();
        let end = told
            .iter()
            .position(|channel| *channel == "/meta/disconnect");
        let after = told.split_off(end.expect("it is told") + 1);
        assert_eq!(after, ["/meta/connect"], "round {round}");
        // Before that a connect may have been answered as any other.
        told.retain(|channel| *channel != "/meta/connect");
        assert_eq!(told, ["/kicked", "/meta/disconnect"], "round {round}");
        let data = items.iter().find(|item| item["channel"] == "/kicked");
        assert_eq!(data.expect("it is told")["data"], round);
    }
    world.until("all are gone", |stats| stats.broker.sessions == 0);
    assert_eq!(world.server.stats().broker.dropped_with_session, 0);
}

pub(crate) fn silent_sessions_expire(on: On) {
    let world = World::with(on, |config| {
        config.broker.max_interval = Duration::from_millis(400)
    });
    let mut client = world.client();
    let mut held = client.hold(&world);
    std::thread::sleep(Duration::from_millis(800));
    assert_eq!(world.server.stats().broker.sessions, 1, "held, so it lives");
    held.answer();
    world.until("it expires", |stats| stats.broker.sessions == 0);
    let reply = client.poll().remove(0);
    assert_eq!(reply["error"], "402::session_unknown");
    assert_eq!(
        reply["advice"],
        json!({"reconnect": "handshake", "interval": 0})
    );
}

pub(crate) fn a_peer_that_leaves_is_noticed(on: On) {
    let world = World::new(on);
    let (mut a, mut b) = (world.client(), world.client());
    a.subscribe(&json!("/x"));
    for half in [true, false] {
        let held = a.hold(&world);
        if half {
            held.connection.half_close();
            world.until("it is noticed", |stats| stats.broker.held == 0);
        }
        drop(held);
        world.until("it is noticed", |stats| stats.broker.held == 0);
        b.publish("/x", &json!(half));
        assert_eq!(data_of(&a.poll()), [json!(half)], "nothing is lost");
    }
}

pub(crate) fn one_address_may_hold_so_many(on: On) {
    let world = World::with(on, |config| config.broker.max_held_per_ip = Some(1));
    let (a, b) = (world.client(), world.client());
    let mut held = a.hold(&world);
    let refused = b.connect().connection.response();
    assert_eq!(refused.status, 503);
    assert!(refused.header("retry-after").is_some());
    let reply = refused.array().remove(0);
    assert_eq!(
        (&reply["error"], reply.get("advice")),
        (&json!("503::held_limit"), None)
    );
    assert!(held.is_held(), "the others are not disturbed");
    let mut own = a.connect();
    assert_eq!(held.answer()[0]["error"], "409::connect_superseded");
    assert!(
        own.connection.is_silent_for(A_WHILE),
        "its own dead poll refuses nobody"
    );
}

pub(crate) fn clients_that_never_shake_hands_again_wait(on: On) {
    let world = World::new(on);
    let mut connection = world.connection();
    let connect = json!({"channel": "/meta/connect", "clientId": "0".repeat(32)});
    let mut times = [Duration::ZERO; 3];
    for time in &mut times {
        let begin = Instant::now();
        let items = post_on(&mut connection, "", &connect).messages();
        assert_eq!(items[0]["error"], "402::session_unknown");
        *time = begin.elapsed();
    }
    assert!(times[2] >= Duration::from_millis(900), "{times:?}");
    let counts = world.server.stats().refusals;
    assert!(counts.contains(&(Reason::StaleSession, 1)), "{counts:?}");
}
