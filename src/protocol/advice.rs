//! The `advice` object of replies.

use std::io::Write;

/// What the client is to do when a connect has been answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reconnect {
    /// Connect again.
    Retry,
    /// Begin with a new handshake.
    Handshake,
    /// Stop.
    None,
}

/// Advice as it is written into a reply. Absent parts are not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advice {
    /// What to do next.
    pub reconnect: Reconnect,
    /// Milliseconds to wait before that.
    pub interval_ms: Option<u64>,
    /// Milliseconds that a connect is held.
    pub timeout_ms: Option<u64>,
    /// Whether another session of the same browser holds a connect. Written only when true.
    pub multiple_clients: bool,
}

impl Advice {
    /// The full triple: `{"reconnect":"retry","interval":..,"timeout":..}`.
    pub fn retry(interval_ms: u64, timeout_ms: u64) -> Self {
        Self {
            timeout_ms: Some(timeout_ms),
            ..Self::retry_after(interval_ms)
        }
    }

    /// `{"reconnect":"retry","interval":..}`
    pub fn retry_after(interval_ms: u64) -> Self {
        Self {
            reconnect: Reconnect::Retry,
            interval_ms: Some(interval_ms),
            timeout_ms: None,
            multiple_clients: false,
        }
    }

    /// `{"reconnect":"handshake","interval":..}`
    pub fn handshake(interval_ms: u64) -> Self {
        Self {
            reconnect: Reconnect::Handshake,
            ..Self::retry_after(interval_ms)
        }
    }

    /// `{"reconnect":"none"}`
    pub fn none() -> Self {
        Self {
            reconnect: Reconnect::None,
            interval_ms: None,
            ..Self::retry_after(0)
        }
    }

    /// `{"multiple-clients":true,"reconnect":"retry","interval":..}`
    pub fn multiple_clients(interval_ms: u64) -> Self {
        Self {
            multiple_clients: true,
            ..Self::retry_after(interval_ms)
        }
    }

    /// Appends the JSON object.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.push(b'{');
        if self.multiple_clients {
            out.extend_from_slice(b"\"multiple-clients\":true,");
        }
        out.extend_from_slice(b"\"reconnect\":\"");
        out.extend_from_slice(self.reconnect.name().as_bytes());
        out.push(b'"');
        for (key, value) in [("interval", self.interval_ms), ("timeout", self.timeout_ms)] {
            if let Some(value) = value {
                write!(out, ",\"{key}\":{value}").expect("because a Vec takes all writes");
            }
        }
        out.push(b'}');
    }
}

impl Reconnect {
    /// The word on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Handshake => "handshake",
            Self::None => "none",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_advice_has_its_form() {
        let table = [
            (
                Advice::retry(0, 30_000),
                r#"{"reconnect":"retry","interval":0,"timeout":30000}"#,
            ),
            (
                Advice::retry_after(2000),
                r#"{"reconnect":"retry","interval":2000}"#,
            ),
            (
                Advice::handshake(0),
                r#"{"reconnect":"handshake","interval":0}"#,
            ),
            (Advice::none(), r#"{"reconnect":"none"}"#),
            (
                Advice::multiple_clients(2000),
                r#"{"multiple-clients":true,"reconnect":"retry","interval":2000}"#,
            ),
            (
                Advice {
                    multiple_clients: true,
                    ..Advice::retry(u64::MAX, 1)
                },
                "{\"multiple-clients\":true,\"reconnect\":\"retry\",\
                 \"interval\":18446744073709551615,\"timeout\":1}",
            ),
        ];
        for (advice, expected) in table {
            let mut out = Vec::new();
            advice.write(&mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }
}
