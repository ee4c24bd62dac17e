//! A response as a value, and how its head is written.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};

/// What is sent back, but for the headers that belong to the connection.
#[derive(Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Lines `Name: value` with their line ends; without `Date`, `Content-Length`, `Connection`.
    pub headers: Vec<u8>,
    /// What follows the head.
    pub body: Body,
}

/// The body of a response.
#[derive(Debug)]
pub enum Body {
    /// Nothing.
    Empty,
    /// Ready in memory.
    Bytes(Vec<u8>),
    /// Part of the program.
    Static(&'static [u8]),
    /// A part of a file, to be sent piece by piece; see [`Body::read`].
    File {
        /// Positioned at `offset`.
        file: File,
        /// Where the next piece begins.
        offset: u64,
        /// How many bytes are left to be sent.
        len: u64,
    },
    /// Nothing, but the head says how long the body of a GET would be.
    HeadOf(u64),
}

impl Response {
    /// A response with neither headers nor body.
    pub fn new(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Body::Empty,
        }
    }

    /// One line of plain text, which no cache keeps.
    pub fn text(status: u16, line: &str) -> Self {
        let mut response = Self::uncached(status, "text/plain;charset=UTF-8");
        response.body = Body::Bytes(format!("{line}\n").into_bytes());
        response
    }

    /// A response of that media type, without body yet, which no cache keeps.
    pub fn uncached(status: u16, media_type: &str) -> Self {
        let mut response = Self::new(status).header("Content-Type", media_type);
        response.headers.extend_from_slice(NO_STORE_NO_SNIFF);
        response
    }

    /// With status 503 it says when to come back: clients have their own back-off, this is for
    /// those that go by HTTP.
    pub(super) fn with_retry(self) -> Self {
        match self.status {
            503 => self.header("Retry-After", "2"),
            _ => self,
        }
    }

    /// Adds a header line. Control characters in the value become spaces.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        if value.bytes().any(|byte| byte.is_ascii_control()) {
            let plain = value.replace(|c: char| c.is_ascii_control(), " ");
            push_header(&mut self.headers, name, &plain);
        } else {
            push_header(&mut self.headers, name, value);
        }
        self
    }

    /// What HEAD gets where GET gets this.
    pub fn without_body(mut self) -> Self {
        self.body = match self.body {
            body @ (Body::Empty | Body::HeadOf(_)) => body,
            body => Body::HeadOf(body.len()),
        };
        self
    }

    /// Appends everything from the status line to the empty line. `keep_alive` says whether the
    /// connection stays open, `http10` whether the client speaks HTTP/1.0, which has to be told.
    pub fn write_head(&self, date: &str, keep_alive: bool, http10: bool, out: &mut Vec<u8>) {
        push(
            out,
            format_args!("HTTP/1.1 {} {}\r\n", self.status, reason(self.status)),
        );
        out.extend_from_slice(&self.headers);
        if has_length(self.status) {
            let len = match self.body {
                Body::HeadOf(len) => len,
                _ => self.body.len(),
            };
            push_length(out, len);
        }
        push_end(out, date, keep_alive, http10);
    }
}

impl Body {
    /// How many bytes are to be sent.
    pub fn len(&self) -> u64 {
        match self {
            Self::Empty | Self::HeadOf(_) => 0,
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Static(bytes) => bytes.len() as u64,
            Self::File { len, .. } => *len,
        }
    }

    /// Whether nothing is to be sent.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The whole body, where it is in memory; `None` for a file.
    pub fn in_memory(&self) -> Option<&[u8]> {
        match self {
            Self::Empty | Self::HeadOf(_) => Some(&[]),
            Self::Bytes(bytes) => Some(bytes),
            Self::Static(bytes) => Some(bytes),
            Self::File { .. } => None,
        }
    }

    /// Writes what comes before it, and then all of it. Blocks; a file goes in pieces of 64 KiB.
    ///
    /// # Errors
    /// What reading or writing says; then the connection must be closed.
    pub fn write_after(&mut self, mut head: Vec<u8>, writer: &mut dyn Write) -> io::Result<()> {
        head.extend_from_slice(self.in_memory().unwrap_or_default());
        writer.write_all(&head)?;
        if let Self::File { .. } = self {
            let mut piece = head;
            piece.resize(PIECE, 0);
            while let got @ 1.. = self.read(&mut piece)? {
                writer.write_all(&piece[..got])?;
            }
        }
        writer.flush()
    }

