//! Everything a connector refuses by itself, before the site is asked. All of these end the
//! connection: after them nobody can be sure where the next request begins.

use crate::http::Refused;
use crate::refusals::Reason;

/// Why a request is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The first line is no request line.
    RequestLine,
    /// The target has none of the forms that a server serves.
    Target,
    /// A field line that is none: a name that is no token, a control character, a folded line.
    Field,
    /// A line that does not end in CR LF where it should.
    LineEnd,
    /// HTTP/1.1 without `Host`.
    NoHost,
    /// More than one `Host`.
    ManyHosts,
    /// A `Host` that names none, or another than the target does.
    Host,
    /// A `Content-Length` that is no number.
    ContentLength,
    /// Several `Content-Length` that differ.
    DifferingLengths,
    /// `Transfer-Encoding` beside `Content-Length`: two opinions on where the body ends.
    LengthAndCoding,
    /// `Transfer-Encoding` malformed, with `chunked` twice or not last, or in HTTP/1.0.
    TransferCoding,
    /// A chunk, its size, extension or the trailer is malformed or too long.
    Chunk,
    /// The head took too long to arrive.
    HeadTimeout,
    /// The body took too long to arrive.
    BodyTimeout,
    /// The body is larger than this request may have.
    BodyTooLarge,
    /// The limit of the head was reached inside the request line.
    TargetTooLong,
    /// An expectation other than `100-continue`.
    Expectation,
    /// The limit of the head, or of its number of fields, was reached after the request line.
    HeadTooLarge,
    /// CONNECT or TRACE.
    Method,
    /// A transfer coding other than `chunked`.
    UnknownCoding,
    /// All connections together buffer as much unfinished input as they may.
    Overloaded,
    /// A version other than HTTP/1.0 and HTTP/1.1.
    Version,
}

impl Refusal {
    /// The status of the answer.
    fn status(self) -> u16 {
        match self {
            Self::RequestLine
            | Self::Target
            | Self::Field
            | Self::LineEnd
            | Self::NoHost
            | Self::ManyHosts
            | Self::Host
            | Self::ContentLength
            | Self::DifferingLengths
            | Self::LengthAndCoding
            | Self::TransferCoding
            | Self::Chunk => 400,
            Self::HeadTimeout | Self::BodyTimeout => 408,
            Self::BodyTooLarge => 413,
            Self::TargetTooLong => 414,
            Self::Expectation => 417,
            Self::HeadTooLarge => 431,
            Self::Method | Self::UnknownCoding => 501,
            Self::Overloaded => 503,
            Self::Version => 505,
        }
    }

    /// What it is counted as.
    fn reason(self) -> Reason {
        match self {
            Self::RequestLine
            | Self::Target
            | Self::Field
            | Self::LineEnd
            | Self::ContentLength
            | Self::DifferingLengths
            | Self::LengthAndCoding
            | Self::TransferCoding
            | Self::Chunk
            | Self::Expectation
            | Self::UnknownCoding
            | Self::Version => Reason::Malformed,
            Self::NoHost | Self::ManyHosts | Self::Host => Reason::Host,
            Self::HeadTimeout => Reason::HeaderTimeout,
            Self::BodyTimeout => Reason::BodyTimeout,
            Self::BodyTooLarge => Reason::MaxBody,
            Self::TargetTooLong | Self::HeadTooLarge => Reason::MaxHeader,
            Self::Method => Reason::Method,
            Self::Overloaded => Reason::MaxInputTotal,
        }
    }

    /// All of it.
    pub(super) fn refused(self) -> Refused<'static> {
        Refused {
            reason: self.reason(),
            status: self.status(),
            line: self.explain(),
        }
    }

    /// The answer's body: one line of plain text that repeats nothing of the request.
    fn explain(self) -> &'static str {
        match self {
            Self::RequestLine => "malformed request line",
            Self::Target => "malformed request target",
            Self::Field => "malformed header field",
            Self::LineEnd => "a line of the head does not end in CR LF",
            Self::NoHost => "the Host field is missing",
            Self::ManyHosts => "more than one Host field",
            Self::Host => "malformed Host field, or one that contradicts the target",
            Self::ContentLength => "malformed Content-Length",
            Self::DifferingLengths => "differing Content-Length fields",
            Self::LengthAndCoding => "Transfer-Encoding beside Content-Length",
            Self::TransferCoding => "malformed Transfer-Encoding",
            Self::Chunk => "malformed chunked body",
            Self::HeadTimeout => "the request head took too long",
            Self::BodyTimeout => "the request body took too long",
            Self::BodyTooLarge => "the request body is too large",
            Self::TargetTooLong => "the request target is too long",
            Self::Expectation => "unknown expectation",
            Self::HeadTooLarge => "the request head is too large",
            Self::Method => "method not implemented",
            Self::UnknownCoding => "transfer coding not implemented",
            Self::Overloaded => "too much unfinished input",
            Self::Version => "HTTP version not supported",
        }
    }
}
