//! Channel names, and the patterns that sessions subscribe to.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

/// A valid channel name. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChannelName(Arc<str>);

/// A channel name, or one whose last segment is `*` or `**`. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pattern(Arc<str>);

/// Who takes what is sent to a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChannelKind {
    /// `/meta` and all below: the protocol itself.
    Meta,
    /// `/service` and all below: handlers in the server.
    Service,
    /// Everything else: the subscribers.
    Broadcast,
}

/// How a pattern ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tail {
    /// No wildcard.
    Exact,
    /// `*`: exactly one more segment.
    One,
    /// `**`: one or more further segments.
    Deep,
}

/// The text is no channel name, or no pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidChannel;

impl ChannelName {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Who takes what is sent there. `/meta` and `/service` themselves count as meta and service.
    pub fn kind(&self) -> ChannelKind {
        unimplemented!()
    }

    /// The parts between the slashes.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.0.split('/').skip(1)
    }
}

impl Pattern {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The kind of the channels below. `/*` and `/**` are broadcast.
    pub fn kind(&self) -> ChannelKind {
        unimplemented!()
    }

    /// How it ends.
    pub fn tail(&self) -> Tail {
        unimplemented!()
    }

    /// The segments without the wildcard; all of them when there is none.
    pub fn prefix_segments(&self) -> impl Iterator<Item = &str> {
        self.0.split('/').skip(1)
    }

    /// The name, when there is no wildcard.
    pub fn as_name(&self) -> Option<ChannelName> {
        unimplemented!()
    }

    /// Whether the channel's messages are wanted.
    pub fn matches(&self, name: &ChannelName) -> bool {
        let _ = name;
        unimplemented!()
    }
}

/// Every pattern that matches the channel.
pub fn expand(name: &ChannelName) -> Vec<String> {
    let _ = name;
    unimplemented!()
}

impl TryFrom<&str> for ChannelName {
    type Error = InvalidChannel;

    fn try_from(_text: &str) -> Result<Self, InvalidChannel> {
        unimplemented!()
    }
}

impl TryFrom<&str> for Pattern {
    type Error = InvalidChannel;

    fn try_from(_text: &str) -> Result<Self, InvalidChannel> {
        unimplemented!()
    }
}

macro_rules! text_traits {
    ($name:ident) => {
        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    };
}
text_traits!(ChannelName);
text_traits!(Pattern);

impl fmt::Display for InvalidChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a valid channel")
    }
}

impl std::error::Error for InvalidChannel {}
