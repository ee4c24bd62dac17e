//! Frames that user code is at work on, when the answer comes at once or brings a session, and
//! frames behind them.

use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use bayeux::connector::Executed;
use bayeux::{Access, Action, AuthRequest, Decision};
use bayeux::{ServiceCall, ServiceError, ServiceReply};
use serde_json::{Value, json};

use crate::common::wait::PATIENCE;
use crate::common::websocket::{Client, Frame, World, frame};
use crate::common::world::{Deaf, execute};

/// As many as are more than the server keeps of the input of a connection that does not wait.
const MANY: usize = 500;

fn text(message: &Value) -> Vec<u8> {
    frame(0x81, json!([message]).to_string().as_bytes())
}

/// Sends the message from nowhere. Says whether a worker will come to it.
fn waits(world: &World, message: &Value) -> bool {
    let messages = json!([message]);
    let executed = execute(world.server.broker(), Arc::new(Deaf), 0, &messages);
    match executed {
        Executed::Later(mut exchange) => exchange.poll().is_none(),
        Executed::Now(_) => panic!("everything is judged"),
    }
}

#[test]
fn what_is_refused_at_once_holds_up_nothing() {
    let gate = Arc::new(Mutex::new(()));
    let (stuck, seen) = mpsc::channel();
    let waiting = Arc::clone(&gate);
    let policy = move |request: &AuthRequest<'_>| {
        if request.channel == "/stuck" {
            let _ = stuck.send(());
            drop(waiting.lock());
        }
        Decision::Allow
    };
    let world = World::built(
        |config| config.workers = 1,
        |builder| builder.policy(policy),
    );
    let mut client = world.client("/a");
    let closed = gate.lock().unwrap();
    let message = client.message("/stuck", 0);
    assert!(waits(&world, &message));
    seen.recv_timeout(PATIENCE).unwrap();
    // The worker is at it, and behind it waits as much as may.
    while waits(&world, &message) {}
    let mut bytes = text(&client.message("/b", 0)).repeat(MANY);
    bytes.extend(frame(0x89, b"last"));
    client.socket.send_raw(&bytes);
    for _ in 0..MANY {
        assert_eq!(client.socket.item()["error"], "503:/b:busy");
    }
    assert_eq!(client.socket.frame(), Frame::Pong(b"last".to_vec()));
    drop(closed);
}

fn policy(request: &AuthRequest<'_>) -> Decision {
    match request.action {
        Action::Subscribe if request.subscriptions[0].as_str() == "/no" => Decision::deny("sub"),
        Action::Publish if request.channel == "/no" => Decision::deny("pub"),
        _ => Decision::Allow,
    }
}

fn echo(call: &ServiceCall<'_>) -> Result<Vec<ServiceReply>, ServiceError> {
    Ok(vec![ServiceReply::raw_data(call.data)])
}

/// Messages that are judged, served or both, with what their replies say.
fn errands(client: &Client) -> [(Value, Option<&'static str>); 6] {
    let subscribe = |channel: &str| {
        json!({"channel": "/meta/subscribe", "clientId": client.id,
            "subscription": channel})
    };
    [
        (client.connect(0), None),
        (client.message("/yes", 1), None),
        (client.message("/no", 1), Some("403:pub:publish_denied")),
        (client.message("/service/echo", 1), None),
        (subscribe("/no"), Some("403:sub:subscribe_denied")),
        (subscribe("/mine"), None),
    ]
}

#[test]
fn every_frame_is_answered_however_soon_its_worker_is_done() {
    let world = World::built(
        |_| {},
        |builder| {
            builder
                .policy(policy)
                .service("/service/echo", Access::Sessions, echo)
        },
    );
    thread::scope(|scope| {
        for first in 0..4 {
            let world = &world;
            scope.spawn(move || {
                let mut client = world.client("/mine");
                let errands = errands(&client);
                let all = errands.iter().cycle().skip(first);
                // Two frames, as many as a client's two requests at a time, and whole floods.
                for count in (0..200).map(|n| 2 + n % 5).chain([MANY]) {
                    let sent: Vec<_> = all.clone().take(count).collect();
                    let bytes = sent.iter().flat_map(|(message, _)| text(message));
                    client.socket.send_raw(&bytes.collect::<Vec<_>>());
                    for (message, error) in sent {
                        let mut reply = client.socket.item();
                        if reply.get("data").is_some() {
                            reply = client.socket.item();
                        }
                        assert_eq!(reply["channel"], message["channel"], "{reply}");
                        assert_eq!(reply["error"].as_str(), *error, "{reply}");
                    }
                }
            });
        }
    });
}

#[test]
fn what_was_queued_comes_with_a_connect_that_was_judged() {
    let world = World::built(|_| {}, |builder| builder.policy(policy));
    let mut client = world.unconnected();
    client.subscribe("/a");
    world.publish("/a", &json!(1));
    client.socket.tell(&client.connect(0));
    let items = [client.socket.item(), client.socket.item()];
    let data: Vec<_> = items.iter().filter_map(|item| item.get("data")).collect();
    assert_eq!(data, [&json!(1)]);

    let Client { socket, id } = client;
    socket.reset();
    world.until("the socket is gone", |stats| stats.connections == 0);
    world.publish("/a", &json!(2));
    let socket = world.socket();
    let mut again = Client { socket, id };
    again.socket.tell(&again.connect(20_000));
    assert_eq!(again.socket.item()["data"], 2, "while the connect is held");
    world.publish("/a", &json!(3));
    assert_eq!(again.socket.item()["data"], 3);
}
