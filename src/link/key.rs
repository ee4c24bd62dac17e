//! Keys: who knows one is a peer.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path;

use hmac_sha256::HMAC;

use super::KeyError;

/// Shortest key, in bytes: what is shorter could be guessed from one recorded hello.
pub const MIN_KEY: usize = 16;

/// A secret that two nodes share.
#[derive(Clone)]
pub struct Key(HMAC);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

impl Key {
    /// The key of a secret; best are 32 random bytes.
    ///
    /// # Errors
    /// If it has fewer bytes than [`MIN_KEY`].
    pub fn new(secret: &[u8]) -> Result<Self, KeyError> {
        let length = secret.len();
        if length < MIN_KEY {
            return Err(KeyError::TooShort { length });
        }
        Ok(Self(HMAC::new(secret)))
    }

    /// The content of a file, without the white space around it.
    ///
    /// # Errors
    /// If it cannot be read, or is too short.
    pub fn from_file(path: &Path) -> Result<Self, KeyError> {
        let content = fs::read(path).map_err(KeyError::File)?;
        Self::new(content.trim_ascii())
    }

    /// Proves to know the key: a keyed hash over all that was said, and by whom.
    pub(crate) fn prove(&self, prover: Role, hellos: Hellos<'_>) -> [u8; 32] {
        self.mac(prover, hellos).finalize()
    }

    /// Whether the proof is right. The time taken tells nothing about the right one.
    pub(crate) fn verify(&self, prover: Role, hellos: Hellos<'_>, proof: &[u8; 32]) -> bool {
        self.mac(prover, hellos).finalize_verify(proof)
    }

    fn mac(&self, prover: Role, hellos: Hellos<'_>) -> HMAC {
        let mut mac = self.0.clone();
        // The role keeps a proof from being sent back to where it came from.
        mac.update(match prover {
            Role::Connector => b"bayeux-link connector",
            Role::Listener => b"bayeux-link listener ",
        });
        for hello in [hellos.connector, hellos.listener] {
            mac.update((hello.len() as u64).to_be_bytes());
            mac.update(hello);
        }
        mac
    }
}

/// Which end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// The one that connects.
    Connector,
    /// The one that listens.
    Listener,
}

impl Role {
    pub(crate) fn other(self) -> Self {
        match self {
            Self::Connector => Self::Listener,
            Self::Listener => Self::Connector,
        }
    }
}

/// The first frames of a connection, byte for byte: ids, names, nonces, versions, features.
#[derive(Clone, Copy)]
pub(crate) struct Hellos<'a> {
    pub(crate) connector: &'a [u8],
    pub(crate) listener: &'a [u8],
}

/// The keys of a node: one for all peers, and others for peers of certain names.
///
/// With one key for all, whoever knows it may call itself what it likes. A name that has a key of
/// its own belongs to those who know that one.
#[derive(Clone, Debug)]
pub struct Keys {
    common: Option<Key>,
    named: BTreeMap<String, Key>,
}

impl Keys {
    /// One key for all peers.
    pub fn common(key: Key) -> Self {
        Self {
            common: Some(key),
            named: BTreeMap::new(),
        }
    }

    /// No key for peers that are not named by [`named`](Self::named).
    pub fn none() -> Self {
        Self {
            common: None,
            named: BTreeMap::new(),
        }
    }

    /// That key for all peers, if there is one.
    pub(crate) fn of_all(key: Option<Key>) -> Self {
        key.map_or_else(Self::none, Self::common)
    }

    /// A key for the peer of that name, instead of the common one.
    #[must_use]
    pub fn named(mut self, name: &str, key: Key) -> Self {
        self.named.insert(name.to_owned(), key);
        self
    }

    pub(crate) fn of(&self, name: &str) -> Option<&Key> {
        self.named.get(name).or(self.common.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_is_for_one_role_and_one_pair_of_hellos() {
        let key = Key::new(b"0123456789abcdef").unwrap();
        let other = Key::new(b"0123456789abcdeg").unwrap();
        let hellos = |connector, listener| Hellos {
            connector,
            listener,
        };
        let proof = key.prove(Role::Connector, hellos(b"ab", b"c"));
        assert!(key.verify(Role::Connector, hellos(b"ab", b"c"), &proof));
        assert!(!key.verify(Role::Listener, hellos(b"ab", b"c"), &proof));
        assert!(!key.verify(Role::Connector, hellos(b"a", b"bc"), &proof));
        assert!(!key.verify(Role::Connector, hellos(b"c", b"ab"), &proof));
        assert!(!other.verify(Role::Connector, hellos(b"ab", b"c"), &proof));
        assert!(matches!(
            Key::new(b"short"),
            Err(KeyError::TooShort { length: 5 })
        ));
    }

    #[test]
    fn a_named_key_comes_before_the_common_one() {
        let [a, b] = [b"0123456789abcdef", b"fedcba9876543210"].map(|s| Key::new(s).unwrap());
        let keys = Keys::common(a.clone()).named("hub", b);
        let hellos = Hellos {
            connector: b"",
            listener: b"",
        };
        let proof = a.prove(Role::Listener, hellos);
        assert!(keys.of("x").unwrap().verify(Role::Listener, hellos, &proof));
        assert!(
            !keys
                .of("hub")
                .unwrap()
                .verify(Role::Listener, hellos, &proof)
        );
        assert!(Keys::none().of("x").is_none());
    }
}
