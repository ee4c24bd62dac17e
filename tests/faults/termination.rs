//! SIGTERM while everybody is busy.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use super::program::Program;
use super::scale::{alone, few, lenient, metric, post, tell, until};
use super::stopped::{Publisher, Reader};
use crate::common::websocket::{Frame, Socket, frame};

const PATIENCE: Duration = Duration::from_secs(20);
/// The time that the server is given.
const DEADLINE: Duration = Duration::from_secs(5);
/// Clients of each kind.
const EACH: usize = 100;

/// When the signal was sent.
type Told = Mutex<Option<Instant>>;

/// What a client of some kind has to say in the end: how many messages it has seen.
type Life = fn(SocketAddr, &Told) -> Result<usize, String>;

const LIVES: [(&str, Life); 4] = [
    ("poller", poller),
    ("publisher", publisher),
    ("WebSocket", websocket),
    ("EventSource", event_source),
];

#[test]
fn everybody_gets_an_answer_or_a_close_frame() {
    let _alone = alone();
    let each = few(EACH);
    let mut program = Program::start(&["--shutdown-timeout=5s"]);
    let told = Told::default();
    let address = program.address;
    std::thread::scope(|scope| {
        let clients: Vec<_> = LIVES
            .iter()
            .flat_map(|kind| std::iter::repeat_n(kind, each))
            .map(|(kind, life)| {
                let builder = std::thread::Builder::new().stack_size(256 << 10);
                let told = &told;
                let run = move || life(address, told).map_err(|fault| format!("{kind}: {fault}"));
                (kind, builder.spawn_scoped(scope, run).expect("a thread"))
            })
            .collect();
        until("all are there", PATIENCE, || {
            metric(&program, "sessions") == (4 * each) as f64
        });
        until("all are busy", PATIENCE, || {
            metric(&program, "messages_out_total") > (100 * each) as f64
        });
        *told.lock().unwrap() = Some(Instant::now());
        program.signal(Signal::TERM);
        let begun = Instant::now();
        let status = program.ended(lenient(DEADLINE + Duration::from_secs(1)));
        let took = begun.elapsed();
        let mut faults = Vec::new();
        let mut seen = 0;
        for (_, client) in clients {
            match client.join().expect("the clients themselves do not fail") {
                Ok(messages) => seen += messages,
                Err(fault) => faults.push(fault),
            }
        }
        tell(&format!(
            "\n== SIGTERM: {each} clients of each kind had seen {seen} messages; {status:?} \
             after {took:.2?}, the last client had its end after {:.2?}",
            begun.elapsed()
        ));
        let count = faults.len();
        faults.truncate(10);
        assert_eq!(faults, Vec::<String>::new(), "{count} in all");
        assert_eq!(status.and_then(|status| status.code()), Some(0));
        assert!(seen > 0);
    });
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let _alone = alone();
    let flags = ["--shutdown-timeout=20s", "--write-timeout=20s"];
    let mut program = Program::start(&flags);
    let reader = Reader::subscribed(&program, "/stopped");
    reader.signal(Signal::STOP);
    // With that unsent, it would wait.
    Publisher::new(&program).fill(&program, "/stopped");
    program.signal(Signal::TERM);
    assert_eq!(program.ended(Duration::from_millis(300)), None);
    program.signal(Signal::TERM);
    let begun = Instant::now();
    let status = program.ended(lenient(Duration::from_secs(1)));
    tell(&format!(
        "\n== a second SIGTERM: {status:?} after {:.2?}",
        begun.elapsed()
    ));
    let signal = status.and_then(|status| status.signal());
    assert_eq!(signal, Some(Signal::TERM.as_raw()));
}

/// Whether that was sent before the signal.
fn is_before(sent: Instant, told: &Told) -> bool {
    told.lock().unwrap().is_none_or(|at| sent < at)
}

/// A response: the head and the body. `None` if the connection has ended instead.
fn response(stream: &mut TcpStream) -> Result<Option<(String, String)>, String> {
    let mut text = String::new();
    let mut piece = [0; 65536];
    loop {
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let mut lines = head.lines();
            let length = lines.find_map(|line| line.strip_prefix("Content-Length: "));
            let length: usize = length.ok_or(head)?.parse().map_err(|_| head)?;
            if body.len() >= length {
                return Ok(Some((head.to_owned(), body.to_owned())));
            }
        }
        match stream.read(&mut piece) {
            Ok(n @ 1..) => text.push_str(&String::from_utf8_lossy(&piece[..n])),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                return Err(format!("nothing comes after {text:?}"));
            }
            _ if text.is_empty() => return Ok(None),
            _ => return Err(format!("the end after {text:?}")),
        }
    }
}

/// Over a connection of its own, until the server closes it.
struct Http<'a> {
    stream: TcpStream,
    told: &'a Told,
}

