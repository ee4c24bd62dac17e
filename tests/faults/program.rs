//! The server as a process of its own, so that its memory is its own, and its numbers.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// The server; killed when dropped.
pub(crate) struct Program {
    child: Child,
    pub(crate) address: SocketAddr,
    pub(crate) internal: SocketAddr,
}

/// What it says on standard error.
pub(crate) type Lines = Box<dyn Iterator<Item = std::io::Result<String>> + Send>;

/// The numbers at `/metrics`, and the memory of the process.
pub(crate) struct Metrics {
    values: BTreeMap<String, f64>,
    pub(crate) resident: f64,
}

/// The program that `cargo test` has built, or a given one.
fn binary() -> String {
    let given = ["ABUSE_BIN", "FAULTS_BIN"]
        .iter()
        .find_map(|name| std::env::var(name).ok());
    given.unwrap_or_else(|| env!("CARGO_BIN_EXE_bayeux").to_owned())
}

impl Program {
    pub(crate) fn start(flags: &[&str]) -> Self {
        Self::run(Command::new(binary()), flags)
    }

    /// One whose standard error is read by nobody but whom it returns.
    pub(crate) fn start_unread(flags: &[&str]) -> (Self, Lines) {
        Self::launch(Command::new(binary()), flags)
    }

    /// One that may open no more than so many files.
    pub(crate) fn with_files(most: u32, flags: &[&str]) -> Self {
        Self::limited(&format!("-n {most}"), flags)
    }

    /// One that may have no more than so many bytes of memory.
    #[cfg(target_os = "linux")]
    pub(crate) fn with_memory(most: u64, flags: &[&str]) -> Self {
        Self::limited(&format!("-v {}", most >> 10), flags)
    }

    fn limited(limit: &str, flags: &[&str]) -> Self {
        let mut command = Command::new("sh");
        let script = format!("ulimit {limit}; exec \"$0\" \"$@\"");
        command.args(["-c", &script]).arg(binary());
        // Of address space the allocator would take 64 MiB for each thread.
        command.env("MALLOC_ARENA_MAX", "2");
        Self::run(command, flags)
    }

    fn run(command: Command, flags: &[&str]) -> Self {
        let (program, lines) = Self::launch(command, flags);
        // Read on, so that there is room for more.
        std::thread::spawn(move || lines.for_each(drop));
        program
    }

    fn launch(mut command: Command, flags: &[&str]) -> (Self, Lines) {
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("BAYEUX_") {
                command.env_remove(name);
            }
        }
        // The tests name whom they like, unless that is what they are about.
        if !flags.iter().any(|flag| flag.starts_with("--allowed-host")) {
            command.env("BAYEUX_ALLOWED_HOST", "*");
        }
        let listen = [
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--ops-listen",
            "127.0.0.1:0",
        ];
        command.args(listen).args(flags);
        if !flags.iter().any(|flag| flag.starts_with("--demo")) {
            command.arg("--demo=false");
        }
        let mut child = command
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", binary()));
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut after = |beginning: &str| loop {
            let line = lines.next().expect("the server says where it is").unwrap();
            if let Some(rest) = line.strip_prefix(beginning) {
                break rest.split('/').next().unwrap().parse().expect("an address");
            }
        };
        let address = after("listening on http://");
        let internal = after("metrics on http://");
        let program = Self {
            child,
            address,
            internal,
        };
        (program, Box::new(lines))
    }

    pub(crate) fn metrics(&self) -> Metrics {
        let text = self.scrape();
        let body = text.split_once("\r\n\r\n").expect("a head and a body").1;
        let values = body
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.rsplit_once(' '))
            .filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?)))
            .collect();
        Metrics {
            values,
            resident: self.resident(),
        }
    }

    /// Asks for the numbers, and does not wait for them.
    pub(crate) fn knock(&self) {
        if let Ok(mut stream) = TcpStream::connect(self.internal) {
            let _ = stream.write_all(b"GET /metrics HTTP/1.0\r\nHost: x\r\n\r\n");
        }
    }

    fn scrape(&self) -> String {
        let mut stream = TcpStream::connect(self.internal).expect("the internal site");
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        stream
            .write_all(b"GET /metrics HTTP/1.0\r\nHost: x\r\n\r\n")
            .unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("the numbers");
        text
    }

    /// Sends it a signal.
    #[cfg(unix)]
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, signal).expect("the server runs");
    }

    /// How it ended; `None` if it has not within that time.
    pub(crate) fn ended(&mut self, within: Duration) -> Option<ExitStatus> {
        let begun = Instant::now();
        loop {
            match self.child.try_wait().expect("a child of ours") {
                Some(status) => return Some(status),
                None if begun.elapsed() > within => return None,
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        }
    }

    /// The names of its threads that begin so, in order. Those that a library starts have the
    /// name of the thread that did.
    #[cfg(target_os = "linux")]
    pub(crate) fn threads(&self, beginning: &str) -> Vec<String> {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        let names = tasks.filter_map(|task| {
            let name = std::fs::read_to_string(task.ok()?.path().join("comm")).ok()?;
            Some(name.trim_end().to_owned()).filter(|name| name.starts_with(beginning))
        });
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    }

    /// Bytes of memory that the process occupies.
    pub(crate) fn resident(&self) -> f64 {
        self.status("VmRSS:")
    }

    /// The most that it has ever occupied.
    #[cfg(target_os = "linux")]
    pub(crate) fn peak(&self) -> f64 {
        self.status("VmHWM:")
    }

    fn status(&self, name: &str) -> f64 {
        let path = format!("/proc/{}/status", self.child.id());
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse().ok());
        kib.unwrap_or(0.0) * 1024.0
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        drop(self.child.kill());
        let begun = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) && begun.elapsed().as_secs() < 5 {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Metrics {
    /// A number without labels; 0 if there is none of that name.
    pub(crate) fn get(&self, name: &str) -> f64 {
        self.values.get(name).copied().unwrap_or(0.0)
    }

    /// What was refused, dropped or ended since then.
    pub(crate) fn told_since(&self, before: &Self) -> String {
        let kinds = ["refused", "unavailable", "dropped", "ended", "closed"];
        let told = self
            .values
            .iter()
            .filter(|(name, _)| kinds.iter().any(|k| name.contains(k)));
        let grown = told.filter_map(|(name, value)| {
            let more = value - before.get(name);
            let name = name.strip_prefix("bayeux_").unwrap_or(name);
            (more > 0.0).then(|| format!("{name} +{more}"))
        });
        let grown: Vec<String> = grown.collect();
        if grown.is_empty() {
            "nothing to tell".to_owned()
        } else {
            grown.join(", ")
        }
    }
}
