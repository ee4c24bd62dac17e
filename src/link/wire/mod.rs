//! The wire: frames as bytes and back.
//!
//! Every frame is its length (four bytes, the highest first) and its content. What nodes say for
//! themselves is JSON, one object with the kind of the frame as its only key; fields that a reader
//! does not know are skipped, so that later versions may add some. What is sent on behalf of users
//! begins with a byte for its kind and a header of fixed fields, which is all that a node on the
//! way reads, before the user's JSON.
//!
//! In scope: encoding, decoding. Out of scope: what the frames bring about; JSON of users, which is
//! kept as text and read by the receiving handler only.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use super::NodeId;

/// Bytes of the length in front of a frame.
pub(crate) const PREFIX: usize = 4;
/// Longest frame before a peer is authenticated: there is no reason for more.
pub(crate) const MAX_EARLY: usize = 4096;
/// Tells this protocol from others.
pub(crate) const MAGIC: &str = "bayeux-link";
/// Oldest and newest version that is spoken here.
pub(crate) const VERSIONS: (u16, u16) = (1, 1);

/// What two nodes say to each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Frame<'a> {
    /// The first in each direction.
    Hello(Hello),
    /// That the key is known.
    Proof([u8; 32]),
    News(News),
    /// Asks for all that is known of a node.
    Want(NodeId),
    /// An alias that the receiver has announced belongs to somebody else.
    Refuse {
        alias: String,
        owner: NodeId,
    },
    Ping(u64),
    Pong(u64),
    /// The last of a link that is closed on purpose.
    Bye {
        reason: String,
    },
    #[serde(skip)]
    Routed(Routed<'a>),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hello {
    pub(crate) protocol: String,
    /// Oldest and newest version that the node speaks.
    pub(crate) versions: (u16, u16),
    pub(crate) node: NodeId,
    pub(crate) name: String,
    /// Was never used before.
    pub(crate) nonce: [u8; 32],
    /// Longest frame that the node takes, in bytes.
    pub(crate) max_frame: u32,
    /// What the node can do beyond the version; what both can is used.
    #[serde(default)]
    pub(crate) features: Vec<String>,
}

/// What a node says of itself, and others pass on: all there is to know, or what has changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct News {
    pub(crate) origin: NodeId,
    /// Counts the changes of the origin.
    pub(crate) seq: u64,
    /// The origin's name, if this is all there is to know of it; without, it is what has changed
    /// since the number before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    /// Nodes to which it has links.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) peers: BTreeSet<NodeId>,
    /// Nodes to which it has none any more.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) lost: BTreeSet<NodeId>,
    /// What it exports and how; `None`: it does not any more.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) aliases: BTreeMap<String, Option<Claim>>,
}

/// How a node exports an alias.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Claim {
    /// For itself.
    Sole,
    /// For itself, whoever else has it.
    Firm,
    /// Together with others that want the same.
    Shared,
}

/// A frame that may go over several nodes: a message, or what keeps messages in order. Messages
/// from one node to one alias of another are a stream; they are numbered from 1 in each epoch.
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
    /// The payload is that of [`Payload::to_bytes`], and not looked into on the way.
    Data {
        seq: u64,
        payload: &'a [u8],
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

/// What a stream carries. What a kind does not use is zero or empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Payload<'a> {
    pub(crate) kind: PayloadKind,
    /// A call's number at its caller.
    pub(crate) call: u64,
    /// How long the caller waits, in milliseconds.
    pub(crate) timeout: u32,
    /// The alias in whose name it is sent; of a rejected post, the one that it was for.
    pub(crate) alias: &'a str,
    pub(crate) event: &'a str,
    /// JSON: arguments, a result, a `Fault`.
    pub(crate) content: &'a str,
}

/// The bytes of a payload that says nothing.
pub(crate) const VOID: &[u8] = &[0; 15];

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum PayloadKind {
    /// In the place of a message that was withdrawn.
    #[default]
    Void,
    Post,
    Call,
    /// The result of a call.
    Answer,
    /// Why a call has none.
    Fault,
    /// Why a post was not carried out.
    Reject,
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

const DATA: u8 = 1;
const ACK: u8 = 2;
const PROBE: u8 = 3;

/// Decodes what stands behind the length.
pub(crate) fn decode(bytes: &[u8]) -> Result<Frame<'_>, WireError> {
    if bytes.first() == Some(&b'{') {
        let frame = serde_json::from_slice(bytes);
        return frame.map_err(|error| WireError::Json(error.to_string()));
    }
    Ok(Frame::Routed(Routed::decode(bytes)?))
}

