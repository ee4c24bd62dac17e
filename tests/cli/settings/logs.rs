//! What the log says at which level, and never says.

use std::sync::Mutex;

use bayeux::AllowedHost;
use bayeux::Config;
use bayeux::Server as Embedded;
use bayeux::{Access, ServiceCall};
use serde_json::json;

use super::server::{Connection, Server, post};
use crate::common::alone::alone;

/// Who logs in is told apart by the start of an id, and by nothing that could be used.
const SECRET: &str = "open-sesame";

/// A session from its beginning to its end, with one of each kind of message; its id.
fn session(server: &Server) -> String {
    let mut session = server.session();
    session.ask(&json!({"channel": "/meta/handshake", "ext": {"password": SECRET}}));
    session.subscribe("/a/**");
    session.publish("/a/b", SECRET);
    session.publish(&format!("/private/{}", session.id), SECRET);
    session.ask(&json!({"channel": "/meta/unsubscribe", "subscription": "/a/**"}));
    session.ask(&json!({"channel": "/service/none", "data": SECRET}));
    session.ask(&json!({"channel": "/meta/disconnect"}));
    session.publish("/a/b", SECRET);
    let stream = format!("/cometd/{}", session.id);
    let stream = format!("GET {stream} HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n");
    for _ in 0..2 {
        assert_eq!(server.request(&stream).unwrap().status(), "404");
    }
    server.get(&format!("/none/{}?key={SECRET}", session.id));
    session.id.clone()
}

/// All lines that such a session leaves at a level, and the start of its id.
fn lines(level: &str) -> (Vec<String>, String) {
    let level = format!("--log-level={level}");
    let flags = ["--ops-listen=127.0.0.1:0", "--demo=false", &level];
    let server = Server::start(&flags, None, "lines").unwrap();
    let id = session(&server);
    let lines = server.last_words();
    for line in &lines {
        assert!(
            !line.contains(&id[..5]),
            "{line} has more than four characters of {id}"
        );
        assert!(!line.contains(SECRET), "{line}");
    }
    (lines, id[..4].to_owned())
}

fn assert_has(lines: &[String], parts: &[&str]) {
    for part in parts {
        assert!(
            lines.iter().any(|line| line.contains(part)),
            "no {part} in {lines:#?}"
        );
    }
}

#[test]
fn debug_tells_of_requests_sessions_subscriptions_and_refusals() {
    let (lines, id) = lines("debug");
    assert_has(
        &lines,
        &[
            "request from 127.0.0.1: POST /cometd, 200, ",
            "request from 127.0.0.1: GET /cometd/*, 404, ",
            &format!("request from 127.0.0.1: GET /none/{id}.., 404, "),
            &format!("session {id}..: begins, from 127.0.0.1 by long-polling"),
            &format!("session {id}..: subscribes to /a/**"),
            &format!("session {id}..: unsubscribes from /a/**"),
            &format!("session {id}..: ends, Disconnected, 0 messages lost"),
            &format!("failed: /service/none from {id}..: 404 unknown_service"),
            &format!("failed: /a/b from {id}..: 402 session_unknown"),
            &format!("failed: a stream of events for {id}..: 402 session_unknown"),
        ],
    );
    let refused = lines
        .iter()
        .filter(|line| line.contains("refused (unknown_session)"));
    assert_eq!(
        refused.count(),
        2,
        "each of them, at this level: {lines:#?}"
    );
    assert!(!lines.iter().any(|line| line.contains("[TRACE]")));
}

#[test]
fn trace_tells_of_each_message() {
    let (lines, id) = lines("trace");
    assert_has(
        &lines,
        &[
            "received: /meta/handshake from nobody",
            &format!("received: /a/b from {id}.."),
            &format!("received: /private/{id}.. from {id}.."),
            "published on /a/b: ",
            &format!("published on /private/{id}..: "),
            &format!("session {id}..: begins"),
        ],
    );
}

#[test]
fn info_tells_of_what_is_refused_only() {
    let (lines, _) = lines("info");
    assert_has(
        &lines,
        &[
            "refused (unknown_session)",
            "stopping; a second signal",
            "stopped",
        ],
    );
    for part in ["[DEBUG]", "session ", "request from", "failed: "] {
        assert!(
            !lines.iter().any(|line| line.contains(part)),
            "{part} in {lines:#?}"
        );
    }
}

#[test]
#[cfg(target_os = "linux")]
fn an_access_log_on_a_full_disk_is_told_once() {
    let server = Server::start(&["--access-log=/dev/full"], None, "lines").unwrap();
    for _ in 0..3 {
        server.session().ask(&json!({"channel": "/meta/handshake"}));
    }
    let lines = server.last_words();
    let told = |line: &&String| line.contains("[ERROR] the access log cannot be written: ");
    assert_eq!(lines.iter().filter(told).count(), 1, "{lines:#?}");
}

#[test]
fn the_log_file_begins_with_where_the_server_is() {
    let flags = ["--ops-listen=127.0.0.1:0", "--log-file={dir}/log"];
    let server = Server::start(&flags, None, "lines").unwrap();
    let url = format!("listening on http://{}/cometd", server.address());
    server.last_words();
    let log = server.folder.read("log");
    let lines: Vec<String> = log.lines().map(str::to_owned).collect();
    assert_has(&lines[..1], &[&url]);
    assert_has(&lines, &["metrics on http://127.0.0.1:", "stopped"]);
}

/// Lines that this process logs.
static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Keep;

impl log::Log for Keep {
    fn enabled(&self, _metadata: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let line = format!("[{}] {}", record.level(), record.args());
        LINES.lock().unwrap().push(line);
    }

    fn flush(&self) {}
}

#[test]
fn an_embedder_is_told_what_is_wrong() {
    // A process has one logger.
    alone(|| {
        log::set_boxed_logger(Box::new(Keep)).unwrap();
        log::set_max_level(log::LevelFilter::Warn);
        let mut config = Config {
            listen: vec!["127.0.0.1:0".parse().unwrap()],
            ..Config::default()
        };
        config.site.cookie.partitioned = true;
        config.site.allowed_hosts = vec![AllowedHost::any()];
        let server = Embedded::builder()
            .config(config)
            .service("/service/panics", Access::Anyone, |_: &ServiceCall<'_>| {
                panic!("no such luck")
            })
            .service("/service/fails", Access::Anyone, |_: &ServiceCall<'_>| {
                Err("out of luck".into())
            })
            .start()
            .unwrap();
        let mut connection =
            Connection::open(server.local_addrs()[0], crate::common::wait::PATIENCE);
        for service in ["panics", "fails"] {
            let call = json!([{"channel": format!("/service/{service}"), "data": 1}]);
            connection.send(post("", &call));
            let body = connection.answer().unwrap().body;
            assert!(body.contains("500:") && !body.contains("luck"), "{body}");
        }
        let lines = LINES.lock().unwrap().clone();
        assert_has(
            &lines,
            &[
                "[ERROR] service /service/panics panicked: no such luck",
                "[WARN] service /service/fails failed: out of luck",
                "[WARN] cookie_partitioned: needs ",
            ],
        );
    });
}
