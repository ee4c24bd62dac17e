//! How messages travel: requests and responses, or frames.

/// How clients speak with the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    /// One POST after the other, on one connection for each client.
    LongPolling,
    /// Frames.
    WebSocket,
}

impl Transport {
    /// Whether a client may send while it waits.
    pub(super) fn has_frames(self) -> bool {
        self == Self::WebSocket
    }
}

/// One client's end of a connection.
pub(super) struct Wire {
    transport: Transport,
    host: String,
    path: String,
    open: bool,
}

/// What has come.
pub(super) enum Incoming<'a> {
    /// The connection has become a WebSocket.
    Opened,
    /// A JSON array.
    Messages(&'a [u8]),
    /// To be answered with that.
    Ping(Vec<u8>),
}

impl Wire {
    pub(super) fn new(transport: Transport, host: &str, path: &str) -> Self {
        Self {
            transport,
            host: host.to_owned(),
            path: path.to_owned(),
            open: !transport.has_frames(),
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.open
    }

    pub(super) fn connection_type(&self) -> &'static str {
        match self.transport {
            Transport::LongPolling => "long-polling",
            Transport::WebSocket => "websocket",
        }
    }

    /// The request for a WebSocket, where one is wanted.
    pub(super) fn upgrade(&self) -> Option<Vec<u8>> {
        let Self { host, path, .. } = self;
        self.transport.has_frames().then(|| {
            format!(
                "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\n\
                 Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                 Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
            )
            .into_bytes()
        })
    }

    /// The bytes that carry a JSON array.
    pub(super) fn carry(&self, array: &str) -> Vec<u8> {
        match self.transport {
            Transport::LongPolling => {
                let (Self { host, path, .. }, length) = (self, array.len());
                format!(
                    "POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n\
                     Content-Length: {length}\r\n\r\n{array}"
                )
                .into_bytes()
            }
            Transport::WebSocket => frame(TEXT, array.as_bytes()),
        }
    }

    /// The first response or frame of the input and its length; `None` if it is not whole.
    pub(super) fn take<'i>(
        &mut self,
        input: &'i [u8],
    ) -> Result<Option<(usize, Incoming<'i>)>, String> {
        if self.transport.has_frames() && self.open {
            return take_frame(input);
        }
        let mut lines = [httparse::EMPTY_HEADER; 32];
        let mut response = httparse::Response::new(&mut lines);
        let parsed = response.parse(input).map_err(|error| error.to_string())?;
        let httparse::Status::Complete(head) = parsed else {
            return Ok(None);
        };
        let status = response.code.unwrap_or(0);
        if self.transport.has_frames() {
            self.open = status == 101;
            let opened = self.open.then_some(Some((head, Incoming::Opened)));
            return opened.ok_or_else(|| format!("status {status} instead of a WebSocket"));
        }
        let length = response.headers.iter().find_map(|line| {
            let is_length = line.name.eq_ignore_ascii_case("content-length");
            let value = std::str::from_utf8(line.value).ok()?;
            is_length.then(|| value.parse::<usize>().ok())?
        });
        let body = head..head + length.ok_or("a response without length")?;
        match input.get(body.clone()) {
            None => Ok(None),
            Some(text) if status == 200 => Ok(Some((body.end, Incoming::Messages(text)))),
            Some(text) => Err(format!(
                "status {status}: {}",
                String::from_utf8_lossy(text)
            )),
        }
    }
}

const TEXT: u8 = 1;
const PING: u8 = 9;
const PONG: u8 = 10;

/// A frame from a client. Its mask is zero, which leaves the payload as it is.
fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode];
    match payload.len() {
        len @ 0..=125 => frame.push(0x80 | len as u8),
        len @ 126..=0xffff => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(payload);
    frame
}

fn take_frame(input: &[u8]) -> Result<Option<(usize, Incoming<'_>)>, String> {
    let [first, second, rest @ ..] = input else {
        return Ok(None);
    };
    let (begin, length) = match (second, rest) {
        (126, [a, b, ..]) => (4, u64::from(u16::from_be_bytes([*a, *b]))),
        (127, [a, b, c, d, e, f, g, h, ..]) => {
            (10, u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]))
        }
        (126 | 127, _) => return Ok(None),
        (length, _) => (2, u64::from(*length)),
    };
    let end = usize::try_from(length).map_err(|_| "a frame is too long")? + begin;
    let Some(payload) = input.get(begin..end) else {
        return Ok(None);
    };
    match first {
        0x81 => Ok(Some((end, Incoming::Messages(payload)))),
        first if *first == 0x80 | PING => Ok(Some((end, Incoming::Ping(frame(PONG, payload))))),
        first => Err(format!("an unexpected frame: {first:#x}")),
    }
}
