//! Ids of sessions: random for remote clients, counted for local ones.

use std::fmt;
use std::ops::Deref;

/// The id of a remote session: 26 characters of `0-9a-z`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientId([u8; 26]);

impl ClientId {
    /// A new id with 130 bits from the system's generator.
    pub fn random() -> Self {
        unimplemented!()
    }

    /// The id in a text, if it has the form of one.
    pub fn parse(text: &str) -> Option<Self> {
        let _ = text;
        unimplemented!()
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("because ids are made of ASCII only")
    }
}

/// The id of a client inside the server. Never valid on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LocalId(pub u64);

/// A `clientId` as it was sent: of the right form, or some other text (which nobody has as id).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SentId {
    /// It has the form of an id.
    Id(ClientId),
    /// Anything else.
    Other(Box<str>),
}

impl SentId {
    /// The id, if it has the form of one.
    pub fn id(&self) -> Option<ClientId> {
        match self {
            Self::Id(id) => Some(*id),
            Self::Other(_) => None,
        }
    }
}

impl From<&str> for SentId {
    fn from(text: &str) -> Self {
        ClientId::parse(text).map_or_else(|| Self::Other(text.into()), Self::Id)
    }
}

impl Deref for SentId {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Id(id) => id.as_str(),
            Self::Other(text) => text,
        }
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientId({})", self.as_str())
    }
}
