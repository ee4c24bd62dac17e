//! What becomes of messages, told from the outside.

use std::time::Duration;

use super::*;
use crate::clock::{Clock as _, ManualClock};

struct World {
    outbox: Outbox,
    clock: ManualClock,
    options: Options,
    ids: u64,
}

impl World {
    fn new() -> Self {
        let backoff = Retries::new(Duration::from_secs(1), Duration::from_secs(60), 1);
        Self {
            outbox: Outbox::new(backoff),
            clock: ManualClock::new(),
            options: Options::default(),
            ids: 0,
        }
    }

    fn message(&mut self, kind: Kind, channel: &str) -> (Queued, Arc<Receipt>) {
        self.ids += 1;
        let receipt = Receipt::new(self.ids);
        let message = Queued::new(Arc::clone(&receipt), kind, channel);
        (message, receipt)
    }

    fn push(&mut self, kind: Kind, channel: &str) -> Arc<Receipt> {
        let (message, receipt) = self.message(kind, channel);
        self.outbox.push(vec![message], &self.options).unwrap();
        receipt
    }

    fn subscribe(&mut self, pattern: &str) {
        self.ids += 1;
        let subscribe = Queued::subscribe(self.ids, Kind::Subscribe, pattern, None);
        self.outbox.push(vec![subscribe], &self.options).unwrap();
    }

    fn take(&mut self) -> Option<String> {
        self.outbox
            .take(self.clock.now(), Some("me"), &self.options)
    }

    /// The ids in the next request.
    fn taken(&mut self) -> Vec<u64> {
        let body = self.take().unwrap_or_else(|| "[]".into());
        let messages = wire::decode(body.as_bytes()).unwrap();
        messages
            .iter()
            .map(|message| message.id().unwrap().parse().unwrap())
            .collect()
    }

    fn reply(&mut self, json: &str) -> bool {
        self.outbox.reply(&Message::parse(json).unwrap())
    }

