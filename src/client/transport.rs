//! Which transport is used, and when another takes its place.

use super::error::Failure;

/// How a client talks to its server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
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

impl Transport {
    /// Its name in `supportedConnectionTypes` and `connectionType`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::LongPolling => "long-polling",
            Self::Auto | Self::WebSocket => "websocket",
        }
    }
}

/// The transports that a client may use, and the one in use. A handshake goes by the best one and
/// offers all; where the upgrade is refused, it goes by the next one and offers the rest. When that
/// leads to a session, the client stays with it; when it does not, the server was away, and the
/// next handshake begins anew.
#[derive(Debug)]
pub(crate) struct Fallback {
    /// Best first.
    allowed: &'static [Transport],
    /// The best one that is not given up for now.
    first: usize,
    /// The best one that is not given up for good.
    least: usize,
    current: Transport,
}

impl Fallback {
    pub(crate) fn new(wanted: Transport) -> Self {
        let allowed: &[_] = match wanted {
            Transport::Auto => &[Transport::WebSocket, Transport::LongPolling],
            Transport::LongPolling => &[Transport::LongPolling],
            Transport::WebSocket => &[Transport::WebSocket],
        };
        Self {
            allowed,
            first: 0,
            least: 0,
            current: allowed[0],
        }
    }

    /// The one to use now; never [`Transport::Auto`].
    pub(crate) fn current(&self) -> Transport {
        self.current
    }

    /// There is to be a handshake: what it offers. The first is how it, and everything that comes
    /// after it, is to travel.
    pub(crate) fn offer(&mut self) -> &'static [Transport] {
        self.current = self.allowed[self.first];
        self.offered()
    }

    /// What the last handshake offered.
    pub(crate) fn offered(&self) -> &'static [Transport] {
        &self.allowed[self.first..]
    }

    /// An exchange failed. Says whether there is another transport, which is used from now on.
    pub(crate) fn fall_back(&mut self, failure: &Failure) -> bool {
        let refused = matches!(failure, Failure::Upgrade { .. });
        let next = self.first + 1;
        if !refused || self.current != self.allowed[self.first] || next == self.allowed.len() {
            return false;
        }
        self.first = next;
        self.current = self.allowed[next];
        true
    }

    /// There is a session, with a server that offers these.
    pub(crate) fn settled(&mut self, theirs: Option<&[String]>) {
        self.least = self.first;
        let common =
            |own: &&Transport| theirs.is_none_or(|all| all.iter().any(|o| o == own.name()));
        if let Some(common) = self.offered().iter().find(common) {
            self.current = *common;
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
    fn a_refused_upgrade_leads_to_the_next_transport() {
        let mut fallback = Fallback::new(Transport::Auto);
        assert_eq!(
            fallback.offer(),
            [Transport::WebSocket, Transport::LongPolling]
        );
        assert!(!fallback.fall_back(&Failure::Connect("refused".into())));
        assert!(!fallback.fall_back(&Failure::Timeout));
        assert_eq!(fallback.current(), Transport::WebSocket);
        assert!(fallback.fall_back(&refused()));
        assert_eq!(fallback.offer(), [Transport::LongPolling]);
        assert_eq!(fallback.current(), Transport::LongPolling);
        assert!(!fallback.fall_back(&refused()), "there is no third");
    }

    #[test]
    fn only_a_session_makes_it_last() {
        let mut fallback = Fallback::new(Transport::Auto);
        fallback.fall_back(&refused());
        fallback.begin();
        assert_eq!(
            fallback.offer()[0],
            Transport::WebSocket,
            "the server was away"
        );
        fallback.fall_back(&refused());
        fallback.settled(None);
        fallback.begin();
        assert_eq!(fallback.offer()[0], Transport::LongPolling);
        fallback.reset();
        assert_eq!(
            fallback.current(),
            Transport::LongPolling,
            "until the handshake"
        );
        assert_eq!(fallback.offer()[0], Transport::WebSocket);
    }

    #[test]
    fn within_a_session_it_is_for_this_session() {
        let mut fallback = Fallback::new(Transport::Auto);
        fallback.settled(None);
        assert!(fallback.fall_back(&refused()));
        assert_eq!(fallback.current(), Transport::LongPolling);
        fallback.begin();
        assert_eq!(fallback.offer()[0], Transport::WebSocket);
    }

    #[test]
    fn the_server_has_a_say() {
        let mut fallback = Fallback::new(Transport::Auto);
        fallback.settled(Some(&["callback-polling".into(), "long-polling".into()]));
        assert_eq!(fallback.current(), Transport::LongPolling);
        assert!(!fallback.fall_back(&refused()));
        fallback.settled(Some(&["long-polling".into(), "websocket".into()]));
        assert_eq!(
            fallback.current(),
            Transport::WebSocket,
            "the order is ours"
        );
        let mut only = Fallback::new(Transport::WebSocket);
        assert!(!only.fall_back(&refused()));
        assert_eq!(only.offer(), [Transport::WebSocket]);
    }
}
