//! Every number of `/metrics` is made to move.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bayeux::AllowedHost;
use bayeux::Config;
use bayeux::ContentRequest;
use bayeux::Server as Embedded;
use bayeux::connector::Executed;
use bayeux::{Access, ServiceCall};
use serde_json::{Value, json};

use super::server::{Connection, Server, numbers, post, post_text};
use crate::common::wait::until;
use crate::common::world::{self, Deaf};

/// `name of the test: flags, what happens, [what then has moved];`. Each name stands for all its
/// numbers, or with a label for one.
macro_rules! counters {
    ($($name:ident: [$($flag:literal),*], $happens:expr, [$($moved:literal),+ $(,)?];)+) => {
        /// All that some test moves.
        const MOVED: &[&str] = &[$($($moved,)+)+];

        $(
            #[test]
            fn $name() {
                let flags = ["--ops-listen=127.0.0.1:0", $($flag),*];
                let server = Server::start(&flags, None, "all of it").unwrap();
                let happens: fn(&Server) -> Vec<Connection> = $happens;
                let _open = happens(&server);
                for moved in [$($moved),+] {
                    let comes = server.comes(|| has_moved(&server.numbers(), moved));
                    assert!(comes, "{moved} has not moved:\n{}", server.numbers());
                }
            }
        )+
    };
}

