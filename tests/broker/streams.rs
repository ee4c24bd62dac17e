//! Sessions that are bound to a socket or to a stream of events: who gets the messages, and what
//! happens when either of them ends.

use std::time::Duration;

use bayeux::Publisher;
use bayeux::connector::{Ended, NoStream};
use bayeux::{BrokerConfig, Gone, Overflow};
use bayeux::{ChannelName, Publication};
use serde_json::{Value, json};

use crate::common::world::{World, connect, data_of};

const CHANNEL: &str = "/a";

fn world(change: impl FnOnce(&mut BrokerConfig)) -> World {
    let mut config = BrokerConfig::default();
    change(&mut config);
    World::new(config)
}

fn tell(world: &World, data: u32) {
    assert_eq!(world.broker.publish(CHANNEL, &data), Ok(1));
}

fn with_type(mut message: Value, kind: &str) -> Value {
    message["connectionType"] = kind.into();
    message
}

fn gone(reason: Gone) -> Ended {
    Ended::Gone { reason }
}

#[test]
fn a_push_does_not_end_the_held_connect() {
    let mut world = world(|_| {});
    let (mut socket, client) = world.open_socket();
    world.subscribe(&client, &json!(CHANNEL));
    socket.hold(&mut world, &connect(&client));
    for n in 0..3 {
        tell(&world, n);
        assert_eq!(socket.pushes(&mut world), Ok(vec![json!(n)]));
        assert!(socket.answers().is_empty());
    }
    world.advance(Duration::from_secs(31));
    assert!(world.was_woken(socket.key));
    let answer = socket.answers();
    assert_eq!(answer.len(), 1);
    assert_eq!(answer[0]["successful"], true);
    tell(&world, 3);
    let pushed = socket.pushes(&mut world);
    assert_eq!(pushed, Ok(vec![json!(3)]), "between connects too");
}

#[test]
fn what_was_queued_before_follows_the_connect() {
    let mut world = world(|_| {});
    let client = world.open();
    world.subscribe(&client, &json!(CHANNEL));
    tell(&world, 1);
    let mut socket = world.socket();
    let mut at_once = connect(&client);
    at_once["advice"] = json!({"timeout": 0});
    let replies = socket.ask(&mut world, &json!([at_once]));
    assert_eq!(replies.len(), 1, "replies only: {replies:?}");
    tell(&world, 2);
    assert_eq!(socket.pushes(&mut world), Ok(vec![json!(1), json!(2)]));

    // The same with a connect that is held: what waits is pushed.
    let client = world.open();
    world.subscribe(&client, &json!("/b"));
    world.broker.publish("/b", &3).unwrap();
    let mut socket = world.socket();
    socket.hold(&mut world, &connect(&client));
    assert_eq!(socket.pushes(&mut world), Ok(vec![json!(3)]));
    assert!(socket.answers().is_empty());
}

#[test]
fn other_responses_carry_replies_only() {
    let mut world = world(|_| {});
    let (mut socket, client) = world.open_socket();
    world.subscribe(&client, &json!(CHANNEL));
    let own = json!([{"channel": CHANNEL, "clientId": client, "data": 1, "id": "p"}]);
    let replies = socket.ask(&mut world, &own);
    assert_eq!((replies.len(), &replies[0]["id"]), (1, &json!("p")));
    assert_eq!(socket.pushes(&mut world), Ok(vec![json!(1)]));
    let replies = world.ask(&own);
    assert_eq!(replies.len(), 1, "over HTTP too");
    assert_eq!(socket.pushes(&mut world), Ok(vec![json!(1)]));

    // Without a connect on it the socket has no session yet.
    let client = world.handshake();
    let mut socket = world.socket();
    let both = json!([
        {"channel": "/meta/subscribe", "clientId": client, "subscription": "/b"},
        {"channel": "/b", "clientId": client, "data": 2},
    ]);
    let items = socket.ask(&mut world, &both);
    assert_eq!(data_of(&items), [json!(2)]);
    assert!(socket.sessions.is_empty());
}

