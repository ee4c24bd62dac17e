//! What clients see of settings. Each observer says it in a word or two.

use std::net::TcpStream;
use std::process::Output;
use std::time::Duration;

use serde_json::{Value, json};

use super::server::{Connection, NOTHING, Server, Session, post, post_text};
use crate::common::program::{bayeux, text};
use crate::common::websocket::{Frame, Socket};

fn said(says: bool, what: &str) -> String {
    if says {
        what.to_owned()
    } else {
        format!("no {what}")
    }
}

fn error(reply: &Value) -> String {
    reply["error"].as_str().unwrap_or("successful").to_owned()
}

// Listening.

pub(crate) fn addresses(server: &Server) -> String {
    let all = server.addresses("listening on ");
    let reached = all
        .iter()
        .filter(|address| TcpStream::connect(address).is_ok());
    reached.count().to_string()
}

pub(crate) fn request_to_another_host(server: &Server) -> String {
    let request = post("", &json!([])).replace("Host: x", "Host: app.example");
    assert_eq!(server.request(request).unwrap().status(), "200");
    server.post(&json!([])).status()
}

pub(crate) fn websocket_offered(server: &Server) -> String {
    let reply = server.post(&json!([{"channel": "/meta/handshake"}])).json();
    let offered = reply[0]["supportedConnectionTypes"].to_string();
    said(offered.contains("websocket"), "websocket")
}

pub(crate) fn forwarded_scheme(server: &Server) -> String {
    let handshake = json!([{"channel": "/meta/handshake"}]);
    let request = post("X-Forwarded-Proto: https\r\n", &handshake);
    let answer = server.request(request).unwrap();
    said(answer.header("Set-Cookie").contains("Secure"), "Secure")
}

/// Whom the log names as the sender of a request behind a header of the PROXY protocol.
pub(crate) fn client_in_a_proxy_header(server: &Server) -> String {
    let request = post("", &json!([])).replace("/cometd", "/elsewhere");
    server.request(format!(
        "PROXY TCP4 192.0.2.7 127.0.0.1 5000 80\r\n{request}"
    ));
    let line = server.running.line_with("refused (");
    let (_, rest) = line.split_once(" from ").unwrap();
    rest.split(": ").next().unwrap().to_owned()
}

/// Such a start would listen on all addresses: it is only checked.
pub(crate) fn exposed_connector(server: &Server) -> String {
    let flags = ["check", "--connector=tiny-http", "--listen=0.0.0.0:0"];
    let checked = bayeux(&flags).args(&server.flag).output().unwrap();
    format!("exit code {}", checked.status.code().unwrap())
}

pub(crate) fn served_at_push(server: &Server) -> String {
    let request = post("", &json!([{"channel": "/meta/handshake"}]));
    let request = request.replace("/cometd", "/push");
    said(
        server.request(request).unwrap().status() == "200",
        "endpoint",
    )
}

#[cfg(feature = "tls")]
pub(crate) fn tls(server: &Server) -> String {
    let mut https = crate::common::https::Https::connect(&server.address().to_string());
    let (_, reply) = https.post(&json!([{"channel": "/meta/handshake"}]));
    assert_eq!(reply[0]["successful"], true);
    "https".to_owned()
}

