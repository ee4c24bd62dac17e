//! Lines of text.

use super::{DecodeError, DecodeErrorKind, Decoded, Decoder, EncodeError, Encoder, Tail};

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
}
