//! User code around messages: what it is told, what it may do for clients, and that its failures
//! stay its own.

/// The example is a program; its policy is tested here.
#[path = "../../examples/password.rs"]
#[allow(dead_code)]
mod password;

use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, SystemTime};

use bayeux::Publisher;
use bayeux::{
    Access, Action, AuthRequest, BrokerConfig, Client, Decision, DeliveryDecision, Event,
    EventKind, Gone, LocalError, Principal, Verdict,
};
use bayeux::{ChannelName, ClientId, Publication};
use bayeux::{ServiceCall, ServiceError, ServiceReply};
use serde_json::{Value, json};

use crate::common::wait::PATIENCE;
use crate::common::world::{World, connect, data_of};

fn id_of(client: &str) -> ClientId {
    ClientId::parse(client).unwrap()
}

/// What the policy was asked, in short.
type Asked = Arc<Mutex<Vec<String>>>;

fn asked_world() -> (World, Asked) {
    let asked = Asked::default();
    let list = Arc::clone(&asked);
    let policy = move |request: &AuthRequest<'_>| {
        let who = match request.principal {
            Principal::Anonymous => "nobody",
            Principal::Session(_) => "session",
        };
        let patterns: Vec<&str> = request.subscriptions.iter().map(|p| p.as_str()).collect();
        list.lock().unwrap().push(format!(
            "{:?} {who} meta={} {} {patterns:?} data={} ext={} id={} type={} x={} from {}",
            request.action,
            request.action.is_meta(),
            request.channel,
            request.data.unwrap_or("-"),
            request.ext.unwrap_or("-"),
            request.id.unwrap_or("-"),
            request.connection_type.unwrap_or("-"),
            request.extra.get("x").unwrap_or("-"),
            request.peer.ip,
        ));
        Decision::Allow
    };
    let config = BrokerConfig {
        anonymous_publish: true,
        ..BrokerConfig::default()
    };
    (World::with_policy(config, Some(Box::new(policy))), asked)
}

/// One row of the predecessor's table for each kind of message: here all are asked about.
#[test]
fn the_policy_is_told_everything_about_every_kind_of_message() {
    let (mut world, asked) = asked_world();
    let echo = |call: &ServiceCall<'_>| Ok(vec![ServiceReply::raw_data(call.data)]);
    world
        .broker
        .add_service("/service/echo", Access::Anyone, echo)
        .unwrap();
    let handshake = json!({"channel": "/meta/handshake", "ext": {"a": 1}, "id": "h"});
    let a = world.reply(&handshake)["clientId"]
        .as_str()
        .unwrap()
        .to_owned();
    world.reply(&connect(&a));
    for message in [
        json!({"channel": "/meta/subscribe", "clientId": a, "subscription": ["/x", "/*"]}),
        json!({"channel": "/meta/unsubscribe", "clientId": a, "subscription": "/x"}),
        json!({"channel": "/z", "clientId": a, "data": 7, "x": [1]}),
        json!({"channel": "/z", "data": null}),
        json!({"channel": "/service/echo", "clientId": a, "data": 8}),
        json!({"channel": "/service/echo"}),
        json!({"channel": "/meta/disconnect", "clientId": a, "id": 9}),
    ] {
        world.ask(&json!([message]));
    }
    let expected = [
        "Handshake nobody meta=true /meta/handshake [] data=- ext={\"a\":1} id=\"h\" type=- x=-",
        "Connect session meta=true /meta/connect [] data=- ext=- id=\"c\" type=long-polling x=-",
        "Subscribe session meta=true /meta/subscribe [\"/x\", \"/*\"] data=- ext=- id=- type=- x=-",
        "Unsubscribe session meta=true /meta/unsubscribe [\"/x\"] data=- ext=- id=- type=- x=-",
        "Publish session meta=false /z [] data=7 ext=- id=- type=- x=[1]",
        "Publish nobody meta=false /z [] data=null ext=- id=- type=- x=-",
        "Call session meta=false /service/echo [] data=8 ext=- id=- type=- x=-",
        "Call nobody meta=false /service/echo [] data=- ext=- id=- type=- x=-",
        "Disconnect session meta=true /meta/disconnect [] data=- ext=- id=9 type=- x=-",
    ];
    let expected: Vec<_> = expected
        .iter()
        .map(|row| format!("{row} from 127.0.0.1"))
        .collect();
    assert_eq!(*asked.lock().unwrap(), expected);
}

