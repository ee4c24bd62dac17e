//! Patterns, which sessions subscribe to.
//!
//! The last segment of a pattern may be `*`, exactly one segment, or `**`, one or more: neither
//! matches the channel above it.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use super::name::{
    ChannelKind, ChannelName, InvalidChannel, MAX_BYTES, fits, kind_of, segments_of, text_traits,
};

/// A channel name, or one whose last segment is `*` or `**`. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pattern(Arc<str>);

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

impl Pattern {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The kind of the channels below. `/*` and `/**` are broadcast.
    pub fn kind(&self) -> ChannelKind {
        kind_of(&self.0)
    }

    /// How it ends.
    pub fn tail(&self) -> Tail {
        self.split().1
    }

    /// The segments without the wildcard; all of them when there is none.
    pub fn prefix_segments(&self) -> impl Iterator<Item = &str> {
        self.split().0.split('/').skip(1)
    }

    /// The name, when there is no wildcard.
    pub fn as_name(&self) -> Option<ChannelName> {
        (self.tail() == Tail::Exact).then(|| ChannelName(Arc::clone(&self.0)))
    }

    /// Whether the channel's messages are wanted. `/*` and `/**` never match meta and service
    /// channels.
    pub fn matches(&self, name: &ChannelName) -> bool {
        let (prefix, tail) = self.split();
        let Some(rest) = name.0.strip_prefix(prefix) else {
            return false;
        };
        let below = rest
            .strip_prefix('/')
            .filter(|_| self.kind() == name.kind());
        match tail {
            Tail::Exact => rest.is_empty(),
            Tail::One => below.is_some_and(|rest| !rest.contains('/')),
            Tail::Deep => below.is_some(),
        }
    }

    /// What is before the wildcard's slash, and the wildcard.
    fn split(&self) -> (&str, Tail) {
        split_wildcard(&self.0)
    }
}

/// Calls the function with the text of every pattern that matches the channel: so many as it has
/// segments, and two.
pub(crate) fn for_each_match(name: &ChannelName, mut visit: impl FnMut(&str)) {
    let text = name.as_str();
    visit(text);
    let mut wild = String::with_capacity(text.len() + "/**".len());
    for (at, _) in text.match_indices('/') {
        // Patterns that begin with a wildcard are for broadcast channels only.
        if at == 0 && name.kind() != ChannelKind::Broadcast {
            continue;
        }
        wild.clear();
        wild.push_str(&text[..at]);
        wild.push_str("/*");
        if !text[at + 1..].contains('/') {
            visit(&wild);
        }
        wild.push('*');
        visit(&wild);
    }
}

impl TryFrom<&str> for Pattern {
    type Error = InvalidChannel;

    fn try_from(text: &str) -> Result<Self, InvalidChannel> {
        let valid = text.len() <= MAX_BYTES
            && match split_wildcard(text) {
                (prefix, Tail::Exact) => segments_of(prefix).is_some_and(fits),
                ("", Tail::One | Tail::Deep) => true,
                (prefix, Tail::One | Tail::Deep) => {
                    segments_of(prefix).is_some_and(|segments| fits(segments + 1))
                }
            };
        if valid {
            Ok(Self(text.into()))
        } else {
            Err(InvalidChannel)
        }
    }
}

impl From<ChannelName> for Pattern {
    fn from(name: ChannelName) -> Self {
        Self(name.0)
    }
}

fn split_wildcard(text: &str) -> (&str, Tail) {
    if let Some(prefix) = text.strip_suffix("/**") {
        (prefix, Tail::Deep)
    } else if let Some(prefix) = text.strip_suffix("/*") {
        (prefix, Tail::One)
    } else {
        (text, Tail::Exact)
    }
}

text_traits!(Pattern);

#[cfg(test)]
mod tests {
    use super::super::name::MAX_SEGMENTS;
    use super::*;

    fn name(text: &str) -> ChannelName {
        ChannelName::try_from(text).unwrap()
    }

    fn pattern(text: &str) -> Pattern {
        Pattern::try_from(text).unwrap()
    }

    #[test]
    fn a_wildcard_counts_against_the_limits() {
        let segments = "/s".repeat(MAX_SEGMENTS - 1);
        for wildcard in ["/*", "/**"] {
            assert!(Pattern::try_from(&*format!("{segments}{wildcard}")).is_ok());
            assert!(Pattern::try_from(&*format!("{segments}/s{wildcard}")).is_err());
            let longest = "x".repeat(MAX_BYTES - 1 - wildcard.len());
            assert!(Pattern::try_from(&*format!("/{longest}{wildcard}")).is_ok());
            assert!(Pattern::try_from(&*format!("/{longest}x{wildcard}")).is_err());
        }
    }

