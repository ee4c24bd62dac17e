//! The client against a scripted server, message by message.

use super::*;
use crate::client::dispatch::{Job, Listener};
use crate::client::ring::Ring;
use crate::client::wire;
use crate::clock::{Clock as _, ManualClock};

struct World {
    machine: Machine,
    clock: ManualClock,
}

impl World {
    fn new() -> Self {
        Self::with(Options::default())
    }

    fn with(options: Options) -> Self {
        let clock = ManualClock::new();
        let types = vec!["long-polling"];
        let mut machine = Machine::new(options, types, Ids::default(), clock.now(), 1);
        let listener = Listener(Arc::new(|_: &Event| ()));
        machine.dispatch().listeners.push(listener);
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
            Some(Work::Request { body, .. }) => wire::decode(body.as_bytes()).unwrap(),
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
            Work::Handshake { id } => (id.to_string(), "/meta/handshake"),
            Work::Request { body, .. } => {
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
        let sink = Sink::Ring(Arc::clone(&ring));
        let parsed = Pattern::try_from(pattern).unwrap();
        let key = self.machine.add_sink(&parsed, None, sink).unwrap();
        let (pattern, watcher) = (pattern.into(), Some(Arc::clone(&slot)));
        let kind = Kind::Subscribe {
            pattern,
            key: Some(key),
        };
        let op = self.machine.op(kind, "/meta/subscribe", watcher);
        self.machine.push(vec![op]).unwrap();
        (ring, key, slot)
    }

    fn events(&mut self) -> Vec<Event> {
        let jobs = std::iter::from_fn(|| self.machine.dispatch().next_job());
        let events = jobs.filter_map(|job| match job {
            Job::Event(_, event) => Some(event),
            Job::Message(..) => None,
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
    let Some(Work::Request { body, hold }) = world.next(Lane::Poll) else {
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
    let Some(Work::Request { body, hold }) = world.next(Lane::Poll) else {
        panic!("no connect")
    };
    assert!(!body.contains("advice"));
    assert_eq!(hold, Duration::from_secs(25));
}

#[test]
fn a_new_session_gets_everything_again_before_what_is_queued() {
    let mut world = World::connected();
    let (ring, ..) = world.subscribe("/a/*");
    world.subscribe("/b");
    world.subscribe("/b");
    assert_eq!(world.accept(), ["/a/*", "/b", "/b"]);
    let lost = world.publish("/a/x");
    world.sent();
    world.publish("/a/y");
    world.lose("d");
    world.answer(Lane::Send, "[]");
    assert_eq!(lost.get(), Some(Err(Error::SessionLost)));
    let sent = world.sent();
    let client_ids: Vec<_> = sent
        .iter()
        .filter_map(|message| message.text("clientId"))
        .collect();
    assert_eq!(client_ids, ["d", "d", "d"]);
    let channels: Vec<_> = sent.iter().map(Message::channel).collect();
    assert_eq!(channels, ["/meta/subscribe", "/meta/subscribe", "/a/y"]);
    let replaced = |event: &Event| {
        matches!(
            event,
            Event::SessionReplaced {
                resubscribed: 2,
                ..
            }
        )
    };
    assert!(world.events().iter().any(replaced));
    world.answer(Lane::Poll, r#"[{"channel":"/a/z","data":1}]"#);
    assert_eq!(ring.len(), 1);
}

#[test]
fn messages_go_to_all_that_match() {
    let mut world = World::connected();
    let rings = ["/a/b", "/a/*", "/**", "/c", "/meta/*"].map(|pattern| world.subscribe(pattern).0);
    world.next(Lane::Poll);
    world.answer(
        Lane::Poll,
        r#"[{"channel":"/a/b","data":1},{"channel":"/a/b","data":2,"successful":true},
            {"channel":"/meta/connect","id":"99","successful":true},
            {"channel":"/z/z","data":3},{"channel":"/a/b"},{"channel":"no channel","data":1}]"#,
    );
    assert_eq!(rings.map(|ring| ring.len()), [3, 3, 4, 0, 1]);
    let stats = world.machine.stats();
    assert_eq!((stats.received, stats.unclaimed), (5, 1));
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
fn a_refused_subscription_ends_for_its_subscriber_only() {
    let mut world = World::connected();
    let (first, ..) = world.subscribe("/a");
    world.accept();
    let (second, _, slot) = world.subscribe("/a");
    let sent = world.sent();
    let no = format!(
        r#"[{{"channel":"/meta/subscribe","id":"{}","successful":false,"error":"403::no"}}]"#,
        sent[0].id().unwrap()
    );
    world.answer(Lane::Send, &no);
    assert!(matches!(slot.get(), Some(Err(Error::Rejected(_)))));
    world.answer(Lane::Poll, r#"[{"channel":"/a","data":1}]"#);
    assert_eq!((first.len(), second.len()), (1, 0));
    assert!(second.recv(None).is_err());
    assert_eq!(world.events(), []);
}

#[test]
fn a_subscription_refused_on_the_new_session_ends_and_is_told() {
    let mut world = World::connected();
    let (ring, ..) = world.subscribe("/a");
    world.accept();
    world.lose("d");
    let id = world.sent()[0].id().unwrap().to_owned();
    let no = format!(
        r#"[{{"channel":"/meta/subscribe","id":"{id}","successful":false,"error":"403::no"}}]"#
    );
    world.answer(Lane::Send, &no);
    assert!(ring.recv(None).is_err());
    let lost = |event: &Event| matches!(event, Event::SubscriptionLost { .. });
    assert_eq!(world.events().iter().filter(|event| lost(event)).count(), 1);
    world.lose("e");
    assert_eq!(world.sent(), [], "it is not tried again");
}

#[test]
fn the_last_subscriber_unsubscribes() {
    let mut world = World::connected();
    let (first, second) = (world.subscribe("/a").1, world.subscribe("/a").1);
    let local = world.subscribe("/service/x").1;
    world.accept();
    world.machine.remove_sink("/a", first);
    world.machine.remove_sink("/service/x", local);
    assert_eq!(world.sent(), []);
    world.machine.remove_sink("/a", second);
    world.machine.remove_sink("/a", second);
    let sent = world.sent();
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].channel(), "/meta/unsubscribe");
    assert_eq!(world.machine.dispatch().take_trash().len(), 3);
}

#[test]
fn without_a_session_there_is_nothing_to_unsubscribe_from() {
    let mut world = World::new();
    let (_, key, _) = world.subscribe("/a");
    world.machine.abandon(1);
    world.machine.remove_sink("/a", key);
    world.poll("c");
    assert_eq!(world.sent(), []);
}

#[test]
fn all_of_a_pattern_can_go_at_once() {
    let mut world = World::connected();
    let rings = [world.subscribe("/a").0, world.subscribe("/a").0];
    world.accept();
    let slot = Arc::new(Slot::default());
    world
        .machine
        .remove_pattern("/a", Arc::clone(&slot))
        .unwrap();
    assert!(rings.iter().all(|ring| ring.recv(None).is_err()));
    assert_eq!(world.accept(), ["/a"]);
    assert!(slot.get().unwrap().is_ok());
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
                    .for_each(|key| world.machine.remove_sink("/a", key)),
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
