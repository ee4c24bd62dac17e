//! A scripted server that speaks just enough Bayeux for one client, over HTTP and WebSocket, and
//! remembers what it was sent.

pub(crate) mod frames;

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use bayeux::client::{Client, ClientBuilder, Transport};
use serde_json::{Value, json};

use crate::common::wait::{PATIENCE, until};

/// A client with little patience, on long-polling.
pub(crate) fn quick(url: &str) -> ClientBuilder {
    let (first, longest) = (Duration::from_millis(20), Duration::from_millis(200));
    Client::builder(url)
        .transport(Transport::LongPolling)
        .backoff(first, longest)
        .connect_timeout(PATIENCE)
}

/// One request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// The request line and the headers, in lower case.
    pub(crate) head: String,
    pub(crate) body: String,
    pub(crate) at: Instant,
}

/// What to do with the next request that has a message of a certain channel.
pub(crate) enum Script {
    /// Send these bytes, and close the connection.
    Raw(Vec<u8>),
    /// Answer with these messages, with `ID` replaced by the id of the first.
    Json(&'static str),
    /// Close without an answer.
    Hangup,
    /// Answer in the usual way, but so much later.
    Delay(Duration),
}

/// What to do with a request that wants to be a WebSocket.
#[derive(Clone, Copy, Default)]
pub(crate) enum Upgrade {
    /// Close the connection.
    #[default]
    Hangup,
    Accept,
    /// Never answer.
    Silence,
    /// Send these bytes, and close the connection.
    Answer(&'static [u8]),
}

/// The server. It ends with the process.
pub(crate) struct Server {
    pub(crate) addr: SocketAddr,
    inner: Arc<Inner>,
}

struct Inner {
    state: Mutex<State>,
    changed: Condvar,
    /// Held while nothing is read from WebSockets.
    reading: Mutex<()>,
}

/// Reads while it may.
struct Gated<'a, R>(R, &'a Mutex<()>);

impl<R: Read> Read for Gated<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        drop(self.1.lock().unwrap());
        self.0.read(buffer)
    }
}

#[derive(Default)]
struct State {
    connections: usize,
    sessions: usize,
    requests: Vec<Request>,
    scripts: VecDeque<(&'static str, Script)>,
    /// Messages for the next connect reply, as JSON objects.
    pushes: Vec<String>,
    /// Sessions that said goodbye.
    gone: Vec<Value>,
    cookie: Option<&'static str>,
    hold: Option<Duration>,
    upgrade: Upgrade,
    /// Heads of requests for an upgrade.
    upgrades: Vec<String>,
    /// Control frames that came: the first byte and the payload.
    controls: Vec<(u8, Vec<u8>)>,
}

impl Server {
    /// Listens on a free port.
    pub(crate) fn start() -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").unwrap())
    }