    #[test]
    fn patterns_come_apart() {
        let table: &[(&str, &[&str], Tail, ChannelKind)] = &[
            ("/a", &["a"], Tail::Exact, ChannelKind::Broadcast),
            ("/a/b/*", &["a", "b"], Tail::One, ChannelKind::Broadcast),
            ("/a/**", &["a"], Tail::Deep, ChannelKind::Broadcast),
            ("/*", &[], Tail::One, ChannelKind::Broadcast),
            ("/**", &[], Tail::Deep, ChannelKind::Broadcast),
            ("/meta", &["meta"], Tail::Exact, ChannelKind::Meta),
            ("/meta/**", &["meta"], Tail::Deep, ChannelKind::Meta),
            ("/service", &["service"], Tail::Exact, ChannelKind::Service),
            ("/service/*", &["service"], Tail::One, ChannelKind::Service),
            (
                "/metal/x",
                &["metal", "x"],
                Tail::Exact,
                ChannelKind::Broadcast,
            ),
            (
                "/a/meta",
                &["a", "meta"],
                Tail::Exact,
                ChannelKind::Broadcast,
            ),
        ];
        for (text, prefix, tail, kind) in table {
            let pattern = pattern(text);
            assert_eq!(
                pattern.prefix_segments().collect::<Vec<_>>(),
                *prefix,
                "{text}"
            );
            assert_eq!((pattern.tail(), pattern.kind()), (*tail, *kind), "{text}");
            assert_eq!(pattern.as_name().is_some(), *tail == Tail::Exact, "{text}");
        }
        assert_eq!(Pattern::from(name("/a")), pattern("/a"));
    }

    const CHANNELS: [&str; 12] = [
        "/a",
        "/b",
        "/a/b",
        "/a/b/c",
        "/a/b/c/d",
        "/ab",
        "/meta",
        "/meta/connect",
        "/service",
        "/service/a",
        "/service/a/b",
        "/metal",
    ];

    #[test]
    fn matching() {
        let table = [
            ("/chat/demo", "/chat/demo", true),
            ("/chat/demo/sub", "/chat/demo", false),
            ("/chat/demo", "/chat/*", true),
            ("/chat/demo/sub", "/chat/*", false),
            ("/chat/demo/sub", "/chat/**", true),
            ("/chat", "/chat/*", false),
            ("/chat", "/*", true),
            ("/chat/demo", "/*", false),
            ("/private/demo", "/chat/demo", false),
            ("/a", "/a/**", false),
            ("/a/b", "/a/**", true),
            ("/a/b/c", "/a/**", true),
            ("/a", "/**", true),
            ("/a/b/c", "/**", true),
            ("/meta/connect", "/**", false),
            ("/service/x", "/**", false),
            ("/meta", "/*", false),
            ("/service", "/*", false),
            ("/metal", "/*", true),
            ("/meta/connect", "/meta/*", true),
            ("/service/x/y", "/service/**", true),
            ("/ab/c", "/a/*", false),
            ("/ab", "/a/**", false),
            ("/A", "/a", false),
        ];
        for (channel, text, expected) in table {
            assert_eq!(
                pattern(text).matches(&name(channel)),
                expected,
                "{channel} {text}"
            );
        }
        // A wildcard anywhere but at the end matches nothing, because it is no pattern.
        for text in ["/*/demo", "/**/c", "/a/x*"] {
            assert!(Pattern::try_from(text).is_err(), "{text}");
        }
    }

    #[test]
    fn expanding_and_matching_agree() {
        let expand = |text: &str| {
            let mut patterns = Vec::new();
            for_each_match(&name(text), |pattern| patterns.push(pattern.to_owned()));
            patterns
        };
        assert_eq!(
            expand("/a/b/c"),
            ["/a/b/c", "/**", "/a/**", "/a/b/*", "/a/b/**"]
        );
        assert_eq!(expand("/meta/x"), ["/meta/x", "/meta/*", "/meta/**"]);
        for channel in CHANNELS {
            let expanded = expand(channel);
            for base in CHANNELS.iter().chain(&[""]) {
                for wildcard in ["", "/*", "/**"] {
                    let text = format!("{base}{wildcard}");
                    let Ok(pattern) = Pattern::try_from(&*text) else {
                        continue;
                    };
                    let matches = pattern.matches(&name(channel));
                    assert_eq!(matches, expanded.contains(&text), "{channel} {text}");
                }
            }
        }
    }
}
