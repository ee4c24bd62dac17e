//! Netstrings: `5:hello,`.

use super::{DecodeError, DecodeErrorKind, Decoded, Decoder, EncodeError, Encoder};

/// Blocks of bytes with their length in decimal digits before, and a comma behind.
///
/// No error can be skipped: there is no telling where the next block begins.
#[derive(Clone, Debug)]
pub struct Netstring {
    max: usize,
}

impl Netstring {
    /// Blocks have at most `max` bytes.
    pub fn new(max: usize) -> Self {
        Self { max }
    }

    /// The length and how many bytes it takes with its colon; `None` if more must come.
    fn length(&self, input: &[u8]) -> Result<Option<(usize, usize)>, DecodeError> {
        let mut length = 0_usize;
        for (index, byte) in input.iter().enumerate() {
            match byte {
                b'0'..=b'9' if index == 1 && input[0] == b'0' => {
                    return Err(invalid("a netstring's length has a leading zero"));
                }
                b'0'..=b'9' => {
                    let digit = usize::from(byte - b'0');
                    length = length.saturating_mul(10).saturating_add(digit);
                    if length > self.max {
                        let kind = DecodeErrorKind::TooLong { max: self.max };
                        return Err(DecodeError::fatal(kind));
                    }
                }
                b':' if index > 0 => return Ok(Some((length, index + 1))),
                _ => return Err(invalid("a netstring begins with its length")),
            }
        }
        Ok(None)
    }
}

impl Default for Netstring {
    /// Blocks have at most 1 MiB.
    fn default() -> Self {
        Self::new(1 << 20)
    }
}

impl Decoder for Netstring {
    type Item = Vec<u8>;

    fn decode(&mut self, input: &[u8]) -> Result<Decoded<Vec<u8>>, DecodeError> {
        let Some((length, start)) = self.length(input)? else {
            return Ok(Decoded::INCOMPLETE);
        };
        match input[start..].get(length) {
            None => Ok(Decoded::INCOMPLETE),
            Some(b',') => {
                let block = input[start..start + length].to_vec();
                Ok(Decoded::item(start + length + 1, block))
            }
            Some(_) => Err(invalid("a netstring ends with a comma")),
        }
    }
}

impl Encoder for Netstring {
    type Item = [u8];

    fn encode(&mut self, item: &[u8], output: &mut Vec<u8>) -> Result<(), EncodeError> {
        if item.len() > self.max {
            return Err(EncodeError::TooLong {
                length: item.len(),
                max: self.max,
            });
        }
        output.extend_from_slice(item.len().to_string().as_bytes());
        output.push(b':');
        output.extend_from_slice(item);
        output.push(b',');
        Ok(())
    }
}

fn invalid(what: &str) -> DecodeError {
    DecodeError::fatal(DecodeErrorKind::Invalid(what.into()))
}

#[cfg(test)]
mod tests {
    use super::super::tests::at_every_cut;
    use super::*;

    #[test]
    fn there_and_back() {
        let mut stream = Vec::new();
        let blocks = [b"".to_vec(), b"a,b:c".to_vec(), vec![b'0'; 120]];
        for block in &blocks {
            Netstring::default().encode(block, &mut stream).unwrap();
        }
        assert!(stream.starts_with(b"0:,5:a,b:c,120:0"));
        let expected: Vec<_> = blocks.into_iter().map(Ok).collect();
        assert_eq!(at_every_cut(Netstring::default, &stream), expected);
    }

    #[test]
    fn errors() {
        for (stream, what) in [
            ("01:a,", "a netstring's length has a leading zero"),
            (":a,", "a netstring begins with its length"),
            ("a", "a netstring begins with its length"),
            ("-1:a", "a netstring begins with its length"),
            ("1:ab", "a netstring ends with a comma"),
        ] {
            let expected = [Err(DecodeErrorKind::Invalid(what.into()))];
            assert_eq!(
                at_every_cut(Netstring::default, stream.as_bytes()),
                expected,
                "{stream}"
            );
        }
        let too_long = [Err(DecodeErrorKind::TooLong { max: 9 })];
        for stream in ["10:", "99999999999999999999999:"] {
            assert_eq!(
                at_every_cut(|| Netstring::new(9), stream.as_bytes()),
                too_long
            );
        }
        assert_eq!(
            at_every_cut(Netstring::default, b"3:ab"),
            [Err(DecodeErrorKind::Truncated)]
        );
        assert!(Netstring::new(1).encode(b"ab", &mut Vec::new()).is_err());
    }
}
