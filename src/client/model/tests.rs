//! The client against a scripted server, message by message.

use std::time::Duration;

use super::*;
use crate::client::error::Failure;
use crate::client::message::Message;
use crate::client::ring::Ring;
use crate::client::subscriptions::{Job, Sink};
use crate::client::wire;
use crate::clock::{Clock as _, ManualClock};
use crate::protocol::Pattern;

struct World {
    model: Model,
    clock: ManualClock,
}

impl World {
    fn new() -> Self {
        Self::with(Options::default())
    }

    fn with(options: Options) -> Self {
        Self::over(options, Transport::LongPolling)
    }

    fn over(options: Options, transport: Transport) -> Self {
        let clock = ManualClock::new();
        let mut model = Model::new(Arc::new(options), transport, Ids::default(), clock.now(), 1);
        model.listen(Listener(Arc::new(|_: &Event| ())));
        Self { model, clock }
    }

    fn connected() -> Self {
        let mut world = Self::new();
        world.poll("c");
        world.poll("c");
        world.events();
        world
    }

    /// The next request; waits for it.
    fn next(&mut self, exchange: Exchange) -> Option<Request> {
        if let Some(due) = self.model.due(exchange) {
            let wait = due.saturating_duration_since(self.clock.now());
            self.clock.advance(wait);
        }
        self.ask(exchange)
    }

    /// The next request, if there is one now.
    fn ask(&mut self, exchange: Exchange) -> Option<Request> {
        let now = self.clock.now();
        self.model.expire(now, exchange);
        self.model.next(now, exchange)
    }

    /// The messages that the client sends now.
    fn sent(&mut self) -> Vec<Message> {
        match self.next(Exchange::Send) {
            Some(request) => wire::decode(request.body.as_bytes()).unwrap(),
            None => Vec::new(),
        }
    }

    fn answer(&mut self, exchange: Exchange, body: &str) {
        let (now, messages) = (self.clock.now(), wire::decode(body.as_bytes()).unwrap());
        let pause = None;
        let answer = Answer { messages, pause };
        self.model.answered(now, exchange, Ok(answer));
    }

    fn fail(&mut self, exchange: Exchange) {
        let error = Error::Failed(Failure::Timeout);
        self.model.answered(self.clock.now(), exchange, Err(error));
    }

    /// Lets a handshake or a connect succeed.
    fn poll(&mut self, client_id: &str) {
        let request = self.next(Exchange::Connect).unwrap();
        let (id, channel) = match request.handshake {
            Some(Handshake { id, .. }) => (id.to_string(), "/meta/handshake"),
            None => {
                let connect = &wire::decode(request.body.as_bytes()).unwrap()[0];
                (connect.id().unwrap().to_owned(), "/meta/connect")
            }
        };
        let reply = format!(
            r#"[{{"channel":"{channel}","id":"{id}","successful":true,"clientId":"{client_id}"}}]"#
        );
        self.answer(Exchange::Connect, &reply);
    }

