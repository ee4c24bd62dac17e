//! Lines: of text, and of JSON.

use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{DecodeError, DecodeErrorKind, Decoded, Decoder, EncodeError, Encoder};

/// Decodes lines that end with CRLF, LF or CR, in any mixture. The ends are not part of the items.
///
/// A CR ends its line at once; if a LF follows in a later piece of input, it is ignored, also by a
/// decoder or layer that has taken over meanwhile.
///
/// A last line without an end is an item too. A line that is too long or not UTF-8 is an error that
/// can be skipped.
#[derive(Clone, Debug)]
pub struct LineDecoder {
    max: usize,
    /// A CR alone is an end too.
    lone_cr: bool,
    /// Bytes of the current line that were looked at and hold no end.
    scanned: usize,
    /// Of the line before: the LF of its CRLF, or more than is allowed.
    tail: Tail,
}

impl LineDecoder {
    /// Lines have at most `max` bytes, ends not counted.
    pub fn new(max: usize) -> Self {
        Self {
            max,
            lone_cr: true,
            scanned: 0,
            tail: Tail::None,
        }
    }

    /// Lines end with LF or CRLF only.
    pub fn lf(self) -> Self {
        Self {
            lone_cr: false,
            ..self
        }
    }

    fn line(&mut self, bytes: &[u8], consumed: usize) -> Result<Decoded<String>, DecodeError> {
        self.scanned = 0;
        if bytes.len() > self.max {
            return Err(self.too_long(consumed));
        }
        match std::str::from_utf8(bytes) {
            Ok(line) => Ok(Decoded::item(consumed, line.to_owned())),
            Err(_) => {
                let kind = DecodeErrorKind::Invalid("a line is not UTF-8".into());
                Err(DecodeError { kind, consumed })
            }
        }
    }

    fn too_long(&self, consumed: usize) -> DecodeError {
        DecodeError {
            kind: DecodeErrorKind::TooLong { max: self.max },
            consumed,
        }
    }
}

impl Default for LineDecoder {
    /// Lines have at most 64 KiB.
    fn default() -> Self {
        Self::new(64 << 10)
    }
}

impl Decoder for LineDecoder {
    type Item = String;

    fn decode(&mut self, input: &[u8]) -> Result<Decoded<String>, DecodeError> {
        let consumed = self.tail.skip(input);
        if consumed > 0 {
            return Ok(Decoded {
                consumed,
                item: None,
            });
        }
        let fresh = &input[self.scanned.min(input.len())..];
        let is_end = |byte: &u8| *byte == b'\n' || (*byte == b'\r' && self.lone_cr);
        if let Some(found) = fresh.iter().position(is_end) {
            let end = self.scanned + found;
            let (line, behind) = (&input[..end], &input[end + 1..]);
            if self.lone_cr {
                self.tail = Tail::after_end(input[end]);
                let lf = self.tail.skip(behind);
                return self.line(line, end + 1 + lf);
            }
            return self.line(line.strip_suffix(b"\r").unwrap_or(line), end + 1);
        }
        // A CR at the end may be half of the line's end.
        if input.len() > self.max.saturating_add(usize::from(!self.lone_cr)) {
            self.scanned = 0;
            self.tail = Tail::Line {
                lone_cr: self.lone_cr,
            };
            return Err(self.too_long(input.len()));
        }
        self.scanned = input.len();
        Ok(Decoded::INCOMPLETE)
    }

    fn decode_end(&mut self, input: &[u8]) -> Result<Decoded<String>, DecodeError> {
        if input.is_empty() {
            return Ok(Decoded::INCOMPLETE);
        }
        self.line(input, input.len())
    }

    fn hand_over(&mut self) -> Tail {
        self.scanned = 0;
        std::mem::take(&mut self.tail)
    }
}

/// Writes lines. An item must not contain a line end itself.
#[derive(Clone, Debug)]
pub struct LineEncoder {
    end: &'static str,
}

impl LineEncoder {
    /// Lines end with `end`.
    pub fn new(end: &'static str) -> Self {
        Self { end }
    }
}

impl Default for LineEncoder {
    /// Lines end with CRLF.
    fn default() -> Self {
        Self::new("\r\n")
    }
}

impl Encoder for LineEncoder {
    type Item = str;

    fn encode(&mut self, item: &str, output: &mut Vec<u8>) -> Result<(), EncodeError> {
        // Otherwise text from elsewhere could pass for lines of ours.
        if item.contains(['\r', '\n']) {
            return Err(EncodeError::Invalid("a line contains a line end".into()));
        }
        output.extend_from_slice(item.as_bytes());
        output.extend_from_slice(self.end.as_bytes());
        Ok(())
    }
}

/// Values as lines of JSON. Empty lines are ignored; a line that is no such value is an error that
/// can be skipped.
#[derive(Clone, Debug)]
pub struct JsonLines<T> {
    lines: LineDecoder,
    value: PhantomData<fn(T) -> T>,
}

