//! Whoever has the most gives way first, and what counts is what is in memory.

use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bayeux::connector::AnswerStatus;
use bayeux::{BrokerConfig, Client, ClientId, Delivery, DeliveryDecision, Event, EventKind};
use bayeux::{Gone, Overflow, QueueLimits, Reason};
use serde_json::{Value, json};

use crate::common::world::{World, connect, data_of};

fn address(n: u8) -> IpAddr {
    [10, 0, 0, n].into()
}

fn refused(world: &World, reason: Reason) -> u64 {
    let counts = world.broker.refusals().snapshot();
    let found = counts.into_iter().find(|(other, _)| *other == reason);
    found.expect("all reasons are there").1
}

/// Whether a session is there for its client.
fn lives(world: &World, client: &str) -> bool {
    let id = ClientId::parse(client).expect("an id");
    world.broker.session(id).is_some()
}

/// Whether an address gets a session.
fn comes(world: &mut World, ip: IpAddr) -> bool {
    world.ip = ip;
    let response = world.response(&json!([{"channel": "/meta/handshake"}]));
    let refused = response.status == AnswerStatus::Unavailable;
    let items = response.written();
    assert_eq!(items[0]["error"] == "503::session_limit", refused);
    items[0]["successful"] == true
}

#[test]
fn the_address_with_the_most_sessions_makes_room() {
    let mut world = World::new(BrokerConfig {
        max_sessions: 6,
        ..BrokerConfig::default()
    });
    let ended: Arc<Mutex<Vec<(Client, Gone)>>> = Arc::default();
    let note = Arc::clone(&ended);
    world
        .broker
        .add_observer_of([EventKind::Disconnected], move |event| {
            if let Event::Disconnected { client, reason } = event {
                note.lock().unwrap().push((*client, *reason));
            }
        });
    world.ip = address(1);
    let held = world.open();
    let key = world.hold(&connect(&held));
    let (back, away) = (world.open(), world.open());
    let (unused, later) = (world.handshake(), world.handshake());
    world.advance(Duration::from_secs(1));
    world.reply_all(&back);
    let own = world.handshake();
    assert!(!comes(&mut world, address(1)), "it has the most itself");
    // First those that have never connected, then whoever has been away for longest.
    let mut gone = Vec::new();
    for (newcomer, loser) in [(2, &unused), (3, &later), (4, &own), (5, &away)] {
        assert!(comes(&mut world, address(newcomer)), "{newcomer}");
        gone.push(loser);
        let all = [&held, &back, &away, &unused, &later, &own];
        for client in all {
            assert_eq!(lives(&world, client), !gone.contains(&client), "{newcomer}");
        }
    }
    // Two are not many more than one.
    assert!(!comes(&mut world, address(5)));
    assert!(comes(&mut world, address(6)));
    assert!(!lives(&world, &back) && lives(&world, &held));
    assert!(!comes(&mut world, address(7)), "nobody has many");
    let stats = world.broker.stats();
    assert_eq!((stats.sessions, stats.ended_evicted), (6, 5));
    assert_eq!(refused(&world, Reason::MaxSessions), 3 + 5);
    let reply = world.reply(&connect(&away));
    assert_eq!(reply["error"], "402::session_unknown");
    assert_eq!(reply["advice"]["reconnect"], "handshake");
    world.until(|| ended.lock().unwrap().len() == 5);
    let first = Client::from(ClientId::parse(&unused).unwrap());
    assert_eq!(ended.lock().unwrap()[0], (first, Gone::Evicted));
    world.leave(key);
}

#[test]
fn who_waits_when_its_session_makes_room_is_told() {
    let mut world = World::new(BrokerConfig {
        max_sessions: 3,
        ..BrokerConfig::default()
    });
    world.ip = address(1);
    let clients = [world.open(), world.open(), world.open()];
    let held = clients
        .each_ref()
        .map(|client| world.hold(&connect(client)));
    assert!(comes(&mut world, address(2)));
    let reply = world.answer(held[0]).written().remove(0);
    assert_eq!(reply["error"], "402::session_unknown");
    assert_eq!(reply["advice"]["reconnect"], "handshake");
    assert_eq!(world.broker.stats().held, 2);
    // A request takes all its places or none.
    let two = json!([{"channel": "/meta/handshake"}, {"channel": "/meta/handshake"}]);
    world.ip = address(3);
    assert_eq!(world.ask(&two)[1]["error"], "503::session_limit");
    assert_eq!(world.broker.stats().sessions, 3);
}

