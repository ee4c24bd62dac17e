//! The wire: frames as bytes and back.
//!
//! Every frame is its length (four bytes, the highest first), a byte for its kind, and its content.
//! What nodes tell each other of themselves is JSON; what is sent on behalf of users has a header
//! of fixed fields, which is all that a node on the way reads, before the user's JSON.
//!
//! In scope: encoding, decoding, limits. Out of scope: what the frames bring about; JSON of users,
//! which is kept as text and read by the receiving handler only.

mod control;
mod reader;
mod routed;

use std::fmt;

use serde::Serialize;

pub(crate) use control::{Bye, Change, Hello, MAGIC, Refuse, State, Want};
use reader::Reader;
pub(crate) use routed::{Ack, Body, Payload, Rejected, Routed, forward};

/// Bytes of the length in front of a frame.
pub(crate) const PREFIX: usize = 4;
/// Longest frame before a peer is authenticated: there is no reason for more.
pub(crate) const MAX_EARLY: usize = 4096;

const HELLO: u8 = 1;
const PROOF: u8 = 2;
const STATE: u8 = 3;
const CHANGE: u8 = 4;
const WANT: u8 = 5;
const REFUSE: u8 = 6;
const DATA: u8 = 7;
const ACK: u8 = 8;
const PROBE: u8 = 9;
const PING: u8 = 10;
const PONG: u8 = 11;
const BYE: u8 = 12;

/// What two nodes say to each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Frame<'a> {
    Hello(Hello),
    Proof([u8; 32]),
    State(State),
    Change(Change),
    Want(Want),
    Refuse(Refuse),
    Routed(Routed<'a>),
    Ping(u64),
    Pong(u64),
    Bye(Bye),
}

/// Bytes that are no frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum WireError {
    Truncated,
    Trailing,
    UnknownKind(u8),
    NotText,
    Json(String),
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("a frame ends too early"),
            Self::Trailing => f.write_str("a frame goes on behind its end"),
            Self::UnknownKind(kind) => write!(f, "a frame is of the unknown kind {kind}"),
            Self::NotText => f.write_str("a name is not text"),
            Self::Json(error) => write!(f, "a frame is not the JSON it should be: {error}"),
        }
    }
}

/// Decodes what stands behind the length.
pub(crate) fn decode(bytes: &[u8]) -> Result<Frame<'_>, WireError> {
    let mut reader = Reader(bytes);
    let kind = reader.u8()?;
    let frame = match kind {
        HELLO => Frame::Hello(json(reader.rest())?),
        PROOF => Frame::Proof(reader.array()?),
        STATE => Frame::State(json(reader.rest())?),
        CHANGE => Frame::Change(json(reader.rest())?),
        WANT => Frame::Want(json(reader.rest())?),
        REFUSE => Frame::Refuse(json(reader.rest())?),
        DATA | ACK | PROBE => Frame::Routed(routed::decode(kind, &mut reader)?),
        PING => Frame::Ping(reader.u64()?),
        PONG => Frame::Pong(reader.u64()?),
        BYE => Frame::Bye(json(reader.rest())?),
        kind => return Err(WireError::UnknownKind(kind)),
    };
    if reader.rest().is_empty() {
        Ok(frame)
    } else {
        Err(WireError::Trailing)
    }
}

/// Appends the frame with its length.
pub(crate) fn encode(frame: &Frame<'_>, out: &mut Vec<u8>) {
    framed(out, |out| match frame {
        Frame::Hello(hello) => put_json(HELLO, hello, out),
        Frame::Proof(mac) => {
            out.push(PROOF);
            out.extend_from_slice(mac);
        }
        Frame::State(state) => put_json(STATE, state, out),
        Frame::Change(change) => put_json(CHANGE, change, out),
        Frame::Want(want) => put_json(WANT, want, out),
        Frame::Refuse(refuse) => put_json(REFUSE, refuse, out),
        Frame::Routed(routed) => routed.encode(out),
        Frame::Ping(token) => put_token(PING, *token, out),
        Frame::Pong(token) => put_token(PONG, *token, out),
        Frame::Bye(bye) => put_json(BYE, bye, out),
    });
}

/// Puts the length in front of what `write` appends.
fn framed(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; PREFIX]);
    write(out);
    let length = u32::try_from(out.len() - start - PREFIX)
        .expect("because limits keep frames far below 4 GiB");
    out[start..start + PREFIX].copy_from_slice(&length.to_be_bytes());
}

fn put_token(kind: u8, token: u64, out: &mut Vec<u8>) {
    out.push(kind);
    out.extend_from_slice(&token.to_be_bytes());
}

fn put_json(kind: u8, value: &impl Serialize, out: &mut Vec<u8>) {
    out.push(kind);
    serde_json::to_writer(out, value).expect("because maps with text as keys can be written");
}

