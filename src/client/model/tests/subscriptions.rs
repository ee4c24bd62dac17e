//! Subscriptions, and who is told what of them.

use super::*;

#[test]
fn a_new_session_gets_everything_again_before_what_is_queued() {
    let mut world = World::connected();
    let (ring, ..) = world.subscribe("/a/*");
    world.subscribe("/b");
    assert!(
        world.subscribe("/b").2.get().is_none(),
        "it waits for the first"
    );
    assert_eq!(world.accept(), ["/a/*", "/b"]);
    assert!(
        world.subscribe("/b").2.get().is_some(),
        "it is there already"
    );
    assert_eq!(world.sent(), []);
    let lost = world.publish("/a/x");
    world.sent();
    world.publish("/a/y");
    world.lose("d");
    world.answer(Exchange::Send, "[]");
    assert_eq!(lost.get(), Some(Err(Error::SessionLost)));
    let sent = world.sent();
    let client_ids: Vec<_> = sent
        .iter()
        .filter_map(|message| message.text("clientId"))
        .collect();
    assert_eq!(client_ids, ["d", "d", "d"]);
    let channels: Vec<_> = sent.iter().map(Message::channel).collect();
    assert_eq!(channels, ["/meta/subscribe", "/meta/subscribe", "/a/y"]);
    let replaced = |event: &Event| {
        matches!(
            event,
            Event::SessionReplaced {
                resubscribed: 2,
                ..
            }
        )
    };
    assert!(world.events().iter().any(replaced));
    world.answer(Exchange::Connect, r#"[{"channel":"/a/z","data":1}]"#);
    assert_eq!(ring.len(), 1);
}

#[test]
fn messages_go_to_all_that_match() {
    let mut world = World::connected();
    let rings = ["/a/b", "/a/*", "/**", "/c", "/meta/*"].map(|pattern| world.subscribe(pattern).0);
    world.next(Exchange::Connect);
    world.answer(
        Exchange::Connect,
        r#"[{"channel":"/a/b","data":1},{"channel":"/a/b","data":2,"successful":true},
            {"channel":"/meta/connect","id":"99","successful":true},
            {"channel":"/z/z","data":3},{"channel":"/a/b"},{"channel":"no channel","data":1}]"#,
    );
    assert_eq!(rings.map(|ring| ring.len()), [3, 3, 4, 0, 1]);
    let stats = world.model.stats();
    assert_eq!((stats.received, stats.unclaimed), (5, 1));
}

#[test]
fn a_refused_subscription_ends_for_all_who_wait() {
    let mut world = World::connected();
    let subscribers = [world.subscribe("/a"), world.subscribe("/a")];
    let sent = world.sent();
    let no = format!(
        r#"[{{"channel":"/meta/subscribe","id":"{}","successful":false,"error":"403::no"}}]"#,
        sent[0].id().unwrap()
    );
    world.answer(Exchange::Send, &no);
    for (ring, _, receipt) in subscribers {
        assert!(matches!(receipt.get(), Some(Err(Error::Rejected(_)))));
        assert!(ring.recv(None).is_err());
    }
    assert_eq!(world.events(), []);
    world.subscribe("/a");
    assert_eq!(world.accept(), ["/a"], "it may be tried anew");
}

#[test]
fn a_subscription_refused_on_the_new_session_ends_and_is_told() {
    let mut world = World::connected();
    let (ring, ..) = world.subscribe("/a");
    world.accept();
    world.lose("d");
    let id = world.sent()[0].id().unwrap().to_owned();
    let no = format!(
        r#"[{{"channel":"/meta/subscribe","id":"{id}","successful":false,"error":"403::no"}}]"#
    );
    world.answer(Exchange::Send, &no);
    assert!(ring.recv(None).is_err());
    let lost = |event: &Event| matches!(event, Event::SubscriptionLost { .. });
    assert_eq!(world.events().iter().filter(|event| lost(event)).count(), 1);
    world.lose("e");
    assert_eq!(world.sent(), [], "it is not tried again");
}

