//! Blocks of bytes: as they come, behind their length, as netstrings.

use super::{DecodeError, DecodeErrorKind, Decoded, Decoder, EncodeError, Encoder};

/// Decodes whatever has come as one item, and writes items as they are.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bytes;

impl Decoder for Bytes {
    type Item = Vec<u8>;

    fn decode(&mut self, input: &[u8]) -> Result<Decoded<Vec<u8>>, DecodeError> {
        if input.is_empty() {
            return Ok(Decoded::INCOMPLETE);
        }
        Ok(Decoded::item(input.len(), input.to_vec()))
    }
}

impl Encoder for Bytes {
    type Item = [u8];

    fn encode(&mut self, item: &[u8], output: &mut Vec<u8>) -> Result<(), EncodeError> {
        output.extend_from_slice(item);
        Ok(())
    }
}

/// Order of the bytes of a length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endian {
    /// The highest first, as usual in network protocols.
    Big,
    /// The lowest first.
    Little,
}

/// Blocks of bytes, each behind its length as a fixed number of bytes.
///
/// A block that is too long is an error that cannot be skipped; it is found when its length has
/// come, and nothing is reserved for it.
#[derive(Clone, Debug)]
pub struct LengthDelimited {
    width: usize,
    endian: Endian,
    max: usize,
}

impl LengthDelimited {
    /// Lengths take `width` bytes; blocks have at most `max`, or what such a length can express.
    ///
    /// # Panics
    ///
    /// If the width is not 1, 2, 4 or 8.
    pub fn new(width: usize, endian: Endian, max: usize) -> Self {
        assert!(
            matches!(width, 1 | 2 | 4 | 8),
            "a length has 1, 2, 4 or 8 bytes"
        );
        let largest = if width == 8 {
            u64::MAX
        } else {
            (1 << (8 * width)) - 1
        };
        let max = max.min(usize::try_from(largest).unwrap_or(usize::MAX));
        Self { width, endian, max }
    }
}

impl Default for LengthDelimited {
    /// Four bytes, the highest first; blocks have at most 1 MiB.
    fn default() -> Self {
        Self::new(4, Endian::Big, 1 << 20)
    }
}

impl Decoder for LengthDelimited {
    type Item = Vec<u8>;

    fn decode(&mut self, input: &[u8]) -> Result<Decoded<Vec<u8>>, DecodeError> {
        let Some((head, rest)) = input.split_at_checked(self.width) else {
            return Ok(Decoded::INCOMPLETE);
        };
        let digit = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
        let length = match self.endian {
            Endian::Big => head.iter().fold(0, digit),
            Endian::Little => head.iter().rev().fold(0, digit),
        };
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > self.max {
            let kind = DecodeErrorKind::TooLong { max: self.max };
            return Err(DecodeError::fatal(kind));
        }
        Ok(match rest.get(..length) {
            Some(block) => Decoded::item(self.width + length, block.to_vec()),
            None => Decoded::INCOMPLETE,
        })
    }
}

impl Encoder for LengthDelimited {
    type Item = [u8];

    fn encode(&mut self, item: &[u8], output: &mut Vec<u8>) -> Result<(), EncodeError> {
        check_length(item.len(), self.max)?;
        let length = item.len() as u64;
        match self.endian {
            Endian::Big => output.extend_from_slice(&length.to_be_bytes()[8 - self.width..]),
            Endian::Little => output.extend_from_slice(&length.to_le_bytes()[..self.width]),
        }
        output.extend_from_slice(item);
        Ok(())
    }
}

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
        check_length(item.len(), self.max)?;
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

fn check_length(length: usize, max: usize) -> Result<(), EncodeError> {
    match length > max {
        true => Err(EncodeError::TooLong { length, max }),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{at_every_cut, decode_all};
    use super::*;

    #[test]
    fn pieces_are_items() {
        let items = decode_all(&mut Bytes, &[b"ab", b"", b"c"]);
        assert_eq!(items, [Ok(b"ab".to_vec()), Ok(b"c".to_vec())]);
        let mut output = b"x".to_vec();
        Bytes.encode(b"yz", &mut output).unwrap();
        assert_eq!(output, b"xyz");
    }

    #[test]
    fn every_width_and_order() {
        for width in [1, 2, 4, 8] {
            for endian in [Endian::Big, Endian::Little] {
                let make = || LengthDelimited::new(width, endian, 300);
                let mut stream = Vec::new();
                let blocks = [b"".to_vec(), b"abc".to_vec(), vec![7; 200]];
                for block in &blocks {
                    make().encode(block, &mut stream).unwrap();
                }
                let expected: Vec<_> = blocks.into_iter().map(Ok).collect();
                assert_eq!(at_every_cut(make, &stream), expected);
            }
        }
        let mut output = Vec::new();
        LengthDelimited::new(2, Endian::Big, 9)
            .encode(b"x", &mut output)
            .unwrap();
        LengthDelimited::new(2, Endian::Little, 9)
            .encode(b"x", &mut output)
            .unwrap();
        assert_eq!(output, b"\x00\x01x\x01\x00x");
    }

    #[test]
    fn length_limits() {
        let mut codec = LengthDelimited::new(4, Endian::Big, 5);
        let too_long = DecodeError::fatal(DecodeErrorKind::TooLong { max: 5 });
        assert_eq!(codec.decode(b"\x00\x00\x00\x06").unwrap_err(), too_long);
        let mut huge = LengthDelimited::new(8, Endian::Big, usize::MAX);
        assert_eq!(huge.decode(&[0xff; 8]).unwrap(), Decoded::INCOMPLETE);
        let mut output = Vec::new();
        let error = EncodeError::TooLong { length: 6, max: 5 };
        assert_eq!(codec.encode(b"123456", &mut output).unwrap_err(), error);
        assert!(
            LengthDelimited::new(1, Endian::Big, 9999)
                .encode(&[0; 256], &mut output)
                .is_err()
        );
        assert!(output.is_empty());
        let truncated = at_every_cut(|| codec.clone(), b"\x00\x00\x00\x02x");
        assert_eq!(truncated, [Err(DecodeErrorKind::Truncated)]);
    }

    #[test]
    fn netstrings_there_and_back() {
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
    fn netstring_errors() {
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
