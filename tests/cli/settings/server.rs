//! The program with some flags, and a client that notes what it sees of them.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::common::certificates;
use crate::common::program::{Running, bayeux, text};
use crate::common::wait::PATIENCE;

/// What an observer returns if nothing happens in time.
pub(crate) const NOTHING: &str = "nothing";
/// Long enough to see that something does not happen.
const A_WHILE: Duration = Duration::from_millis(400);
/// Shorter than the times that are defaults, so that a setting of a time that has no effect is not
/// taken for one that has.
const SOON: Duration = Duration::from_secs(9);

/// A running program.
pub(crate) struct Server {
    pub(crate) running: Running,
    /// The flag under test; `None` where its default is seen.
    pub(crate) flag: Option<String>,
    pub(crate) folder: Folder,
    /// What it said at the start.
    said: Vec<String>,
    patience: Duration,
}

impl Server {
    /// Starts it; what `{dir}` and `{certificates}` stand for is filled in. An `expected` of
    /// `NOTHING` makes it wait a short time only. The exit code, if the program does not start.
    pub(crate) fn start(flags: &[&str], flag: Option<&str>, expected: &str) -> Result<Self, i32> {
        let folder = Folder::new();
        let flag = flag.map(|flag| folder.fill(flag));
        let mut all = vec!["--listen=127.0.0.1:0".to_owned()];
        all.extend(flags.iter().map(|flag| folder.fill(flag)));
        all.extend(flag.clone());
        let checked = bayeux(&["check"]).args(&all).output().unwrap();
        if let Some(code @ 1..) = checked.status.code() {
            return Err(code);
        }
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        let has = |name: &str| all.iter().any(|flag| flag.starts_with(name));
        let last = if has("--ops-listen") {
            "metrics on "
        } else {
            "listening on "
        };
        let running = Running::start(&all);
        let mut said = Vec::new();
        while !said
            .last()
            .is_some_and(|line: &String| line.starts_with(last))
        {
            said.push(running.line(""));
        }
        let patience = match flag {
            _ if expected == NOTHING => A_WHILE,
            Some(_) => SOON,
            None => PATIENCE,
        };
        Ok(Self {
            running,
            said,
            flag,
            folder,
            patience,
        })
    }

    /// How long to wait for what may happen.
    pub(crate) fn patience(&self) -> Duration {
        self.patience
    }

    /// Where it says that it is reached: under all the lines that begin so.
    pub(crate) fn addresses(&self, beginning: &str) -> Vec<SocketAddr> {
        let rest = self
            .said
            .iter()
            .filter_map(|line| line.strip_prefix(beginning));
        let bare = rest.map(|rest| {
            rest.rsplit("://")
                .next()
                .unwrap()
                .split('/')
                .next()
                .unwrap()
        });
        bare.map(|address| address.parse().unwrap()).collect()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.addresses("listening on ")[0]
    }

    pub(crate) fn connection(&self) -> Connection {
        Connection::open(self.address(), self.patience)
    }

    /// Sends a request on a connection of its own.
    pub(crate) fn request(&self, request: impl AsRef<[u8]>) -> Option<Answer> {
        let mut connection = self.connection();
        connection.send(request);
        connection.answer()
    }

    /// Asks for a path.
    pub(crate) fn get(&self, path: &str) -> Answer {
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
        self.request(request).expect("an answer")
    }

    /// Posts messages.
    pub(crate) fn post(&self, messages: &Value) -> Answer {
        self.request(post("", messages)).expect("an answer")
    }

    /// A session that has connected once.
    pub(crate) fn session(&self) -> Session {
        self.session_with("")
    }

    /// The same with more header lines in all its requests.
    pub(crate) fn session_with(&self, headers: &str) -> Session {
        let mut session = Session {
            connection: Connection::open(self.address(), PATIENCE),
            headers: headers.to_owned(),
            id: String::new(),
        };
        let reply = session.ask(&json!({"channel": "/meta/handshake"}));
        let id = reply[0]["clientId"].as_str();
        session.id = id
            .unwrap_or_else(|| panic!("a session: {reply}"))
            .to_owned();
        let reply = session.ask(&session.connect());
        assert_eq!(reply[0]["successful"], true, "{reply}");
        session.connection.patience = self.patience;
        session
    }