#[test]
fn the_last_subscriber_unsubscribes() {
    let mut world = World::connected();
    let (first, second) = (world.subscribe("/a").1, world.subscribe("/a").1);
    let local = world.subscribe("/service/x").1;
    world.accept();
    world.model.unsubscribe("/a", first);
    world.model.unsubscribe("/service/x", local);
    assert_eq!(world.sent(), []);
    world.model.unsubscribe("/a", second);
    world.model.unsubscribe("/a", second);
    let sent = world.sent();
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].channel(), "/meta/unsubscribe");
    assert_eq!(world.model.subscriptions.take_trash().len(), 3);
}

#[test]
fn a_subscribe_that_has_not_left_is_taken_back() {
    let mut world = World::new();
    let (_, key, receipt) = world.subscribe("/a");
    world.model.unsubscribe("/a", key);
    assert_eq!(receipt.get(), Some(Err(Error::Closed)));
    world.poll("c");
    assert_eq!(world.sent(), []);
    let (_, key, _) = world.subscribe("/a");
    assert_eq!(world.sent().len(), 1);
    world.model.unsubscribe("/a", key);
    world.answer(Exchange::Send, "[]");
    assert_eq!(world.sent()[0].channel(), "/meta/unsubscribe");
}

#[test]
fn who_gives_up_waiting_leaves_the_subscribe_to_others() {
    let mut world = World::new();
    let (_, first, _) = world.subscribe("/a");
    let (_, _, other) = world.subscribe("/a");
    assert!(!world.model.outbox.abandon(1), "it has not left");
    world.model.unsubscribe("/a", first);
    world.poll("c");
    assert_eq!(world.accept(), ["/a"]);
    assert!(other.get().unwrap().is_ok());
}

#[test]
fn a_session_lost_amid_a_subscribe_asks_again_once() {
    let mut world = World::connected();
    let (_, _, receipt) = world.subscribe("/a");
    assert_eq!(world.sent().len(), 1);
    world.lose("d");
    world.fail(Exchange::Send);
    let (_, _, joined) = world.subscribe("/a");
    assert_eq!(world.accept(), ["/a"]);
    assert!(receipt.get().unwrap().is_ok() && joined.get().unwrap().is_ok());
    assert_eq!(world.sent(), []);
}

#[test]
fn a_full_queue_ends_the_subscription() {
    let mut world = World::with(Options {
        queue_messages: 1,
        ..Options::default()
    });
    world.publish("/x");
    let (ring, receipt) = (Arc::new(Ring::new(10, 1000)), Receipt::new(9));
    let (sink, waiter) = (Sink::Ring(Arc::clone(&ring)), Arc::clone(&receipt));
    let pattern = Pattern::try_from("/a").unwrap();
    let subscribed = world.model.subscribe(&pattern, None, sink, waiter);
    let messages = subscribed.unwrap().1.into_iter().collect();
    assert!(matches!(
        world.model.push(messages),
        Err(Error::QueueFull { .. })
    ));
    assert!(matches!(receipt.get(), Some(Err(Error::QueueFull { .. }))));
    assert!(ring.recv(None).is_err());
}

#[test]
fn a_batch_that_comes_too_late_does_not_ask_twice() {
    let mut world = World::connected();
    let (ring, receipt) = (Arc::new(Ring::new(10, 1000)), Receipt::new(9));
    let (sink, waiter) = (Sink::Ring(ring), Arc::clone(&receipt));
    let pattern = Pattern::try_from("/a").unwrap();
    let subscribed = world.model.subscribe(&pattern, None, sink, waiter);
    let messages = subscribed.unwrap().1.into_iter().collect();
    world.lose("d");
    world.model.push(messages).unwrap();
    assert_eq!(world.accept(), ["/a"]);
    assert!(receipt.get().unwrap().is_ok());
    assert_eq!(world.sent(), []);
}

#[test]
fn all_of_a_pattern_can_go_at_once() {
    let mut world = World::connected();
    let rings = [world.subscribe("/a").0, world.subscribe("/a").0];
    world.accept();
    for (pattern, sent) in [("/a", vec!["/a"]), ("/service/x", vec![])] {
        let receipt = Receipt::new(9);
        let pattern = Pattern::try_from(pattern).unwrap();
        world.model.unsubscribe_all(&pattern, &receipt).unwrap();
        assert_eq!(world.accept(), sent);
        assert!(receipt.get().unwrap().is_ok());
    }
    assert!(rings.iter().all(|ring| ring.recv(None).is_err()));
}
