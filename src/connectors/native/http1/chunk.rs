//! The chunked coding (RFC 9112, 7.1), decoded as it arrives. Extensions and trailers are read
//! past.

use super::{Refusal, grammar};

/// Most bytes of extensions and trailers in one body. Nobody needs any; without a bound, bodies of
/// tiny chunks with long extensions would be a way to keep us busy for nothing.
const MAX_OVERHEAD: u16 = 4096;

/// Most digits of a chunk's size: enough for 64 bits, leading zeros included.
const MAX_DIGITS: u8 = 16;

/// The state between two pieces of a chunked body.
#[derive(Debug)]
pub(super) struct Chunks {
    state: State,
    overhead: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// In the size of a chunk, of which so many digits were seen.
    Size {
        size: u64,
        digits: u8,
    },
    /// In white space after a size.
    AfterSize {
        size: u64,
    },
    /// In an extension, up to its CR.
    Extension {
        size: u64,
    },
    /// At the LF that ends the size line.
    SizeEnd {
        size: u64,
    },
    /// In the bytes of a chunk, of which so many are to come.
    Data {
        left: u64,
    },
    /// At the CR, then at the LF after a chunk.
    DataCr,
    DataLf,
    /// At the start of a trailer line, in its name, in its value, at its LF.
    Trailer,
    TrailerName,
    TrailerValue,
    TrailerLf,
    /// At the very last LF.
    LastLf,
    Done,
}

impl Chunks {
    pub(super) fn new() -> Self {
        Self {
            state: State::Size { size: 0, digits: 0 },
            overhead: 0,
        }
    }

    /// Whether the last byte was taken.
    pub(super) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Takes what belongs to the body from `input`, adds the data to `out` and returns how many
    /// bytes were taken. `out` never grows beyond `limit` bytes: a chunk that announces more is
    /// refused before any of it is stored.
    pub(super) fn decode(
        &mut self,
        input: &[u8],
        limit: usize,
        out: &mut Vec<u8>,
    ) -> Result<usize, Refusal> {
        let mut at = 0;
        while at < input.len() && self.state != State::Done {
            if let State::Data { left } = self.state {
                let here = input.len() - at;
                let take = usize::try_from(left).map_or(here, |left| left.min(here));
                out.extend_from_slice(&input[at..at + take]);
                at += take;
                let left = left - take as u64;
                self.state = if left == 0 {
                    State::DataCr
                } else {
                    State::Data { left }
                };
            } else {
                self.state = self.step(input[at], limit, out.len())?;
                at += 1;
            }
        }
        Ok(at)
    }

    /// One byte outside the data.
    fn step(&mut self, byte: u8, limit: usize, stored: usize) -> Result<State, Refusal> {
        match (self.state, byte) {
            (State::Size { size, digits }, _) => self.size(byte, size, digits),
            (State::AfterSize { size }, _) => self.after_size(byte, size),
            (State::Extension { size }, b'\r') => Ok(State::SizeEnd { size }),
            (State::Extension { size }, _) => {
                self.overhead(byte)?;
                Ok(State::Extension { size })
            }
            (State::SizeEnd { size: 0 }, b'\n') => Ok(State::Trailer),
            (State::SizeEnd { size }, b'\n') => {
                let room = limit.saturating_sub(stored) as u64;
                if size > room {
                    Err(Refusal::BodyTooLarge)
                } else {
                    Ok(State::Data { left: size })
                }
            }
            (State::DataCr, b'\r') => Ok(State::DataLf),
            (State::DataLf, b'\n') => Ok(State::Size { size: 0, digits: 0 }),
            (State::Trailer, b'\r') => Ok(State::LastLf),
            (State::Trailer, _) if grammar::is_token_byte(byte) => self.trailer(byte),
            (State::TrailerName, _) => self.trailer(byte),
            (State::TrailerValue, b'\r') => Ok(State::TrailerLf),
            (State::TrailerValue, _) => {
                self.overhead(byte)?;
                Ok(State::TrailerValue)
            }
            (State::TrailerLf, b'\n') => Ok(State::Trailer),
            (State::LastLf, b'\n') => Ok(State::Done),
            _ => Err(Refusal::Chunk),
        }
    }

    fn size(&mut self, byte: u8, size: u64, digits: u8) -> Result<State, Refusal> {
        match char::from(byte).to_digit(16) {
            Some(digit) if digits < MAX_DIGITS => Ok(State::Size {
                size: size << 4 | u64::from(digit),
                digits: digits + 1,
            }),
            Some(_) => Err(Refusal::Chunk),
            None if digits == 0 => Err(Refusal::Chunk),
            None => self.after_size(byte, size),
        }
    }

    /// RFC 9112, 7.1.1, allows white space before an extension.
    fn after_size(&mut self, byte: u8, size: u64) -> Result<State, Refusal> {
        match byte {
            b'\r' => Ok(State::SizeEnd { size }),
            b';' => Ok(State::Extension { size }),
            b' ' | b'\t' => {
                self.overhead(byte)?;
                Ok(State::AfterSize { size })
            }
            _ => Err(Refusal::Chunk),
        }
    }

