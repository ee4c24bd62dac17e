//! Nodes with little patience, processes that run one test of this program, and a peer that speaks
//! raw bytes.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use bayeux::link::{Config, Key, Node};
use bayeux::tcp::client::Backoff;
use hmac_sha256::HMAC;
use serde_json::{Value, json};

use crate::common::wait::PATIENCE;

pub(crate) const SECRET: &[u8] = b"the secret of all tests";

pub(crate) fn key() -> Key {
    Key::new(SECRET).unwrap()
}

pub(crate) fn config(name: &str) -> Config {
    let mut config = Config::named(name, key());
    config.backoff = Backoff {
        min: Duration::from_millis(50),
        max: Duration::from_millis(400),
        ..Backoff::default()
    };
    config.workers = 2;
    config
}

pub(crate) fn node(name: &str) -> Node {
    Node::start(config(name)).unwrap()
}

/// A node that listens, and where.
pub(crate) fn hub() -> (Node, String) {
    let hub = node("hub");
    let address = hub.listen("127.0.0.1:0").unwrap()[0].to_string();
    (hub, address)
}

pub(crate) fn linked(name: &str, address: &str) -> Node {
    let node = node(name);
    node.connect(address).unwrap();
    node
}

/// Another process that runs one test of this program, which plays a role there.
pub(crate) struct Process {
    child: Child,
    pub(crate) lines: Receiver<String>,
}

impl Process {
    pub(crate) fn start(test: &str, role: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture"])
            .env("LINK_ROLE", role)
            .stdout(Stdio::piped())
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, lines }
    }

    /// Waits for a line that begins so, and skips what comes before.
    pub(crate) fn line(&self, beginning: &str) -> String {
        let end = Instant::now() + PATIENCE;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left);
            let line = line.unwrap_or_else(|_| panic!("no line {beginning:?}"));
            // The test harness may have written before it on the same line.
            if let Some(at) = line.find(beginning) {
                return line[at + beginning.len()..].to_owned();
            }
        }
    }

    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The role of this process, if it was started by [`Process::start`].
pub(crate) fn role() -> Option<String> {
    std::env::var("LINK_ROLE").ok()
}

/// A peer without any manners: raw frames.
pub(crate) struct Raw {
    pub(crate) stream: TcpStream,
    hello: Vec<u8>,
    pub(crate) id: String,
}

impl Raw {
    pub(crate) fn connect(address: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let (hello, id) = (Vec::new(), "ee".repeat(16));
        Self { stream, hello, id }
    }

    pub(crate) fn send(&mut self, frame: &[u8]) -> std::io::Result<()> {
        let mut bytes = u32::try_from(frame.len()).unwrap().to_be_bytes().to_vec();
        bytes.extend_from_slice(frame);
        self.stream.write_all(&bytes)
    }

    pub(crate) fn send_json(&mut self, kind: &str, value: &Value) -> std::io::Result<()> {
        self.send(json_frame(kind, value).as_slice())
    }

    /// The next frame; `None` at the end.
    pub(crate) fn receive(&mut self) -> Option<Vec<u8>> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).ok()?;
        let mut frame = vec![0; u32::from_be_bytes(length) as usize];
        self.stream.read_exact(&mut frame).ok()?;
        Some(frame)
    }

    /// Everything until the end; the reason that the node gives.
    pub(crate) fn until_bye(&mut self) -> Option<String> {
        let mut reason = None;
        while let Some(frame) = self.receive() {
            if let Some(bye) = content("bye", &frame) {
                reason = Some(bye["reason"].as_str().unwrap().to_owned());
            }
        }
        reason
    }

    pub(crate) fn hello(&self, name: &str) -> Vec<u8> {
        let hello = json!({"protocol": "bayeux-link", "versions": [1, 1], "node": self.id,
            "name": name, "nonce": vec![7; 32], "max_frame": 1 << 20});
        json_frame("hello", &hello)
    }

    /// Introduces itself, and returns the proof that belongs to it.
    pub(crate) fn greet(&mut self, name: &str, secret: &[u8]) -> Vec<u8> {
        let theirs = self.receive().unwrap();
        self.hello = self.hello(name);
        let hello = self.hello.clone();
        self.send(&hello).unwrap();
        let mut mac = HMAC::new(secret);
        mac.update(b"bayeux-link connector");
        for hello in [&hello, &theirs] {
            mac.update((hello.len() as u64).to_be_bytes());
            mac.update(hello);
        }
        json_frame("proof", &json!(mac.finalize().as_slice()))
    }

    /// A peer that is let in, with this node's state announced.
    pub(crate) fn linked(address: &str, name: &str, aliases: &Value) -> Self {
        let mut raw = Self::connect(address);
        let proof = raw.greet(name, SECRET);
        raw.send(&proof).unwrap();
        assert!(content("proof", &raw.receive().unwrap()).is_some());
        let hub = content("news", &raw.receive().unwrap()).unwrap();
        let news = json!({"origin": raw.id, "seq": 1, "name": name, "peers": [hub["origin"]],
            "aliases": aliases});
        raw.send_json("news", &news).unwrap();
        raw
    }
}

fn json_frame(kind: &str, value: &Value) -> Vec<u8> {
    json!({ kind: value }).to_string().into_bytes()
}

/// What a frame says, if it is of that kind.
pub(crate) fn content(kind: &str, frame: &[u8]) -> Option<Value> {
    let mut frame: Value = serde_json::from_slice(frame).ok()?;
    frame.as_object_mut()?.remove(kind)
}
