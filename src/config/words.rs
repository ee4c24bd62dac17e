//! Settings that are one of a few words.

use crate::settings::Named;
use crate::transport::Transport;

/// Which connector serves the public addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Connector {
    #[cfg(feature = "native")]
    /// A fixed number of threads with a poller each: any number of connections.
    Native,
    #[cfg(feature = "tiny-http")]
    /// The small, portable one on the `tiny_http` crate; for trusted networks only.
    TinyHttp,
}

impl Connector {
    /// Whether WebSocket and EventSource, TLS, and limits of connections are possible.
    pub(super) fn is_native(self) -> bool {
        match self {
            #[cfg(feature = "native")]
            Self::Native => true,
            #[cfg(feature = "tiny-http")]
            Self::TinyHttp => false,
        }
    }
}

impl Named for Connector {
    const WORDS: &'static [(&'static str, Self)] = &[
        #[cfg(feature = "native")]
        ("native", Self::Native),
        #[cfg(feature = "tiny-http")]
        ("tiny-http", Self::TinyHttp),
    ];
}

/// The better one of those that are built.
pub(super) fn best() -> String {
    Connector::WORDS[0].0.to_owned()
}

impl Named for Transport {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("websocket", Self::WebSocket),
        ("eventsource", Self::EventSource),
        ("long-polling", Self::LongPolling),
        ("callback-polling", Self::CallbackPolling),
    ];
}

#[cfg(test)]
mod tests {
    use log::LevelFilter;

    use super::*;
    use crate::broker::Overflow;
    use crate::http::CallbackPolling;
    use crate::settings::{Kind, Word};

    #[test]
    fn words() {
        let overflow = Word::<Overflow>::KIND;
        assert_eq!(overflow.parse("drop-oldest"), Ok(Overflow::DropOldest));
        assert_eq!(overflow.parse("drop_newest"), Ok(Overflow::DropNewest));
        assert_eq!(
            overflow.form().placeholder,
            "drop-oldest|drop-newest|disconnect"
        );
        assert_eq!(
            overflow.parse("drop-oldes").unwrap_err(),
            "`drop-oldes` is none of drop-oldest, drop-newest, disconnect; \
             did you mean `drop-oldest`?"
        );
        assert_eq!(
            Word::<Connector>::KIND.parse("nginx").unwrap_err(),
            "`nginx` is none of native, tiny-http"
        );
        assert_eq!(
            Word::<LevelFilter>::KIND.parse("WARN"),
            Ok(LevelFilter::Warn)
        );
        assert_eq!(
            Word::<CallbackPolling>::KIND.parse("off"),
            Ok(CallbackPolling::Off)
        );
        let words = Overflow::WORDS.iter().map(|(word, _)| *word);
        assert_eq!(
            words.collect::<Vec<_>>(),
            ["drop-oldest", "drop-newest", "disconnect"]
        );
    }
}
