//! A request head, recognised in place: `httparse` finds the parts, the rules of RFC 9112 that keep
//! two readers of one stream in step are checked here.

use std::mem::MaybeUninit;

use httparse::{Error, Header, Request, Status};

use super::{Framing, Refusal, framing, grammar};

/// Most fields a head may have. A browser sends about 20; each costs 32 bytes of stack.
const MAX_FIELDS: usize = 100;

/// Where the fields of a head are noted while it is looked at.
pub(super) struct FieldSlots<'b>([MaybeUninit<Header<'b>>; MAX_FIELDS]);

impl FieldSlots<'_> {
    pub(super) fn new() -> Self {
        Self([const { MaybeUninit::uninit() }; MAX_FIELDS])
    }
}

/// A whole, well-formed request head.
#[derive(Debug)]
pub(super) struct Head<'h, 'b> {
    /// The method, a token.
    pub(super) method: &'b str,
    /// As it came: path and query, a whole URL, or `*`.
    pub(super) target: &'b str,
    /// 0 or 1.
    pub(super) minor_version: u8,
    /// All fields, values without white space around them.
    pub(super) fields: &'h [Header<'b>],
    /// What follows.
    pub(super) framing: Framing,
    /// Whether the client waits for a 100 before it sends the body.
    pub(super) expects_continue: bool,
    /// Whether the client wants to send another request after this one.
    pub(super) keep_alive: bool,
    /// Length of the head in bytes, empty line included.
    pub(super) len: usize,
}

/// How many bytes of empty lines precede the request (RFC 9112, 2.2, wants them ignored).
pub(super) fn empty_lines(input: &[u8]) -> usize {
    input
        .chunks_exact(2)
        .take_while(|pair| pair == b"\r\n")
        .count()
        * 2
}

/// Recognises the head at the start of `input`; `None` if it is not complete.
///
/// `seen` is how much of `input` was there at the last attempt: without a new line end there is
/// nothing new to find, so a head sent byte by byte is not parsed at every byte. `limit` bounds the
/// head in bytes.
pub(super) fn parse_head<'h, 'b>(
    input: &'b [u8],
    seen: usize,
    limit: usize,
    slots: &'h mut FieldSlots<'b>,
) -> Result<Option<Head<'h, 'b>>, Refusal> {
    let bytes = &input[..input.len().min(limit)];
    let full = bytes.len() == limit;
    if seen > 0 && !full && !bytes[seen.min(bytes.len())..].contains(&b'\n') {
        return Ok(None);
    }
    let mut request = Request::new(&mut []);
    match request.parse_with_uninit_headers(bytes, &mut slots.0) {
        Ok(Status::Complete(len)) => check(request, &bytes[..len]).map(Some),
        Ok(Status::Partial) if full => Err(over_limit(bytes)),
        Ok(Status::Partial) => Ok(None),
        Err(error) => Err(malformed(error, bytes)),
    }
}

/// Checks what `httparse` leaves to us.
#[allow(clippy::needless_pass_by_value)] // its fields outlive it only when they are moved out
fn check<'h, 'b>(request: Request<'h, 'b>, head: &'b [u8]) -> Result<Head<'h, 'b>, Refusal> {
    let (Some(method), Some(target), Some(minor_version)) =
        (request.method, request.path, request.version)
    else {
        return Err(Refusal::RequestLine);
    };
    let fields: &'h [Header<'b>] = request.headers;
    // `httparse` takes CR only before LF, so every LF has its CR if there are as many.
    if count(head, b'\n') != count(head, b'\r') {
        return Err(Refusal::LineEnd);
    }
    if matches!(method, "CONNECT" | "TRACE") {
        return Err(Refusal::Method);
    }
    check_host(
        fields,
        minor_version,
        grammar::target_authority(method, target)?,
    )?;
    let framing = framing::of(fields, minor_version)?;
    Ok(Head {
        method,
        target,
        minor_version,
        fields,
        framing,
        expects_continue: expects_continue(fields, minor_version)? && !framing.is_empty(),
        keep_alive: keep_alive(fields, minor_version),
        len: head.len(),
    })
}

