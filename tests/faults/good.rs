//! Well-behaved clients: each polls, and publishes to the next one a few times a second.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::common::http::{Connection, request_bytes};

const PAUSE: Duration = Duration::from_millis(200);

/// The running clients.
pub(crate) struct Good {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    begun: Instant,
    stopping: AtomicBool,
    latencies: Mutex<Vec<Duration>>,
    faults: Mutex<Vec<String>>,
}

/// From the call to publish until the receiver has the message.
pub(crate) struct Latencies(Vec<Duration>);

impl Latencies {
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn p99_ms(&self) -> f64 {
        let at = self.0.len() * 99 / 100;
        self.0
            .get(at)
            .map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
    }
}

impl Good {
    pub(crate) fn start(address: SocketAddr, count: usize) -> Self {
        let shared = Arc::new(Shared {
            begun: Instant::now(),
            stopping: AtomicBool::new(false),
            latencies: Mutex::default(),
            faults: Mutex::default(),
        });
        // All subscribe before the first publishes.
        let joined = (0..count).map(|n| {
            let mut connection = Connection::open(address);
            let id = join(&mut connection, n);
            (connection, id)
        });
        let joined: Vec<_> = joined.collect();
        let mut threads = Vec::new();
        for (n, (connection, id)) in joined.into_iter().enumerate() {
            let client = Arc::new(Client {
                shared: Arc::clone(&shared),
                id,
                inbox: Mutex::default(),
            });
            let to = format!("/good/{}", (n + 1) % count);
            let phase = PAUSE.mul_f64(n as f64 / count as f64);
            let publisher = Arc::clone(&client);
            threads.push(thread(format!("publisher {n}"), move || {
                std::thread::sleep(phase);
                publisher.publish(connection, &to);
            }));
            let connection = Connection::open(address);
            threads.push(thread(format!("poller {n}"), move || {
                client.poll(connection)
            }));
        }
        Self { shared, threads }
    }

    /// The latencies during that time from now on.
    pub(crate) fn measured(&self, span: Duration) -> Latencies {
        self.shared.latencies.lock().unwrap().clear();
        std::thread::sleep(span);
        let mut taken = std::mem::take(&mut *self.shared.latencies.lock().unwrap());
        taken.sort_unstable();
        Latencies(taken)
    }

    /// Ends all; at most ten of what went wrong: anything lost, doubled or refused.
    pub(crate) fn stop(self) -> Vec<String> {
        self.shared.stopping.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().expect("a well-behaved client ends well");
        }
        let faults = self.shared.faults.lock().unwrap();
        let named = |fault| format!("a well-behaved client: {fault}");
        faults.iter().take(10).map(named).collect()
    }
}

fn thread(name: String, body: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    let builder = std::thread::Builder::new().name(name);
    let builder = builder.stack_size(256 << 10);
    builder.spawn(body).expect("a thread for a client")
}

impl Shared {
    fn goes_on(&self) -> bool {
        !self.stopping.load(Ordering::Relaxed)
    }

    fn fault(&self, what: String) {
        self.faults.lock().unwrap().push(what);
    }
}

fn post(connection: &mut Connection, message: &Value) -> Vec<Value> {
    let kind = "Content-Type: application/json\r\n";
    connection.send(request_bytes(
        "POST",
        "/cometd",
        kind,
        message.to_string().as_bytes(),
    ));
    connection.response().messages()
}

fn join(connection: &mut Connection, n: usize) -> String {
    let reply = post(connection, &json!([{"channel": "/meta/handshake"}])).remove(0);
    let id = reply["clientId"].as_str().expect("a client id").to_owned();
    let channel = format!("/good/{n}");
    let both = json!([
        {"channel": "/meta/subscribe", "clientId": id, "subscription": channel},
        {"channel": "/meta/connect", "clientId": id, "connectionType": "long-polling"},
    ]);
    assert!(
        post(connection, &both)
            .iter()
            .all(|reply| reply["successful"] == true)
    );
    id
}

/// One session, with a connection for its polls and one for its publications.
struct Client {
    shared: Arc<Shared>,
    id: String,
    inbox: Mutex<Inbox>,
}

/// The numbers that have come. Answers on two connections may be read in any order.
#[derive(Default)]
struct Inbox {
    next: u64,
    ahead: BTreeSet<u64>,
}

impl Client {
    /// Publishes the time, and a number that counts up.
    fn publish(&self, mut connection: Connection, channel: &str) {
        let mut number = 0;
        while self.shared.goes_on() {
            let now = self.shared.begun.elapsed().as_micros() as u64;
            let data = json!([number, now]);
            let message = json!({"channel": channel, "clientId": self.id, "data": data});
            self.take(&post(&mut connection, &message));
            number += 1;
            std::thread::sleep(PAUSE);
        }
    }

    fn poll(&self, mut connection: Connection) {
        let connect = json!({"channel": "/meta/connect", "clientId": self.id,
            "connectionType": "long-polling"});
        while self.shared.goes_on() {
            self.take(&post(&mut connection, &connect));
        }
        let inbox = self.inbox.lock().unwrap();
        // The last one may still have been on its way.
        if inbox.ahead.len() > 1 {
            self.shared
                .fault(format!("message {} was lost", inbox.next));
        }
    }

    fn take(&self, items: &[Value]) {
        let now = self.shared.begun.elapsed();
        for item in items {
            match item.get("successful") {
                Some(success) if success == true => {}
                Some(_) => self.shared.fault(format!("refused: {item}")),
                None => self.message(now, &item["data"]),
            }
        }
    }

    fn message(&self, now: Duration, data: &Value) {
        let number = data[0].as_u64().expect("a number");
        let sent = Duration::from_micros(data[1].as_u64().expect("a time"));
        let latency = now.saturating_sub(sent);
        self.shared.latencies.lock().unwrap().push(latency);
        let mut inbox = self.inbox.lock().unwrap();
        if number < inbox.next || !inbox.ahead.insert(number) {
            self.shared.fault(format!("message {number} came twice"));
        }
        let mut next = inbox.next;
        while inbox.ahead.remove(&next) {
            next += 1;
        }
        inbox.next = next;
    }
}
