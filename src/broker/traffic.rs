//! The bytes of requests that are being received or wait for user code, and of output that waits
//! for its connection: how many all may have, and how many one address.
//!
//! What is executed or written at once is not counted: it is gone before anybody could look.

use std::sync::Arc;

#[cfg(feature = "cli")]
use crate::settings::Bound;
use crate::settings::{Size, settings};
use crate::util::{Owner, Shares};

settings! {
    /// The bounds of what is kept of requests and of what is sent.
    #[derive(Clone, Copy, Debug, PartialEq)]
    pub struct TrafficLimits {
        /// Most bytes of one request or message: so much input every address may have, whatever
        /// its share is. Default 1 MiB; a server has its larger one of `max_body` and
        /// `max_message`.
        pub max_request: usize = 1 << 20;
    }
    "Requests" {
        /// Most bytes of requests that are being received, or wait for user code, all together.
        ///
        /// Bounds memory against many large bodies that come slowly, or faster than a policy
        /// judges them. One address may have `max_share_per_ip` of it.
        max_input_total: usize = Size, within "64KiB or more", default "256MiB";

        /// Most bytes of output that waits for connections, all together.
        ///
        /// Bounds memory against clients that ask and do not read. When an address has its part of
        /// it, `max_share_per_ip`, its further requests are answered with status 503, its
        /// WebSockets are not read, and its messages stay in their queues, until some of it was
        /// read. What is exceeded by is what one thread was at.
        max_output_total: usize = Size, within "64KiB or more", default "128MiB";

        /// Most bytes of replies to one request; then the rest of its messages fail with 503.
        ///
        /// Bounds what a service costs that answers more than it is asked. The reply that crosses
        /// it is given whole, and so is one alone. Stock clients give up above 1 MiB.
        max_reply_bytes: usize = Size, within "1KiB or more", default "1MiB";
    }
}

impl TrafficLimits {
    /// What requests and output may take of the memory.
    #[cfg(feature = "cli")]
    pub(crate) fn bounds(&self) -> Vec<Bound> {
        vec![
            Bound::bytes("requests", self.max_input_total, "max_input_total"),
            Bound::bytes("output", self.max_output_total, "max_output_total"),
        ]
    }
}

/// What is counted, by whose it is.
pub(crate) struct Traffic {
    /// Requests that are being received, or wait.
    pub(crate) input: Arc<Shares<Owner>>,
    /// Output that waits for its connection.
    pub(crate) output: Arc<Shares<Owner>>,
}

impl Traffic {
    /// For an internal site: what clients do leaves enough for whoever looks after the server.
    pub(crate) fn internal() -> Arc<Self> {
        let limits = TrafficLimits {
            max_input_total: 16 << 20,
            max_output_total: 16 << 20,
            ..TrafficLimits::default()
        };
        Self::new(&limits, |bound| bound)
    }

    /// `share_of`: what an owner may have of so much.
    pub(crate) fn new(limits: &TrafficLimits, share_of: impl Fn(usize) -> usize) -> Arc<Self> {
        let input = share_of(limits.max_input_total).max(limits.max_request);
        let output = share_of(limits.max_output_total);
        Arc::new(Self {
            input: Arc::new(Shares::new(limits.max_input_total, input)),
            output: Arc::new(Shares::new(limits.max_output_total, output)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_may_send_one_request_whatever_its_share() {
        let ip = |n: u8| Owner::from(std::net::IpAddr::from([10, 0, 0, n]));
        let limits = TrafficLimits {
            max_request: 5000,
            max_input_total: 10_000,
            max_output_total: 10_000,
            ..TrafficLimits::default()
        };
        let traffic = Traffic::new(&limits, |bound| bound / 4);
        assert!(traffic.input.take(ip(1), 5000).is_ok() && traffic.input.take(ip(1), 1).is_err());
        assert!(traffic.output.take(ip(1), 2500).is_ok());
        assert!(!traffic.output.has_room(ip(1)) && traffic.output.has_room(ip(2)));
    }
}
