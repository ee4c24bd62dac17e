//! The wire habits of the old Dojo client (dojox.cometd): requests as it wrote them, and what must
//! come back for it to go on. The library itself is not at hand; these are its recorded words.
//!
//! A row is what it sends, as JSON, and what it must get. Its messages go as a form field, ids are
//! strings that count from "0", and whatever comes back without a channel it throws away.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use super::harness::{On, World};
use crate::common::http::{Connection, Response};

/// What its XMLHttpRequest sends beside the body.
const HEADERS: &str = "Content-Type: application/x-www-form-urlencoded\r\n\
    X-Requested-With: XMLHttpRequest\r\n";

/// The handshake, byte for byte.
const HANDSHAKE: &str = "message=%5B%7B%22version%22%3A%221.0%22%2C%22minimumVersion%22%3A%220.9%22\
    %2C%22channel%22%3A%22%2Fmeta%2Fhandshake%22%2C%22id%22%3A%220%22%2C%22ext%22%3A%7B%22json-\
    comment-filtered%22%3Atrue%7D%2C%22supportedConnectionTypes%22%3A%5B%22long-polling%22%2C%22\
    callback-polling%22%5D%7D%5D";

fn world(on: On) -> World {
    World::with(on, |config| config.demo = None)
}

/// As JavaScript's `encodeURIComponent`.
fn encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.!~*'()".contains(&byte) {
            out.push(char::from(byte));
        } else {
            write!(out, "%{byte:02X}").expect("strings grow");
        }
    }
    out
}

/// What its parser makes of a response: strict JSON, once the comment around it is gone.
fn parsed(response: &Response) -> Vec<Value> {
    assert_eq!(response.status, 200, "{response:?}");
    let text = response.text();
    let inner = text
        .strip_prefix("/*")
        .and_then(|rest| rest.strip_suffix("*/"));
    let kind = response.header("content-type").expect("a type");
    assert_eq!(
        inner.is_some(),
        kind.starts_with("text/json-comment-filtered"),
        "{kind}"
    );
    let items: Vec<Value> = serde_json::from_str(inner.unwrap_or(text)).expect("strict JSON");
    assert!(
        items.iter().all(|item| item["channel"].is_string()),
        "{items:?}"
    );
    items
}

/// A page with the library in it.
struct Page {
    connection: Connection,
    id: String,
}

impl Page {
    /// After the handshake and the first connect, which Dojo waits for before it sends anything.
    fn ready(world: &World) -> Self {
        let mut connection = world.connection();
        let response = connection.request("POST", "/cometd", HEADERS, HANDSHAKE.as_bytes());
        let reply = parsed(&response).remove(0);
        let id = reply["clientId"].as_str().expect("a client id").to_owned();
        let mut page = Self { connection, id };
        page.rows(&[(
            r#"[{"channel":"/meta/connect","clientId":"$ID","connectionType":"long-polling",
                "id":"1"}]"#,
            r#"[{"channel":"/meta/connect","clientId":"$ID","id":"1","successful":true,
                "advice":{"reconnect":"retry","interval":0,"timeout":1000}}]"#,
        )]);
        page
    }

    fn send(&mut self, messages: &str) -> Vec<Value> {
        let body = format!("message={}", encoded(&messages.replace("$ID", &self.id)));
        parsed(
            &self
                .connection
                .request("POST", "/cometd", HEADERS, body.as_bytes()),
        )
    }

    fn rows(&mut self, rows: &[(&str, &str)]) {
        for (request, expected) in rows {
            let expected: Vec<Value> =
                serde_json::from_str(&expected.replace("$ID", &self.id)).expect("a valid row");
            assert_eq!(self.send(request), expected, "{request}");
        }
    }
}

pub(crate) fn the_first_words(on: On) {
    let world = world(on);
    let mut connection = world.connection();
    let response = connection.request("POST", "/cometd", HEADERS, HANDSHAKE.as_bytes());
    let mut reply = parsed(&response).remove(0);
    let id = reply["clientId"].take();
    let id = id.as_str().expect("a client id");
    assert!(id.len() >= 25, "{id}");
    let types = reply["supportedConnectionTypes"].take();
    let types = types.as_array().expect("types");
    assert!(types.contains(&json!("long-polling")) && types.contains(&json!("callback-polling")));
    let expected = json!({"channel": "/meta/handshake", "id": "0", "version": "1.0",
        "minimumVersion": "1.0", "successful": true, "clientId": null,
        "supportedConnectionTypes": null, "ext": {"json-comment-filtered": true},
        "advice": {"reconnect": "retry", "interval": 0, "timeout": 1000}});
    assert_eq!(reply, expected);
    // The first connect must not be held: until it is answered, nothing else is sent.
    let begun = std::time::Instant::now();
    Page::ready(&world);
    assert!(begun.elapsed() < Duration::from_millis(900));
}

