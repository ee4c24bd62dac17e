//! How sessions end: what waits goes out first, then the word of it, then an advice not to come
//! back; nothing is lost, and nobody comes back who was sent away.

use std::sync::{Mutex, mpsc};
use std::time::Duration;

use bayeux::Publisher;
use bayeux::Transport;
use bayeux::{AuthRequest, BrokerConfig, Client, Decision, Event, EventKind, Gone, LocalError};
use bayeux::{ClientId, Publication};
use serde_json::{Value, json};

use crate::common::wait::PATIENCE;
use crate::common::world::{World, connect};

const FOREVER: Duration = Duration::from_secs(3600);

fn world() -> World {
    World::new(BrokerConfig::default())
}

fn id_of(client: &str) -> ClientId {
    ClientId::parse(client).expect("an id of ours")
}

/// Whoever is sent away between two polls, in one or in the middle of a response gets what was
/// queued, then the word of it, then an advice that ends it.
#[test]
fn what_waits_goes_out_before_the_word_of_the_end() {
    for transport in [Transport::LongPolling, Transport::CallbackPolling] {
        let mut world = world();
        world.transport = transport;
        let expected = |data: &[u32]| {
            let items = data.iter().map(|n| json!({"channel": "/p", "data": n}));
            let farewell = json!({"channel": "/meta/disconnect", "successful": true});
            items.chain([farewell]).collect::<Vec<_>>()
        };
        let tells = |items: &[Value], data: &[u32]| {
            let (reply, messages) = items.split_last().unwrap();
            assert_eq!(messages, expected(data));
            assert_eq!(reply["successful"], true);
            assert_eq!(reply["advice"], json!({"reconnect": "none"}));
        };
        let push = |world: &World, client: &str, n: u32| {
            let message =
                Publication::new(&"/p".try_into().unwrap(), &n.to_string(), Publisher::Nobody);
            world.broker.push(id_of(client), message).unwrap();
        };

        // In a poll.
        let a = world.open();
        let held = world.hold(&connect(&a));
        push(&world, &a, 1);
        assert!(world.broker.disconnect(id_of(&a)));
        tells(&world.answer(held).written(), &[1]);
        assert_eq!(world.broker.stats().sessions, 0);

        // Between two, also if the one that comes is not alone or breaks.
        let a = world.open();
        push(&world, &a, 1);
        assert!(world.broker.disconnect(id_of(&a)) && !world.broker.disconnect(id_of(&a)));
        let publish = json!({"channel": "/p", "clientId": a, "data": 1});
        assert_eq!(world.reply(&publish)["error"], "402::session_unknown");
        let response = world.response(&json!([connect(&a)]));
        tells(&response.items, &[1]);
        response.broken();
        let mut items = world.ask(&json!([connect(&a), publish]));
        assert_eq!(items.pop().unwrap()["error"], "402::session_unknown");
        tells(&items, &[1]);
        assert_eq!(
            world.reply(&connect(&a))["error"],
            "402::session_unknown",
            "it was told"
        );

        // In the middle of a response, which is lost.
        let a = world.open();
        push(&world, &a, 1);
        let unfinished = world.response(&json!([connect(&a)]));
        push(&world, &a, 2);
        assert!(world.broker.disconnect(id_of(&a)));
        let held = world.hold(&connect(&a));
        assert!(unfinished.is_cut());
        unfinished.broken();
        tells(&world.answer(held).written(), &[1, 2]);
        let stats = world.broker.stats();
        assert_eq!((stats.sessions, stats.held, stats.queued_bytes), (0, 0, 0));
        assert_eq!((stats.ended_dismissed, stats.dropped_with_session), (3, 0));
    }
}