#[test]
fn one_flight_at_a_time() {
    let mut world = world(|_| {});
    let (mut socket, client) = world.open_socket();
    world.subscribe(&client, &json!(CHANNEL));
    tell(&world, 1);
    assert_eq!(socket.collect(&mut world), Ok(vec![json!(1)]));
    tell(&world, 2);
    tell(&world, 3);
    assert!(!world.was_woken(socket.key), "it is still writing");
    socket.sessions[0].in_flight().unwrap().commit();
    assert_eq!(socket.pushes(&mut world), Ok(vec![json!(2), json!(3)]));
    assert!(!world.was_woken(socket.key));
    assert_eq!(world.broker.stats().queued_bytes, 0);
}

#[test]
fn a_session_outlives_its_socket() {
    let mut world = world(|_| {});
    let (mut socket, client) = world.open_socket();
    world.subscribe(&client, &json!(CHANNEL));
    socket.hold(&mut world, &connect(&client));
    tell(&world, 1);
    assert_eq!(socket.collect(&mut world), Ok(vec![json!(1)]));
    tell(&world, 2);
    world.advance(Duration::from_secs(20));
    drop(socket);
    world.advance(Duration::from_secs(119));
    let mut socket = world.socket();
    socket.hold(&mut world, &connect(&client));
    let pushed = socket.pushes(&mut world);
    assert_eq!(
        pushed,
        Ok(vec![json!(1), json!(2)]),
        "what was not written comes first"
    );
    drop(socket);
    world.advance(Duration::from_secs(121));
    assert_eq!(world.broker.stats().sessions, 0);
}

#[test]
fn between_connects_too() {
    let mut world = world(|_| {});
    let (socket, _client) = world.open_socket();
    world.advance(Duration::from_secs(100));
    drop(socket);
    world.advance(Duration::from_secs(119));
    assert_eq!(world.broker.stats().sessions, 1);
    world.advance(Duration::from_secs(2));
    assert_eq!(world.broker.stats().sessions, 0);
}

#[test]
fn a_newer_socket_takes_over() {
    let mut world = world(|_| {});
    let (mut older, client) = world.open_socket();
    world.subscribe(&client, &json!(CHANNEL));
    older.hold(&mut world, &connect(&client));
    tell(&world, 1);
    assert_eq!(older.collect(&mut world), Ok(vec![json!(1)]));
    let mut newer = world.socket();
    newer.hold(&mut world, &connect(&client));
    assert!(older.sessions[0].is_cut(), "what is not written is wanted");
    tell(&world, 2);
    assert_eq!(newer.collect(&mut world), Ok(vec![]), "nothing overtakes");
    older.sessions[0].in_flight().unwrap().commit();
    assert!(world.was_woken(older.key));
    assert_eq!(older.answers()[0]["error"], "409::connect_superseded");
    let ended = older.sessions[0].collect(1, &mut Vec::new());
    assert_eq!(ended, Err(Ended::TakenOver));
    drop(older);
    assert_eq!(newer.pushes(&mut world), Ok(vec![json!(2)]));
    assert!(newer.answers().is_empty());
}

#[test]
fn what_the_older_socket_loses_the_newer_one_gets() {
    let mut world = world(|_| {});
    let (mut older, client) = world.open_socket();
    world.subscribe(&client, &json!(CHANNEL));
    tell(&world, 1);
    assert_eq!(older.collect(&mut world), Ok(vec![json!(1)]));
    let mut newer = world.socket();
    newer.hold(&mut world, &connect(&client));
    tell(&world, 2);
    drop(older);
    assert_eq!(newer.pushes(&mut world), Ok(vec![json!(1), json!(2)]));
}

#[test]
fn a_connect_over_http_takes_the_session_back() {
    let mut world = world(|_| {});
    let (mut socket, client) = world.open_socket();
    world.subscribe(&client, &json!(CHANNEL));
    socket.hold(&mut world, &connect(&client));
    let poll = world.hold(&connect(&client));
    assert_eq!(socket.pushes(&mut world), Err(Ended::Released));
    assert_eq!(socket.answers()[0]["error"], "409::connect_superseded");
    tell(&world, 1);
    let items = world.answer(poll).written();
    assert_eq!(data_of(&items), [json!(1)]);
    drop(socket);
    world.advance(Duration::from_secs(119));
    assert_eq!(world.broker.stats().sessions, 1);
}

