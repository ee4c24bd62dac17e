//! One JSON value a line.

use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{
    DecodeError, DecodeErrorKind, Decoded, Decoder, EncodeError, Encoder, LineDecoder, Tail,
};

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

#[cfg(test)]
mod tests {
    use super::super::tests::at_every_cut;
    use super::*;

    #[test]
    fn there_and_back() {
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
}
