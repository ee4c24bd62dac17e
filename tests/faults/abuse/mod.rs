//! Hostile clients of every kind beside 100 well-behaved ones.
//!
//! As a test it runs each kind for a moment, with a tenth of the clients, and checks that everybody
//! is answered or closed, and that nothing is left behind. For figures, let it run longer, on a
//! release build:
//!
//! ```text
//! ABUSE_SECONDS=20 ABUSE_BIN=target/release/bayeux cargo test --test faults abuse -- --nocapture
//! ```
//!
//! `ABUSE_KINDS` names some of the kinds, separated by commas. The abusers' threads have a low
//! priority, so that where they share cores with the others it is the server that is measured.

mod kinds;
mod refusals;
pub(crate) mod wire;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use kinds::{Abuse, KINDS, Kind, Scale};
pub(crate) use wire::Rude;
use wire::Tally;

use crate::good::{Good, Latencies};
use crate::priority::stand_back;
use crate::program::{Metrics, Program};
use crate::scale::alone;

/// Well-behaved clients.
const GOOD: usize = 100;
/// After an abuse, memory and sessions have so long to go back to what they were.
const RECOVERY: Duration = Duration::from_secs(10);

#[test]
fn nobody_suffers_from_hostile_clients() {
    let _alone = alone();
    let only = std::env::var("ABUSE_KINDS").unwrap_or_default();
    let chosen = |kind: &&Kind| only.is_empty() || only.split(',').any(|name| name == kind.name);
    let kinds = KINDS.iter().filter(chosen);
    let faults = match std::env::var("ABUSE_SECONDS") {
        Ok(seconds) => {
            let span = Duration::from_secs_f64(seconds.parse().expect("a number of seconds"));
            kinds
                .flat_map(|kind| run(kind, &Scale::full(span)))
                .collect()
        }
        Err(_) => all_at_once(kinds),
    };
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// As a test: all kinds, each for a moment and with few abusers.
fn all_at_once<'a>(kinds: impl Iterator<Item = &'a Kind>) -> Vec<String> {
    std::thread::scope(|scope| {
        let running: Vec<_> = kinds
            .map(|kind| scope.spawn(|| run(kind, &Scale::small())))
            .collect();
        running
            .into_iter()
            .flat_map(|kind| kind.join().expect("a report"))
            .collect()
    })
}

/// One kind on a server of its own: a while in peace, a while with the abusers, a while to recover.
fn run(kind: &Kind, scale: &Scale) -> Vec<String> {
    let program = Program::start(kind.flags);
    let good = Good::start(program.address, scale.few(GOOD));
    good.measured(scale.span.min(Duration::from_secs(2)));
    let peace = good.measured(scale.span);
    let beside = scale.tells.then(|| elsewhere(kind, scale, &good));
    let before = program.metrics();
    let tally = Tally::new(scale.lenience);
    let abused = abuse(kind, scale, program.address, &good, &tally);
    let during = program.metrics();
    let mut faults = recovered(kind, &program, &before, scale);
    let after = program.metrics();
    if scale.tells {
        // What an allocator keeps for later does not grow in a second round; what is lost does.
        let again = Tally::new(scale.lenience);
        abuse(kind, scale, program.address, &good, &again);
        faults.extend(recovered(kind, &program, &after, scale));
        let resident = [&before, &during, &after, &program.metrics()].map(|m| m.resident);
        report(kind, &tally, [&before, &during, &after]);
        report_latencies(&peace, &abused, beside.as_ref());
        report_memory(resident);
    }
    faults.extend(tally.faults());
    faults.extend(good.stop());
    let named = |fault: &String| format!("{}: {fault}", kind.name);
    faults.iter().map(named).collect()
}

/// What the others feel when the abusers turn to another server on the same machine: that much of
/// it is the machine's.
fn elsewhere(kind: &Kind, scale: &Scale, good: &Good) -> Latencies {
    let neighbour = Program::start(kind.flags);
    let tally = Tally::new(scale.lenience);
    abuse(kind, scale, neighbour.address, good, &tally)
}

/// Lets the abusers do their worst; what the others felt.
fn abuse(kind: &Kind, scale: &Scale, address: SocketAddr, good: &Good, tally: &Tally) -> Latencies {
    let until = Instant::now() + scale.span;
    std::thread::scope(|scope| {
        let abusers = scope.spawn(|| {
            stand_back(scale.tells);
            (kind.run)(&Abuse {
                address,
                until,
                scale,
                tally,
            })
        });
        let abused = good.measured(scale.span);
        abusers.join().expect("the abusers themselves do not fail");
        abused
    })
}

/// Waits until the abusers' sessions and connections are gone; says what is left in the end.
fn recovered(kind: &Kind, program: &Program, before: &Metrics, scale: &Scale) -> Vec<String> {
    let deadline = Instant::now() + (kind.lifetime + Duration::from_secs(1)) * scale.lenience;
    let left = |name: &str| program.metrics().get(name) - before.get(name);
    let gone = || left("bayeux_sessions") <= 0.0 && left("bayeux_connections") <= 2.0;
    while !gone() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(50));
    }
    let mut faults = Vec::new();
    for (name, most) in [("bayeux_sessions", 0.0), ("bayeux_connections", 2.0)] {
        if left(name) > most {
            faults.push(format!("{} more of {name} than before", left(name)));
        }
    }
    let began = Instant::now();
    while scale.tells && program.resident() > before.resident * 1.1 && began.elapsed() < RECOVERY {
        std::thread::sleep(Duration::from_millis(100));
    }
    faults
}

fn report_latencies(peace: &Latencies, abused: &Latencies, beside: Option<&Latencies>) {
    let mut line = format!(
        "   others: p99 {:.2} ms in peace ({}), {:.2} ms with abuse ({}), ratio {:.2}",
        peace.p99_ms(),
        peace.count(),
        abused.p99_ms(),
        abused.count(),
        abused.p99_ms() / peace.p99_ms(),
    );
    if let Some(beside) = beside {
        let other = beside.p99_ms();
        line += &format!(
            "; {other:.2} ms with abuse of another server here, ratio to that {:.2}",
            abused.p99_ms() / other,
        );
    }
    println!("{line}");
}

fn report(kind: &Kind, tally: &Tally, [before, during, after]: [&Metrics; 3]) {
    println!("\n== {}: {}", kind.name, kind.about);
    println!("   abusers: {tally}");
    for name in ["sessions", "connections"] {
        let metric = format!("bayeux_{name}");
        let [before, during, after] = [before, during, after].map(|m| m.get(&metric));
        println!("   {name}: {before} before, {during} at the end of it, {after} after");
    }
    println!("   counters: {}", after.told_since(before));
}

fn report_memory(resident: [f64; 4]) {
    let [before, during, after, again] = resident.map(|bytes| bytes / 1_048_576.0);
    println!(
        "   memory: {before:.1} MiB before, {during:.1} at the end of it, {after:.1} after, \
         {again:.1} after a second round ({:+.0} % of the first)",
        (again / after - 1.0) * 100.0,
    );
}
