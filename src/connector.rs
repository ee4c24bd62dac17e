//! For a connector of one's own: what it hands to a broker or a site, and what it gets back.

pub use crate::broker::{
    Answer, AnswerStatus, Attachment, Call, Collected, Ended, Exchange, Executed, InFlight,
    NoStream, Unread,
};
pub use crate::transport::{ConnectionHandle, WakeSink};

/// Messages: bytes become a batch, a batch becomes replies and publications.
pub mod message {
    pub use crate::extensions::{Heard, Moment};
    pub use crate::protocol::{
        AdviceRequest, Batch, BatchError, BatchLimits, ChannelKind, ErrorText, Message, Parsed,
        Rejected, Reply, ReplyTo, SentId, Tail, Target, parse,
    };
}

/// Sites: what a connector that speaks HTTP serves.
pub mod site {
    pub use crate::http::{
        AccessLog, Caller, CookieKey, Events, Finished, Format, Handled, Headers, LogEntry, Lookup,
        Mount, PendingResponse, Refused, Request, RequestHead, Route, Site, Target, Upgrade,
    };
    pub use crate::refusals::Refusals;
}

/// The native connector without a [`Server`](crate::Server).
#[cfg(feature = "native")]
pub mod native {
    pub use crate::connectors::native::{NativeStats, Running, start};
}
