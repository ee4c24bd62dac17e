//! Every refusal of a request, with the status that it has to get.

/// What is sent, and the status.
pub(crate) fn refusals() -> Vec<(&'static str, Vec<u8>, u16)> {
    let post = |headers: &str, body: &str| {
        let length = body.len();
        format!(
            "POST /cometd HTTP/1.1\r\nHost: x\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
        )
    };
    let json = "Content-Type: application/json\r\n";
    let many = format!("[{}1]", r#"{"channel":"/x"},"#.repeat(1001));
    let deep = format!(
        r#"[{{"channel":"/x","data":{}1{}}}]"#,
        "[".repeat(200),
        "]".repeat(200)
    );
    let raw = |head: &str| format!("{head}\r\n\r\n");
    let long = "x".repeat(20_000);
    let table = [
        ("no JSON", post(json, "[{"), 400),
        ("a scalar", post(json, "3"), 400),
        ("too many messages", post(json, &many), 400),
        ("too deep", post(json, &deep), 400),
        ("no UTF-8", post(json, "[{\"channel\":\"/x\u{80}"), 400),
        (
            "another type",
            post("Content-Type: image/png\r\n", "x"),
            415,
        ),
        (
            "another method",
            raw("PUT /cometd HTTP/1.1\r\nHost: x"),
            405,
        ),
        (
            "a foreign page",
            post("Origin: http://evil.example\r\n", "[]"),
            403,
        ),
        (
            "too large",
            raw("POST /cometd HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999"),
            413,
        ),
        (
            "a long target",
            raw(&format!("GET /{long} HTTP/1.1\r\nHost: x")),
            414,
        ),
        (
            "a long header",
            raw(&format!("GET / HTTP/1.1\r\nHost: x\r\nA: {long}")),
            431,
        ),
        (
            "another coding",
            raw("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip"),
            501,
        ),
        (
            "two lengths",
            raw("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2"),
            400,
        ),
        (
            "a length and a coding",
            raw("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked"),
            400,
        ),
        ("no host", raw("GET / HTTP/1.1"), 400),
        (
            "two hosts",
            raw("GET / HTTP/1.1\r\nHost: x\r\nHost: y"),
            400,
        ),
        ("no token", raw("GET / HTTP/1.1\r\nHost: x\r\nA b: c"), 400),
        (
            "a control character",
            raw("GET / HTTP/1.1\r\nHost: x\r\nA: b\u{1}"),
            400,
        ),
        ("no version", raw("GET /"), 400),
        ("an expectation", post("Expect: magic\r\n", "[]"), 417),
        ("no file", raw("GET /none HTTP/1.1\r\nHost: x"), 404),
        (
            "a bad chunk",
            raw("POST /cometd HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nz"),
            400,
        ),
    ];
    table
        .map(|(name, text, status)| (name, text.into_bytes(), status))
        .into()
}
