//! Publishing, and what of a message reaches others.

use bayeux::BrokerConfig;
use serde_json::json;

use super::{check, check_defaults};
use crate::common::world::{World, connect, data_of};

#[test]
fn the_reply_never_has_the_data() {
    check_defaults(&[
        (
            "a publication",
            r#"[{"channel":"/x","clientId":"$A","id":"1","data":{"a":1},"ext":{"b":2},"foo":3}]"#,
            r#"[{"channel":"/x","clientId":"$A","id":"1","successful":true}]"#,
        ),
        (
            "null is data",
            r#"[{"channel":"/x","clientId":"$A","data":null}]"#,
            r#"[{"channel":"/x","clientId":"$A","successful":true}]"#,
        ),
        (
            "no data",
            r#"[{"channel":"/x","clientId":"$A","id":"1"}]"#,
            r#"[{"channel":"/x","clientId":"$A","id":"1","successful":false,
                "error":"402:data:missing_parameter"}]"#,
        ),
        (
            "no session",
            r#"[{"channel":"/x","id":"1","data":1},{"channel":"/x","clientId":"no","data":1}]"#,
            r#"[{"channel":"/x","id":"1","successful":false,"error":"402::session_unknown"},
                {"channel":"/x","clientId":"no","successful":false,
                "error":"402::session_unknown"}]"#,
        ),
    ]);
}

#[test]
fn where_to() {
    for channel in [
        "/a/*", "/a/**", "/*", "/meta", "/service", "a", "/", "/a/", "//a", "/a?x",
    ] {
        let request = format!(r#"[{{"channel":"{channel}","clientId":"$A","data":1}}]"#);
        let mut world = World::new(BrokerConfig::default());
        let a = world.open();
        let response = world.send_text(&request.replace("$A", &a));
        let reply = response
            .unwrap_or_else(|_| panic!("not held"))
            .written()
            .remove(0);
        assert_eq!(reply["error"], "405::channel_invalid", "{channel}");
    }
    check_defaults(&[
        (
            "odd but valid",
            r#"[{"channel":"/a b/{x}","clientId":"$A","data":1}]"#,
            r#"[{"channel":"/a b/{x}","clientId":"$A","successful":true}]"#,
        ),
        (
            "a meta channel that there is not",
            r#"[{"channel":"/meta/foo","clientId":"$A","data":1},
                {"channel":"/meta/subscribe/x","clientId":"$A","subscription":"/x"}]"#,
            r#"[{"channel":"/meta/foo","clientId":"$A","successful":false,
                "error":"403:denied_by_security_policy:channel_create_denied"},
                {"channel":"/meta/subscribe/x","clientId":"$A","successful":false,
                "error":"403:denied_by_security_policy:channel_create_denied"}]"#,
        ),
    ]);
}

#[test]
fn what_of_a_message_is_delivered() {
    let mut world = World::new(BrokerConfig::default());
    let (a, b) = (world.open(), world.open());
    world.subscribe(&a, &json!("/x"));
    let mut message = json!({"channel": "/x", "id": "p", "data": [1], "ext": {"k": 1},
        "foo": {"bar": 2}, "successful": false, "error": "no", "advice": {"reconnect": "none"},
        "subscription": "/y", "version": "1", "minimumVersion": "1", "connectionType": "x",
        "supportedConnectionTypes": ["x"], "timestamp": "now"});
    message["clientId"] = json!(b);
    assert_eq!(world.reply(&message)["successful"], true);
    let items = world.ask(&json!([connect(&a)]));
    assert_eq!(
        items[0],
        json!({"channel": "/x", "data": [1], "ext": {"k": 1}, "foo": {"bar": 2}})
    );
}

#[test]
fn to_the_publisher_or_not() {
    let rows = [(
        "a subscriber publishes",
        r#"[{"channel":"/meta/subscribe","clientId":"$A","subscription":"/x"},
            {"channel":"/x","clientId":"$A","data":1}]"#,
        r#"[{"channel":"/meta/subscribe","clientId":"$A","subscription":"/x","successful":true},
            {"channel":"/x","clientId":"$A","successful":true}]"#,
    )];
    let without = BrokerConfig {
        broadcast_to_publisher: false,
        ..BrokerConfig::default()
    };
    check(&without, &rows);
    let bound = BrokerConfig {
        meta_connect_deliver_only: true,
        ..BrokerConfig::default()
    };
    check(&bound, &rows);
    let mut world = World::new(bound);
    let a = world.open();
    world.subscribe(&a, &json!("/x"));
    world.publish(&a, "/x", &json!("later"));
    assert_eq!(data_of(&world.ask(&json!([connect(&a)]))), [json!("later")]);
}

#[test]
fn anonymous_publishing() {
    let config = BrokerConfig {
        anonymous_publish: true,
        ..BrokerConfig::default()
    };
    check(
        &config,
        &[
            (
                "by nobody",
                r#"[{"channel":"/x","id":"1","data":1}]"#,
                r#"[{"channel":"/x","id":"1","successful":true}]"#,
            ),
            (
                "by somebody unknown",
                r#"[{"channel":"/x","clientId":"gone","data":1}]"#,
                r#"[{"channel":"/x","clientId":"gone","successful":false,
                "error":"402::session_unknown"}]"#,
            ),
        ],
    );
}

#[test]
fn order_is_kept() {
    let mut world = World::new(BrokerConfig::default());
    let (a, b) = (world.open(), world.open());
    world.subscribe(&a, &json!("/x"));
    let batch: Vec<_> = (0..100)
        .map(|n| json!({"channel": "/x", "clientId": b, "data": n}))
        .collect();
    assert_eq!(world.ask(&json!(batch)).len(), 100);
    let got = data_of(&world.ask(&json!([connect(&a)])));
    assert_eq!(got, (0..100).map(|n| json!(n)).collect::<Vec<_>>());
}
