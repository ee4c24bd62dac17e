//! Requests through a WebSocket: when they count as sent, answered and lost.

use super::*;

impl World {
    fn over_websocket() -> Self {
        let options = Options {
            network_timeout: Duration::from_secs(1),
            ..Options::default()
        };
        Self::over(options, Transport::WebSocket)
    }

    fn request(&mut self, exchange: Exchange) -> Request {
        self.next(exchange).unwrap()
    }

    fn received(&mut self, messages: &str) {
        let (now, messages) = (self.clock.now(), wire::decode(messages.as_bytes()).unwrap());
        self.model.received(now, &messages);
    }

    /// Connected through a socket that is open, with a connect that has left.
    fn with_socket() -> (Self, u64) {
        let mut world = Self::over_websocket();
        let handshake = world.request(Exchange::Connect);
        let socket = handshake.socket.unwrap();
        world.model.opened(world.clock.now(), socket);
        assert!(world.model.departs(handshake.number));
        let reply = r#"{"channel":"/meta/handshake","id":"1","successful":true,"clientId":"c"}"#;
        world.received(reply);
        let probe = world.request(Exchange::Connect);
        assert!(world.model.departs(probe.number));
        let advice = r#"{"channel":"/meta/connect","id":"2","successful":true,
                         "advice":{"timeout":30000}}"#;
        world.received(advice);
        let connect = world.request(Exchange::Connect);
        assert!(world.model.departs(connect.number));
        assert_eq!((probe.socket, connect.socket), (Some(socket), Some(socket)));
        (world, socket)
    }

    fn is_under_way(&self, exchange: Exchange) -> bool {
        self.model.under_way[exchange as usize].is_some()
    }
}

#[test]
fn an_exchange_ends_with_its_last_reply() {
    let (mut world, _) = World::with_socket();
    let (first, second) = (world.publish("/a"), world.publish("/b"));
    let (a, b) = (first.id, second.id);
    let send = world.request(Exchange::Send);
    assert!(world.model.departs(send.number));
    world.received(&format!(
        r#"[{{"channel":"/a","successful":true,"id":"{a}"}},
            {{"channel":"/b","data":1,"id":"{b}"}},
            {{"channel":"/service/b","data":1,"id":"{b}","successful":true}},
            {{"channel":"/b","successful":true,"id":"3"}}]"#
    ));
    assert!(world.is_under_way(Exchange::Send));
    assert!(first.get().unwrap().is_ok());
    assert_eq!(second.get(), None);
    world.received(&format!(
        r#"[{{"channel":"/b","successful":false,"id":{b}}}]"#
    ));
    assert!(!world.is_under_way(Exchange::Send));
    assert!(matches!(second.get(), Some(Err(Error::Rejected(_)))));
    assert!(world.is_under_way(Exchange::Connect));
    world.received(r#"{"channel":"/meta/connect","successful":true}"#);
    assert!(!world.is_under_way(Exchange::Connect));
    assert_eq!(world.model.session.state(), State::Connected);
}

