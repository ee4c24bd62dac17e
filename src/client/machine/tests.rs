//! The client against a scripted server, message by message.

use super::*;
use crate::client::dispatch::{Job, Listener};
use crate::client::registry::Sink;
use crate::client::ring::Ring;
use crate::client::slot::Slot;
use crate::client::wire;
use crate::clock::{Clock as _, ManualClock};
use crate::protocol::Pattern;

struct World {
    machine: Machine,
    clock: ManualClock,
}

impl World {
    fn new() -> Self {
        Self::with(Options::default())
    }

    fn with(options: Options) -> Self {
        Self::over(options, vec![Via::LongPolling])
    }

    fn over(options: Options, ways: Vec<Via>) -> Self {
        let clock = ManualClock::new();
        let mut machine = Machine::new(options, ways, Ids::default(), clock.now(), 1);
        machine.listen(Listener(Arc::new(|_: &Event| ())));
        Self { machine, clock }
    }

    fn connected() -> Self {
        let mut world = Self::new();
        world.poll("c");
        world.poll("c");
        world.events();
        world
    }

    /// The next request of the lane; waits for it.
    fn next(&mut self, lane: Lane) -> Option<Work> {
        if let Some(due) = self.machine.due(lane) {
            let wait = due.saturating_duration_since(self.clock.now());
            self.clock.advance(wait);
        }
        self.machine.next(self.clock.now(), lane)
    }

    /// The messages that the send lane sends now.
    fn sent(&mut self) -> Vec<Message> {
        match self.next(Lane::Send) {
            Some(Work::Request(Request { body, .. })) => wire::decode(body.as_bytes()).unwrap(),
            _ => Vec::new(),
        }
    }

    fn answer(&mut self, lane: Lane, body: &str) {
        let (now, messages) = (self.clock.now(), wire::decode(body.as_bytes()).unwrap());
        self.machine.receive(now, &messages);
        self.machine.finish(now, lane, Ok(()), None);
    }

    fn fail(&mut self, lane: Lane) {
        let error = Error::Failed(Failure::Timeout);
        self.machine
            .finish(self.clock.now(), lane, Err(error), None);
    }

    /// Lets a handshake or a connect succeed.
    fn poll(&mut self, client_id: &str) {
        let (id, channel) = match self.next(Lane::Poll).unwrap() {
            Work::Handshake { id, .. } => (id.to_string(), "/meta/handshake"),
            Work::Request(Request { body, .. }) => {
                let connect = &wire::decode(body.as_bytes()).unwrap()[0];
                (connect.id().unwrap().to_owned(), "/meta/connect")
            }
        };
        let reply = format!(
            r#"[{{"channel":"{channel}","id":"{id}","successful":true,"clientId":"{client_id}"}}]"#
        );
        self.answer(Lane::Poll, &reply);
    }

