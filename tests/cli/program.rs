//! The program, run as users run it: arguments, configuration files, signals, exit codes.

use std::process::Command;
use std::time::Instant;

use crate::common::ports::closed;
use crate::common::program::{
    File, Running, address, ask, bayeux, hold, output, text, wait_for_number,
};
use crate::common::wait::{PATIENCE, eventually};

#[test]
fn help_names_every_setting_with_unit_and_default() {
    for arguments in [&["--help"][..], &["serve", "--help"], &["check", "--help"]] {
        let output = output(arguments);
        assert_eq!(output.status.code(), Some(0));
        assert_eq!(text(&output.stderr), "");
        let help = text(&output.stdout);
        for part in [
            "--max-body <SIZE>",
            "Value: bytes, or a number with KiB, MiB or GiB; 256B or more.",
            "[default: 1MiB] [env: BAYEUX_MAX_BODY]",
            "--timeout <DURATION>",
            "[default: 90 % of the file limit] [env: BAYEUX_MAX_CONNECTIONS]",
            "--demo[=<true|false|auto>]",
            "--config <FILE>",
        ] {
            assert!(help.contains(part), "{arguments:?}: {part}");
        }
    }
    let output = output(&["--version"]);
    assert_eq!(
        text(&output.stdout),
        concat!("bayeux ", env!("CARGO_PKG_VERSION"), "\n")
    );
}

#[test]
fn wrong_usage_is_exit_code_2_with_a_suggestion() {
    for (arguments, part) in [
        (&["--max-bdy", "1MiB"][..], "'--max-body'"),
        (
            &["--timeout", "30"],
            "error: --timeout: `30` has no unit; did you mean `30s` or",
        ),
        (
            &["serve", "--max-sessions=0"],
            "--max-sessions: `0` is out of range: must be 1 or more",
        ),
        (&["--listen", "8080"], "did you mean `127.0.0.1:8080`?"),
        (
            &["--config", "/no/such/file"],
            "error: /no/such/file: No such file",
        ),
        (
            &["--connector=tiny-http", "--listen=0.0.0.0:0"],
            "connector_exposed",
        ),
        (
            &["--ops-listen=0.0.0.0:0"],
            "--ops-listen: 0.0.0.0:0 is no loopback address",
        ),
        (
            &["--require-browser-cookie", "--allowed-origin=*"],
            "--require-browser-cookie: cannot",
        ),
        (&["server"], "serve"),
        (&["publish", "http://127.0.0.1:1/cometd"], "<CHANNEL>"),
        (&["subscribe"], "<URL>"),
        (&["--timeout=1s", "serve"], "serve"),
    ] {
        let output = output(arguments);
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {stderr}");
        assert!(stderr.contains(part), "{arguments:?}: {stderr}");
        assert_eq!(text(&output.stdout), "", "{arguments:?}");
    }
}

#[test]
fn check_prints_what_is_in_force_and_takes_it_back() {
    let file = File::new(
        "layers",
        "timeout = \"2s\"\ninterval = \"1s\"\nmax_body = 65536\n",
    );
    let output = bayeux(&["check", "--config", file.path(), "--timeout", "4s"])
        .env("BAYEUX_TIMEOUT", "3s")
        .env("BAYEUX_INTERVAL", "1.5s")
        .env("BAYEUX_SERVICE_HOST", "10.0.0.1")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(text(&output.stderr), format!("{}: ok\n", file.path()));
    let printed = text(&output.stdout);
    for line in [
        "timeout = \"4s\" # --timeout".to_owned(),
        "interval = \"1.5s\" # BAYEUX_INTERVAL".to_owned(),
        format!("max_body = 65536 # {}:3", file.path()),
        "overflow = \"disconnect\"".to_owned(),
        "demo = \"auto\"".to_owned(),
    ] {
        assert!(
            printed.lines().any(|printed| printed == line),
            "{line}\n{printed}"
        );
    }
    let again = File::new("again", &printed);
    let second = bayeux(&["check"])
        .env("BAYEUX_CONFIG", again.path())
        .output()
        .unwrap();
    assert_eq!(second.status.code(), Some(0), "{}", text(&second.stderr));
    let values = |text: &str| -> Vec<String> {
        let value = |line: &str| line.split(" # ").next().unwrap().to_owned();
        text.lines().map(value).collect()
    };
    assert_eq!(values(&printed), values(&text(&second.stdout)));
}

