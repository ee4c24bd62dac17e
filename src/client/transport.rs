//! Which transport is used, and when another takes its place.

use super::error::Failure;

/// How a client talks to its server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transport {
    /// WebSocket, and long-polling where a server or a proxy does not let WebSocket through. The
    /// default for `http` and `https`.
    #[default]
    Auto,
    /// Requests over HTTP: one that the server holds, and one for each batch that is sent.
    LongPolling,
    /// Frames on one connection. The default for `ws` and `wss`, which know no other.
    WebSocket,
}

/// One way to carry messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Via {
    WebSocket,
    LongPolling,
}

impl Transport {
    /// What it allows, best first.
    pub(crate) fn ways(self) -> Vec<Via> {
        match self {
            Self::Auto => vec![Via::WebSocket, Via::LongPolling],
            Self::LongPolling => vec![Via::LongPolling],
            Self::WebSocket => vec![Via::WebSocket],
        }
    }
}

impl Via {
    /// Its name in `supportedConnectionTypes` and `connectionType`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::WebSocket => "websocket",
            Self::LongPolling => "long-polling",
        }
    }

    pub(crate) fn transport(self) -> Transport {
        match self {
            Self::WebSocket => Transport::WebSocket,
            Self::LongPolling => Transport::LongPolling,
        }
    }
}

/// The choice between the ways: a handshake goes the best one and offers all; where the upgrade is
/// refused, it goes the next one and offers the rest. When that leads to a session, the client
/// stays with it; when it does not, the server was away, and the next handshake begins anew.
#[derive(Debug)]
pub(crate) struct Choice {
    ways: Vec<Via>,
    /// The best one that is not given up for now.
    first: usize,
    /// The best one that is not given up for good.
    least: usize,
    via: Via,
}

impl Choice {
    /// Of at least one way, best first.
    pub(crate) fn new(ways: Vec<Via>) -> Self {
        let via = ways.first().copied().unwrap_or(Via::LongPolling);
        let (first, least) = (0, 0);
        Self {
            ways,
            first,
            least,
            via,
        }
    }

    /// The one to use now.
    pub(crate) fn via(&self) -> Via {
        self.via
    }

    /// There is to be a handshake: what it offers. The first is how it, and everything that comes
    /// after it, is to travel.
    pub(crate) fn offer(&mut self) -> Vec<Via> {
        self.via = self.ways[self.first];
        self.offered().to_vec()
    }

    /// What the last handshake offered.
    pub(crate) fn offered(&self) -> &[Via] {
        &self.ways[self.first..]
    }

    /// An exchange failed. Says whether there is another way, which is used from now on.
    pub(crate) fn fall_back(&mut self, failure: &Failure) -> bool {
        let refused = matches!(failure, Failure::Upgrade { .. });
        let next = self.first + 1;
        if !refused || self.via != self.ways[self.first] || next == self.ways.len() {
            return false;
        }
        self.first = next;
        self.via = self.ways[next];
        true
    }

    /// There is a session, with a server that offers these.
    pub(crate) fn settled(&mut self, offered: Option<&[String]>) {
        self.least = self.first;
        let common = |via: &&Via| offered.is_none_or(|all| all.iter().any(|o| o == via.name()));
        if let Some(via) = self.offered().iter().find(common) {
            self.via = *via;
        }
    }

    /// There is no session, and what was given up for the last one need not be for the next.
    pub(crate) fn begin(&mut self) {
        self.first = self.least;
    }

    /// Nothing is given up any longer.
    pub(crate) fn reset(&mut self) {
        self.least = 0;
        self.begin();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused() -> Failure {
        let why = "HTTP status 404".into();
        let retry_after = None;
        Failure::Upgrade { why, retry_after }
    }

    #[test]
    fn a_refused_upgrade_leads_to_the_next_way() {
        let mut choice = Choice::new(Transport::Auto.ways());
        assert_eq!(choice.offer(), [Via::WebSocket, Via::LongPolling]);
        assert!(!choice.fall_back(&Failure::Connect("refused".into())));
        assert!(!choice.fall_back(&Failure::Timeout));
        assert_eq!(choice.via(), Via::WebSocket);
        assert!(choice.fall_back(&refused()));
        assert_eq!(choice.offer(), [Via::LongPolling]);
        assert_eq!(choice.via(), Via::LongPolling);
        assert!(!choice.fall_back(&refused()), "there is no third");
    }

    #[test]
    fn only_a_session_makes_it_last() {
        let mut choice = Choice::new(Transport::Auto.ways());
        choice.fall_back(&refused());
        choice.begin();
        assert_eq!(choice.offer()[0], Via::WebSocket, "the server was away");
        choice.fall_back(&refused());
        choice.settled(None);
        choice.begin();
        assert_eq!(choice.offer()[0], Via::LongPolling);
        choice.reset();
        assert_eq!(choice.via(), Via::LongPolling, "until the handshake");
        assert_eq!(choice.offer()[0], Via::WebSocket);
    }

    #[test]
    fn within_a_session_it_is_for_this_session() {
        let mut choice = Choice::new(Transport::Auto.ways());
        choice.settled(None);
        assert!(choice.fall_back(&refused()));
        assert_eq!(choice.via(), Via::LongPolling);
        choice.begin();
        assert_eq!(choice.offer()[0], Via::WebSocket);
    }

    #[test]
    fn the_server_has_a_say() {
        let mut choice = Choice::new(Transport::Auto.ways());
        choice.settled(Some(&["callback-polling".into(), "long-polling".into()]));
        assert_eq!(choice.via(), Via::LongPolling);
        assert!(!choice.fall_back(&refused()));
        choice.settled(Some(&["long-polling".into(), "websocket".into()]));
        assert_eq!(choice.via(), Via::WebSocket, "the order is ours");
        let mut only = Choice::new(Transport::WebSocket.ways());
        assert!(!only.fall_back(&refused()));
        assert_eq!(only.offer(), [Via::WebSocket]);
    }
}