    /// The server forgets the session, and the client makes a new one.
    fn lose(&mut self, client_id: &str) {
        self.next(Lane::Poll).unwrap();
        let unknown = r#"[{"channel":"/meta/connect","successful":false,"error":"402::x",
                          "advice":{"reconnect":"handshake","interval":0}}]"#;
        self.answer(Lane::Poll, unknown);
        self.poll(client_id);
    }

    /// Accepts everything that the send lane sends.
    fn accept(&mut self) -> Vec<String> {
        let sent = self.sent();
        let accept = |message: &Message| {
            let (channel, id) = (message.channel(), message.id().unwrap());
            format!(r#"{{"channel":"{channel}","id":"{id}","successful":true}}"#)
        };
        let replies: Vec<_> = sent.iter().map(accept).collect();
        if !sent.is_empty() {
            self.answer(Lane::Send, &format!("[{}]", replies.join(",")));
        }
        let subject = |message: &Message| {
            let pattern = message.text("subscription");
            pattern.unwrap_or_else(|| message.channel().to_owned())
        };
        sent.iter().map(subject).collect()
    }

    fn publish(&mut self, channel: &str) -> Arc<Slot> {
        let slot = Arc::new(Slot::default());
        let op = self
            .machine
            .op(Kind::Publish, channel, Some(Arc::clone(&slot)));
        self.machine.push(vec![op]).unwrap();
        slot
    }

    fn subscribe(&mut self, pattern: &str) -> (Arc<Ring>, u64, Arc<Slot>) {
        let (ring, slot) = (Arc::new(Ring::new(10)), Arc::new(Slot::default()));
        let (sink, waiter) = (Sink::Ring(Arc::clone(&ring)), Arc::clone(&slot));
        let pattern = Pattern::try_from(pattern).unwrap();
        let id = self.machine.ids.next();
        let subscribed = self.machine.subscribe(&pattern, None, sink, id, waiter);
        let (key, op) = subscribed.unwrap();
        self.machine.push(op.into_iter().collect()).unwrap();
        (ring, key, slot)
    }

    fn events(&mut self) -> Vec<Event> {
        let jobs = std::iter::from_fn(|| self.machine.dispatch().next_job());
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
    let Some(Work::Request(Request { body, hold, .. })) = world.next(Lane::Poll) else {
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
    world.answer(Lane::Poll, reply);
    let Some(Work::Request(Request { body, hold, .. })) = world.next(Lane::Poll) else {
        panic!("no connect")
    };
    assert!(!body.contains("advice"));
    assert_eq!(hold, Duration::from_secs(25));
}

#[test]
fn while_interrupted_messages_wait() {
    let mut world = World::connected();
    world.next(Lane::Poll);
    world.fail(Lane::Poll);
    let slot = world.publish("/a");
    assert_eq!(world.sent(), []);
    assert_eq!(world.machine.due(Lane::Send), None);
    world.poll("c");
    assert_eq!(world.accept(), ["/a"]);
    assert!(slot.get().unwrap().is_ok());
    assert_eq!(world.states(), [State::Interrupted, State::Connected]);
}

#[test]
fn the_disconnect_comes_after_what_is_queued() {
    let mut world = World::connected();
    let slot = world.publish("/a");
    world.machine.disconnect();
    world.machine.disconnect();
    let refused = world.machine.push(Vec::new());
    assert_eq!(refused, Err(Error::Closed));
    assert_eq!(world.machine.next(world.clock.now(), Lane::Poll), None);
    assert_eq!(world.accept(), ["/a", "/meta/disconnect"]);
    assert!(slot.get().unwrap().is_ok());
    assert_eq!(world.machine.ended(), Some(&Error::Closed));
    assert_eq!(world.states(), [State::Disconnecting, State::Closed]);
}

#[test]
fn without_contact_a_disconnect_just_closes() {
    let mut world = World::connected();
    world.next(Lane::Poll);
    world.fail(Lane::Poll);
    let slot = world.publish("/a");
    world.machine.disconnect();
    assert_eq!(world.machine.state(), State::Closed);
    assert_eq!(slot.get(), Some(Err(Error::Closed)));
}

#[test]
fn the_server_may_end_it() {
    for farewell in [
        r#"[{"channel":"/meta/disconnect","successful":true}]"#,
        r#"[{"channel":"/meta/connect","successful":true,"advice":{"reconnect":"none"}}]"#,
    ] {
        let mut world = World::connected();
        let (ring, ..) = world.subscribe("/a");
        let slot = world.publish("/a");
        world.next(Lane::Poll);
        world.answer(Lane::Poll, farewell);
        assert_eq!(world.machine.ended(), Some(&Error::Disconnected));
        assert!(ring.recv(None).is_err());
        assert_eq!(slot.get(), Some(Err(Error::Disconnected)));
        assert_eq!(world.next(Lane::Poll), None);
        assert_eq!(world.sent(), []);
    }
}

#[test]
fn a_reconnect_gives_the_old_session_back_first() {
    let mut world = World::connected();
    world.subscribe("/a");
    world.accept();
    world.next(Lane::Poll).unwrap();
    world.machine.reconnect(world.clock.now());
    let sent = world.sent();
    assert_eq!(
        sent.len(),
        1,
        "the old session holds the poll; this frees it"
    );
    assert_eq!(sent[0].channel(), "/meta/disconnect");
    assert_eq!(sent[0].text("clientId").as_deref(), Some("c"));
    world.answer(Lane::Send, "[]");
    let released = r#"[{"channel":"/meta/connect","id":"2","successful":true,
                       "advice":{"reconnect":"none"}}]"#;
    world.answer(Lane::Poll, released);
    world.poll("d");
    assert_eq!(world.accept(), ["/a"]);
    assert_eq!(world.machine.client_id(), Some("d"));
}

