//! Ids under which remote receivers see who published: no credentials, and not to be guessed.

use siphasher::sip128::SipHasher24;

/// Makes public ids from the numbers of sessions, with a key for the life of the process: they
/// tell publishers apart and nothing else, not even how many there are.
pub(crate) struct PublicIds(SipHasher24);

impl PublicIds {
    pub(crate) fn new() -> Result<Self, getrandom::Error> {
        let mut key = [0; 16];
        getrandom::fill(&mut key)?;
        Ok(Self(SipHasher24::new_with_key(&key)))
    }

    /// Sixteen hexadecimal digits, always the same for a session.
    pub(crate) fn of(&self, number: u64) -> String {
        let hash = self.0.hash(&number.to_be_bytes());
        format!("{:016x}", hash.h1)
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
