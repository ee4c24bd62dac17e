//! Where a request's body ends (RFC 9112, 6). This is where smuggling hides: whatever two programs
//! could read differently is refused.

use httparse::Header;

use super::{Refusal, grammar};

/// How a body is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// Neither length nor coding.
    None,
    /// That many bytes; `u64::MAX` stands for all numbers that do not fit.
    Length(u64),
    /// Chunks.
    Chunked,
}

impl Framing {
    /// Whether nothing follows the head.
    pub(super) fn is_empty(self) -> bool {
        matches!(self, Self::None | Self::Length(0))
    }

    /// The whole body, when it lies in `input` as it is; it need not be copied then.
    pub(super) fn in_place(self, input: &[u8]) -> Option<&[u8]> {
        match self {
            Self::None => Some(&[]),
            Self::Length(length) => input.get(..usize::try_from(length).ok()?),
            Self::Chunked => None,
        }
    }
}

/// Checks `Content-Length` and `Transfer-Encoding`.
pub(super) fn of(fields: &[Header<'_>], minor_version: u8) -> Result<Framing, Refusal> {
    let length = content_length(fields)?;
    let chunked = transfer_encoding(fields)?;
    match (length, chunked) {
        (None, false) => Ok(Framing::None),
        (Some(length), false) => Ok(Framing::Length(length)),
        (Some(_), true) => Err(Refusal::LengthAndCoding),
        // An HTTP/1.0 program between us and the client would not have understood it.
        (None, true) if minor_version == 0 => Err(Refusal::TransferCoding),
        (None, true) => Ok(Framing::Chunked),
    }
}

fn content_length(fields: &[Header<'_>]) -> Result<Option<u64>, Refusal> {
    let mut length = None;
    for value in grammar::values(fields, "content-length") {
        let this = decimal(value).ok_or(Refusal::ContentLength)?;
        if length.is_some_and(|other| other != this) {
            return Err(Refusal::DifferingLengths);
        }
        length = Some(this);
    }
    Ok(length)
}

/// Digits and nothing else: no sign, no list, no white space inside.
fn decimal(value: &[u8]) -> Option<u64> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(value.iter().fold(0, |sum: u64, digit| {
        sum.saturating_mul(10)
            .saturating_add(u64::from(digit - b'0'))
    }))
}

/// Whether the body is chunked; every other coding is an error.
fn transfer_encoding(fields: &[Header<'_>]) -> Result<bool, Refusal> {
    let mut chunked = false;
    let mut unknown = false;
    for coding in grammar::values(fields, "transfer-encoding").flat_map(grammar::elements) {
        if !grammar::is_token(coding) || chunked {
            return Err(Refusal::TransferCoding);
        }
        let is_chunked = coding.eq_ignore_ascii_case(b"chunked");
        chunked |= is_chunked;
        unknown |= !is_chunked;
    }
    if unknown {
        return Err(Refusal::UnknownCoding);
    }
    Ok(chunked)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(fields: &[(&str, &str)], minor_version: u8) -> Result<Framing, Refusal> {
        let fields: Vec<Header<'_>> = fields
            .iter()
            .map(|(name, value)| Header {
                name,
                value: value.as_bytes(),
            })
            .collect();
        of(&fields, minor_version)
    }

    #[test]
    fn lengths() {
        for (value, expected) in [
            ("0", Ok(Framing::Length(0))),
            ("007", Ok(Framing::Length(7))),
            ("18446744073709551615", Ok(Framing::Length(u64::MAX))),
            ("18446744073709551616", Ok(Framing::Length(u64::MAX))),
            (
                "999999999999999999999999999999",
                Ok(Framing::Length(u64::MAX)),
            ),
            ("", Err(Refusal::ContentLength)),
            ("-1", Err(Refusal::ContentLength)),
            ("+5", Err(Refusal::ContentLength)),
            ("0x10", Err(Refusal::ContentLength)),
            ("5 6", Err(Refusal::ContentLength)),
            ("5,5", Err(Refusal::ContentLength)),
            ("5.0", Err(Refusal::ContentLength)),
            ("1e3", Err(Refusal::ContentLength)),
            ("\u{b2}", Err(Refusal::ContentLength)),
        ] {
            assert_eq!(check(&[("Content-Length", value)], 1), expected, "{value}");
        }
        assert_eq!(check(&[("Host", "a")], 1), Ok(Framing::None));
        let twice = |a, b| {
            check(
                &[("Content-Length", a), ("x", "y"), ("content-length", b)],
                1,
            )
        };
        assert_eq!(twice("5", "5"), Ok(Framing::Length(5)));
        assert_eq!(twice("5", "6"), Err(Refusal::DifferingLengths));
        assert_eq!(twice("5", "x"), Err(Refusal::ContentLength));
    }

    #[test]
    fn a_body_that_has_come_with_its_head_is_left_in_place() {
        let input = b"hello, world";
        assert_eq!(Framing::Length(5).in_place(input), Some(&b"hello"[..]));
        assert_eq!(Framing::Length(12).in_place(input), Some(&input[..]));
        assert_eq!(Framing::Length(13).in_place(input), None);
        assert_eq!(Framing::Length(u64::MAX).in_place(input), None);
        assert_eq!(Framing::None.in_place(input), Some(&b""[..]));
        assert_eq!(Framing::Chunked.in_place(b"0\r\n\r\n"), None);
    }

    #[test]
    fn codings() {
        for (value, expected) in [
            ("chunked", Ok(Framing::Chunked)),
            ("Chunked", Ok(Framing::Chunked)),
            ("gzip", Err(Refusal::UnknownCoding)),
            ("identity", Err(Refusal::UnknownCoding)),
            ("xchunked", Err(Refusal::UnknownCoding)),
            ("gzip, chunked", Err(Refusal::UnknownCoding)),
            ("chunked, identity", Err(Refusal::TransferCoding)),
            ("chunked, chunked", Err(Refusal::TransferCoding)),
            ("chunked;q=1", Err(Refusal::TransferCoding)),
            ("\"chunked\"", Err(Refusal::TransferCoding)),
            ("", Err(Refusal::TransferCoding)),
            (",chunked", Err(Refusal::TransferCoding)),
        ] {
            assert_eq!(
                check(&[("Transfer-Encoding", value)], 1),
                expected,
                "{value}"
            );
        }
        let two = [
            ("Transfer-Encoding", "chunked"),
            ("Transfer-Encoding", "identity"),
        ];
        assert_eq!(check(&two, 1), Err(Refusal::TransferCoding));
        assert_eq!(
            check(&[("transfer-encoding", "chunked")], 0),
            Err(Refusal::TransferCoding)
        );
        let both = [("Transfer-Encoding", "chunked"), ("Content-Length", "5")];
        assert_eq!(check(&both, 1), Err(Refusal::LengthAndCoding));
    }
}
