//! What happens when the process has no file descriptors left. A process of its own, because
//! the limit is the whole process's.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bayeux::tcp::reactor::AfterError;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::common::alone::alone;
use crate::common::ports::closed;
use crate::support::{Peer, World};

#[test]
fn accepting_goes_on_when_there_are_descriptors_again() {
    // Nothing else in the process may take or free descriptors.
    alone(|| {
        let limit = Rlimit {
            current: Some(200),
            ..getrlimit(Resource::Nofile)
        };
        setrlimit(Resource::Nofile, limit).unwrap();
        it_waits_for_descriptors();
        it_can_be_told_to_stop();
    });
}

fn it_waits_for_descriptors() {
    let errors = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&errors);
    let world = World::new(|config| {
        config.reactor.on_accept_error = Some(Arc::new(move |_error| {
            counted.fetch_add(1, Ordering::Relaxed);
            AfterError::Retry
        }));
    });
    let mut peers: Vec<Peer> = (0..5).map(|_| world.connect()).collect();
    // Sockets of the peers first: the kernel completes their connections without the server.
    let mut late: Vec<Peer> = Vec::new();
    let mut files: Vec<File> = Vec::new();
    world.wait_for("the first five", |stats| stats.opened == 5);
    while let Ok(file) = File::open("/dev/null") {
        files.push(file);
    }
    // As many as there are descriptors given back; none is left for the server's side.
    files.truncate(files.len() - 10);
    world.server.set_max_connections(Some(0));
    std::thread::sleep(Duration::from_millis(20));
    for _ in 0..10 {
        late.push(world.connect());
    }
    world.server.set_max_connections(None);
    world.wait_for("errors", |_| errors.load(Ordering::Relaxed) > 0);
    assert_eq!(world.server.stats().accepted, 5);
    // It does not spin meanwhile: the waits grow from 10 ms.
    std::thread::sleep(Duration::from_millis(300));
    assert!(
        world.server.stats().accept_errors < 10,
        "{:?}",
        world.server.stats()
    );
    for peer in &mut peers {
        peer.send("still\r\n");
        assert_eq!(peer.line(), "still");
    }
    // A connection of the server's own that closes gives one back, at once.
    drop(peers.pop());
    world.wait_for("one more", |stats| stats.accepted >= 6);
    drop(files);
    for peer in &mut late {
        peer.send("late\r\n");
        assert_eq!(peer.line(), "late");
    }
}

/// Instead of waiting, the listeners can be closed; the connections stay.
fn it_can_be_told_to_stop() {
    let world = World::new(|config| {
        config.reactor.on_accept_error = Some(Arc::new(|_error| AfterError::StopAccepting));
    });
    let mut peer = world.connect();
    world.wait_for("the first", |stats| stats.opened == 1);
    world.server.set_max_connections(Some(0));
    let mut files: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    files.pop();
    let late = world.connect();
    world.server.set_max_connections(None);
    world.wait_for("an error", |stats| stats.accept_errors == 1);
    drop((files, late));
    closed(world.address);
    assert_eq!(world.server.stats().accepted, 1);
    peer.send("still\r\n");
    assert_eq!(peer.line(), "still");
}