#[derive(Debug, PartialEq)]
struct Role(&'static str);

/// Flags set by an allowed handshake belong to the session; those of a denied one vanish.
#[test]
fn flags_are_the_clients_own() {
    let seen: Arc<Mutex<Vec<Option<&'static str>>>> = Arc::default();
    let list = Arc::clone(&seen);
    let policy = move |request: &AuthRequest<'_>| match request.action {
        Action::Handshake => {
            request.flags.set(Role("admin"));
            match request.ext {
                Some(_) => Decision::deny("no"),
                None => Decision::Allow,
            }
        }
        Action::Publish => {
            let role = request.flags.get::<Role>();
            list.lock().unwrap().push(role.map(|role| role.0));
            Decision::Allow
        }
        _ => Decision::Allow,
    };
    let config = BrokerConfig {
        anonymous_publish: true,
        ..BrokerConfig::default()
    };
    let mut world = World::with_policy(config, Some(Box::new(policy)));
    world.reply(&json!({"channel": "/meta/handshake", "ext": {}}));
    let (a, b) = (world.handshake(), world.handshake());
    world
        .broker
        .with_flags(id_of(&b), |flags| flags.take::<Role>())
        .unwrap();
    for client in [json!(a), json!(b), Value::Null] {
        world.reply(&json!({"channel": "/x", "clientId": client, "data": 1}));
    }
    assert_eq!(*seen.lock().unwrap(), [Some("admin"), None, None]);
    assert!(
        world
            .broker
            .with_flags(ClientId::random(), |_| ())
            .is_none()
    );
}

/// The documented example: its two texts are the reasons, and nothing exists before success.
#[test]
fn a_username_and_a_password() {
    let policy = |request: &AuthRequest<'_>| password::judge(request, "secret");
    let mut world = World::with_policy(BrokerConfig::default(), Some(Box::new(policy)));
    let missing = "403:Must pass username and password in ext to handshake:handshake_denied";
    let wrong = "403:Invalid username or password:handshake_denied";
    for (ext, error) in [
        (Value::Null, missing),
        (json!({}), missing),
        (json!({"username": "admin"}), missing),
        (json!({"username": "admin", "password": 7}), missing),
        (json!({"username": "admin", "password": "guess"}), wrong),
        (json!({"username": "root", "password": "secret"}), wrong),
    ] {
        let reply = world.reply(&json!({"channel": "/meta/handshake", "ext": ext}));
        assert_eq!(
            (&reply["error"], reply.get("clientId")),
            (&json!(error), None)
        );
        assert_eq!(reply["advice"], json!({"reconnect": "none"}));
    }
    assert_eq!(world.broker.stats().sessions, 0);
    let ext = json!({"username": "admin", "password": "secret"});
    let reply = world.reply(&json!({"channel": "/meta/handshake", "ext": ext}));
    let id = id_of(reply["clientId"].as_str().unwrap());
    let user = world
        .broker
        .with_flags(id, |flags| flags.get::<password::User>());
    assert_eq!(user.flatten().unwrap().0, "admin");
}

