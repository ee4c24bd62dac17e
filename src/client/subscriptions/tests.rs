//! Who gets what, and what the server is asked.

use super::*;

struct World(Subscriptions);

impl World {
    fn new() -> Self {
        let mut subscriptions = Subscriptions::new(10, 1000);
        subscriptions.listen(Listener(Arc::new(|_: &Event| ())));
        Self(subscriptions)
    }

    fn add(&mut self, pattern: &str, id: u64) -> (u64, bool, Arc<Receipt>) {
        let (sink, receipt) = (Sink::Ring(Arc::new(Ring::new(1, 1000))), Receipt::new(id));
        let pattern = Pattern::try_from(pattern).unwrap();
        let waiting = Some(Arc::clone(&receipt));
        let (key, ask) = self.0.add(&pattern, None, sink, waiting);
        (key, ask, receipt)
    }

    fn add_quietly(&mut self, sink: Sink) {
        let pattern = Pattern::try_from("/a").unwrap();
        self.0.add(&pattern, None, sink, None);
    }

    fn count(&self, channel: &str) -> usize {
        matching(&self.0.patterns, channel).count()
    }

    fn jobs(&mut self) -> Vec<Job> {
        std::iter::from_fn(|| self.0.next_job()).collect()
    }
}

fn message() -> Message {
    Message::parse(r#"{"channel":"/a"}"#).unwrap()
}

fn yes() -> Outcome {
    Ok(Message::local_success())
}

#[test]
fn all_matching_subscriptions_get_it() {
    let mut world = World::new();
    let patterns = [
        "/a/b", "/a/*", "/a/**", "/**", "/a", "/a/b", "/*", "/meta/*",
    ];
    for pattern in patterns {
        world.add(pattern, 1);
    }
    for (channel, count) in [
        ("/a/b", 5),
        ("/a", 3),
        ("/a/b/c", 2),
        ("/z", 2),
        ("/meta/connect", 1),
        ("/service/x", 0),
        ("not a channel", 0),
    ] {
        assert_eq!(world.count(channel), count, "{channel}");
    }
}

#[test]
fn the_server_is_asked_once() {
    let mut world = World::new();
    let (_, first_asks, first) = world.add("/a", 1);
    let (_, second_asks, second) = world.add("/a", 2);
    assert!(first_asks && !second_asks);
    world.0.settle("/a", 2, yes());
    assert_eq!(second.get(), None, "that id was never used");
    world.0.settle("/a", 1, yes());
    assert!(first.get().is_some() && second.get().is_some());
    let (_, third_asks, third) = world.add("/a", 3);
    assert!(!third_asks && third.get().is_some());
    let (_, local_asks, local) = world.add("/service/x", 4);
    assert!(!local_asks && local.get().is_some());
}

#[test]
fn the_last_one_takes_the_pattern_along() {
    let mut world = World::new();
    let keys = [1, 2].map(|id| world.add("/a", id).0);
    assert_eq!(world.0.remove("/a", keys[1]), None);
    assert_eq!(world.0.remove("/a", keys[0]), Some(Standing::Asked(1)));
    assert_eq!(world.0.remove("/a", keys[0]), None);
    assert!(world.0.patterns.is_empty());
}

#[test]
fn a_refusal_ends_it_for_all() {
    let mut world = World::new();
    let waiting = [1, 2].map(|id| world.add("/a", id).2);
    let no = Err(Error::SessionLost);
    world.0.settle("/a", 7, no.clone());
    assert_eq!(world.count("/a"), 2);
    world.0.settle("/a", 1, no.clone());
    assert_eq!(world.0.take_trash().len(), 2);
    assert!(world.jobs().is_empty(), "who waits needs no event");
    assert!(waiting.iter().all(|one| one.get() == Some(no.clone())));
    assert_eq!(world.count("/a"), 0);
}

#[test]
fn a_new_session_is_asked_for_all_that_is_not_on_its_way() {
    let mut world = World::new();
    let all = ["/c", "/a", "/service/x", "/b/**", "/a", "/meta/*"];
    for (id, pattern) in (0..).zip(all) {
        world.add(pattern, id);
    }
    world.0.settle("/c", 0, yes());
    world.0.session_lost();
    let mut ids = 10..;
    let mut ask = |world: &mut World, queued: &[u64]| {
        let queued = queued.iter().copied().collect();
        let asked = world.0.ask_again(&queued, || ids.next().unwrap());
        let pattern = |(id, pattern, _): (u64, Box<str>, _)| (id, String::from(pattern));
        asked.into_iter().map(pattern).collect::<Vec<_>>()
    };
    let row = |id, pattern: &str| (id, pattern.to_owned());
    let nothing = ask(&mut world, &[]);
    assert_eq!(nothing, [row(10, "/c"), row(11, "/a"), row(12, "/b/**")]);
    let queued = ask(&mut world, &[11]);
    assert_eq!(queued, [row(13, "/c"), row(14, "/b/**")]);
    assert!(world.0.is_asked("/c", 13) && !world.0.is_asked("/c", 0));
    let (_, joined_asks, joined) = world.add("/c", 20);
    assert!(!joined_asks);
    world.0.settle("/c", 13, yes());
    assert!(joined.get().is_some());
}

#[test]
fn an_ended_callback_is_silent() {
    let count = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&count);
    let callback = Callback::new(move |_| seen.store(true, Ordering::Relaxed));
    let mut world = World::new();
    world
        .0
        .discard(Sink::Callback(Arc::clone(&callback)), &Error::Closed);
    callback.run(&message());
    assert!(!count.load(Ordering::Relaxed));
}