impl<'a> Http<'a> {
    fn open(address: SocketAddr, told: &'a Told) -> Self {
        let stream = TcpStream::connect(address).expect("the server accepts");
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, told }
    }

    /// The items of the answer, and whether it was the last. `None` for one that came too late: a
    /// connection on which nothing is asked is closed without a word.
    fn ask(&mut self, message: &Value) -> Result<Option<(Vec<Value>, bool)>, String> {
        let sent = Instant::now();
        if self.stream.write_all(&post(message)).is_err() && !is_before(sent, self.told) {
            return Ok(None);
        }
        let Some((head, body)) = response(&mut self.stream)? else {
            return match is_before(sent, self.told) {
                true => Err(format!("no answer to {message}")),
                false => Ok(None),
            };
        };
        let items = serde_json::from_str(&body).map_err(|_| format!("{head}\n{body}"))?;
        Ok(Some((items, head.contains("Connection: close"))))
    }

    /// A session that is subscribed.
    fn session(&mut self) -> Result<String, String> {
        let reply = self.asked(&json!({"channel": "/meta/handshake"}))?;
        let id = reply["clientId"].as_str().ok_or("no session")?.to_owned();
        let subscribe =
            json!({"channel": "/meta/subscribe", "clientId": id, "subscription": "/load"});
        self.asked(&subscribe)?;
        Ok(id)
    }

    fn asked(&mut self, message: &Value) -> Result<Value, String> {
        let (mut items, _) = self.ask(message)?.ok_or("over before it began")?;
        Ok(items.remove(0))
    }
}

fn poller(address: SocketAddr, told: &Told) -> Result<usize, String> {
    let mut http = Http::open(address, told);
    let id = http.session()?;
    let connect = json!({"channel": "/meta/connect", "clientId": id});
    let mut seen = 0;
    while let Some((items, last)) = http.ask(&connect)? {
        seen += items.len() - 1;
        if last {
            return closed(&mut http.stream).map(|()| seen);
        }
    }
    Ok(seen)
}

fn publisher(address: SocketAddr, told: &Told) -> Result<usize, String> {
    let mut http = Http::open(address, told);
    let id = http.session()?;
    let message = json!({"channel": "/load", "clientId": id, "data": "x"});
    let mut seen = 0;
    while let Some((items, last)) = http.ask(&message)? {
        seen += items.len() - 1;
        if last {
            return closed(&mut http.stream).map(|()| seen);
        }
        // As many in all, whatever their number.
        std::thread::sleep(Duration::from_millis(20) * few(EACH) as u32);
    }
    Ok(seen)
}

/// Nothing more comes.
fn closed(stream: &mut TcpStream) -> Result<(), String> {
    match response(stream)? {
        None => Ok(()),
        Some((head, _)) => Err(format!("after the last response: {head}")),
    }
}

fn websocket(address: SocketAddr, _told: &Told) -> Result<usize, String> {
    let mut socket = Socket::open(address).upgraded();
    let id = socket.handshake();
    let say = |socket: &mut Socket, message: &Value| {
        let text = json!([message]).to_string();
        // What is said after the close frame is not heard.
        let _ = socket.stream.write_all(&frame(0x81, text.as_bytes()));
    };
    say(
        &mut socket,
        &json!({"channel": "/meta/subscribe", "clientId": id, "subscription": "/load"}),
    );
    say(
        &mut socket,
        &json!({"channel": "/meta/connect", "clientId": id}),
    );
    let mut seen = 0;
    loop {
        match socket.frame_within(PATIENCE) {
            Some(Frame::Text(text)) => {
                seen += 1;
                if seen % 1000 == 1 {
                    say(
                        &mut socket,
                        &json!({"channel": "/load", "clientId": id, "data": "x"}),
                    );
                }
                if text.contains("\"/meta/connect\"") {
                    say(
                        &mut socket,
                        &json!({"channel": "/meta/connect", "clientId": id}),
                    );
                }
            }
            Some(Frame::Close(1001, _)) => break,
            other => return Err(format!("{other:?} instead of a close frame")),
        }
    }
    match socket.frame_within(PATIENCE) {
        Some(Frame::End) => Ok(seen),
        other => Err(format!("{other:?} after the close frame")),
    }
}

fn event_source(address: SocketAddr, told: &Told) -> Result<usize, String> {
    let mut http = Http::open(address, told);
    let id = http.session()?;
    let ask = format!("GET /cometd/{id} HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n");
    http.stream
        .write_all(ask.as_bytes())
        .map_err(|error| error.to_string())?;
    let mut text = String::new();
    http.stream
        .read_to_string(&mut text)
        .map_err(|error| format!("{error} in the middle of a stream"))?;
    if is_before(Instant::now(), told) || !text.ends_with("\n\n") {
        return Err(format!("a stream ends with {:?}", text.lines().last()));
    }
    Ok(text.matches("\"channel\":\"/load\"").count())
}