fn json<'a, T: serde::Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, WireError> {
    serde_json::from_slice(bytes).map_err(|error| WireError::Json(error.to_string()))
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::link::NodeId;

    const A: NodeId = NodeId::from_bytes([1; 16]);
    const B: NodeId = NodeId::from_bytes([2; 16]);

    fn routed(body: Body<'_>) -> Frame<'_> {
        Frame::Routed(Routed {
            hops: 9,
            to: A,
            from: B,
            epoch: 7,
            alias: "adder",
            body,
        })
    }

    fn data(payload: Payload<'_>) -> Frame<'_> {
        routed(Body::Data { seq: 5, payload })
    }

    fn samples() -> Vec<Frame<'static>> {
        let aliases = BTreeMap::from([("x".to_owned(), true)]);
        let state = State {
            origin: A,
            seq: 3,
            hops: 4,
            name: "a".into(),
            peers: BTreeSet::from([B]),
            aliases: aliases.clone(),
        };
        let change = Change {
            origin: A,
            seq: 4,
            hops: 1,
            met: vec![B],
            lost: vec![A],
            add: aliases,
            drop: vec!["y".into()],
        };
        let (sender, event, args) = ("me", "add", b"[1,2]".as_slice());
        vec![
            Frame::Hello(Hello::new(A, "a", [9; 32], 1 << 20, vec!["f".into()])),
            Frame::Proof([7; 32]),
            Frame::State(state),
            Frame::Change(change),
            Frame::Want(Want { origin: A }),
            Frame::Refuse(Refuse {
                alias: "x".into(),
                owner: B,
            }),
            data(Payload::Post {
                sender,
                event,
                args,
            }),
            data(Payload::Call {
                id: 1,
                timeout: 2,
                sender,
                event,
                args,
            }),
            data(Payload::Answer { id: 1, value: b"3" }),
            data(Payload::Fault {
                id: 1,
                fault: b"{}",
            }),
            data(Payload::Reject(b"{}")),
            data(Payload::Void),
            routed(Body::Ack(Ack {
                received: 1,
                consumed: 2,
                limit: 3,
                resend: true,
                lost: false,
            })),
            routed(Body::Probe),
            Frame::Ping(u64::MAX),
            Frame::Pong(0),
            Frame::Bye(Bye {
                reason: "shutdown".into(),
            }),
        ]
    }

    fn encoded(frame: &Frame<'_>) -> Vec<u8> {
        let mut out = vec![0xee];
        encode(frame, &mut out);
        let length = u32::from_be_bytes(out[1..5].try_into().unwrap());
        assert_eq!(length as usize, out.len() - 5);
        out.split_off(5)
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        for frame in samples() {
            assert_eq!(decode(&encoded(&frame)).as_ref(), Ok(&frame));
        }
    }

    #[test]
    fn a_frame_cut_at_any_byte_is_refused_or_another_frame() {
        for frame in samples() {
            let bytes = encoded(&frame);
            for cut in 0..bytes.len() {
                // The user's JSON is at the end and not read here: cut, it is another frame.
                assert_ne!(
                    decode(&bytes[..cut]).as_ref(),
                    Ok(&frame),
                    "{frame:?} at {cut}"
                );
            }
            assert_eq!(decode(b""), Err(WireError::Truncated));
        }
    }

    #[test]
    fn nothing_that_comes_makes_it_panic() {
        let mut random = 0x2545_f491_4f6c_dd1d_u64;
        let mut next = move || {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random as usize
        };
        let samples: Vec<Vec<u8>> = samples().iter().map(encoded).collect();
        for round in 0..30_000 {
            let mut bytes = samples[round % samples.len()].clone();
            for _ in 0..=next() % 4 {
                let at = next() % bytes.len();
                match next() % 4 {
                    0 => bytes[at] = next() as u8,
                    1 => bytes[at] ^= 1 << (next() % 8),
                    2 => drop(bytes.drain(at..)),
                    _ => bytes.insert(at, next() as u8),
                }
                if bytes.is_empty() {
                    break;
                }
            }
            if let Ok(frame) = decode(&bytes) {
                // Whatever was understood can be said again.
                let again = encoded(&frame);
                assert_eq!(decode(&again), Ok(frame));
            }
        }
    }

    #[test]
    fn bad_frames() {
        for (bytes, error) in [
            (&[0_u8][..], WireError::UnknownKind(0)),
            (&[200], WireError::UnknownKind(200)),
            (&[PING, 1], WireError::Truncated),
            (&[PING, 0, 0, 0, 0, 0, 0, 0, 0, 1], WireError::Trailing),
            (&[PROOF, 1, 2], WireError::Truncated),
        ] {
            assert_eq!(decode(bytes), Err(error));
        }
        let mut bytes = encoded(&routed(Body::Probe));
        *bytes.last_mut().unwrap() = 0xff;
        assert_eq!(decode(&bytes), Err(WireError::NotText));
        assert!(matches!(decode(b"\x03{}"), Err(WireError::Json(_))));
        assert!(matches!(
            decode(b"\x01\x04\x12\x31\x32\x33"),
            Err(WireError::Json(_))
        ));
    }
}