#[test]
fn a_full_queue_drops_messages_before_events() {
    let mut world = World::new();
    world.add_quietly(Sink::Callback(Callback::new(|_| ())));
    (0..15).for_each(|_| assert!(world.0.deliver(&message())));
    assert_eq!(world.0.stats.callbacks_dropped, 5);
    let error = Error::Closed;
    let event = Event::Unheard {
        channel: "/a".into(),
        error,
    };
    (0..15).for_each(|_| world.0.emit(&event));
    assert_eq!(world.0.stats.callbacks_dropped, 10);
    assert_eq!(world.jobs().len(), 20);
}

#[test]
fn messages_for_callbacks_have_so_many_bytes() {
    let mut world = World::new();
    world.add_quietly(Sink::Callback(Callback::new(|_| ())));
    let large = format!(r#"{{"channel":"/a","data":"{}"}}"#, "x".repeat(2000));
    let large = Message::parse(&large).unwrap();
    world.0.deliver(&large);
    assert_eq!(world.0.stats.callbacks_dropped, 0, "one in any case");
    world.0.deliver(&message());
    assert_eq!(world.0.stats.callbacks_dropped, 1);
    assert_eq!(world.jobs().len(), 1);
    world.0.deliver(&message());
    world.0.deliver(&large);
    assert_eq!(world.0.stats.callbacks_dropped, 2);
    assert_eq!(world.jobs().len(), 1);
}

#[test]
fn who_gave_up_leaves_nothing_behind() {
    let mut world = World::new();
    for _ in 0..100 {
        world.0.catch_up(&Receipt::new(0));
    }
    let (_kept, (_, _, first)) = (world.add("/a", 1), world.add("/a", 2));
    for id in 3..100 {
        let (key, ..) = world.add("/a", id);
        world.0.remove("/a", key);
    }
    assert_eq!(world.0.patterns["/a"].waiting.len(), 2);
    assert_eq!(first.get(), None);
    world.0.take_trash();
    assert_eq!(world.jobs().len(), 1);
}

#[test]
fn what_ends_is_kept_for_someone_else_to_drop() {
    let mut world = World::new();
    let ring = Arc::new(Ring::new(1, 1000));
    world.add_quietly(Sink::Ring(Arc::clone(&ring)));
    world.0.close(&Error::Disconnected);
    assert!(ring.recv(None).is_err());
    assert!(!world.0.deliver(&message()));
    world.0.dismiss();
    assert_eq!(world.0.take_trash().len(), 2);
}
