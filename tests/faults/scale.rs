//! How much of everything, and what the tests share.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::good::Latencies;
use super::program::Program;
use crate::common::http::{Connection, request_bytes};

/// Whether the tests run at their full size and print figures.
pub(crate) fn is_full() -> bool {
    std::env::var("FAULTS_FULL").is_ok_and(|value| value == "1")
}

/// So many at the full size, a tenth as a test.
pub(crate) fn few(count: usize) -> usize {
    if is_full() { count } else { count.div_ceil(10) }
}

/// How long latencies are measured.
pub(crate) fn span() -> Duration {
    Duration::from_millis(if is_full() { 8000 } else { 400 })
}

/// A limit of time, for a machine that does other things besides.
pub(crate) fn lenient(limit: Duration) -> Duration {
    limit * if is_full() { 1 } else { 5 }
}

/// Holds other tests off while this one measures.
pub(crate) fn alone() -> Option<MutexGuard<'static, ()>> {
    static ONE: Mutex<()> = Mutex::new(());
    // That another has failed does not matter to this one.
    is_full().then(|| ONE.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Prints a figure, at the full size.
pub(crate) fn tell(line: &str) {
    if is_full() {
        println!("{line}");
    }
}

/// Prints two latencies and their ratio.
pub(crate) fn tell_latencies(what: &str, peace: &Latencies, trouble: &Latencies) {
    tell(&format!(
        "   {what}: p99 {:.2} ms in peace ({}), {:.2} ms meanwhile ({}), ratio {:.2}",
        peace.p99_ms(),
        peace.count(),
        trouble.p99_ms(),
        trouble.count(),
        trouble.p99_ms() / peace.p99_ms(),
    ));
}

/// A request that carries one message.
pub(crate) fn post(message: &Value) -> Vec<u8> {
    let body = json!([message]).to_string();
    let kind = "Content-Type: application/json\r\n";
    request_bytes("POST", "/cometd", kind, body.as_bytes())
}

/// A request for a session.
pub(crate) fn handshake() -> Vec<u8> {
    post(&json!({"channel": "/meta/handshake"}))
}

/// Makes a session on a connection; its id.
pub(crate) fn session(connection: &mut Connection) -> String {
    connection.send(handshake());
    let reply = connection.response().messages().remove(0);
    reply["clientId"].as_str().expect("a session").to_owned()
}

/// Waits until that holds; how long it took.
pub(crate) fn until(what: &str, within: Duration, mut holds: impl FnMut() -> bool) -> Duration {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < within, "not within {within:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
    begun.elapsed()
}

/// One of the server's numbers.
pub(crate) fn metric(program: &Program, name: &str) -> f64 {
    program.metrics().get(&format!("bayeux_{name}"))
}
