//! The threads, over a transport that answers as it is told.

use std::sync::atomic::{AtomicUsize, Ordering};

use crossbeam_channel::{Receiver as Queue, Sender, unbounded};

use super::*;
use crate::client::api::{Client, Handle};
use crate::client::event::Event;
use crate::client::subscription::Listening;
use crate::clock::SystemClock;

const LONG: Duration = Duration::from_secs(20);

/// What the fake server is asked, and how it is to answer.
struct Asked {
    exchange: Exchange,
    body: String,
    answer: Sender<Result<Answer, Failure>>,
}

/// Answers over HTTP; a WebSocket never opens.
struct Fake {
    asked: Sender<Asked>,
    closed: Arc<AtomicUsize>,
    /// Whether closing cuts exchanges short.
    obedient: bool,
}

impl Network for Fake {
    fn join(&self, _: Duration) {}

    fn send(&self, request: Request) -> Option<Result<Answer, Failure>> {
        let (answer, answered) = unbounded();
        let (exchange, body) = (request.exchange, request.body);
        let asked = Asked {
            exchange,
            body,
            answer,
        };
        self.asked.send(asked).expect("because the test listens");
        request.socket.is_none().then(|| self.wait(&answered))
    }

    fn close(&self) {
        self.closed.fetch_add(1, Ordering::Relaxed);
    }
}

impl Fake {
    fn wait(&self, answered: &Queue<Result<Answer, Failure>>) -> Result<Answer, Failure> {
        loop {
            if let Ok(answer) = answered.recv_timeout(Duration::from_millis(5)) {
                return answer;
            }
            if self.obedient && self.closed.load(Ordering::Relaxed) > 0 {
                return Err(Failure::Timeout);
            }
        }
    }
}

struct World {
    client: Client,
    asked: Queue<Asked>,
    closed: Arc<AtomicUsize>,
}

impl World {
    fn new(obedient: bool) -> Self {
        let linger = Duration::from_millis(200);
        let options = Options {
            linger,
            ..Options::default()
        };
        Self::over(Transport::LongPolling, options, obedient, |_| ())
    }

    fn over(
        transport: Transport,
        options: Options,
        obedient: bool,
        listener: impl Fn(&Event) + Send + Sync + 'static,
    ) -> Self {
        let (sender, asked) = unbounded();
        let closed = Arc::new(AtomicUsize::new(0));
        let fake = Fake {
            asked: sender,
            closed: Arc::clone(&closed),
            obedient,
        };
        let credentials: Credentials = Box::new(|| Ok(Ext::new()));
        let clock = Arc::new(SystemClock);
        let options = Arc::new(options);
        let network = |_: &Weak<Driver>| Box::new(fake) as Box<dyn Network>;
        let driver = Driver::new(options, transport, credentials, clock, 1, network);
        driver.update(|model, _| model.listen(Listener(Arc::new(listener))));
        let client = Client::start(driver).unwrap();
        Self {
            client,
            asked,
            closed,
        }
    }

    /// The next request of the exchange; those of the other are left unanswered.
    fn next(&self, exchange: Exchange) -> Asked {
        let mut asked = std::iter::from_fn(|| self.asked.recv_timeout(LONG).ok());
        asked
            .find(|one| one.exchange == exchange)
            .expect("because there is a request")
    }

    fn connect(&self) {
        for channel in ["/meta/handshake", "/meta/connect"] {
            let asked = self.next(Exchange::Connect);
            assert!(asked.body.contains(channel), "{}", asked.body);
            asked.reply(&format!(
                r#"[{{"channel":"{channel}","successful":true,"clientId":"c"}}]"#
            ));
        }
        self.client.wait_connected(LONG).unwrap();
    }
}

impl Asked {
    fn reply(&self, body: &str) {
        let messages = wire::decode(body.as_bytes()).unwrap();
        let pause = None;
        let _ = self.answer.send(Ok(Answer { messages, pause }));
    }
}

