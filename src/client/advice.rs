//! What the server last advised.

use std::time::Duration;

use serde_json::Value;

use super::message::Message;
use crate::protocol::Reconnect;

/// The advice in force. Parts that the server leaves out keep their value until the next handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Advice {
    pub(crate) reconnect: Reconnect,
    pub(crate) interval: Duration,
    pub(crate) timeout: Duration,
}

impl Default for Advice {
    /// What CometD clients assume when they were told nothing.
    fn default() -> Self {
        Self {
            reconnect: Reconnect::Retry,
            interval: Duration::ZERO,
            timeout: Duration::from_secs(60),
        }
    }
}

impl Advice {
    /// Takes over what the reply advises; what makes no sense is ignored.
    pub(crate) fn merge(&mut self, reply: &Message) {
        let Some(advice) = reply.value::<Value>("advice") else {
            return;
        };
        match advice["reconnect"].as_str() {
            Some("retry") => self.reconnect = Reconnect::Retry,
            Some("handshake") => self.reconnect = Reconnect::Handshake,
            Some("none") => self.reconnect = Reconnect::None,
            _ => {}
        }
        if let Some(interval) = milliseconds(&advice["interval"]) {
            self.interval = interval;
        }
        if let Some(timeout) = milliseconds(&advice["timeout"]) {
            self.timeout = timeout;
        }
    }
}

/// A server may slow a client down, but not for good by mistake.
const LONGEST: f64 = 3_600_000.0;

fn milliseconds(value: &Value) -> Option<Duration> {
    let number = value
        .as_f64()
        .filter(|number| number.is_finite() && *number >= 0.0)?;
    Some(Duration::from_secs_f64(number.min(LONGEST) / 1000.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(advice: &str) -> Advice {
        let json = format!(r#"{{"channel":"/meta/connect","advice":{advice}}}"#);
        let mut merged = Advice {
            interval: Duration::from_millis(7),
            ..Advice::default()
        };
        merged.merge(&Message::parse(&json).unwrap());
        merged
    }

    #[test]
    fn what_is_left_out_stays() {
        let full = merged(r#"{"reconnect":"handshake","interval":250,"timeout":30000}"#);
        assert_eq!(full.reconnect, Reconnect::Handshake);
        assert_eq!(full.interval, Duration::from_millis(250));
        assert_eq!(full.timeout, Duration::from_secs(30));
        let part = merged(r#"{"reconnect":"none"}"#);
        assert_eq!(part.reconnect, Reconnect::None);
        assert_eq!(part.interval, Duration::from_millis(7));
    }

    #[test]
    fn nonsense_changes_nothing() {
        let before = merged("{}");
        for advice in [
            "5",
            "null",
            "[]",
            r#"{"reconnect":"maybe","interval":-1,"timeout":"long"}"#,
            r#"{"reconnect":4,"interval":null,"timeout":{}}"#,
        ] {
            assert_eq!(merged(advice), before, "{advice}");
        }
    }

    #[test]
    fn an_hour_is_the_longest() {
        let far = merged(r#"{"interval":1e300,"timeout":86400000}"#);
        assert_eq!(far.interval, Duration::from_secs(3600));
        assert_eq!(far.timeout, Duration::from_secs(3600));
    }
}