#[test]
fn the_embedder_acts_on_behalf_of_a_client() {
    let mut world = World::new(BrokerConfig::default());
    let (a, b) = (world.open(), world.open());
    let broker = world.broker.clone();
    let bot = broker.local_client();
    let heard = bot.subscribe_queue("/x").unwrap();
    broker.subscribe(id_of(&a), "/x").unwrap();
    broker.subscribe(id_of(&a), "/x").unwrap();
    assert_eq!(broker.publish_as(id_of(&b), "/x", &1), Ok(2));
    assert_eq!(broker.publish("/x", &2), Ok(2));
    assert_eq!(bot.publish("/x", &3), Ok(2));
    let got = world.reply_all(&a);
    assert_eq!(data_of(&got), [json!(1), json!(2), json!(3)]);
    let publishers: Vec<Publisher> = std::iter::from_fn(|| bot.recv_timeout(Duration::ZERO))
        .map(|message| *message.publisher())
        .collect();
    let expected = [
        Publisher::Remote(id_of(&b)),
        Publisher::Nobody,
        Publisher::Local(bot.id()),
    ];
    assert_eq!(publishers, expected, "so that a bot can ignore itself");
    assert_eq!(broker.unsubscribe(id_of(&a), "/x"), Ok(true));
    assert_eq!(broker.unsubscribe(id_of(&a), "/x"), Ok(false));
    drop(heard);
    assert_eq!(broker.publish("/x", &4), Ok(0));
    let unknown = ClientId::random();
    assert_eq!(
        broker.subscribe(unknown, "/x"),
        Err(LocalError::UnknownClient)
    );
    assert_eq!(
        broker.unsubscribe(unknown, "/x"),
        Err(LocalError::UnknownClient)
    );
    assert_eq!(
        broker.publish_as(unknown, "/x", &1),
        Err(LocalError::UnknownClient)
    );
    assert_eq!(
        broker.subscribe(bot.id(), "/x"),
        Err(LocalError::UnknownClient)
    );
    for wrong in ["/meta/x", "/service/x", "x", ""] {
        let invalid = Err(LocalError::InvalidChannel(wrong.to_owned()));
        assert_eq!(broker.subscribe(id_of(&a), wrong), invalid);
        assert!(broker.publish_as(id_of(&a), wrong, &1).is_err());
    }
    assert!(broker.disconnect(id_of(&a)) && !broker.disconnect(id_of(&a)));
}

/// Whose messages are not sent back to their publisher is silent for this way too.
#[test]
fn publishing_as_a_client_obeys_what_holds_for_it() {
    let mut world = World::new(BrokerConfig {
        broadcast_to_publisher: false,
        max_subscriptions: 1,
        ..BrokerConfig::default()
    });
    let a = world.open();
    world.broker.subscribe(id_of(&a), "/x").unwrap();
    assert_eq!(world.broker.publish_as(id_of(&a), "/x", &1), Ok(0));
    let too_many = Err(LocalError::TooManySubscriptions);
    assert_eq!(world.broker.subscribe(id_of(&a), "/y"), too_many);
}

#[test]
fn a_silent_subscription_is_one_that_receives_nothing() {
    let world = World::new(BrokerConfig::default());
    let (told, events) = mpsc::channel();
    world
        .broker
        .add_observer(move |event| drop(told.send(format!("{event:?}"))));
    let bot = world.broker.local_client();
    let silent = bot.subscribe_silently("/x/**").unwrap();
    assert!(
        events
            .recv_timeout(PATIENCE)
            .unwrap()
            .starts_with("Connected")
    );
    assert!(
        events
            .recv_timeout(PATIENCE)
            .unwrap()
            .starts_with("Subscribed")
    );
    world.broker.publish("/x/y", &1).unwrap();
    let _loud = bot.subscribe_queue("/x/y").unwrap();
    world.broker.publish("/x/y", &2).unwrap();
    world.broker.publish("/x/z", &3).unwrap();
    let got = bot.recv_timeout(PATIENCE).unwrap();
    assert_eq!(
        (got.data(), bot.recv_timeout(Duration::ZERO).is_none()),
        ("2", true)
    );
    assert_eq!(world.broker.stats().queued_bytes, 0);
    drop(silent);
    assert_eq!(world.broker.publish("/x/z", &4).unwrap(), 0);
}

