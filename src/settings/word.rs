//! Settings that are one of a few words.

use log::LevelFilter;

use super::kind::{Form, Kind};
use super::suggest::nearest;

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

impl<T> Word<T> {
    pub(crate) const KIND: Self = Self(std::marker::PhantomData);
}

impl<T: Named> Kind for Word<T> {
    type Value = T;

    fn parse(&self, text: &str) -> Result<T, String> {
        let plain = text.to_ascii_lowercase().replace('_', "-");
        if let Some(&(_, value)) = T::WORDS.iter().find(|(word, _)| *word == plain) {
            return Ok(value);
        }
        let words: Vec<&str> = T::WORDS.iter().map(|(word, _)| *word).collect();
        let hint = nearest(&plain, words.iter().copied());
        let hint = hint
            .map(|word| format!("; did you mean `{word}`?"))
            .unwrap_or_default();
        Err(format!("`{text}` is none of {}{hint}", words.join(", ")))
    }

    fn form(&self) -> Form {
        let words: Vec<&str> = T::WORDS.iter().map(|(word, _)| *word).collect();
        Form::one(&words.join("|"), "")
    }
}
