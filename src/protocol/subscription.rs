//! The `subscription` of subscribe and unsubscribe.

use super::channel::Pattern;
use super::error::{self, ErrorText};
use super::json;

/// Why a `subscription` is refused, all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SubscriptionError {
    /// It is `null`.
    Missing,
    /// No pattern, or no array with one or more patterns.
    Invalid,
}

impl SubscriptionError {
    /// For the reply.
    pub(crate) fn text(self) -> ErrorText {
        match self {
            Self::Missing => error::subscription_missing(),
            Self::Invalid => error::subscription_invalid(),
        }
    }
}

/// The patterns in a raw JSON string or array of strings. Patterns below `/meta` and `/service` are
/// valid here; what becomes of them is the broker's decision.
pub(crate) fn parse_subscriptions(raw: &str) -> Result<Vec<Pattern>, SubscriptionError> {
    match raw.as_bytes().first() {
        Some(b'n') => Err(SubscriptionError::Missing),
        Some(b'"') => pattern(raw).map(|pattern| vec![pattern]),
        _ => patterns(raw),
    }
}

fn patterns(raw: &str) -> Result<Vec<Pattern>, SubscriptionError> {
    let mut patterns = Ok(Vec::new());
    let is_array = json::for_each_element(raw, |element| {
        if let Ok(list) = &mut patterns {
            match pattern(element) {
                Ok(pattern) => list.push(pattern),
                Err(error) => patterns = Err(error),
            }
        }
    });
    is_array.ok_or(SubscriptionError::Invalid)?;
    patterns.and_then(|list| {
        if list.is_empty() {
            Err(SubscriptionError::Invalid)
        } else {
            Ok(list)
        }
    })
}

fn pattern(raw: &str) -> Result<Pattern, SubscriptionError> {
    json::decode(raw)
        .and_then(|text| Pattern::try_from(&*text).ok())
        .ok_or(SubscriptionError::Invalid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_alone_or_in_an_array() {
        let table: &[(&str, &[&str])] = &[
            (r#""/a""#, &["/a"]),
            (r#"["/a"]"#, &["/a"]),
            (r#"[ "/a" , "/b/*","/**"]"#, &["/a", "/b/*", "/**"]),
            (r#"["/a","/a"]"#, &["/a", "/a"]),
            (r#""\/\u0061""#, &["/a"]),
            (
                r#"["/meta/**","/service/x","/meta"]"#,
                &["/meta/**", "/service/x", "/meta"],
            ),
        ];
        for (raw, expected) in table {
            let patterns = parse_subscriptions(raw).unwrap();
            let texts: Vec<&str> = patterns.iter().map(Pattern::as_str).collect();
            assert_eq!(texts, *expected, "{raw}");
        }
    }

    #[test]
    fn everything_else_is_invalid() {
        let table = [
            "[]",
            "{}",
            "5",
            "true",
            "false",
            r#""""#,
            r#""a""#,
            r#"["/a","b"]"#,
            r#"["/a",5]"#,
            r#"["/a",null]"#,
            r#"[["/a"]]"#,
            r#""\ud800""#,
            r#"["/a/*/b"]"#,
            r#"{"/a":"/a"}"#,
        ];
        for raw in table {
            assert_eq!(
                parse_subscriptions(raw),
                Err(SubscriptionError::Invalid),
                "{raw}"
            );
        }
        assert_eq!(
            SubscriptionError::Invalid.text().as_str(),
            "403::subscription_invalid"
        );
    }

    #[test]
    fn null_is_as_good_as_nothing() {
        assert_eq!(parse_subscriptions("null"), Err(SubscriptionError::Missing));
        assert_eq!(
            SubscriptionError::Missing.text().as_str(),
            "403::subscription_missing"
        );
    }
}