/// Whether a download that has begun comes to its end when the server is stopped.
pub(crate) fn download_at_the_end(server: &Server) -> String {
    let mut connection = server.connection();
    connection.send("GET /large HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(connection.begins(), "the download does not begin");
    server.running.signal("TERM");
    server.says("stopping");
    std::thread::sleep(Duration::from_millis(300));
    let whole = connection.answer().is_some();
    said(whole, "download")
}

// Bayeux.

pub(crate) fn held_connect(server: &Server) -> String {
    let mut session = server.session();
    session.hold();
    session.connection.outcome()
}

pub(crate) fn advised_interval(server: &Server) -> String {
    let reply = server.post(&json!([{"channel": "/meta/handshake"}])).json();
    reply[0]["advice"]["interval"].to_string()
}

pub(crate) fn expiry(server: &Server) -> String {
    server.session();
    server.counts(r#"bayeux_sessions_ended_total{reason="expired"}"#)
}

pub(crate) fn granted_interval(server: &Server) -> String {
    let mut session = server.session();
    let mut connect = session.connect();
    connect["advice"] = json!({"interval": 50_000, "timeout": 0});
    session.ask(&connect)[0]["advice"]["interval"].to_string()
}

pub(crate) fn publishing_without_a_session(server: &Server) -> String {
    let reply = server.post(&json!([{"channel": "/a", "data": 1}])).json();
    error(&reply[0])
}

pub(crate) fn own_message(server: &Server) -> String {
    let mut session = server.session();
    session.subscribe("/a");
    session.publish("/a", 1);
    let mut connect = session.connect();
    connect["advice"] = json!({"timeout": 0});
    let mut seen = vec![session.publish("/a", 2), session.ask(&connect)];
    seen.retain(|items| items.to_string().contains(r#""data":2"#));
    said(!seen.is_empty(), "copy")
}

pub(crate) fn sender(server: &Server) -> String {
    let mut session = server.session();
    session.subscribe("/a");
    let items = session.publish("/a", 1);
    said(items[0]["sender"].is_string(), "sender")
}

pub(crate) fn message_with_a_publish_reply(server: &Server) -> String {
    let mut session = server.session();
    session.subscribe("/a");
    let items = session.publish("/a", 1);
    said(items[0]["data"] == 1, "message")
}

pub(crate) fn ping(server: &Server) -> String {
    let ping = session_ping(&mut server.session());
    error(&ping[0])
}

fn session_ping(session: &mut Session) -> Value {
    session.ask(&json!({"channel": "/meta/ping"}))
}

// Sessions and queues.

pub(crate) fn second_handshake(server: &Server) -> String {
    server.session();
    server
        .post(&json!([{"channel": "/meta/handshake"}]))
        .status()
}

pub(crate) fn second_subscription(server: &Server) -> String {
    let mut session = server.session();
    session.subscribe("/a");
    error(&session.subscribe("/b")[0])
}

/// What becomes of a client that is sent four messages of half a KiB while it is away: how many it
/// gets.
pub(crate) fn messages_after_absence(server: &Server) -> String {
    let mut away = server.session();
    away.subscribe("/a");
    let mut publisher = server.session();
    for n in 0..4 {
        let text = format!("{n}{}", "x".repeat(500));
        assert_eq!(publisher.publish("/a", text)[0]["successful"], true);
    }
    let items = away.ask(&away.connect());
    let items = items.as_array().unwrap();
    let got = items.iter().filter_map(|item| item["data"].as_str());
    let got: String = got.map(|data| &data[..1]).collect();
    format!("{got} {}", error(&items[items.len() - 1]))
}

/// Whether somebody loses when two KiB wait for each of two that are away.
pub(crate) fn two_absent(server: &Server) -> String {
    let mut absent = [server.session(), server.session()];
    for session in &mut absent {
        session.subscribe("/a");
    }
    let mut publisher = server.session();
    for _ in 0..4 {
        publisher.publish("/a", "x".repeat(500));
    }
    let name = r#"bayeux_sessions_ended_total{reason="overflowed"}"#;
    said(server.number(name) > 0.0, "loser")
}

pub(crate) fn second_held_connect(server: &Server) -> String {
    let mut first = server.session();
    first.hold();
    server.until(|| server.number("bayeux_held_connects") == 1.0);
    let mut second = server.session();
    second.hold();
    second.connection.outcome()
}

// Browsers.

/// The header that a browser sends after a handshake.
fn cookie(server: &Server) -> String {
    let answer = server.post(&json!([{"channel": "/meta/handshake"}]));
    let cookie = answer.header("Set-Cookie");
    format!("Cookie: {}\r\n", cookie.split(';').next().unwrap())
}

pub(crate) fn second_window(server: &Server) -> String {
    let cookie = cookie(server);
    let mut first = server.session_with(&cookie);
    first.hold();
    server.until(|| server.number("bayeux_held_connects") == 1.0);
    let mut second = server.session_with(&cookie);
    second.hold();
    match second.connection.answer() {
        Some(answer) => said(answer.body.contains("multiple-clients"), "multiple-clients"),
        None => NOTHING.to_owned(),
    }
}

pub(crate) fn client_id_without_its_cookie(server: &Server) -> String {
    let cookie = cookie(server);
    let session = server.session_with(&cookie);
    let message = json!([{"channel": "/a", "clientId": session.id, "data": 1}]);
    error(&server.post(&message).json()[0])
}

/// How long the second window is told to wait while the first holds a connect.
pub(crate) fn wait_of_the_second_window(server: &Server) -> String {
    let cookie = cookie(server);
    let mut first = server.session_with(&cookie);
    first.hold();
    server.until(|| server.number("bayeux_held_connects") == 1.0);
    let mut second = server.session_with(&cookie);
    second.ask(&second.connect())[0]["advice"]["interval"].to_string()
}

/// The cookie that a handshake sets: its name, and what is said besides the usual.
pub(crate) fn cookie_that_is_set(server: &Server) -> String {
    let answer = server.post(&json!([{"channel": "/meta/handshake"}]));
    let cookie = answer.header("Set-Cookie");
    let (pair, attributes) = cookie.split_once("; Path=/; HttpOnly").unwrap();
    let (name, _) = pair.split_once('=').unwrap();
    format!("{name}{attributes}")
}

pub(crate) fn header_of_another_page(server: &Server) -> String {
    let request = "OPTIONS /cometd HTTP/1.1\r\nHost: x\r\nOrigin: https://app.example\r\n\
                   Access-Control-Request-Method: POST\r\n\
                   Access-Control-Request-Headers: x-csrf-token\r\n\r\n";
    let answer = server.request(request).unwrap();
    let granted = answer.header("Access-Control-Allow-Headers");
    said(granted.contains("x-csrf-token"), "x-csrf-token")
}

pub(crate) fn page_of_another_origin(server: &Server) -> String {
    let headers = "Origin: https://app.example\r\n";
    let handshake = json!([{"channel": "/meta/handshake"}]);
    server.request(post(headers, &handshake)).unwrap().status()
}

pub(crate) fn script_without_a_referrer(server: &Server) -> String {
    let message = "%5B%7B%22channel%22%3A%22%2Fmeta%2Fhandshake%22%7D%5D";
    server.get(&format!("/cometd?message={message}")).status()
}

// Requests.

pub(crate) fn body_of_400_bytes(server: &Server) -> String {
    server
        .request(post_text("", &format!("[{:400}]", "")))
        .unwrap()
        .status()
}

pub(crate) fn frame_of_400_bytes(server: &Server) -> String {
    let mut socket = Socket::open(server.address()).upgraded();
    socket.send_text(&format!("[{:400}]", ""));
    match socket.frame() {
        Frame::Close(code, _) => format!("closed with {code}"),
        Frame::Text(text) => text,
        other => format!("{other:?}"),
    }
}

pub(crate) fn head_of_2_kib(server: &Server) -> String {
    let headers = format!("X-Long: {}\r\n", "x".repeat(2048));
    server.request(post(&headers, &json!([]))).unwrap().status()
}

pub(crate) fn two_messages(server: &Server) -> String {
    let messages = json!([{"channel": "/meta/handshake"}, {"channel": "/a"}]);
    server.post(&messages).status()
}

pub(crate) fn ten_arrays_deep(server: &Server) -> String {
    let body = format!(
        r#"[{{"channel":"/a","data":{}{}}}]"#,
        "[".repeat(10),
        "]".repeat(10)
    );
    server.request(post_text("", &body)).unwrap().status()
}

pub(crate) fn second_unfinished_body_of_40_kib(server: &Server) -> String {
    let request = post_text("", &format!("[{:50000}]", ""));
    let mut first = server.connection();
    first.send(&request[..40_960]);
    server.until(|| server.number("bayeux_bytes_in_total") >= 40_960.0);
    let mut second = server.connection();
    second.send(&request[..40_960]);
    second.outcome()
}

pub(crate) fn half_a_head(server: &Server) -> String {
    let mut connection = server.connection();
    connection.send("GET / HTTP/1.1\r\nHost:");
    connection.outcome()
}

pub(crate) fn half_a_body(server: &Server) -> String {
    let request = post("", &json!([{"channel": "/meta/handshake"}]));
    let mut connection = server.connection();
    connection.send(&request[..request.len() - 1]);
    connection.outcome()
}

pub(crate) fn idle_connection(server: &Server) -> String {
    let mut connection = server.connection();
    connection.send(post("", &json!([])));
    assert_eq!(connection.outcome(), "200");
    connection.end()
}

/// A download of which the client takes nothing.
pub(crate) fn reader_that_stopped(server: &Server) -> String {
    let mut connection = server.connection();
    connection.send("GET /large HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(connection.begins());
    let closed = server.comes(|| server.number("bayeux_connections") == 0.0);
    if closed { "closed" } else { NOTHING }.to_owned()
}

pub(crate) fn request_beside_readers_that_stopped(server: &Server) -> String {
    let readers = readers_that_stopped(server);
    let status = server.get("/style.css").status();
    drop(readers);
    status
}

/// So many that more waits for them than one address may have of 64 KiB.
pub(crate) fn readers_that_stopped(server: &Server) -> Vec<Connection> {
    let mut readers = Vec::new();
    while server.number("bayeux_output_bytes") < 16_375.0 {
        let mut reader = server.connection();
        reader.send("GET /large HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(reader.begins());
        readers.push(reader);
    }
    readers
}

pub(crate) fn second_of_two_long_replies(server: &Server) -> String {
    let session = server.session();
    let data = "x".repeat(2000);
    let call = json!({"channel": "/service/echo", "clientId": session.id, "data": data});
    let reply = server.post(&json!([call, call])).json();
    error(reply.as_array().and_then(|replies| replies.last()).unwrap())
}

pub(crate) fn silent_websocket(server: &Server) -> String {
    let mut socket = Socket::open(server.address()).upgraded();
    match socket.frame_within(server.patience()) {
        Some(Frame::Ping(_)) => "ping".to_owned(),
        Some(other) => format!("{other:?}"),
        None => NOTHING.to_owned(),
    }
}

pub(crate) fn websocket_that_does_not_answer_pings(server: &Server) -> String {
    let mut socket = Socket::open(server.address()).upgraded();
    loop {
        match socket.frame_within(server.patience()) {
            Some(Frame::Ping(_)) => {}
            Some(Frame::End | Frame::Close(..)) => return "cut".to_owned(),
            Some(other) => return format!("{other:?}"),
            None => return NOTHING.to_owned(),
        }
    }
}

pub(crate) fn second_connection(server: &Server) -> String {
    let mut first = server.connection();
    first.send(post("", &json!([])));
    assert_eq!(first.outcome(), "200");
    let mut second = server.connection();
    second.send(post("", &json!([])));
    second.outcome()
}

// Threads.

/// Few machines have so many cores that they come near it without being told.
pub(crate) fn two_hundred_threads(server: &Server) -> String {
    said(server.number("process_threads") > 200.0, "200 threads")
}

// Files.

pub(crate) fn style_sheet(server: &Server) -> String {
    server.get("/style.css").body
}

pub(crate) fn demo_page(server: &Server) -> String {
    server.get("/").status()
}

pub(crate) fn folder(server: &Server) -> String {
    server.get("/").body
}

pub(crate) fn media_type(server: &Server) -> String {
    server.get("/page.odd").header("Content-Type")
}

pub(crate) fn expiry_of_a_style_sheet(server: &Server) -> String {
    said(
        !server.get("/style.css").header("Expires").is_empty(),
        "Expires",
    )
}

// Linked processes.

/// Whether a process that shows this is let in.
fn lets_in(server: &Server, shows: &[&str]) -> bool {
    aliases(server, shows).status.success()
}

/// What the server exports to a process that shows this.
fn aliases(server: &Server, shows: &[&str]) -> Output {
    let address = server.addresses("links on ")[0].to_string();
    let shows = shows.iter().map(|flag| server.folder.fill(flag));
    let flags = ["link", "aliases", "--address", &address];
    bayeux(&flags).args(shows).output().unwrap()
}

pub(crate) fn link_by_key(server: &Server) -> String {
    if server.addresses("links on ").is_empty() {
        return NOTHING.to_owned();
    }
    assert!(!lets_in(server, &["--key-file={dir}/other"]));
    said(lets_in(server, &["--key-file={dir}/key"]), "link")
}

pub(crate) fn name_among_linked(server: &Server) -> String {
    let told = text(&aliases(server, &["--key-file={dir}/key"]).stdout);
    told.split('\t').nth(1).unwrap_or(&told).to_owned()
}

#[cfg(feature = "tls")]
pub(crate) fn link_by_certificate(server: &Server) -> String {
    let shows = |root: &'static str, certificate: &str, name: &str| {
        [
            format!("--tls-ca={{certificates}}/{root}.pem"),
            format!("--tls-cert={{certificates}}/{certificate}.pem"),
            format!("--tls-key={{certificates}}/{certificate}.key"),
            format!("--name={name}"),
        ]
    };
    let lets_in = |shows: [String; 4]| lets_in(server, &shows.each_ref().map(String::as_str));
    assert!(!lets_in(shows("link-root", "client", "localhost")));
    said(lets_in(shows("link-root", "link-worker", "worker")), "link")
}

pub(crate) fn handshake(server: &Server) -> String {
    error(&server.post(&json!([{"channel": "/meta/handshake"}])).json()[0])
}

// Operations.

/// More than a pipe takes, and less than the queue has room for by default.
pub(crate) fn lines_that_nobody_reads(server: &Server) -> String {
    let many = post("", &json!([])).repeat(100);
    let mut connection = server.connection();
    for _ in 0..7 {
        connection.send(&many);
        for _ in 0..100 {
            assert_eq!(connection.outcome(), "200");
        }
    }
    server.counts("bayeux_access_log_dropped_total")
}

pub(crate) fn internal_site(server: &Server) -> String {
    if server.addresses("metrics on ").is_empty() {
        return NOTHING.to_owned();
    }
    said(server.numbers().contains("bayeux_sessions 0"), "metrics")
}

pub(crate) fn line_of_a_request(server: &Server) -> String {
    server.get("/none");
    let comes = server.comes(|| server.folder.read("access").contains(r#""path":"/none""#));
    if comes { "line" } else { NOTHING }.to_owned()
}

pub(crate) fn last_words(server: &Server) -> String {
    let words = server.last_words();
    said(
        words.iter().any(|line| line.contains("[INFO] stopped")),
        "INFO",
    )
}

pub(crate) fn file_of_the_log(server: &Server) -> String {
    server.last_words();
    said(server.folder.read("log").contains("[INFO] stopped"), "log")
}