#[test]
fn replies_to_others_are_ignored() {
    let mut world = World::connected();
    world.next(Lane::Poll);
    world.answer(
        Lane::Poll,
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
        world.machine.last_trouble(),
        Some(Error::Failed(Failure::NoReply))
    ));
}

#[test]
fn unheard_failures_are_told() {
    let mut world = World::connected();
    drop(world.publish("/a"));
    world.sent();
    world.fail(Lane::Send);
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
        let mut slots = Vec::new();
        for _ in 0..100 {
            let lane = [Lane::Poll, Lane::Send][dice(2)];
            match dice(6) {
                0 => slots.push(world.publish("/a")),
                1 => keys.push(world.subscribe("/a").1),
                2 => keys
                    .pop()
                    .into_iter()
                    .for_each(|key| world.machine.unsubscribe("/a", key)),
                3 if world.next(lane).is_some() => world.fail(lane),
                _ if world.next(lane).is_some() => {
                    let picked: Vec<_> = (0..dice(4)).map(|_| replies[dice(11)]).collect();
                    world.answer(lane, &format!("[{}]", picked.join(",")));
                }
                _ => {}
            }
        }
        world.machine.close(&Error::Closed);
        assert!(slots.iter().all(|slot| slot.get().is_some()), "seed {seed}");
        assert_eq!(world.machine.stats().queued, 0, "seed {seed}");
    }
}

#[test]
fn a_refused_upgrade_is_no_failure_where_there_is_another_way() {
    let mut world = World::over(Options::default(), vec![Via::WebSocket, Via::LongPolling]);
    let offer = |world: &mut World| match world.next(Lane::Poll) {
        Some(Work::Handshake { offer, .. }) => offer,
        other => panic!("{other:?}"),
    };
    let refuse = |world: &mut World, failure: Failure| {
        let now = world.clock.now();
        let error = Error::Failed(failure);
        world.machine.finish(now, Lane::Poll, Err(error), None);
    };
    let (why, retry_after) = ("HTTP status 404".to_owned(), None);
    let refused = Failure::Upgrade { why, retry_after };
    assert_eq!(offer(&mut world), [Via::WebSocket, Via::LongPolling]);
    let start = world.clock.now();
    refuse(&mut world, refused.clone());
    assert_eq!(offer(&mut world), [Via::LongPolling]);
    assert_eq!(world.clock.now(), start, "at once");
    assert_eq!(world.machine.stats().failures, 0);
    refuse(&mut world, Failure::Connect("refused".into()));
    assert_eq!(offer(&mut world), [Via::WebSocket, Via::LongPolling]);
    refuse(&mut world, refused.clone());
    world.poll("c");
    let Some(Work::Request(Request { body, via, .. })) = world.next(Lane::Poll) else {
        panic!("no connect")
    };
    assert!(
        body.contains(r#""connectionType":"long-polling""#),
        "{body}"
    );
    assert_eq!(via, Via::LongPolling);
    let fell_back = |event: &&Event| matches!(event, Event::FellBack { .. });
    assert_eq!(world.events().iter().filter(fell_back).count(), 2);
}

#[test]
fn a_reconnect_begins_with_the_best_way_whatever_the_state() {
    let mut world = World::over(Options::default(), vec![Via::WebSocket, Via::LongPolling]);
    let (why, retry_after) = ("HTTP status 404".to_owned(), None);
    let error = Error::Failed(Failure::Upgrade { why, retry_after });
    let now = world.clock.now();
    world.next(Lane::Poll).unwrap();
    world.machine.finish(now, Lane::Poll, Err(error), None);
    world.poll("c");
    world.next(Lane::Poll).unwrap();
    let unknown = r#"[{"channel":"/meta/connect","successful":false,"error":"402::x"}]"#;
    world.answer(Lane::Poll, unknown);
    assert_eq!(world.machine.state(), State::Handshaking);
    world.machine.reconnect(world.clock.now());
    match world.next(Lane::Poll) {
        Some(Work::Handshake { offer, .. }) => {
            assert_eq!(offer, [Via::WebSocket, Via::LongPolling]);
        }
        other => panic!("{other:?}"),
    }
}

mod subscriptions;
