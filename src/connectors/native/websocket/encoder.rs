//! Frames from the server: never masked, never in fragments.

use crate::broker::Answer;
use crate::protocol::frame_header;

/// Most bytes of a control frame (RFC 6455, 5.5), and so of a reason with its code.
const MAX_CONTROL: usize = 125;

/// Appends an answer: each message in a frame of its own, for there are clients that look at the
/// first of an array only, and the replies together.
pub(super) fn write_answer(out: &mut Vec<u8>, answer: &Answer) {
    if answer.messages.is_empty() && answer.cuts.is_empty() {
        write_text(out, answer.array_len());
        return answer.write_array(out);
    }
    write_array(out, &answer.handshake);
    for message in &answer.messages {
        out.extend_from_slice(message.frame());
    }
    let mut begin = 0;
    for end in answer.cuts.iter().copied().chain([answer.replies.len()]) {
        let objects = &answer.replies[begin..end];
        write_array(out, objects.strip_prefix(b",").unwrap_or(objects));
        begin = end;
    }
}

/// Appends a frame that holds an array of these objects, if there are any.
fn write_array(out: &mut Vec<u8>, objects: &[u8]) {
    if !objects.is_empty() {
        write_text(out, objects.len() + 2);
        out.push(b'[');
        out.extend_from_slice(objects);
        out.push(b']');
    }
}

/// Appends the header of a text frame; `len` bytes of text are to follow.
fn write_text(out: &mut Vec<u8>, len: usize) {
    write_header(out, TEXT, len);
}

/// Appends a ping. There is at most one under way, so it needs no payload to be told apart by.
pub(super) fn write_ping(out: &mut Vec<u8>) {
    write_header(out, PING, 0);
}

/// Appends the answer to a ping.
pub(super) fn write_pong(out: &mut Vec<u8>, payload: &[u8]) {
    write_header(out, PONG, payload.len());
    out.extend_from_slice(payload);
}

/// Appends a close frame. Without a code it says nothing; a reason that is too long is cut.
pub(super) fn write_close(out: &mut Vec<u8>, code: Option<u16>, reason: &str) {
    let mut end = reason.len().min(MAX_CONTROL - 2);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    match code {
        Some(code) => {
            write_header(out, CLOSE, 2 + end);
            out.extend_from_slice(&code.to_be_bytes());
            out.extend_from_slice(&reason.as_bytes()[..end]);
        }
        None => write_header(out, CLOSE, 0),
    }
}

fn write_header(out: &mut Vec<u8>, opcode: u8, len: usize) {
    let (header, size) = frame_header(opcode, len);
    out.extend_from_slice(&header[..size]);
}

const TEXT: u8 = 0x1;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xa;

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut out);
        out
    }

    #[test]
    fn lengths_are_in_their_shortest_form() {
        let table: [(usize, &[u8]); 6] = [
            (0, &[0x81, 0]),
            (125, &[0x81, 125]),
            (126, &[0x81, 126, 0, 126]),
            (0xffff, &[0x81, 126, 0xff, 0xff]),
            (0x1_0000, &[0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
            (
                0x1_2345_6789,
                &[0x81, 127, 0, 0, 0, 1, 0x23, 0x45, 0x67, 0x89],
            ),
        ];
        for (len, header) in table {
            assert_eq!(written(|out| write_text(out, len)), header, "{len}");
        }
    }

    #[test]
    fn control_frames() {
        assert_eq!(written(write_ping), [0x89, 0]);
        assert_eq!(written(|out| write_pong(out, b"abc")), *b"\x8a\x03abc");
        assert_eq!(written(|out| write_close(out, None, "")), [0x88, 0]);
        assert_eq!(
            written(|out| write_close(out, Some(1000), "so")),
            *b"\x88\x04\x03\xe8so"
        );
        let long = "\u{e9}".repeat(100);
        let close = written(|out| write_close(out, Some(1001), &long));
        assert_eq!(
            (close.len(), close[1]),
            (2 + 124, 124),
            "cut between letters"
        );
        assert!(std::str::from_utf8(&close[4..]).is_ok());
    }
}
