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

use std::time::{Duration, Instant, UNIX_EPOCH};

use super::Moment;
use crate::protocol::json;

/// The channel on which a client may ask for the time without anything else; as Dojo's does.
pub const PING: &str = "/meta/ping";

/// A client whose error is below so many milliseconds is not bothered.
pub const ACCURACY: f64 = 25.0;

/// A request's question for the time.
#[derive(Clone, Debug)]
pub(super) struct Timesync {
    /// As the client wrote it.
    tc: Box<str>,
    /// Milliseconds since 1970.
    ts: u128,
    /// The client's error in milliseconds, if it told its lag.
    a: Option<f64>,
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
