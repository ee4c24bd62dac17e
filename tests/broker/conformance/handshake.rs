//! `/meta/handshake`.

use std::time::Duration;

use bayeux::BrokerConfig;

use super::{check, check_defaults};

/// A successful reply to a handshake with the id 1, and any further fields.
macro_rules! reply {
    ($($more:literal)?) => {
        concat!(
            r#"[{"channel":"/meta/handshake","id":"1","successful":true,"version":"1.0","#,
            r#""minimumVersion":"1.0","clientId":"$NEW","supportedConnectionTypes":"#,
            r#"["long-polling","cross-origin-long-polling","callback-polling"],"#,
            r#""advice":{"reconnect":"retry","interval":0,"timeout":30000}"#,
            $($more,)?
            "}]"
        )
    };
}

#[test]
fn needs_nothing_but_the_channel() {
    check_defaults(&[
        (
            "a stock client's",
            r#"[{"id":"1","version":"1.0","minimumVersion":"1.0","channel":"/meta/handshake",
                "supportedConnectionTypes":["websocket","long-polling","callback-polling"],
                "advice":{"timeout":60000,"interval":0}}]"#,
            reply!(),
        ),
        (
            "one object",
            r#"{"channel":"/meta/handshake","id":"1"}"#,
            reply!(),
        ),
        (
            "versions are not looked at",
            r#"[{"channel":"/meta/handshake","id":"1","version":"9.0","minimumVersion":"0.1"}]"#,
            reply!(),
        ),
        (
            "unknown connection types beside a known one",
            r#"[{"channel":"/meta/handshake","id":"1",
                "supportedConnectionTypes":["in-process","pigeon","callback-polling"]}]"#,
            reply!(),
        ),
        (
            "the client id of another session is not looked at",
            r#"[{"channel":"/meta/handshake","id":"1","clientId":"$A"}]"#,
            reply!(),
        ),
        (
            "an ext that nobody claims",
            r#"[{"channel":"/meta/handshake","id":"1","ext":{"foo":[1]}}]"#,
            reply!(),
        ),
        (
            "comment filtering is promised",
            r#"[{"channel":"/meta/handshake","id":"1","ext":{"json-comment-filtered":true}}]"#,
            reply!(r#","ext":{"json-comment-filtered":true}"#),
        ),
        (
            "null is as good as absent",
            r#"[{"channel":"/meta/handshake","id":"1","ext":null,"advice":null,"version":null,
                "supportedConnectionTypes":null,"clientId":null}]"#,
            reply!(),
        ),
    ]);
}

#[test]
fn advice_is_the_configuration() {
    let config = BrokerConfig {
        timeout: Duration::from_millis(1500),
        interval: Duration::from_millis(250),
        connection_types: vec!["long-polling"],
        ..BrokerConfig::default()
    };
    let rows = [(
        "the full triple",
        r#"[{"channel":"/meta/handshake"}]"#,
        r#"[{"channel":"/meta/handshake","successful":true,"version":"1.0",
            "minimumVersion":"1.0","clientId":"$NEW",
            "supportedConnectionTypes":["long-polling"],
            "advice":{"reconnect":"retry","interval":250,"timeout":1500}}]"#,
    )];
    check(&config, &rows);
}

#[test]
fn companions_are_executed_by_the_id_that_they_carry() {
    const NEW: &str = r#"{"channel":"/meta/handshake","successful":true,"version":"1.0",
        "minimumVersion":"1.0","clientId":"$NEW","supportedConnectionTypes":
        ["long-polling","cross-origin-long-polling","callback-polling"],
        "advice":{"reconnect":"retry","interval":0,"timeout":30000}}"#;
    let rows = [
        (
            "an unknown one",
            r#"[{"channel":"/meta/handshake"},
                {"channel":"/meta/disconnect","clientId":"nobody","id":"0"},
                {"channel":"/x","id":2,"data":1}]"#,
            r#"{"channel":"/meta/disconnect","clientId":"nobody","id":"0","successful":false,
                "error":"402::session_unknown"},
                {"channel":"/x","id":2,"successful":false,"error":"402::session_unknown"}"#,
        ),
        (
            "a known one, whose messages go behind the handshake's reply",
            r#"[{"channel":"/meta/handshake"},
                {"channel":"/meta/subscribe","subscription":"/x","clientId":"$A"},
                {"channel":"/x","clientId":"$A","data":1}]"#,
            r#"{"channel":"/x","data":1},
                {"channel":"/meta/subscribe","clientId":"$A","subscription":"/x",
                "successful":true},
                {"channel":"/x","clientId":"$A","successful":true}"#,
        ),
    ];
    for (name, request, behind) in rows {
        check_defaults(&[(name, request, &format!("[{NEW},{behind}]"))]);
    }
}

#[test]
fn no_common_connection_type() {
    check_defaults(&[(
        "a failure that tells the client to stay away",
        r#"[{"channel":"/meta/handshake","id":"1","supportedConnectionTypes":["pigeon"]}]"#,
        r#"[{"channel":"/meta/handshake","id":"1","successful":false,
            "error":"301:pigeon:connection_types_unsupported","advice":{"reconnect":"none"}}]"#,
    )]);
}
