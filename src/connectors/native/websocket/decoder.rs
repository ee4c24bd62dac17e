//! From bytes to messages: frame headers, fragments, limits.

use super::failure::Failure;
use super::mask::append_unmasked;

/// Most bytes of a control frame (RFC 6455, 5.5).
const MAX_CONTROL: u64 = 125;

/// Something that has arrived whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event<'a> {
    /// A text message.
    Text(&'a str),
    /// To be answered with a pong of the same payload.
    Ping(&'a [u8]),
    /// An answer to a ping, or a sign of life that nobody asked for.
    Pong,
    /// The peer closes, and may have said with which code.
    Close(Option<u16>),
}

/// What one look at the input brought.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Decoded<'a> {
    /// Bytes of the input that were taken. The rest is to be offered again.
    pub(super) taken: usize,
    /// What they have completed. `None`: more input is needed.
    pub(super) event: Option<Event<'a>>,
}

/// The receiving side of one socket. Between messages it is one empty pointer.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    message: Option<Box<Message>>,
}

/// A message that has begun.
#[derive(Debug, Default)]
struct Message {
    /// What has come of it, without masks.
    text: Vec<u8>,
    /// The frame that is being received; `None` between two fragments.
    frame: Option<Frame>,
}

/// A data frame of which the payload is still coming.
#[derive(Debug)]
struct Frame {
    mask: [u8; 4],
    len: usize,
    received: usize,
    is_final: bool,
}

/// A frame header that follows all rules.
struct Header {
    kind: Kind,
    is_final: bool,
    mask: [u8; 4],
    /// Its own length.
    size: usize,
    /// The payload's.
    len: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Binary,
    Continuation,
    Control(Control),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Control {
    Close,
    Ping,
    Pong,
}

impl Decoder {
    /// Whether a message has begun and is not complete.
    pub(super) fn is_inside(&self) -> bool {
        self.message.is_some()
    }

    /// Bytes that are kept here.
    pub(super) fn len(&self) -> usize {
        let text = self.message.as_ref().map(|message| message.text.len());
        text.map_or(0, |len| len + size_of::<Message>())
    }

    /// Takes input up to the next event. `max` bounds a message in bytes, by what its frames
    /// declare, before anything of them is kept. `scratch` is where the event's bytes are put.
    pub(super) fn decode<'s>(
        &mut self,
        input: &[u8],
        max: usize,
        scratch: &'s mut Vec<u8>,
    ) -> Result<Decoded<'s>, Failure> {
        let mut taken = 0;
        loop {
            if let Some(message) = &mut self.message {
                taken += message.receive(&input[taken..]);
                if message.is_complete() {
                    break;
                }
                if message.frame.is_some() {
                    return Ok(Decoded { taken, event: None });
                }
            }
            let rest = &input[taken..];
            let Some(header) = read_header(rest)? else {
                return Ok(Decoded { taken, event: None });
            };
            let payload = &rest[header.size..];
            if let Kind::Control(kind) = header.kind {
                let Some(payload) = payload.get(..header.len as usize) else {
                    return Ok(Decoded { taken, event: None });
                };
                taken += header.size + payload.len();
                scratch.clear();
                append_unmasked(scratch, payload, header.mask, 0);
                let event = Some(control(kind, scratch)?);
                return Ok(Decoded { taken, event });
            }
            let len = self.admit(&header, max)?;
            if let (None, true, Some(payload)) =
                (&self.message, header.is_final, payload.get(..len))
            {
                // The usual case: a whole message in one frame, which has come in one piece.
                taken += header.size + len;
                scratch.clear();
                append_unmasked(scratch, payload, header.mask, 0);
                let event = Some(text(scratch)?);
                return Ok(Decoded { taken, event });
            }
            taken += header.size;
            self.message.get_or_insert_default().frame = Some(Frame {
                mask: header.mask,
                len,
                received: 0,
                is_final: header.is_final,
            });
        }
        if let Some(message) = self.message.take() {
            *scratch = message.text;
        }
        let event = Some(text(scratch)?);
        Ok(Decoded { taken, event })
    }

    /// Checks a data frame against what came before it; returns the length of its payload.
    fn admit(&self, header: &Header, max: usize) -> Result<usize, Failure> {
        let before = match (&self.message, header.kind) {
            (None, Kind::Continuation) => return Err(Failure::Continuation),
            (Some(_), Kind::Text) => return Err(Failure::Interleaved),
            (message, _) => message.as_ref().map_or(0, |message| message.text.len()),
        };
        let len = usize::try_from(header.len).map_err(|_| Failure::TooLarge)?;
        if len > max.saturating_sub(before) {
            return Err(Failure::TooLarge);
        }
        Ok(len)
    }
}

