//! Each message in a frame of its own, however it comes: there are clients that look at the first
//! of an array only.

use bayeux::{Access, ServiceCall, ServiceError, ServiceReply};
use serde_json::{Value, json};

use crate::common::websocket::{Client, Socket, World};

/// Reads frames up to the one with the reply of that id; the `data` of the messages in them, each
/// of which must be alone.
fn data_until(socket: &mut Socket, id: &str) -> Vec<Value> {
    let mut data = Vec::new();
    loop {
        let items: Vec<Value> = serde_json::from_str(&socket.text()).unwrap();
        let messages: Vec<&Value> = items.iter().filter_map(|item| item.get("data")).collect();
        assert!(messages.is_empty() || items.len() == 1, "{items:?}");
        data.extend(messages.into_iter().cloned());
        if items
            .iter()
            .any(|item| item["id"] == id && item.get("data").is_none())
        {
            return data;
        }
    }
}

fn publish_three(world: &World) {
    for n in 0..3 {
        world.publish("/a", &json!(n));
    }
}

#[test]
fn what_waited_for_a_connect() {
    let world = World::new();
    let mut client = world.unconnected();
    client.subscribe("/a");
    publish_three(&world);
    client.socket.tell(&client.connect(0));
    let mut data = data_until(&mut client.socket, "c");
    while data.len() < 3 {
        data.push(client.socket.item()["data"].clone());
    }
    assert_eq!(data, [0, 1, 2]);
}

#[test]
fn what_rides_in_the_response_to_something_else() {
    let world = World::new();
    let mut client = world.unconnected();
    client.subscribe("/a");
    publish_three(&world);
    client.socket.tell(&client.message("/a", 3));
    assert_eq!(data_until(&mut client.socket, "p"), [0, 1, 2, 3]);
}

#[test]
fn what_a_connect_brings_that_delivery_is_bound_to() {
    let world = World::with(|config| config.broker.meta_connect_deliver_only = true);
    let mut client = world.client("/a");
    publish_three(&world);
    client.socket.tell(&client.connect(20_000));
    assert_eq!(data_until(&mut client.socket, "c"), [0, 1, 2]);
    client.hold();
    world.publish("/a", &json!(3));
    assert_eq!(data_until(&mut client.socket, "c"), [3]);
}

#[test]
fn what_a_newer_socket_takes_over() {
    let world = World::new();
    let older = world.client("/a");
    let id = older.id.clone();
    drop(older);
    world.until("it has gone", |stats| stats.connections == 0);
    publish_three(&world);
    let mut newer = Client {
        socket: world.socket(),
        id,
    };
    newer.socket.tell(&newer.connect(0));
    let mut data = data_until(&mut newer.socket, "c");
    while data.len() < 3 {
        data.push(newer.socket.item()["data"].clone());
    }
    assert_eq!(data, [0, 1, 2]);
}

/// The reply to a connect is written last, and still stands where its message stood.
#[test]
fn replies_stay_in_the_order_of_their_messages() {
    let two = |_: &ServiceCall<'_>| -> Result<Vec<ServiceReply>, ServiceError> {
        Ok((0..2)
            .map(|n| ServiceReply::raw_data(&n.to_string()))
            .collect())
    };
    let world = World::built(
        |_| {},
        |builder| builder.service("/service/two", Access::Sessions, two),
    );
    let mut client = world.client("/b");
    let connect = client.connect(0);
    let service = client.message("/service/two", ());
    let publish = client.message("/c", 1);
    for (batch, expected) in [
        (
            vec![&connect, &service, &publish],
            "/meta/connect /service/two=0 /service/two=1 /service/two /c",
        ),
        (
            vec![&service, &connect, &service],
            concat!(
                "/service/two=0 /service/two=1 /service/two /meta/connect ",
                "/service/two=0 /service/two=1 /service/two"
            ),
        ),
        (
            vec![&publish, &service, &connect],
            "/c /service/two=0 /service/two=1 /service/two /meta/connect",
        ),
        (
            vec![&connect, &connect, &service, &connect, &publish, &connect],
            concat!(
                "/meta/connect /meta/connect /service/two=0 /service/two=1 /service/two ",
                "/meta/connect /c /meta/connect"
            ),
        ),
    ] {
        client.socket.send_text(&json!(batch).to_string());
        let count = expected.split(' ').count();
        let items = (0..count).map(|_| {
            let item = client.socket.item();
            let channel = item["channel"].as_str().unwrap().to_owned();
            match item.get("data") {
                Some(data) => format!("{channel}={data}"),
                None => channel,
            }
        });
        assert_eq!(items.collect::<Vec<_>>().join(" "), expected);
    }
}

#[test]
fn what_a_service_answers() {
    let three = |_: &ServiceCall<'_>| -> Result<Vec<ServiceReply>, ServiceError> {
        Ok((0..3)
            .map(|n| ServiceReply::raw_data(&n.to_string()))
            .collect())
    };
    let world = World::built(
        |_| {},
        |builder| builder.service("/service/three", Access::Sessions, three),
    );
    let mut client = world.client("/b");
    let calls = [
        client.message("/c", "before"),
        client.message("/service/three", ()),
        client.message("/service/three", ()),
    ];
    client.socket.send_text(&json!(calls).to_string());
    let mut data = data_until(&mut client.socket, "p");
    while data.len() < 6 {
        data.extend(data_until(&mut client.socket, "p"));
    }
    assert_eq!(data, [0, 1, 2, 0, 1, 2]);
}