#[test]
fn several_sessions_on_a_socket() {
    let mut world = world(|_| {});
    let (mut socket, one) = world.open_socket();
    let two = world.handshake();
    let batch = json!([connect(&one), connect(&two), connect(&two)]);
    assert_eq!(socket.ask(&mut world, &batch).len(), 3);
    assert_eq!(socket.sessions.len(), 2, "each is tied once");
    world.subscribe(&one, &json!("/one"));
    world.subscribe(&two, &json!("/two"));
    world.broker.publish("/two", &2).unwrap();
    world.broker.publish("/one", &1).unwrap();
    assert_eq!(socket.pushes(&mut world), Ok(vec![json!(1), json!(2)]));
}

#[test]
fn delivery_bound_to_connects() {
    let mut world = world(|config| config.meta_connect_deliver_only = true);
    let (mut socket, client) = world.open_socket();
    world.subscribe(&client, &json!(CHANNEL));
    tell(&world, 1);
    assert_eq!(socket.pushes(&mut world), Ok(vec![]));
    let items = socket.ask(&mut world, &json!([connect(&client)]));
    assert_eq!((items.len(), data_of(&items)), (2, vec![json!(1)]));
    assert_eq!(items[1]["successful"], true, "the message comes first");
    socket.hold(&mut world, &connect(&client));
    tell(&world, 2);
    assert!(world.was_woken(socket.key));
    assert_eq!(data_of(&socket.answers()), [json!(2)]);
    world.advance(Duration::from_secs(121));
    let ended = socket.pushes(&mut world);
    assert_eq!(ended, Err(gone(Gone::Expired)), "it hears of the end");
}

#[test]
fn how_a_socket_hears_of_the_end() {
    let mut world = world(|config| {
        config.queue.messages = 2;
        config.queue.overflow = Overflow::Disconnect;
    });
    // A socket keeps nothing alive that does not connect.
    let (mut socket, _) = world.open_socket();
    world.advance(Duration::from_secs(121));
    assert_eq!(socket.pushes(&mut world), Err(gone(Gone::Expired)));

    let (mut socket, client) = world.open_socket();
    world.subscribe(&client, &json!(CHANNEL));
    (1..=3).for_each(|n| drop(world.broker.publish(CHANNEL, &n)));
    assert_eq!(socket.pushes(&mut world), Err(gone(Gone::Overflowed)));

    let (mut socket, client) = world.open_socket();
    assert!(world.broker.disconnect(client_id(&client)));
    assert_eq!(socket.pushes(&mut world), Ok(vec![Value::Null]), "the word");
    let ended = socket.pushes(&mut world);
    assert_eq!(ended, Err(gone(Gone::Dismissed)));
}

fn push(world: &World, client: &str, data: u32) {
    let channel = ChannelName::try_from(CHANNEL).unwrap();
    let message = Publication::new(&channel, &data.to_string(), Publisher::Nobody);
    world.broker.push(client_id(client), message).unwrap();
}

