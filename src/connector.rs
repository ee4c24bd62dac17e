//! For a connector of one's own: what it hands to a broker or a site, and what it gets back. Those
//! that come with the crate are written against the same items.

pub use crate::broker::{
    Answer, AnswerStatus, Attachment, Call, Collected, Ended, Exchange, Executed, Extra, InFlight,
    NoStream, Unread,
};
pub use crate::transport::{BrowserId, ConnectionHandle, Peer, Transport, WakeSink};

/// Messages: bytes become a batch, a batch becomes replies and publications.
pub mod message {
    pub use crate::extensions::{Heard, Moment};
    pub use crate::protocol::{
        Advice, AdviceRequest, Batch, BatchError, BatchLimits, ChannelKind, ErrorText, LocalId,
        Message, Parsed, Publisher, Reconnect, Rejected, Reply, ReplyTo, SentId, Tail, Target,
        parse,
    };
}

/// Sites: what a connector that speaks HTTP serves.
pub mod site {
    #[cfg(feature = "native")]
    pub use crate::connectors::native::{Running, start};
    pub use crate::http::{
        AccessLog, Asked, Caller, CookieKey, Events, Finished, Format, Handled, PendingResponse,
        Refused, Request, Route, Site, Target, Upgrade,
    };
    pub use crate::refusals::Refusals;
}
