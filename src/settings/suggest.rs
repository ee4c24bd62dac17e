//! "Did you mean": the known word nearest to a misspelt one.

use strsim::osa_distance;

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
