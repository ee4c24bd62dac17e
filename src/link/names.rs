//! Names: of nodes, of links, of aliases and events.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A node, from its start to its end: chosen at random by every start, so that a process that was
/// restarted is not mistaken for the one before. 32 hexadecimal digits when shown.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NodeId([u8; 16]);

impl NodeId {
    /// A new one, from the system's generator.
    ///
    /// # Errors
    /// The generator's.
    pub fn random() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes)?;
        Ok(Self(bytes))
    }

    pub(crate) const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Whether it is shown like that; compared as for each message to `node/alias`, without text.
    pub(crate) fn is_shown_as(&self, text: &str) -> bool {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let digits = |byte: u8| {
            [
                DIGITS[usize::from(byte >> 4)],
                DIGITS[usize::from(byte & 15)],
            ]
        };
        text.len() == 32
            && self
                .0
                .iter()
                .zip(text.as_bytes().chunks_exact(2))
                .all(|(byte, shown)| shown == digits(*byte))
    }

    pub(crate) const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeId({self})")
    }
}

impl From<NodeId> for String {
    fn from(id: NodeId) -> Self {
        id.to_string()
    }
}

impl FromStr for NodeId {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let digits = text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
        let number = digits
            .then(|| u128::from_str_radix(text, 16).ok())
            .flatten();
        let number = number.ok_or_else(|| InvalidName::new(text, "no node id"))?;
        Ok(Self(number.to_be_bytes()))
    }
}

impl TryFrom<String> for NodeId {
    type Error = InvalidName;

    fn try_from(text: String) -> Result<Self, InvalidName> {
        text.parse()
    }
}

/// One connection between two nodes, within this process. Never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkId(pub(crate) u64);

impl fmt::Display for LinkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An alias and who exports it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Alias {
    /// The alias.
    pub alias: Arc<str>,
    /// The node that exports it.
    pub owner: NodeId,
    /// What that node is called.
    pub owner_name: Arc<str>,
}

/// Longest alias, event or node name, in bytes.
pub const MAX_NAME: usize = 128;

/// A name that cannot be one: empty, longer than [`MAX_NAME`], with a slash, a space or a control
/// character, or reserved because it begins with `_`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidName {
    /// What was given.
    pub name: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl InvalidName {
    fn new(name: &str, reason: &'static str) -> Self {
        let name = name.chars().take(MAX_NAME).collect();
        Self { name, reason }
    }
}

impl fmt::Display for InvalidName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.name, self.reason)
    }
}

impl std::error::Error for InvalidName {}

/// Checks an alias, an event or the name of a node.
pub(crate) fn check(name: &str) -> Result<(), InvalidName> {
    let wrong = if name.is_empty() {
        "empty"
    } else if name.len() > MAX_NAME {
        "too long"
    } else if name.starts_with('_') {
        "names that begin with _ are reserved"
    } else if name.contains(|c: char| c == '/' || c.is_whitespace() || c.is_control()) {
        "slashes, spaces and control characters are not allowed"
    } else {
        return Ok(());
    };
    Err(InvalidName::new(name, wrong))
}

/// Where a message goes: an alias, or `node/alias` with a node's name or id.
pub(crate) fn split(address: &str) -> Result<(Option<&str>, &str), InvalidName> {
    let (node, alias) = match address.split_once('/') {
        Some((node, alias)) => (Some(node), alias),
        None => (None, address),
    };
    check(alias)?;
    node.map_or(Ok(()), check)?;
    Ok((node, alias))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let long = "x".repeat(MAX_NAME + 1);
        for good in ["a", "adder", "a.b-c:d", &long[1..]] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in ["", "_tikc_manager", "a/b", "a b", "a\n", &long] {
            assert!(check(bad).is_err(), "{bad}");
        }
        assert_eq!(split("x"), Ok((None, "x")));
        assert_eq!(split("n/x"), Ok((Some("n"), "x")));
        for bad in ["/x", "n/", "n/_x", "_n/x", "a/b/c"] {
            assert!(split(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn ids_are_shown_and_read() {
        let id = NodeId::random().unwrap();
        assert_eq!(id.to_string().parse::<NodeId>().unwrap(), id);
        assert_eq!(id.to_string().len(), 32);
        assert!(id.is_shown_as(&id.to_string()));
        for other in [NodeId::random().unwrap().to_string(), id.to_string() + "0"] {
            assert!(!id.is_shown_as(&other), "{other}");
        }
        for bad in ["", "x", "+0000000000000000000000000000000"] {
            assert!(bad.parse::<NodeId>().is_err(), "{bad}");
        }
        assert_eq!(serde_json::to_string(&id).unwrap(), format!("\"{id}\""));
    }
}
