//! A body that arrives in pieces. It grows with what has come, never with what was announced.

use super::chunk::Chunks;
use super::{Framing, Refusal};

/// A body of which not all has come yet.
#[derive(Debug)]
pub(super) struct Body {
    bytes: Vec<u8>,
    limit: usize,
    coding: Coding,
}

#[derive(Debug)]
enum Coding {
    /// So many bytes are to come.
    Length(usize),
    Chunked(Chunks),
}

/// How far a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// More must come.
    Open,
    /// All has come.
    Complete,
}

impl Body {
    /// A body of at most `limit` bytes. One that is announced as larger is refused at once.
    pub(super) fn new(framing: Framing, limit: usize) -> Result<Self, Refusal> {
        let coding = match framing {
            Framing::None => Coding::Length(0),
            Framing::Length(length) => match usize::try_from(length) {
                Ok(length) if length <= limit => Coding::Length(length),
                _ => return Err(Refusal::BodyTooLarge),
            },
            Framing::Chunked => Coding::Chunked(Chunks::new()),
        };
        Ok(Self {
            bytes: Vec::new(),
            limit,
            coding,
        })
    }

    /// Takes what belongs to the body from `input`; returns how many bytes that was.
    pub(super) fn take(&mut self, input: &[u8]) -> Result<(usize, Progress), Refusal> {
        let (taken, done) = match &mut self.coding {
            Coding::Length(left) => {
                let taken = input.len().min(*left);
                self.bytes.extend_from_slice(&input[..taken]);
                *left -= taken;
                (taken, *left == 0)
            }
            Coding::Chunked(chunks) => {
                let taken = chunks.decode(input, self.limit, &mut self.bytes)?;
                (taken, chunks.is_done())
            }
        };
        Ok((
            taken,
            if done {
                Progress::Complete
            } else {
                Progress::Open
            },
        ))
    }

    /// What has come so far.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(framing: Framing, input: &[u8]) -> Result<(Vec<u8>, usize, Progress), Refusal> {
        let mut body = Body::new(framing, 10)?;
        let (taken, progress) = body.take(input)?;
        Ok((body.bytes().to_vec(), taken, progress))
    }

    #[test]
    fn a_declared_length_ends_the_body() {
        let complete = |bytes: &[u8]| Ok((bytes.to_vec(), bytes.len(), Progress::Complete));
        assert_eq!(
            take(Framing::Length(5), b"hello, world"),
            complete(b"hello")
        );
        assert_eq!(take(Framing::Length(0), b"hello"), complete(b""));
        assert_eq!(take(Framing::None, b"hello"), complete(b""));
        assert_eq!(
            take(Framing::Length(5), b"hel"),
            Ok((b"hel".to_vec(), 3, Progress::Open))
        );
    }

    #[test]
    fn a_body_may_have_exactly_the_limit() {
        assert!(Body::new(Framing::Length(10), 10).is_ok());
        for length in [11, u64::from(u32::MAX), u64::MAX] {
            let refused = Body::new(Framing::Length(length), 10);
            assert_eq!(refused.err(), Some(Refusal::BodyTooLarge), "{length}");
        }
    }

    #[test]
    fn an_announced_length_reserves_nothing() {
        let mut body = Body::new(Framing::Length(1 << 30), 1 << 30).expect("because it fits");
        body.take(b"x").expect("because a byte is no error");
        assert!(body.bytes.capacity() < 64);
    }

    #[test]
    fn pieces_make_the_same_body_however_they_are_cut() {
        for (framing, input) in [
            (Framing::Length(8), &b"abcdefgh"[..]),
            (
                Framing::Chunked,
                &b"3\r\nabc\r\n5;x\r\ndefgh\r\n0\r\nt: u\r\n\r\n"[..],
            ),
        ] {
            for cut in 0..=input.len() {
                let mut body = Body::new(framing, 8).expect("because it fits");
                let (first, progress) =
                    body.take(&input[..cut]).expect("because it is well-formed");
                assert_eq!(first, cut);
                assert_eq!(progress == Progress::Complete, cut == input.len());
                if progress == Progress::Open {
                    let rest = body.take(&input[cut..]).expect("because it is well-formed");
                    assert_eq!(rest, (input.len() - cut, Progress::Complete));
                }
                assert_eq!(body.bytes(), b"abcdefgh");
            }
        }
    }
}
