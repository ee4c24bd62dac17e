//! Real processes, killed and started again.

#[allow(dead_code, reason = "`main` is not used")]
#[path = "../../examples/link_time.rs"]
mod link_time;

use std::time::Duration;

use crate::common::ports::lasting_address;
use crate::support::{Process, key, role};

/// Not a test by itself: what the other processes do.
#[test]
fn part() {
    if let Some(role) = role() {
        let (role, address) = role.split_once(' ').unwrap();
        link_time::run(role, address, key(), Duration::from_millis(30)).unwrap();
    }
}

#[test]
fn time_and_sums_go_on_when_either_process_is_killed_and_started_again() {
    let address = lasting_address().to_string();
    let start = |role: &str| Process::start("processes::part", &format!("{role} {address}"));
    let mut asks = start("listen");
    let mut adds = start("connect");
    for round in 0..2 {
        for _ in 0..3 {
            asks.line("it is ");
            adds.line("the sum is ");
        }
        if round == 0 {
            adds.kill();
            asks.line("lost connect");
            adds = start("connect");
            asks.line("linked with connect");
        }
    }
    asks.kill();
    adds.line("lost listen");
    asks = start("listen");
    adds.line("linked with listen");
    for _ in 0..3 {
        asks.line("it is ");
        adds.line("the sum is ");
    }
}
