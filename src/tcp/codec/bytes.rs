//! No framing: bytes as they come.

use super::{DecodeError, Decoded, Decoder, EncodeError, Encoder};

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

#[cfg(test)]
mod tests {
    use super::super::tests::decode_all;
    use super::*;

    #[test]
    fn pieces_are_items() {
        let items = decode_all(&mut Bytes, &[b"ab", b"", b"c"]);
        assert_eq!(items, [Ok(b"ab".to_vec()), Ok(b"c".to_vec())]);
        let mut output = b"x".to_vec();
        Bytes.encode(b"yz", &mut output).unwrap();
        assert_eq!(output, b"xyz");
    }
}
