//! The client and the server, both through their public faces: every test on both connectors, and
//! over each transport that they have.

use std::net::SocketAddr;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use bayeux::ClientId;
use bayeux::Config;
use bayeux::client::{
    Client, ClientBuilder, Error, Event, RecvError, State, Subscription, Transport,
};
use bayeux::config::Connector;
use bayeux::{Access, Action, AuthRequest, Decision, ServiceCall, ServiceReply};
use bayeux::{Server, ServerBuilder};
use serde_json::{Value, json};

use crate::common::ports::lasting_address;
use crate::common::wait::{PATIENCE, eventually};

#[path = "../../examples/client.rs"]
mod client_example;
#[path = "../../examples/reply_bot.rs"]
mod reply_bot;

macro_rules! everywhere {
    ($($name:ident)*) => {
        mod native_long_polling {
            $(#[test] fn $name() { super::$name(super::NATIVE_LONG_POLLING); })*
        }
        mod native_websocket {
            $(#[test] fn $name() { super::$name(super::NATIVE_WEBSOCKET); })*
        }
        mod tiny_http_long_polling {
            $(#[test] fn $name() { super::$name(super::TINY_HTTP_LONG_POLLING); })*
        }
        mod tiny_http_falling_back {
            $(#[test] fn $name() { super::$name(super::TINY_HTTP_FALLING_BACK); })*
        }
    };
}

/// Where a test takes place: the server's connector, and the transport that the client is told.
#[derive(Clone, Copy, Debug)]
struct Place {
    connector: Connector,
    transport: Transport,
}

const NATIVE_LONG_POLLING: Place = Place {
    connector: Connector::Native,
    transport: Transport::LongPolling,
};
const NATIVE_WEBSOCKET: Place = Place {
    connector: Connector::Native,
    transport: Transport::WebSocket,
};
const TINY_HTTP_LONG_POLLING: Place = Place {
    connector: Connector::TinyHttp,
    transport: Transport::LongPolling,
};
/// It has no WebSocket, which the client has to find out.
const TINY_HTTP_FALLING_BACK: Place = Place {
    connector: Connector::TinyHttp,
    transport: Transport::Auto,
};

everywhere! {
    messages_arrive_once_and_in_order
    both_ways_in_order_when_connects_deliver
    a_publisher_gets_its_own_copy
    callbacks_can_be_waited_for
    wildcards_deliver_one_copy_to_each_subscription
    services_are_called
    what_the_policy_denies_is_an_error_with_its_reason
    a_restarted_server_is_found_again
    the_server_can_dismiss_a_client
    leaving_ends_the_session_at_once
    many_clients_hear_each_other
    cookies_satisfy_a_strict_server
    a_reconnect_begins_a_new_session
    an_overflowing_client_comes_back
}

fn config(place: Place) -> Config {
    Config {
        connector: place.connector,
        demo: Some(false),
        ..Config::default()
    }
}

fn builder(config: Config) -> ServerBuilder {
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    Server::builder().config(config).listen([any])
}

fn server(place: Place) -> Server {
    builder(config(place)).start().unwrap()
}

fn to(place: Place, server: &Server) -> ClientBuilder {
    let (first, longest) = (Duration::from_millis(20), Duration::from_millis(200));
    Client::builder(&server.url())
        .transport(place.transport)
        .backoff(first, longest)
        .network_timeout(PATIENCE)
        .connect_timeout(PATIENCE)
}

fn numbers(subscription: &Subscription, count: usize) -> Vec<u64> {
    let next = |_| subscription.recv_timeout(PATIENCE).unwrap().data().unwrap();
    (0..count).map(next).collect()
}

fn messages_arrive_once_and_in_order(place: Place) {
    let server = server(place);
    let (from, to) = (
        to(place, &server).connect().unwrap(),
        to(place, &server).connect().unwrap(),
    );
    let subscription = to.subscribe("/numbers").unwrap();
    let acks: Vec<_> = (0..1000u64)
        .map(|n| from.publish_later("/numbers", &n).unwrap())
        .collect();
    assert!(acks.into_iter().all(|ack| ack.wait().is_ok()));
    assert!(numbers(&subscription, 1000).into_iter().eq(0..1000));
    assert!(subscription.is_empty());
    assert_eq!(from.stats().failures + to.stats().failures, 0);
}

fn both_ways_in_order_when_connects_deliver(place: Place) {
    let mut config = config(place);
    config.broker.meta_connect_deliver_only = true;
    let server = builder(config).start().unwrap();
    let (left, right) = (
        to(place, &server).connect().unwrap(),
        to(place, &server).connect().unwrap(),
    );
    let (at_left, at_right) = (
        left.subscribe("/to/left").unwrap(),
        right.subscribe("/to/right").unwrap(),
    );
    for n in 0..1000u64 {
        left.post("/to/right", &n).unwrap();
        right.post("/to/left", &n).unwrap();
    }
    assert!(numbers(&at_left, 1000).into_iter().eq(0..1000));
    assert!(numbers(&at_right, 1000).into_iter().eq(0..1000));
}

fn a_publisher_gets_its_own_copy(place: Place) {
    let server = server(place);
    let client = to(place, &server).connect().unwrap();
    let subscription = client.subscribe("/a").unwrap();
    let raw = serde_json::value::RawValue::from_string("{ \"n\":1.50e0 }".into()).unwrap();
    client.publish("/a", &raw).unwrap();
    let message = subscription.recv_timeout(PATIENCE).unwrap();
    assert_eq!(message.data_json(), "{ \"n\":1.50e0 }");
    assert_eq!(message.id(), None);
}

fn callbacks_can_be_waited_for(place: Place) {
    let server = server(place);
    let client = to(place, &server).connect().unwrap();
    let (heard, hears) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let released = parking_lot::Mutex::new(released);
    let _listening = client.listen("/a", move |message| {
        let _ = released.lock().recv();
        heard.send(message.data_json().to_owned()).unwrap();
    });
    client.publish("/a", &1).unwrap();
    assert!(!client.catch_up(Duration::from_millis(1)), "it is held up");
    drop(release);
    for n in 2..10 {
        client.publish("/a", &n).unwrap();
        // A poll that comes at that very moment may have taken the copy.
        eventually("it has run", || {
            assert!(client.catch_up(PATIENCE));
            hears.try_iter().last() == Some(n.to_string())
        });
    }
    let handle = client.handle();
    drop(client);
    assert!(!handle.catch_up(PATIENCE), "nothing runs any more");
}

fn wildcards_deliver_one_copy_to_each_subscription(place: Place) {
    let server = server(place);
    let client = to(place, &server).connect().unwrap();
    let patterns = ["/a/b", "/a/*", "/a/**", "/**"];
    let subscriptions = patterns.map(|pattern| client.subscribe(pattern).unwrap());
    let second = client.subscribe("/a/b").unwrap();
    assert_eq!(server.stats().broker.subscriptions, 4);
    server.broker().publish("/a/b", &1).unwrap();
    server.broker().publish("/a/c/d", &2).unwrap();
    let all: Vec<_> = subscriptions.iter().map(|one| numbers(one, 1)[0]).collect();
    assert_eq!(all, [1, 1, 1, 1]);
    assert_eq!(numbers(&second, 1), [1]);
    assert_eq!(numbers(&subscriptions[2], 1), [2]);
    assert_eq!(numbers(&subscriptions[3], 1), [2]);
    assert!(subscriptions.iter().all(Subscription::is_empty));
    drop(subscriptions);
    eventually("unsubscribed", || server.stats().broker.subscriptions == 1);
    client.unsubscribe("/a/b").unwrap();
    assert_eq!(server.stats().broker.subscriptions, 0);
    assert_eq!(second.recv(), Err(RecvError::Ended(Error::Closed)));
}

fn services_are_called(place: Place) {
    let double = |call: &ServiceCall<'_>| {
        let number: i64 = serde_json::from_str(call.data).unwrap_or_default();
        assert!(number >= 0, "the service panics");
        Ok(vec![ServiceReply::data(&(number * 2))?])
    };
    let server = builder(config(place))
        .service("/service/double", Access::Sessions, double)
        .start()
        .unwrap();
    let client = to(place, &server).connect().unwrap();
    let seen = client.subscribe("/service/**").unwrap();
    assert_eq!(server.stats().broker.subscriptions, 0);
    let answer = client.call("/service/double", &21, PATIENCE).unwrap();
    assert_eq!(answer.data_json(), "42");
    assert!(seen.is_empty(), "the call took it");
    client.publish("/service/double", &4).unwrap();
    assert_eq!(numbers(&seen, 1), [8]);
    for (service, data, code) in [("/service/double", -1, 500), ("/service/none", 1, 404)] {
        match client.call(service, &data, PATIENCE) {
            Err(Error::Rejected(rejection)) => assert_eq!(rejection.code(), Some(code)),
            other => panic!("{service}: {other:?}"),
        }
    }
}

fn what_the_policy_denies_is_an_error_with_its_reason(place: Place) {
    let policy = |request: &AuthRequest<'_>| match request.action {
        Action::Handshake if !request.ext.unwrap_or_default().contains("secret") => {
            Decision::deny("who are you")
        }
        Action::Subscribe if request.subscriptions[0].as_str() == "/no" => Decision::deny("sub"),
        Action::Publish if request.channel == "/no" => Decision::deny("pub"),
        _ => Decision::Allow,
    };
    let server = builder(config(place)).policy(policy).start().unwrap();
    let reason = |error| match error {
        Error::Rejected(rejection) => rejection.arguments().to_owned(),
        other => panic!("{other:?}"),
    };
    let refused = to(place, &server)
        .ext(&json!({"ticket": "guess"}))
        .connect();
    assert_eq!(reason(refused.unwrap_err()), "who are you");
    let client = to(place, &server)
        .credentials(|| Ok::<_, String>(json!({"ticket": "secret"})))
        .connect()
        .unwrap();
    assert_eq!(reason(client.subscribe("/no").unwrap_err()), "sub");
    assert_eq!(reason(client.publish("/no", &1).unwrap_err()), "pub");
    client.subscribe("/yes").unwrap();
    client.publish("/yes", &1).unwrap();
}

fn a_restarted_server_is_found_again(place: Place) {
    let address = lasting_address();
    // The acceptor of tiny_http lets go of the port in its own time. A connect that it takes until
    // then is answered by nobody: the client waits for as long as a connect may be held, and a bit.
    let timeout = Duration::from_secs(3);
    let start = || {
        let mut config = config(place);
        config.broker.timeout = timeout;
        let start = || builder(config.clone()).listen([address]).start().ok();
        let mut attempts = std::iter::repeat_with(|| {
            thread::park_timeout(Duration::from_millis(5));
            start()
        });
        attempts.by_ref().take(4000).flatten().next().unwrap()
    };
    let mut server = start();
    let (events, seen) = mpsc::channel();
    let client = to(place, &server)
        .network_timeout(Duration::from_secs(2))
        .on_event(move |event| drop(events.send(event.clone())))
        .connect()
        .unwrap();
    let subscription = client.subscribe("/a/**").unwrap();
    for round in 0..3u64 {
        server.shutdown(Duration::from_secs(5));
        let queued = client.publish_later("/a/x", &round).unwrap();
        server = start();
        let replaced = |event: Event| matches!(event, Event::SessionReplaced { .. });
        let mut events = std::iter::from_fn(|| seen.recv_timeout(PATIENCE).ok());
        assert!(events.any(replaced));
        // What was sent into the gap arrives, or its sender knows that it may not have.
        let received = match queued.wait() {
            Ok(_) => numbers(&subscription, 1) == [round],
            Err(error) => matches!(
                error,
                Error::Unacknowledged(_) | Error::SessionLost | Error::Rejected(_)
            ),
        };
        assert!(received, "round {round}");
        client.wait_connected(PATIENCE).unwrap();
        client.publish("/a/y", &(round + 100)).unwrap();
        assert_eq!(numbers(&subscription, 1), [round + 100]);
    }
    assert_eq!(client.stats().sessions, 4);
}

fn the_server_can_dismiss_a_client(place: Place) {
    let server = server(place);
    let client = to(place, &server).connect().unwrap();
    let subscription = client.subscribe("/a").unwrap();
    // Between two connects it would only learn that its session is unknown, and make another.
    eventually("held", || server.stats().broker.held == 1);
    let id = ClientId::parse(&client.client_id().unwrap()).unwrap();
    assert!(server.broker().disconnect(id));
    assert_eq!(
        subscription.recv_timeout(PATIENCE),
        Err(RecvError::Ended(Error::Disconnected))
    );
    assert_eq!(client.state(), State::Closed);
    assert_eq!(client.close_reason(), Some(Error::Disconnected));
    assert_eq!(client.publish("/a", &1), Err(Error::Closed));
}

fn leaving_ends_the_session_at_once(place: Place) {
    let server = server(place);
    let client = to(place, &server).linger(PATIENCE).connect().unwrap();
    let local = server.local_client();
    let inbox = local.subscribe_queue("/last").unwrap();
    eventually("held", || server.stats().broker.held == 1);
    client.post("/last", &"words").unwrap();
    let start = Instant::now();
    drop(client);
    assert!(start.elapsed() < PATIENCE / 2, "{:?}", start.elapsed());
    let stats = server.stats().broker;
    assert_eq!((stats.sessions, stats.ended_disconnected), (0, 1));
    assert!(local.recv_timeout(PATIENCE).is_some());
    drop(inbox);
}

fn many_clients_hear_each_other(place: Place) {
    let server = server(place);
    // `tiny-http` starves connections beyond the first few of a burst.
    let count = if place.connector == Connector::Native {
        20
    } else {
        2
    };
    let clients: Vec<_> = (0..count)
        .map(|_| to(place, &server).start().unwrap())
        .collect();
    let (heard, hearing) = mpsc::channel();
    let listening: Vec<_> = clients
        .iter()
        .map(|client| {
            let heard = heard.clone();
            let tell = move |message: &bayeux::client::Message| {
                heard.send(message.data::<Value>().unwrap()).unwrap();
            };
            client.listen("/room", tell).unwrap()
        })
        .collect();
    for (n, client) in clients.iter().enumerate() {
        client.post("/room", &json!({"from": n})).unwrap();
    }
    let mut counts = vec![0; clients.len()];
    for _ in 0..clients.len() * clients.len() {
        let said = hearing.recv_timeout(PATIENCE).unwrap();
        counts[usize::try_from(said["from"].as_u64().unwrap()).unwrap()] += 1;
    }
    assert!(
        counts.iter().all(|count| *count == clients.len()),
        "{counts:?}"
    );
    drop(listening);
    thread::scope(|scope| {
        clients
            .into_iter()
            .for_each(|one| drop(scope.spawn(|| drop(one))))
    });
    assert_eq!(server.stats().broker.sessions, 0);
}

fn cookies_satisfy_a_strict_server(place: Place) {
    let mut config = config(place);
    config.broker.require_browser_cookie = true;
    let server = builder(config).start().unwrap();
    let client = to(place, &server).connect().unwrap();
    let subscription = client.subscribe("/a").unwrap();
    client.publish("/a", &7).unwrap();
    assert_eq!(numbers(&subscription, 1), [7]);
    assert_eq!(client.stats().failures, 0);
}

fn a_reconnect_begins_a_new_session(place: Place) {
    let server = server(place);
    let client = to(place, &server).connect().unwrap();
    let subscription = client.subscribe("/a").unwrap();
    let before = client.client_id();
    eventually("held", || server.stats().broker.held == 1);
    client.reconnect();
    eventually("a new session", || {
        client.state() == State::Connected && client.client_id() != before
    });
    client.publish("/a", &1).unwrap();
    assert_eq!(numbers(&subscription, 1), [1]);
    assert_eq!(server.stats().broker.sessions, 1, "the old one is gone");
}

fn an_overflowing_client_comes_back(place: Place) {
    let mut config = config(place);
    config.broker.queue.messages = 10;
    let server = builder(config).start().unwrap();
    let client = Arc::new(to(place, &server).connect().unwrap());
    let subscription = client.subscribe("/a").unwrap();
    let local = server.local_client();
    // More than fits the queue before the client can come back for it.
    while server.stats().broker.ended_overflowed == 0 {
        for n in 0..1000 {
            local.publish("/a", &n).unwrap();
        }
    }
    eventually("back again", || {
        client.stats().sessions > 1 && client.state() == State::Connected
    });
    // The new session may have come into the flood too, and have no room for the first of these.
    eventually("subscribed again", || {
        local.publish("/a", &"back").unwrap();
        let mut came = std::iter::from_fn(|| subscription.try_recv().ok());
        came.any(|message| message.data_json() == "\"back\"")
    });
}

/// The examples: somebody visits the room of the bot, which answers who has no name, too.
#[test]
fn a_visitor_and_a_bot_talk() {
    let server = server(NATIVE_WEBSOCKET);
    let _bot = reply_bot::autobot(&server).unwrap();
    let (witness, stranger) = (server.local_client(), server.local_client());
    witness.subscribe_queue("/chat/demo").unwrap().keep();
    let typed = &b"Hello\n"[..];
    client_example::chat(&server.url(), "/chat/demo", "Ann", Duration::ZERO, typed).unwrap();
    stranger.publish("/chat/demo", &"no name").unwrap();
    let heard = || witness.recv_timeout(PATIENCE);
    let (mut visitor, mut bot) = (Vec::new(), Vec::new());
    for message in std::iter::from_fn(heard).take(10) {
        let said: Value = serde_json::from_str(message.data()).unwrap();
        match said["user"].as_str() {
            Some("Ann") => visitor.push(said),
            Some("Autobot") => bot.push(said["chat"].as_str().unwrap().to_owned()),
            _ => assert_eq!(said, json!("no name")),
        }
    }
    let lines = [
        json!({"user": "Ann", "join": true, "chat": "Ann has joined"}),
        json!({"user": "Ann", "chat": "Is anybody there?"}),
        json!({"user": "Ann", "chat": "Hello"}),
        json!({"user": "Ann", "leave": true, "chat": "Ann has left"}),
    ];
    assert_eq!(visitor, lines);
    let answers = ["Ann", "Ann", "Ann", "Ann", "anon"];
    assert_eq!(
        bot,
        answers.map(|name| format!("I got your message, {name}"))
    );
}