#[test]
fn observers_are_told_of_the_kinds_they_asked_for() {
    let world = World::new(BrokerConfig::default());
    let (told, events) = mpsc::channel();
    for kinds in [
        &[EventKind::Published, EventKind::Disconnected][..],
        &[EventKind::Subscribed],
        &[],
    ] {
        let told = told.clone();
        world.broker.add_observer_of(kinds.to_vec(), move |event| {
            told.send((kinds.len(), event.kind())).unwrap_or_default();
        });
    }
    let bot = world.broker.local_client();
    let subscription = bot.subscribe_queue("/x").unwrap();
    world.broker.publish("/x", &1).unwrap();
    world.broker.publish("/y", &1).unwrap();
    drop((subscription, bot, told));
    let mut seen: Vec<_> = (0..4)
        .map(|_| events.recv_timeout(PATIENCE).unwrap())
        .collect();
    // Each is told in order; between two there is none.
    seen.sort_by_key(|(observer, _)| *observer);
    let expected = [
        (1, EventKind::Subscribed),
        (2, EventKind::Published),
        (2, EventKind::Published),
        (2, EventKind::Disconnected),
    ];
    assert_eq!(seen, expected);
    drop(world);
    let rest = events.recv_timeout(PATIENCE);
    assert_eq!(rest, Err(mpsc::RecvTimeoutError::Disconnected));
}

#[test]
fn any_client_can_be_pushed_to_with_any_fields() {
    let mut world = World::new(BrokerConfig::default());
    let a = world.open();
    let bot = world.broker.local_client();
    let reply = ServiceReply::data(&1)
        .unwrap()
        .field("successful", &false)
        .unwrap();
    let reply = reply
        .field("clientId", &"x")
        .unwrap()
        .field("id", &"q")
        .unwrap();
    world
        .broker
        .push_reply(id_of(&a), "/service/x", &reply)
        .unwrap();
    world
        .broker
        .push_reply(bot.id(), "/service/x", &reply)
        .unwrap();
    let expected = json!({"channel": "/service/x", "data": 1, "successful": false, "id": "q"});
    assert_eq!(world.reply_all(&a)[0], expected);
    let got = bot.recv_timeout(PATIENCE).unwrap();
    assert_eq!(
        serde_json::from_slice::<Value>(got.json()).unwrap(),
        expected
    );
    let unknown = world.broker.push_reply(ClientId::random(), "/x", &reply);
    assert_eq!(unknown, Err(LocalError::UnknownClient));
    let elsewhere = ServiceReply::data(&1)
        .unwrap()
        .field("channel", &"/y")
        .unwrap();
    world
        .broker
        .push_reply(id_of(&a), "/x", &elsewhere)
        .unwrap();
    assert_eq!(world.reply_all(&a)[0]["channel"], "/y");
    assert!(
        world
            .broker
            .push_reply(id_of(&a), "nonsense", &reply)
            .is_err()
    );
}

/// The filter changes one receiver's copy and nobody else's, pushes included, in every order.
#[test]
fn the_filter_is_asked_for_each_receiver() {
    let mut world = World::new(BrokerConfig::default());
    let (a, b, c) = (world.open(), world.open(), world.open());
    let (deaf, partial) = (id_of(&a), id_of(&b));
    world
        .broker
        .set_delivery_filter(move |delivery| match delivery.receiver {
            Client::Remote(id) if id == deaf => DeliveryDecision::Drop,
            Client::Remote(id) if id == partial => {
                DeliveryDecision::Replace(Arc::new(delivery.publication.with_data("0")))
            }
            _ => DeliveryDecision::Pass,
        });
    let bot = world.broker.local_client();
    let _all = bot.subscribe_queue("/x").unwrap();
    for client in [&a, &b, &c] {
        world.subscribe(client, &json!("/x"));
    }
    let big = json!("a message of some length");
    assert_eq!(world.broker.publish("/x", &big), Ok(3));
    world.publish(&c, "/x", &big);
    assert_eq!(data_of(&world.reply_all(&a)), [] as [Value; 0]);
    assert_eq!(data_of(&world.reply_all(&b)), [json!(0), json!(0)]);
    let own = data_of(&world.reply_all(&c)).len();
    assert!(own <= 1, "the other came with the publish");
    for _ in 0..2 {
        assert_eq!(bot.recv_timeout(PATIENCE).unwrap().data(), big.to_string());
    }
    let push = |id| {
        world.broker.push(
            id,
            Publication::new(&"/p".try_into().unwrap(), "1", Publisher::Nobody),
        )
    };
    assert_eq!(push(deaf), Err(LocalError::Filtered));
    assert_eq!(push(partial), Ok(()));
    assert_eq!(data_of(&world.reply_all(&b)), [json!(0)]);
    assert_eq!(world.broker.stats().queued_bytes, 0);
}

