//! What one request may cost: the bytes of its replies, of what waits for its client, and of
//! itself while it waits; and how long it may stay on its connection's thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;

use bayeux::connector::Executed;
use bayeux::{Access, AuthRequest, BrokerConfig, Decision, Reason, ServiceCall, ServiceReply};
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::common::wait::until;
use crate::common::world::{Deaf, World, data_of, execute};

fn refused(world: &World, reason: Reason) -> u64 {
    let counts = world.broker.refusals().snapshot();
    let found = counts.into_iter().find(|(counted, _)| *counted == reason);
    found.map_or(0, |(_, count)| count)
}

/// A world with a service that answers so many bytes, and how often it was called.
fn with_service(config: BrokerConfig, bytes: usize) -> (World, Arc<AtomicUsize>) {
    let world = World::new(config);
    let calls = Arc::new(AtomicUsize::new(0));
    let called = Arc::clone(&calls);
    let answer = move |_: &ServiceCall<'_>| {
        called.fetch_add(1, Ordering::Relaxed);
        Ok(vec![ServiceReply::data(&"x".repeat(bytes))?])
    };
    let added = world
        .broker
        .add_service("/service/big", Access::Anyone, answer);
    added.unwrap();
    (world, calls)
}

#[test]
fn the_replies_to_a_request_have_an_end() {
    let mut config = BrokerConfig::default();
    config.traffic.max_reply_bytes = 150_000;
    let (mut world, calls) = with_service(config, 100_000);
    let call = json!({"channel": "/service/big", "id": "c"});
    let long = json!({"channel": "/meta/subscribe", "id": "s", "clientId": "x".repeat(5000),
        "subscription": "y".repeat(5000)});
    let malformed = json!({"channel": "/a//b", "id": "m", "data": 1});
    let items = world.ask(&json!([call, call, call, long, malformed]));
    assert_eq!(calls.load(Ordering::Relaxed), 2);
    let replies: Vec<_> = items.iter().filter(|item| item["data"].is_null()).collect();
    assert_eq!(replies.len(), 5);
    assert!(replies[..2].iter().all(|reply| reply["successful"] == true));
    let error = |reply: &Value| (reply["id"].clone(), reply["error"].clone());
    let errors: Vec<_> = replies[2..].iter().map(|reply| error(reply)).collect();
    assert_eq!(
        errors,
        [
            (json!("c"), json!("503:/service/big:busy")),
            (json!("s"), json!("503:/meta/subscribe:busy")),
            (json!("m"), json!("405::channel_invalid")),
        ]
    );
    assert!(replies[3].to_string().len() < 200, "{}", replies[3]);
    assert_eq!(refused(&world, Reason::MaxReplyBytes), 1);
    // One alone may be longer than all.
    assert_eq!(world.ask(&json!([call])).len(), 2);
}

#[test]
fn who_does_not_take_what_waits_is_not_given_more() {
    let mut config = BrokerConfig::default();
    config.traffic.max_output_total = 256 << 10;
    let (mut world, calls) = with_service(config, 100_000);
    let call = json!([{"channel": "/service/big", "id": "c"}]);
    let sent = execute(&world.broker, Arc::new(Deaf), 1, &call);
    let Executed::Later(mut exchange) = sent else {
        panic!("a service has a thread of its own")
    };
    let answer = until("the answer", || exchange.poll().ok_or(()));
    assert!(
        world.broker.stats().output_bytes >= 100_000,
        "not written yet"
    );
    let reply = world.ask(&call).remove(0);
    assert_eq!(reply["error"], "503:/service/big:busy");
    assert_eq!(calls.load(Ordering::Relaxed), 1);
    assert_eq!(refused(&world, Reason::MaxOutputTotal), 1);
    drop(answer);
    assert_eq!(world.broker.stats().output_bytes, 0);
    assert_eq!(world.ask(&call).len(), 2, "there is room again");
}

#[test]
fn a_request_that_waits_for_the_policy_is_input_still() {
    let mut config = BrokerConfig::default();
    config.traffic.max_input_total = 100_000;
    let (permit, permitted) = channel::<()>();
    let permitted = Mutex::new(permitted);
    let policy = move |request: &AuthRequest<'_>| {
        if request.channel == "/a" {
            let _until_it_is_dropped = permitted.lock().recv();
        }
        Decision::Allow
    };
    let mut world = World::with_policy(config, Some(Box::new(policy)));
    let client = world.open();
    world.until_no_input();
    let publish = json!([{"channel": "/a", "clientId": client, "data": "x".repeat(40_000)}]);
    let waiting: Vec<_> = (0..2)
        .map(|_| world.send(&publish).err().unwrap())
        .collect();
    assert!(world.broker.stats().input_bytes >= 80_000);
    let sent = world.send(&publish);
    let reply = world.settled(sent).ok().unwrap().written().remove(0);
    assert_eq!(reply["error"], "503:/a:busy");
    assert_eq!(refused(&world, Reason::MaxInputTotal), 1);
    drop(permit);
    for key in waiting {
        assert_eq!(
            world.settled(Err(key)).ok().unwrap().written()[0]["successful"],
            true
        );
    }
    world.until_no_input();
}

/// So many sessions that are subscribed to it, the first of which publishes a thousand times in
/// one request.
fn many(world: &mut World, receivers: usize) -> (Vec<String>, Value) {
    let clients: Vec<_> = (0..receivers).map(|_| world.open()).collect();
    for client in &clients {
        world.subscribe(client, &json!("/many"));
    }
    let publish = |n: usize| json!({"channel": "/many", "clientId": clients[0], "data": n});
    let batch = (0..1000).map(publish).collect();
    (clients, Value::Array(batch))
}

#[test]
fn a_long_request_takes_many_turns_and_keeps_its_order() {
    let mut world = World::new(BrokerConfig::default());
    let (clients, batch) = many(&mut world, 100);
    let key = world
        .send(&batch)
        .err()
        .expect("100,000 deliveries are not one turn's");
    let first = world.broker.stats().queued;
    assert!((16_000..17_000).contains(&first), "{first}");
    // Others have theirs in between.
    let other = world.handshake();
    assert_eq!(world.publish(&other, "/other", &json!(1)).len(), 1);
    let mut turns = 1;
    let response = loop {
        if let Some(response) = world.answers().remove(&key) {
            break response;
        }
        turns += 1;
    };
    assert_eq!(turns + 1, 101_000_usize.div_ceil(16_384));
    let replies = response.written();
    let replies = replies.iter().filter(|item| item["successful"] == true);
    assert_eq!(replies.count(), 1000);
    let expected: Vec<_> = (0..1000).map(|n| json!(n)).collect();
    assert_eq!(data_of(&world.reply_all(&clients[99])), expected);
    world.until_no_input();
}

#[test]
fn a_long_request_is_done_also_when_its_client_has_left() {
    let mut world = World::new(BrokerConfig::default());
    let (_, batch) = many(&mut world, 50);
    let key = world
        .send(&batch)
        .err()
        .expect("50,000 deliveries are not one turn's");
    world.leave(key);
    world.until(|| world.broker.stats().published == 1000);
    world.until_no_input();
}

impl World {
    /// Waits until no request is anywhere.
    fn until_no_input(&self) {
        self.until(|| self.broker.stats().input_bytes == 0);
    }
}
