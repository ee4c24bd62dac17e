//! Whoever runs the program can find out why somebody is refused.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::common::program::{Running, address, text, wait_for_number};
use crate::common::wait::PATIENCE;

/// Sends a request and reads to the end of the answer.
fn ask(address: &str, head: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let length = body.len();
    let request = format!("{head}Connection: close\r\nContent-Length: {length}\r\n\r\n{body}");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    text(&answer)
}

#[test]
fn each_refusal_is_counted_by_reason_and_told_once_a_minute() {
    let server = Running::start(&[
        "--listen=127.0.0.1:0",
        "--ops-listen=127.0.0.1:0",
        "--max-body=256",
        "--transport=long-polling,callback-polling",
    ]);
    let url = server.line("listening on ");
    let metrics = server.line("metrics on ");
    let address = address(&url);
    let json = "Host: own.example\r\n";
    let table = [
        (
            "POST /cometd HTTP/1.1\r\nHost: backend:8080\r\nOrigin: https://app.example\r\n\
             X-Forwarded-Host: app.example\r\n",
            "[]",
            "403",
            "origin",
            r#", Origin "https://app.example", Host "backend:8080", X-Forwarded-Host "app.example""#,
            "; decided by allowed_origin, and trusted_proxy for the host that a proxy reports",
        ),
        (
            &format!("GET /cometd?message=[]&jsonp=cb HTTP/1.1\r\n{json}Referer: http://x/?s\r\n"),
            "",
            "403",
            "callback_polling",
            r#", Referer "http://x/", Host "own.example""#,
            "; decided by callback_polling, allowed_origin, transport",
        ),
        (
            "GET /cometd HTTP/1.1\r\nHost: own.example\r\nUpgrade: websocket\r\n\
             Connection: upgrade\r\n",
            "",
            "405",
            "transport",
            r#", Upgrade "websocket""#,
            "; decided by transport, connector",
        ),
        (
            &format!("POST /bayeux HTTP/1.1\r\n{json}"),
            "[]",
            "404",
            "path",
            "not found; the Bayeux endpoint is at /cometd",
            "; decided by path",
        ),
        (
            &format!("POST /cometd HTTP/1.1\r\n{json}Content-Type: image/png\r\n"),
            "[]",
            "415",
            "media_type",
            r#", Content-Type "image/png""#,
            "",
        ),
        (
            &format!("POST /cometd HTTP/1.1\r\n{json}"),
            &" ".repeat(300),
            "413",
            "max_body",
            r#", Content-Length "300""#,
            "; decided by max_body",
        ),
        (
            "POST /cometd HTTP/1.1\r\n",
            "",
            "400",
            "host",
            "what came from 127.0.0.1: the Host field is missing",
            "",
        ),
    ];
    for (head, body, status, reason, seen, decided) in table {
        for _ in 0..3 {
            let answer = ask(address, head, body);
            let expected = format!("HTTP/1.1 {status} ");
            assert!(answer.starts_with(&expected), "{reason}: {answer}");
        }
        let line = server.line_with("refused (");
        assert!(line.contains(&format!("refused ({reason}): ")), "{line}");
        assert!(
            line.contains("127.0.0.1: ") && line.contains(seen),
            "{line}"
        );
        assert!(line.ends_with(decided), "{line}");
        let number = format!(r#"bayeux_refusals_total{{reason="{reason}"}} 3"#);
        wait_for_number(&metrics, &number);
    }
}
