//! The extension timesync: from what a reply says, the client learns how far its clock is off the
//! server's, and how long messages take.
//!
//! The request's `ext.timesync` has `tc`, the client's time, and with it in CometD's form `l` and
//! `o`, the lag and the offset that the client reckons with. All are milliseconds. The reply's has
//! - `tc`, as it came;
//! - `ts`, the server's time when the request arrived;
//! - `p`, how long the server took from then until the reply, the hold of a connect included;
//! - `a`, how far `tc + o + l` is off `ts`: in CometD's form only.
//!
//! A client in CometD's form that reckons well, within [`ACCURACY`], gets no answer. One in the
//! older form, that of Dojo, has nothing but `tc` and always gets one.
//!
//! What a client in CometD's form tells of itself is kept with its session, as a [`ClockEstimate`].

use std::time::{Duration, Instant, UNIX_EPOCH};

use super::Moment;
use crate::protocol::json;

/// The channel on which a client may ask for the time without anything else; as Dojo's does.
pub(crate) const PING: &str = "/meta/ping";

/// A client whose error is below so many milliseconds is not bothered.
pub(crate) const ACCURACY: f64 = 25.0;

/// The longest lag that is believed; a client whose messages take longer has lost its server.
pub(crate) const LAG_MAX: Duration = Duration::from_secs(3600);

/// What a client reckons with, by its own word. Nothing the server does depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockEstimate {
    /// How long a message takes one way, to the millisecond; at most an hour. Zero also before
    /// the client has measured it.
    pub lag: Duration,
    /// By how many milliseconds the server's clock is ahead of the client's, 0 if it did not say;
    /// within what JavaScript can count, 2^53 to either side.
    pub offset_ms: i64,
}

/// A request's question for the time.
#[derive(Clone, Debug)]
pub(super) struct Timesync {
    /// As the client wrote it.
    tc: Box<str>,
    /// Milliseconds since 1970.
    ts: u128,
    /// The client's error in milliseconds, if it told its lag.
    a: Option<f64>,
    /// What it told of itself, if that can be.
    pub(super) clock_estimate: Option<ClockEstimate>,
    /// Whether the client wants to know.
    wanted: bool,
    arrived: Instant,
}

impl Timesync {
    /// The question in a raw `ext`. `None`: there is none, or it makes no sense.
    pub(super) fn read(ext: &str, arrived: Moment) -> Option<Self> {
        let asked = json::field(ext, NAME)?;
        let tc = json::field(asked, "tc")?;
        let client = milliseconds(tc)?;
        let since = arrived.wall.duration_since(UNIX_EPOCH);
        let ts = since.unwrap_or(Duration::ZERO).as_millis();
        let lag = json::field(asked, "l").and_then(milliseconds);
        let offset = json::field(asked, "o").and_then(milliseconds);
        let a = lag.map(|lag| client + offset.unwrap_or(0.0) + lag - ts as f64);
        Some(Self {
            tc: tc.into(),
            ts,
            a: a.map(f64::trunc),
            clock_estimate: lag.and_then(|lag| ClockEstimate::new(lag, offset.unwrap_or(0.0))),
            wanted: lag == Some(0.0) || a.is_none_or(|a| a.abs() >= ACCURACY),
            arrived: arrived.instant,
        })
    }

    /// Appends the answer for a reply that is written now.
    pub(super) fn write(&self, now: Instant, members: &mut Vec<u8>) {
        if !self.wanted {
            return;
        }
        let p = now.saturating_duration_since(self.arrived).as_millis();
        let (tc, ts) = (&self.tc, self.ts);
        let mut text = format!("\"{NAME}\":{{\"tc\":{tc},\"ts\":{ts},\"p\":{p}");
        if let Some(a) = self.a {
            // Whole, and without the sign of zero.
            text.push_str(&format!(",\"a\":{}", a as i64));
        }
        text.push('}');
        if !members.is_empty() {
            members.push(b',');
        }
        members.extend_from_slice(text.as_bytes());
    }
}

impl ClockEstimate {
    /// From milliseconds. `None`: no message takes that long, or arrives before it was sent.
    fn new(lag: f64, offset: f64) -> Option<Self> {
        let possible = (0.0..=LAG_MAX.as_millis() as f64).contains(&lag);
        possible.then(|| Self {
            lag: Duration::from_millis(lag as u64),
            offset_ms: offset as i64,
        })
    }
}

/// A raw JSON number that can be a time.
fn milliseconds(raw: &str) -> Option<f64> {
    let number: f64 = serde_json::from_str(raw).ok()?;
    (number.abs() <= MAX).then_some(number)
}

