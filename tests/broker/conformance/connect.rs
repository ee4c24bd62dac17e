//! `/meta/connect` and `/meta/disconnect`, as far as they are answered at once.

use super::check_defaults;

/// The advice of this configuration, for a client that was told something else before.
macro_rules! advice {
    () => {
        r#""advice":{"reconnect":"retry","interval":0,"timeout":30000}"#
    };
}

#[test]
fn answered_at_once() {
    check_defaults(&[
        (
            "no time to wait",
            r#"[{"channel":"/meta/connect","clientId":"$A","id":"7",
                "connectionType":"long-polling","advice":{"timeout":0}}]"#,
            concat!(
                r#"[{"channel":"/meta/connect","clientId":"$A","id":"7","successful":true,"#,
                advice!(),
                "}]"
            ),
        ),
        (
            "in company, in the middle, of any type",
            r#"[{"channel":"/meta/subscribe","clientId":"$A","subscription":"/x"},
                {"channel":"/meta/connect","clientId":"$A","connectionType":"pigeon"},
                {"channel":"/y","clientId":"$A","data":0}]"#,
            r#"[{"channel":"/meta/subscribe","clientId":"$A","subscription":"/x",
                "successful":true},
                {"channel":"/meta/connect","clientId":"$A","successful":true},
                {"channel":"/y","clientId":"$A","successful":true}]"#,
        ),
    ]);
}

#[test]
fn the_wish_for_an_interval_is_granted_within_limits() {
    check_defaults(&[
        (
            "granted",
            r#"[{"channel":"/meta/connect","clientId":"$A",
                "advice":{"timeout":0,"interval":700}}]"#,
            r#"[{"channel":"/meta/connect","clientId":"$A","successful":true,
                "advice":{"reconnect":"retry","interval":700,"timeout":30000}}]"#,
        ),
        (
            "no more than a minute",
            r#"[{"channel":"/meta/connect","clientId":"$A",
                "advice":{"timeout":0,"interval":9999999}}]"#,
            r#"[{"channel":"/meta/connect","clientId":"$A","successful":true,
                "advice":{"reconnect":"retry","interval":60000,"timeout":30000}}]"#,
        ),
    ]);
}

#[test]
fn unknown_sessions() {
    const COMMAND: &str = r#"{"reconnect":"handshake","interval":0}"#;
    let rows: [(&str, &str, String); 3] = [
        (
            "made up",
            r#"[{"channel":"/meta/connect","clientId":"nobody","id":"1"}]"#,
            format!(
                r#"[{{"channel":"/meta/connect","clientId":"nobody","id":"1","successful":false,
                "error":"402::session_unknown","advice":{COMMAND}}}]"#
            ),
        ),
        (
            "none",
            r#"[{"channel":"/meta/connect"}]"#,
            format!(
                r#"[{{"channel":"/meta/connect","successful":false,
                "error":"402::session_unknown","advice":{COMMAND}}}]"#
            ),
        ),
        (
            "gone in this very request",
            r#"[{"channel":"/meta/disconnect","clientId":"$A"},
                {"channel":"/meta/connect","clientId":"$A"}]"#,
            format!(
                r#"[{{"channel":"/meta/disconnect","clientId":"$A","successful":true}},
                {{"channel":"/meta/connect","clientId":"$A","successful":false,
                "error":"402::session_unknown","advice":{COMMAND}}}]"#
            ),
        ),
    ];
    for (name, request, expected) in rows {
        check_defaults(&[(name, request, &expected)]);
    }
}

#[test]
fn disconnecting() {
    check_defaults(&[
        (
            "twice",
            r#"[{"channel":"/meta/disconnect","clientId":"$A","id":"1"},
                {"channel":"/meta/disconnect","clientId":"$A","id":"2"}]"#,
            r#"[{"channel":"/meta/disconnect","clientId":"$A","id":"1","successful":true},
                {"channel":"/meta/disconnect","clientId":"$A","id":"2","successful":false,
                "error":"402::session_unknown"}]"#,
        ),
        (
            "what was published before is published",
            r#"[{"channel":"/x","clientId":"$A","data":1},
                {"channel":"/meta/disconnect","clientId":"$A"},
                {"channel":"/x","clientId":"$A","data":2}]"#,
            r#"[{"channel":"/x","clientId":"$A","successful":true},
                {"channel":"/meta/disconnect","clientId":"$A","successful":true},
                {"channel":"/x","clientId":"$A","successful":false,
                "error":"402::session_unknown"}]"#,
        ),
    ]);
}
