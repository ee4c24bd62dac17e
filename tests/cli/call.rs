//! `bayeux call`.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::common::program::{Running, output, text};

#[test]
fn the_answer_is_a_line_on_standard_output() {
    let server = Running::start(&["--listen=127.0.0.1:0", "--demo"]);
    let url = server.line("listening on ");
    for transport in ["--transport=websocket", "--transport=long-polling"] {
        let call = |flags: &[&str], json| {
            let arguments = [&["call", transport], flags, &[&url, "/service/echo", json]];
            output(&arguments.concat())
        };
        let answered = call(&[], "{\"a\" :\n 1.50}");
        assert_eq!(answered.status.code(), Some(0));
        assert_eq!(text(&answered.stdout), "{\"a\" :  1.50}\n");
        assert_eq!(text(&answered.stderr), "");
        let whole = text(&call(&["--json"], "7").stdout);
        assert!(whole.contains(r#""channel":"/service/echo""#), "{whole}");
        assert!(
            whole.contains(r#""data":7"#) && whole.ends_with("}\n"),
            "{whole}"
        );
    }
}

#[test]
fn calls_that_fail_say_why() {
    let server = Running::start(&["--listen=127.0.0.1:0"]);
    let url = server.line("listening on ");
    let nobody = "http://127.0.0.1:1/cometd";
    for (flags, url, service, json, code, why) in [
        (
            &[][..],
            &*url,
            "/service/none",
            "1",
            1,
            "404:/service/none:unknown_service",
        ),
        (&[], nobody, "/service/none", "1", 1, "no connection"),
        (&[], nobody, "/none", "1", 2, "is no service channel"),
        (&[], nobody, "none", "1", 2, "is no service channel"),
        (&[], nobody, "/service/none", "word", 2, "did you mean"),
        (
            &["--timeout=5"],
            nobody,
            "/service/none",
            "1",
            2,
            "did you mean `5s`",
        ),
    ] {
        let failed = output(&[&["call"], flags, &[url, service, json]].concat());
        let stderr = text(&failed.stderr);
        assert_eq!(failed.status.code(), Some(code), "{stderr}");
        assert!(stderr.contains(why), "{stderr}");
        assert_eq!(text(&failed.stdout), "");
    }
}

#[test]
fn who_asks_at_a_wrong_path_is_told_the_right_one() {
    let server = Running::start(&["--listen=127.0.0.1:0"]);
    let url = server.line("listening on ");
    let wrong = &url.replace("/cometd", "/faye");
    let ask = |arguments: &[&str]| {
        let failed = output(arguments);
        let stderr = text(&failed.stderr);
        assert_eq!(failed.status.code(), Some(1), "{stderr}");
        let why = "HTTP status 404: not found; the Bayeux endpoint is at /cometd\n";
        let last = stderr.lines().last().unwrap_or_default();
        assert!(
            last.starts_with("error: ") && stderr.ends_with(why),
            "{stderr}"
        );
    };
    // Each tries for some seconds, so all at once.
    thread::scope(|scope| {
        scope.spawn(|| ask(&["publish", wrong, "/a", "1"]));
        scope.spawn(|| ask(&["subscribe", "--transport=long-polling", wrong, "/a"]));
        scope.spawn(|| ask(&["call", "--transport=websocket", wrong, "/service/a", "1"]));
        scope.spawn(|| ask(&["shell", wrong]));
    });
}

/// Just enough of a server for a call that nobody answers. Tells the requests: head and body.
fn mute_server() -> (String, Receiver<(String, Value)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/cometd", listener.local_addr().unwrap());
    let (tell, requests) = channel();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let tell = tell.clone();
            thread::spawn(move || while acknowledge(&stream, &tell).is_some() {});
        }
    });
    (url, requests)
}

fn acknowledge(mut stream: &TcpStream, tell: &Sender<(String, Value)>) -> Option<()> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        head.push(char::from(byte[0]));
    }
    let head = head.to_ascii_lowercase();
    let length = head.split("content-length: ").nth(1)?;
    let mut body = vec![0; length.lines().next()?.parse().ok()?];
    stream.read_exact(&mut body).ok()?;
    let body: Value = serde_json::from_slice(&body).ok()?;
    let reply = json!([{
        "channel": body[0]["channel"], "id": body[0]["id"], "successful": true,
        "clientId": "c", "advice": {"interval": 5000},
    }]);
    let _ = tell.send((head, body[0].clone()));
    let reply = reply.to_string();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}", reply.len());
    stream
        .write_all(format!("{head}\r\n\r\n{reply}").as_bytes())
        .ok()
}

#[test]
fn without_an_answer_it_gives_up() {
    let (url, requests) = mute_server();
    let start = Instant::now();
    let flags = ["call", "--transport=long-polling", "--timeout=200ms"];
    let who = [
        "--header=X-Who: me",
        "--header",
        "X-Why:none",
        "--ext={\"ticket\":7}",
    ];
    let failed = output(&[&flags[..], &who, &[&url, "/service/mute", "1"]].concat());
    assert_eq!(failed.status.code(), Some(1));
    assert_eq!(text(&failed.stderr), "error: no reply in time\n");
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "{:?}",
        start.elapsed()
    );
    let (head, handshake) = requests.recv().unwrap();
    assert!(
        head.contains("x-who: me\r\n") && head.contains("x-why: none\r\n"),
        "{head}"
    );
    assert_eq!(handshake["ext"], json!({"ticket": 7}));
}
