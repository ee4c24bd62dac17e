//! A small HTTP/1.1 client that shows everything: bytes out, head and body in, nothing repaired.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::wait::PATIENCE;

/// One connection.
pub(crate) struct Connection {
    stream: BufReader<TcpStream>,
}

/// A response, as it came.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Connection {
    pub(crate) fn open(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).expect("the server accepts"))
    }

    /// One that comes from that address, of which the loopback interface has many.
    #[cfg(target_os = "linux")]
    #[allow(dead_code, reason = "not every program of tests has strangers")]
    pub(crate) fn open_from(from: std::net::Ipv4Addr, address: SocketAddr) -> Self {
        let socket = socket2::Socket::new(
            socket2::Domain::for_address(address),
            socket2::Type::STREAM,
            None,
        )
        .expect("a socket");
        socket.bind(&SocketAddr::from((from, 0)).into()).unwrap();
        socket.connect(&address.into()).expect("the server accepts");
        Self::over(socket.into())
    }

    fn over(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self {
            stream: BufReader::new(stream),
        }
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream
            .get_mut()
            .write_all(bytes.as_ref())
            .expect("the server reads");
    }

    /// Sends what the server may refuse to read to its end.
    pub(crate) fn try_send(&mut self, bytes: impl AsRef<[u8]>) {
        drop(self.stream.get_mut().write_all(bytes.as_ref()));
    }

    /// Sends a request with those header lines (each with its line end) and reads the response.
    pub(crate) fn request(
        &mut self,
        method: &str,
        target: &str,
        headers: &str,
        body: &[u8],
    ) -> Response {
        self.send(request_bytes(method, target, headers, body));
        self.response_to(method)
    }

    pub(crate) fn get(&mut self, target: &str) -> Response {
        self.request("GET", target, "", b"")
    }

    pub(crate) fn response(&mut self) -> Response {
        self.response_to("GET")
    }

    fn response_to(&mut self, method: &str) -> Response {
        let status_line = self.line();
        let mut parts = status_line.splitn(3, ' ');
        assert_eq!(parts.next(), Some("HTTP/1.1"), "{status_line:?}");
        let status = parts.next().and_then(|word| word.parse().ok());
        let status: u16 = status.unwrap_or_else(|| panic!("a status in {status_line:?}"));
        let mut headers = Vec::new();
        loop {
            let line = self.line();
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("{line:?}"));
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut response = Response {
            status,
            headers,
            body: Vec::new(),
        };
        if method != "HEAD" && !matches!(status, 100..=199 | 204 | 304) {
            let length = response.header("content-length");
            let length = length.unwrap_or_else(|| panic!("a length in {response:?}"));
            response.body.resize(length.parse().expect("a number"), 0);
            self.stream
                .read_exact(&mut response.body)
                .expect("the whole body");
        }
        response
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream
            .read_line(&mut line)
            .expect("a line of the head");
        assert!(line.ends_with("\r\n"), "a whole line, not {line:?}");
        line.truncate(line.len() - 2);
        line
    }

    /// Whether nothing comes within that time; the connection stays open too.
    pub(crate) fn is_silent_for(&mut self, time: Duration) -> bool {
        self.stream.get_ref().set_read_timeout(Some(time)).unwrap();
        let outcome = self.stream.fill_buf().map(<[u8]>::len);
        self.stream
            .get_ref()
            .set_read_timeout(Some(PATIENCE))
            .unwrap();
        let timed_out = |kind| matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut);
        outcome.is_err_and(|error| timed_out(error.kind()))
    }

    /// Waits until the server closes; how long that took. Fails if it sends anything.
    pub(crate) fn closed_silently(&mut self) -> Duration {
        let begun = Instant::now();
        match self.stream.fill_buf().map(<[u8]>::to_vec) {
            Ok(rest) => assert_eq!(String::from_utf8_lossy(&rest), "", "closed without a word"),
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}"),
        }
        begun.elapsed()
    }

    /// The peer has no more to say.
    pub(crate) fn half_close(&self) {
        self.stream
            .get_ref()
            .shutdown(std::net::Shutdown::Write)
            .unwrap();
    }
}

/// A request with `Host` and, where there is a body, its length.
pub(crate) fn request_bytes(method: &str, target: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let mut head = format!("{method} {target} HTTP/1.1\r\nHost: bayeux.test\r\n{headers}");
    if !body.is_empty() {
        write!(head, "Content-Length: {}\r\n", body.len()).expect("strings grow");
    }
    head.push_str("\r\n");
    [head.as_bytes(), body].concat()
}

impl Response {
    /// The only value of a header; `None` without it.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self
            .headers
            .iter()
            .filter(|(n, _)| n == name)
            .map(|(_, v)| v.as_str());
        let first = values.next();
        assert_eq!(
            values.next(),
            None,
            "one {name} at the most: {:?}",
            self.headers
        );
        first
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is UTF-8")
    }

    /// The objects of a Bayeux response.
    pub(crate) fn messages(&self) -> Vec<serde_json::Value> {
        assert_eq!(self.status, 200, "{self:?} {:?}", self.text());
        self.array()
    }

    /// The objects of a Bayeux body, whatever the status.
    pub(crate) fn array(&self) -> Vec<serde_json::Value> {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no array: {:?}", self.text()))
    }

    /// The `name=value` of the cookie that is set.
    pub(crate) fn cookie(&self) -> Option<&str> {
        self.header("set-cookie")
            .map(|value| value.split(';').next().unwrap_or(value))
    }
}