    /// A number of `/metrics`, with its labels if it has some; 0 if there is none.
    pub(crate) fn number(&self, name: &str) -> f64 {
        let line = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok();
        self.numbers().lines().find_map(line).unwrap_or(0.0)
    }

    /// All of them.
    pub(crate) fn numbers(&self) -> String {
        numbers(self.addresses("metrics on ")[0])
    }

    /// Waits for a line on standard error with this in it.
    pub(crate) fn says(&self, part: &str) {
        while !self.running.line("").contains(part) {}
    }

    /// Stops it in good order; all lines on standard error that have not been taken.
    pub(crate) fn last_words(&self) -> Vec<String> {
        self.running.signal("TERM");
        let next = || self.running.lines.recv_timeout(PATIENCE).ok();
        std::iter::from_fn(next).collect()
    }

    /// Waits for something that may come; whether it came.
    pub(crate) fn comes(&self, what: impl Fn() -> bool) -> bool {
        wait(self.patience, what)
    }

    /// Waits for something that has to come.
    pub(crate) fn until(&self, what: impl Fn() -> bool) {
        assert!(wait(PATIENCE, what), "{}", self.numbers());
    }

    /// Waits for a number of `/metrics`; the name, if it came.
    pub(crate) fn counts(&self, name: &str) -> String {
        let comes = self.comes(|| self.number(name) > 0.0);
        if comes { name } else { NOTHING }.to_owned()
    }
}

/// What `/metrics` says.
pub(crate) fn numbers(address: SocketAddr) -> String {
    let mut connection = Connection::open(address, PATIENCE);
    connection.send("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
    connection.answer().expect("the numbers").body
}

fn wait(patience: Duration, what: impl Fn() -> bool) -> bool {
    let end = Instant::now() + patience;
    while !what() {
        if Instant::now() > end {
            return false;
        }
        thread::sleep(Duration::from_millis(10));
    }
    true
}

/// A request that posts messages.
pub(crate) fn post(headers: &str, messages: &Value) -> String {
    post_text(headers, &messages.to_string())
}

/// A request that posts a body.
pub(crate) fn post_text(headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST /cometd HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{headers}\
         Content-Length: {length}\r\n\r\n{body}"
    )
}

/// What came back.
pub(crate) struct Answer {
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn status(&self) -> String {
        self.head.split(' ').nth(1).unwrap().to_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("{}{}", self.head, self.body))
    }

    /// The value of a header, empty if it is not there.
    pub(crate) fn header(&self, name: &str) -> String {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        let line = lines.find(|(other, _)| other.eq_ignore_ascii_case(name));
        line.map(|(_, value)| value.to_owned()).unwrap_or_default()
    }
}

/// A connection to a server.
pub(crate) struct Connection {
    pub(crate) stream: TcpStream,
    read: Vec<u8>,
    patience: Duration,
}