    /// The server forgets the session, and the client makes a new one.
    fn lose(&mut self, client_id: &str) {
        self.next(Exchange::Connect).unwrap();
        let unknown = r#"[{"channel":"/meta/connect","successful":false,"error":"402::x",
                          "advice":{"reconnect":"handshake","interval":0}}]"#;
        self.answer(Exchange::Connect, unknown);
        self.poll(client_id);
    }

    /// Accepts everything that the client sends.
    fn accept(&mut self) -> Vec<String> {
        let sent = self.sent();
        let accept = |message: &Message| {
            let (channel, id) = (message.channel(), message.id().unwrap());
            format!(r#"{{"channel":"{channel}","id":"{id}","successful":true}}"#)
        };
        let replies: Vec<_> = sent.iter().map(accept).collect();
        if !sent.is_empty() {
            self.answer(Exchange::Send, &format!("[{}]", replies.join(",")));
        }
        let subject = |message: &Message| {
            let pattern = message.text("subscription");
            pattern.unwrap_or_else(|| message.channel().to_owned())
        };
        sent.iter().map(subject).collect()
    }

    fn publish(&mut self, channel: &str) -> Arc<Receipt> {
        let message = self.model.message(Kind::Publish, channel);
        let receipt = Arc::clone(&message.receipt);
        self.model.push(vec![message]).unwrap();
        receipt
    }

    fn subscribe(&mut self, pattern: &str) -> (Arc<Ring>, u64, Arc<Receipt>) {
        let receipt = Receipt::new(self.model.ids.next());
        let (ring, waiter) = (Arc::new(Ring::new(10, 1000)), Arc::clone(&receipt));
        let sink = Sink::Ring(Arc::clone(&ring));
        let pattern = Pattern::try_from(pattern).unwrap();
        let subscribed = self.model.subscribe(&pattern, None, sink, waiter);
        let (key, message) = subscribed.unwrap();
        self.model.push(message.into_iter().collect()).unwrap();
        (ring, key, receipt)
    }

    fn events(&mut self) -> Vec<Event> {
        let jobs = std::iter::from_fn(|| self.model.subscriptions.next_job());
        let events = jobs.filter_map(|job| match job {
            Job::Event(_, event) => Some(event),
            Job::Message(..) | Job::Drop(_) | Job::CaughtUp(_) => None,
        });
        events.collect()
    }

    fn states(&mut self) -> Vec<State> {
        let states = self.events().into_iter().filter_map(|event| match event {
            Event::State { to, .. } => Some(to),
            _ => None,
        });
        states.collect()
    }
}

#[test]
fn what_is_said_before_the_connection_leaves_in_order_with_the_first_batch() {
    let mut world = World::new();
    world.publish("/a");
    world.subscribe("/b");
    world.publish("/c");
    assert_eq!(world.sent(), []);
    world.poll("c");
    assert_eq!(world.accept(), ["/a", "/b", "/c"]);
    world.poll("c");
    assert_eq!(world.states(), [State::Connecting, State::Connected]);
}

#[test]
fn the_connect_says_who_and_how() {
    let mut world = World::new();
    world.poll("c");
    let Some(Request { body, hold, .. }) = world.next(Exchange::Connect) else {
        panic!("no connect")
    };
    assert_eq!(
        body,
        "[{\"channel\":\"/meta/connect\",\"clientId\":\"c\",\"id\":\"2\",\
         \"connectionType\":\"long-polling\",\"advice\":{\"timeout\":0}}]"
    );
    assert_eq!(hold, Duration::ZERO);
    let reply = r#"[{"channel":"/meta/connect","id":"2","successful":true,
                    "advice":{"reconnect":"retry","interval":0,"timeout":25000}}]"#;
    world.answer(Exchange::Connect, reply);
    let Some(Request { body, hold, .. }) = world.next(Exchange::Connect) else {
        panic!("no connect")
    };
    assert!(!body.contains("advice"));
    assert_eq!(hold, Duration::from_secs(25));
}

#[test]
fn while_interrupted_messages_wait() {
    let mut world = World::connected();
    world.next(Exchange::Connect);
    world.fail(Exchange::Connect);
    let receipt = world.publish("/a");
    assert_eq!(world.sent(), []);
    assert_eq!(world.model.due(Exchange::Send), None);
    world.poll("c");
    assert_eq!(world.accept(), ["/a"]);
    assert!(receipt.get().unwrap().is_ok());
    assert_eq!(world.states(), [State::Interrupted, State::Connected]);
}

#[test]
fn the_disconnect_comes_after_what_is_queued() {
    let mut world = World::connected();
    let receipt = world.publish("/a");
    world.model.disconnect();
    world.model.disconnect();
    let refused = world.model.push(Vec::new());
    assert_eq!(refused, Err(Error::Closed));
    assert_eq!(world.ask(Exchange::Connect), None);
    assert_eq!(world.accept(), ["/a", "/meta/disconnect"]);
    assert!(receipt.get().unwrap().is_ok());
    assert_eq!(world.model.ended, Some(Error::Closed));
    assert_eq!(world.states(), [State::Disconnecting, State::Closed]);
}