/// Appends the frame with its length.
pub(crate) fn encode(frame: &Frame<'_>, out: &mut Vec<u8>) {
    framed(out, |out| match frame {
        Frame::Routed(routed) => routed.encode(out),
        frame => serde_json::to_writer(out, frame).expect("because text and names can be written"),
    });
}

/// The frame with its length.
pub(crate) fn encoded(frame: &Frame<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    encode(frame, &mut out);
    out
}

/// Appends a frame that is passed on, `frame` without its length, with so many hops left.
pub(crate) fn forward(frame: &[u8], hops: u8, out: &mut Vec<u8>) {
    let start = out.len();
    framed(out, |out| out.extend_from_slice(frame));
    out[start + PREFIX + 1] = hops;
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

impl<'a> Routed<'a> {
    fn encode(&self, out: &mut Vec<u8>) {
        let kind = match self.body {
            Body::Data { .. } => DATA,
            Body::Ack(_) => ACK,
            Body::Probe => PROBE,
        };
        // `forward` knows where the hops are.
        out.extend_from_slice(&[kind, self.hops]);
        out.extend_from_slice(self.to.as_bytes());
        out.extend_from_slice(self.from.as_bytes());
        out.extend_from_slice(&self.epoch.to_be_bytes());
        put_text(self.alias, out);
        match self.body {
            Body::Data { seq, payload } => {
                out.extend_from_slice(&seq.to_be_bytes());
                out.extend_from_slice(payload);
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

    fn decode(bytes: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader(bytes);
        let [kind] = reader.array()?;
        if ![DATA, ACK, PROBE].contains(&kind) {
            return Err(WireError::UnknownKind(kind));
        }
        let [hops] = reader.array()?;
        let (to, from) = (reader.array()?, reader.array()?);
        let epoch = u32::from_be_bytes(reader.array()?);
        let alias = reader.text()?;
        let body = match kind {
            DATA => Body::Data {
                seq: reader.u64()?,
                payload: std::mem::take(&mut reader.0),
            },
            ACK => {
                let (received, consumed, limit) = (reader.u64()?, reader.u64()?, reader.u64()?);
                let [flags] = reader.array()?;
                Body::Ack(Ack {
                    received,
                    consumed,
                    limit,
                    resend: flags & 1 != 0,
                    lost: flags & 2 != 0,
                })
            }
            _ => Body::Probe,
        };
        if !reader.0.is_empty() {
            return Err(WireError::Trailing);
        }
        Ok(Self {
            hops,
            to: NodeId::from_bytes(to),
            from: NodeId::from_bytes(from),
            epoch,
            alias,
            body,
        })
    }
}

impl PayloadKind {
    const ALL: [Self; 6] = [
        Self::Void,
        Self::Post,
        Self::Call,
        Self::Answer,
        Self::Fault,
        Self::Reject,
    ];
}

impl<'a> Payload<'a> {
    pub(crate) fn to_bytes(self) -> Box<[u8]> {
        let mut out = vec![self.kind as u8];
        out.extend_from_slice(&self.call.to_be_bytes());
        out.extend_from_slice(&self.timeout.to_be_bytes());
        put_text(self.alias, &mut out);
        put_text(self.event, &mut out);
        out.extend_from_slice(self.content.as_bytes());
        out.into()
    }

    pub(crate) fn decode(bytes: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader(bytes);
        let [kind] = reader.array()?;
        let known = PayloadKind::ALL.get(usize::from(kind)).copied();
        Ok(Self {
            kind: known.ok_or(WireError::UnknownKind(kind))?,
            call: reader.u64()?,
            timeout: u32::from_be_bytes(reader.array()?),
            alias: reader.text()?,
            event: reader.text()?,
            content: std::str::from_utf8(reader.0).map_err(|_| WireError::NotText)?,
        })
    }
}

/// What is left of a frame.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let (head, rest) = self.0.split_first_chunk().ok_or(WireError::Truncated)?;
        self.0 = rest;
        Ok(*head)
    }

    fn u64(&mut self) -> Result<u64, WireError> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    /// A text behind its length in one byte.
    fn text(&mut self) -> Result<&'a str, WireError> {
        let [length] = self.array()?;
        let (text, rest) = self
            .0
            .split_at_checked(length.into())
            .ok_or(WireError::Truncated)?;
        self.0 = rest;
        std::str::from_utf8(text).map_err(|_| WireError::NotText)
    }
}

/// Appends a text behind its length; names are never longer than a byte can tell.
fn put_text(text: &str, out: &mut Vec<u8>) {
    let length = u8::try_from(text.len()).expect("because names have at most 128 bytes");
    out.push(length);
    out.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests;
