//! Blocks behind their length.

use super::{DecodeError, DecodeErrorKind, Decoded, Decoder, EncodeError, Encoder};

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
        let mut bytes = [0; 8];
        let length = match self.endian {
            Endian::Big => {
                bytes[8 - self.width..].copy_from_slice(head);
                u64::from_be_bytes(bytes)
            }
            Endian::Little => {
                bytes[..self.width].copy_from_slice(head);
                u64::from_le_bytes(bytes)
            }
        };
        let Some(length) = usize::try_from(length)
            .ok()
            .filter(|length| *length <= self.max)
        else {
            return Err(DecodeError::fatal(DecodeErrorKind::TooLong {
                max: self.max,
            }));
        };
        Ok(match rest.get(..length) {
            Some(block) => Decoded::item(self.width + length, block.to_vec()),
            None => Decoded::INCOMPLETE,
        })
    }
}

impl Encoder for LengthDelimited {
    type Item = [u8];

    fn encode(&mut self, item: &[u8], output: &mut Vec<u8>) -> Result<(), EncodeError> {
        if item.len() > self.max {
            return Err(EncodeError::TooLong {
                length: item.len(),
                max: self.max,
            });
        }
        let length = item.len() as u64;
        match self.endian {
            Endian::Big => output.extend_from_slice(&length.to_be_bytes()[8 - self.width..]),
            Endian::Little => output.extend_from_slice(&length.to_le_bytes()[..self.width]),
        }
        output.extend_from_slice(item);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::at_every_cut;
    use super::*;

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
    fn limits() {
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
}
