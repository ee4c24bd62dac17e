//! Which content codings a client takes.

use crate::http::headers::Headers;

/// Whether the client takes gzip: by its name, or by `*` when it is not named.
pub(super) fn accepts_gzip(headers: &Headers<'_>) -> bool {
    let mut star = false;
    for element in headers.list("accept-encoding") {
        let mut parts = element.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        let coding = parts.next().unwrap_or_default();
        let wanted = !parts.any(is_zero_weight);
        if coding.eq_ignore_ascii_case(b"gzip") || coding.eq_ignore_ascii_case(b"x-gzip") {
            return wanted;
        }
        star |= coding == b"*" && wanted;
    }
    star
}

/// `q=0`, `q=0.0` and so on.
fn is_zero_weight(parameter: &[u8]) -> bool {
    let weight = parameter
        .strip_prefix(b"q=")
        .or_else(|| parameter.strip_prefix(b"Q="));
    weight.is_some_and(|weight| weight.iter().all(|byte| matches!(byte, b'0' | b'.')))
}

#[cfg(test)]
mod tests {
    use super::*;
    use httparse::Header;

    #[test]
    fn gzip_is_taken_when_named_or_covered() {
        for (value, takes) in [
            ("gzip", true),
            ("GZIP", true),
            ("br, x-gzip;q=0.5", true),
            ("gzip, deflate, br", true),
            ("*", true),
            ("gzip;q=0", false),
            ("gzip; q=0.000", false),
            ("gzip;q=0, *", false),
            ("*, gzip;q=0", false),
            ("*;q=0", false),
            ("identity", false),
            ("gzipx", false),
            ("", false),
        ] {
            let lines = [Header {
                name: "accept-encoding",
                value: value.as_bytes(),
            }];
            assert_eq!(accepts_gzip(&Headers::new(&lines)), takes, "{value}");
        }
        assert!(!accepts_gzip(&Headers::new(&[])));
    }
}