    fn trailer(&mut self, byte: u8) -> Result<State, Refusal> {
        self.overhead(byte)?;
        match byte {
            b':' => Ok(State::TrailerValue),
            _ if grammar::is_token_byte(byte) => Ok(State::TrailerName),
            _ => Err(Refusal::Chunk),
        }
    }

    /// Counts a byte that is neither data nor size.
    fn overhead(&mut self, byte: u8) -> Result<(), Refusal> {
        self.overhead += 1;
        if self.overhead > MAX_OVERHEAD || !grammar::is_value_byte(byte) {
            return Err(Refusal::Chunk);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decodes in all ways to cut the input in two, and byte by byte; all must agree.
    fn decode(input: &[u8], limit: usize) -> Result<(Vec<u8>, usize, bool), Refusal> {
        let whole = pieces(&[input], limit);
        for cut in 1..input.len() {
            assert_eq!(
                pieces(&[&input[..cut], &input[cut..]], limit),
                whole,
                "cut at {cut}"
            );
        }
        let single: Vec<&[u8]> = input.chunks(1).collect();
        assert_eq!(pieces(&single, limit), whole);
        whole
    }

    fn pieces(pieces: &[&[u8]], limit: usize) -> Result<(Vec<u8>, usize, bool), Refusal> {
        let (mut chunks, mut out, mut taken) = (Chunks::new(), Vec::new(), 0);
        for piece in pieces {
            taken += chunks.decode(piece, limit, &mut out)?;
            assert!(out.len() <= limit);
        }
        Ok((out, taken, chunks.is_done()))
    }

    #[test]
    fn bodies() {
        for (input, data) in [
            ("0\r\n\r\n", ""),
            ("5\r\nhello\r\n0\r\n\r\n", "hello"),
            ("2\r\nhe\r\n3\r\nllo\r\n000\r\n\r\n", "hello"),
            ("00000005\r\nhello\r\n0\r\n\r\n", "hello"),
            ("A;a=b;c=\"d\"\r\n0123456789\r\n0;x\r\n\r\n", "0123456789"),
            ("5 \t;x\r\nhello\r\n0\r\n\r\n", "hello"),
            ("1\r\nx\r\n0\r\nX-Trailer: 1\r\nY:\r\n\r\n", "x"),
        ] {
            let all = (data.as_bytes().to_vec(), input.len(), true);
            assert_eq!(decode(input.as_bytes(), 10), Ok(all), "{input:?}");
            let more = format!("{input}GET /");
            let rest = (data.as_bytes().to_vec(), input.len(), true);
            assert_eq!(decode(more.as_bytes(), 10), Ok(rest), "{more:?}");
        }
    }

    #[test]
    fn what_is_no_body() {
        for input in [
            "\r\n",
            "x",
            "-1\r\n",
            "+1\r\n",
            "0x1\r\n",
            " 1\r\n",
            ";x\r\n",
            "1\n",
            "1\rx",
            "1\r\nxy",
            "1\r\nx\n",
            "1\r\nx\rx",
            "1 2\r\n",
            "11111111111111111\r\n",
            "1;a\nx",
            "1;a\x0b\r\n",
            "0\r\n\n",
            "0\r\n: x\r\n",
            "0\r\nX\r\n",
            "0\r\n X: y\r\n",
            "0\r\nX: y\n",
            "0\r\nX: \x7f",
            "0\r\n\rx",
        ] {
            assert_eq!(
                decode(input.as_bytes(), 10),
                Err(Refusal::Chunk),
                "{input:?}"
            );
        }
    }

    #[test]
    fn a_chunk_that_would_not_fit_is_refused_before_it_comes() {
        for input in ["b\r\n", "ffffffffffffffff\r\n", "5\r\nhello\r\n6\r\n"] {
            assert_eq!(
                decode(input.as_bytes(), 10),
                Err(Refusal::BodyTooLarge),
                "{input:?}"
            );
        }
        assert!(decode(b"5\r\nhello\r\n5\r\nworld\r\n0\r\n\r\n", 10).is_ok());
    }

    #[test]
    fn overhead_is_bounded() {
        let body = |extension: usize| format!("1;{}\r\nx\r\n0\r\n\r\n", "e".repeat(extension));
        assert!(pieces(&[body(4096).as_bytes()], 10).is_ok());
        assert_eq!(pieces(&[body(4097).as_bytes()], 10), Err(Refusal::Chunk));
        let small = "1;eeeeeee\r\nx\r\n".repeat(600);
        assert_eq!(pieces(&[small.as_bytes()], 1000), Err(Refusal::Chunk));
        let trailers = format!("0\r\n{}", "X: y\r\n".repeat(1100));
        assert_eq!(pieces(&[trailers.as_bytes()], 10), Err(Refusal::Chunk));
    }
}