const NAME: &str = "timesync";

/// The largest whole number that a client in JavaScript counts to.
const MAX: f64 = 9_007_199_254_740_991.0;

#[cfg(test)]
mod tests {
    use super::*;

    const TS: u64 = 1_000_000;

    /// The answer's members, 40 ms after the request.
    fn answer(ext: &str) -> String {
        let arrived = Moment {
            instant: crate::clock::Clock::now(&crate::clock::ManualClock::new()),
            wall: UNIX_EPOCH + Duration::from_millis(TS),
        };
        let mut out = Vec::new();
        if let Some(asked) = Timesync::read(ext, arrived) {
            asked.write(arrived.instant + Duration::from_millis(40), &mut out);
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_forms_of_dojo_and_of_cometd() {
        let table = [
            ("999000", r#""timesync":{"tc":999000,"ts":1000000,"p":40}"#),
            ("9.99e5", r#""timesync":{"tc":9.99e5,"ts":1000000,"p":40}"#),
            (
                "999000,\"o\":7",
                r#""timesync":{"tc":999000,"ts":1000000,"p":40}"#,
            ),
            (
                "999000,\"l\":0,\"o\":0",
                r#""timesync":{"tc":999000,"ts":1000000,"p":40,"a":-1000}"#,
            ),
            (
                "1000000,\"l\":0",
                r#""timesync":{"tc":1000000,"ts":1000000,"p":40,"a":0}"#,
            ),
            (
                "1000000,\"l\":5,\"o\":20",
                r#""timesync":{"tc":1000000,"ts":1000000,"p":40,"a":25}"#,
            ),
            (
                "1000000,\"l\":5,\"o\":-30.5",
                r#""timesync":{"tc":1000000,"ts":1000000,"p":40,"a":-25}"#,
            ),
            // Good enough.
            ("1000000,\"l\":5,\"o\":19", ""),
            ("1000000,\"l\":5,\"o\":-29", ""),
            // Nonsense of the client's is as good as absent.
            (
                "1,\"l\":\"5\"",
                r#""timesync":{"tc":1,"ts":1000000,"p":40}"#,
            ),
            ("\"1\"", ""),
            ("null", ""),
            ("1e300", ""),
            ("-1e16", ""),
        ];
        for (tc, expected) in table {
            assert_eq!(
                answer(&format!("{{\"timesync\":{{\"tc\":{tc}}}}}")),
                expected
            );
        }
        for ext in [
            "{}",
            r#"{"timesync":1}"#,
            r#"{"timesync":{}}"#,
            r#"{"timesync":[]}"#,
        ] {
            assert_eq!(answer(ext), "", "{ext}");
        }
    }

    #[test]
    fn a_possible_clock_estimate_is_kept() {
        let arrived = Moment {
            instant: crate::clock::Clock::now(&crate::clock::ManualClock::new()),
            wall: UNIX_EPOCH,
        };
        let table = [
            ("\"l\":12,\"o\":-34", Some((12, -34))),
            ("\"l\":0", Some((0, 0))),
            ("\"l\":12.9,\"o\":-0.9", Some((12, 0))),
            (
                "\"l\":3600000,\"o\":9007199254740991",
                Some((3_600_000, 9_007_199_254_740_991)),
            ),
            ("\"l\":3600001", None),
            ("\"l\":-1", None),
            ("\"l\":12,\"o\":1e300", Some((12, 0))),
            ("\"l\":\"12\",\"o\":1", None),
            ("\"o\":1", None),
        ];
        for (told, expected) in table {
            let ext = format!("{{\"timesync\":{{\"tc\":1,{told}}}}}");
            let found = Timesync::read(&ext, arrived).unwrap().clock_estimate;
            let expected = expected.map(|(lag, offset_ms)| ClockEstimate {
                lag: Duration::from_millis(lag),
                offset_ms,
            });
            assert_eq!(found, expected, "{told}");
        }
    }

    #[test]
    fn answers_join_what_others_say() {
        let arrived = Moment {
            instant: crate::clock::Clock::now(&crate::clock::ManualClock::new()),
            wall: UNIX_EPOCH,
        };
        let asked = Timesync::read(r#"{"timesync":{"tc":1}}"#, arrived).unwrap();
        let mut out = b"\"x\":1".to_vec();
        asked.write(arrived.instant, &mut out);
        assert_eq!(out, br#""x":1,"timesync":{"tc":1,"ts":0,"p":0}"#);
    }
}
