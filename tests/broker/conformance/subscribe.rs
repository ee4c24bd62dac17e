//! `/meta/subscribe` and `/meta/unsubscribe`.

use bayeux::BrokerConfig;
use serde_json::{Value, json};

use super::check_defaults;
use crate::common::world::{World, connect, data_of};

/// The reply to a subscription, given as JSON text: success, or the error.
fn outcome(subscription: &str) -> Value {
    let mut world = World::new(BrokerConfig::default());
    let a = world.open();
    let request = format!(
        r#"[{{"channel":"/meta/subscribe","clientId":"{a}","subscription":{subscription}}}]"#
    );
    let response = world
        .send_text(&request)
        .unwrap_or_else(|_| panic!("not held"));
    let mut reply = response.written().remove(0);
    assert_eq!(reply["clientId"], a.as_str());
    let echoed = reply["subscription"].take();
    let sent: Value = serde_json::from_str(subscription).expect("a valid row");
    assert_eq!(echoed, sent, "comes back in the shape it was sent in");
    reply
        .get("error")
        .cloned()
        .unwrap_or_else(|| reply["successful"].clone())
}

#[test]
fn what_can_be_subscribed_to() {
    let good = [
        r#""/a""#,
        r#""/a/b/c""#,
        r#""/*""#,
        r#""/**""#,
        r#""/a/*""#,
        r#""/a/**""#,
        r#""/a b/ /+-.@_{}~!#$()""#,
        r#"["/a","/b/*"]"#,
        r#""/service/x""#,
        r#""/service/*""#,
        r#""/metadata""#,
    ];
    for subscription in good {
        assert_eq!(outcome(subscription), json!(true), "{subscription}");
    }
}

#[test]
fn what_cannot() {
    let invalid = [
        "5",
        "{}",
        "true",
        "[]",
        "[5]",
        r#"["/ok",5]"#,
        r#"["/ok","/a?b"]"#,
        r#""""#,
        r#""/""#,
        r#""a""#,
        r#""/a/""#,
        r#""//a""#,
        r#""/a//b""#,
        r#""/a/*/b""#,
        r#""/a/**/b""#,
        r#""/a*""#,
        r#""/***""#,
        r#""/\u00fc""#,
        r#""/a?b""#,
        r#""/a\u0000""#,
    ];
    for subscription in invalid {
        assert_eq!(
            outcome(subscription),
            json!("403::subscription_invalid"),
            "{subscription}"
        );
    }
    let denied = json!("403:denied_by_security_policy:subscribe_denied");
    for subscription in [
        r#""/meta/connect""#,
        r#""/meta/*""#,
        r#""/meta/**""#,
        r#""/meta""#,
    ] {
        assert_eq!(outcome(subscription), denied, "{subscription}");
    }
}

#[test]
fn all_or_nothing() {
    check_defaults(&[
        (
            "an invalid one among them",
            r#"[{"channel":"/meta/subscribe","clientId":"$A","subscription":["/ok","/a?b"]},
                {"channel":"/ok","clientId":"$A","data":1}]"#,
            r#"[{"channel":"/meta/subscribe","clientId":"$A","subscription":["/ok","/a?b"],
                "successful":false,"error":"403::subscription_invalid"},
                {"channel":"/ok","clientId":"$A","successful":true}]"#,
        ),
        (
            "a denied one among them",
            r#"[{"channel":"/meta/subscribe","clientId":"$A","subscription":["/ok","/meta/x"]},
                {"channel":"/ok","clientId":"$A","data":1}]"#,
            r#"[{"channel":"/meta/subscribe","clientId":"$A","subscription":["/ok","/meta/x"],
                "successful":false,
                "error":"403:denied_by_security_policy:subscribe_denied"},
                {"channel":"/ok","clientId":"$A","successful":true}]"#,
        ),
    ]);
}

#[test]
fn repeating_and_undoing_are_harmless() {
    check_defaults(&[
        (
            "twice is once",
            r#"[{"channel":"/meta/subscribe","clientId":"$A","subscription":"/x"},
                {"channel":"/meta/subscribe","clientId":"$A","subscription":"/x"},
                {"channel":"/x","clientId":"$A","data":1}]"#,
            r#"[{"channel":"/x","data":1},
                {"channel":"/meta/subscribe","clientId":"$A","subscription":"/x",
                "successful":true},
                {"channel":"/meta/subscribe","clientId":"$A","subscription":"/x",
                "successful":true},
                {"channel":"/x","clientId":"$A","successful":true}]"#,
        ),
        (
            "never subscribed",
            r#"[{"channel":"/meta/unsubscribe","clientId":"$A","subscription":["/x","/y/*"]}]"#,
            r#"[{"channel":"/meta/unsubscribe","clientId":"$A","subscription":["/x","/y/*"],
                "successful":true}]"#,
        ),
        (
            "unsubscribed",
            r#"[{"channel":"/meta/subscribe","clientId":"$A","subscription":["/x","/x/**"]},
                {"channel":"/meta/unsubscribe","clientId":"$A","subscription":"/x"},
                {"channel":"/x","clientId":"$A","data":1},
                {"channel":"/x/y","clientId":"$A","data":2}]"#,
            r#"[{"channel":"/x/y","data":2},
                {"channel":"/meta/subscribe","clientId":"$A","subscription":["/x","/x/**"],
                "successful":true},
                {"channel":"/meta/unsubscribe","clientId":"$A","subscription":"/x",
                "successful":true},
                {"channel":"/x","clientId":"$A","successful":true},
                {"channel":"/x/y","clientId":"$A","successful":true}]"#,
        ),
    ]);
}

#[test]
fn wildcards() {
    let table = [
        ("/a/b", "/a/b", true),
        ("/a/b", "/a/bc", false),
        ("/a/*", "/a/b", true),
        ("/a/*", "/a", false),
        ("/a/*", "/a/b/c", false),
        ("/a/**", "/a/b", true),
        ("/a/**", "/a/b/c/d", true),
        ("/a/**", "/a", false),
        ("/*", "/x", true),
        ("/*", "/x/y", false),
        ("/**", "/x", true),
        ("/**", "/x/y/z", true),
    ];
    for (pattern, channel, matches) in table {
        let mut world = World::new(BrokerConfig::default());
        let (a, b) = (world.open(), world.open());
        world.subscribe(&a, &json!(pattern));
        world.publish(&b, channel, &json!(1));
        let got = !data_of(&world.ask(&json!([connect(&a), connect(&a)]))).is_empty();
        assert_eq!(got, matches, "{pattern} and {channel}");
    }
}

#[test]
fn one_copy_however_many_subscriptions_match() {
    let mut world = World::new(BrokerConfig::default());
    let (a, b) = (world.open(), world.open());
    world.subscribe(&a, &json!(["/a/b", "/a/*", "/a/**", "/**"]));
    world.publish(&b, "/a/b", &json!("one"));
    assert_eq!(data_of(&world.ask(&json!([connect(&a)]))), [json!("one")]);
}
