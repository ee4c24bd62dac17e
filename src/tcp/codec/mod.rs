//! Codecs: bytes to items and back.
//!
//! In scope: the traits, and codecs that many protocols share. Out of scope: reading and writing; a
//! codec sees bytes that have come, and appends bytes that are to go.
//!
//! Decoding and encoding are separate types, so that a protocol may speak differently than it
//! listens. A decoder does not keep input: it says how much of it an item took. So it can be
//! replaced in mid-stream, and what follows goes to its successor; but for the [`Tail`] of the last
//! item, which is skipped however the reads are cut.
//!
//! | Codec | Item | On the wire |
//! |---|---|---|
//! | [`Bytes`] | whatever has come | the same |
//! | [`LineDecoder`], [`LineEncoder`] | a line of text | ends with CRLF, LF or CR; written CRLF |
//! | [`LengthDelimited`] | a block of bytes | its length in 1, 2, 4 or 8 bytes, then the block |
//! | [`Netstring`] | a block of bytes | `5:hello,` |
//! | [`JsonLines`] | a value | one line of JSON |
//!
//! ```
//! use bayeux::tcp::codec::{Decoder, Encoder, Netstring};
//!
//! let mut codec = Netstring::default();
//! let mut wire = Vec::new();
//! codec.encode(b"hello".as_slice(), &mut wire)?;
//! assert_eq!(wire, b"5:hello,");
//! assert_eq!(codec.decode(&wire[..4])?.item, None);
//! let decoded = codec.decode(&wire)?;
//! assert_eq!((decoded.item, decoded.consumed), (Some(b"hello".to_vec()), 8));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod blocks;
mod lines;

use std::fmt;

pub use blocks::{Bytes, Endian, LengthDelimited, Netstring};
pub use lines::{JsonLines, LineDecoder, LineEncoder, Tail};

/// Turns bytes into items.
pub trait Decoder: Send {
    /// What it makes.
    type Item;

    /// Decodes the first item of `input`, which is all that has come and was not consumed. Called
    /// with what follows as soon as something was consumed, and with more of the same when nothing
    /// was and more has come.
    fn decode(&mut self, input: &[u8]) -> Result<Decoded<Self::Item>, DecodeError>;

    /// Nothing follows `input`, of which `decode` made nothing. The default calls an unfinished
    /// item an error. Called until nothing is left; what it makes nothing of either is ignored.
    fn decode_end(&mut self, input: &[u8]) -> Result<Decoded<Self::Item>, DecodeError> {
        if input.is_empty() {
            return Ok(Decoded::INCOMPLETE);
        }
        Err(DecodeError {
            kind: DecodeErrorKind::Truncated,
            consumed: input.len(),
        })
    }

    /// Another decoder or a layer takes over here, or this one begins anew: forgets the input that
    /// it has seen and not consumed, and returns what has yet to come and would have been swallowed
    /// without an item. Whoever takes over is spared that. The default is for decoders that keep
    /// nothing between calls.
    fn hand_over(&mut self) -> Tail {
        Tail::None
    }

    /// The decoder whose items are those of this one, passed through a function. Makes decoders
    /// with different items alike, so that one can follow the other.
    fn map<T, F>(self, function: F) -> Map<Self, F>
    where
        Self: Sized,
        F: FnMut(Self::Item) -> T + Send,
    {
        Map {
            decoder: self,
            function,
        }
    }
}

/// Turns items into bytes.
pub trait Encoder: Send {
    /// What it takes.
    type Item: ?Sized;

    /// Appends the item to `output`. On an error it has appended nothing.
    fn encode(&mut self, item: &Self::Item, output: &mut Vec<u8>) -> Result<(), EncodeError>;
}

/// What a decoder made of its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decoded<T> {
    /// Bytes that are done with, with or without an item.
    pub consumed: usize,
    /// The item, if there is one. With neither an item nor bytes consumed, more input is needed.
    pub item: Option<T>,
}

impl<T> Decoded<T> {
    /// More input is needed.
    pub const INCOMPLETE: Self = Self {
        consumed: 0,
        item: None,
    };

    /// Whether more input is needed.
    pub fn is_incomplete(&self) -> bool {
        self.consumed == 0 && self.item.is_none()
    }

    fn map<U>(self, function: impl FnOnce(T) -> U) -> Decoded<U> {
        Decoded {
            consumed: self.consumed,
            item: self.item.map(function),
        }
    }

    /// An item that took so many bytes.
    pub fn item(consumed: usize, item: T) -> Self {
        Self {
            consumed,
            item: Some(item),
        }
    }
}

/// See [`Decoder::map`].
#[derive(Clone, Debug)]
pub struct Map<D, F> {
    decoder: D,
    function: F,
}

impl<D: Decoder, T, F: FnMut(D::Item) -> T + Send> Decoder for Map<D, F> {
    type Item = T;

    fn decode(&mut self, input: &[u8]) -> Result<Decoded<T>, DecodeError> {
        Ok(self.decoder.decode(input)?.map(&mut self.function))
    }

    fn decode_end(&mut self, input: &[u8]) -> Result<Decoded<T>, DecodeError> {
        Ok(self.decoder.decode_end(input)?.map(&mut self.function))
    }

    fn hand_over(&mut self) -> Tail {
        self.decoder.hand_over()
    }
}

/// Bytes that are no item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodeError {
    /// What is wrong.
    pub kind: DecodeErrorKind,
    /// How many bytes to skip to go on behind the error; 0 if that is impossible.
    pub consumed: usize,
}

