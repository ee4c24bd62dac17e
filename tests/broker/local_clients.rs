//! Clients in this process: order, bounds, and subscriptions that come and go.

use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bayeux::Publisher;
use bayeux::{BrokerConfig, LocalClient, LocalError, Overflow, QueueLimits};
use bayeux::{ChannelName, ClientId, Publication};
use serde_json::{Value, json};

use crate::common::wait::PATIENCE;
use crate::common::world::{World, connect, data_of};

fn world_with(messages: usize, overflow: Overflow) -> World {
    World::new(BrokerConfig {
        queue: QueueLimits {
            messages,
            overflow,
            ..QueueLimits::default()
        },
        ..BrokerConfig::default()
    })
}

/// What waits for the client.
fn received(client: &LocalClient) -> Vec<String> {
    let next = || client.recv_timeout(Duration::ZERO);
    std::iter::from_fn(next)
        .map(|message| message.data().to_owned())
        .collect()
}

#[test]
fn a_client_that_does_not_keep_up_loses_messages_and_stays() {
    for (overflow, expected) in [
        (Overflow::Disconnect, ["2", "3", "4"]),
        (Overflow::DropOldest, ["2", "3", "4"]),
        (Overflow::DropNewest, ["0", "1", "2"]),
    ] {
        let world = world_with(3, overflow);
        let bot = world.broker.local_client();
        let _all = bot.subscribe_queue("/x").unwrap();
        for n in 0..5 {
            assert_eq!(world.broker.publish("/x", &n).unwrap(), 1);
        }
        let stats = world.broker.stats();
        assert_eq!((stats.queued_messages, stats.queued_bytes), (3, 3 * 25));
        assert_eq!(stats.dropped_oldest + stats.dropped_newest, 2);
        assert_eq!(received(&bot), expected, "{overflow:?}");
        world.broker.publish("/x", &5).unwrap();
        drop(bot);
        let stats = world.broker.stats();
        assert_eq!((stats.queued_messages, stats.queued_bytes), (0, 0));
        assert_eq!(stats.subscriptions, 0);
    }
}

#[test]
fn a_slow_callback_loses_messages_and_its_client_stays() {
    let world = world_with(3, Overflow::Disconnect);
    let bot = world.broker.local_client();
    let (begun, begins) = mpsc::channel();
    let (go, wait) = mpsc::channel::<()>();
    bot.subscribe("/x", move |message| {
        begun.send(message.data().to_owned()).unwrap();
        wait.recv().unwrap();
    })
    .unwrap()
    .keep();
    world.broker.publish("/x", &0).unwrap();
    assert_eq!(begins.recv_timeout(PATIENCE).unwrap(), "0");
    for n in 1..=5 {
        world.broker.publish("/x", &n).unwrap();
    }
    for expected in ["3", "4", "5"] {
        go.send(()).unwrap();
        assert_eq!(begins.recv_timeout(PATIENCE).unwrap(), expected);
    }
    go.send(()).unwrap();
    assert_eq!(world.broker.stats().queued_bytes, 0);
    assert_eq!(world.broker.stats().dropped_oldest, 2);
}

#[test]
fn two_subscriptions_to_one_pattern_are_two() {
    let world = world_with(100, Overflow::Disconnect);
    let bot = world.broker.local_client();
    let one = bot.subscribe_queue("/x").unwrap();
    let two = bot.subscribe_queue("/x").unwrap();
    assert_eq!(world.broker.stats().subscriptions, 1);
    drop(one);
    assert_eq!(world.broker.publish("/x", &1).unwrap(), 1);
    assert_eq!(received(&bot), ["1"]);
    drop(two);
    assert_eq!(world.broker.publish("/x", &2).unwrap(), 0);
    assert_eq!(world.broker.stats().subscriptions, 0);
}

#[test]
fn the_most_specific_subscription_gets_a_message() {
    let world = world_with(100, Overflow::Disconnect);
    let bot = world.broker.local_client();
    let heard: Arc<Mutex<Vec<String>>> = Arc::default();
    let (done, wait) = mpsc::channel();
    for pattern in ["/a/b", "/a/*", "/a/**", "/**"] {
        let (heard, done) = (Arc::clone(&heard), done.clone());
        bot.subscribe(pattern, move |message| {
            let channel = message.channel();
            heard.lock().unwrap().push(format!("{channel} {pattern}"));
            if message.data() == "\"last\"" {
                done.send(()).unwrap();
            }
        })
        .unwrap()
        .keep();
    }
    let _queue = bot.subscribe_queue("/a/q").unwrap();
    for channel in ["/a/b", "/a/x", "/a/x/y", "/b", "/a/q"] {
        assert_eq!(bot.publish(channel, &0).unwrap(), 1, "one copy");
    }
    bot.publish("/a/b", &"last").unwrap();
    wait.recv_timeout(PATIENCE).unwrap();
    assert_eq!(
        *heard.lock().unwrap(),
        [
            "/a/b /a/b",
            "/a/x /a/*",
            "/a/x/y /a/**",
            "/b /**",
            "/a/b /a/b"
        ]
    );
    assert_eq!(received(&bot), ["0"]);
}

