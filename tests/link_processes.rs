//! Real processes, killed and started again.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod link_support;
#[allow(dead_code, reason = "`main` is not used")]
#[path = "../examples/link_time.rs"]
mod link_time;

use std::time::Duration;

use link_support::{Process, key, lasting_address, role};

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
    let address = lasting_address();
    let start = |role: &str| Process::start("part", &format!("{role} {address}"));
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