    pub(crate) fn on(listener: TcpListener) -> Self {
        let addr = listener.local_addr().unwrap();
        let (state, changed) = (Mutex::default(), Condvar::new());
        let reading = Mutex::default();
        let inner = Arc::new(Inner {
            state,
            changed,
            reading,
        });
        let shared = Arc::clone(&inner);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                thread::spawn(move || Inner::serve(&shared, &stream));
            }
        });
        Self { addr, inner }
    }

    pub(crate) fn set_upgrade(&self, upgrade: Upgrade) {
        self.inner.lock().upgrade = upgrade;
    }

    /// Nothing more is read from WebSockets for as long as this is held, but for what a read that
    /// is under way takes.
    pub(crate) fn stop_reading(&self) -> std::sync::MutexGuard<'_, ()> {
        self.inner.reading.lock().unwrap()
    }

    pub(crate) fn upgrades(&self) -> Vec<String> {
        self.inner.lock().upgrades.clone()
    }

    /// Waits for a control frame of that kind.
    pub(crate) fn control(&self, first: u8) -> Vec<u8> {
        until("a control frame", || {
            let mut state = self.inner.lock();
            let at = state.controls.iter().position(|(byte, _)| *byte == first);
            at.map(|at| state.controls.remove(at).1).ok_or(first)
        })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/cometd", self.addr)
    }

    /// The next request with a message of that channel is answered so.
    pub(crate) fn script(&self, channel: &'static str, script: Script) {
        self.inner.lock().scripts.push_back((channel, script));
    }

    /// Delivers a message by the connect.
    pub(crate) fn push(&self, message: &Value) {
        self.inner.lock().pushes.push(message.to_string());
        self.inner.changed.notify_all();
    }

    pub(crate) fn set_cookie(&self, cookie: &'static str) {
        self.inner.lock().cookie = Some(cookie);
    }

    /// How long connects are held from now on; 30 s at first.
    pub(crate) fn set_hold(&self, hold: Duration) {
        self.inner.lock().hold = Some(hold);
    }

    pub(crate) fn connections(&self) -> usize {
        self.inner.lock().connections
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.inner.lock().requests.clone()
    }

    /// All messages of that channel, in the order they came.
    pub(crate) fn messages(&self, channel: &str) -> Vec<Value> {
        let all = self.requests();
        let all = all.iter().flat_map(Request::messages);
        all.filter(|message| message["channel"] == channel)
            .collect()
    }

    /// Waits until so many messages of that channel have come.
    pub(crate) fn wait_for(&self, channel: &str, count: usize) -> Vec<Value> {
        until(channel, || {
            let messages = self.messages(channel);
            if messages.len() >= count {
                Ok(messages)
            } else {
                Err(self.requests())
            }
        })
    }
}

impl Request {
    pub(crate) fn messages(&self) -> Vec<Value> {
        serde_json::from_str(&self.body).unwrap_or_default()
    }

    pub(crate) fn channels(&self) -> Vec<String> {
        let channel = |message: &Value| message["channel"].as_str().unwrap_or("?").to_owned();
        self.messages().iter().map(channel).collect()
    }
}

impl Inner {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn serve(this: &Arc<Self>, mut stream: &TcpStream) {
        this.lock().connections += 1;
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        while let Some((head, body)) = read_request(&mut reader) {
            if head.starts_with("get ") {
                return Self::upgrade(this, reader, stream, &head);
            }
            match this.respond(&head, body) {
                Ok(body) if stream.write_all(this.response(&body).as_bytes()).is_ok() => {}
                Ok(_) => return,
                Err(bytes) => return drop(stream.write_all(&bytes)),
            }
        }
    }

    fn upgrade(this: &Arc<Self>, reader: impl BufRead, mut stream: &TcpStream, head: &str) {
        let (upgrade, cookie) = {
            let mut state = this.lock();
            state.upgrades.push(head.to_ascii_lowercase());
            (state.upgrade, state.cookie)
        };
        match upgrade {
            Upgrade::Hangup => {}
            Upgrade::Silence => thread::sleep(PATIENCE),
            Upgrade::Answer(bytes) => drop(stream.write_all(bytes)),
            Upgrade::Accept => {
                let answer = frames::accept(head, cookie);
                stream.write_all(answer.as_bytes()).unwrap();
                Self::socket(this, reader, stream, head);
            }
        }
    }

    /// Answers each message in a thread of its own, as some answers take their time.
    fn socket(this: &Arc<Self>, reader: impl BufRead, stream: &TcpStream, head: &str) {
        let mut reader = Gated(reader, &this.reading);
        let writer = Arc::new(Mutex::new(stream.try_clone().unwrap()));
        while let Some((first, payload)) = frames::read(&mut reader) {
            if first != 0x81 {
                this.lock().controls.push((first, payload.clone()));
                if first == 0x88 {
                    let _ = writer
                        .lock()
                        .unwrap()
                        .write_all(&frames::frame(0x88, &payload));
                    return;
                }
                continue;
            }
            let (this, writer, head) = (Arc::clone(this), Arc::clone(&writer), head.to_owned());
            thread::spawn(move || {
                let answer = this.respond(&head, String::from_utf8(payload).unwrap());
                let mut writer = writer.lock().unwrap();
                let _ = match answer {
                    Ok(body) => writer.write_all(&frames::frame(0x81, body.as_bytes())),
                    Err(bytes) if bytes.is_empty() => writer.shutdown(std::net::Shutdown::Both),
                    Err(bytes) => writer.write_all(&bytes),
                };
            });
        }
    }