impl Connection {
    pub(crate) fn open(address: SocketAddr, patience: Duration) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            read: Vec::new(),
            patience,
        }
    }

    /// Sends; a server that has closed already is none of its business.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        drop(self.stream.write_all(bytes.as_ref()));
    }

    /// The next answer; `None` if none comes in time, or the connection ends.
    pub(crate) fn answer(&mut self) -> Option<Answer> {
        let end = loop {
            let found = self.read.windows(4).position(|four| four == b"\r\n\r\n");
            match found {
                Some(at) => break at + 4,
                None => self.fill().filter(|read| *read > 0)?,
            };
        };
        let head = text(&self.read[..end]);
        let mut answer = Answer {
            head,
            body: String::new(),
        };
        let length = answer.header("Content-Length").parse().unwrap_or(0);
        while self.read.len() < end + length {
            self.fill().filter(|read| *read > 0)?;
        }
        answer.body = text(&self.read[end..end + length]);
        self.read.drain(..end + length);
        Some(answer)
    }

    /// Whether an answer begins.
    pub(crate) fn begins(&mut self) -> bool {
        self.stream.set_read_timeout(Some(PATIENCE)).unwrap();
        self.stream.peek(&mut [0]).is_ok_and(|read| read > 0)
    }

    /// What comes next: the status of an answer, the end, or nothing.
    pub(crate) fn outcome(&mut self) -> String {
        match self.answer() {
            Some(answer) => answer.status(),
            None => self.end(),
        }
    }

    /// Whether the server closes.
    pub(crate) fn end(&mut self) -> String {
        loop {
            match self.fill() {
                Some(0) => return "closed".to_owned(),
                Some(_) => {}
                None => return NOTHING.to_owned(),
            }
        }
    }

    /// Reads some; `None` if nothing comes in time, 0 at the end.
    fn fill(&mut self) -> Option<usize> {
        self.stream.set_read_timeout(Some(self.patience)).unwrap();
        let mut piece = [0; 65536];
        match self.stream.read(&mut piece) {
            Ok(read) => {
                self.read.extend_from_slice(&piece[..read]);
                Some(read)
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => None,
            Err(_) => Some(0),
        }
    }
}

/// A client with a session.
pub(crate) struct Session {
    pub(crate) connection: Connection,
    headers: String,
    pub(crate) id: String,
}

impl Session {
    /// Sends a message, with the client id.
    pub(crate) fn send(&mut self, message: &Value) {
        let mut message = message.clone();
        if !self.id.is_empty() {
            message["clientId"] = json!(self.id);
        }
        let request = post(&self.headers, &json!([message]));
        self.connection.send(request);
    }

    /// Sends messages in one request, and takes the answer.
    pub(crate) fn send_all(&mut self, messages: &[Value]) {
        let mut messages = messages.to_vec();
        for message in &mut messages {
            message["clientId"] = json!(self.id);
        }
        self.connection.send(post(&self.headers, &json!(messages)));
        self.connection.answer().expect("an answer");
    }

    /// Sends a message and takes the answer.
    pub(crate) fn ask(&mut self, message: &Value) -> Value {
        self.send(message);
        self.connection.answer().expect("an answer").json()
    }

    pub(crate) fn subscribe(&mut self, channel: &str) -> Value {
        self.ask(&json!({"channel": "/meta/subscribe", "subscription": channel}))
    }

    pub(crate) fn publish(&mut self, channel: &str, data: impl Into<Value>) -> Value {
        self.ask(&json!({"channel": channel, "data": data.into()}))
    }

    pub(crate) fn connect(&self) -> Value {
        json!({"channel": "/meta/connect", "connectionType": "long-polling"})
    }

    /// Sends a connect that may be held.
    pub(crate) fn hold(&mut self) {
        self.send(&self.connect());
    }
}

/// A folder with what settings may name; gone with the server.
pub(crate) struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("bayeux-settings-{}-{next}", std::process::id());
        let folder = Self(std::env::temp_dir().join(name));
        fs::create_dir_all(folder.path("pages")).unwrap();
        for (name, content) in [
            ("pages/index.html", "index"),
            ("pages/start.html", "start"),
            ("pages/style.css", "p {}"),
            ("pages/page.odd", "odd"),
            ("key", "a key that linked processes share"),
            ("other", "a key that nobody shares with us"),
        ] {
            fs::write(folder.path(name), content).unwrap();
        }
        let large = fs::File::create(folder.path("pages/large")).unwrap();
        large.set_len(64 << 20).unwrap();
        folder
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// What is in a file; empty if it is not there.
    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// With the names of files in it.
    pub(crate) fn fill(&self, flag: &str) -> String {
        let certificates = certificates::folder();
        flag.replace("{dir}", self.0.to_str().unwrap())
            .replace("{certificates}", certificates.to_str().unwrap())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
