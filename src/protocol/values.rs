//! Values of message fields that have rules of their own.

use super::json;
use super::message::AdviceRequest;

/// Longest id, in bytes: of the text of a string, of the digits of a number.
const MAX_ID: usize = 128;

/// A string of 1 to 128 bytes, or an integer of no more digits.
pub(super) fn is_valid_id(raw: &str) -> bool {
    if raw.starts_with('"') {
        return json::decode(raw).is_some_and(|text| (1..=MAX_ID).contains(&text.len()));
    }
    let digits = raw.strip_prefix('-').unwrap_or(raw);
    (1..=MAX_ID).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// The wishes in an `advice` object; those that are no sensible numbers are overlooked.
pub(super) fn advice_request(raw: &str) -> AdviceRequest {
    AdviceRequest {
        timeout: json::field(raw, "timeout").and_then(milliseconds),
        interval: json::field(raw, "interval").and_then(milliseconds),
    }
}

/// A number that is not negative, without its fraction. What is too large to count is as good as
/// forever.
fn milliseconds(raw: &str) -> Option<u64> {
    if let Ok(whole) = raw.parse() {
        return Some(whole);
    }
    let number: f64 = raw.parse().ok()?;
    (number >= 0.0).then_some(number as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids() {
        let longest = format!("\"{}\"", "x".repeat(MAX_ID));
        let escaped = format!("\"{}\"", "\\u0078".repeat(MAX_ID));
        let digits = "9".repeat(MAX_ID);
        let valid = [
            "0",
            "-0",
            "17",
            "-5",
            "\"0\"",
            "\" \"",
            "\"\u{20ac}\"",
            &longest,
            &escaped,
            &digits,
        ];
        for raw in valid {
            assert!(is_valid_id(raw), "{raw}");
        }
        let longer = format!("\"{}x\"", "x".repeat(MAX_ID));
        let wider = format!("\"{}\"", "\u{20ac}".repeat(43));
        let more = "9".repeat(MAX_ID + 1);
        let invalid = [
            "\"\"",
            "1.0",
            "1e3",
            "-",
            "true",
            "[]",
            "{}",
            "\"\\ud800\"",
            &longer,
            &wider,
            &more,
        ];
        for raw in invalid {
            assert!(!is_valid_id(raw), "{raw}");
        }
    }

    #[test]
    fn wishes() {
        let table = [
            ("0", Some(0)),
            ("30000", Some(30_000)),
            ("1.9", Some(1)),
            ("3e4", Some(30_000)),
            ("-0", Some(0)),
            ("18446744073709551615", Some(u64::MAX)),
            ("1e99", Some(u64::MAX)),
            ("1e999", Some(u64::MAX)),
            ("-1", None),
            ("-0.5", None),
            ("\"5\"", None),
            ("true", None),
            ("null", None),
            ("[1]", None),
        ];
        for (raw, expected) in table {
            let advice = format!("{{\"timeout\":{raw},\"other\":[5]}}");
            let request = AdviceRequest {
                timeout: expected,
                interval: None,
            };
            assert_eq!(advice_request(&advice), request, "{raw}");
        }
        let both = AdviceRequest {
            timeout: Some(1),
            interval: Some(2),
        };
        assert_eq!(advice_request("{\"interval\":2,\"timeout\":1}"), both);
    }
}
