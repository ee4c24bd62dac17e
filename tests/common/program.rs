//! Runs the program and talks to it.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use serde_json::{Value, json};

use super::http::{Connection, Response, request_bytes};
use super::wait::{PATIENCE, until};

/// The program with arguments, without the settings of the environment that runs the tests.
pub(crate) fn bayeux(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bayeux"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("BAYEUX_") {
            command.env_remove(name);
        }
    }
    command.args(arguments).stdin(Stdio::null());
    command
}

pub(crate) fn output(arguments: &[&str]) -> Output {
    bayeux(arguments).output().unwrap()
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A configuration file that is gone after the test.
pub(crate) struct File(PathBuf);

impl File {
    pub(crate) fn new(name: &str, content: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("bayeux-cli-{}-{number}-{name}.toml", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, content).unwrap();
        // It may be a key.
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A running program; killed if the test ends before it does.
pub(crate) struct Running {
    pub(crate) child: Child,
    pub(crate) lines: Receiver<String>,
}

impl Running {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::with_input(arguments, Stdio::null())
    }

    pub(crate) fn with_input(arguments: &[&str], input: Stdio) -> Self {
        let mut command = bayeux(arguments);
        command.stdin(input);
        Self::of(command)
    }

    /// A command that ends in the program.
    pub(crate) fn of(mut command: Command) -> Self {
        // The tests name whom they like, unless that is what they are about.
        let is_told = |flag: &OsStr| flag.to_string_lossy().starts_with("--allowed-host");
        if !command.get_args().any(is_told) {
            command.env("BAYEUX_ALLOWED_HOST", "*");
        }
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = lines_of(child.stderr.take().unwrap());
        Self { child, lines }
    }

    /// The lines on standard output.
    pub(crate) fn output(&mut self) -> Receiver<String> {
        lines_of(self.child.stdout.take().unwrap())
    }

    /// The next line on standard error that begins so, without that beginning.
    pub(crate) fn line(&self, beginning: &str) -> String {
        self.next_line(beginning, |line| {
            Some(line.strip_prefix(beginning)?.to_owned())
        })
    }

    /// The next line on standard error with this in it.
    pub(crate) fn line_with(&self, part: &str) -> String {
        self.next_line(part, |line| line.contains(part).then(|| line.to_owned()))
    }

    fn next_line(&self, wanted: &str, take: impl Fn(&str) -> Option<String>) -> String {
        let mut seen = Vec::new();
        loop {
            let line = self.lines.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|_| panic!("no line {wanted:?} in {seen:?}"));
            if let Some(taken) = take(&line) {
                return taken;
            }
            seen.push(line);
        }
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-s", name, &pid])
                .status()
                .unwrap()
                .success()
        );
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        until("it ends", || {
            let status = self.child.try_wait().unwrap();
            status.ok_or("it runs")
        })
    }
}

/// What is written to a pipe, line by line; read always, so that the writer never waits.
pub(crate) fn lines_of(pipe: impl Read + Send + 'static) -> Receiver<String> {
    let (send, lines) = channel();
    thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            let _ = send.send(line);
        }
    });
    lines
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks for a URL on a connection of its own.
pub(crate) fn ask(method: &str, url: &str, body: &str) -> Response {
    let mut connection = connect(url);
    connection.send(request(method, url, body));
    connection.response()
}

/// A connection on which the server holds a connect.
pub(crate) fn hold(url: &str) -> Connection {
    let mut connection = connect(url);
    let mut reply = |message: &Value| {
        connection.send(request("POST", url, &json!([message]).to_string()));
        connection.response().messages().remove(0)
    };
    let id = reply(&json!({"channel": "/meta/handshake"}))["clientId"].take();
    let poll = json!({"channel": "/meta/connect", "clientId": id,
        "connectionType": "long-polling"});
    reply(&poll);
    connection.send(request("POST", url, &json!([poll]).to_string()));
    connection
}

fn connect(url: &str) -> Connection {
    Connection::open(address(url).parse().unwrap())
}

fn request(method: &str, url: &str, body: &str) -> Vec<u8> {
    let path = url.splitn(4, '/').nth(3).unwrap();
    let headers = "Content-Type: application/json\r\n";
    request_bytes(method, &format!("/{path}"), headers, body.as_bytes())
}

/// Waits until a line is among the metrics.
pub(crate) fn wait_for_number(metrics: &str, line: &str) {
    until(line, || {
        let numbers = ask("GET", metrics, "");
        let there = numbers.text().lines().any(|number| number == line);
        if there {
            Ok(())
        } else {
            Err(numbers.text().to_owned())
        }
    });
}

/// `HOST:PORT` of a URL.
pub(crate) fn address(url: &str) -> &str {
    url.split('/').nth(2).unwrap()
}
