//! The example that is shut down by a signal, as a process of its own.

#[allow(dead_code, reason = "`main` is not used")]
#[path = "../../examples/tcp_signal.rs"]
mod tcp_signal;
use std::io::{BufRead, BufReader, ErrorKind};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::Peer;

const ROLE: &str = "TCP_SIGNAL_ADDRESS";

/// Not a test by itself: what the other process does.
#[test]
fn part() {
    if let Ok(address) = std::env::var(ROLE) {
        tcp_signal::run(&address).unwrap();
    }
}

/// Killed if the test fails.
struct Example(Child);

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_signal_closes_the_door_and_lets_who_is_inside_finish() {
    for signal in [Signal::INT, Signal::TERM] {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "signal::part", "--nocapture"])
            .env(ROLE, "127.0.0.1:0")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut example = Example(child);
        let mut lines = BufReader::new(example.0.stdout.take().unwrap()).lines();
        // The test harness may have written before it on the same line.
        let mut line = |beginning: &str| {
            let lines = lines.by_ref().map_while(Result::ok);
            let found = lines.filter_map(|line| Some(line.split_once(beginning)?.1.to_owned()));
            let mut found = found.fuse();
            found.next().unwrap_or_else(|| panic!("no {beginning:?}"))
        };
        let address: SocketAddr = line("echo on ").parse().unwrap();
        let mut peer = Peer::connect(address);
        peer.send("hello\r\n");
        assert_eq!(peer.line(), "hello");
        kill_process(Pid::from_child(&example.0), signal).unwrap();
        assert_eq!(line("closing, "), "1 connected");
        assert_eq!(peer.line(), "closing soon: please finish");
        let late = TcpStream::connect(address).map_err(|error| error.kind());
        assert_eq!(late.err(), Some(ErrorKind::ConnectionRefused));
        peer.send("last words\r\n");
        assert_eq!(peer.line(), "last words");
        assert!(example.0.try_wait().unwrap().is_none(), "it waits");
        drop(peer);
        line("closed");
        assert!(example.0.wait().unwrap().success());
    }
}
