//! What abusers do on the wire, and what becomes of them.

use std::fmt;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::common::http::request_bytes;

/// How an abuser ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// With that status.
    Answered(u16),
    /// Without a word.
    Closed,
    /// Not in time.
    Never,
}

/// All abusers of a run.
pub(crate) struct Tally {
    /// What limits are multiplied with.
    lenience: u32,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    answered: u64,
    closed: u64,
    slowest: Duration,
    faults: Vec<String>,
}

impl Tally {
    pub(crate) fn new(lenience: u32) -> Self {
        Self {
            lenience,
            state: Mutex::default(),
        }
    }

    /// Notes how one ended, and that it should have within that time.
    pub(crate) fn note(&self, what: &str, end: End, took: Duration, limit: Duration) {
        let limit = limit * self.lenience;
        let mut state = self.state.lock().unwrap();
        match end {
            End::Answered(_) => state.answered += 1,
            End::Closed => state.closed += 1,
            End::Never => {}
        }
        state.slowest = state.slowest.max(took);
        if end == End::Never || took > limit {
            state
                .faults
                .push(format!("{what}: {end:?} after {took:?}, limit {limit:?}"));
        }
    }

    pub(crate) fn fault(&self, what: String) {
        self.state.lock().unwrap().faults.push(what);
    }

    /// At most ten of what went wrong.
    pub(crate) fn faults(&self) -> Vec<String> {
        self.state
            .lock()
            .unwrap()
            .faults
            .iter()
            .take(10)
            .cloned()
            .collect()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.lock().unwrap();
        write!(
            f,
            "{} answered, {} closed without a word, {} too late or never; \
             the slowest after {:.2} s",
            state.answered,
            state.closed,
            state.faults.len(),
            state.slowest.as_secs_f64(),
        )
    }
}

/// A connection for somebody who does not care.
pub(crate) struct Rude {
    stream: TcpStream,
    /// When it began to wait.
    pub(crate) since: Instant,
}

impl Rude {
    pub(crate) fn open(address: SocketAddr) -> Option<Self> {
        let stream = TcpStream::connect_timeout(&address, Duration::from_secs(5)).ok()?;
        stream.set_nodelay(true).ok()?;
        Some(Self {
            stream,
            since: Instant::now(),
        })
    }

    /// From another address of this machine, so that it is somebody else; with a buffer of that
    /// size for what it does not read.
    #[cfg(target_os = "linux")]
    pub(crate) fn open_elsewhere(address: SocketAddr, buffer: Option<usize>) -> Option<Self> {
        use socket2::{Domain, Socket, Type};
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).ok()?;
        let elsewhere = SocketAddr::from(([127, 0, 0, 2], 0));
        socket.bind(&elsewhere.into()).ok()?;
        if let Some(bytes) = buffer {
            socket.set_recv_buffer_size(bytes).ok()?;
        }
        socket
            .connect_timeout(&address.into(), Duration::from_secs(5))
            .ok()?;
        let stream = TcpStream::from(socket);
        stream.set_nodelay(true).ok()?;
        let since = Instant::now();
        Some(Self { stream, since })
    }

    /// Makes the buffer small in which the kernel takes what is not read.
    pub(crate) fn reads_little(&self) {
        drop(socket2::SockRef::from(&self.stream).set_recv_buffer_size(4096));
    }

    /// Sends; `false` when the server has closed or takes nothing for that long.
    pub(crate) fn send(&mut self, bytes: &[u8], patience: Duration) -> bool {
        self.stream.set_write_timeout(Some(patience)).is_ok()
            && self.stream.write_all(bytes).is_ok()
    }

    /// Waits for a status line or the end.
    pub(crate) fn end(&mut self, patience: Duration) -> End {
        drop(self.stream.set_read_timeout(Some(patience)));
        let mut start = [0; 12];
        match self.stream.read_exact(&mut start) {
            Ok(()) => {
                let status = std::str::from_utf8(&start[9..])
                    .ok()
                    .and_then(|s| s.parse().ok());
                End::Answered(status.unwrap_or(0))
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => End::Never,
            Err(_) => End::Closed,
        }
    }

    /// Waits for the end, whatever comes before it.
    pub(crate) fn closed(&mut self, patience: Duration) -> bool {
        drop(self.stream.set_read_timeout(Some(patience)));
        let deadline = Instant::now() + patience;
        let mut sink = [0; 4096];
        loop {
            match self.stream.read(&mut sink) {
                Ok(0) => return true,
                Ok(_) if Instant::now() < deadline => {}
                Ok(_) => return false,
                Err(error) => return error.kind() != ErrorKind::WouldBlock,
            }
        }
    }

    /// Sends messages and reads the whole response.
    pub(crate) fn post(&mut self, body: &str) -> Option<String> {
        let kind = "Content-Type: application/json\r\n";
        let request = request_bytes("POST", "/cometd", kind, body.as_bytes());
        self.send(&request, Duration::from_secs(10)).then_some(())?;
        drop(self.stream.set_read_timeout(Some(Duration::from_secs(10))));
        let mut text = Vec::new();
        let mut chunk = [0; 65536];
        loop {
            let count = self
                .stream
                .read(&mut chunk)
                .ok()
                .filter(|count| *count > 0)?;
            text.extend_from_slice(&chunk[..count]);
            if let Some(whole) = whole_response(&text) {
                return Some(whole);
            }
        }
    }

    /// Makes a session; its id.
    pub(crate) fn handshake(&mut self) -> Option<String> {
        let reply = self.post(r#"[{"channel":"/meta/handshake"}]"#)?;
        let id = reply.split(r#""clientId":""#).nth(1)?.split('"').next()?;
        Some(id.to_owned())
    }
}

/// The body, if it is there to its end.
fn whole_response(text: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(text);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut lines = head.lines();
    let length = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse().ok())?
    });
    (body.len() >= length.unwrap_or(0usize)).then(|| body.to_owned())
}

/// Runs abusers in threads until all return.
pub(crate) fn in_threads(count: usize, body: impl Fn(usize) + Sync) {
    std::thread::scope(|scope| {
        for n in 0..count {
            let body = &body;
            let thread = std::thread::Builder::new().stack_size(256 << 10);
            thread
                .spawn_scoped(scope, move || body(n))
                .expect("a thread for an abuser");
        }
    });
}