#[test]
fn without_contact_a_disconnect_just_closes() {
    let mut world = World::connected();
    world.next(Exchange::Connect);
    world.fail(Exchange::Connect);
    let receipt = world.publish("/a");
    world.model.disconnect();
    assert_eq!(world.model.session.state(), State::Closed);
    assert_eq!(receipt.get(), Some(Err(Error::Closed)));
}

#[test]
fn the_server_may_end_it() {
    for farewell in [
        r#"[{"channel":"/meta/disconnect","successful":true}]"#,
        r#"[{"channel":"/meta/connect","successful":true,"advice":{"reconnect":"none"}}]"#,
    ] {
        let mut world = World::connected();
        let (ring, ..) = world.subscribe("/a");
        let receipt = world.publish("/a");
        world.next(Exchange::Connect);
        world.answer(Exchange::Connect, farewell);
        assert_eq!(world.model.ended, Some(Error::Disconnected));
        assert!(ring.recv(None).is_err());
        assert_eq!(receipt.get(), Some(Err(Error::Disconnected)));
        assert_eq!(world.next(Exchange::Connect), None);
        assert_eq!(world.sent(), []);
    }
}

#[test]
fn a_reconnect_gives_the_old_session_back_first() {
    let mut world = World::connected();
    world.subscribe("/a");
    world.accept();
    world.next(Exchange::Connect).unwrap();
    world.model.reconnect(world.clock.now());
    let sent = world.sent();
    assert_eq!(
        sent.len(),
        1,
        "the old session holds the poll; this frees it"
    );
    assert_eq!(sent[0].channel(), "/meta/disconnect");
    assert_eq!(sent[0].text("clientId").as_deref(), Some("c"));
    world.answer(Exchange::Send, "[]");
    let released = r#"[{"channel":"/meta/connect","id":"2","successful":true,
                       "advice":{"reconnect":"none"}}]"#;
    world.answer(Exchange::Connect, released);
    world.poll("d");
    assert_eq!(world.accept(), ["/a"]);
    assert_eq!(world.model.session.client_id(), Some("d"));
}

#[test]
fn replies_to_others_are_ignored() {
    let mut world = World::connected();
    world.next(Exchange::Connect);
    world.answer(
        Exchange::Connect,
        r#"[{"channel":"/meta/connect","id":"77","successful":false,
             "advice":{"reconnect":"none"}},
            {"channel":"/meta/subscribe","id":"x","successful":false},
            {"channel":"/a","id":"5","successful":true}]"#,
    );
    assert_eq!(
        world.states(),
        [State::Interrupted],
        "its own reply was not there"
    );
    assert!(matches!(
        world.model.last_trouble,
        Some(Error::Failed(Failure::NoReply))
    ));
}

#[test]
fn unheard_failures_are_told() {
    let mut world = World::connected();
    drop(world.publish("/a"));
    world.sent();
    world.fail(Exchange::Send);
    let unheard =
        |event: &Event| matches!(event, Event::Unheard { channel, .. } if channel == "/a");
    assert!(world.events().iter().any(unheard));
}

