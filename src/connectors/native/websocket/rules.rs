//! RFC 6455 case by case: every first byte, mask bit and length form, inside a message and outside,
//! against the rules as they stand there; each cut at every byte.

use super::Failure;
use super::testing::{Frame, decode};

const MAX: usize = 70_000;

/// Ways to declare a length: the bits used for it, and the length.
const FORMS: [(u32, usize); 11] = [
    (7, 0),
    (7, 1),
    (7, 2),
    (7, 125),
    (16, 0),
    (16, 1),
    (16, 125),
    (16, 126),
    (64, 0),
    (64, 125),
    (64, 126),
];

fn declared(bits: u32, len: usize) -> Vec<u8> {
    match bits {
        7 => vec![len as u8],
        16 => [&[126], &(len as u16).to_be_bytes()[..]].concat(),
        _ => [&[127], &(len as u64).to_be_bytes()[..]].concat(),
    }
}

/// One frame, and whether it comes in the middle of a message.
struct Case {
    inside: bool,
    first: u8,
    masked: bool,
    bits: u32,
    len: usize,
}

/// What comes of a stream: words for the events, and the close code if it fails.
type Verdict = (Vec<String>, Result<(), u16>);

impl Case {
    fn outcome(&self) -> Verdict {
        let mut stream = Vec::new();
        if self.inside {
            stream.extend(Frame::new(1, b"begun ").open().bytes());
        }
        let mut frame = Frame::new(0, vec![b'x'; self.len]);
        frame.first = self.first;
        frame.masked = self.masked;
        frame.length = declared(self.bits, self.len);
        stream.extend(frame.bytes());
        let (seen, result) = decode(&stream, MAX);
        (seen, result.map_err(Failure::code))
    }

    /// By the numbers of the RFC.
    fn expected(&self) -> Verdict {
        let payload = "x".repeat(self.len);
        let is_final = self.first & 0x80 != 0;
        let event = |event: String| (vec![event], Ok(()));
        let protocol_error = (Vec::new(), Err(1002));
        let fits = match self.bits {
            7 => self.len < 126,
            16 => self.len >= 126,
            _ => self.len > 0xffff,
        };
        // 5.2: reserved bits are 0, the shortest form is used. 5.1: clients mask.
        if self.first & 0x70 != 0 || !fits || !self.masked {
            return protocol_error;
        }
        // 5.5: control frames are whole and short.
        let control = is_final && self.len <= 125;
        match self.first & 0x0f {
            0 if !self.inside => protocol_error,
            0 if is_final => event(format!("text begun {payload}")),
            1 if self.inside => protocol_error,
            1 if is_final => event(format!("text {payload}")),
            0 | 1 => (Vec::new(), Ok(())),
            // 7.4.1: data of a type that is not accepted.
            2 => (Vec::new(), Err(1003)),
            // 5.5.1: a close frame is empty or begins with a code, and `xx` is none.
            8 if control && self.len == 0 => event("close None".into()),
            9 if control => event(format!("ping {:?}", payload.as_bytes())),
            10 if control => event("pong".into()),
            _ => protocol_error,
        }
    }

    fn check(&self) {
        let Self {
            inside,
            first,
            masked,
            bits,
            len,
        } = self;
        assert_eq!(
            self.outcome(),
            self.expected(),
            "{first:#04x}, masked: {masked}, {len} bytes in {bits} bits, inside: {inside}"
        );
    }
}

#[test]
fn every_first_byte_with_every_length_form() {
    for first in 0..=u8::MAX {
        for (bits, len) in FORMS {
            for (inside, masked) in [(false, false), (false, true), (true, false), (true, true)] {
                Case {
                    inside,
                    first,
                    masked,
                    bits,
                    len,
                }
                .check();
            }
        }
    }
}

#[test]
fn long_forms_of_every_opcode() {
    for opcode in 0..16 {
        for (bits, len) in [(16, 0xffff), (64, 0xffff), (64, 0x1_0000)] {
            for fin in [0, 0x80] {
                for inside in [false, true] {
                    Case {
                        inside,
                        first: fin | opcode,
                        masked: true,
                        bits,
                        len,
                    }
                    .check();
                }
            }
        }
    }
}

#[test]
fn each_frame_has_a_mask_of_its_own() {
    let text = "\u{e9}\u{4e2d}\u{10ffff} and more";
    let masks = [[0; 4], [0xff; 4], [0x80, 0, 0, 1], [1, 2, 3, 4], *b"[\"x\\"];
    for (n, first) in masks.iter().enumerate() {
        let mut whole = Frame::new(1, text);
        whole.mask = *first;
        let seen = decode(&whole.bytes(), MAX);
        assert_eq!(seen, (vec![format!("text {text}")], Ok(())));
        // In three fragments, with a ping between them, each with the next mask.
        let (a, rest) = text.as_bytes().split_at(1 + n);
        let (b, c) = rest.split_at(3);
        let mut frames = [
            Frame::new(1, a).open(),
            Frame::new(0, b).open(),
            Frame::new(9, b"?"),
            Frame::new(0, c),
        ];
        for (frame, mask) in frames.iter_mut().zip(masks.iter().cycle().skip(n)) {
            frame.mask = *mask;
        }
        let stream: Vec<u8> = frames.iter().flat_map(Frame::bytes).collect();
        let expected = ["ping [63]".to_owned(), format!("text {text}")];
        assert_eq!(decode(&stream, MAX), (expected.into(), Ok(())));
    }
}

#[test]
fn control_frames_may_come_between_any_two_frames_and_never_inside_one() {
    let fragments = [
        Frame::new(1, b"a").open(),
        Frame::new(0, b"").open(),
        Frame::new(0, b"b"),
    ];
    let ping = Frame::new(9, [b'!'; 125]);
    for before in 0..=fragments.len() {
        let (first, rest) = fragments.split_at(before);
        let frames = first.iter().chain([&ping]).chain(rest);
        let stream: Vec<u8> = frames.flat_map(Frame::bytes).collect();
        let mut expected = vec!["text ab".to_owned()];
        let at = usize::from(before == fragments.len());
        expected.insert(at, format!("ping {:?}", [b'!'; 125]));
        assert_eq!(decode(&stream, MAX), (expected, Ok(())));
    }
    // What looks like a control frame inside a payload is payload.
    let mut inner = Frame::new(9, b"");
    inner.mask = [0; 4];
    let mut outer = Frame::new(1, b"");
    outer.mask = [0; 4];
    outer.payload = [&b"<"[..], &[0x09, 0x00, 0x7f], b">"].concat();
    outer.length = vec![outer.payload.len() as u8];
    let text = String::from_utf8(outer.payload.clone()).expect("ASCII");
    let stream = [outer.bytes(), inner.bytes()].concat();
    let expected = vec![format!("text {text}"), "ping []".to_owned()];
    assert_eq!(decode(&stream, MAX), (expected, Ok(())));
}