#[test]
fn the_exchanges_do_not_wait_for_each_other() {
    let world = World::new(true);
    world.connect();
    let held = world.next(Exchange::Connect);
    let pending = world.client.publish_later("/a", &1).unwrap();
    let sent = world.next(Exchange::Send);
    sent.reply(r#"[{"channel":"/a","successful":true}]"#);
    pending.wait().unwrap();
    drop(held);
}

#[test]
fn messages_may_come_by_themselves() {
    let world = World::new(true);
    world.connect();
    let (subscription, _) = world
        .client
        .subscribe_later("/a", Default::default())
        .unwrap();
    let pushed = wire::decode(br#"[{"channel":"/a","data":1}]"#).unwrap();
    let driver = &world.client.driver;
    driver.received(&pushed);
    assert_eq!(subscription.recv_timeout(LONG).unwrap().data_json(), "1");
}

#[test]
fn closing_cuts_the_poll_short_once() {
    let world = World::new(true);
    world.connect();
    world.next(Exchange::Connect);
    world.client.close();
    world.client.close();
    let closed = Arc::clone(&world.closed);
    drop(world.client);
    assert_eq!(closed.load(Ordering::Relaxed), 1);
}

#[test]
fn a_thread_that_does_not_end_is_left_behind() {
    let world = World::new(false);
    world.connect();
    let held = world.next(Exchange::Connect);
    let handle = world.client.handle();
    world.client.close();
    drop(world.client);
    assert_eq!(handle.state(), State::Closed);
    held.reply("[]");
}

#[test]
fn listeners_hear_of_the_end() {
    let world = World::new(true);
    let (events, seen) = unbounded();
    world
        .client
        .on_event(move |event| drop(events.send(event.clone())));
    world.connect();
    world.client.close();
    drop(world.client);
    let to = |event| match event {
        Event::State { to, .. } => Some(to),
        _ => None,
    };
    let states: Vec<_> = seen.iter().filter_map(to).collect();
    assert_eq!(states, [State::Connecting, State::Connected, State::Closed]);
}

#[test]
fn a_reply_timeout_takes_back_what_has_not_left() {
    let world = World::new(true);
    let pending = world.client.publish_later("/a", &1).unwrap();
    let outcome = pending.wait_timeout(Duration::from_millis(10));
    assert_eq!(outcome, Err(Error::Timeout { sent: false }));
    assert_eq!(world.client.stats().queued, 0);
}

#[test]
fn a_listener_that_holds_the_client_ends_with_it() {
    let world = World::new(true);
    let alive = Arc::new(());
    let listen = |client: &Client| {
        let (handle, owned) = (client.handle(), Arc::clone(&alive));
        client.on_event(move |_| {
            let _both = (handle.state(), &owned);
        });
    };
    listen(&world.client);
    world.connect();
    world.client.close();
    listen(&world.client);
    drop(world.client);
    assert_eq!(Arc::strong_count(&alive), 1);
}

/// Looks at its client when it is dropped, and tells in which thread that was.
struct Nosy(Handle, Sender<Option<String>>);

impl Drop for Nosy {
    fn drop(&mut self) {
        self.0.state();
        let _ = self.1.send(thread::current().name().map(Into::into));
    }
}

impl Nosy {
    fn listen(client: &Client, ends: &Sender<Option<String>>) -> Result<Listening, Error> {
        let nosy = Self(client.handle(), ends.clone());
        client.listen("/service/a", move |_| {
            let _owned = &nosy;
        })
    }
}

#[test]
fn what_a_callback_owns_is_dropped_without_a_lock_by_the_user_or_the_callback_thread() {
    let world = World::new(true);
    world.connect();
    let (ends, ended) = unbounded();
    let here = || thread::current().name().map(Into::into);
    drop(Nosy::listen(&world.client, &ends).unwrap());
    assert_eq!(ended.recv_timeout(LONG), Ok(here()));
    let listening = Nosy::listen(&world.client, &ends).unwrap();
    let closed = r#"[{"channel":"/meta/connect","successful":true,"advice":{"reconnect":"none"}}]"#;
    world.next(Exchange::Connect).reply(closed);
    assert_eq!(ended.recv_timeout(LONG), Ok(Some("bayeux-notify".into())));
    drop(listening);
    let late = Nosy::listen(&world.client, &ends);
    assert_eq!(late.err(), Some(Error::Closed));
    assert_eq!(ended.recv_timeout(LONG), Ok(here()));
}

/// Fails where nobody expects it: when its owner is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        if !thread::panicking() {
            panic!("a bad end");
        }
    }
}

#[test]
fn a_callback_that_fails_at_its_end_does_not_stop_an_exchange() {
    let world = World::new(true);
    world.connect();
    let (handle, bomb) = (world.client.handle(), Bomb);
    let listen = move || {
        handle.listen("/a", move |_| {
            let _alive = &bomb;
        })
    };
    let listening = thread::Builder::new().spawn(listen).unwrap();
    let refusal = r#"[{"channel":"/meta/subscribe","successful":false,"error":"403::no"}]"#;
    world.next(Exchange::Send).reply(refusal);
    assert!(matches!(listening.join().unwrap(), Err(Error::Rejected(_))));
    world.client.post("/b", &1).unwrap();
    assert!(world.next(Exchange::Send).body.contains("/b"));
}

#[test]
fn a_request_that_is_given_up_is_told_at_once() {
    let options = Options {
        network_timeout: Duration::from_millis(5),
        backoff_first: LONG * 10,
        backoff_longest: LONG * 10,
        ..Options::default()
    };
    let (events, seen) = unbounded();
    let tell = move |event: &Event| drop(events.send(event.clone()));
    let _world = World::over(Transport::WebSocket, options, true, tell);
    let trouble = seen.recv_timeout(LONG).unwrap();
    assert!(matches!(trouble, Event::Trouble { .. }), "{trouble:?}");
}
