//! A WebSocket reader whose process is stopped, for good or for a while.

use std::io::Read;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::good::Good;
use super::program::Program;
use super::scale::{alone, few, lenient, metric, post, session, span, tell, tell_latencies, until};
use crate::common::http::Connection;
use crate::common::websocket::{Frame, Socket, parse};

/// A session over WebSocket that another process reads: it copies the frames to a pipe.
pub(crate) struct Reader {
    child: Child,
    frames: Arc<Mutex<Vec<u8>>>,
}

impl Reader {
    /// Subscribes to the channel.
    pub(crate) fn subscribed(program: &Program, channel: &str) -> Self {
        let mut socket = Socket::open(program.address);
        // So that not much fits between the server and a reader that does not read. With less than
        // a segment of the loopback interface the kernel would trickle.
        let options = socket2::SockRef::from(&socket.stream);
        options.set_recv_buffer_size(256 << 10).unwrap();
        socket = socket.upgraded();
        let id = socket.handshake();
        for message in [
            json!({"channel": "/meta/subscribe", "clientId": id, "subscription": channel}),
            json!({"channel": "/meta/connect", "clientId": id, "advice": {"timeout": 0}}),
        ] {
            socket.tell(&message);
            assert_eq!(socket.item()["successful"], true);
        }
        socket.tell(&json!({"channel": "/meta/connect", "clientId": id}));
        let mut child = Command::new("cat")
            .stdin(OwnedFd::from(socket.stream))
            .stdout(Stdio::piped())
            .spawn()
            .expect("cat");
        let frames: Arc<Mutex<Vec<u8>>> = Arc::default();
        let (mut pipe, sink) = (child.stdout.take().unwrap(), Arc::clone(&frames));
        std::thread::spawn(move || {
            let mut piece = [0; 65536];
            while let Ok(n @ 1..) = pipe.read(&mut piece) {
                sink.lock().unwrap().extend_from_slice(&piece[..n]);
            }
        });
        Self { child, frames }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("the reader runs");
    }

    /// The items that have come since this was asked.
    fn items(&self) -> Vec<Value> {
        let mut bytes = self.frames.lock().unwrap();
        let mut items = Vec::new();
        while let Some((frame, taken)) = parse(&bytes) {
            bytes.drain(..taken);
            if let Frame::Text(text) = frame {
                let messages: Vec<Value> = serde_json::from_str(&text).unwrap();
                items.extend(messages);
            }
        }
        items
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Publishes numbers, each in a large message.
pub(crate) struct Publisher {
    connection: Connection,
    id: String,
    next: u64,
    padding: String,
}

impl Publisher {
    pub(crate) fn new(program: &Program) -> Self {
        let mut connection = Connection::open(program.address);
        let id = session(&mut connection);
        Self {
            connection,
            id,
            next: 0,
            padding: "x".repeat(20_000),
        }
    }

    fn publish(&mut self, channel: &str) {
        let data = json!([self.next, self.padding]);
        let message = json!({"channel": channel, "clientId": self.id, "data": data});
        self.connection.send(post(&message));
        assert_eq!(self.connection.response().messages()[0]["successful"], true);
        self.next += 1;
    }

    /// Until some of it has to wait in the reader's queue.
    pub(crate) fn fill(&mut self, program: &Program, channel: &str) {
        for _ in 0..100 {
            (0..20).for_each(|_| self.publish(channel));
            if metric(program, "queued_messages") > 5.0 {
                return;
            }
        }
        panic!("the kernel's buffers have an end");
    }
}

#[test]
fn a_stopped_reader_delays_nobody_and_is_cut() {
    const QUEUE: f64 = 1_048_576.0;
    const WRITE_TIMEOUT: Duration = Duration::from_secs(2);
    let _alone = alone();
    tell("\n== a WebSocket reader that is stopped");
    let program = Program::start(&[
        "--write-timeout=2s",
        "--max-queue-bytes=1MiB",
        "--overflow=drop-newest",
        "--max-interval=2s",
        "--timeout=2s",
    ]);
    let good = Good::start(program.address, few(100));
    good.measured(span().min(Duration::from_secs(2)));
    let peace = good.measured(span());
    let before = metric(&program, "connections");
    let reader = Reader::subscribed(&program, "/stopped");
    let mut publisher = Publisher::new(&program);
    assert_eq!(metric(&program, "connections"), before + 2.0);
    reader.signal(Signal::STOP);
    let (mut most, mut cut) = (0.0_f64, None);
    let stopped = std::thread::scope(|scope| {
        let stopped = scope.spawn(|| good.measured(span()));
        publisher.fill(&program, "/stopped");
        let stuck = Instant::now();
        while !stopped.is_finished() || cut.is_none() {
            publisher.publish("/stopped");
            let now = program.metrics();
            most = most.max(now.get("bayeux_queued_bytes"));
            if cut.is_none() && now.get("bayeux_connections") <= before + 1.0 {
                cut = Some(stuck.elapsed());
            }
            assert!(stuck.elapsed() < Duration::from_secs(20), "it is not cut");
            std::thread::sleep(Duration::from_millis(5));
        }
        stopped.join().expect("latencies")
    });
    let cut = cut.expect("it was waited for");
    tell(&format!(
        "   cut {cut:.2?} after its queue began to grow; {most} bytes were queued at the most",
    ));
    tell_latencies("others", &peace, &stopped);
    assert!(most > 100_000.0 && most <= QUEUE, "{most} bytes queued");
    assert!(
        cut < lenient(WRITE_TIMEOUT + Duration::from_secs(1)),
        "{cut:?}"
    );
    until(
        "its session has gone",
        lenient(Duration::from_secs(5)),
        || metric(&program, "queued_messages") == 0.0,
    );
    assert_eq!(good.stop(), Vec::<String>::new());
    assert!(stopped.p99_ms() < 1000.0, "{} ms", stopped.p99_ms());
}

#[test]
fn a_reader_that_goes_on_in_time_gets_what_was_kept_in_order() {
    let _alone = alone();
    let program = Program::start(&["--max-queue-bytes=64MiB"]);
    let reader = Reader::subscribed(&program, "/stopped");
    let mut publisher = Publisher::new(&program);
    for round in 0..3 {
        let first = publisher.next;
        reader.signal(Signal::STOP);
        publisher.fill(&program, "/stopped");
        let kept = metric(&program, "queued_messages");
        reader.signal(Signal::CONT);
        publisher.publish("/stopped");
        let mut got: Vec<u64> = Vec::new();
        until(
            "everything has come",
            lenient(Duration::from_secs(5)),
            || {
                let items = reader.items();
                got.extend(items.iter().filter_map(|item| item["data"][0].as_u64()));
                got.last() == Some(&(publisher.next - 1))
            },
        );
        let expected: Vec<u64> = (first..publisher.next).collect();
        assert_eq!(got, expected, "round {round}");
        tell(&format!(
            "\n== a reader that is stopped and goes on: {} messages in order, of which {kept} \
             were kept by the server",
            got.len(),
        ));
    }
}