/// Each publisher's messages arrive in their order, though several threads hand them over.
#[test]
fn order_is_kept_between_threads() {
    const MESSAGES: u64 = 3000;
    let world = world_with(100_000, Overflow::Disconnect);
    let bot = world.broker.local_client();
    let _all = bot.subscribe_queue("/x/*").unwrap();
    std::thread::scope(|scope| {
        for channel in ["/x/0", "/x/1", "/x/2"] {
            let broker = &world.broker;
            scope.spawn(move || {
                for n in 0..MESSAGES {
                    broker.publish(channel, &n).unwrap();
                }
            });
        }
        // Subscriptions with callbacks change the way that messages take.
        for _ in 0..200 {
            drop(bot.subscribe("/y", |_| {}).unwrap());
        }
        let mut next = [0_u64; 3];
        for _ in 0..3 * MESSAGES {
            let message = bot.recv_timeout(PATIENCE).expect("all of them");
            let channel: usize = message.channel().as_str()[3..].parse().unwrap();
            assert_eq!(message.data(), next[channel].to_string());
            next[channel] += 1;
        }
    });
    assert_eq!(world.broker.stats().queued_bytes, 0);
}

/// A world where all that waits may take so many bytes of the memory.
fn cramped(overflow: Overflow, bytes: usize) -> World {
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

#[test]
fn beyond_the_bound_on_all_queues_the_largest_loses_first() {
    let mut world = cramped(Overflow::Disconnect, 2300);
    let (large, small, talker) = (world.open(), world.open(), world.open());
    world.subscribe(&large, &json!("/large"));
    world.subscribe(&small, &json!("/small"));
    world.publish(&talker, "/large", &text(1000));
    world.publish(&talker, "/small", &text(400));
    assert_eq!(world.broker.stats().sessions, 3);
    world.publish(&talker, "/small", &text(200));
    let stats = world.broker.stats();
    assert_eq!((stats.sessions, stats.ended_overflowed), (2, 1));
    let reply = world.reply(&connect(&large));
    assert_eq!(reply["advice"]["reconnect"], "handshake");
    assert_eq!(data_of(&world.ask(&json!([connect(&small)]))).len(), 2);
    assert_eq!(world.broker.stats().queued_bytes, 0);
}

#[test]
fn what_is_being_written_is_not_dropped_and_local_queues_count() {
    let mut world = cramped(Overflow::DropOldest, 2900);
    let bot = world.broker.local_client();
    let _large = bot.subscribe_queue("/local").unwrap();
    let (a, talker) = (world.open(), world.open());
    world.subscribe(&a, &json!("/a"));
    world.publish(&talker, "/a", &text(700));
    let held = world.response(&json!([connect(&a)]));
    world.publish(&talker, "/a", &text(100));
    world.publish(&talker, "/local", &text(900));
    world.publish(&talker, "/a", &text(300));
    assert_eq!(received(&bot), [""; 0], "the largest that could be dropped");
    assert_eq!(held.written().len(), 2);
    let rest = world.ask(&json!([connect(&a)]));
    assert_eq!(data_of(&rest), [text(100), text(300)]);
    let stats = world.broker.stats();
    assert_eq!((stats.dropped_oldest, stats.queued_bytes), (1, 0));
}

#[test]
fn pushing_to_one_client() {
    let mut world = world_with(1, Overflow::DropNewest);
    let bot = world.broker.local_client();
    let a = world.open();
    let id = ClientId::parse(&a).unwrap();
    assert_eq!(bot.push(id, "/service/late", &1), Ok(()));
    assert_eq!(
        bot.push(id, "/service/late", &2),
        Err(LocalError::QueueFull)
    );
    let items = world.ask(&json!([connect(&a)]));
    assert_eq!(items[0], json!({"channel": "/service/late", "data": 1}));
    assert!(world.broker.disconnect(id));
    assert!(!world.broker.disconnect(id));
    let channel = ChannelName::try_from("/x").unwrap();
    let message = Publication::new(&channel, "1", Publisher::Nobody);
    assert_eq!(
        world.broker.push(id, message),
        Err(LocalError::UnknownClient)
    );
}