/// A panic in each kind of hook: its caller gets an error, the others go on.
#[test]
fn a_panic_stays_where_it_is() {
    let policy = |request: &AuthRequest<'_>| match request.channel {
        "/policy" => panic!("a bad policy"),
        _ => Decision::Allow,
    };
    let mut world = World::with_policy(BrokerConfig::default(), Some(Box::new(policy)));
    let broker = world.broker.clone();
    broker
        .add_listener("/listener", |_| -> Verdict { panic!("a bad listener") })
        .unwrap();
    let bad = |_: &ServiceCall<'_>| panic!("a bad service");
    broker
        .add_service("/service/bad", Access::Sessions, bad)
        .unwrap();
    broker.set_fallback_service(Access::Sessions, bad);
    broker.add_observer(|_| panic!("a bad observer"));
    let events = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&events);
    broker.add_observer(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
    });
    broker.set_delivery_filter(|delivery| match delivery.publication.data() {
        "\"filter\"" => panic!("a bad filter"),
        _ => DeliveryDecision::Pass,
    });
    let bot = broker.local_client();
    let (heard, calls) = mpsc::channel();
    bot.subscribe("/x", move |message| {
        heard.send(message.data().to_owned()).unwrap();
        panic!("a bad callback");
    })
    .unwrap()
    .keep();
    let a = world.open();
    world.subscribe(&a, &json!("/x"));
    for (channel, error) in [
        ("/policy", "403::publish_denied"),
        ("/listener", "404::message_deleted"),
        ("/service/bad", "500:/service/bad:service_failed"),
        ("/service/other", "500:/service/other:service_failed"),
    ] {
        let reply = world.reply(&json!({"channel": channel, "clientId": a, "data": 1}));
        assert_eq!(reply["error"], error, "{channel}");
    }
    assert_eq!(
        data_of(&world.publish(&a, "/x", &json!("filter"))),
        [] as [Value; 0]
    );
    for n in 0..3 {
        assert_eq!(data_of(&world.publish(&a, "/x", &json!(n))), [json!(n)]);
        assert_eq!(calls.recv_timeout(PATIENCE).unwrap(), n.to_string());
    }
    world.until(|| events.load(Ordering::Relaxed) >= 8);
}

/// The kinds of events, their order, and the reasons that the predecessor did not give.
#[test]
fn observers_are_told_in_order() {
    let mut world = World::new(BrokerConfig::default());
    let (told, events) = mpsc::channel();
    world
        .broker
        .add_observer(move |event| drop(told.send(event.clone())));
    let a = world.handshake();
    world.subscribe(&a, &json!("/x"));
    world.subscribe(&a, &json!("/x"));
    let message = json!({"channel": "/x", "clientId": a, "data": 1, "id": "p", "ext": {"e": 1}});
    world.ask(&json!([message]));
    let push = Publication::new(&"/p".try_into().unwrap(), "2", Publisher::Nobody);
    world.broker.push(id_of(&a), push).unwrap();
    world
        .broker
        .push(
            ClientId::random(),
            Publication::new(&"/p".try_into().unwrap(), "3", Publisher::Nobody),
        )
        .unwrap_err();
    world.broker.publish("/nobody", &4).unwrap();
    world.reply_all(&a);
    world.broker.disconnect(id_of(&a));
    let client = Client::Remote(id_of(&a));
    let next = || events.recv_timeout(PATIENCE).unwrap();
    assert!(matches!(next(), Event::Connected { client: c, peer: Some(_) } if c == client));
    assert!(matches!(next(), Event::Subscribed { client: c, .. } if c == client));
    let Event::Published { publication } = next() else {
        panic!("what was published");
    };
    assert_eq!(*publication.publisher(), Publisher::Remote(id_of(&a)));
    assert_eq!(
        (publication.id(), publication.ext()),
        (Some("\"p\""), Some("{\"e\":1}"))
    );
    assert!(matches!(next(), Event::Pushed { client: c, .. } if c == client));
    let Event::Published { publication } = next() else {
        panic!("also when nobody listens");
    };
    assert_eq!(publication.channel().as_str(), "/nobody");
    assert!(matches!(next(), Event::Unsubscribed { client: c, .. } if c == client));
    let last = next();
    assert!(
        matches!(
            last,
            Event::Disconnected {
                reason: Gone::Dismissed,
                ..
            }
        ),
        "{last:?}"
    );
}