#[test]
fn what_did_not_leave_may_be_sent_again() {
    let (mut world, socket) = World::with_socket();
    let publish = world.publish("/a");
    let given_up = world.request(Exchange::Send);
    world.clock.advance(Duration::from_secs(1));
    world.events();
    assert_eq!(world.ask(Exchange::Send), None);
    assert_eq!(publish.get(), None, "it waits for the next attempt");
    let send = world.request(Exchange::Send);
    assert!(
        !world.model.departs(given_up.number),
        "it would leave twice"
    );
    let code = Some(1001);
    let closed = Failure::Closed {
        code,
        reason: "bye".into(),
    };
    let now = world.clock.now();
    world.model.closed(now, socket, &closed);
    world.model.closed(now, socket, &Failure::Timeout);
    let failed = |event: &Event| match event {
        Event::Trouble { error, .. } => Some(error.clone()),
        _ => None,
    };
    let failures: Vec<_> = world.events().iter().filter_map(failed).collect();
    assert_eq!(failures, [Error::Failed(closed)], "the first reason counts");
    assert!(!world.model.departs(send.number), "it goes to the next one");
    assert_eq!(publish.get(), None);
    let connect = world.request(Exchange::Connect);
    let next = connect.socket.unwrap();
    assert!(next > socket);
    world.model.opened(world.clock.now(), next);
    assert!(world.model.departs(connect.number));
    world.received(r#"{"channel":"/meta/connect","successful":true}"#);
    let again = world.request(Exchange::Send);
    assert_eq!(again.socket, Some(next));
    assert!(again.body.contains("/a") && world.model.departs(again.number));
}

#[test]
fn what_had_left_is_never_sent_again() {
    let (mut world, socket) = World::with_socket();
    let publish = world.publish("/a");
    let send = world.request(Exchange::Send);
    assert!(world.model.departs(send.number));
    let lost = Failure::Connect("the connection has ended".into());
    world.model.closed(world.clock.now(), socket, &lost);
    let outcome = publish.get();
    let Some(Err(Error::Unacknowledged(Failure::Io(kind, _)))) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(kind, std::io::ErrorKind::NotConnected);
}

#[test]
fn a_connect_without_an_answer_means_a_dead_socket() {
    let (mut world, socket) = World::with_socket();
    let limit = world.model.due(Exchange::Connect).unwrap();
    let allowed = limit - world.clock.now();
    assert_eq!(
        allowed,
        Duration::from_secs(31),
        "the hold, and the network"
    );
    world.clock.advance(allowed);
    assert_eq!(world.ask(Exchange::Connect), None);
    assert_eq!(world.model.session.state(), State::Interrupted);
    let next = world.request(Exchange::Connect);
    assert!(next.socket > Some(socket));
}

#[test]
fn the_answer_has_its_time_from_when_the_socket_opened() {
    let mut world = World::over_websocket();
    let handshake = world.request(Exchange::Connect);
    let start = world.clock.now();
    let opening = Some(start + Duration::from_secs(3));
    assert_eq!(world.model.due(Exchange::Connect), opening);
    world.clock.advance(Duration::from_secs(2));
    let (now, socket) = (world.clock.now(), handshake.socket.unwrap());
    world.model.opened(now, socket + 1);
    assert_eq!(world.model.due(Exchange::Connect), opening, "another one");
    world.model.opened(now, socket);
    let answering = Some(now + Duration::from_secs(1));
    assert_eq!(world.model.due(Exchange::Connect), answering);
}

#[test]
fn a_socket_lost_between_two_connects_is_replaced_after_a_pause() {
    let (mut world, socket) = World::with_socket();
    world.received(r#"{"channel":"/meta/connect","successful":true}"#);
    world.events();
    let (now, lost) = (world.clock.now(), Failure::Timeout);
    world.model.closed(now, socket, &lost);
    assert_eq!(world.states(), [State::Interrupted]);
    assert_eq!(world.model.stats().failures, 1);
    let next = world.request(Exchange::Connect);
    assert!(world.clock.now() >= now + Duration::from_millis(500));
    assert!(next.socket > Some(socket) && next.body.contains(r#""timeout":0"#));
}

#[test]
fn a_socket_that_is_not_in_use_may_go() {
    let mut world = World::over(Options::default(), Transport::Auto);
    let handshake = world.request(Exchange::Connect);
    let (now, socket) = (world.clock.now(), handshake.socket.unwrap());
    world.model.opened(now, socket);
    assert!(world.model.departs(handshake.number));
    world.received(
        r#"{"channel":"/meta/handshake","successful":true,"clientId":"c",
            "supportedConnectionTypes":["long-polling"]}"#,
    );
    world.events();
    world.model.closed(now, socket, &Failure::Timeout);
    assert_eq!(world.events(), []);
    assert_eq!(world.model.session.state(), State::Connecting);
    assert_eq!(world.request(Exchange::Connect).socket, None);
}
