//! From publisher to receivers: order, queues, limits.

use bayeux::Overflow;
use serde_json::{Value, json};

use super::harness::{Client, On, World, data_of};

fn numbers(range: std::ops::Range<u64>) -> Vec<Value> {
    range.map(|n| json!(n)).collect()
}

/// Publishes the numbers in one request.
fn publish_all(client: &mut Client, channel: &str, range: std::ops::Range<u64>) {
    let batch: Vec<_> = range
        .map(|n| json!({"channel": channel, "data": n}))
        .collect();
    let count = batch.len();
    let replies = client.send(&Value::Array(batch));
    assert_eq!(
        replies
            .iter()
            .filter(|reply| reply["successful"] == true)
            .count(),
        count
    );
}

pub(crate) fn a_thousand_messages_in_order(on: On) {
    let world = World::new(on);
    let (mut a, mut b) = (world.client(), world.client());
    a.subscribe(&json!("/x"));
    let publisher = std::thread::spawn(move || {
        for start in (0..1000).step_by(20) {
            publish_all(&mut b, "/x", start..start + 20);
        }
    });
    let mut got = Vec::new();
    while got.len() < 1000 {
        got.extend(data_of(&a.connect().answer()));
    }
    publisher.join().unwrap();
    assert_eq!(got, numbers(0..1000));
}

pub(crate) fn an_own_message_rides_along(on: On) {
    let world = World::new(on);
    let mut client = world.client();
    client.subscribe(&json!("/x"));
    let items = client.publish("/x", &json!("own"));
    assert_eq!(items[0], json!({"channel": "/x", "data": "own"}));
    assert_eq!((items.len(), &items[1]["successful"]), (2, &json!(true)));
}

pub(crate) fn data_is_passed_on_byte_for_byte(on: On) {
    let world = World::new(on);
    let (mut a, b) = (world.client(), world.client());
    a.subscribe(&json!("/x"));
    let data = r#"{ "b":1.50,"a": 1e400,"b":"\u00e9\/\ud83d", "c":[ ]  ,"d":-0}"#;
    let body = format!(
        r#"[{{"channel":"/x","clientId":"{}","data":{data} }}]"#,
        b.id
    );
    let mut connection = world.connection();
    connection.send(super::harness::post_bytes("", &body));
    assert_eq!(connection.response().status, 200);
    let poll = a.signed(&json!({"channel": "/meta/connect"})).to_string();
    connection.send(super::harness::post_bytes("", &poll));
    let response = connection.response();
    assert!(response.text().contains(data), "{}", response.text());
}

pub(crate) fn a_full_queue(on: On) {
    for (overflow, kept) in [
        (Overflow::DropOldest, numbers(2..7)),
        (Overflow::DropNewest, numbers(0..5)),
        (Overflow::Disconnect, numbers(0..0)),
    ] {
        let world = World::with(on, |config| {
            config.broker.queue.messages = 5;
            config.broker.queue.overflow = overflow;
        });
        let (mut a, mut b) = (world.client(), world.client());
        a.subscribe(&json!("/x"));
        publish_all(&mut b, "/x", 0..7);
        let answer = a.poll();
        assert_eq!(data_of(&answer), kept, "{overflow:?}");
        let broker = world.server.stats().broker;
        if overflow == Overflow::Disconnect {
            assert_eq!(answer[0]["error"], "402::session_unknown");
            assert_eq!(answer[0]["advice"]["reconnect"], "handshake");
            assert_eq!(broker.ended_overflowed, 1);
        } else {
            assert_eq!(
                broker.dropped_oldest + broker.dropped_newest,
                2,
                "{overflow:?}"
            );
        }
    }
}

pub(crate) fn a_queue_is_bounded_in_bytes_too(on: On) {
    let world = World::with(on, |config| {
        config.broker.queue.bytes = 4096;
        config.broker.queue.overflow = Overflow::DropNewest;
    });
    let (mut a, mut b) = (world.client(), world.client());
    a.subscribe(&json!("/x"));
    for n in 0..10 {
        b.publish("/x", &json!([n, "y".repeat(1000)]));
    }
    let count = data_of(&a.poll()).len();
    assert!(
        (1..=4).contains(&count),
        "{count} messages of more than 1000 bytes in 4096"
    );
}