#[test]
fn check_without_a_file_checks_the_rest() {
    let output = output(&["check", "--timeout=1s"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(text(&output.stderr), "ok\n");
    let few = self::output(&["check", "--max-sessions=10", "--max-queued-total=5MiB"]);
    let table = text(&few.stdout);
    let row = |beginning: &str| -> Vec<&str> {
        let row = table.lines().find(|line| line.starts_with(beginning));
        row.expect(beginning).split_whitespace().collect()
    };
    let sessions = row("# sessions");
    let [most, each, all] = [2, 3, 4].map(|at| sessions[at].parse::<u64>().unwrap());
    assert_eq!((most, all, sessions[5]), (10, 10 * each, "max_sessions"));
    let waiting = row("# waiting messages");
    assert_eq!(waiting[3..], ["5242880", "max_queued_total"]);
    let logs = row("# queues of the logs");
    assert_eq!(logs[5..8], ["2", "1048576", "2097152"]);
    assert!(row("# all together")[3].parse::<u64>().unwrap() > all + 5_242_880);
    let dropped = self::output(&["check", "--cookie-same-site=none"]);
    assert_eq!(dropped.status.code(), Some(0));
    let warning = text(&dropped.stderr);
    assert!(
        warning.starts_with("warning: cookie_same_site: needs "),
        "{warning}"
    );
    assert!(
        warning.contains("trusted_proxy or cookie_secure: over plain http"),
        "{warning}"
    );
}

#[test]
fn bad_files_are_refused_with_line_and_suggestion() {
    for (name, content, error) in [
        (
            "key",
            "\n# x\nmax-body = 1\n",
            ":3: unknown key `max-body`; did you mean `max_body`?",
        ),
        (
            "unit",
            "timeout = 30\n",
            ":1: timeout: `30` has no unit; did you mean `30s` or `30ms`?",
        ),
        (
            "word",
            "\noverflow = \"drop-newst\"",
            "did you mean `drop-newest`?",
        ),
        ("syntax", "timeout = \"1s\"\nlisten = [", ":2: "),
        (
            "twice",
            "path = \"/a\"\npath = \"/b\"\n",
            ":2: duplicate key",
        ),
        (
            "section",
            "[server]\nmax_body = 5\n",
            ":1: there are no sections",
        ),
        (
            "kind",
            "max_body = [1, 2]\n",
            ":1: max_body: an array cannot be here",
        ),
        (
            "cross",
            "allowed_origin = \"*\"\nrequire_browser_cookie = true\n",
            ":2: require_browser",
        ),
    ] {
        let file = File::new(name, content);
        for arguments in [
            &["check", "--config", file.path()][..],
            &["--config", file.path()],
        ] {
            let output = output(arguments);
            let stderr = text(&output.stderr);
            assert_eq!(output.status.code(), Some(2), "{name}: {stderr}");
            let place = format!("error: {}:", file.path());
            assert!(
                stderr.starts_with(&place) && stderr.contains(error),
                "{name}: {stderr}"
            );
        }
    }
    let file = File::new("many", "a = 1\nb = 2\n");
    let stderr = text(&output(&["check", "--config", file.path()]).stderr);
    assert_eq!(stderr.lines().count(), 2, "{stderr}");
}

#[test]
fn bad_variables_are_refused() {
    let misspelt = bayeux(&["check"])
        .env("BAYEUX_TIMOUT", "1s")
        .output()
        .unwrap();
    assert_eq!(misspelt.status.code(), Some(2));
    assert_eq!(
        text(&misspelt.stderr),
        "error: BAYEUX_TIMOUT: unknown variable; did you mean `BAYEUX_TIMEOUT`?\n"
    );
    let wrong = bayeux(&["check"])
        .env("BAYEUX_DEMO", "yes")
        .output()
        .unwrap();
    assert_eq!(wrong.status.code(), Some(2));
    assert!(text(&wrong.stderr).starts_with("error: BAYEUX_DEMO: `yes` is neither"));
}

#[test]
#[cfg(target_os = "linux")]
fn the_default_number_of_connections_follows_the_raised_file_limit() {
    let command = format!(
        "ulimit -S -n 100 && ulimit -H -n 2000 && exec {} check",
        env!("CARGO_BIN_EXE_bayeux")
    );
    let output = Command::new("sh").args(["-c", &command]).output().unwrap();
    let printed = text(&output.stdout);
    assert!(
        printed.lines().any(|line| line == "max_connections = 1800"),
        "{printed}"
    );
}

#[test]
fn a_bind_failure_is_exit_code_1() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = output(&["--listen", &address]);
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    let error = stderr
        .lines()
        .find(|line| line.starts_with("error: "))
        .unwrap();
    assert!(error.contains(&address), "{stderr}");
    assert!(!stderr.contains("listening on"), "{stderr}");
}

#[test]
fn a_log_file_that_cannot_be_opened_is_exit_code_1() {
    let folder = std::env::temp_dir();
    let output = output(&[
        "--listen=127.0.0.1:0",
        "--log-file",
        folder.to_str().unwrap(),
    ]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
}

#[test]
fn every_address_is_announced_and_a_signal_stops_with_exit_code_0() {
    for (signal, connector) in [("TERM", "native"), ("INT", "tiny-http")] {
        let mut server = Running::start(&[
            "--listen=127.0.0.1:0",
            "--listen=127.0.0.1:0",
            "--path=/bayeux",
            "--ops-listen=127.0.0.1:0",
            "--shutdown-timeout=60s",
            "--connector",
            connector,
        ]);
        let url = server.line("listening on ");
        let second = server.line("listening on ");
        let metrics = server.line("metrics on ");
        let demo = server.line("open ");
        assert_eq!(format!("{}bayeux", demo.split(' ').next().unwrap()), url);
        assert_eq!(ask("POST", &second, "[]").text(), "[]");
        let mut held = hold(&url);
        wait_for_number(&metrics, "bayeux_held_connects 1");
        let start = Instant::now();
        server.signal(signal);
        let answer = held.response();
        assert_eq!(answer.header("connection"), Some("close"), "{answer:?}");
        let body = answer.text();
        assert!(
            body.contains(r#""successful":true"#) && !body.contains("advice"),
            "{body}"
        );
        assert_eq!(server.wait().code(), Some(0));
        assert!(
            start.elapsed() < PATIENCE,
            "{connector}: {:?}",
            start.elapsed()
        );
        closed(address(&url).parse().unwrap());
    }
}

#[test]
fn a_second_signal_ends_it_at_once() {
    use std::os::unix::process::ExitStatusExt as _;
    let arguments = [
        "--listen=127.0.0.1:0",
        "--shutdown-timeout=60s",
        "--ops-listen=127.0.0.1:0",
    ];
    let mut server = Running::start(&arguments);
    let url = server.line("listening on ");
    let metrics = server.line("metrics on ");
    let ready = metrics.replace("/metrics", "/readyz");
    assert_eq!(ask("GET", &ready, "").status, 200);
    // Enough of them that answering one after the other takes a while.
    let held: Vec<_> = (0..200).map(|_| hold(&url)).collect();
    wait_for_number(&metrics, "bayeux_held_connects 200");
    server.signal("TERM");
    eventually("it is not ready", || ask("GET", &ready, "").status != 200);
    assert!(
        server.child.try_wait().unwrap().is_none(),
        "ended before all clients had an answer"
    );
    server.signal("INT");
    assert_eq!(server.wait().signal(), Some(2));
    drop(held);
}

#[test]
fn settings_reach_the_server_and_its_internal_site() {
    let file = File::new("server", "timeout = \"7s\"\nmax_body = 300\n");
    let server = Running::start(&[
        "--config",
        file.path(),
        "--listen=127.0.0.1:0",
        "--ops-listen=localhost:0",
        "--interval=1.5s",
    ]);
    let url = server.line("listening on ");
    let metrics = server.line("metrics on ");
    let answer = ask("POST", &url, r#"[{"channel":"/meta/handshake"}]"#);
    let answer = answer.text();
    assert!(answer.contains(r#""interval":1500"#) && answer.contains(r#""timeout":7000"#));
    assert_eq!(ask("POST", &url, &format!("[{:>300}]", "")).status, 413);
    for line in [
        "bayeux_sessions 1",
        r#"bayeux_requests_refused_total{status="413"} 1"#,
    ] {
        wait_for_number(&metrics, line);
    }
}

#[test]
fn what_is_published_comes_to_subscribers_as_lines() {
    let server = Running::start(&["--listen=127.0.0.1:0"]);
    let url = server.line("listening on ");
    let mut subscriber = Running::start(&["subscribe", &url, "/cli/a", "/cli/**"]);
    let lines = subscriber.output();
    assert_eq!(subscriber.line("subscribed to "), "/cli/a, /cli/**");
    for (channel, data) in [("/cli/a", "{\"n\" :\n 1.0}"), ("/cli/b/c", "null")] {
        let published = output(&["publish", &url, channel, data]);
        assert_eq!(
            published.status.code(),
            Some(0),
            "{}",
            text(&published.stderr)
        );
        let line = lines.recv_timeout(PATIENCE).unwrap();
        assert!(
            line.contains(&format!("\"channel\":\"{channel}\"")),
            "{line}"
        );
        assert!(
            line.contains(&format!("\"data\":{}", data.replace('\n', " "))),
            "{line}"
        );
    }
    subscriber.signal("INT");
    assert_eq!(subscriber.wait().code(), Some(0));
    assert_eq!(lines.try_iter().count(), 0);
}

#[test]
fn clients_take_the_transport_that_they_are_told() {
    let server = Running::start(&["--listen=127.0.0.1:0", "--ops-listen=127.0.0.1:0"]);
    let url = server.line("listening on ");
    let metrics = server.line("metrics on ");
    let socket = url.replace("http:", "ws:");
    // A socket is the only connection; polling has one more, for what is sent.
    for (url, flags, connections) in [
        (&url, &["--transport=long-polling"][..], 2),
        (&url, &["--transport", "websocket"], 1),
        (&url, &[], 1),
        (&socket, &[], 1),
    ] {
        let mut subscriber =
            Running::start(&[&["subscribe"], flags, &[url.as_str(), "/cli/a"]].concat());
        let lines = subscriber.output();
        subscriber.line("subscribed to ");
        wait_for_number(&metrics, &format!("bayeux_connections {connections}"));
        let publish = [&["publish"], flags, &[url.as_str(), "/cli/a", "1"]].concat();
        assert_eq!(output(&publish).status.code(), Some(0));
        assert!(lines.recv_timeout(PATIENCE).unwrap().contains("/cli/a"));
        subscriber.signal("TERM");
        assert_eq!(subscriber.wait().code(), Some(0));
        wait_for_number(&metrics, "bayeux_connections 0");
    }
    let wrong = output(&["publish", "--transport=long-polling", &socket, "/a", "1"]);
    assert_eq!(wrong.status.code(), Some(2));
    let wrong = output(&["publish", "--transport=carrier-pigeon", &url, "/a", "1"]);
    assert_eq!(wrong.status.code(), Some(2));
}

#[test]
fn a_subscriber_that_nobody_reads_ends() {
    let server = Running::start(&["--listen=127.0.0.1:0"]);
    let url = server.line("listening on ");
    let mut subscriber = Running::start(&["subscribe", &url, "/cli/*"]);
    drop(subscriber.child.stdout.take());
    subscriber.line("subscribed to ");
    assert_eq!(
        output(&["publish", &url, "/cli/a", "1"]).status.code(),
        Some(0)
    );
    assert_eq!(subscriber.wait().code(), Some(0));
}

#[test]
fn publishing_tells_what_is_wrong() {
    for (url, channel, data, code, part) in [
        (
            "http://127.0.0.1:1/cometd",
            "/a",
            "hello",
            2,
            "did you mean '\"hello\"'?",
        ),
        ("http://127.0.0.1:1/cometd", "a", "1", 2, "\"a\""),
        (
            "http://127.0.0.1:1/cometd",
            "/meta/connect",
            "1",
            2,
            "\"/meta/connect\"",
        ),
        ("ftp://127.0.0.1/", "/a", "1", 2, "ftp"),
        ("http://127.0.0.1:99999/", "/a", "1", 2, "not a port"),
        ("http://127.0.0.1:1/cometd", "/a", "1", 1, "trying again"),
    ] {
        let output = output(&["publish", url, channel, data]);
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{stderr}");
        assert!(stderr.contains(part), "{stderr}");
    }
}

#[test]
fn debug_shows_the_traffic_without_secrets() {
    let server = Running::start(&["--listen=127.0.0.1:0"]);
    let url = server.line("listening on ");
    let publish = ["publish", "--ext", "{\"a\":\"secret\"}", "--debug"];
    let published = output(&[&publish[..], &[&url, "/a", "\"secret\""]].concat());
    assert_eq!(published.status.code(), Some(0));
    let log = text(&published.stderr);
    for part in [
        ">>> websocket /meta/handshake id 1",
        "<<< websocket /meta/handshake id 1, successful",
        // The second connect may come before it.
        ">>> websocket /a id ",
        ", 8 bytes",
    ] {
        assert!(log.contains(part), "{part}: {log}");
    }
    assert!(
        !log.contains("secret") && !log.contains("clientId"),
        "{log}"
    );
    for (flag, why) in [
        ("--header=nonsense", "is no header"),
        ("--ext=[", "is not JSON"),
    ] {
        let wrong = output(&["publish", flag, &url, "/a", "1"]);
        assert_eq!(wrong.status.code(), Some(2));
        assert!(text(&wrong.stderr).contains(why));
    }
}

#[test]
fn the_log_file_is_appended_to() {
    let log = File::new("log", "before\n");
    let mut server = Running::start(&[
        "--listen=127.0.0.1:0",
        "--log-file",
        log.path(),
        "--log-level=info",
    ]);
    server.line("listening on ");
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
    let content = std::fs::read_to_string(log.path()).unwrap();
    assert!(content.starts_with("before\n"), "{content}");
    assert!(content.contains("[INFO] stopped"), "{content}");
}