#[test]
fn random_answers_never_break_it() {
    let replies = [
        r#"{"channel":"/meta/handshake","successful":true,"clientId":"c"}"#,
        r#"{"channel":"/meta/handshake","successful":false}"#,
        r#"{"channel":"/meta/connect","successful":true}"#,
        r#"{"channel":"/meta/connect","successful":false,"advice":{"reconnect":"handshake"}}"#,
        r#"{"channel":"/meta/connect","successful":false,"error":"409::x"}"#,
        r#"{"channel":"/meta/subscribe","successful":true,"subscription":"/a"}"#,
        r#"{"channel":"/meta/subscribe","successful":false,"error":"503::busy"}"#,
        r#"{"channel":"/meta/unsubscribe","successful":true}"#,
        r#"{"channel":"/a","successful":true}"#,
        r#"{"channel":"/a","data":1}"#,
        r#"{"channel":"/service/a","data":1,"id":"3"}"#,
    ];
    for seed in 0..200u64 {
        let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut dice = |sides: usize| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            (random % sides as u64) as usize
        };
        let mut world = World::new();
        let mut keys = Vec::new();
        let mut waiting = Vec::new();
        for _ in 0..100 {
            let exchange = [Exchange::Connect, Exchange::Send][dice(2)];
            match dice(6) {
                0 => waiting.push(world.publish("/a")),
                1 => keys.push(world.subscribe("/a").1),
                2 => keys
                    .pop()
                    .into_iter()
                    .for_each(|key| world.model.unsubscribe("/a", key)),
                3 if world.next(exchange).is_some() => world.fail(exchange),
                _ if world.next(exchange).is_some() => {
                    let picked: Vec<_> = (0..dice(4)).map(|_| replies[dice(11)]).collect();
                    world.answer(exchange, &format!("[{}]", picked.join(",")));
                }
                _ => {}
            }
        }
        world.model.close(&Error::Closed);
        assert!(waiting.iter().all(|one| one.get().is_some()), "seed {seed}");
        assert_eq!(world.model.stats().queued, 0, "seed {seed}");
    }
}

#[test]
fn a_refused_upgrade_is_no_failure_where_there_is_another_way() {
    let mut world = World::over(Options::default(), Transport::Auto);
    let offer = |world: &mut World| match world.next(Exchange::Connect) {
        Some(Request {
            handshake: Some(handshake),
            ..
        }) => handshake.offer,
        other => panic!("{other:?}"),
    };
    let refuse = |world: &mut World, failure: Failure| {
        let now = world.clock.now();
        let error = Error::Failed(failure);
        world.model.answered(now, Exchange::Connect, Err(error));
    };
    let (why, retry_after) = ("HTTP status 404".to_owned(), None);
    let refused = Failure::Upgrade { why, retry_after };
    assert_eq!(
        offer(&mut world),
        [Transport::WebSocket, Transport::LongPolling]
    );
    let start = world.clock.now();
    refuse(&mut world, refused.clone());
    assert_eq!(offer(&mut world), [Transport::LongPolling]);
    assert_eq!(world.clock.now(), start, "at once");
    assert_eq!(world.model.stats().failures, 0);
    refuse(&mut world, Failure::Connect("refused".into()));
    assert_eq!(
        offer(&mut world),
        [Transport::WebSocket, Transport::LongPolling]
    );
    refuse(&mut world, refused.clone());
    world.poll("c");
    let Some(Request { body, socket, .. }) = world.next(Exchange::Connect) else {
        panic!("no connect")
    };
    assert!(
        body.contains(r#""connectionType":"long-polling""#),
        "{body}"
    );
    assert_eq!(socket, None);
    let fell_back = |event: &&Event| matches!(event, Event::FellBack { .. });
    assert_eq!(world.events().iter().filter(fell_back).count(), 2);
}

#[test]
fn a_reconnect_begins_with_the_best_way_whatever_the_state() {
    let mut world = World::over(Options::default(), Transport::Auto);
    let (why, retry_after) = ("HTTP status 404".to_owned(), None);
    let error = Error::Failed(Failure::Upgrade { why, retry_after });
    let now = world.clock.now();
    world.next(Exchange::Connect).unwrap();
    world.model.answered(now, Exchange::Connect, Err(error));
    world.poll("c");
    world.next(Exchange::Connect).unwrap();
    let unknown = r#"[{"channel":"/meta/connect","successful":false,"error":"402::x"}]"#;
    world.answer(Exchange::Connect, unknown);
    assert_eq!(world.model.session.state(), State::Handshaking);
    world.model.reconnect(world.clock.now());
    match world.next(Exchange::Connect) {
        Some(Request {
            handshake: Some(handshake),
            ..
        }) => {
            assert_eq!(
                handshake.offer,
                [Transport::WebSocket, Transport::LongPolling]
            );
        }
        other => panic!("{other:?}"),
    }
}

mod subscriptions;
mod websocket;
