//! Every turn that a session can take.

use super::*;
use crate::clock::{Clock as _, ManualClock};

struct World {
    session: Session,
    clock: ManualClock,
}

const OFFERED: [Transport; 1] = [Transport::LongPolling];

impl World {
    fn new() -> Self {
        let clock = ManualClock::new();
        let backoff = Retries::new(Duration::from_secs(1), Duration::from_secs(60), 1);
        Self {
            session: Session::new(clock.now(), backoff),
            clock,
        }
    }

    /// Waits for the next request; says how long that took.
    fn turn(&mut self) -> (Step, Duration) {
        let start = self.clock.now();
        let due = self.session.due().expect("because something is due");
        self.clock.advance(due.saturating_duration_since(start));
        let turn = self
            .session
            .next(self.clock.now())
            .expect("because it is due now");
        assert_eq!(self.session.due(), None, "one request at a time");
        (turn, self.clock.now() - start)
    }

    fn reply(&mut self, fields: &str) -> Change {
        let handshake = self.session.step == Some(Step::Handshake);
        let channel = if handshake {
            "/meta/handshake"
        } else {
            "/meta/connect"
        };
        let reply = format!(r#"{{"channel":"{channel}",{fields}}}"#);
        let reply = Message::parse(&reply).expect("because the test wrote it");
        let now = self.clock.now();
        let change = match handshake {
            true => self.session.handshaken(now, &reply, &OFFERED),
            false => self.session.connected(now, &reply),
        };
        assert_eq!(self.session.finish(now, Ok(()), None), Change::Nothing);
        change
    }

    fn fail(&mut self) -> Change {
        let error = Error::Failed(Failure::Timeout);
        self.session.finish(self.clock.now(), Err(error), None)
    }

    fn handshake(&mut self) -> Change {
        assert_eq!(self.turn().0, Step::Handshake);
        self.reply(r#""successful":true,"clientId":"c""#)
    }

    fn connect(&mut self, advice: &str) -> Change {
        self.turn();
        self.reply(&format!(r#""successful":true,"advice":{advice}"#))
    }

    fn connected() -> Self {
        let mut world = Self::new();
        world.handshake();
        world.connect(r#"{"reconnect":"retry","interval":0,"timeout":30000}"#);
        assert_eq!(world.session.state(), State::Connected);
        world
    }
}

fn is_trouble(change: &Change, is_lost: bool) -> bool {
    matches!(change, Change::Trouble { lost, .. } if *lost == is_lost)
}

const HOLD: Step = Step::Connect {
    probe: false,
    ext: None,
    hold: Duration::from_secs(30),
};
const PROBE: Step = Step::Connect {
    probe: true,
    ext: None,
    hold: Duration::ZERO,
};

#[test]
fn the_first_connect_asks_where_we_stand_and_the_next_is_held() {
    let mut world = World::new();
    assert!(world.session.open().is_none());
    assert_eq!(world.handshake(), Change::Established { gap: None });
    assert_eq!(world.session.state(), State::Connecting);
    assert!(world.session.open().is_some());
    assert_eq!(world.turn(), (PROBE, Duration::ZERO));
    let advice = r#""successful":true,"advice":{"interval":250,"timeout":30000}"#;
    assert_eq!(world.reply(advice), Change::Nothing);
    assert_eq!(world.session.state(), State::Connected);
    assert_eq!(world.turn(), (HOLD, Duration::from_millis(250)));
}

#[test]
fn a_broken_connect_is_tried_again_in_the_same_session() {
    let mut world = World::connected();
    let mut waits = Vec::new();
    for _ in 0..8 {
        world.turn();
        assert!(is_trouble(&world.fail(), false));
        assert_eq!(world.session.state(), State::Interrupted);
        assert!(world.session.open().is_none());
        waits.push(world.session.due().unwrap() - world.clock.now());
    }
    for (wait, full) in waits.iter().zip([1, 2, 4, 8, 16, 32, 60, 60]) {
        let full = Duration::from_secs(full);
        assert!(*wait <= full && *wait >= full / 2, "{wait:?} of {full:?}");
    }
    assert_eq!(world.turn().0, PROBE);
    world.reply(r#""successful":true"#);
    assert_eq!(world.session.state(), State::Connected);
    assert_eq!(world.turn().0, HOLD);
}

#[test]
fn the_interval_is_added_to_the_back_off() {
    let mut world = World::connected();
    world.connect(r#"{"interval":5000}"#);
    world.turn();
    world.fail();
    let wait = world.session.due().unwrap() - world.clock.now();
    assert!(
        wait >= Duration::from_millis(5500) && wait <= Duration::from_secs(6),
        "{wait:?}"
    );
}

#[test]
fn an_unknown_session_is_replaced_at_once() {
    for fields in [
        r#""successful":false,"error":"402::x","advice":{"reconnect":"handshake","interval":0}"#,
        r#""successful":false,"error":"402::x""#,
        r#""successful":true,"advice":{"reconnect":"handshake"}"#,
    ] {
        let mut world = World::connected();
        world.turn();
        world.clock.advance(Duration::from_secs(7));
        assert!(is_trouble(&world.reply(fields), true), "{fields}");
        assert_eq!(world.session.state(), State::Handshaking);
        assert_eq!(world.session.client_id(), None);
        assert_eq!(world.turn(), (Step::Handshake, Duration::ZERO));
        let gap = match fields.contains("true") {
            true => Duration::ZERO,
            false => Duration::from_secs(7),
        };
        let established = world.reply(r#""successful":true,"clientId":"d""#);
        assert_eq!(established, Change::Established { gap: Some(gap) });
        assert_eq!(world.session.client_id(), Some("d"));
    }
}

#[test]
fn a_server_that_keeps_forgetting_is_not_hit_in_a_tight_loop() {
    let mut world = World::connected();
    let start = world.clock.now();
    for _ in 0..8 {
        world.turn();
        world.reply(r#""successful":false,"advice":{"reconnect":"handshake","interval":0}"#);
        world.handshake();
        world.connect("{}");
        assert_eq!(world.session.state(), State::Connected);
    }
    assert!(world.clock.now() - start >= Duration::from_secs(60));
    world.clock.advance(Duration::from_secs(1));
    world.turn();
    world.reply(r#""successful":false,"advice":{"reconnect":"handshake","interval":0}"#);
    assert_eq!(
        world.turn(),
        (Step::Handshake, Duration::ZERO),
        "all is forgiven"
    );
}

#[test]
fn a_refused_connect_waits_as_advised() {
    let mut world = World::connected();
    world.turn();
    let change = world.reply(
        r#""successful":false,"error":"409::connect_superseded",
           "advice":{"reconnect":"retry","interval":2000}"#,
    );
    assert!(is_trouble(&change, false));
    let (turn, waited) = world.turn();
    assert_eq!(turn, PROBE);
    assert!(waited >= Duration::from_millis(2500) && waited <= Duration::from_secs(3));
}

#[test]
fn multiple_clients_slow_the_client_down() {
    let mut world = World::connected();
    world.connect(r#"{"multiple-clients":true,"reconnect":"retry","interval":2000}"#);
    assert_eq!(world.turn(), (HOLD, Duration::from_secs(2)));
}

#[test]
fn none_ends_it() {
    let mut world = World::connected();
    world.turn();
    let change = world.reply(r#""successful":true,"advice":{"reconnect":"none"}"#);
    assert_eq!(change, Change::Ended(Error::Disconnected));
    assert_eq!(
        (world.session.state(), world.session.due()),
        (State::Closed, None)
    );

    let no = r#""successful":false,"error":"403:no:x","advice":{"reconnect":"none"}"#;
    let mut world = World::connected();
    world.turn();
    assert!(matches!(world.reply(no), Change::Ended(Error::Rejected(_))));
    let mut world = World::new();
    world.turn();
    assert!(matches!(world.reply(no), Change::Ended(Error::Rejected(_))));
}

#[test]
fn failed_handshakes_are_tried_again_with_back_off() {
    let mut world = World::new();
    for (round, fields) in [
        r#""successful":false,"error":"503::session_limit""#,
        r#""successful":false,"advice":{"reconnect":"handshake","interval":0}"#,
        r#""successful":true"#,
        r#""successful":true,"clientId":5"#,
        r#""clientId":"c""#,
    ]
    .iter()
    .enumerate()
    {
        assert_eq!(world.turn().0, Step::Handshake);
        assert!(is_trouble(&world.reply(fields), false), "{fields}");
        let wait = world.session.due().unwrap() - world.clock.now();
        assert!(wait >= Duration::from_millis(500 << round), "{wait:?}");
    }
    world.turn();
    assert!(is_trouble(&world.fail(), false));
    assert!(matches!(
        world.handshake(),
        Change::Established { gap: None }
    ));
}

#[test]
fn a_server_that_cannot_work_is_given_up() {
    for (fields, error) in [
        (
            r#""successful":true,"clientId":"c","supportedConnectionTypes":["x"]"#,
            Error::NoCommonTransport(vec!["x".into()]),
        ),
        (
            r#""successful":true,"clientId":"c","minimumVersion":"2.0""#,
            Error::Version("2.0".into()),
        ),
    ] {
        let mut world = World::new();
        world.turn();
        assert_eq!(world.reply(fields), Change::Ended(error));
    }
    let mut world = World::new();
    world.turn();
    let fine = r#""successful":true,"clientId":"c","minimumVersion":"1.0beta","version":"9",
                  "supportedConnectionTypes":["websocket","long-polling"]"#;
    assert!(matches!(world.reply(fine), Change::Established { .. }));
}

#[test]
fn an_answer_without_the_reply_is_a_failure() {
    let mut world = World::new();
    world.turn();
    let change = world.session.finish(world.clock.now(), Ok(()), None);
    assert!(is_trouble(&change, false));
    let mut world = World::connected();
    world.turn();
    let change = world.session.finish(world.clock.now(), Ok(()), None);
    assert!(is_trouble(&change, false));
    assert_eq!(world.session.state(), State::Interrupted);
}

#[test]
fn replies_nobody_asked_for_change_nothing() {
    let mut world = World::connected();
    let now = world.clock.now();
    let reply = |channel: &str| {
        let json = format!(
            r#"{{"channel":"{channel}","successful":true,"clientId":"evil",
                "advice":{{"reconnect":"none"}}}}"#
        );
        Message::parse(&json).unwrap()
    };
    let (handshake, connect) = (reply("/meta/handshake"), reply("/meta/connect"));
    assert_eq!(world.session.connected(now, &connect), Change::Nothing);
    world.turn();
    assert_eq!(
        world.session.handshaken(now, &handshake, &OFFERED),
        Change::Nothing
    );
    world.reply(r#""successful":true"#);
    assert_eq!(world.session.connected(now, &connect), Change::Nothing);
    assert_eq!(world.session.client_id(), Some("c"));
    assert_eq!(world.session.state(), State::Connected);
}

#[test]
fn acknowledged_batches_are_counted() {
    let mut world = World::new();
    world.turn();
    world.reply(r#""successful":true,"clientId":"c","ext":{"ack":true}"#);
    for (expected, reported) in [(0, "1"), (1, "2"), (2, "\"x\""), (2, "9")] {
        let (turn, _) = world.turn();
        assert!(matches!(turn, Step::Connect { ext: Some(ext), .. }
            if ext == format!("{{\"ack\":{expected}}}")));
        world.reply(&format!(r#""successful":true,"ext":{{"ack":{reported}}}"#));
    }
    world.turn();
    world.reply(r#""successful":false,"error":"402::x""#);
    world.handshake();
    assert!(matches!(world.turn().0, Step::Connect { ext: None, .. }));
}

#[test]
fn a_pause_that_the_server_asks_for_is_obeyed_within_bounds() {
    for (asked, waited) in [(20, 20), (100_000, 60)] {
        let mut world = World::new();
        world.turn();
        let (now, error) = (world.clock.now(), Error::Failed(Failure::Timeout));
        world
            .session
            .finish(now, Err(error), Some(Duration::from_secs(asked)));
        assert_eq!(world.turn().1, Duration::from_secs(waited));
    }
}

#[test]
fn a_restart_ignores_what_is_under_way() {
    let mut world = World::connected();
    world.turn();
    assert_eq!(
        world.session.restart(world.clock.now()).as_deref(),
        Some("c")
    );
    assert_eq!(world.session.due(), None, "the connect is still held");
    assert_eq!(
        world.reply(r#""successful":true,"advice":{"reconnect":"none"}"#),
        Change::Nothing
    );
    assert!(matches!(
        world.handshake(),
        Change::Established { gap: Some(_) }
    ));
}

#[test]
fn after_the_disconnect_nothing_is_due() {
    let mut world = World::connected();
    world.turn();
    world.session.disconnecting();
    assert!(
        world.session.open().is_some(),
        "the disconnect itself has to leave"
    );
    assert_eq!(world.fail(), Change::Nothing);
    assert_eq!(
        (world.session.state(), world.session.due()),
        (State::Disconnecting, None)
    );
    world.session.close();
    assert!(world.session.open().is_none());
    assert_eq!(world.session.restart(world.clock.now()), None);
}

#[test]
fn an_ext_of_any_kind_is_no_danger() {
    for ext in [
        "[]",
        "5",
        "\"ack\"",
        "true",
        "null",
        "[{\"ack\":true}]",
        "{\"ack\":[1]}",
    ] {
        let mut world = World::new();
        world.turn();
        let fields = format!(r#""successful":true,"clientId":"c","ext":{ext}"#);
        assert_eq!(world.reply(&fields), Change::Established { gap: None });
        world.turn();
        let fields = format!(r#""successful":true,"ext":{ext}"#);
        assert_eq!(world.reply(&fields), Change::Nothing);
    }
}

#[test]
fn a_pause_without_end_is_not_none() {
    let mut world = World::new();
    world.session.backoff = Retries::new(Duration::MAX, Duration::MAX, 1);
    world.turn();
    world.fail();
    let wait = world.session.due().unwrap() - world.clock.now();
    assert!(wait > Duration::from_secs(1 << 30), "{wait:?}");
}

fn merged(advice: &str) -> Advice {
    let json = format!(r#"{{"channel":"/meta/connect","advice":{advice}}}"#);
    let mut merged = Advice {
        interval: Duration::from_millis(7),
        ..Advice::default()
    };
    merged.merge(&Message::parse(&json).unwrap());
    merged
}

#[test]
fn what_is_left_out_stays() {
    let full = merged(r#"{"reconnect":"handshake","interval":250,"timeout":30000}"#);
    assert_eq!(full.reconnect, Reconnect::Handshake);
    assert_eq!(full.interval, Duration::from_millis(250));
    assert_eq!(full.timeout, Duration::from_secs(30));
    let part = merged(r#"{"reconnect":"none"}"#);
    assert_eq!(part.reconnect, Reconnect::None);
    assert_eq!(part.interval, Duration::from_millis(7));
}

#[test]
fn nonsense_changes_nothing() {
    let before = merged("{}");
    for advice in [
        "5",
        "null",
        "[]",
        r#"{"reconnect":"maybe","interval":-1,"timeout":"long"}"#,
        r#"{"reconnect":4,"interval":null,"timeout":{}}"#,
    ] {
        assert_eq!(merged(advice), before, "{advice}");
    }
}

#[test]
fn an_hour_is_the_longest() {
    let far = merged(r#"{"interval":1e300,"timeout":86400000}"#);
    assert_eq!(far.interval, Duration::from_secs(3600));
    assert_eq!(far.timeout, Duration::from_secs(3600));
}
