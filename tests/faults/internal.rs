//! The internal site, and requests that announce far more than they send.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::program::Program;
use super::scale::{few, tell, until};

const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn bodies_that_are_announced_leave_nothing_behind() {
    let program = Program::start(&[]);
    let held = || {
        let metrics = program.metrics();
        (
            metrics.get("process_open_fds"),
            metrics.get("process_threads"),
        )
    };
    let before = held();
    for length in [1 << 26, (1 << 26) + 1, 200_000_000_000_000_u64] {
        let streams = (0..few(200)).map(|_| {
            let mut stream = TcpStream::connect(program.internal).expect("it accepts");
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let head = "POST /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: ";
            write!(stream, "{head}{length}\r\n\r\nx").unwrap();
            stream
        });
        let streams: Vec<TcpStream> = streams.collect();
        for mut stream in streams {
            let mut answer = [0; 12];
            stream.read_exact(&mut answer).expect("an answer");
            assert_eq!(&answer, b"HTTP/1.1 413");
        }
    }
    until("files and threads are given back", PATIENCE, || {
        held() <= before
    });
    let after = held();
    tell(&format!(
        "\n== announced bodies: files, threads {before:?} before, {after:?} after"
    ));
}