    /// The body of the answer, or what is to be sent instead of one.
    fn respond(&self, head: &str, body: String) -> Result<String, Vec<u8>> {
        let request = Request {
            head: head.to_ascii_lowercase(),
            body,
            at: Instant::now(),
        };
        let mut state = self.lock();
        state.requests.push(request.clone());
        let channels = request.channels();
        let position = state
            .scripts
            .iter()
            .position(|(channel, _)| channels.iter().any(|candidate| candidate == channel));
        let script = position.and_then(|position| state.scripts.remove(position));
        drop(state);
        match script {
            Some((_, Script::Hangup)) => Err(Vec::new()),
            Some((_, Script::Raw(bytes))) => Err(bytes),
            Some((_, Script::Json(json))) => {
                let id = request.messages()[0]["id"]
                    .as_str()
                    .unwrap_or("")
                    .to_owned();
                Ok(json.replace("ID", &id))
            }
            Some((_, Script::Delay(delay))) => {
                thread::sleep(delay);
                Ok(self.answer(&request))
            }
            None => Ok(self.answer(&request)),
        }
    }

    fn response(&self, body: &str) -> String {
        let cookie = self.lock().cookie;
        let cookie = cookie.map(|cookie| format!("Set-Cookie: {cookie}\r\n"));
        format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{}\
             Content-Length: {}\r\n\r\n{body}",
            cookie.unwrap_or_default(),
            body.len()
        )
    }

    fn answer(&self, request: &Request) -> String {
        let replies = request
            .messages()
            .iter()
            .map(|message| self.reply(message))
            .collect();
        let replies: Vec<String> = replies;
        format!("[{}]", replies.join(","))
    }

    fn reply(&self, message: &Value) -> String {
        let mut reply = json!({
            "channel": message["channel"], "id": message["id"], "successful": true,
        });
        let mut state = self.lock();
        match message["channel"].as_str().unwrap_or_default() {
            "/meta/handshake" => {
                state.sessions += 1;
                reply["clientId"] = json!(format!("session{}", state.sessions));
                reply["version"] = json!("1.0");
                reply["supportedConnectionTypes"] = json!(["websocket", "long-polling"]);
                reply["advice"] = json!({"reconnect": "retry", "interval": 0, "timeout": 30_000});
            }
            "/meta/connect" => {
                let hold = match &message["advice"]["timeout"] {
                    Value::Number(_) => Duration::ZERO,
                    _ => state.hold.unwrap_or(Duration::from_secs(30)),
                };
                let me = &message["clientId"];
                let quiet = |state: &mut State| state.pushes.is_empty() && !state.gone.contains(me);
                let (mut state, _) = self.changed.wait_timeout_while(state, hold, quiet).unwrap();
                let mut answer = std::mem::take(&mut state.pushes);
                if state.gone.contains(me) {
                    reply["advice"] = json!({"reconnect": "none"});
                }
                answer.push(reply.to_string());
                return answer.join(",");
            }
            "/meta/disconnect" => {
                state.gone.push(message["clientId"].clone());
                self.changed.notify_all();
            }
            "/meta/subscribe" | "/meta/unsubscribe" => {
                reply["subscription"] = message["subscription"].clone();
            }
            service if service.starts_with("/service/") => {
                let answer = json!({
                    "channel": service, "id": message["id"], "data": {"echo": message["data"]},
                });
                return format!("{answer},{reply}");
            }
            _ => {}
        }
        reply.to_string()
    }
}

fn read_request(reader: &mut impl BufRead) -> Option<(String, String)> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let lower = head.to_ascii_lowercase();
    if lower.starts_with("get ") {
        return Some((head.replacen("GET", "get", 1), String::new()));
    }
    let length = lower
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"))?;
    let mut body = vec![0; length.trim().parse().ok()?];
    reader.read_exact(&mut body).ok()?;
    Some((head, String::from_utf8(body).ok()?))
}