fn count(bytes: &[u8], wanted: u8) -> usize {
    bytes.iter().filter(|&&byte| byte == wanted).count()
}

fn check_host(
    fields: &[Header<'_>],
    minor_version: u8,
    authority: Option<&str>,
) -> Result<(), Refusal> {
    let mut hosts = grammar::values(fields, "host");
    match (hosts.next(), hosts.next()) {
        (_, Some(_)) => Err(Refusal::ManyHosts),
        (None, None) if minor_version == 0 => Ok(()),
        (None, None) => Err(Refusal::NoHost),
        (Some(host), None) => {
            // RFC 9112, 3.2.2, has the target win over `Host`; nobody honest sends two opinions.
            let agrees = authority.is_none_or(|name| name.as_bytes().eq_ignore_ascii_case(host));
            if agrees && grammar::is_authority(host) {
                Ok(())
            } else {
                Err(Refusal::Host)
            }
        }
    }
}

/// Expectations of HTTP/1.0 clients are ignored, as RFC 9110, 10.1.1, demands.
fn expects_continue(fields: &[Header<'_>], minor_version: u8) -> Result<bool, Refusal> {
    let mut expects = false;
    if minor_version == 0 {
        return Ok(false);
    }
    for expectation in grammar::values(fields, "expect").flat_map(grammar::elements) {
        if !expectation.eq_ignore_ascii_case(b"100-continue") {
            return Err(Refusal::Expectation);
        }
        expects = true;
    }
    Ok(expects)
}

fn keep_alive(fields: &[Header<'_>], minor_version: u8) -> bool {
    let mut keep = minor_version == 1;
    for option in grammar::values(fields, "connection").flat_map(grammar::elements) {
        if option.eq_ignore_ascii_case(b"close") {
            return false;
        }
        keep |= option.eq_ignore_ascii_case(b"keep-alive");
    }
    keep
}

/// Which limit was reached depends on whether the request line had ended by then.
fn over_limit(bytes: &[u8]) -> Refusal {
    if bytes.contains(&b'\n') {
        Refusal::HeadTooLarge
    } else if bytes.contains(&b' ') {
        Refusal::TargetTooLong
    } else {
        Refusal::RequestLine
    }
}

fn malformed(error: Error, bytes: &[u8]) -> Refusal {
    match error {
        Error::TooManyHeaders => Refusal::HeadTooLarge,
        Error::HeaderName | Error::HeaderValue => Refusal::Field,
        Error::NewLine => Refusal::LineEnd,
        Error::Version => version(bytes),
        Error::Status | Error::Token => Refusal::RequestLine,
    }
}

/// Tells another version of HTTP from something that is no version.
fn version(bytes: &[u8]) -> Refusal {
    let line = bytes
        .split(|byte| matches!(byte, b'\r' | b'\n'))
        .next()
        .unwrap_or_default();
    let text = line.split(|&byte| byte == b' ').nth(2).unwrap_or_default();
    match text.strip_prefix(b"HTTP/") {
        Some([b'1', b'.', minor, ..]) if minor.is_ascii_digit() => Refusal::Version,
        Some([major, ..]) if major.is_ascii_digit() && *major != b'1' => Refusal::Version,
        _ => Refusal::RequestLine,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 1024;

    /// What the head is taken for, in words. The way it is cut must make no difference.
    fn recognise(input: &[u8]) -> Result<Option<String>, Refusal> {
        let whole = attempt(input, 0);
        for cut in 1..input.len() {
            match attempt(&input[..cut], 0) {
                Ok(None) => assert_eq!(attempt(input, cut), whole, "cut at {cut}"),
                Ok(early) => panic!("a head at {cut}: {early:?}"),
                Err(early) => assert_eq!(Err(early), whole, "refused at {cut}"),
            }
        }
        whole
    }

    fn attempt(input: &[u8], seen: usize) -> Result<Option<String>, Refusal> {
        let mut slots = FieldSlots::new();
        Ok(parse_head(input, seen, LIMIT, &mut slots)?.map(|head| {
            assert_eq!(head.len, input.len());
            format!(
                "{} {} 1.{} {} {:?}{}{}",
                head.method,
                head.target,
                head.minor_version,
                head.fields.len(),
                head.framing,
                if head.expects_continue {
                    " continue"
                } else {
                    ""
                },
                if head.keep_alive { " keep" } else { "" },
            )
        }))
    }

    fn good(input: &str, expected: &str) {
        assert_eq!(
            recognise(input.as_bytes()),
            Ok(Some(expected.into())),
            "{input:?}"
        );
    }

    fn bad(input: &str, expected: Refusal) {
        assert_eq!(recognise(input.as_bytes()), Err(expected), "{input:?}");
    }

    #[test]
    fn requests() {
        good("GET / HTTP/1.1\r\nHost: h\r\n\r\n", "GET / 1.1 1 None keep");
        good(
            "GET / HTTP/1.1\r\nhOsT:h:80 \t\r\n\r\n",
            "GET / 1.1 1 None keep",
        );
        good("GET /?a HTTP/1.0\r\n\r\n", "GET /?a 1.0 0 None");
        good(
            "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n",
            "GET / 1.0 1 None keep",
        );
        good(
            "OPTIONS * HTTP/1.1\r\nHost:\r\n\r\n",
            "OPTIONS * 1.1 1 None keep",
        );
        good(
            "post http://H/x HTTP/1.1\r\nHost: h\r\n\r\n",
            "post http://H/x 1.1 1 None keep",
        );
        good(
            "POST / HTTP/1.1\r\nHost: h\r\nConnection: x, CLOSE\r\nContent-Length: 5\r\n\r\n",
            "POST / 1.1 3 Length(5)",
        );
        good(
            "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: Chunked\r\n\
             Expect: 100-Continue\r\n\r\n",
            "POST / 1.1 3 Chunked continue keep",
        );
        good(
            "POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n\r\n",
            "POST / 1.1 2 None keep",
        );
        good(
            "POST / HTTP/1.0\r\nExpect: x\r\nContent-Length: 1\r\n\r\n",
            "POST / 1.0 2 Length(1)",
        );
        good(
            "GET / HTTP/1.1\r\nHost: h\r\nX: a\tb\r\nY:\r\n\r\n",
            "GET / 1.1 3 None keep",
        );
    }

    #[test]
    fn request_lines_that_are_none() {
        for line in [
            "GARBAGE",
            "GET",
            "GET /",
            "GET / ",
            "GET  / HTTP/1.1",
            " ",
            " GET / HTTP/1.1",
            "POST HTTP/1.1",
            "P ST / HTTP/1.1",
            "P(ST) / HTTP/1.1",
            "P\0ST / HTTP/1.1",
            "GET /\0 HTTP/1.1",
            "GET /\x7f HTTP/1.1",
            "GET / http/1.1",
            "GET / HTTPS/1.1",
            "GET / HTTP/1",
            "GET / HTTP/1.x",
            "GET / HTTP/",
            "\x16\x03\x01\x02\0\x01\0\x01\u{7c}\x03\x03",
        ] {
            bad(&format!("{line}\r\nHost: h\r\n\r\n"), Refusal::RequestLine);
        }
        for line in [
            "GET / HTTP/2.0",
            "GET / HTTP/0.9",
            "GET / HTTP/1.2",
            "PRI * HTTP/2.0",
        ] {
            bad(&format!("{line}\r\nHost: h\r\n\r\n"), Refusal::Version);
        }
    }

    #[test]
    fn fields_that_are_none() {
        for field in [
            "a b: c",
            "a : b",
            ": b",
            "(a): b",
            "\u{fc}: b",
            "a: b\x0bc",
            "a: b\0",
            "a: \x7f",
            "a",
            " folded: b",
            "\tfolded",
            "a: b\rc: d",
        ] {
            bad(
                &format!("GET / HTTP/1.1\r\nHost: h\r\n{field}\r\n\r\n"),
                Refusal::Field,
            );
        }
    }

    #[test]
    fn line_ends() {
        for line in [
            "GET / HTTP/1.1 ",
            "GET / HTTP/1.1 x",
            "GET / HTTP/1.1\0",
            "GET / HTTP/1.11",
        ] {
            bad(&format!("{line}\r\nHost: h\r\n\r\n"), Refusal::LineEnd);
        }
        bad("GET / HTTP/1.1\r\nHost: h\r\n\rx\n", Refusal::LineEnd);
        bad("GET / HTTP/1.1\nHost: h\n\n", Refusal::LineEnd);
        bad("GET / HTTP/1.1\r\nHost: h\n\r\n", Refusal::LineEnd);
        bad("GET / HTTP/1.1\r\nHost: h\r\n\n", Refusal::LineEnd);
        bad("\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", Refusal::LineEnd);
    }

    #[test]
    fn hosts() {
        let with = |host: &str| format!("GET / HTTP/1.1\r\n{host}\r\n");
        bad(&with(""), Refusal::NoHost);
        bad(&with("Host: a\r\nhost: b\r\n"), Refusal::ManyHosts);
        bad(&with("Host: a\r\nhost: a\r\n"), Refusal::ManyHosts);
        bad(&with("Host: a/b\r\n"), Refusal::Host);
        bad(&with("Host: a b\r\n"), Refusal::Host);
        bad(
            "GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n",
            Refusal::ManyHosts,
        );
        bad("GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n", Refusal::Host);
        bad("GET http://a/ HTTP/1.1\r\n\r\n", Refusal::NoHost);
    }

    #[test]
    fn what_is_not_done() {
        bad(
            "CONNECT h:80 HTTP/1.1\r\nHost: h:80\r\n\r\n",
            Refusal::Method,
        );
        bad("TRACE / HTTP/1.1\r\nHost: h\r\n\r\n", Refusal::Method);
        bad("GET x HTTP/1.1\r\nHost: h\r\n\r\n", Refusal::Target);
        bad("GET /\u{fc} HTTP/1.1\r\nHost: h\r\n\r\n", Refusal::Target);
        bad(
            "POST / HTTP/1.1\r\nHost: h\r\nExpect: x\r\n\r\n",
            Refusal::Expectation,
        );
        let codings = "Transfer-Encoding: chunked\r\nContent-Length: 1";
        bad(
            &format!("POST / HTTP/1.1\r\nHost: h\r\n{codings}\r\n\r\n"),
            Refusal::LengthAndCoding,
        );
    }

    #[test]
    fn limits() {
        let many = "x: y\r\n".repeat(MAX_FIELDS + 1);
        bad(
            &format!("GET / HTTP/1.1\r\n{many}\r\n"),
            Refusal::HeadTooLarge,
        );
        bad(
            &format!("GET / HTTP/1.1\r\nHost: h\r\nx: {}", "y".repeat(LIMIT)),
            Refusal::HeadTooLarge,
        );
        bad(
            &format!("GET / HTTP/1.1\r\nHost: h\r\n{}", "y".repeat(LIMIT)),
            Refusal::HeadTooLarge,
        );
        bad(
            &format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "y".repeat(LIMIT)),
            Refusal::TargetTooLong,
        );
        bad(&"y".repeat(LIMIT), Refusal::RequestLine);
        let head = |size: usize| {
            let empty = "GET / HTTP/1.1\r\nHost: h\r\nx: \r\n\r\n".len();
            format!(
                "GET / HTTP/1.1\r\nHost: h\r\nx: {}\r\n\r\n",
                "y".repeat(size - empty)
            )
        };
        good(&head(LIMIT), "GET / 1.1 2 None keep");
        bad(&head(LIMIT + 1), Refusal::HeadTooLarge);
    }

    #[test]
    fn a_head_ends_where_its_body_begins() {
        let mut slots = FieldSlots::new();
        let input = b"GET / HTTP/1.1\r\nHost: h\r\n\r\nGET /2";
        let head = parse_head(input, 0, LIMIT, &mut slots);
        assert_eq!(
            head.ok().flatten().map(|head| head.len),
            Some(input.len() - 6)
        );
    }

    #[test]
    fn empty_lines_are_counted_in_pairs() {
        for (input, expected) in [
            ("", 0),
            ("\r", 0),
            ("\r\n", 2),
            ("\r\n\r\nGET", 4),
            ("\r\n\r", 2),
            ("\n", 0),
            ("a\r\n", 0),
        ] {
            assert_eq!(empty_lines(input.as_bytes()), expected, "{input:?}");
        }
    }
}