pub(crate) fn a_chat(on: On) {
    let world = world(on);
    let mut page = Page::ready(&world);
    page.rows(&[
        // The joiner sees its own line, since the subscription goes before it.
        (
            r#"[{"channel":"/meta/subscribe","clientId":"$ID","subscription":"/chat/demo",
                "id":"2"},
                {"data":{"user":"dojo","join":true,"chat":"dojo has joined"},
                "channel":"/chat/demo","clientId":"$ID","id":"3","groupName":"room",
                "timestamp":"Tue, 11 Mar 2008 18:00:00 GMT"}]"#,
            r#"[{"channel":"/chat/demo","data":{"user":"dojo","join":true,
                "chat":"dojo has joined"},"groupName":"room"},
                {"channel":"/meta/subscribe","clientId":"$ID","id":"2",
                "subscription":"/chat/demo","successful":true},
                {"channel":"/chat/demo","clientId":"$ID","id":"3","successful":true}]"#,
        ),
        // With a limit of its own for the poll.
        (
            r#"[{"channel":"/meta/connect","clientId":"$ID","connectionType":"long-polling",
                "id":"4","advice":{"timeout":0}}]"#,
            r#"[{"channel":"/meta/connect","clientId":"$ID","id":"4","successful":true,
                "advice":{"reconnect":"retry","interval":0,"timeout":1000}}]"#,
        ),
        // What would end a comment does not.
        (
            r#"[{"data":{"user":"dojo","chat":"*/ + ?","bot":true},"channel":"/chat/demo",
                "clientId":"$ID","id":"5"}]"#,
            r#"[{"channel":"/chat/demo","data":{"user":"dojo","chat":"*/ + ?","bot":true}},
                {"channel":"/chat/demo","clientId":"$ID","id":"5","successful":true}]"#,
        ),
    ]);
}

pub(crate) fn the_leave_that_is_a_subscribe(on: On) {
    let world = world(on);
    let mut page = Page::ready(&world);
    page.send(
        r#"[{"channel":"/meta/subscribe","clientId":"$ID","subscription":"/chat/demo","id":"2"}]"#,
    );
    page.rows(&[
        // A slip of the library: it says subscribe where it means unsubscribe.
        (
            r#"[{"channel":"/meta/subscribe","clientId":"$ID","subscription":"/chat/demo",
                "id":"3"},
                {"data":{"user":"dojo","leave":true,"chat":"dojo has left"},
                "channel":"/chat/demo","clientId":"$ID","id":"4"}]"#,
            r#"[{"channel":"/chat/demo","data":{"user":"dojo","leave":true,
                "chat":"dojo has left"}},
                {"channel":"/meta/subscribe","clientId":"$ID","id":"3",
                "subscription":"/chat/demo","successful":true},
                {"channel":"/chat/demo","clientId":"$ID","id":"4","successful":true}]"#,
        ),
        (
            r#"[{"channel":"/meta/disconnect","clientId":"$ID","id":"5"}]"#,
            r#"[{"channel":"/meta/disconnect","clientId":"$ID","id":"5","successful":true}]"#,
        ),
    ]);
}

pub(crate) fn remote_calls(on: On) {
    let world = world(on);
    let mut page = Page::ready(&world);
    page.rows(&[
        // A failed subscribe makes it throw: this one must succeed.
        (
            r#"[{"channel":"/meta/subscribe","clientId":"$ID","subscription":"/service/echo",
                "id":"2"}]"#,
            r#"[{"channel":"/meta/subscribe","clientId":"$ID","id":"2",
                "subscription":"/service/echo","successful":true}]"#,
        ),
        (
            r#"[{"data":{"msg":"Hello"},"channel":"/service/echo","clientId":"$ID","id":"3"}]"#,
            r#"[{"channel":"/service/echo","id":"3","successful":true,"data":{"msg":"Hello"}},
                {"channel":"/service/echo","clientId":"$ID","id":"3","successful":true}]"#,
        ),
    ]);
}

