//! What is true of every message: wrong types, doubled fields, ids.

use super::check_defaults;

#[test]
fn a_wrong_type_fails_that_message_alone() {
    check_defaults(&[
        (
            "the channel",
            r#"[{"channel":5,"id":"1"},{"channel":"/x","clientId":"$A","data":1}]"#,
            r#"[{"id":"1","successful":false,"error":"400:channel:invalid_field"},
                {"channel":"/x","clientId":"$A","successful":true}]"#,
        ),
        (
            "the client id",
            r#"[{"channel":"/x","clientId":{},"data":1}]"#,
            r#"[{"channel":"/x","successful":false,"error":"400:clientId:invalid_field"}]"#,
        ),
        (
            "ext, advice",
            r#"[{"channel":"/x","clientId":"$A","ext":"x","data":1},
                {"channel":"/meta/connect","clientId":"$A","advice":3}]"#,
            r#"[{"channel":"/x","clientId":"$A","successful":false,
                "error":"400:ext:invalid_field"},
                {"channel":"/meta/connect","clientId":"$A","successful":false,
                "error":"400:advice:invalid_field"}]"#,
        ),
        (
            "the connection types",
            r#"[{"channel":"/meta/handshake","supportedConnectionTypes":[1]}]"#,
            r#"[{"channel":"/meta/handshake","successful":false,
                "error":"400:supportedConnectionTypes:invalid_field"}]"#,
        ),
        (
            "no channel at all",
            r#"[{"id":"1"},{"channel":null}]"#,
            r#"[{"id":"1","successful":false,"error":"400::channel_missing"},
                {"successful":false,"error":"400::channel_missing"}]"#,
        ),
    ]);
}

#[test]
fn a_field_may_be_there_once() {
    check_defaults(&[(
        "two channels",
        r#"[{"channel":"/x","clientId":"$A","data":1,"channel":"/y"}]"#,
        r#"[{"channel":"/x","clientId":"$A","successful":false,
            "error":"400:channel:duplicate_field"}]"#,
    )]);
}

#[test]
fn ids_come_back_as_they_were() {
    check_defaults(&[
        (
            "strings and integers",
            r#"[{"channel":"/x","clientId":"$A","data":1,"id":"0"},
                {"channel":"/x","clientId":"$A","data":1,"id":0},
                {"channel":"/x","clientId":"$A","data":1,"id":-7},
                {"channel":"/x","clientId":"$A","data":1,"id":"a-\u00e9 b"}]"#,
            r#"[{"channel":"/x","clientId":"$A","id":"0","successful":true},
                {"channel":"/x","clientId":"$A","id":0,"successful":true},
                {"channel":"/x","clientId":"$A","id":-7,"successful":true},
                {"channel":"/x","clientId":"$A","id":"a-\u00e9 b","successful":true}]"#,
        ),
        (
            "nothing else, whoever it is",
            r#"[{"channel":"/x","clientId":"no","data":1,"id":""},
                {"channel":"/x","clientId":"no","data":1,"id":1.5},
                {"channel":"/x","clientId":"no","data":1,"id":[1]}]"#,
            r#"[{"channel":"/x","clientId":"no","successful":false,
                "error":"405::message_id_invalid"},
                {"channel":"/x","clientId":"no","successful":false,
                "error":"405::message_id_invalid"},
                {"channel":"/x","clientId":"no","successful":false,
                "error":"405::message_id_invalid"}]"#,
        ),
    ]);
}
