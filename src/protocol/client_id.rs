//! Ids of sessions: random for remote clients, counted for local ones.

use std::fmt;
use std::ops::Deref;

/// Each character carries five bits: 26 of them 130, a little more than the 128 that the
/// specification asks for.
const LENGTH: usize = 26;
/// Characters that logs show; the others still make 110 bits.
const SHOWN: usize = 4;
const ALPHABET: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";

/// The id of a remote session: 26 characters of `0-9a-z`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientId([u8; LENGTH]);

impl ClientId {
    /// A new id with 130 bits from the system's generator.
    ///
    /// # Panics
    /// If the system has no random bytes to give. Ids are credentials: there is no second best.
    pub fn random() -> Self {
        let mut id = [0; LENGTH];
        getrandom::fill(&mut id).expect("because the system's generator does not fail once up");
        for byte in &mut id {
            *byte = ALPHABET[usize::from(*byte % 32)];
        }
        Self(id)
    }

    /// The id in a text, if it has the form of one.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes: [u8; LENGTH] = text.as_bytes().try_into().ok()?;
        let fits = |b: &u8| b.is_ascii_digit() || b.is_ascii_lowercase();
        bytes.iter().all(fits).then_some(Self(bytes))
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

/// For logs: enough to tell sessions apart, too little to be one. The whole id, a credential, is
/// what `Display` and `as_str` are for.
impl fmt::Debug for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientId({}..)", &self.as_str()[..SHOWN])
    }
}

/// A name as logs show it: what may be a client id in it, between slashes, is cut to four
/// characters. Channels and paths have ids in them where pages are shown what is for them alone.
pub(crate) struct Shown<'a>(pub(crate) &'a str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, segment) in self.0.split('/').enumerate() {
            let slash = if n > 0 { "/" } else { "" };
            match ClientId::parse(segment) {
                Some(_) => write!(f, "{slash}{}..", &segment[..SHOWN])?,
                None => write!(f, "{slash}{segment}")?,
            }
        }
        Ok(())
    }
}

/// The sender of a message as logs show it, whatever was sent as its id.
pub(crate) struct ShownId<'a>(pub(crate) Option<&'a str>);

impl fmt::Display for ShownId<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.map(|id| (ClientId::parse(id), id)) {
            None => f.write_str("nobody"),
            Some((None, _)) => f.write_str("what is no client id"),
            Some((Some(_), id)) => Shown(id).fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn random_ids_differ_and_parse() {
        let ids: HashSet<ClientId> = (0..1000).map(|_| ClientId::random()).collect();
        assert_eq!(ids.len(), 1000);
        for id in &ids {
            assert_eq!(ClientId::parse(id.as_str()), Some(*id));
        }
        let letters: HashSet<u8> = ids.iter().flat_map(|id| id.0).collect();
        assert_eq!(letters.len(), 32, "all characters of the alphabet occur");
    }

    #[test]
    fn names_in_logs_have_no_id() {
        for (name, shown) in [
            ("", ""),
            ("/chat/demo", "/chat/demo"),
            ("/private/0123456789abcdefghijklmnoz", "/private/0123.."),
            ("/0123456789abcdefghijklmnoz/**", "/0123../**"),
            ("0123456789abcdefghijklmnoz", "0123.."),
            ("/0123456789abcdefghijklmno", "/0123456789abcdefghijklmno"),
        ] {
            assert_eq!(Shown(name).to_string(), shown);
        }
    }

    #[test]
    fn only_the_form_of_an_id_parses() {
        let good = "0123456789abcdefghijklmnoz";
        assert_eq!(ClientId::parse(good).unwrap().to_string(), good);
        let shown = format!("{:?}", ClientId::parse(good).unwrap());
        assert_eq!(shown, "ClientId(0123..)", "an id is a credential");
        let bad = [
            "",
            "local",
            "0123456789abcdefghijklmno",
            "0123456789abcdefghijklmnozz",
            "0123456789ABCDEFGHIJKLMNOZ",
            "0123456789abcdefghijklmno ",
            "0123456789abcdefghijklmn\u{fc}",
        ];
        for text in bad {
            assert_eq!(ClientId::parse(text), None, "{text:?}");
            let sent = SentId::from(text);
            assert_eq!((sent.id(), &*sent), (None, text));
        }
        let sent = SentId::from(good);
        assert_eq!((sent.id().unwrap().as_str(), &*sent), (good, good));
    }

    #[test]
    fn a_sent_id_of_the_right_form_needs_no_allocation() {
        assert!(size_of::<SentId>() <= 32);
        assert!(matches!(
            SentId::from("0123456789abcdefghijklmnoz"),
            SentId::Id(_)
        ));
    }
}
