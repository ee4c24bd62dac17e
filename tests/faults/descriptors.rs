//! A process without file descriptors, and with some again.

use std::time::{Duration, Instant};

use super::good::Good;
use super::program::Program;
use super::scale::{alone, handshake, lenient, metric, session, span, tell, tell_latencies, until};
use crate::common::http::Connection;

const FILES: u32 = 256;
/// More than there are descriptors.
const CROWD: usize = 400;
/// From the moment when descriptors are free until all who waited are served.
const LIMIT: Duration = Duration::from_secs(2);

/// Descriptors run out although the limit of connections is not reached.
#[test]
fn exhausted_descriptors_are_waited_for() {
    crowded(
        "descriptors exhausted",
        &["--max-connections=10000", "--timeout=2s"],
    );
}

/// By default connections take no more than nine tenths of them.
#[test]
fn by_default_a_tenth_of_the_descriptors_is_kept() {
    crowded("connections at their limit", &["--timeout=2s"]);
}

fn crowded(what: &str, flags: &[&str]) {
    let _alone = alone();
    tell(&format!("\n== {what}, of {FILES}"));
    let program = Program::with_files(FILES, flags);
    let good = Good::start(program.address, 10);
    let peace = good.measured(span());
    let mut served: Vec<Connection> = (0..CROWD).map(|_| asking(&program)).collect();
    // Connections are accepted in the order in which they came.
    let mut waiting = served.split_off(usize::try_from(FILES).unwrap() - 20);
    assert!(
        waiting
            .last_mut()
            .unwrap()
            .is_silent_for(Duration::from_millis(300))
    );
    let full = good.measured(span());
    assert!(
        waiting
            .last_mut()
            .unwrap()
            .is_silent_for(Duration::from_millis(1))
    );
    // Who asks for the numbers now may be turned away, but not later.
    program.knock();
    let begun = Instant::now();
    drop(served);
    for connection in &mut waiting {
        assert_eq!(connection.response().messages()[0]["successful"], true);
    }
    let took = begun.elapsed();
    let waited = waiting.len();
    tell(&format!(
        "   the {waited} others were served {took:.2?} after the first had left"
    ));
    assert!(took < lenient(LIMIT), "{took:?}");
    drop(waiting);
    until(
        "the crowd has gone",
        lenient(Duration::from_secs(5)),
        || metric(&program, "connections") <= 20.0,
    );
    session(&mut Connection::open(program.address));
    assert_eq!(good.stop(), Vec::<String>::new());
    tell_latencies("those who were there before", &peace, &full);
    assert!(full.p99_ms() < 1000.0, "{} ms", full.p99_ms());
}

/// A connection that has asked for a session, and may have to wait for it.
fn asking(program: &Program) -> Connection {
    let mut connection = Connection::open(program.address);
    connection.send(handshake());
    connection
}
