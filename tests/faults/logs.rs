//! Logs that nobody reads, and calls that fail as fast as they can be made.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use super::good::Good;
use super::program::Program;
use super::scale::{few, lenient, span, tell, until};
use crate::common::http::{Connection, request_bytes};

const PATIENCE: Duration = Duration::from_secs(20);

/// One request with many messages, and its answer.
fn ask(connection: &mut Connection, messages: &[Value]) -> Vec<Value> {
    let body = json!(messages).to_string();
    let json = "Content-Type: application/json\r\n";
    connection.send(request_bytes("POST", "/cometd", json, body.as_bytes()));
    connection.response().messages()
}

/// A session on a connection of its own, and a call that fails.
fn failing(program: &Program) -> (Connection, Value) {
    let mut connection = Connection::open(program.address);
    let reply = ask(&mut connection, &[json!({"channel": "/meta/handshake"})]).remove(0);
    let call = json!({"channel": "/service/math", "clientId": reply["clientId"], "data": "none"});
    (connection, call)
}

#[test]
fn standard_error_that_nobody_reads_stops_nothing() {
    // Far more than a pipe takes: a line and more for each message.
    let flags = ["--log-level=trace", "--log-queue=64KiB", "--timeout=1s"];
    let (mut program, unread) = Program::start_unread(&flags);
    let good = Good::start(program.address, few(100));
    let dropped = |program: &Program| program.metrics().get("bayeux_log_dropped_total");
    until("the pipe is full", PATIENCE, || dropped(&program) > 0.0);
    let latencies = good.measured(span());
    let lost = dropped(&program);
    assert_eq!(good.stop(), Vec::<String>::new());
    assert!(latencies.count() > 0, "nobody was served");
    program.signal(Signal::TERM);
    let begun = Instant::now();
    // The log has a second to be written to its end.
    let status = program.ended(lenient(Duration::from_secs(3)));
    tell(&format!(
        "\n== standard error unread: p99 {:.2} ms, {lost} lines lost, {status:?} after {:.2?}",
        latencies.p99_ms(),
        begun.elapsed()
    ));
    assert_eq!(status.and_then(|status| status.code()), Some(0));
    drop(unread);
}

#[test]
fn who_reads_again_hears_how_much_was_lost() {
    let (program, mut lines) = Program::start_unread(&["--log-level=trace", "--log-queue=64KiB"]);
    let (mut connection, call) = failing(&program);
    let dropped = || program.metrics().get("bayeux_log_dropped_total");
    let calls = vec![call; 100];
    until("lines are dropped", PATIENCE, || {
        ask(&mut connection, &calls);
        dropped() > 0.0
    });
    // None is broken, and one tells.
    let told = lines.find(|line| {
        let line = line.as_ref().expect("text");
        assert!(
            line.starts_with("20") && line.contains("Z ["),
            "broken: {line}"
        );
        line.contains("[WARN] the log has lost ")
    });
    assert!(told.is_some());
}

/// A service that fails is told at the level `warn`, and somebody calls it in a loop.
#[test]
fn calls_that_fail_in_a_loop_fill_no_log() {
    let (mut program, lines) = Program::start_unread(&["--demo=true"]);
    let reading = std::thread::spawn(move || {
        lines
            .map_while(Result::ok)
            .map(|line| line.len() + 1)
            .sum::<usize>()
    });
    let (mut connection, call) = failing(&program);
    let calls = vec![call; 100];
    let (begun, mut count) = (Instant::now(), 0);
    while begun.elapsed() < span() * 5 {
        let replies = ask(&mut connection, &calls);
        assert_eq!(replies[0]["error"], "500:/service/math:service_failed");
        count += replies.len();
    }
    let elapsed = begun.elapsed().as_secs_f64();
    let held_back = program.metrics().get("bayeux_log_held_back_total");
    program.signal(Signal::TERM);
    assert!(program.ended(PATIENCE).is_some());
    let bytes = reading.join().unwrap();
    tell(&format!(
        "\n== calls that fail: {:.0} a second, {:.1} KB of log a second, {held_back} held back",
        count as f64 / elapsed,
        bytes as f64 / elapsed / 1e3
    ));
    assert!(held_back > 0.0);
    // Fifty lines a second of some hundred bytes.
    let most = (elapsed + 2.0) * 50.0 * 200.0;
    assert!(
        (bytes as f64) < most,
        "{bytes} bytes of {count} calls in {elapsed:.1} s"
    );
}