/// What is wrong with the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeErrorKind {
    /// An item is longer than allowed.
    TooLong {
        /// The most that is allowed, in bytes.
        max: usize,
    },
    /// The stream ended in the middle of an item.
    Truncated,
    /// It does not follow the rules of the codec, or not those for its content.
    Invalid(String),
}

impl DecodeError {
    /// An error after which nothing can be made of the stream.
    pub fn fatal(kind: DecodeErrorKind) -> Self {
        Self { kind, consumed: 0 }
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            DecodeErrorKind::TooLong { max } => write!(f, "longer than {max} bytes"),
            DecodeErrorKind::Truncated => f.write_str("ends too early"),
            DecodeErrorKind::Invalid(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for DecodeError {}

/// An item that cannot be encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EncodeError {
    /// It is longer than allowed.
    TooLong {
        /// Its length in bytes.
        length: usize,
        /// The most that is allowed.
        max: usize,
    },
    /// It cannot be expressed.
    Invalid(String),
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { length, max } => write!(f, "{length} bytes, {max} are allowed"),
            Self::Invalid(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for EncodeError {}

impl<T> Decoder for Box<dyn Decoder<Item = T>> {
    type Item = T;

    fn decode(&mut self, input: &[u8]) -> Result<Decoded<T>, DecodeError> {
        (**self).decode(input)
    }

    fn decode_end(&mut self, input: &[u8]) -> Result<Decoded<T>, DecodeError> {
        (**self).decode_end(input)
    }

    fn hand_over(&mut self) -> Tail {
        (**self).hand_over()
    }
}

impl<T: ?Sized> Encoder for Box<dyn Encoder<Item = T>> {
    type Item = T;

    fn encode(&mut self, item: &T, output: &mut Vec<u8>) -> Result<(), EncodeError> {
        (**self).encode(item, output)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a decoder makes of a stream that ends, cut into the given pieces.
    pub(super) fn decode_all<D: Decoder>(
        decoder: &mut D,
        pieces: &[&[u8]],
    ) -> Vec<Result<D::Item, DecodeErrorKind>> {
        let mut items = Vec::new();
        let mut waiting = Vec::new();
        for (index, piece) in pieces.iter().enumerate() {
            waiting.extend_from_slice(piece);
            let last = index + 1 == pieces.len();
            loop {
                let mut decoded = decoder.decode(&waiting);
                if last && matches!(&decoded, Ok(d) if d.is_incomplete()) {
                    decoded = decoder.decode_end(&waiting);
                }
                match decoded {
                    Ok(Decoded {
                        consumed: 0,
                        item: None,
                    }) => break,
                    Ok(decoded) => {
                        assert!(decoded.consumed <= waiting.len());
                        items.extend(decoded.item.map(Ok));
                        waiting.drain(..decoded.consumed);
                    }
                    Err(error) => {
                        items.push(Err(error.kind));
                        if error.consumed == 0 {
                            return items;
                        }
                        waiting.drain(..error.consumed);
                    }
                }
            }
        }
        items
    }

    /// The same stream must give the same items however it is cut in two.
    pub(super) fn at_every_cut<D>(
        make: impl Fn() -> D,
        stream: &[u8],
    ) -> Vec<Result<D::Item, DecodeErrorKind>>
    where
        D: Decoder,
        D::Item: PartialEq + fmt::Debug,
    {
        let whole = decode_all(&mut make(), &[stream]);
        for cut in 0..=stream.len() {
            let (a, b) = stream.split_at(cut);
            assert_eq!(decode_all(&mut make(), &[a, b]), whole, "cut at {cut}");
        }
        let single: Vec<&[u8]> = stream.chunks(1).collect();
        if !single.is_empty() {
            assert_eq!(decode_all(&mut make(), &single), whole, "byte by byte");
        }
        whole
    }

    #[test]
    fn boxed_and_mapped_codecs_can_take_turns() {
        type Either = Box<dyn Decoder<Item = Vec<u8>>>;
        let mut decoder: Either = Box::new(LineDecoder::default().map(String::into_bytes));
        let stream = b"one\r\n3:two,";
        // Whether the LF comes with its CR or after it makes no difference.
        for come in [4, stream.len()] {
            let first = decoder.decode(&stream[..come]).unwrap();
            assert_eq!(first.item.as_deref(), Some(b"one".as_slice()));
            let mut tail = decoder.hand_over();
            let mut next = Netstring::default();
            let rest = &stream[first.consumed..];
            let second = next.decode(&rest[tail.skip(rest)..]).unwrap();
            assert_eq!(second.item.as_deref(), Some(b"two".as_slice()));
        }
    }

    #[test]
    fn errors_say_what_is_wrong() {
        let too_long = DecodeError::fatal(DecodeErrorKind::TooLong { max: 5 });
        assert_eq!(too_long.to_string(), "longer than 5 bytes");
        let truncated = LengthDelimited::default().decode_end(b"x").unwrap_err();
        assert_eq!(truncated.to_string(), "ends too early");
        let invalid = Netstring::default().decode(b"x:").unwrap_err();
        assert_eq!(invalid.to_string(), "a netstring begins with its length");
        let error = EncodeError::TooLong { length: 6, max: 5 };
        assert_eq!(error.to_string(), "6 bytes, 5 are allowed");
        assert_eq!(EncodeError::Invalid("no".into()).to_string(), "no");
    }
}