/// Whoever says goodbye gets what was queued with the answer to that, or to the connect that is
/// held.
#[test]
fn what_waits_goes_with_the_answer_to_a_goodbye() {
    let mut world = world();
    for held in [false, true] {
        let a = world.open();
        world.subscribe(&a, &json!("/x"));
        let held = held.then(|| world.hold(&connect(&a)));
        let batch = json!([{"channel": "/x", "clientId": a, "data": 1},
            {"channel": "/meta/disconnect", "clientId": a}]);
        let mut items = world.ask(&batch);
        if let Some(held) = held {
            items = world.answer(held).written();
            assert_eq!(items[1]["advice"], json!({"reconnect": "none"}));
        }
        assert_eq!(items[0], json!({"channel": "/x", "data": 1}));
        let stats = world.broker.stats();
        assert_eq!((stats.sessions, stats.queued_bytes), (0, 0));
        assert_eq!(stats.dropped_with_session, 0);
    }
    // A poll that breaks just then leaves nothing behind.
    let a = world.open();
    world.subscribe(&a, &json!("/x"));
    let held = world.hold(&connect(&a));
    world.ask(&json!([{"channel": "/x", "clientId": a, "data": 1},
        {"channel": "/meta/disconnect", "clientId": a}]));
    world.leave(held);
    assert_eq!(world.broker.stats().queued_bytes, 0);
}

/// The session of a connect ends while the policy thinks about it.
#[test]
fn a_connect_that_is_with_the_policy_hears_that_its_session_ends() {
    let (asked, asks) = mpsc::channel();
    let (go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let policy = move |request: &AuthRequest<'_>| {
        if request.connection_type == Some("slow") {
            asked.send(()).unwrap();
            wait.lock().unwrap().recv().unwrap();
        }
        Decision::Allow
    };
    // All have one address here, which may have all threads.
    let config = BrokerConfig {
        max_share_per_ip: 100,
        ..BrokerConfig::default()
    };
    let mut world = World::with_policy(config, Some(Box::new(policy)));
    for server in [false, true] {
        let a = world.open();
        let mut slow = connect(&a);
        slow["connectionType"] = json!("slow");
        let key = world.send(&json!([slow])).err().unwrap();
        asks.recv().unwrap();
        if server {
            assert!(world.broker.disconnect(id_of(&a)));
        } else {
            let bye = json!({"channel": "/meta/disconnect", "clientId": a});
            assert_eq!(world.reply(&bye)["successful"], true);
        }
        go.send(()).unwrap();
        let mut items = world.worked(key).written();
        let reply = items.pop().unwrap();
        assert_eq!(reply["successful"], true);
        assert_eq!(reply["advice"], json!({"reconnect": "none"}));
        assert_eq!(items.len(), usize::from(server), "the word of it");
    }
    assert_eq!(world.broker.stats().sessions, 0);
}