pub(crate) fn a_large_backlog_comes_in_several_answers(on: On) {
    let world = World::new(on);
    let (mut a, mut b) = (world.client(), world.client());
    a.subscribe(&json!("/x"));
    for n in 0..20 {
        b.publish("/x", &json!([n, "y".repeat(60_000)]));
    }
    let mut got = Vec::new();
    let mut answers = 0;
    while got.len() < 20 {
        let (answer, time) = a.connect().timed_answer();
        let bytes: usize = answer.iter().map(|item| item.to_string().len()).sum();
        assert!(bytes <= (512 << 10) + 1000, "{bytes} bytes in one answer");
        assert!(
            time < super::harness::HOLD,
            "what is left makes the next return at once"
        );
        got.extend(data_of(&answer).iter().map(|data| data[0].clone()));
        answers += 1;
    }
    assert_eq!(got, numbers(0..20));
    assert!(answers >= 3, "{answers}");
}

pub(crate) fn delivery_bound_to_connects(on: On) {
    let world = World::with(on, |config| config.broker.meta_connect_deliver_only = true);
    let mut client = world.client();
    client.subscribe(&json!("/x"));
    assert_eq!(
        client.publish("/x", &json!(1)).len(),
        1,
        "nothing rides along"
    );
    assert_eq!(data_of(&client.connect().answer()), [json!(1)]);
}

pub(crate) fn not_to_the_publisher(on: On) {
    let world = World::with(on, |config| config.broker.broadcast_to_publisher = false);
    let (mut a, mut b) = (world.client(), world.client());
    a.subscribe(&json!("/x"));
    assert_eq!(a.publish("/x", &json!("own")).len(), 1);
    b.publish("/x", &json!("another's"));
    assert_eq!(data_of(&a.poll()), [json!("another's")]);
}

pub(crate) fn anonymous_publishing(on: On) {
    let message = json!([{"channel": "/x", "data": 1, "id": "1"}]);
    let world = World::new(on);
    assert_eq!(world.reply(&message)["error"], "402::session_unknown");
    let world = World::with(on, |config| config.broker.anonymous_publish = true);
    let expected = json!({"channel": "/x", "id": "1", "successful": true});
    assert_eq!(world.reply(&message), expected);
}

pub(crate) fn local_clients_and_services(on: On) {
    use bayeux::{Access, ServiceCall, ServiceReply};
    let world = World::new(on);
    let slow_echo = |call: &ServiceCall<'_>| {
        std::thread::sleep(std::time::Duration::from_millis(100));
        Ok(vec![ServiceReply::raw_data(call.data)])
    };
    world
        .server
        .broker()
        .add_service("/service/echo", Access::Sessions, slow_echo)
        .unwrap();
    let bot = world.server.local_client();
    let mut client = world.client();
    client.subscribe(&json!("/room"));
    let held = client.hold(&world);
    assert_eq!(bot.publish("/room", &"from inside").unwrap(), 1);
    let mut held = held;
    assert_eq!(data_of(&held.answer()), [json!("from inside")]);
    let items = client.send(&json!({"channel": "/service/echo", "id": 7, "data": [1.5]}));
    assert_eq!(
        items[0],
        json!({"channel": "/service/echo", "id": 7, "data": [1.5], "successful": true})
    );
    assert_eq!(items[1]["successful"], true);
}

pub(crate) fn no_room_for_another_session(on: On) {
    let world = World::with(on, |config| config.broker.max_sessions = 2);
    let (mut a, _b) = (world.client(), world.client());
    a.subscribe(&json!("/x"));
    let refused = world.post(&json!([
        {"channel": "/x", "clientId": a.id, "data": 1, "id": "p"},
        {"channel": "/meta/handshake", "id": "h"},
    ]));
    assert_eq!(refused.status, 503);
    assert!(refused.header("retry-after").is_some());
    let items = refused.array();
    let errors: Vec<_> = items.iter().map(|item| &item["error"]).collect();
    assert_eq!(errors, ["503::session_limit"; 2]);
    assert!(items.iter().all(|item| item.get("advice").is_none()));
    assert_eq!(a.poll().len(), 1, "nothing of it was executed");
    assert_eq!(
        a.reply(&json!({"channel": "/meta/disconnect"}))["successful"],
        true
    );
    world.client();
}
