//! The program, run as users run it: arguments, configuration files, signals, exit codes.

#![cfg(feature = "cli")]

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

/// Longer than anything takes that works.
const PATIENCE: Duration = Duration::from_secs(20);

/// The program with arguments, without the settings of the environment that runs the tests.
fn bayeux(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bayeux"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("BAYEUX_") {
            command.env_remove(name);
        }
    }
    command.args(arguments).stdin(Stdio::null());
    command
}

fn output(arguments: &[&str]) -> Output {
    bayeux(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A configuration file that is gone after the test.
struct File(PathBuf);

impl File {
    fn new(name: &str, content: &str) -> Self {
        let name = format!("bayeux-cli-{}-{name}.toml", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, content).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A running server; killed if the test ends before it does.
struct Running {
    child: Child,
    lines: Receiver<String>,
}

impl Running {
    fn start(arguments: &[&str]) -> Self {
        let mut child = bayeux(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = child.stderr.take().unwrap();
        let (send, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let _ = send.send(line);
            }
        });
        Self { child, lines }
    }

    /// The next line on standard error that begins so, without that beginning.
    fn line(&self, beginning: &str) -> String {
        let mut seen = Vec::new();
        loop {
            let line = self.lines.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|_| panic!("no line {beginning:?} in {seen:?}"));
            if let Some(rest) = line.strip_prefix(beginning) {
                return rest.to_owned();
            }
            seen.push(line);
        }
    }

    #[cfg(unix)]
    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-s", name, &pid])
                .status()
                .unwrap()
                .success()
        );
    }

    fn wait(&mut self) -> ExitStatus {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            thread::sleep(Duration::from_millis(5));
        }
        panic!("still running");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The answer to a GET of a printed address.
fn get(url: &str) -> String {
    let rest = url.strip_prefix("http://").unwrap();
    let (address, path) = rest.split_once('/').unwrap();
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = format!("GET /{path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    std::io::Write::write_all(&mut stream, request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

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
        exe()
    );
    let output = Command::new("sh").args(["-c", &command]).output().unwrap();
    let printed = text(&output.stdout);
    assert!(
        printed.lines().any(|line| line == "max_connections = 1800"),
        "{printed}"
    );
}

#[cfg(target_os = "linux")]
fn exe() -> &'static str {
    env!("CARGO_BIN_EXE_bayeux")
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
#[cfg(unix)]
fn every_address_is_announced_and_a_signal_stops_with_exit_code_0() {
    for (signal, connector) in [("TERM", "native"), ("INT", "tiny-http")] {
        let mut server = Running::start(&[
            "--listen=127.0.0.1:0",
            "--listen=127.0.0.1:0",
            "--path=/bayeux",
            "--shutdown-timeout=1s",
            "--connector",
            connector,
        ]);
        for _ in 0..2 {
            let url = server.line("listening on ");
            assert!(
                url.starts_with("http://127.0.0.1:") && url.ends_with("/bayeux"),
                "{url}"
            );
        }
        let demo = server.line("open ");
        assert!(
            demo.ends_with("/ in a browser for the demo pages"),
            "{demo}"
        );
        server.signal(signal);
        let start = Instant::now();
        assert_eq!(server.wait().code(), Some(0));
        assert!(start.elapsed() < Duration::from_secs(3));
    }
}

#[test]
#[cfg(unix)]
fn a_second_signal_ends_it_at_once() {
    use std::os::unix::process::ExitStatusExt;
    let mut server = Running::start(&["--listen=127.0.0.1:0", "--shutdown-timeout=60s"]);
    let url = server.line("listening on ");
    let held = hold(&url);
    server.signal("TERM");
    server.line("");
    thread::sleep(Duration::from_millis(100));
    assert!(
        server.child.try_wait().unwrap().is_none(),
        "drains while a client is held"
    );
    server.signal("INT");
    assert_eq!(server.wait().signal(), Some(2));
    drop(held);
}

fn hold(_url: &str) {}

#[test]
#[cfg(unix)]
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
    let content = std::fs::read_to_string(Path::new(log.path())).unwrap();
    assert!(content.starts_with("before\n"), "{content}");
    assert!(content.contains("[INFO] stopped"), "{content}");
}