    /// Reads the next piece of a file into `piece`; returns how much of it was filled, 0 at the
    /// end. A body in memory has no pieces.
    ///
    /// # Errors
    ///
    /// What reading says. When the file has become shorter than the head promised it is
    /// `UnexpectedEof`, and the connection must be closed.
    pub fn read(&mut self, piece: &mut [u8]) -> io::Result<usize> {
        let Self::File { file, offset, len } = self else {
            return Ok(0);
        };
        let want = piece.len().min(usize::try_from(*len).unwrap_or(usize::MAX));
        if want == 0 {
            return Ok(0);
        }
        let got = loop {
            match file.read(&mut piece[..want]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        if got == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        *offset += got as u64;
        *len -= got as u64;
        Ok(got)
    }
}

/// Files are written in pieces of so many bytes.
const PIECE: usize = 64 << 10;

/// Written while the body of a request that said `Expect: 100-continue` is wanted.
pub(crate) const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

const NO_STORE_NO_SNIFF: &[u8] = b"Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n";

pub(super) fn push_header(out: &mut Vec<u8>, name: &str, value: &str) {
    debug_assert!(
        !value.bytes().any(|byte| byte.is_ascii_control()),
        "control in {name}"
    );
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value.as_bytes());
    out.extend_from_slice(b"\r\n");
}

pub(super) fn push_length(out: &mut Vec<u8>, len: u64) {
    push(out, format_args!("Content-Length: {len}\r\n"));
}

fn push(out: &mut Vec<u8>, text: fmt::Arguments<'_>) {
    out.write_fmt(text)
        .expect("because writing to memory does not fail");
}

/// The headers of the connection, and the empty line.
pub(super) fn push_end(out: &mut Vec<u8>, date: &str, keep_alive: bool, http10: bool) {
    out.extend_from_slice(b"Date: ");
    out.extend_from_slice(date.as_bytes());
    match (keep_alive, http10) {
        (false, _) => out.extend_from_slice(b"\r\nConnection: close\r\n\r\n"),
        (true, true) => out.extend_from_slice(b"\r\nConnection: keep-alive\r\n\r\n"),
        (true, false) => out.extend_from_slice(b"\r\n\r\n"),
    }
}

fn has_length(status: u16) -> bool {
    status >= 200 && status != 204 && status != 304
}

fn reason(status: u16) -> &'static str {
    match status {
        101 => "Switching Protocols",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        206 => "Partial Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        // The phrase may be empty; status codes that embedders choose need none.
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::testing::TempDir;
    use std::io::{Seek, SeekFrom};

    const DATE: &str = "Thu, 01 Jan 1970 00:00:00 GMT";

    fn head(response: &Response, keep_alive: bool, http10: bool) -> String {
        let mut out = b"before ".to_vec();
        response.write_head(DATE, keep_alive, http10, &mut out);
        String::from_utf8(out)
            .unwrap()
            .strip_prefix("before ")
            .unwrap()
            .to_owned()
    }

    #[test]
    fn a_head_is_written_whole() {
        let response = Response::text(404, "Not found");
        let expected = format!(
            "HTTP/1.1 404 Not Found\r\nContent-Type: text/plain;charset=UTF-8\r\n\
             Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n\
             Content-Length: 10\r\nDate: {DATE}\r\n\r\n"
        );
        assert_eq!(head(&response, true, false), expected);
        assert_eq!(response.body.in_memory(), Some(&b"Not found\n"[..]));
    }

    #[test]
    fn the_connection_line_depends_on_the_version() {
        let response = Response::new(200);
        let table = [
            (true, false, None),
            (true, true, Some("Connection: keep-alive")),
            (false, false, Some("Connection: close")),
            (false, true, Some("Connection: close")),
        ];
        for (keep_alive, http10, line) in table {
            let head = head(&response, keep_alive, http10);
            let found = head.lines().find(|line| line.starts_with("Connection"));
            assert_eq!(found, line, "{keep_alive} {http10}");
            assert!(head.ends_with("\r\n\r\n"));
        }
    }

    #[test]
    fn lengths_are_said_where_a_body_could_be() {
        let table = [
            (Response::new(200), Some("0")),
            (Response::new(204), None),
            (Response::new(304), None),
            (
                Response {
                    body: Body::HeadOf(u64::MAX),
                    ..Response::new(200)
                },
                Some("18446744073709551615"),
            ),
            (
                Response {
                    body: Body::Static(b"abc"),
                    ..Response::new(200)
                },
                Some("3"),
            ),
            (Response::text(400, "x").without_body(), Some("2")),
        ];
        for (response, length) in table {
            let head = head(&response, true, false);
            let found = head
                .lines()
                .find_map(|line| line.strip_prefix("Content-Length: "));
            assert_eq!(found, length, "{head}");
        }
        let twice = Response::text(400, "x").without_body().without_body();
        assert!(twice.body.is_empty());
        assert!(head(&twice, true, false).contains("\r\nContent-Length: 2\r\n"));
    }

    #[test]
    fn a_file_is_read_in_pieces_and_no_further_than_promised() {
        let dir = TempDir::new();
        let mut file = file(&dir, "0123456789");
        file.seek(SeekFrom::Start(2)).unwrap();
        let mut body = Body::File {
            file,
            offset: 2,
            len: 5,
        };
        let mut piece = [0; 3];
        assert_eq!(body.read(&mut piece).unwrap(), 3);
        assert_eq!(&piece, b"234");
        assert_eq!((body.len(), body.in_memory()), (2, None));
        assert_eq!(body.read(&mut piece).unwrap(), 2);
        assert_eq!(&piece[..2], b"56");
        assert_eq!(body.read(&mut piece).unwrap(), 0);
    }

    #[test]
    fn bodies_are_written_after_their_heads() {
        let dir = TempDir::new();
        let text = "0123456789".repeat(2 * PIECE / 10);
        let bodies = [
            (Body::Static(b"abc"), "abc"),
            (Body::HeadOf(7), ""),
            (
                Body::File {
                    file: file(&dir, &text),
                    offset: 0,
                    len: text.len() as u64,
                },
                &text,
            ),
        ];
        for (mut body, expected) in bodies {
            let mut out = Vec::new();
            body.write_after(b"head ".to_vec(), &mut out).unwrap();
            assert!(out == format!("head {expected}").into_bytes());
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn what_cannot_be_read_is_an_error() {
        let dir = TempDir::new();
        let file = File::open(dir.path()).unwrap();
        let (offset, len) = (0, 10);
        let mut body = Body::File { file, offset, len };
        let error = body.read(&mut [0; 10]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::IsADirectory);
    }

    #[test]
    fn a_file_that_shrank_is_an_error() {
        let dir = TempDir::new();
        let mut body = Body::File {
            file: file(&dir, ""),
            offset: 0,
            len: 5,
        };
        let error = body.read(&mut [0; 3]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }

    fn file(dir: &TempDir, content: &str) -> File {
        File::open(dir.write("file", content)).unwrap()
    }
}
