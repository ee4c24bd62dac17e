//! Load over HTTP and WebSocket against a server in a process of its own: fan-out, idle, churn and
//! publish. Each run checks its own result: nothing is lost, doubled or out of order.

#[path = "../common/mod.rs"]
mod common;
mod engine;
mod server;

use std::net::SocketAddr;
use std::time::Duration;

use common::size;
use engine::{Plan, Report, Tally, Transport, run};
use server::Server;

fn main() {
    // Without it the soft limit of the system allows about a thousand.
    bayeux::config::raise_file_limit();
    the_check_is_one();
    for transport in [Transport::LongPolling, Transport::WebSocket] {
        fanout(transport, 1);
        fanout(transport, 32);
        idle(transport);
        churn(transport);
        publish(transport);
    }
}

/// A check that finds nothing proves nothing: this is what it must find.
fn the_check_is_one() {
    let mut tally = Tally::new(2, 1);
    for (subscriber, message) in [(0, 0), (0, 2), (0, 1), (0, 2), (1, 1)] {
        tally.delivered(subscriber, 0, message, Duration::from_millis(1));
    }
    assert_eq!(
        (tally.delivered, tally.duplicates, tally.reordered),
        (4, 1, 1)
    );
    let report = Report {
        tally,
        acknowledged: 3,
        errors: vec!["a connection has ended".to_owned()],
        ..Report::default()
    };
    let plan = Plan {
        subscribers: 2,
        publishers: 1,
        messages: 3,
        visitors: 1,
        visits: 1,
        ..nothing(([127, 0, 0, 1], 1).into(), Transport::WebSocket)
    };
    let expected = [
        "a connection has ended",
        "4 deliveries, 6 expected",
        "1 duplicates, 0 expected",
        "1 deliveries out of order, 0 expected",
        "0 visits, 1 expected",
    ];
    assert_eq!(report.complaints(&plan), expected);
}

fn plan(server: &Server, transport: Transport) -> Plan {
    nothing(server.address, transport)
}

fn nothing(target: SocketAddr, transport: Transport) -> Plan {
    Plan {
        target,
        path: "/cometd".to_owned(),
        transport,
        subscribers: 0,
        idle: Duration::ZERO,
        publishers: 0,
        messages: 0,
        window: 1,
        visitors: 0,
        visits: 0,
        patience: Duration::from_secs(30),
    }
}

/// Does it and checks it.
fn checked(server: &Server, plan: &Plan) -> Report {
    let report = run(plan, Box::new(server.cpu())).expect("the engine runs");
    let complaints = report.complaints(plan);
    assert!(complaints.is_empty(), "{plan:?}: {complaints:#?}");
    report
}

/// One publisher, many subscribers.
fn fanout(transport: Transport, window: usize) {
    let server = Server::start(&[]);
    let plan = Plan {
        subscribers: size(500, 6),
        publishers: 1,
        messages: size(if window == 1 { 500 } else { 2000 }, 40) as u64,
        window,
        ..plan(&server, transport)
    };
    let report = checked(&server, &plan);
    let name = format!("fan-out to {}, {window} under way", plan.subscribers);
    deliveries(&name, transport, &report);
}

/// Clients that wait, and then get one message.
fn idle(transport: Transport) {
    let server = Server::start(&[]);
    let before = server.memory();
    let plan = Plan {
        subscribers: size(5000, 20),
        idle: Duration::from_secs(size(10, 0) as u64),
        publishers: 1,
        messages: 1,
        ..plan(&server, transport)
    };
    let report = checked(&server, &plan);
    let clients = plan.subscribers as f64;
    let set_up = clients / report.set_up.as_secs_f64();
    let memory = server.memory().zip(before);
    let memory = memory.map_or(0.0, |(after, before)| after.saturating_sub(before) as f64);
    let cpu = report.idle_cpu.unwrap_or_default().as_secs_f64();
    let cpu = cpu / plan.idle.as_secs_f64().max(1.0) * 100.0;
    println!(
        "{transport:?}, {clients} idle clients: {:.1} KiB and {cpu:.2} % of a core, {set_up:.0} \
         came in a second",
        memory / 1024.0 / clients,
    );
}

/// Sessions that come and go.
fn churn(transport: Transport) {
    let server = Server::start(&[]);
    let plan = Plan {
        visitors: size(50, 4),
        visits: size(200, 10) as u64,
        ..plan(&server, transport)
    };
    let report = checked(&server, &plan);
    let visits = report.visits.count() as f64;
    println!(
        "{transport:?}, sessions that come and go: {:.0} in a second, {:.1} us of CPU each, \
         p50 {:.2?}, p99 {:.2?}",
        visits / report.span.as_secs_f64(),
        micros(report.cpu) / visits,
        report.visits.percentile(50.0),
        report.visits.percentile(99.0),
    );
}

/// Many publishers, one subscriber.
fn publish(transport: Transport) {
    let server = Server::start(&[]);
    let plan = Plan {
        subscribers: 1,
        publishers: size(8, 3),
        messages: size(5000, 40) as u64,
        window: 4,
        ..plan(&server, transport)
    };
    let report = checked(&server, &plan);
    deliveries("publish to one", transport, &report);
}

fn deliveries(name: &str, transport: Transport, report: &Report) {
    let tally = &report.tally;
    let count = tally.delivered as f64;
    println!(
        "{transport:?}, {name}: {:.0} deliveries in a second, {:.2} us of CPU each, \
         p50 {:.2?}, p99 {:.2?}",
        count / report.span.as_secs_f64(),
        micros(report.cpu) / count,
        tally.latencies.percentile(50.0),
        tally.latencies.percentile(99.0),
    );
}

fn micros(time: Option<Duration>) -> f64 {
    time.unwrap_or_default().as_secs_f64() * 1e6
}
