//! Damaged request bodies: a seeded random walk around real ones.
//!
//! Checked of each: no panic; the verdict agrees with a plain JSON parser; every span holds a JSON
//! value inside the body; what is built from the messages is JSON that keeps nothing it must not.
//! `SEED=..` replays one walk, `ROUNDS=..` makes it longer.

use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::{
    BatchError, BatchLimits, Message, Parsed, Publication, Publisher, Rejected, Target, json,
    parse, parse_subscriptions,
};

const LIMITS: BatchLimits = BatchLimits {
    messages: 6,
    depth: 8,
};

const BODIES: [&str; 8] = [
    r#"[{"channel":"/meta/handshake","version":"1.0","supportedConnectionTypes":["x"],"id":"1"}]"#,
    concat!(
        r#"[{"channel":"/meta/connect","clientId":"0123456789abcdefghijklmnop","#,
        r#""connectionType":"x","id":2,"advice":{"timeout":0}}]"#
    ),
    r#"[{"channel":"/meta/subscribe","subscription":["/a","/b/*","/\u0063/**"],"id":"3"}]"#,
    concat!(
        r#"[{"channel":"/a/b","clientId":"c","data":{"x":[1,2.5e3,"\ud83d\ude00\n",null]},"#,
        r#""ext":{"ack":1},"id":"4"}]"#
    ),
    r#" [ {"channel" : "/a" , "data" : null , "x" : true , "sender" : "me" } , {"data":1} , {} ] "#,
    "\u{feff}{\"channel\":\"/service/a\",\"data\":\"\u{20ac}\\ud800\",\"y\":[[],{}]}",
    r#"[{"channel":"\/a","data":[[[[[0]]]]],"\u0064ata":1,"clientId":null,"successful":true}]"#,
    r#"[{"id":-7,"channel":"/meta/x"},{"channel":"/a","id":"x","subscription":{"a":"b"}},5,"s"]"#,
];

/// Pieces that matter to the parser.
const PIECES: [&str; 30] = [
    "\"",
    "\\",
    "[",
    "]",
    "{",
    "}",
    ",",
    ":",
    " ",
    "null",
    "5",
    "-1.5e9",
    "\\ud800",
    "\\u0061",
    "\n",
    "\0",
    "{}",
    "[]",
    "\"channel\":",
    "\"/b\"",
    "\"id\":",
    "\"data\":",
    "\"clientId\":\"q\",",
    "\"sender\":\"f\",",
    "\"advice\":{},",
    "\"ext\":",
    "true",
    "\u{feff}",
    "[[[[[[[[",
    ",{}",
];

struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % bound.max(1)
    }
}

#[test]
fn damaged_bodies_are_judged_like_a_plain_parser_does() {
    let number = |name: &str| {
        std::env::var(name)
            .ok()
            .map(|text| text.parse::<u64>().unwrap())
    };
    let seed = number("SEED").unwrap_or(0x9e37_79b9_7f4a_7c15);
    let rounds = number("ROUNDS").unwrap_or(20_000);
    println!("SEED={seed}");
    let mut random = Random(seed.max(1));
    let mut accepted = 0;
    for _ in 0..rounds {
        let mut body = BODIES[random.below(BODIES.len())].as_bytes().to_vec();
        for _ in 0..random.below(4) {
            damage(&mut body, &mut random);
        }
        accepted += u64::from(check(&body));
    }
    assert!(
        accepted > rounds / 10,
        "{accepted} of {rounds}: too few to say anything"
    );
    assert!(accepted < rounds, "nothing was damaged");
}

fn damage(body: &mut Vec<u8>, random: &mut Random) {
    let at = random.below(body.len() + 1);
    let end = (at + random.below(8)).min(body.len());
    match random.below(6) {
        0 => body.truncate(at),
        1 => drop(body.drain(at..end)),
        2 => {
            if let Some(byte) = body.get_mut(at) {
                *byte ^= 1 << random.below(8);
            }
        }
        3 => {
            let part = body[at..end].to_vec();
            let to = random.below(body.len() + 1);
            body.splice(to..to, part);
        }
        _ => {
            let piece = PIECES[random.below(PIECES.len())];
            body.splice(at..at, piece.bytes());
        }
    }
}

/// Returns whether the body was accepted.
fn check(body: &[u8]) -> bool {
    let shown = String::from_utf8_lossy(body);
    let text = std::str::from_utf8(body);
    let is_json = text.is_ok_and(|text| {
        let json = text.strip_prefix('\u{feff}').unwrap_or(text);
        serde_json::from_str::<IgnoredAny>(json).is_ok()
    });
    match parse(body, &LIMITS) {
        Ok(batch) => {
            assert!(is_json, "accepted, but no JSON: {shown}");
            assert!(batch.len() <= LIMITS.messages, "{shown}");
            for parsed in batch.iter() {
                match parsed {
                    Parsed::Message(message) => check_message(&shown, message),
                    Parsed::Rejected(rejected) => check_rejected(&shown, rejected),
                }
            }
            true
        }
        Err(error) => {
            match error {
                BatchError::NotUtf8 => assert!(text.is_err(), "{shown}"),
                BatchError::NotMessages => assert!(is_json, "{shown}"),
                // A scalar is read, not skipped, so half a surrogate pair in it is noticed.
                BatchError::NotJson(_) => {
                    assert!(
                        !is_json || shown.contains("\\ud"),
                        "JSON, but refused: {shown}"
                    );
                }
                BatchError::TooManyMessages { .. } | BatchError::TooDeep { .. } => {}
            }
            false
        }
    }
}

fn check_message(body: &str, message: Message<'_>) {
    let channel = json::decode(is_json(body, message.channel_raw())).unwrap();
    assert_eq!(Target::of(&channel).as_ref(), Some(message.target()));
    let values = [
        message.id(),
        message.data(),
        message.ext(),
        message.subscription(),
    ];
    for raw in values.into_iter().flatten() {
        is_json(body, raw);
    }
    if let Some(raw) = message.subscription() {
        let _ = parse_subscriptions(raw);
    }
    let mut reply = Vec::new();
    message.reply_to().success(&mut reply).finish();
    serde_json::from_slice::<&RawValue>(&reply).unwrap();
    let (Target::Broadcast(name) | Target::Service(name)) = message.target() else {
        return;
    };
    let delivered = Publication::from_message(message, name, Publisher::Nobody, Some("s"));
    let delivered = std::str::from_utf8(delivered.json()).unwrap();
    serde_json::from_str::<&RawValue>(delivered).unwrap();
    let mut senders = Vec::new();
    json::for_each_field(delivered, |key, value| match json::decode(key).as_deref() {
        Some("sender") => senders.push(value),
        Some("clientId" | "id" | "successful" | "advice" | "subscription") => {
            panic!("{key} was delivered: {body}");
        }
        _ => {}
    });
    assert_eq!(senders, ["\"s\""], "{body}");
}

fn check_rejected(body: &str, rejected: Rejected<'_>) {
    let to = rejected.reply_to();
    let channel = Some(to.channel_raw).filter(|raw| !raw.is_empty());
    for raw in [channel, to.id, to.subscription].into_iter().flatten() {
        is_json(body, raw);
    }
    let mut reply = Vec::new();
    to.failure(&mut reply, rejected.error(), None).finish();
    serde_json::from_slice::<&RawValue>(&reply).unwrap();
}

fn is_json<'a>(body: &str, raw: &'a str) -> &'a str {
    serde_json::from_str::<&RawValue>(raw).expect(raw);
    assert_eq!(raw, raw.trim(), "{body}");
    raw
}