impl<T> JsonLines<T> {
    /// Lines have at most `max` bytes.
    pub fn new(max: usize) -> Self {
        Self {
            lines: LineDecoder::new(max),
            value: PhantomData,
        }
    }
}

impl<T> Default for JsonLines<T> {
    /// Lines have at most 64 KiB.
    fn default() -> Self {
        Self {
            lines: LineDecoder::default(),
            value: PhantomData,
        }
    }
}

impl<T: DeserializeOwned> Decoder for JsonLines<T> {
    type Item = T;

    fn decode(&mut self, input: &[u8]) -> Result<Decoded<T>, DecodeError> {
        value(self.lines.decode(input)?)
    }

    fn decode_end(&mut self, input: &[u8]) -> Result<Decoded<T>, DecodeError> {
        value(self.lines.decode_end(input)?)
    }

    fn hand_over(&mut self) -> Tail {
        self.lines.hand_over()
    }
}

impl<T: Serialize> Encoder for JsonLines<T> {
    type Item = T;

    fn encode(&mut self, item: &T, output: &mut Vec<u8>) -> Result<(), EncodeError> {
        let start = output.len();
        if let Err(error) = serde_json::to_writer(&mut *output, item) {
            output.truncate(start);
            return Err(EncodeError::Invalid(error.to_string()));
        }
        output.push(b'\n');
        Ok(())
    }
}

fn value<T: DeserializeOwned>(decoded: Decoded<String>) -> Result<Decoded<T>, DecodeError> {
    let Decoded { consumed, item } = decoded;
    match item {
        Some(line) if !line.trim().is_empty() => match serde_json::from_str(&line) {
            Ok(value) => Ok(Decoded::item(consumed, value)),
            Err(error) => {
                let kind = DecodeErrorKind::Invalid(error.to_string());
                Err(DecodeError { kind, consumed })
            }
        },
        _ => Ok(Decoded {
            consumed,
            item: None,
        }),
    }
}

/// Bytes that have yet to come and belong to what was decoded before: whoever reads next skips
/// them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Tail {
    /// None.
    #[default]
    None,
    /// This byte, if it is the next.
    Byte(u8),
    /// All of a line up to its end, which is LF or CRLF, with `lone_cr` also CR.
    Line {
        /// A CR alone is an end too.
        lone_cr: bool,
    },
}

impl Tail {
    /// How many bytes at the beginning of `input`, which comes next, belong to it. Called with what
    /// follows in later pieces until something is left.
    pub fn skip(&mut self, input: &[u8]) -> usize {
        let Some(first) = input.first() else {
            return 0;
        };
        match *self {
            Self::None => 0,
            Self::Byte(byte) => {
                *self = Self::None;
                usize::from(*first == byte)
            }
            Self::Line { lone_cr } => {
                let is_end = |byte: &u8| *byte == b'\n' || (*byte == b'\r' && lone_cr);
                let Some(end) = input.iter().position(is_end) else {
                    return input.len();
                };
                *self = Self::after_end(input[end]);
                end + 1 + self.skip(&input[end + 1..])
            }
        }
    }

