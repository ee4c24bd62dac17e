//! A scripted HTTP server that speaks just enough Bayeux for one client, and remembers what it was
//! sent.

#![allow(dead_code, reason = "each test binary uses a part")]

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use bayeux::client::{Client, ClientBuilder};
use serde_json::{Value, json};

/// Longer than anything takes here.
pub(crate) const LONG: Duration = Duration::from_secs(20);

/// A client with little patience.
pub(crate) fn quick(url: &str) -> ClientBuilder {
    let (first, longest) = (Duration::from_millis(20), Duration::from_millis(200));
    Client::builder(url)
        .backoff(first, longest)
        .connect_timeout(LONG)
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

/// The server. It ends with the process.
pub(crate) struct Server {
    pub(crate) addr: SocketAddr,
    inner: Arc<Inner>,
}

struct Inner {
    state: Mutex<State>,
    changed: Condvar,
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
}

impl Server {
    /// Listens on a free port.
    pub(crate) fn start() -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").unwrap())
    }

    pub(crate) fn on(listener: TcpListener) -> Self {
        let addr = listener.local_addr().unwrap();
        let (state, changed) = (Mutex::default(), Condvar::new());
        let inner = Arc::new(Inner { state, changed });
        let shared = Arc::clone(&inner);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                thread::spawn(move || shared.serve(&stream));
            }
        });
        Self { addr, inner }
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
        for _ in 0..1000 {
            let messages = self.messages(channel);
            if messages.len() >= count {
                return messages;
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("no {count} messages of {channel}: {:#?}", self.requests())
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

    fn serve(&self, mut stream: &TcpStream) {
        self.lock().connections += 1;
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        while let Some((head, body)) = read_request(&mut reader) {
            let request = Request {
                head,
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
            let body = match script {
                Some((_, Script::Hangup)) => return,
                Some((_, Script::Raw(bytes))) => {
                    let _ = stream.write_all(&bytes);
                    return;
                }
                Some((_, Script::Json(json))) => {
                    let id = request.messages()[0]["id"]
                        .as_str()
                        .unwrap_or("")
                        .to_owned();
                    json.replace("ID", &id)
                }
                Some((_, Script::Delay(delay))) => {
                    thread::sleep(delay);
                    self.answer(&request)
                }
                None => self.answer(&request),
            };
            if stream.write_all(self.response(&body).as_bytes()).is_err() {
                return;
            }
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
                reply["supportedConnectionTypes"] = json!(["long-polling"]);
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
    let head = head.to_ascii_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"))?;
    let mut body = vec![0; length.trim().parse().ok()?];
    reader.read_exact(&mut body).ok()?;
    Some((head, String::from_utf8(body).ok()?))
}