pub(crate) fn the_time(on: On) {
    let world = world(on);
    let mut page = Page::ready(&world);
    let table = [
        r#""channel":"/meta/connect","connectionType":"long-polling","advice":{"timeout":0}"#,
        r#""channel":"/meta/subscribe","subscription":"/chat/demo""#,
        r#""channel":"/meta/ping","data":null"#,
        r#""channel":"/meta/ping""#,
    ];
    for (n, message) in table.iter().enumerate() {
        let request = format!(
            r#"[{{{message},"clientId":"$ID","id":"{n}","ext":{{"timesync":{{"tc":120500}}}}}}]"#
        );
        let reply = page.send(&request).remove(0);
        assert_eq!(reply["successful"], true, "{reply}");
        let sync = &reply["ext"]["timesync"];
        assert_eq!(sync["tc"], 120_500, "{reply}");
        assert!(
            sync["ts"].as_u64().expect("a time") > 1_700_000_000_000,
            "{reply}"
        );
        assert!(sync["p"].as_u64().expect("a time") < 900, "{reply}");
        assert_eq!(sync.as_object().expect("an object").len(), 3, "{reply}");
    }
    // The time that a connect was held does not count as the network's.
    let held = r#"[{"channel":"/meta/connect","clientId":"$ID","connectionType":"long-polling",
        "id":"9","ext":{"timesync":{"tc":120500}}}]"#;
    let reply = page.send(held).remove(0);
    let p = reply["ext"]["timesync"]["p"].as_u64().expect("a time");
    assert!((1000..2000).contains(&p), "{reply}");
}

pub(crate) fn scripts_from_elsewhere(on: On) {
    let world = World::with(on, |config| {
        config.demo = None;
        config.site.allowed_origins = vec!["http://app.example".parse().unwrap()];
    });
    let mut connection = world.connection();
    let mut script = |message: &str| {
        let callback = "dojo.io.script.jsonp_dojoIoScript1._jsonpCallback";
        let target = format!("/cometd?message={}&jsonp={callback}", encoded(message));
        let referer = "Referer: http://app.example/page.html\r\n";
        let response = connection.request("GET", &target, referer, b"");
        assert_eq!(response.status, 200, "{response:?}");
        let text = response.text().trim_start_matches("/**/").to_owned();
        let inner = text
            .strip_prefix(callback)
            .and_then(|rest| rest.strip_prefix('('));
        let inner = inner
            .and_then(|rest| rest.strip_suffix(");"))
            .expect("a call");
        serde_json::from_str::<Vec<Value>>(inner)
            .expect("strict JSON")
            .remove(0)
    };
    let reply = script(
        r#"[{"version":"1.0","minimumVersion":"0.9","channel":"/meta/handshake","id":"0"}]"#,
    );
    assert_eq!(
        (&reply["successful"], &reply["id"]),
        (&json!(true), &json!("0"))
    );
    let id = reply["clientId"].as_str().expect("a client id");
    let connect = format!(
        r#"[{{"channel":"/meta/connect","clientId":"{id}","connectionType":"callback-polling",
            "id":"1"}}]"#
    );
    let reply = script(&connect);
    assert_eq!(
        (&reply["successful"], &reply["id"]),
        (&json!(true), &json!("1"))
    );
}

pub(crate) fn a_lost_session(on: On) {
    let world = world(on);
    let mut page = Page::ready(&world);
    page.id = "gone".to_owned();
    // It obeys `reconnect`, and adds a second to its pause for each failure.
    page.rows(&[
        (
            r#"[{"channel":"/meta/connect","clientId":"$ID","connectionType":"long-polling",
                "id":"2"}]"#,
            r#"[{"channel":"/meta/connect","clientId":"$ID","id":"2","successful":false,
                "error":"402::session_unknown","advice":{"reconnect":"handshake","interval":0}}]"#,
        ),
        (
            r#"[{"data":1,"channel":"/chat/demo","clientId":"$ID","id":"3"}]"#,
            r#"[{"channel":"/chat/demo","clientId":"$ID","id":"3","successful":false,
                "error":"402::session_unknown"}]"#,
        ),
    ]);
}
