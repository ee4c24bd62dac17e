//! What the tests of the decoder share: frames as clients send them, and a feed that cuts them.

use super::{Decoder, Event, Failure};

pub(super) const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A frame of a client, right or wrong.
#[derive(Clone)]
pub(super) struct Frame {
    /// FIN, reserved bits, opcode.
    pub(super) first: u8,
    pub(super) masked: bool,
    pub(super) mask: [u8; 4],
    /// The bytes that declare the length, without the mask bit.
    pub(super) length: Vec<u8>,
    pub(super) payload: Vec<u8>,
}

impl Frame {
    /// A well-formed final frame.
    pub(super) fn new(opcode: u8, payload: impl AsRef<[u8]>) -> Self {
        let payload = payload.as_ref().to_vec();
        let len = payload.len();
        let length = match len {
            0..126 => vec![len as u8],
            126..0x1_0000 => [&[126], &(len as u16).to_be_bytes()[..]].concat(),
            _ => [&[127], &(len as u64).to_be_bytes()[..]].concat(),
        };
        Self {
            first: 0x80 | opcode,
            masked: true,
            mask: MASK,
            length,
            payload,
        }
    }

    /// To be followed by others of the same message.
    pub(super) fn open(mut self) -> Self {
        self.first &= 0x7f;
        self
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut out = vec![self.first];
        out.extend_from_slice(&self.length);
        if !self.masked {
            out.extend_from_slice(&self.payload);
            return out;
        }
        out[1] |= 0x80;
        out.extend_from_slice(&self.mask);
        let masked = self.payload.iter().zip(self.mask.iter().cycle());
        out.extend(masked.map(|(byte, key)| byte ^ key));
        out
    }
}

/// What a stream of frames amounts to, in words.
pub(super) type Outcome = (Vec<String>, Result<(), Failure>);

/// Decodes pieces as they would come from a socket: what is not taken is offered again.
pub(super) fn feed<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, max: usize) -> Outcome {
    let (mut decoder, mut scratch) = (Decoder::default(), Vec::new());
    let (mut seen, mut kept) = (Vec::new(), Vec::new());
    for piece in pieces {
        kept.extend_from_slice(piece);
        loop {
            let decoded = match decoder.decode(&kept, max, &mut scratch) {
                Ok(decoded) => decoded,
                Err(failure) => return (seen, Err(failure)),
            };
            let over = decoded.event.is_none();
            if let Some(event) = decoded.event {
                seen.push(match event {
                    Event::Text(text) => format!("text {text}"),
                    Event::Ping(payload) => format!("ping {payload:?}"),
                    Event::Pong => "pong".into(),
                    Event::Close(code) => format!("close {code:?}"),
                });
            }
            kept.drain(..decoded.taken);
            assert!(decoder.len() <= max + 200, "no more is kept than allowed");
            if over {
                // A header and a control frame are all that waits outside the decoder.
                assert!(kept.len() < 14 + 125);
                break;
            }
        }
    }
    if !seen.is_empty() && !decoder.is_inside() {
        assert_eq!(decoder.len(), 0, "between messages nothing is kept");
    }
    (seen, Ok(()))
}

/// As [`feed`], and checks that the way the bytes are cut makes no difference: at every byte, but
/// in the middle of a long stream, where it is payload, only here and there.
pub(super) fn decode(bytes: &[u8], max: usize) -> Outcome {
    let whole = feed([bytes], max);
    let len = bytes.len();
    let (head, tail) = (len.min(300), len.saturating_sub(150).max(len.min(300)));
    let middle = (head..tail).step_by((len / 50).max(1));
    for cut in (0..head).chain(middle).chain(tail..=len) {
        let (first, second) = bytes.split_at(cut);
        assert_eq!(feed([first, second], max), whole, "cut at {cut}");
    }
    assert_eq!(feed(bytes.chunks(1), max), whole, "byte by byte");
    assert_eq!(feed(bytes.chunks(7), max), whole, "in sevens");
    whole
}