#[test]
fn a_large_table_makes_room_for_many_at_once() {
    let mut world = World::new(BrokerConfig {
        max_sessions: 4096,
        ..BrokerConfig::default()
    });
    world.ip = address(1);
    let handshake = json!({"channel": "/meta/handshake"});
    let connected = world.open();
    for count in [1000, 1000, 1000, 1000, 95] {
        world.ask(&Value::from(vec![handshake.clone(); count]));
    }
    assert_eq!(world.broker.stats().sessions, 4096);
    assert!(comes(&mut world, address(2)));
    let stats = world.broker.stats();
    assert_eq!((stats.sessions, stats.ended_evicted), (4093, 4));
    assert!(lives(&world, &connected));
}

/// All that waits may take so many bytes.
fn cramped(bytes: usize, overflow: Overflow) -> World {
    World::new(BrokerConfig {
        queue: QueueLimits {
            overflow,
            ..QueueLimits::default()
        },
        max_queued_total: bytes,
        ..BrokerConfig::default()
    })
}

fn text(length: usize) -> Value {
    json!("x".repeat(length))
}

/// Many small queues of one address, and one of another that is larger than any of them.
#[test]
fn the_address_that_keeps_most_waiting_loses_first() {
    for overflow in [Overflow::Disconnect, Overflow::DropOldest] {
        let mut world = cramped(40_000, overflow);
        let talker = world.open();
        let honest = world.open();
        world.subscribe(&honest, &json!("/honest"));
        world.publish(&talker, "/honest", &text(5000));
        world.ip = address(2);
        for n in 0..30 {
            let hog = world.open();
            let channel = format!("/hog/{n}");
            world.subscribe(&hog, &json!(channel));
            world.publish(&talker, &channel, &text(1500 + n));
        }
        let stats = world.broker.stats();
        assert!(stats.message_bytes < 42_500, "{stats:?}");
        let lost = match overflow {
            Overflow::Disconnect => stats.ended_overflowed,
            _ => stats.dropped_oldest,
        };
        assert!((8..20).contains(&lost), "{stats:?}");
        assert!(refused(&world, Reason::MaxQueuedTotal) >= 1);
        let items = world.ask(&json!([connect(&honest)]));
        assert_eq!(data_of(&items), [text(5000)]);
    }
}

#[test]
fn a_message_for_many_counts_once_and_a_place_for_each() {
    let mut world = cramped(1 << 20, Overflow::Disconnect);
    let talker = world.open();
    let crowd: Vec<String> = (0..500).map(|_| world.open()).collect();
    for client in &crowd {
        world.subscribe(client, &json!("/all"));
    }
    world.publish(&talker, "/all", &text(20_000));
    let stats = world.broker.stats();
    let places = 500 * 16;
    assert!(stats.queued_bytes > 500 * 20_000);
    let message = stats.message_bytes - places;
    assert!((20_000..20_500).contains(&message), "{message}");
    assert_eq!(stats.ended_overflowed, 0);
    // The last that takes it frees it.
    for (n, client) in crowd.iter().enumerate() {
        assert_eq!(data_of(&world.ask(&json!([connect(client)]))).len(), 1);
        let places = (499 - n as u64) * 16;
        let left = world.broker.stats().message_bytes;
        let expected = if n < 499 { message + places } else { 0 };
        assert_eq!(left, expected, "{n}");
    }
}

#[test]
fn what_filters_make_of_a_message_counts_for_each() {
    let mut world = cramped(1 << 20, Overflow::Disconnect);
    world.broker.set_delivery_filter(|delivery: &Delivery<'_>| {
        let other = delivery.publication.with_data(&text(10_000).to_string());
        DeliveryDecision::Replace(Arc::new(other))
    });
    let talker = world.open();
    for _ in 0..3 {
        let client = world.open();
        world.subscribe(&client, &json!("/x"));
    }
    world.publish(&talker, "/x", &json!(1));
    let bytes = world.broker.stats().message_bytes;
    assert!((30_000..32_000).contains(&bytes), "{bytes}");
    world.advance(Duration::from_secs(200));
    assert_eq!(world.broker.stats().message_bytes, 0);
}

#[test]
fn what_a_program_keeps_counts_and_costs_nobody_a_message() {
    let mut world = cramped(40_000, Overflow::Disconnect);
    let bot = world.broker.local_client();
    let _all = bot.subscribe_queue("/x").unwrap();
    let honest = world.open();
    world.subscribe(&honest, &json!("/x"));
    let mut kept = Vec::new();
    for n in 0..100 {
        world.broker.publish("/x", &text(1000)).unwrap();
        kept.extend(bot.recv_timeout(Duration::from_secs(10)));
        assert_eq!(world.reply_all(&honest).len(), 2, "{n}");
    }
    assert!(world.broker.stats().message_bytes > 100 * 1000);
    drop(kept);
    assert_eq!(world.broker.stats().message_bytes, 0);
}