/// Whoever is sent away gets what was queued, the word of it, and an advice that ends it.
#[test]
fn what_waits_goes_out_before_the_word_of_the_end() {
    let farewell = json!({"channel": "/meta/disconnect", "successful": true});
    let message = |data: u32| json!({"channel": CHANNEL, "data": data});
    let none = json!({"reconnect": "none"});
    // A connect is held by the socket: its answer has everything.
    let mut world = world(|_| {});
    let (mut socket, client) = world.open_socket();
    socket.hold(&mut world, &connect(&client));
    push(&world, &client, 1);
    assert!(world.broker.disconnect(client_id(&client)));
    assert_eq!(socket.pushes(&mut world), Err(gone(Gone::Dismissed)));
    let answers = socket.answers();
    assert_eq!(answers[..2], [message(1), farewell.clone()]);
    assert_eq!(answers[2]["advice"], none);
    assert_eq!(world.broker.stats().sessions, 0);

    // None is held: they are pushed, and the next connect has the advice.
    let (mut socket, client) = world.open_socket();
    push(&world, &client, 1);
    assert!(world.broker.disconnect(client_id(&client)));
    assert!(!world.broker.disconnect(client_id(&client)), "once");
    let pushed = socket.pushes(&mut world).unwrap();
    assert_eq!(pushed, [json!(1), Value::Null]);
    let other = json!([{"channel": CHANNEL, "clientId": client, "data": 2}]);
    let refused = &socket.ask(&mut world, &other)[0];
    assert_eq!(refused["error"], "402::session_unknown");
    let reply = &socket.ask(&mut world, &json!([connect(&client)]))[0];
    assert_eq!(
        (&reply["successful"], &reply["advice"]),
        (&json!(true), &none)
    );
    assert_eq!(world.broker.stats().sessions, 0);
    let reply = &socket.ask(&mut world, &json!([connect(&client)]))[0];
    assert_eq!(reply["error"], "402::session_unknown", "it was told");

    // The socket is in the middle of a write: what it loses comes with the next one's connect.
    let (mut socket, client) = world.open_socket();
    push(&world, &client, 1);
    assert_eq!(socket.collect(&mut world).unwrap(), [json!(1)]);
    push(&world, &client, 2);
    assert!(world.broker.disconnect(client_id(&client)));
    socket.sessions.clear();
    let mut second = world.socket();
    let replies = second.ask(&mut world, &json!([connect(&client)]));
    assert_eq!(replies[..3], [message(1), message(2), farewell.clone()]);
    assert_eq!(replies[3]["advice"], none);
    assert_eq!(world.broker.stats().sessions, 0);

    // A stream gets them, and ends.
    let client = world.open();
    let mut stream = world.stream(&client).ok().unwrap();
    push(&world, &client, 1);
    assert!(world.broker.disconnect(client_id(&client)));
    let pushed = stream.pushes(&mut world).unwrap();
    assert_eq!(pushed, [json!(1), Value::Null]);
    assert_eq!(stream.pushes(&mut world), Err(gone(Gone::Dismissed)));
    drop(stream);
    let reply = world.reply(&with_type(connect(&client), "eventsource"));
    assert_eq!(reply["advice"], none);
    let stats = world.broker.stats();
    assert_eq!(
        (
            stats.sessions,
            stats.queued_bytes,
            stats.dropped_with_session
        ),
        (0, 0, 0)
    );

    // Who never comes back is forgotten in time, without a second end.
    let client = world.open();
    assert!(world.broker.disconnect(client_id(&client)));
    world.advance(Duration::from_secs(600));
    let stats = world.broker.stats();
    assert_eq!((stats.sessions, stats.queued_bytes), (0, 0));
    assert_eq!((stats.ended_dismissed, stats.ended_expired), (5, 0));
    assert_eq!(stats.dropped_with_session, 0);
}

fn client_id(text: &str) -> bayeux::ClientId {
    bayeux::ClientId::parse(text).expect("a client id")
}

#[test]
fn a_disconnect_answers_the_held_connect() {
    let mut world = world(|_| {});
    let (mut socket, client) = world.open_socket();
    socket.hold(&mut world, &connect(&client));
    let bye = json!([{"channel": "/meta/disconnect", "clientId": client, "id": "d"}]);
    assert_eq!(socket.ask(&mut world, &bye)[0]["successful"], true);
    let held = socket.answers();
    assert_eq!(held[0]["successful"], true);
    assert_eq!(held[0]["advice"]["reconnect"], "none");
    let ended = socket.pushes(&mut world).unwrap_err();
    assert_eq!(ended, gone(Gone::Disconnected));
    assert_eq!(
        socket.ask(&mut world, &bye)[0]["error"],
        "402::session_unknown"
    );
}