impl Message {
    /// Takes what belongs to the frame at hand; returns how much that is.
    fn receive(&mut self, input: &[u8]) -> usize {
        let Some(frame) = &mut self.frame else {
            return 0;
        };
        let part = &input[..input.len().min(frame.len - frame.received)];
        append_unmasked(&mut self.text, part, frame.mask, frame.received);
        frame.received += part.len();
        if frame.received == frame.len && !frame.is_final {
            self.frame = None;
        }
        part.len()
    }

    fn is_complete(&self) -> bool {
        self.frame
            .as_ref()
            .is_some_and(|frame| frame.is_final && frame.received == frame.len)
    }
}

/// Reads and checks a header; `None` if it is not complete.
fn read_header(input: &[u8]) -> Result<Option<Header>, Failure> {
    let [first, second, rest @ ..] = input else {
        return Ok(None);
    };
    let (length, shortest) = match second & 0x7f {
        126 => (2, 126),
        127 => (8, 0x1_0000),
        _ => (0, 0),
    };
    let masked = second & 0x80 != 0;
    let mask_len = if masked { 4 } else { 0 };
    let (Some(length), Some(mask)) = (rest.get(..length), rest.get(length..length + mask_len))
    else {
        return Ok(None);
    };
    let kind = match first & 0x0f {
        0x0 => Kind::Continuation,
        0x1 => Kind::Text,
        0x2 => Kind::Binary,
        0x8 => Kind::Control(Control::Close),
        0x9 => Kind::Control(Control::Ping),
        0xa => Kind::Control(Control::Pong),
        _ => return Err(Failure::Opcode),
    };
    if first & 0x70 != 0 {
        return Err(Failure::ReservedBit);
    }
    let mask = <[u8; 4]>::try_from(mask).map_err(|_| Failure::Unmasked)?;
    let len = match length {
        [] => u64::from(second & 0x7f),
        _ => length
            .iter()
            .fold(0, |len, byte| len << 8 | u64::from(*byte)),
    };
    if len < shortest || len >> 63 != 0 {
        return Err(Failure::Length);
    }
    let is_final = first & 0x80 != 0;
    match kind {
        Kind::Binary => return Err(Failure::Binary),
        Kind::Control(_) if !is_final => return Err(Failure::FragmentedControl),
        Kind::Control(_) if len > MAX_CONTROL => return Err(Failure::LongControl),
        _ => {}
    }
    Ok(Some(Header {
        kind,
        is_final,
        mask,
        size: 2 + length.len() + mask_len,
        len,
    }))
}

fn text(bytes: &[u8]) -> Result<Event<'_>, Failure> {
    std::str::from_utf8(bytes)
        .map(Event::Text)
        .map_err(|_| Failure::NotUtf8)
}