    /// What may follow the byte that ended a line.
    fn after_end(end: u8) -> Self {
        match end {
            b'\r' => Self::Byte(b'\n'),
            _ => Self::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::at_every_cut;
    use super::*;

    fn lines(max: usize, stream: &[u8]) -> Vec<Result<String, DecodeErrorKind>> {
        at_every_cut(|| LineDecoder::new(max), stream)
    }

    #[test]
    fn all_ends_and_a_last_line_without() {
        let items = lines(10, b"a\r\nb\nc\rd\n\re\r\n\r\n\nlast");
        let texts: Vec<&str> = items.iter().map(|item| item.as_deref().unwrap()).collect();
        assert_eq!(texts, ["a", "b", "c", "d", "", "e", "", "", "last"]);
        assert!(lines(10, b"").is_empty());
    }

    #[test]
    fn a_carriage_return_ends_its_line_at_once() {
        let decoded = LineDecoder::default().decode(b"x\r").unwrap();
        assert_eq!(decoded, Decoded::item(2, "x".into()));
    }

    #[test]
    fn a_carriage_return_may_be_no_end() {
        let items = at_every_cut(|| LineDecoder::new(3).lf(), b"a\rb\r\n\r\nc\n");
        assert_eq!(
            items,
            [Ok("a\rb".into()), Ok(String::new()), Ok("c".into())]
        );
    }

    #[test]
    fn bad_lines_are_skipped() {
        let too_long = || Err(DecodeErrorKind::TooLong { max: 3 });
        assert_eq!(lines(3, b"abc\nab"), [Ok("abc".into()), Ok("ab".into())]);
        assert_eq!(lines(3, b"abcd\nab\n"), [too_long(), Ok("ab".into())]);
        assert_eq!(
            lines(3, b"abcdefghi\r\nab\n"),
            [too_long(), Ok("ab".into())]
        );
        assert_eq!(lines(3, b"abcdef"), [too_long()]);
        let invalid = Err(DecodeErrorKind::Invalid("a line is not UTF-8".into()));
        assert_eq!(lines(9, b"\xff\xfe\nab\n"), [invalid, Ok("ab".into())]);
    }

    #[test]
    fn who_takes_over_gets_nothing_of_the_line_before() {
        let (any, lf) = (LineDecoder::new(3), LineDecoder::new(3).lf());
        for (lines, stream) in [
            (&any, "abc\r\nnext"),
            (&any, "abc\nnext"),
            (&any, "abc\rnext"),
            (&any, "much too long\r\nnext"),
            (&lf, "abc\r\nnext"),
            (&lf, "too\rlong\r\nnext"),
        ] {
            for cut in 1..stream.len() {
                let (mut decoder, mut come, mut kept) = (lines.clone(), cut, 0);
                loop {
                    let piece = &stream.as_bytes()[kept..come];
                    let (consumed, is_done) = match decoder.decode(piece) {
                        Ok(decoded) => (decoded.consumed, decoded.item.is_some()),
                        Err(error) => (error.consumed, true),
                    };
                    kept += consumed;
                    if is_done {
                        break;
                    }
                    assert_eq!((consumed, come), (0, cut), "{stream:?}");
                    come = stream.len();
                }
                let mut tail = decoder.hand_over();
                kept += tail.skip(&stream.as_bytes()[kept..come]);
                kept += tail.skip(&stream.as_bytes()[kept.max(come)..]);
                assert_eq!(&stream[kept..], "next", "{stream:?} cut at {cut}");
            }
        }
    }

    #[test]
    fn what_another_got_was_not_looked_at() {
        let mut decoder = LineDecoder::default();
        assert!(decoder.decode(b"half a li").unwrap().is_incomplete());
        assert_eq!(decoder.hand_over(), Tail::None);
        assert_eq!(decoder.decode(b"a\n"), Ok(Decoded::item(2, "a".into())));
    }

    #[test]
    fn written_lines_cannot_be_forged() {
        let mut output = Vec::new();
        LineEncoder::default().encode("a", &mut output).unwrap();
        LineEncoder::new("\n").encode("", &mut output).unwrap();
        assert_eq!(output, b"a\r\n\n");
        for text in ["a\nb", "a\r", "\n"] {
            assert!(LineEncoder::default().encode(text, &mut output).is_err());
        }
        assert_eq!(output, b"a\r\n\n");
    }

    #[test]
    fn json_there_and_back() {
        let values = [(1, "one".to_owned()), (2, "t\nwo".to_owned())];
        let mut stream = b"\r\n".to_vec();
        for value in &values {
            JsonLines::default().encode(value, &mut stream).unwrap();
        }
        assert_eq!(stream, b"\r\n[1,\"one\"]\n[2,\"t\\nwo\"]\n");
        let items = at_every_cut(JsonLines::<(u8, String)>::default, &stream);
        assert_eq!(items, values.map(Ok));
    }

    #[test]
    fn a_bad_line_is_skipped() {
        let items = at_every_cut(JsonLines::<u8>::default, b"1\nx\n\"a\"\n300\n2");
        let good: Vec<u8> = items.iter().flatten().copied().collect();
        assert_eq!((items.len(), good), (5, vec![1, 2]));
        let mut output = b"before".to_vec();
        let bad = std::collections::HashMap::from([((1, 2), 3)]);
        assert!(JsonLines::default().encode(&bad, &mut output).is_err());
        assert_eq!(output, b"before");
    }

    /// What is left of the input behind the tail, which must not depend on how it is cut.
    fn left(tail: Tail, input: &str) -> String {
        let skip_all = |pieces: &[&[u8]]| {
            let mut tail = tail;
            let rest = pieces.iter().flat_map(|piece| &piece[tail.skip(piece)..]);
            rest.copied().collect::<Vec<u8>>()
        };
        let whole = skip_all(&[input.as_bytes()]);
        for cut in 0..=input.len() {
            let (a, b) = input.as_bytes().split_at(cut);
            assert_eq!(skip_all(&[a, b]), whole, "{input:?} cut at {cut}");
        }
        let single: Vec<&[u8]> = input.as_bytes().chunks(1).collect();
        assert_eq!(skip_all(&single), whole, "{input:?} byte by byte");
        String::from_utf8(whole).unwrap()
    }

    #[test]
    fn however_it_comes_the_rest_is_the_same() {
        let (any, lf) = (Tail::Line { lone_cr: true }, Tail::Line { lone_cr: false });
        for (tail, input, rest) in [
            (Tail::None, "\nab", "\nab"),
            (Tail::Byte(b'\n'), "\nab", "ab"),
            (Tail::Byte(b'\n'), "\n\nab", "\nab"),
            (Tail::Byte(b'\n'), "a\nb", "a\nb"),
            (any, "of it\r\nab", "ab"),
            (any, "of it\rab\n", "ab\n"),
            (any, "\n\nab", "\nab"),
            (any, "no end", ""),
            (lf, "of\rit\r\nab", "ab"),
            (lf, "of it\n\rab", "\rab"),
        ] {
            assert_eq!(left(tail, input), rest, "{tail:?} {input:?}");
        }
    }
}