#[test]
fn a_stream_of_events_keeps_its_session_alive() {
    let mut world = world(|_| {});
    let client = world.open();
    world.subscribe(&client, &json!(CHANNEL));
    tell(&world, 1);
    let mut stream = world.stream(&client).ok().unwrap();
    assert_eq!(
        stream.pushes(&mut world),
        Ok(vec![json!(1)]),
        "the queue so far"
    );
    world.advance(Duration::from_secs(10_000));
    tell(&world, 2);
    assert_eq!(stream.pushes(&mut world), Ok(vec![json!(2)]));
    let poll = world.reply(&with_type(connect(&client), "eventsource"));
    let advice = json!({"reconnect": "retry", "interval": 30_000, "timeout": 0});
    assert_eq!(
        (&poll["successful"], &poll["advice"]),
        (&json!(true), &advice)
    );
    let poll = world.reply(&with_type(connect(&client), "eventsource"));
    assert_eq!(poll.get("advice"), None, "it was told already");
    tell(&world, 3);
    assert_eq!(stream.pushes(&mut world), Ok(vec![json!(3)]));
    world.advance(Duration::from_secs(10_000));
    drop(stream);
    world.advance(Duration::from_secs(149));
    assert_eq!(
        world.broker.stats().sessions,
        1,
        "it was told to come back late"
    );
    world.advance(Duration::from_secs(2));
    assert_eq!(world.broker.stats().sessions, 0);
}

#[test]
fn streams_that_end() {
    let mut world = world(|_| {});
    let client = world.open();
    world.subscribe(&client, &json!(CHANNEL));
    let mut first = world.stream(&client).ok().unwrap();
    tell(&world, 1);
    assert_eq!(first.collect(&mut world), Ok(vec![json!(1)]));
    let mut second = world.stream(&client).ok().unwrap();
    assert!(first.sessions[0].is_cut());
    assert_eq!(
        first.pushes(&mut world),
        Ok(vec![]),
        "it has a flight to finish"
    );
    let none = &mut Vec::new();
    assert_eq!(first.sessions[0].collect(1, none), Err(Ended::TakenOver));
    tell(&world, 2);
    assert_eq!(second.pushes(&mut world), Ok(vec![json!(2)]));

    // A heartbeat of another type means that the client polls again.
    let poll = world.hold(&with_type(connect(&client), "long-polling"));
    assert_eq!(second.pushes(&mut world), Err(Ended::Released));
    tell(&world, 3);
    assert_eq!(data_of(&world.answer(poll).written()), [json!(3)]);
    drop((first, second));
    // Without a stream its type is held like any other.
    world.hold(&with_type(connect(&client), "eventsource"));
}

#[test]
fn no_stream() {
    let mut world = world(|_| {});
    let expected = json!([{"channel": "/meta/connect", "successful": false,
        "error": "402::session_unknown", "advice": {"reconnect": "handshake", "interval": 0}}]);
    for client in ["", "nobody", &"0".repeat(26)] {
        let refused = world.stream(client).err().unwrap();
        assert_eq!(refused, NoStream::Unknown);
        let array: Value = serde_json::from_slice(&refused.array()).unwrap();
        assert_eq!(array, expected);
    }
    let client = world.open();
    world.broker.drain(Duration::ZERO);
    let refused = world.stream(&client).err().unwrap();
    let array: Value = serde_json::from_slice(&refused.array()).unwrap();
    assert_eq!(
        (refused, &array[0]["error"]),
        (NoStream::Draining, &json!("503::draining"))
    );
}

#[test]
fn a_stream_needs_the_cookie_where_others_do() {
    let mut world = world(|config| config.require_browser_cookie = true);
    let response = world.send(&json!({"channel": "/meta/handshake"}));
    let response = response.ok().unwrap();
    let cookie = response.cookie;
    let client = response.written()[0]["clientId"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(world.stream(&client).err(), Some(NoStream::Unknown));
    world.browser = cookie;
    assert!(world.stream(&client).is_ok());
}

#[test]
fn a_stream_with_delivery_bound_to_connects() {
    let mut world = world(|config| config.meta_connect_deliver_only = true);
    let client = world.open();
    world.subscribe(&client, &json!(CHANNEL));
    let mut stream = world.stream(&client).ok().unwrap();
    let poll = world.hold(&with_type(connect(&client), "eventsource"));
    tell(&world, 1);
    assert_eq!(stream.pushes(&mut world), Ok(vec![]));
    assert_eq!(data_of(&world.answer(poll).written()), [json!(1)]);
}
