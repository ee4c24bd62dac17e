//! What is encoded is decoded, and nothing else is.

use super::*;

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

fn payloads() -> Vec<Payload<'static>> {
    let with = |kind| Payload {
        kind,
        call: 1,
        timeout: 2,
        alias: "me",
        event: "add",
        content: "[1,2]",
    };
    let mut all = PayloadKind::ALL.map(with).to_vec();
    all.push(Payload::default());
    all
}

fn samples() -> Vec<Frame<'static>> {
    let whole = News {
        origin: A,
        seq: 3,
        name: Some("a".into()),
        peers: [B].into(),
        lost: BTreeSet::new(),
        aliases: [("x".to_owned(), Some(Claim::Shared))].into(),
    };
    let change = News {
        name: None,
        seq: 4,
        lost: [A].into(),
        aliases: [("y".to_owned(), None), ("z".into(), Some(Claim::Firm))].into(),
        ..whole.clone()
    };
    let hello = Hello {
        protocol: MAGIC.into(),
        versions: VERSIONS,
        node: A,
        name: "a".into(),
        nonce: [9; 32],
        max_frame: 1 << 20,
        features: vec!["f".into()],
    };
    let (alias, reason) = ("x".into(), "shutdown".into());
    let mut samples = vec![
        Frame::Hello(hello),
        Frame::Proof([7; 32]),
        Frame::News(whole),
        Frame::News(change),
        Frame::Want(A),
        Frame::Refuse { alias, owner: B },
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
        Frame::Bye { reason },
    ];
    samples.extend(payloads().into_iter().map(|payload| {
        let payload = Box::leak(payload.to_bytes());
        routed(Body::Data { seq: 5, payload })
    }));
    samples
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
    for payload in payloads() {
        assert_eq!(Payload::decode(&payload.to_bytes()), Ok(payload));
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
            assert_eq!(decode(&again).as_ref(), Ok(&frame));
            let Frame::Routed(Routed { body, .. }) = frame else {
                continue;
            };
            if let Body::Data { payload, .. } = body {
                if let Ok(payload) = Payload::decode(payload) {
                    assert_eq!(Payload::decode(&payload.to_bytes()), Ok(payload));
                }
            }
        }
    }
}

#[test]
fn bad_frames() {
    let mut probe = encoded(&routed(Body::Probe));
    let short = probe[..9].to_vec();
    let long = [&probe[..], b"x"].concat();
    for (bytes, error) in [
        (&[0_u8][..], WireError::UnknownKind(0)),
        (&[200], WireError::UnknownKind(200)),
        (&short, WireError::Truncated),
        (&long, WireError::Trailing),
        (b"", WireError::Truncated),
    ] {
        assert_eq!(decode(bytes), Err(error));
    }
    *probe.last_mut().unwrap() = 0xff;
    assert_eq!(decode(&probe), Err(WireError::NotText));
    for (bytes, expected) in [
        ("{", "EOF while parsing"),
        ("{}", "expected value"),
        ("{\"ping\":1", "EOF while parsing"),
        ("{\"ping\":1}}", "trailing characters"),
        ("{\"proof\":[1,2]}", "invalid length 2"),
        ("{\"news\":{}}", "missing field `origin`"),
        ("{\"routed\":{}}", "unknown variant `routed`"),
        ("{\x04\x12\x31\x32\x33", "key must be a string"),
    ] {
        let Err(WireError::Json(error)) = decode(bytes.as_bytes()) else {
            panic!("{bytes:?}")
        };
        assert!(error.starts_with(expected), "{bytes:?}: {error}");
    }
    assert_eq!(*Payload::default().to_bytes(), *VOID);
    let kind = Payload::decode(&[99]);
    assert_eq!(kind, Err(WireError::UnknownKind(99)));
}
