//! User code that does more than it is asked to: it calls back from where it is dropped, fails
//! there, or sets limits that no arithmetic holds.

use std::sync::mpsc;
use std::time::Duration;

use bayeux::Publication;
use bayeux::ServiceCall;
use bayeux::{
    Access, AuthRequest, BrokerConfig, Decision, DeliveryDecision, LocalError, ServiceReply,
    WeakBroker,
};
use serde_json::json;

use crate::common::wait::PATIENCE;
use crate::common::world::{World, connect};

/// Runs it in a thread that is left behind if it is stuck.
fn within_time(what: &str, run: impl FnOnce() + Send + 'static) {
    let (done, ends) = mpsc::channel();
    std::thread::Builder::new()
        .spawn(move || {
            run();
            done.send(()).unwrap();
        })
        .unwrap();
    assert!(ends.recv_timeout(PATIENCE).is_ok(), "{what} is stuck");
}

/// Asks the broker for everything that replaces hooks, when it is dropped.
struct Parting(WeakBroker);

impl Drop for Parting {
    fn drop(&mut self) {
        let Some(broker) = self.0.upgrade() else {
            return;
        };
        broker.remove_service("/service/other");
        let call = |_: &ServiceCall<'_>| Ok(Vec::<ServiceReply>::new());
        let channel = "/service/left";
        broker.add_service(channel, Access::Anyone, call).unwrap();
        broker.publish("/left", &1).unwrap();
    }
}

#[test]
fn hooks_that_are_replaced_may_ask_the_broker() {
    let world = World::new(BrokerConfig::default());
    let broker = world.broker.clone();
    let service = {
        let broker = broker.clone();
        move || {
            let parting = Parting(broker.downgrade());
            move |_: &ServiceCall<'_>| {
                let _alive = &parting;
                Ok(Vec::<ServiceReply>::new())
            }
        }
    };
    let (asked, hook) = (broker.clone(), service.clone());
    within_time("replacing a service", move || {
        for _ in 0..2 {
            asked
                .add_service("/service/a", Access::Anyone, hook())
                .unwrap();
        }
    });
    let asked = broker.clone();
    within_time("removing a service", move || {
        assert!(asked.remove_service("/service/a"));
    });
    let asked = broker.clone();
    within_time("replacing the fallback", move || {
        for _ in 0..2 {
            asked.set_fallback_service(Access::Anyone, service());
        }
    });
    within_time("replacing the filter", move || {
        for _ in 0..2 {
            let parting = Parting(broker.downgrade());
            broker.set_delivery_filter(move |_| {
                let _alive = &parting;
                DeliveryDecision::Pass
            });
        }
    });
}

/// Names may be written with escapes, which are no business of the policy.
#[test]
fn the_policy_sees_the_channel_that_is_meant() {
    let policy = |request: &AuthRequest<'_>| match request.channel {
        "/meta/handshake" | "/meta/connect" => Decision::Allow,
        "/meta/subscribe" => Decision::deny("subscribe"),
        "/a" => Decision::deny("publish"),
        other => panic!("{other}"),
    };
    let mut world = World::with_policy(BrokerConfig::default(), Some(Box::new(policy)));
    let sent = world.send_text(r#"[{"channel":"\/meta\/hand\u0073hake"}]"#);
    let reply = &world.settled(sent).unwrap().written()[0];
    assert_eq!(reply["successful"], json!(true), "{reply}");
    let client = reply["clientId"].as_str().unwrap().to_owned();
    assert_eq!(world.reply(&connect(&client))["successful"], json!(true));
    for (message, error) in [
        (
            r#""channel":"\/meta\/subscribe","subscription":"/x""#,
            "403:subscribe:subscribe_denied",
        ),
        (
            r#""channel":"\/\u0061","data":1"#,
            "403:publish:publish_denied",
        ),
    ] {
        let sent = world.send_text(&format!(r#"[{{{message},"clientId":"{client}"}}]"#));
        let reply = &world.settled(sent).unwrap().written()[0];
        assert_eq!(reply["error"], json!(error));
    }
}

#[test]
fn a_local_client_that_was_sent_away_is_told() {
    let world = World::new(BrokerConfig::default());
    let bot = world.broker.local_client();
    let before = bot.subscribe_queue("/x").unwrap();
    world.broker.publish("/x", &1).unwrap();
    assert!(world.broker.disconnect(bot.id()));
    let unknown = Some(LocalError::UnknownClient);
    assert_eq!(bot.subscribe_queue("/y").err(), unknown);
    assert_eq!(bot.subscribe("/y", |_| ()).err(), unknown);
    assert_eq!(bot.subscribe_silently("/y").err(), unknown);
    assert_eq!(bot.publish("/x", &2).err(), unknown);
    let other = world.broker.local_client();
    assert_eq!(bot.push(other.id(), "/x", &3).err(), unknown);
    assert_eq!(other.publish("/x", &4), Ok(0));
    drop(before);
    let left = bot.recv_timeout(Duration::ZERO).unwrap();
    assert_eq!(left.data(), "1", "what had come can be taken");
    let stats = world.broker.stats();
    assert_eq!((stats.subscriptions, stats.queued_bytes), (0, 0));
    assert_eq!(other.recv_timeout(Duration::ZERO).map(|_| ()), None);
}

/// Fails where nobody expects it: when its owner is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("a bad end");
        }
    }
}

