//! The server as a process of its own, so that its CPU time and its memory are its own.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A running server; killed when dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Server {
    pub(crate) fn start(flags: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_bayeux"))
            .args(["serve", "--listen=127.0.0.1:0", "--demo=false"])
            .args(["--anonymous-publish=true", "--max-connections=100000"])
            .args(flags)
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the server starts");
        let stderr = child.stderr.take().expect("it is piped");
        let mut lines = BufReader::new(stderr).lines();
        let address = loop {
            let line = lines.next().expect("it says where it is").expect("text");
            if let Some(url) = line.strip_prefix("listening on http://") {
                let address = url.split('/').next().unwrap_or_default();
                break address.parse().expect("an address");
            }
        };
        // Read on, so that the server never waits for us.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, address }
    }

    /// The folder in which the system tells of it, on Linux.
    fn proc(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}", self.child.id()))
    }

    /// What tells its CPU time so far, of all threads it has.
    pub(crate) fn cpu(&self) -> impl FnMut() -> Option<Duration> + Send + use<> {
        let tasks = self.proc().join("task");
        move || {
            let nanoseconds = std::fs::read_dir(&tasks).ok()?.filter_map(|task| {
                let told = std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
                told.split(' ').next()?.parse::<u64>().ok()
            });
            Some(Duration::from_nanos(nanoseconds.sum()))
        }
    }

    /// Bytes of its memory.
    pub(crate) fn memory(&self) -> Option<u64> {
        let status = std::fs::read_to_string(self.proc().join("status")).ok()?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))?;
        let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(kib * 1024)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
