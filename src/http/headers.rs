//! The headers of a request: a view over what the parser found, looked up by name in any case.

/// The header lines of one request, in the order they came.
#[derive(Clone, Copy, Debug)]
pub struct Headers<'a> {
    lines: &'a [httparse::Header<'a>],
    /// The host that a trusted proxy says the client asked for.
    reported_host: Option<&'a str>,
}

impl<'a> Headers<'a> {
    /// A view over parsed lines. Their values have no surrounding white space.
    pub fn new(lines: &'a [httparse::Header<'a>]) -> Self {
        Self {
            lines,
            reported_host: None,
        }
    }

    /// The same, with the host that a trusted proxy reports.
    pub(super) fn with_host(self, reported_host: Option<&'a str>) -> Self {
        Self {
            reported_host,
            ..self
        }
    }

    /// The host that counts instead of `Host`, if there is one.
    pub(super) fn reported_host(&self) -> Option<&'a str> {
        self.reported_host
    }

    /// All lines.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> + use<'a> {
        self.lines.iter().map(|line| (line.name, line.value))
    }

    /// A copy of all lines, for user code on other threads.
    pub(super) fn to_owned(self) -> Vec<(String, Vec<u8>)> {
        let lines = self.iter();
        lines
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }

    /// The value of the first line with this name.
    pub fn get(&self, name: &str) -> Option<&'a [u8]> {
        self.get_all(name).next()
    }

    /// The value of the first line with this name, if it is text and not empty.
    pub fn text(&self, name: &str) -> Option<&'a str> {
        let text = std::str::from_utf8(self.get(name)?).ok()?;
        Some(text).filter(|text| !text.is_empty())
    }

    /// The values of all lines with this name.
    pub fn get_all<'n>(&self, name: &'n str) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        self.lines
            .iter()
            .filter(move |line| line.name.eq_ignore_ascii_case(name))
            .map(|line| line.value)
    }

    /// The elements of a comma-separated list that may be spread over several lines.
    pub fn list<'n>(&self, name: &'n str) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        self.get_all(name)
            .flat_map(|value| value.split(|byte| *byte == b','))
            .map(<[u8]>::trim_ascii)
            .filter(|element| !element.is_empty())
    }

    /// Whether such a list has this element, in any case: `Connection` and `close`, say.
    pub fn list_has(&self, name: &str, element: &str) -> bool {
        self.list(name)
            .any(|found| found.eq_ignore_ascii_case(element.as_bytes()))
    }
}

/// In a copy of header lines, the value of the first with this name, in any case, if it is text.
pub(super) fn text_of<'a>(lines: &'a [(String, Vec<u8>)], name: &str) -> Option<&'a str> {
    let mut lines = lines.iter();
    let (_, value) = lines.find(|(found, _)| found.eq_ignore_ascii_case(name))?;
    std::str::from_utf8(value).ok()
}

/// Whether this is a token (RFC 9110, 5.6.2): what names of headers and of cookies are.
pub(crate) fn is_token(text: &[u8]) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !text.is_empty() && text.iter().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use httparse::Header;

    #[test]
    fn names_are_found_in_any_case_and_lists_across_lines() {
        let lines = [
            Header {
                name: "Host",
                value: b"a.example",
            },
            Header {
                name: "CONNECTION",
                value: b"keep-alive, , Upgrade",
            },
            Header {
                name: "connection",
                value: b" close ",
            },
            Header {
                name: "Origin",
                value: b"",
            },
            Header {
                name: "X-Bytes",
                value: b"\xff",
            },
        ];
        let headers = Headers::new(&lines);
        assert_eq!(headers.get("hOST"), Some(&b"a.example"[..]));
        assert_eq!(headers.get("Ho"), None);
        assert_eq!(headers.get("origin"), Some(&b""[..]));
        assert_eq!(headers.text("origin"), None);
        assert_eq!(headers.text("x-bytes"), None);
        assert_eq!(headers.text("host"), Some("a.example"));
        assert_eq!(headers.get_all("Connection").count(), 2);
        let list: Vec<_> = headers.list("connection").collect();
        assert_eq!(list, [&b"keep-alive"[..], b"Upgrade", b"close"]);
        assert!(headers.list_has("Connection", "CLOSE"));
        assert!(!headers.list_has("Connection", "clos"));
        let copy = headers.to_owned();
        assert_eq!(copy.len(), lines.len());
        assert_eq!(copy[4], ("X-Bytes".to_owned(), b"\xff".to_vec()));
    }

    #[test]
    fn tokens() {
        for text in ["a", "X-CSRF-Token", "*", "__Host-x", "0~"] {
            assert!(is_token(text.as_bytes()), "{text}");
        }
        for text in [
            "", "a b", "a:", "a=b", "a;", "a,b", "\"a\"", "a\t", "\u{e9}",
        ] {
            assert!(!is_token(text.as_bytes()), "{text}");
        }
    }
}
