//! The `advice` object of replies.

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
        let _ = out;
        unimplemented!()
    }
}
