//! Frames that may go over several nodes: messages, and what keeps them in order.
//!
//! `kind, hops, to, from, epoch, alias, ...`: a node on the way needs no more than this. Messages
//! from one node to one alias of another are a stream; they are numbered from 1 in each epoch.

use super::reader::{Reader, put_text};
use super::{ACK, DATA, PREFIX, PROBE, WireError};
use crate::link::{FaultKind, NodeId};
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Routed<'a> {
    /// How often it may still be passed on.
    pub(crate) hops: u8,
    pub(crate) to: NodeId,
    pub(crate) from: NodeId,
    /// Grows when the sender begins the stream anew.
    pub(crate) epoch: u32,
    /// The stream's name: an alias of the receiver of its messages; empty for answers.
    pub(crate) alias: &'a str,
    pub(crate) body: Body<'a>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body<'a> {
    Data {
        seq: u64,
        payload: Payload<'a>,
    },
    Ack(Ack),
    /// Asks for an `Ack`.
    Probe,
}

/// How far the receiver of a stream has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ack {
    /// Everything up to this number has come.
    pub(crate) received: u64,
    /// Everything up to this number has been handled.
    pub(crate) consumed: u64,
    /// Messages up to this number may be sent.
    pub(crate) limit: u64,
    /// What follows `received` is to be sent again.
    pub(crate) resend: bool,
    /// The receiver knows nothing of this stream.
    pub(crate) lost: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Payload<'a> {
    Post {
        sender: &'a str,
        event: &'a str,
        args: &'a [u8],
    },
    /// `timeout` in milliseconds.
    Call {
        id: u64,
        timeout: u32,
        sender: &'a str,
        event: &'a str,
        args: &'a [u8],
    },
    Answer {
        id: u64,
        value: &'a [u8],
    },
    Fault {
        id: u64,
        fault: &'a [u8],
    },
    /// A post was not delivered: [`Rejected`] as JSON.
    Reject(&'a [u8]),
    /// In the place of a message that was withdrawn.
    Void,
}

/// A post that its receiver did not take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Rejected {
    pub(crate) alias: String,
    pub(crate) event: String,
    pub(crate) reason: FaultKind,
}

const POST: u8 = 1;
const CALL: u8 = 2;
const ANSWER: u8 = 3;
const FAULT: u8 = 4;
const REJECT: u8 = 5;
const VOID: u8 = 6;

/// Where `hops` and `to` stand in a frame with its length.
const HOPS: usize = PREFIX + 1;

impl Routed<'_> {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.push(match self.body {
            Body::Data { .. } => DATA,
            Body::Ack(_) => ACK,
            Body::Probe => PROBE,
        });
        out.push(self.hops);
        out.extend_from_slice(self.to.as_bytes());
        out.extend_from_slice(self.from.as_bytes());
        out.extend_from_slice(&self.epoch.to_be_bytes());
        put_text(self.alias, out);
        match &self.body {
            Body::Data { seq, payload } => {
                out.extend_from_slice(&seq.to_be_bytes());
                payload.encode(out);
            }
            Body::Ack(ack) => {
                for number in [ack.received, ack.consumed, ack.limit] {
                    out.extend_from_slice(&number.to_be_bytes());
                }
                out.push(u8::from(ack.resend) | u8::from(ack.lost) << 1);
            }
            Body::Probe => {}
        }
    }
}

pub(super) fn decode<'a>(kind: u8, reader: &mut Reader<'a>) -> Result<Routed<'a>, WireError> {
    let hops = reader.u8()?;
    let to = reader.node()?;
    let from = reader.node()?;
    let epoch = reader.u32()?;
    let alias = reader.text()?;
    let body = match kind {
        DATA => Body::Data {
            seq: reader.u64()?,
            payload: Payload::read(reader)?,
        },
        ACK => {
            let (received, consumed, limit) = (reader.u64()?, reader.u64()?, reader.u64()?);
            let flags = reader.u8()?;
            let (resend, lost) = (flags & 1 != 0, flags & 2 != 0);
            Body::Ack(Ack {
                received,
                consumed,
                limit,
                resend,
                lost,
            })
        }
        _ => Body::Probe,
    };
    Ok(Routed {
        hops,
        to,
        from,
        epoch,
        alias,
        body,
    })
}

/// Appends a frame that is passed on, `frame` without its length, with one hop less.
pub(crate) fn forward(frame: &[u8], hops: u8, out: &mut Vec<u8>) {
    let start = out.len();
    super::framed(out, |out| out.extend_from_slice(frame));
    out[start + HOPS] = hops;
}

impl<'a> Payload<'a> {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        match *self {
            Self::Post {
                sender,
                event,
                args,
            } => {
                out.push(POST);
                put_text(sender, out);
                put_text(event, out);
                out.extend_from_slice(args);
            }
            Self::Call {
                id,
                timeout,
                sender,
                event,
                args,
            } => {
                out.push(CALL);
                out.extend_from_slice(&id.to_be_bytes());
                out.extend_from_slice(&timeout.to_be_bytes());
                put_text(sender, out);
                put_text(event, out);
                out.extend_from_slice(args);
            }
            Self::Answer { id, value } => put_result(ANSWER, id, value, out),
            Self::Fault { id, fault } => put_result(FAULT, id, fault, out),
            Self::Reject(rejected) => {
                out.push(REJECT);
                out.extend_from_slice(rejected);
            }
            Self::Void => out.push(VOID),
        }
    }

    /// The payload as bytes of its own.
    pub(crate) fn to_bytes(self) -> Box<[u8]> {
        let mut out = Vec::new();
        self.encode(&mut out);
        out.into()
    }

    /// Decodes what `encode` has made.
    pub(crate) fn decode(bytes: &'a [u8]) -> Result<Self, WireError> {
        Self::read(&mut Reader(bytes))
    }

    fn read(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        Ok(match reader.u8()? {
            POST => Self::Post {
                sender: reader.text()?,
                event: reader.text()?,
                args: reader.rest(),
            },
            CALL => Self::Call {
                id: reader.u64()?,
                timeout: reader.u32()?,
                sender: reader.text()?,
                event: reader.text()?,
                args: reader.rest(),
            },
            ANSWER => Self::Answer {
                id: reader.u64()?,
                value: reader.rest(),
            },
            FAULT => Self::Fault {
                id: reader.u64()?,
                fault: reader.rest(),
            },
            REJECT => Self::Reject(reader.rest()),
            VOID => Self::Void,
            kind => return Err(WireError::UnknownKind(kind)),
        })
    }
}

fn put_result(kind: u8, id: u64, content: &[u8], out: &mut Vec<u8>) {
    out.push(kind);
    out.extend_from_slice(&id.to_be_bytes());
    out.extend_from_slice(content);
}