counters! {
    sessions_and_messages: [], one_that_waits_and_one_that_is_away, [
        "bayeux_sessions", "bayeux_sessions_total", "bayeux_held_connects", "bayeux_subscriptions",
        "bayeux_subscription_bytes", "bayeux_receiver_cache_bytes",
        "bayeux_messages_in_total", "bayeux_messages_published_total", "bayeux_messages_out_total",
        "bayeux_queued_messages", "bayeux_queued_bytes", "bayeux_connections",
        r#"bayeux_memory_bytes{kind="sessions"}"#, r#"bayeux_memory_bytes{kind="messages"}"#,
        "bayeux_connections_total", "bayeux_bytes_in_total", "bayeux_bytes_out_total",
        "bayeux_uptime_seconds", "bayeux_build_info", "process_cpu_seconds_total",
        "process_resident_memory_bytes", "process_open_fds", "process_max_fds", "process_threads",
    ];
    sessions_that_leave: [], |server| {
        server.session().ask(&json!({"channel": "/meta/disconnect"}));
        Vec::new()
    }, [r#"bayeux_sessions_ended_total{reason="disconnected"}"#];
    sessions_that_expire: ["--max-interval=100ms"], |server| {
        server.session();
        Vec::new()
    }, [r#"bayeux_sessions_ended_total{reason="expired"}"#];
    queues_that_overflow: ["--max-queue-messages=1"], too_much_for_one_that_is_away, [
        r#"bayeux_sessions_ended_total{reason="overflowed"}"#,
        r#"bayeux_messages_dropped_total{reason="session_ended"}"#,
    ];
    oldest_messages: ["--max-queue-messages=1", "--overflow=drop-oldest"],
        too_much_for_one_that_is_away, [r#"bayeux_messages_dropped_total{reason="oldest"}"#];
    newest_messages: ["--max-queue-messages=1", "--overflow=drop-newest"],
        too_much_for_one_that_is_away, [r#"bayeux_messages_dropped_total{reason="newest"}"#];

    messages_that_fail: [], messages_of_every_code, [
        r#"bayeux_messages_failed_total{code="301"}"#,
        r#"bayeux_messages_failed_total{code="400"}"#,
        r#"bayeux_messages_failed_total{code="402"}"#,
        r#"bayeux_messages_failed_total{code="403"}"#,
        r#"bayeux_messages_failed_total{code="404"}"#,
        r#"bayeux_messages_failed_total{code="405"}"#,
        r#"bayeux_messages_failed_total{code="409"}"#,
    ];
    too_many_sessions: ["--max-sessions=1"], |server| {
        server.session();
        server.post(&json!([{"channel": "/meta/handshake"}]));
        Vec::new()
    }, [
        r#"bayeux_messages_failed_total{code="503"}"#,
        r#"bayeux_refusals_total{reason="max_sessions"}"#,
    ];
    sessions_that_make_room: ["--max-sessions=2", "--trusted-proxy=127.0.0.1"], |server| {
        for address in ["10.0.0.1", "10.0.0.1", "10.0.0.2"] {
            server.session_with(&format!("X-Forwarded-For: {address}\r\n"));
        }
        Vec::new()
    }, [r#"bayeux_sessions_ended_total{reason="evicted"}"#];
    too_much_that_waits: ["--max-queued-total=3KiB", "--max-queue-bytes=3KiB"], |server| {
        super::observe::two_absent(server);
        Vec::new()
    }, [r#"bayeux_refusals_total{reason="max_queued_total"}"#];
    too_many_subscriptions: ["--max-subscriptions=1"], |server| {
        super::observe::second_subscription(server);
        Vec::new()
    }, [r#"bayeux_refusals_total{reason="max_subscriptions"}"#];
    subscriptions_without_room: ["--max-subscription-bytes=1KiB"], |server| {
        super::observe::second_subscription(server);
        Vec::new()
    }, [r#"bayeux_refusals_total{reason="max_subscription_bytes"}"#];
    cookies_that_are_missing: ["--require-browser-cookie=true"], |server| {
        super::observe::client_id_without_its_cookie(server);
        Vec::new()
    }, [r#"bayeux_refusals_total{reason="cookie"}"#];
    connects_without_a_session: [], |server| {
        let mut connection = server.connection();
        connection.send(post("", &json!([{"channel": "/meta/connect"}])).repeat(3));
        vec![connection]
    }, [r#"bayeux_refusals_total{reason="stale_session"}"#];
    what_the_policy_denies: [], |server| {
        server.session().subscribe("/private/of-somebody-else");
        Vec::new()
    }, [r#"bayeux_refusals_total{reason="policy"}"#];
    too_many_held: ["--max-held-per-ip=1"], |server| {
        (0..2).map(|_| held(server)).collect()
    }, [r#"bayeux_refusals_total{reason="max_held_per_ip"}"#];
    draining: ["--shutdown-timeout=30s"], asked_while_draining,
        [r#"bayeux_refusals_total{reason="draining"}"#];

    refusals: [
        "--document-root={dir}/pages", "--max-header=1KiB", "--max-body=300", "--max-messages=2",
        "--max-depth=8", "--header-timeout=300ms", "--body-timeout=300ms", "--max-message=300"
    ], requests_of_every_kind, [
        r#"bayeux_refusals_total{reason="origin"}"#,
        r#"bayeux_refusals_total{reason="callback_polling"}"#,
        r#"bayeux_refusals_total{reason="callback_name"}"#,
        r#"bayeux_refusals_total{reason="host"}"#,
        r#"bayeux_refusals_total{reason="path"}"#,
        r#"bayeux_refusals_total{reason="method"}"#,
        r#"bayeux_refusals_total{reason="media_type"}"#,
        r#"bayeux_refusals_total{reason="messages"}"#,
        r#"bayeux_refusals_total{reason="max_messages"}"#,
        r#"bayeux_refusals_total{reason="max_depth"}"#,
        r#"bayeux_refusals_total{reason="max_body"}"#,
        r#"bayeux_refusals_total{reason="max_message"}"#,
        r#"bayeux_refusals_total{reason="max_header"}"#,
        r#"bayeux_refusals_total{reason="header_timeout"}"#,
        r#"bayeux_refusals_total{reason="body_timeout"}"#,
        r#"bayeux_refusals_total{reason="malformed"}"#,
        r#"bayeux_refusals_total{reason="websocket_handshake"}"#,
        r#"bayeux_refusals_total{reason="websocket_frame"}"#,
        r#"bayeux_refusals_total{reason="unknown_session"}"#,
        r#"bayeux_refusals_total{reason="not_found"}"#,
        r#"bayeux_refusals_total{reason="directory_listing"}"#,
        r#"bayeux_refusals_total{reason="precondition"}"#,
        r#"bayeux_refusals_total{reason="range"}"#,
        r#"bayeux_refusals_total{reason="unavailable"}"#,
        r#"bayeux_requests_refused_total{status="400"}"#,
        r#"bayeux_requests_refused_total{status="403"}"#,
        r#"bayeux_requests_refused_total{status="404"}"#,
        r#"bayeux_requests_refused_total{status="405"}"#,
        r#"bayeux_requests_refused_total{status="408"}"#,
        r#"bayeux_requests_refused_total{status="412"}"#,
        r#"bayeux_requests_refused_total{status="413"}"#,
        r#"bayeux_requests_refused_total{status="414"}"#,
        r#"bayeux_requests_refused_total{status="415"}"#,
        r#"bayeux_requests_refused_total{status="416"}"#,
        r#"bayeux_requests_refused_total{status="417"}"#,
        r#"bayeux_requests_refused_total{status="426"}"#,
        r#"bayeux_requests_refused_total{status="431"}"#,
        r#"bayeux_requests_refused_total{status="501"}"#,
        r#"bayeux_requests_refused_total{status="503"}"#,
        r#"bayeux_requests_refused_total{status="505"}"#,
    ];
    a_transport_that_is_off: ["--transport=callback-polling"], |server| {
        server.request(post_text("", "[]"));
        Vec::new()
    }, [r#"bayeux_refusals_total{reason="transport"}"#];
    scripts_that_are_off: ["--callback-polling=off"], |server| {
        server.get("/cometd?message=%5B%5D");
        Vec::new()
    }, [r#"bayeux_refusals_total{reason="callback_polling"}"#];
    headers_that_are_missing: ["--proxy-protocol=true", "--trusted-proxy=127.0.0.1"], |server| {
        server.request("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        Vec::new()
    }, [r#"bayeux_refusals_total{reason="pre_connect"}"#];
    too_many_of_one_address: ["--max-connections-per-ip=1"], |server| {
        (0..2).map(|_| server.connection()).collect()
    }, [r#"bayeux_refusals_total{reason="max_connections_per_ip"}"#];
    hosts_of_strangers: ["--allowed-host=app.example"], |server| {
        server.get("/");
        Vec::new()
    }, [
        r#"bayeux_refusals_total{reason="allowed_host"}"#,
        r#"bayeux_requests_refused_total{status="421"}"#,
    ];
    a_log_on_a_full_disk: ["--log-file=/dev/full"], |_| Vec::new(), ["bayeux_log_dropped_total"];
    calls_that_fail_in_a_loop: [], |server| {
        let call = json!({"channel": "/service/math", "data": "no object"});
        server.session().send_all(&vec![call; 200]);
        Vec::new()
    }, ["bayeux_log_held_back_total"];
    too_much_unfinished: ["--max-input-total=64KiB", "--max-body=64KiB"], |server| {
        let request = post_text("", &format!("[{:50000}]", ""));
        let halves = (0..2).map(|_| {
            let mut half = server.connection();
            half.send(&request[..40_960]);
            half
        });
        halves.collect()
    }, [r#"bayeux_refusals_total{reason="max_input_total"}"#, "bayeux_input_bytes"];
    output_that_nobody_reads: ["--max-output-total=64KiB", "--document-root={dir}/pages"],
        one_who_asks_beside_readers_that_stopped, [
            r#"bayeux_refusals_total{reason="max_output_total"}"#, "bayeux_output_bytes"
        ];
    replies_that_are_too_long: ["--max-reply-bytes=1KiB"], |server| {
        super::observe::second_of_two_long_replies(server);
        Vec::new()
    }, [r#"bayeux_refusals_total{reason="max_reply_bytes"}"#];
}

/// What only a program around the library can bring about, or the file system of some machines.
const ELSEWHERE: &[&str] = &[
    // `what_a_program_around_it_does`
    r#"bayeux_sessions_ended_total{reason="dismissed"}"#,
    r#"bayeux_messages_dropped_total{reason="slow_observer"}"#,
    r#"bayeux_messages_failed_total{code="500"}"#,
    r#"bayeux_refusals_total{reason="busy"}"#,
    "bayeux_waiting_jobs",
    r#"bayeux_requests_refused_total{status="500"}"#,
    // `unreadable_files`
    r#"bayeux_refusals_total{reason="unreadable"}"#,
    // `a_writer_that_hangs`
    "bayeux_access_log_dropped_total",
    "bayeux_log_waiting_bytes",
];

#[test]
fn every_number_is_moved() {
    let server = Server::start(&["--ops-listen=127.0.0.1:0"], None, "numbers").unwrap();
    let text = server.numbers();
    let names = text.lines().filter(|line| !line.starts_with('#'));
    let names: BTreeSet<&str> = names.filter_map(|line| line.split(' ').next()).collect();
    assert!(names.len() > 60, "{text}");
    let known = |name: &str| {
        let bare = name.split('{').next().unwrap();
        let all = MOVED.iter().chain(ELSEWHERE);
        all.into_iter()
            .any(|moved| *moved == name || *moved == bare)
    };
    let unmoved: Vec<_> = names.into_iter().filter(|name| !known(name)).collect();
    assert!(
        unmoved.is_empty(),
        "numbers that no test moves: {unmoved:#?}"
    );
}

fn has_moved(text: &str, name: &str) -> bool {
    text.lines().any(|line| {
        let rest = line.strip_prefix(name);
        let rest = rest.filter(|rest| rest.starts_with([' ', '{']));
        rest.is_some_and(|rest| !rest.ends_with(" 0"))
    })
}

fn one_who_asks_beside_readers_that_stopped(server: &Server) -> Vec<Connection> {
    let readers = super::observe::readers_that_stopped(server);
    server.get("/style.css");
    readers
}

fn held(server: &Server) -> Connection {
    let mut session = server.session();
    session.hold();
    session.connection
}

fn one_that_waits_and_one_that_is_away(server: &Server) -> Vec<Connection> {
    let mut away = server.session();
    away.subscribe("/a");
    server.session().publish("/a", 1);
    vec![held(server), away.connection]
}

fn too_much_for_one_that_is_away(server: &Server) -> Vec<Connection> {
    server.session().subscribe("/a");
    let mut publisher = server.session();
    for n in 0..3 {
        publisher.publish("/a", n);
    }
    Vec::new()
}

fn messages_of_every_code(server: &Server) -> Vec<Connection> {
    server.post(&json!([{"channel": "/meta/handshake", "supportedConnectionTypes": ["x"]}]));
    let mut session = server.session();
    for (message, code) in [
        (json!({"channel": "/a", "ext": 5}), "400:"),
        (json!({"channel": "/a"}), "402:"),
        (
            json!({"channel": "/meta/subscribe", "subscription": "/meta/x"}),
            "403:",
        ),
        (json!({"channel": "/service/none", "data": 1}), "404:"),
        (json!({"channel": "/a//b", "data": 1}), "405:"),
    ] {
        let reply = session.ask(&message);
        assert!(
            reply[0]["error"].as_str().unwrap().starts_with(code),
            "{reply}"
        );
    }
    session.hold();
    server.until(|| has_moved(&server.numbers(), "bayeux_held_connects"));
    let mut newer = server.connection();
    let mut connect = session.connect();
    connect["clientId"] = session.id.into();
    newer.send(post("", &json!([connect])));
    let superseded = session.connection.answer().unwrap().json();
    assert_eq!(superseded[0]["error"], "409::connect_superseded");
    vec![newer]
}

/// Held connects are answered over some time; meanwhile nothing else is done.
fn asked_while_draining(server: &Server) -> Vec<Connection> {
    let mut idle = [server.connection(), server.connection()];
    for connection in &mut idle {
        connection.send(post("", &json!([])));
        assert_eq!(connection.outcome(), "200");
    }
    let held: Vec<Connection> = (0..40).map(|_| held(server)).collect();
    server.until(|| server.number("bayeux_held_connects") == 40.0);
    server.running.signal("TERM");
    server.says("stopping");
    server.until(|| server.number("bayeux_held_connects") < 40.0);
    let [first, second] = &mut idle;
    first.send(post("", &json!([{"channel": "/meta/handshake"}])));
    second.send("GET /cometd/x HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n");
    assert_eq!([first.outcome(), second.outcome()], ["503", "503"]);
    held
}

const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// One request for each reason, and for each status.
fn requests_of_every_kind(server: &Server) -> Vec<Connection> {
    let pages = server.folder.path("pages");
    std::fs::create_dir(pages.join("empty")).unwrap();
    std::os::unix::fs::symlink("loop", pages.join("loop")).unwrap();
    let get =
        |path: &str, headers: &str| format!("GET {path} HTTP/1.1\r\nHost: x\r\n{headers}\r\n");
    let script = |more: &str, headers: &str| get(&format!("/cometd?message=%5B%5D{more}"), headers);
    let deep = format!(
        r#"[{{"channel":"/a","data":{}{}}}]"#,
        "[".repeat(20),
        "]".repeat(20)
    );
    let own = "Sec-Fetch-Site: same-origin\r\n";
    let long = "x".repeat(2000);
    let requests = [
        (403, post("Origin: http://other.example\r\n", &json!([]))),
        (403, script("", "")),
        (400, script("&jsonp=a(b)", own)),
        (400, "GET / HTTP/1.1\r\n\r\n".to_owned()),
        (404, post("", &json!([])).replace("/cometd", "/other")),
        (405, get("/cometd", "").replace("GET", "PUT")),
        (
            415,
            post("", &json!([])).replace("application/json", "image/png"),
        ),
        (400, post_text("", "no JSON")),
        (
            400,
            post(
                "",
                &json!([{"channel": "/a"}, {"channel": "/a"}, {"channel": "/a"}]),
            ),
        ),
        (400, post_text("", &deep)),
        (413, post_text("", &format!("[{:400}]", ""))),
        (431, post(&format!("X: {long}\r\n"), &json!([]))),
        (414, get(&format!("/{long}"), "")),
        (408, "GET / HTTP/1.1\r\nHost:".to_owned()),
        (408, post_text("", "[").replace(": 1\r", ": 2\r")),
        (400, "nonsense\r\n\r\n".to_owned()),
        (
            426,
            get(
                "/cometd",
                &format!("{UPGRADE}Sec-WebSocket-Version: 12\r\n"),
            ),
        ),
        (404, get("/cometd/none", "Accept: text/event-stream\r\n")),
        (404, get("/none", "")),
        (403, get("/empty/", "")),
        (412, get("/style.css", "If-Match: \"x\"\r\n")),
        (416, get("/style.css", "Range: bytes=100-\r\n")),
        (503, get("/loop", "")),
        (417, post("Expect: the-unexpected\r\n", &json!([]))),
        (501, get("/", "").replace("GET", "TRACE")),
        (505, get("/", "").replace("HTTP/1.1", "HTTP/3.0")),
    ];
    for (status, request) in requests {
        let answer = server.request(&request).expect("an answer");
        assert_eq!(
            answer.status(),
            status.to_string(),
            "{request}\n{}",
            answer.body
        );
    }
    let upgrade = get(
        "/cometd",
        &format!("{UPGRADE}Sec-WebSocket-Version: 13\r\n"),
    );
    let mut frames = Vec::new();
    // One that is not masked, and the beginning of one that is too large.
    for frame in [&b"\x81\x02[]"[..], b"\x81\xfe\x01\x90\0\0\0\0"] {
        let mut socket = server.connection();
        socket.send(&upgrade);
        assert_eq!(socket.outcome(), "101");
        socket.send(frame);
        frames.push(socket);
    }
    frames
}

/// On many machines root may read everything; on Linux not what is only for writing.
#[test]
fn unreadable_files() {
    use std::fs::{File, Permissions, set_permissions};
    use std::os::unix::fs::PermissionsExt;

    let refuses = |path: &str| {
        let error = File::open(path).err();
        error.is_some_and(|error| error.kind() == std::io::ErrorKind::PermissionDenied)
    };
    let server = |root: &str| {
        let root = format!("--document-root={root}");
        Server::start(&["--ops-listen=127.0.0.1:0", &root], None, "403").unwrap()
    };
    let mut pages = server("{dir}/pages");
    let secret = pages.folder.path("pages/secret");
    std::fs::write(&secret, "secret").unwrap();
    set_permissions(&secret, Permissions::from_mode(0o000)).unwrap();
    let mut path = "/secret";
    if !refuses(secret.to_str().unwrap()) {
        path = "/drivers_probe";
        if !refuses("/sys/bus/cpu/drivers_probe") {
            return;
        }
        pages = server("/sys/bus/cpu");
    }
    assert_eq!(pages.get(path).status(), "403");
    assert_eq!(
        pages.number(r#"bayeux_refusals_total{reason="unreadable"}"#),
        1.0
    );
}

/// Nobody reads the pipe that is the access log.
#[test]
fn a_writer_that_hangs() {
    let writer = Server::start(
        &["--ops-listen=127.0.0.1:0", "--access-log=-"],
        None,
        "dropped",
    );
    let server = writer.unwrap();
    let many = post("", &json!([])).repeat(100);
    let mut connection = server.connection();
    let dropped = || server.number("bayeux_access_log_dropped_total") > 0.0;
    while !dropped() {
        connection.send(&many);
        for _ in 0..100 {
            assert_eq!(connection.outcome(), "200");
        }
    }
    assert!(server.number(r#"bayeux_log_waiting_bytes{log="access"}"#) > 1e6);
}

#[test]
fn what_a_program_around_it_does() {
    let gate = Arc::new(Mutex::new(()));
    let closed = gate.lock().unwrap();
    let (at_service, at_observer) = (Arc::clone(&gate), Arc::clone(&gate));
    let wait = |gate: &Mutex<()>| drop(gate.lock());
    let mut config = Config {
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        ops_listen: Some("127.0.0.1:0".parse().unwrap()),
        workers: 8,
        ..Config::default()
    };
    config.site.allowed_hosts = vec![AllowedHost::any()];
    let server = Embedded::builder()
        .config(config)
        .service(
            "/service/slow",
            Access::Anyone,
            move |_: &ServiceCall<'_>| {
                wait(&at_service);
                Ok(Vec::new())
            },
        )
        .service("/service/bad", Access::Anyone, |_: &ServiceCall<'_>| {
            panic!("as it should")
        })
        .content("/bad", 0, |_: &ContentRequest| panic!("as it should"))
        .observer(move |_| wait(&at_observer))
        .start()
        .unwrap();
    let address: SocketAddr = server.internal_addr().unwrap();
    let execute = |messages: &Value| world::execute(server.broker(), Arc::new(Deaf), 0, messages);
    let moves = |name: &str| {
        until(name, || {
            let numbers = numbers(address);
            if has_moved(&numbers, name) {
                Ok(())
            } else {
                Err(numbers)
            }
        });
    };
    drop(execute(&json!([{"channel": "/service/bad", "data": 1}])));
    moves(r#"bayeux_messages_failed_total{code="500"}"#);
    let mut connection = Connection::open(server.local_addrs()[0], crate::common::wait::PATIENCE);
    connection.send("GET /bad HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(connection.outcome(), "500");
    moves(r#"bayeux_requests_refused_total{status="500"}"#);
    let Executed::Now(answer) = execute(&json!([{"channel": "/meta/handshake"}])) else {
        panic!("a handshake is answered at once");
    };
    let reply: Value = serde_json::from_slice(&answer.handshake).unwrap();
    let id = bayeux::ClientId::parse(reply["clientId"].as_str().unwrap()).unwrap();
    assert!(server.broker().disconnect(id));
    moves(r#"bayeux_sessions_ended_total{reason="dismissed"}"#);
    for n in 0..10_010 {
        server.broker().publish("/a", &n).unwrap();
    }
    moves(r#"bayeux_messages_dropped_total{reason="slow_observer"}"#);
    let call = json!([{"channel": "/service/slow", "data": 1}]);
    let calls: Vec<Executed> = (0..10_010).map(|_| execute(&call)).collect();
    moves(r#"bayeux_refusals_total{reason="busy"}"#);
    moves("bayeux_waiting_jobs");
    drop(closed);
    drop(calls);
}
