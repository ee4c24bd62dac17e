//! Two things at once, in the order that hurts most, brought about by hooks instead of luck.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bayeux::ClientId;
use bayeux::connector::Executed;
use bayeux::connector::WakeSink;
use bayeux::{Action, AuthRequest, Broker, BrokerConfig, Decision, Gone, Policy};
use bayeux::{Client, Event};
use serde_json::json;

use crate::common::world::{Deaf, Response, World, connect, execute};

/// A policy that thinks about messages with `ext` until it is told to allow them.
fn slow_policy() -> (Box<dyn Policy>, Receiver<Action>, Sender<()>) {
    let (thinking, thinks) = channel();
    let (go, wait) = channel::<()>();
    let (thinking, wait) = (Mutex::new(thinking), Mutex::new(wait));
    let policy = move |request: &AuthRequest<'_>| {
        if request.ext.is_some() {
            thinking.lock().unwrap().send(request.action).unwrap();
            wait.lock().unwrap().recv().unwrap();
        }
        Decision::Allow
    };
    (Box::new(policy), thinks, go)
}

/// Does something while the policy thinks about the message.
fn meanwhile(message: serde_json::Value, act: impl FnOnce(&World, &ClientId)) -> (World, Response) {
    let (policy, thinks, go) = slow_policy();
    let mut world = World::with_policy(BrokerConfig::default(), Some(policy));
    let client = world.open();
    let mut message = message;
    message["clientId"] = json!(client);
    message["ext"] = json!({});
    let sent = world.send(&json!([message]));
    thinks.recv().unwrap();
    act(&world, &ClientId::parse(&client).unwrap());
    go.send(()).unwrap();
    let response = world.settled(sent);
    let response = response.unwrap_or_else(|_| panic!("{message} is held"));
    (world, response)
}

#[test]
fn a_connect_is_not_held_when_draining_has_begun() {
    let (world, response) = meanwhile(connect(""), |world, _| world.broker.drain(Duration::ZERO));
    assert!(response.close);
    assert_eq!(response.items[0]["successful"], true);
    assert_eq!(response.items[0].get("advice"), None);
    assert_eq!(world.broker.stats().held, 0);
}

#[test]
fn nothing_is_done_for_a_session_that_has_ended() {
    for (message, error) in [
        // It is told, and nobody else is to come for that.
        (connect(""), None),
        (
            json!({"channel": "/meta/subscribe", "subscription": "/x"}),
            Some("402::session_unknown"),
        ),
        (
            json!({"channel": "/meta/disconnect"}),
            Some("402::session_unknown"),
        ),
        (
            json!({"channel": "/meta/unsubscribe", "subscription": "/x"}),
            None,
        ),
    ] {
        let (world, response) = meanwhile(message.clone(), |world, client| {
            assert!(world.broker.disconnect(client));
        });
        let connects = message == connect("");
        let items = response.written();
        let reply = items.last().unwrap();
        assert_eq!(reply["error"].as_str(), error, "{message}");
        let advice = connects.then(|| json!({"reconnect": "none"}));
        assert_eq!(reply.get("advice"), advice.as_ref(), "{message}");
        let stats = world.broker.stats();
        let left = [stats.sessions, stats.held, stats.subscriptions];
        assert_eq!(left, [u64::from(!connects), 0, 0], "{message}");
    }
}

/// Sends a connect from within a wake.
struct Reconnecting {
    broker: Broker,
    client: Mutex<Option<String>>,
    answer: Mutex<Option<Executed>>,
}

impl WakeSink for Reconnecting {
    fn wake(&self, keys: &[u64]) {
        let client = self.client.lock().unwrap().take();
        if let Some(client) = client {
            let request = json!([connect(&client)]);
            let executed = execute(&self.broker, Arc::new(Deaf), keys[0] + 100, &request);
            *self.answer.lock().unwrap() = Some(executed);
        }
    }
}

#[test]
fn a_client_that_comes_back_while_the_ticker_is_at_work_is_not_ended() {
    let mut world = World::new(BrokerConfig {
        timeout: Duration::from_secs(120),
        ..BrokerConfig::default()
    });
    let ended: Arc<Mutex<Vec<Gone>>> = Arc::default();
    let note = Arc::clone(&ended);
    world.broker.add_observer(move |event| {
        if let Event::Disconnected {
            reason,
            client: Client::Remote(_),
        } = event
        {
            note.lock().unwrap().push(*reason);
        }
    });
    let (holding, late) = (world.open(), world.open());
    let sink = Arc::new(Reconnecting {
        broker: world.broker.clone(),
        client: Mutex::new(Some(late)),
        answer: Mutex::default(),
    });
    let request = json!([connect(&holding)]);
    let held = execute(&world.broker, sink.clone(), 1, &request);
    assert!(matches!(held, Executed::Later(_)));
    // The hold and the other session's grace end in the same turn; the wake comes first.
    world.advance(Duration::from_secs(120));
    let Some(Executed::Later(mut exchange)) = sink.answer.lock().unwrap().take() else {
        panic!("the session still lived")
    };
    assert!(exchange.poll().is_none());
    assert_eq!(world.broker.stats().ended_expired, 0);
    assert_eq!(*ended.lock().unwrap(), []);
}

/// Ends a session from within a wake.
struct Ending {
    broker: Broker,
    client: Mutex<Option<ClientId>>,
}

impl WakeSink for Ending {
    fn wake(&self, _keys: &[u64]) {
        if let Some(client) = self.client.lock().unwrap().take() {
            assert!(self.broker.disconnect(client));
        }
    }
}

/// What the reply to a connect says and the messages that go with it agree, also where the session
/// ends while its request is executed.
#[test]
fn a_connect_that_carries_the_end_says_so() {
    for alone in [true, false] {
        let mut world = World::new(BrokerConfig::default());
        let (client, other) = (world.open(), world.open());
        let watched = if alone { &other } else { &client };
        for client in [watched, &other] {
            world.subscribe(client, &json!("/x"));
        }
        let sink = Arc::new(Ending {
            broker: world.broker.clone(),
            client: Mutex::new(ClientId::parse(&client)),
        });
        let held = execute(&world.broker, sink, 1, &json!([connect(&other)]));
        assert!(matches!(held, Executed::Later(_)));
        let publish = json!({"channel": "/x", "clientId": client, "data": 1});
        let response = world.response(&json!([publish, connect(&client)]));
        let items = response.written();
        let channels: Vec<_> = items.iter().map(|item| &item["channel"]).collect();
        let expected = ["/x", "/meta/disconnect", "/x", "/meta/connect"];
        assert_eq!(channels, expected[usize::from(alone)..], "{items:?}");
        let reply = items.last().unwrap();
        assert_eq!(reply["advice"], json!({"reconnect": "none"}), "{items:?}");
        assert_eq!(world.broker.stats().sessions, 1, "nobody waits for it");
    }
}