#[test]
fn a_callback_that_fails_at_its_end_does_not_end_its_client() {
    let world = World::new(BrokerConfig::default());
    let bot = world.broker.local_client();
    let (tell, told) = mpsc::channel();
    let (go, wait) = mpsc::channel::<()>();
    let bomb = Bomb;
    let bad = bot
        .subscribe("/bad", move |_| {
            let _alive = &bomb;
            tell.send(()).unwrap();
            wait.recv().unwrap();
        })
        .unwrap();
    let (tell, heard) = mpsc::channel();
    bot.subscribe("/good", move |message| {
        tell.send(message.data().to_owned()).unwrap();
    })
    .unwrap()
    .keep();
    world.broker.publish("/bad", &0).unwrap();
    told.recv_timeout(PATIENCE).unwrap();
    // The callback runs, and is dropped after it.
    drop(bad);
    go.send(()).unwrap();
    for n in 1..3 {
        world.broker.publish("/good", &n).unwrap();
        assert_eq!(heard.recv_timeout(PATIENCE), Ok(n.to_string()));
    }
}

/// `Duration::MAX` is what people write who want no limit.
#[test]
fn times_without_end_do_not_overflow() {
    let mut world = World::new(BrokerConfig {
        timeout: Duration::MAX,
        interval: Duration::MAX,
        max_interval: Duration::MAX,
        max_client_interval: Duration::MAX,
        ..BrokerConfig::default()
    });
    let client = world.handshake();
    for (timeout, interval) in [("1e999", "1e999"), ("18446744073709551615", "0")] {
        let advice = format!(r#"{{"timeout":{timeout},"interval":{interval}}}"#);
        let text = format!(
            r#"[{{"channel":"/meta/connect","clientId":"{client}","advice":{advice}}},
                {{"channel":"/x","clientId":"{client}","data":1}}]"#
        );
        let sent = world.send_text(&text);
        for reply in world.settled(sent).unwrap().written() {
            assert_eq!(reply["successful"], json!(true), "{reply}");
        }
    }
    let held = world.hold(&connect(&client));
    world.advance(Duration::from_secs(1_000_000_000));
    assert!(world.answers().is_empty(), "it is held for ever");
    world.leave(held);
    let mut socket = world.stream(&client).unwrap();
    socket.sessions.clear();
    let (mut socket, other) = world.open_socket();
    socket.hold(&mut world, &connect(&other));
    drop(socket);
    world.advance(Duration::from_secs(1_000_000_000));
    assert_eq!(world.broker.stats().sessions, 2);
}

/// What is not to be: the tie forgets what it has not delivered.
#[test]
fn a_look_in_between_does_not_lose_what_is_in_flight() {
    let mut world = World::new(BrokerConfig::default());
    let (mut socket, client) = world.open_socket();
    world.subscribe(&client, &json!("/x"));
    let publish = |n: u32| world.broker.publish("/x", &n).unwrap();
    publish(1);
    let tie = &mut socket.sessions[0];
    let mut out: Vec<std::sync::Arc<Publication>> = Vec::new();
    assert!(tie.collect(1 << 16, &mut out).unwrap().messages);
    publish(2);
    assert!(!tie.collect(1 << 16, &mut out).unwrap().messages);
    assert!(tie.is_in_flight());
    tie.in_flight().unwrap().commit();
    assert!(tie.collect(1 << 16, &mut out).unwrap().messages);
    tie.in_flight().unwrap().commit();
    let data: Vec<&str> = out.iter().map(|message| message.data()).collect();
    assert_eq!(data, ["1", "2"]);
    assert_eq!(world.broker.stats().queued_messages, 0);
}

/// An observer may take its time, and that is the observer's.
#[test]
fn an_observer_that_hangs_does_not_hold_up_the_end() {
    let world = World::new(BrokerConfig::default());
    let (tell, told) = mpsc::channel();
    let (go, wait) = mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    world.broker.add_observer(move |_| {
        tell.send(()).unwrap();
        wait.lock().unwrap().recv().unwrap_err();
    });
    world.broker.publish("/x", &1).unwrap();
    told.recv_timeout(PATIENCE).unwrap();
    within_time("dropping the broker", move || drop(world));
    drop(go);
}