/// What is logged about clients shows no id that could be used, and no credentials.
#[test]
fn debug_output_holds_no_secrets() {
    let printed: Arc<Mutex<String>> = Arc::default();
    let text = Arc::clone(&printed);
    let policy = move |request: &AuthRequest<'_>| {
        *text.lock().unwrap() += &format!("{request:?}");
        Decision::Allow
    };
    let mut world = World::with_policy(BrokerConfig::default(), Some(Box::new(policy)));
    let text = Arc::clone(&printed);
    let service = move |call: &ServiceCall<'_>| {
        *text.lock().unwrap() += &format!("{call:?}");
        Ok(Vec::new())
    };
    world
        .broker
        .add_service("/service/x", Access::Sessions, service)
        .unwrap();
    let handshake = json!({"channel": "/meta/handshake", "ext": {"password": "hunter2"}});
    let a = world.reply(&handshake)["clientId"]
        .as_str()
        .unwrap()
        .to_owned();
    let (data, ext) = (json!("hunter2"), json!({"p": "hunter2"}));
    world.reply(&json!({"channel": "/service/x", "clientId": a, "data": data, "ext": ext}));
    let printed = printed.lock().unwrap();
    assert!(
        printed.contains("Handshake") && printed.contains("/service/x"),
        "{printed}"
    );
    assert!(
        !printed.contains(&a) && !printed.contains("hunter2"),
        "{printed}"
    );
}

/// What is known of a client, and what the delivery filter sees of it.
#[test]
fn sessions_keep_when_and_where_from() {
    let mut world = World::new(BrokerConfig::default());
    world.advance(Duration::from_secs(100));
    let a = world.open();
    world.advance(Duration::from_secs(10));
    world.subscribe(&a, &json!(["/x", "/a/*"]));
    world.advance(Duration::from_secs(10));
    world.subscribe(&a, &json!(["/x", "/b"]));
    let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    let info = world.broker.session(id_of(&a)).unwrap();
    assert_eq!((info.client, info.created), (id_of(&a).into(), at(100)));
    let local = Some(IpAddr::from([127, 0, 0, 1]));
    assert_eq!(info.address, local);
    let list = info.subscriptions.iter();
    let list: Vec<_> = list
        .map(|(pattern, since)| (pattern.as_str(), *since))
        .collect();
    assert_eq!(list, [("/a/*", at(110)), ("/b", at(120)), ("/x", at(110))]);
    let (told, seen) = mpsc::channel();
    world.broker.set_delivery_filter(move |delivery| {
        told.send(delivery.address).unwrap();
        DeliveryDecision::Pass
    });
    let bot = world.broker.local_client();
    bot.subscribe_silently("/b").unwrap().keep();
    world.broker.publish("/x", &1).unwrap();
    assert_eq!(seen.try_iter().collect::<Vec<_>>(), [local]);
    let info = world.broker.session(id_of(&a)).unwrap();
    assert_eq!((info.held, info.queued_messages), (false, 1));
    assert!(info.queued_bytes > 0);
    world.reply_all(&a);
    world.hold(&connect(&a));
    assert!(world.broker.session(id_of(&a)).unwrap().held);
    assert_eq!(world.broker.session(bot.id()).unwrap().address, None);
    world.broker.disconnect(id_of(&a));
    assert!(world.broker.session(id_of(&a)).is_none());
    assert!(world.broker.session(ClientId::random()).is_none());
}

