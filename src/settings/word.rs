//! Settings that are one of a few words, and which one a misspelt word was meant to be.

use log::LevelFilter;
use strsim::osa_distance;

use super::kind::{Form, Kind};

/// A type whose values have words.
pub(crate) trait Named: Sized + Copy + 'static {
    /// All words with their values.
    const WORDS: &'static [(&'static str, Self)];
}

impl Named for LevelFilter {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("off", Self::Off),
        ("error", Self::Error),
        ("warn", Self::Warn),
        ("info", Self::Info),
        ("debug", Self::Debug),
        ("trace", Self::Trace),
    ];
}

/// One of the words of a type; `_` is as good as `-`.
pub(crate) struct Word<T>(std::marker::PhantomData<T>);

impl<T: Named> Word<T> {
    pub(crate) const KIND: Self = Self(std::marker::PhantomData);

    fn words() -> impl Iterator<Item = &'static str> {
        T::WORDS.iter().map(|(word, _)| *word)
    }
}

impl<T: Named> Kind for Word<T> {
    type Value = T;

    fn parse(&self, text: &str) -> Result<T, String> {
        let plain = text.to_ascii_lowercase().replace('_', "-");
        if let Some(&(_, value)) = T::WORDS.iter().find(|(word, _)| *word == plain) {
            return Ok(value);
        }
        let hint = did_you_mean(&plain, Self::words());
        let words: Vec<&str> = Self::words().collect();
        Err(format!("`{text}` is none of {}{hint}", words.join(", ")))
    }

    fn form(&self) -> Form {
        Form::one(&Self::words().collect::<Vec<_>>().join("|"), "")
    }
}

/// What to append to an error: the candidate that was probably meant, if there is one.
pub(crate) fn did_you_mean<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> String {
    nearest(word, candidates).map_or_else(String::new, |it| format!("; did you mean `{it}`?"))
}

/// The candidate with the fewest typing errors, if they are few enough to be typing errors.
pub(crate) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    // One error in three letters: more is another word, not a misspelt one.
    let most = (word.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (osa_distance(word, candidate), candidate))
        .filter(|&(errors, _)| errors <= most)
        .min_by_key(|&(errors, _)| errors)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_word() {
        let known = ["timeout", "path", "max_body"];
        for misspelt in [
            "timeout", "tiemout", "timeot", "timeoutt", "tumeout", "tmieoutt",
        ] {
            assert_eq!(nearest(misspelt, known), Some("timeout"), "{misspelt}");
        }
        assert_eq!(nearest("max-body", known), Some("max_body"));
        assert_eq!(nearest("port", known), None);
        assert_eq!(nearest("", known), None);
    }
}