fn control(kind: Control, payload: &[u8]) -> Result<Event<'_>, Failure> {
    match (kind, payload) {
        (Control::Ping, _) => Ok(Event::Ping(payload)),
        (Control::Pong, _) => Ok(Event::Pong),
        (Control::Close, []) => Ok(Event::Close(None)),
        (Control::Close, [high, low, reason @ ..]) => {
            let code = u16::from_be_bytes([*high, *low]);
            if !may_be_sent(code) {
                return Err(Failure::CloseCode);
            }
            match std::str::from_utf8(reason) {
                Ok(_) => Ok(Event::Close(Some(code))),
                Err(_) => Err(Failure::CloseReason),
            }
        }
        (Control::Close, [_]) => Err(Failure::CloseCode),
    }
}

/// Whether a close frame may carry the code (RFC 6455, 7.4).
fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Frame, decode};
    use super::*;

    const MAX: usize = 70_000;

    fn outcome(frames: &[Frame]) -> (Vec<String>, Result<(), Failure>) {
        let bytes: Vec<u8> = frames.iter().flat_map(Frame::bytes).collect();
        decode(&bytes, MAX)
    }

    fn good(frames: &[Frame], expected: &[&str]) {
        let expected: Vec<String> = expected.iter().map(|&text| text.to_owned()).collect();
        assert_eq!(outcome(frames), (expected, Ok(())));
    }

    fn bad(frames: &[Frame], expected: Failure) {
        assert_eq!(outcome(frames).1, Err(expected));
    }

    fn frame(opcode: u8, payload: impl AsRef<[u8]>) -> Frame {
        Frame::new(opcode, payload)
    }

    #[test]
    fn every_opcode() {
        for opcode in 0..16 {
            let one = [frame(opcode, b"")];
            match opcode {
                0 => bad(&one, Failure::Continuation),
                1 => good(&one, &["text "]),
                2 => bad(&one, Failure::Binary),
                8 => good(&one, &["close None"]),
                9 => good(&one, &["ping []"]),
                10 => good(&one, &["pong"]),
                _ => bad(&one, Failure::Opcode),
            }
        }
    }

    #[test]
    fn every_first_byte_with_reserved_bits() {
        for opcode in [0, 1, 2, 8, 9, 10] {
            for bits in 1..8_u8 {
                for fin in [0, 0x80] {
                    let mut wrong = frame(opcode, b"");
                    wrong.first = fin | bits << 4 | opcode;
                    bad(&[wrong], Failure::ReservedBit);
                }
            }
        }
    }

    #[test]
    fn every_frame_is_masked() {
        for opcode in [0, 1, 2, 8, 9, 10] {
            let mut wrong = frame(opcode, b"[]");
            wrong.masked = false;
            bad(&[wrong], Failure::Unmasked);
        }
    }

    #[test]
    fn every_length_form() {
        for len in [0, 1, 3, 4, 5, 125, 126, 127, 0xffff, 0x1_0000, MAX] {
            let text = "x".repeat(len);
            good(&[frame(1, &text)], &[&format!("text {text}")]);
        }
        let declared = |length: &[u8]| {
            let mut wrong = frame(1, b"");
            wrong.length = length.to_vec();
            wrong
        };
        for length in [
            &[126, 0, 0][..],
            &[126, 0, 125],
            &[127, 0, 0, 0, 0, 0, 0, 0, 1],
            &[127, 0, 0, 0, 0, 0, 0, 0xff, 0xff],
            &[127, 0x80, 0, 0, 0, 0, 0, 0, 0],
            &[127, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        ] {
            bad(&[declared(length)], Failure::Length);
        }
        // Checked by what is declared, whether or not it ever comes.
        for length in [
            &[127, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff][..],
            &[127, 0, 0, 0, 0, 0, 1, 0x11, 0x71],
        ] {
            bad(&[declared(length)], Failure::TooLarge);
        }
    }

    #[test]
    fn control_frames_are_short_and_whole() {
        for opcode in [8, 9, 10] {
            bad(&[frame(opcode, b"").open()], Failure::FragmentedControl);
            bad(&[frame(opcode, [b'x'; 126])], Failure::LongControl);
            bad(&[frame(opcode, vec![b'x'; 70_000])], Failure::LongControl);
        }
        let payload = [b'x'; 125];
        good(&[frame(9, payload)], &[&format!("ping {payload:?}")]);
        good(&[frame(10, payload)], &["pong"]);
    }

    #[test]
    fn closes() {
        let close = |code: u16, reason: &[u8]| frame(8, [&code.to_be_bytes(), reason].concat());
        for code in 0..=u16::MAX {
            let fine = matches!(code, 1000..=1003 | 1007..=1013 | 3000..=4999);
            if fine && code % 500 < 20 {
                good(&[close(code, b"bye")], &[&format!("close Some({code})")]);
            } else if !fine && (code < 3100 || code % 1000 < 2) && code % 7 < 3 {
                bad(&[close(code, b"bye")], Failure::CloseCode);
            }
        }
        for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535] {
            bad(&[close(code, b"")], Failure::CloseCode);
        }
        bad(&[frame(8, [3])], Failure::CloseCode);
        bad(&[close(1000, b"\xff")], Failure::CloseReason);
        good(&[close(1000, &[b'x'; 123])], &["close Some(1000)"]);
    }

    #[test]
    fn fragments() {
        let (e, acute) = "\u{e9}".as_bytes().split_at(1);
        good(
            &[
                frame(1, e).open(),
                frame(9, b"a"),
                frame(0, acute).open(),
                frame(10, b""),
                frame(0, b"").open(),
                frame(0, b"x"),
                frame(1, b"next"),
            ],
            &["ping [97]", "pong", "text \u{e9}x", "text next"],
        );
        good(&[frame(1, b"").open(), frame(0, b"")], &["text "]);
        bad(
            &[frame(1, b"[").open(), frame(1, b"]")],
            Failure::Interleaved,
        );
        bad(&[frame(1, b"[").open(), frame(2, b"]")], Failure::Binary);
        bad(
            &[frame(1, b"[").open(), frame(0, b"]"), frame(0, b"")],
            Failure::Continuation,
        );
        bad(&[frame(0, b"").open()], Failure::Continuation);
        bad(&[frame(2, b"").open()], Failure::Binary);
    }

    #[test]
    fn a_message_is_bounded_over_all_its_fragments() {
        let half = "x".repeat(MAX / 2);
        let halves = |last: &[u8]| {
            [
                frame(1, &half).open(),
                frame(0, &half).open(),
                frame(0, last),
            ]
        };
        good(&halves(b""), &[&format!("text {half}{half}")]);
        bad(&halves(b"x"), Failure::TooLarge);
        bad(&[frame(1, "x".repeat(MAX + 1))], Failure::TooLarge);
    }

    #[test]
    fn texts_are_utf8() {
        for wrong in [
            &b"\xff"[..],
            b"\x80",
            b"\xc3",
            b"\xc0\xaf",
            b"\xed\xa0\x80",
            b"\xf4\x90\x80\x80",
            b"a\xe2\x28\xa1",
        ] {
            bad(&[frame(1, wrong)], Failure::NotUtf8);
            bad(&[frame(1, wrong).open(), frame(0, b"")], Failure::NotUtf8);
        }
        good(&[frame(1, "\u{10ffff}\0")], &["text \u{10ffff}\0"]);
    }

    #[test]
    fn a_declared_length_reserves_nothing() {
        let mut begun = frame(1, vec![b'x'; 60_000]).bytes();
        begun.truncate(10);
        let (mut decoder, mut scratch) = (Decoder::default(), Vec::new());
        let decoded = decoder.decode(&begun, MAX, &mut scratch);
        assert_eq!(
            decoded,
            Ok(Decoded {
                taken: 10,
                event: None
            })
        );
        let message = decoder.message.as_ref().unwrap();
        assert!(decoder.is_inside() && message.text.capacity() < 64);
        assert_eq!(scratch.capacity(), 0);
    }
}