    fn accept(&mut self, id: u64) {
        let json = format!(r#"{{"channel":"/x","id":"{id}","successful":true}}"#);
        assert!(self.reply(&json));
    }

    fn finish(&mut self, result: Result<(), Failure>) {
        let pause = result.as_ref().err().and_then(Failure::retry_after);
        self.outbox.finish(self.clock.now(), result, pause);
    }
}

fn broken() -> Result<(), Failure> {
    Err(Failure::Io(
        std::io::ErrorKind::ConnectionReset,
        "reset".into(),
    ))
}

#[test]
fn what_queues_up_leaves_together_and_in_order() {
    let mut world = World::new();
    let first = world.push(Kind::Publish, "/a");
    assert_eq!(
        world.take().unwrap(),
        r#"[{"channel":"/a","clientId":"me","id":"1"}]"#
    );
    world.push(Kind::Publish, "/a");
    world.push(Kind::Publish, "/b");
    assert_eq!(world.take(), None, "one request at a time");
    world.accept(1);
    assert!(first.get().unwrap().is_ok());
    world.finish(Ok(()));
    assert_eq!(world.taken(), [2, 3]);
}

#[test]
fn requests_are_bounded_but_one_message_always_fits() {
    let mut world = World::new();
    world.options.batch_messages = 2;
    (0..3).for_each(|_| drop(world.push(Kind::Publish, "/a")));
    assert_eq!(world.taken(), [1, 2]);
    world.finish(Ok(()));
    world.options.batch_bytes = 1;
    assert_eq!(world.taken(), [3]);
}

#[test]
fn the_queue_is_bounded_all_or_nothing() {
    let mut world = World::new();
    world.options.queue_messages = 2;
    world.push(Kind::Publish, "/a");
    let two = vec![
        world.message(Kind::Publish, "/a").0,
        world.message(Kind::Publish, "/a").0,
    ];
    let (back, error) = world.outbox.push(two, &world.options).unwrap_err();
    assert_eq!(back.len(), 2);
    assert!(matches!(error, Error::QueueFull { messages: 1, .. }));
    world.push(Kind::Publish, "/a");
    world.options.queue_messages = 100;
    world.options.queue_bytes = 10;
    let one = vec![world.message(Kind::Publish, "/a").0];
    assert!(world.outbox.push(one, &world.options).is_err());
    let nothing = world.outbox.push(Vec::new(), &world.options);
    assert!(nothing.is_ok(), "who joins a subscription sends nothing");
    world.taken();
    let one = vec![world.message(Kind::Publish, "/a").0];
    assert!(
        world.outbox.push(one, &world.options).is_ok(),
        "an empty queue takes anything"
    );
}

#[test]
fn rejections_and_missing_replies_are_errors() {
    let mut world = World::new();
    let (no, none) = (
        world.push(Kind::Publish, "/a"),
        world.push(Kind::Publish, "/a"),
    );
    world.taken();
    let json = r#"{"channel":"/a","id":"1","successful":false,"error":"403:x:denied"}"#;
    assert!(world.reply(json));
    world.finish(Ok(()));
    let Some(Err(Error::Rejected(rejection))) = no.get() else {
        panic!("{no:?}")
    };
    assert_eq!(rejection.code(), Some(403));
    assert_eq!(
        none.get(),
        Some(Err(Error::Unacknowledged(Failure::NoReply)))
    );
}

#[test]
fn a_broken_exchange_repeats_subscriptions_only() {
    let mut world = World::new();
    let publish = world.push(Kind::Publish, "/a");
    world.subscribe("/b");
    world.taken();
    world.finish(broken());
    let failed = publish.get();
    assert!(matches!(
        failed,
        Some(Err(Error::Unacknowledged(Failure::Io(..))))
    ));
    assert_eq!(world.outbox.reports(), []);
    assert_eq!(world.taken(), [] as [u64; 0], "not at once");
    assert!(world.outbox.due().unwrap() > world.clock.now());
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(world.taken(), [2]);
}

#[test]
fn what_was_never_sent_is_sent_again_in_order() {
    let mut world = World::new();
    let waiting = [
        world.push(Kind::Publish, "/a"),
        world.push(Kind::Publish, "/b"),
    ];
    world.taken();
    world.push(Kind::Publish, "/c");
    world.finish(Err(Failure::Connect("refused".into())));
    assert!(waiting.iter().all(|receipt| receipt.get().is_none()));
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(world.taken(), [1, 2, 3]);
}

#[test]
fn retry_after_is_obeyed_within_bounds() {
    for (asked, waited) in [(5, 5), (100_000, 60)] {
        let mut world = World::new();
        world.subscribe("/a");
        world.taken();
        let retry_after = Some(Duration::from_secs(asked));
        world.finish(Err(Failure::Status {
            code: 503,
            text: String::new(),
            retry_after,
        }));
        let due = world.clock.now() + Duration::from_secs(waited);
        assert_eq!(world.outbox.due(), Some(due));
    }
}

#[test]
fn a_lost_session_fails_what_was_sent_in_it() {
    let mut world = World::new();
    let publish = world.push(Kind::Publish, "/a");
    world.subscribe("/b");
    let unsubscribe = world.push(Kind::Unsubscribe, "/meta/unsubscribe");
    world.options.batch_messages = 3;
    assert_eq!(world.taken(), [1, 2, 3]);
    world.subscribe("/d");
    world.outbox.session_lost();
    assert_eq!(world.outbox.subscribes(), [4].into());
    for id in [2, 3] {
        let unknown = format!(
            r#"{{"channel":"/x","id":"{id}","successful":false,"error":"402::session_unknown"}}"#
        );
        assert_eq!(world.reply(&unknown), id == 3, "the subscribe is forgotten");
    }
    world.finish(Ok(()));
    assert_eq!(publish.get(), Some(Err(Error::SessionLost)));
    assert_eq!(unsubscribe.get(), None);
    assert_eq!(world.outbox.reports(), []);
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(world.taken(), [3, 4]);
}

#[test]
fn subscribes_for_a_new_session_have_patience_with_a_busy_server() {
    let refusal = |error| {
        let json = format!(
            r#"{{"channel":"/meta/subscribe","id":"1","successful":false,"error":"{error}"}}"#
        );
        Message::parse(&json).unwrap()
    };
    for again in [true, false] {
        let mut world = World::new();
        let kind = match again {
            true => Kind::Resubscribe,
            false => Kind::Subscribe,
        };
        world.push(kind, "/meta/subscribe");
        for _ in 0..3 {
            assert_eq!(world.taken(), [1]);
            assert!(world.outbox.reply(&refusal("503::busy")));
            world.finish(Ok(()));
            if !again {
                break;
            }
            assert_eq!(world.outbox.reports(), []);
            assert_eq!(world.taken(), [] as [u64; 0], "a busy server gets a pause");
            world.clock.advance(Duration::from_secs(4));
        }
        if again {
            assert_eq!(world.taken(), [1]);
            assert!(world.outbox.reply(&refusal("403::no")));
        }
        let reports = world.outbox.reports();
        let [
            Report::Subscribed {
                id: 1,
                outcome: Err(Error::Rejected(_)),
                ..
            },
        ] = &reports[..]
        else {
            panic!("{reports:?}")
        };
    }
}

#[test]
fn failures_that_nobody_waits_for_are_reported() {
    let mut world = World::new();
    drop(world.push(Kind::Publish, "/a"));
    world.taken();
    world.finish(Ok(()));
    let (channel, error) = ("/a".into(), Error::Unacknowledged(Failure::NoReply));
    assert_eq!(world.outbox.reports(), [Report::Unheard { channel, error }]);
}

#[test]
fn calls_wait_for_the_message_with_their_id() {
    let answer = r#"{"channel":"/service/a","id":"1","data":5}"#;
    let other = r#"{"channel":"/service/b","id":"1","data":5}"#;
    let mut world = World::new();
    for answer_first in [false, true] {
        world.ids = 0;
        let receipt = world.push(Kind::Call, "/service/a");
        world.taken();
        let message = Message::parse(answer).unwrap();
        if answer_first {
            assert!(world.outbox.answer(&message));
            world.accept(1);
        } else {
            world.accept(1);
            assert!(!world.outbox.answer(&Message::parse(other).unwrap()));
            world.finish(Ok(()));
            assert_eq!(receipt.get(), None);
            assert!(world.outbox.answer(&message), "a late answer");
        }
        world.finish(Ok(()));
        assert_eq!(receipt.get(), Some(Ok(message.clone())));
        assert!(!world.outbox.answer(&message), "once only");
    }
}

#[test]
fn calls_fail_when_refused_answered_with_an_error_or_cut_off() {
    let mut world = World::new();
    let waiting: Vec<_> = (0..4)
        .map(|_| world.push(Kind::Call, "/service/a"))
        .collect();
    world.taken();
    let refusal = |id| {
        format!(r#"{{"channel":"/service/a","id":"{id}","successful":false,"error":"404::x"}}"#)
    };
    assert!(world.reply(&refusal(1)));
    (2..=4).for_each(|id| world.accept(id));
    world.finish(Ok(()));
    assert!(world.reply(&refusal(2)), "a late answer without data");
    assert!(world.outbox.abandon(3), "it was sent");
    world.outbox.session_lost();
    assert!(matches!(waiting[0].get(), Some(Err(Error::Rejected(_)))));
    assert!(matches!(waiting[1].get(), Some(Err(Error::Rejected(_)))));
    assert_eq!(waiting[2].get(), None);
    assert_eq!(waiting[3].get(), Some(Err(Error::SessionLost)));
}

#[test]
fn what_has_not_left_can_be_taken_back() {
    let mut world = World::new();
    world.push(Kind::Publish, "/a");
    world.push(Kind::Publish, "/b");
    assert!(!world.outbox.abandon(1));
    assert_eq!(world.taken(), [2]);
    assert!(world.outbox.abandon(2));
    assert_eq!(world.outbox.queued_bytes, 0);
}

#[test]
fn the_disconnect_is_reported_whatever_becomes_of_it() {
    for result in [Ok(()), broken(), Err(Failure::Connect("refused".into()))] {
        let mut world = World::new();
        world.push(Kind::Disconnect, "/meta/disconnect");
        world.taken();
        world.finish(result);
        assert_eq!(world.outbox.reports(), [Report::Disconnected]);
    }
}

#[test]
fn an_old_session_is_named() {
    let mut world = World::new();
    let (mut forget, _) = world.message(Kind::Forget, "/meta/disconnect");
    forget.client_id = Some("old".into());
    world.outbox.push_first(vec![forget]);
    world.push(Kind::Publish, "/a");
    let request = world.outbox.take(world.clock.now(), None, &world.options);
    assert!(request.unwrap().contains(r#""clientId":"old""#));
    world.finish(Ok(()));
    assert_eq!(world.outbox.reports(), []);
    let request = world.outbox.take(world.clock.now(), None, &world.options);
    assert_eq!(request, None, "the rest needs a session");
}

#[test]
fn closing_fails_everything() {
    let mut world = World::new();
    let waiting = [
        world.push(Kind::Publish, "/a"),
        world.push(Kind::Call, "/service/a"),
    ];
    world.options.batch_messages = 1;
    world.taken();
    world.outbox.close(&Error::Closed);
    assert_eq!(world.outbox.reports(), []);
    assert!(
        waiting
            .iter()
            .all(|receipt| receipt.get() == Some(Err(Error::Closed)))
    );
    assert_eq!(world.outbox.len(), 0);
}

#[test]
fn a_pause_without_end_is_not_none() {
    let mut world = World::new();
    world.outbox.backoff = Retries::new(Duration::MAX, Duration::MAX, 1);
    world.push(Kind::Publish, "/a");
    world.taken();
    world.finish(Err(Failure::Connect("refused".into())));
    assert_eq!(world.take(), None);
    let wait = world.outbox.due().unwrap() - world.clock.now();
    assert!(wait > Duration::from_secs(1 << 30), "{wait:?}");
}

fn encoded(message: &Queued) -> String {
    let mut out = Vec::new();
    message.encode(&mut out, "me");
    let out = String::from_utf8(out).unwrap();
    assert!(out.len() <= message.size(), "{out}");
    out
}

#[test]
fn each_kind_has_its_form() {
    let message = |kind, channel| Queued::new(Receipt::new(7), kind, channel);
    let mut publish = message(Kind::Publish, "/a");
    (publish.data, publish.ext) = (Some("[1.0]".into()), Some("{}".into()));
    assert_eq!(
        encoded(&publish),
        r#"{"channel":"/a","clientId":"me","id":"7","data":[1.0],"ext":{}}"#
    );
    assert_eq!(
        encoded(&Queued::subscribe(7, Kind::Resubscribe, "/a/**", None)),
        r#"{"channel":"/meta/subscribe","clientId":"me","id":"7","subscription":"/a/**"}"#
    );
    let mut disconnect = message(Kind::Disconnect, "/meta/disconnect");
    assert_eq!(
        encoded(&disconnect),
        r#"{"channel":"/meta/disconnect","clientId":"me","id":"7"}"#
    );
    disconnect.client_id = Some("old".into());
    assert_eq!(
        encoded(&disconnect),
        r#"{"channel":"/meta/disconnect","clientId":"old","id":"7"}"#
    );
}
