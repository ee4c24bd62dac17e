//! Channel names: `/` and one or more segments with `/` between them.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

/// Longest name or pattern, in bytes.
pub(crate) const MAX_BYTES: usize = 255;

/// Most segments of a name or pattern. Also bounds the depth of tables made of them.
pub(crate) const MAX_SEGMENTS: usize = 32;

/// A valid channel name. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChannelName(pub(super) Arc<str>);

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
        kind_of(&self.0)
    }

    /// The parts between the slashes.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.0.split('/').skip(1)
    }
}

impl TryFrom<&str> for ChannelName {
    type Error = InvalidChannel;

    fn try_from(text: &str) -> Result<Self, InvalidChannel> {
        let valid = text.len() <= MAX_BYTES && segments_of(text).is_some_and(fits);
        if valid {
            Ok(Self(text.into()))
        } else {
            Err(InvalidChannel)
        }
    }
}

pub(super) fn kind_of(text: &str) -> ChannelKind {
    match text.split('/').nth(1) {
        Some("meta") => ChannelKind::Meta,
        Some("service") => ChannelKind::Service,
        _ => ChannelKind::Broadcast,
    }
}

pub(super) fn fits(segments: usize) -> bool {
    segments <= MAX_SEGMENTS
}

/// How many segments the text has, if it is a name.
pub(super) fn segments_of(text: &str) -> Option<usize> {
    if !text.starts_with('/') {
        return None;
    }
    let mut segments = 0;
    let mut segment_is_empty = false;
    for byte in text.bytes() {
        if byte == b'/' {
            if segment_is_empty {
                return None;
            }
            segments += 1;
        } else if !is_legal(byte) {
            return None;
        }
        segment_is_empty = byte == b'/';
    }
    (!segment_is_empty).then_some(segments)
}

/// The characters of a segment. None of them needs escaping in JSON.
fn is_legal(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b" !#$()+-.@_{}~".contains(&byte)
}

/// The traits of types that are a text inside.
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
pub(super) use text_traits;

impl fmt::Display for InvalidChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a valid channel")
    }
}

impl std::error::Error for InvalidChannel {}

#[cfg(test)]
mod tests {
    use super::super::pattern::Pattern;
    use super::*;

    #[test]
    fn valid_names() {
        let longest = format!("/{}", "x".repeat(MAX_BYTES - 1));
        let deepest = "/s".repeat(MAX_SEGMENTS);
        let table = [
            "/a",
            "/a/b",
            "/ ",
            "/ / ",
            "/meta",
            "/meta/x",
            "/service",
            "/AZaz09 !#$()+-.@_{}~",
            "/.",
            "/../..",
            "/{var}",
            &longest,
            &deepest,
        ];
        for text in table {
            let name = ChannelName::try_from(text).unwrap();
            assert_eq!(name.as_str(), text);
            assert_eq!(Pattern::try_from(text).unwrap().as_name(), Some(name));
        }
    }

    #[test]
    fn invalid_names_and_patterns() {
        let longest = format!("/{}", "x".repeat(MAX_BYTES));
        let deepest = "/s".repeat(MAX_SEGMENTS + 1);
        #[rustfmt::skip]
        let neither = [
            "", "/", "a", "a/b", "//", "/a/", "/a//b", "//a", "/a?b", "/a%20b", "/a:b", "/a;b",
            "/a,b", "/a=b", "/a\"b", "/a'b", "/a<b", "/a[b]", "/a\\b", "/a|b", "/a^b", "/a&b",
            "/\u{fc}", "/a\tb", "/a\nb", "/a\0", "/\u{1f600}", "/a`b", " /a", "/a\x7f", "/a/*/b",
            "/*/b", "/**/b", "/a/**/b", "/a/x*", "/a/*x", "/a/***", "/*a", "/a*", "*", "**",
            "/a/**/", "/a/*/", "//*", "//**", "/a//*", "a/*", "/a?/*", "/*/*", "/**/**", "/*/**",
            &longest, &deepest,
        ];
        for text in neither {
            assert_eq!(ChannelName::try_from(text), Err(InvalidChannel), "{text:?}");
            assert_eq!(Pattern::try_from(text), Err(InvalidChannel), "{text:?}");
        }
        for text in ["/*", "/**", "/a/*", "/a/b/**"] {
            assert_eq!(ChannelName::try_from(text), Err(InvalidChannel), "{text:?}");
        }
    }

    #[test]
    fn kinds_and_segments() {
        let table: &[(&str, &[&str], ChannelKind)] = &[
            ("/a/b c", &["a", "b c"], ChannelKind::Broadcast),
            ("/meta", &["meta"], ChannelKind::Meta),
            ("/meta/connect", &["meta", "connect"], ChannelKind::Meta),
            ("/service", &["service"], ChannelKind::Service),
            ("/service/a", &["service", "a"], ChannelKind::Service),
            ("/metal", &["metal"], ChannelKind::Broadcast),
            ("/a/meta", &["a", "meta"], ChannelKind::Broadcast),
        ];
        for (text, segments, kind) in table {
            let name = ChannelName::try_from(*text).unwrap();
            assert_eq!(name.segments().collect::<Vec<_>>(), *segments);
            assert_eq!(name.kind(), *kind, "{text}");
        }
    }
}