/// When the server stops, observers hear of every session, and clients in it of their own.
#[test]
fn everybody_in_the_server_hears_that_it_stops() {
    let mut world = world();
    let (told, events) = mpsc::channel();
    let (go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    world
        .broker
        .add_observer_of([EventKind::Disconnected], move |event| {
            // It is behind from the start.
            let _ = wait.lock().unwrap().recv();
            if let Event::Disconnected { client, reason } = event {
                told.send((*client, *reason)).unwrap();
            }
        });
    let mut expected: Vec<Client> = (0..200).map(|_| id_of(&world.open()).into()).collect();
    let a = world.open();
    world.subscribe(&a, &json!("/x"));
    expected.push(id_of(&a).into());
    let bot = world.broker.local_client();
    expected.push(bot.id().into());
    let (heard, hears) = mpsc::channel();
    let (message, end) = (heard.clone(), heard);
    bot.subscribe("/x", move |publication| {
        message.send(publication.data().to_owned()).unwrap();
    })
    .unwrap()
    .keep();
    bot.on_end(move |gone| end.send(format!("{gone:?}")).unwrap());
    let reader = world.broker.local_client();
    expected.push(reader.id().into());
    let queue = reader.subscribe_queue("/x").unwrap();
    for n in 0..10 {
        assert_eq!(bot.publish("/x", &n), Ok(3));
    }
    let broker = world.broker.clone();
    let stop = std::thread::spawn(move || broker.stop(PATIENCE));
    drop(go);
    stop.join().unwrap();
    let mut ended: Vec<_> = events.try_iter().collect();
    assert!(ended.iter().all(|(_, reason)| *reason == Gone::Stopped));
    assert_eq!(
        ended.len(),
        expected.len(),
        "all were told before the stop was over"
    );
    for client in expected {
        let at = ended
            .iter()
            .position(|(ended, _)| *ended == client)
            .unwrap();
        ended.swap_remove(at);
    }
    let next = || hears.recv_timeout(PATIENCE).unwrap();
    let all: Vec<String> = (0..11).map(|_| next()).collect();
    let numbers = (0..10).map(|n: u32| n.to_string());
    assert_eq!(
        all,
        numbers.chain(["Stopped".to_owned()]).collect::<Vec<_>>()
    );
    for n in 0..10 {
        assert_eq!(reader.recv_timeout(PATIENCE).unwrap().data(), n.to_string());
    }
    assert!(
        reader.recv_timeout(FOREVER).is_none(),
        "nothing comes any more"
    );
    drop(queue);

    let stopped = Err(LocalError::Stopped);
    let broker = &world.broker;
    let message = || Publication::new(&"/x".try_into().unwrap(), "1", Publisher::Nobody);
    assert_eq!(bot.ended(), Some(Gone::Stopped));
    assert_eq!(bot.publish("/x", &1), stopped);
    assert_eq!(bot.subscribe_queue("/y").err(), Some(LocalError::Stopped));
    assert_eq!(bot.push(reader.id(), "/x", &1), Err(LocalError::Stopped));
    assert_eq!(broker.publish("/x", &1), stopped);
    assert_eq!(broker.publish_encoded(&message().into()), stopped);
    assert_eq!(broker.publish_as(id_of(&a), "/x", &1), stopped);
    assert_eq!(broker.push(id_of(&a), message()), Err(LocalError::Stopped));
    let late = broker.local_client();
    assert_eq!(late.ended(), Some(Gone::Stopped));
    assert_eq!(late.publish("/x", &1), stopped);
    let refused = world.response(&json!([{"channel": "/meta/handshake"}]));
    assert_eq!(refused.items[0]["error"], "503::draining");
    let stats = world.broker.stats();
    assert_eq!(
        (stats.sessions, stats.subscriptions, stats.ended_stopped),
        (0, 0, 201)
    );
}

/// A client in the server that is sent away still gets what was queued, and then hears of it.
#[test]
fn a_local_client_that_is_sent_away_hears_of_it_last() {
    let world = world();
    let bot = world.broker.local_client();
    let (heard, hears) = mpsc::channel();
    let (go, wait) = mpsc::channel::<()>();
    let (message, end) = (heard.clone(), heard);
    bot.subscribe("/x", move |publication| {
        wait.recv().unwrap();
        message.send(publication.data().to_owned()).unwrap();
    })
    .unwrap()
    .keep();
    bot.on_end(move |gone| end.send(format!("{gone:?}")).unwrap());
    for n in 0..3 {
        world.broker.publish("/x", &n).unwrap();
    }
    assert!(world.broker.disconnect(bot.id()));
    assert_eq!(bot.publish("/x", &3), Err(LocalError::UnknownClient));
    (0..3).for_each(|_| go.send(()).unwrap());
    let all: Vec<String> = (0..4)
        .map(|_| hears.recv_timeout(PATIENCE).unwrap())
        .collect();
    assert_eq!(all, ["0", "1", "2", "Dismissed"]);
    let (late, lately) = mpsc::channel();
    bot.on_end(move |gone| late.send(gone).unwrap());
    assert_eq!(
        lately.recv_timeout(PATIENCE),
        Ok(Gone::Dismissed),
        "at once"
    );
    // Who drops it knows.
    let quiet = world.broker.local_client();
    let (never, nothing) = mpsc::channel::<Gone>();
    quiet.on_end(move |gone| never.send(gone).unwrap());
    drop(quiet);
    assert_eq!(
        nothing.recv_timeout(PATIENCE),
        Err(mpsc::RecvTimeoutError::Disconnected)
    );
    assert_eq!(world.broker.stats().queued_bytes, 0);
}