/// No verb for the embedder publishes or pushes what clients would misread.
#[test]
fn nothing_forbidden_leaves_by_any_door() {
    let mut world = World::new(BrokerConfig::default());
    let a = world.open();
    world.subscribe(&a, &json!("/**"));
    let bot = world.broker.local_client();
    let broker = world.broker.clone();
    let name = |channel: &str| ChannelName::try_from(channel).unwrap();
    let new = |channel: &str, data: &str| Publication::new(&name(channel), data, Publisher::Nobody);
    let with = |fields: &[(&str, &str)]| Publication::with_fields(&name("/x"), fields);
    for channel in ["/meta/connect", "/meta/x", "/service/x"] {
        let refused = || Err(LocalError::InvalidChannel(channel.to_owned()));
        assert_eq!(broker.publish(channel, &1), refused());
        assert_eq!(broker.publish_encoded(&new(channel, "1").into()), refused());
        assert_eq!(broker.publish_as(id_of(&a), channel, &1), refused());
        assert_eq!(bot.publish(channel, &1), refused());
        assert!(broker.subscribe(id_of(&a), channel).is_err());
        assert!(bot.subscribe_queue(channel).is_err());
        if channel != "/service/x" {
            let refused = || Err(LocalError::InvalidChannel(channel.to_owned()));
            let reply = ServiceReply::data(&1).unwrap();
            assert_eq!(broker.push(id_of(&a), new(channel, "1")), refused());
            assert_eq!(bot.push(id_of(&a), channel, &1), refused());
            assert_eq!(broker.push_reply(id_of(&a), channel, &reply), refused());
            let named = reply.field("channel", &channel).unwrap();
            assert_eq!(broker.push_reply(id_of(&a), "/x", &named), refused());
        }
    }
    let is_invalid = |said: Result<usize, LocalError>| {
        assert!(matches!(said, Err(LocalError::InvalidData(_))), "{said:?}");
    };
    is_invalid(broker.publish_encoded(&new("/x", "1,\"advice\":{}").into()));
    is_invalid(broker.publish_encoded(&with(&[("advice", "{}")]).into()));
    is_invalid(broker.publish_encoded(&with(&[("successful", "true")]).into()));
    is_invalid(broker.push(id_of(&a), new("/x", "1}")).map(|()| 0));
    let broken = ServiceReply::raw_data("1}");
    is_invalid(broker.push_reply(id_of(&a), "/x", &broken).map(|()| 0));
    // Services: the call fails.
    let forging = |call: &ServiceCall<'_>| {
        let reply = match call.data {
            "1" => ServiceReply::raw_data("{\"a\":"),
            "2" => ServiceReply::data(&1)?.field("channel", &"/meta/connect")?,
            "3" => ServiceReply::data(&1)?.field("channel", &7)?,
            _ => ServiceReply::data(&1)?.field("id", &1)?.field("id", &2)?,
        };
        Ok::<_, ServiceError>(vec![reply])
    };
    broker
        .add_service("/service/x", Access::Sessions, forging)
        .unwrap();
    for (data, failed) in [(1, true), (2, true), (3, true), (4, false)] {
        let call = json!([{"channel": "/service/x", "clientId": a, "data": data, "id": 9}]);
        let items = world.ask(&call);
        let reply = items.last().unwrap();
        assert_eq!(
            reply["error"] == "500:/service/x:service_failed",
            failed,
            "{items:?}"
        );
        assert_eq!(items.len(), if failed { 1 } else { 2 });
    }
    // The delivery filter: the copy is dropped.
    broker.set_delivery_filter(move |delivery| {
        let channel = delivery.publication.channel();
        let meta = ChannelName::try_from("/meta/x").unwrap();
        DeliveryDecision::Replace(Arc::new(match delivery.publication.data() {
            "1" => Publication::new(&meta, "1", Publisher::Nobody),
            "2" => delivery.publication.with_data("2}"),
            "3" => Publication::with_fields(channel, &[("advice", "{}")]),
            _ => delivery.publication.with_data("\"good\""),
        }))
    });
    for n in 1..5 {
        world.broker.publish("/x", &n).unwrap();
    }
    assert_eq!(data_of(&world.reply_all(&a)), [json!("good")]);
    assert_eq!(world.broker.stats().queued_bytes, 0);
}
