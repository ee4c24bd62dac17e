//! What parsing a request and encoding its publications cost for each message.

mod common;

use bayeux::Publication;
use bayeux::Publisher;
use bayeux::connector::message::{BatchLimits, Message, Parsed, Target, parse};
use common::{median, size, time};
use serde_json::json;
use std::hint::black_box;

fn main() {
    let cases = [
        ("small", json!({"n": 1})),
        (
            "chat",
            json!({"user": "somebody", "text": "What is said in a chat room, more or less."}),
        ),
        (
            "1 KiB",
            json!({"text": "x".repeat(1000), "list": [1, 2, 3, {"a": null}]}),
        ),
    ];
    for (name, data) in cases {
        let batch = (0..100).map(|n| {
            json!({"channel": "/chat/demo", "clientId": "0123456789abcdefghijklmnop",
                "id": n.to_string(), "data": data})
        });
        let body = batch.collect::<serde_json::Value>().to_string();
        let limits = BatchLimits::default();
        let parsed = parse(body.as_bytes(), &limits).expect("a batch");
        let messages: Vec<Message<'_>> = parsed.iter().filter_map(message).collect();
        assert_eq!(messages.len(), 100);
        for message in &messages {
            let publication = encode(*message);
            assert_eq!(publication.data(), data.to_string());
        }
        let (rounds, calls) = (size(101, 3), size(50, 2));
        let parsing = (0..rounds).map(|_| {
            time(calls, || {
                drop(black_box(parse(black_box(body.as_bytes()), &limits)))
            }) / 100.0
        });
        let encoding = (0..rounds).map(|_| {
            time(calls, || {
                for message in &messages {
                    black_box(encode(*message));
                }
            }) / 100.0
        });
        let (parsing, encoding) = (median(parsing.collect()), median(encoding.collect()));
        let bytes = body.len() / 100;
        println!("{name}, {bytes} bytes: {parsing:.0} ns to parse, {encoding:.0} ns to encode");
    }
}

fn message(parsed: Parsed<'_>) -> Option<Message<'_>> {
    match parsed {
        Parsed::Message(message) => Some(message),
        Parsed::Rejected(_) => None,
    }
}

fn encode(message: Message<'_>) -> Publication {
    let Target::Broadcast(channel) = message.target() else {
        panic!("a broadcast channel")
    };
    Publication::from_message(message, channel, Publisher::Nobody, None)
}
