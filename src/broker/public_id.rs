//! Ids under which remote receivers see who published: no credentials, and not to be guessed.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Makes public ids from the numbers of sessions, with a key for the life of the process: they
/// tell publishers apart and nothing else, not even how many there are.
pub(crate) struct PublicIds([u8; 32]);

impl PublicIds {
    pub(crate) fn new() -> Result<Self, getrandom::Error> {
        let mut key = [0; 32];
        getrandom::fill(&mut key)?;
        Ok(Self(key))
    }

    /// Sixteen hexadecimal digits, always the same for a session.
    pub(crate) fn of(&self, number: u64) -> String {
        let mac = Hmac::<Sha256>::new_from_slice(&self.0);
        let mut mac = mac.expect("because this kind of key may have any length");
        mac.update(&number.to_be_bytes());
        let hash = mac.finalize().into_bytes();
        let digits = hash.iter().take(8).map(|byte| format!("{byte:02x}"));
        digits.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_for_each_session_and_process() {
        let (ids, others) = (PublicIds::new().unwrap(), PublicIds::new().unwrap());
        assert_eq!(ids.of(1).len(), 16);
        assert_eq!(ids.of(1), ids.of(1));
        assert_ne!(ids.of(1), ids.of(2));
        assert_ne!(ids.of(1), others.of(1));
    }
}
