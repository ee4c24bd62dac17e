//! JSON that users type.

use serde_json::value::RawValue;

/// The text, if it is JSON, to be sent as it was typed; else what is wrong with it.
pub(super) fn json(text: &str) -> Result<&RawValue, String> {
    serde_json::from_str(text).map_err(|error| {
        // A shell takes the quotes away, so a word is the most frequent mistake.
        let word = text
            .chars()
            .all(|c| c.is_alphanumeric() || " .,!?-_".contains(c));
        let hint = match word && !text.trim().is_empty() {
            true => format!("; did you mean '\"{text}\"'?"),
            false => String::new(),
        };
        format!("`{text}` is not JSON: {error}{hint}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_json_and_stays_as_it_is() {
        for good in ["null", "1.50", "\"a\\u00e9\"", "{\"b\":1, \"a\" : [ ]}"] {
            assert_eq!(json(good).unwrap().get(), good);
        }
        let wrong = |text| json(text).unwrap_err();
        assert!(wrong("hello world").ends_with("did you mean '\"hello world\"'?"));
        assert!(wrong("{\"a\":}").starts_with("`{\"a\":}` is not JSON: "));
        assert!(!wrong("{\"a\":}").contains("did you mean"));
        assert!(!wrong("").contains("did you mean"));
        assert!(wrong("1 2").contains("is not JSON"));
    }
}
