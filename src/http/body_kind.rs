//! What the body of a POST is, by its declared type.

use super::headers::Headers;

/// How a body is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyKind {
    /// JSON.
    Json,
    /// Form fields.
    Form,
    /// JSON, unless it begins with `message=`: a form of a page of another origin, which may set
    /// no other type without being asked for permission, or of a client that says nothing.
    Text,
}

impl BodyKind {
    /// By the request's `Content-Type`; no type is as good as plain text. `None` for a type that is
    /// not understood, and for any content coding.
    pub(super) fn of(headers: &Headers<'_>) -> Option<Self> {
        if headers
            .list("content-encoding")
            .any(|coding| !coding.eq_ignore_ascii_case(b"identity"))
        {
            return None;
        }
        let declared = headers.get("content-type").unwrap_or_default();
        let essence = declared
            .split(|byte| *byte == b';')
            .next()
            .unwrap_or_default()
            .trim_ascii();
        let table: [(&[u8], Self); 5] = [
            (b"application/json", Self::Json),
            (b"text/json", Self::Json),
            (b"", Self::Text),
            (b"text/plain", Self::Text),
            (b"application/x-www-form-urlencoded", Self::Form),
        ];
        let row = table
            .into_iter()
            .find(|(name, _)| essence.eq_ignore_ascii_case(name));
        row.map(|(_, kind)| kind)
    }

    /// Whether this body consists of form fields.
    pub(super) fn is_form(self, body: &[u8]) -> bool {
        match self {
            Self::Json => false,
            Self::Form => true,
            Self::Text => body.starts_with(b"message="),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use httparse::Header;

    #[test]
    fn declared_types() {
        let table = [
            ("application/json", Some(BodyKind::Json)),
            ("APPLICATION/JSON", Some(BodyKind::Json)),
            (
                "application/json; charset=utf-8; x=\"a;b\"",
                Some(BodyKind::Json),
            ),
            ("Text/Json;charset=UTF-8", Some(BodyKind::Json)),
            ("", Some(BodyKind::Text)),
            ("text/plain", Some(BodyKind::Text)),
            ("text/plain;charset=UTF-8", Some(BodyKind::Text)),
            (
                "application/x-www-form-urlencoded ; charset=UTF-8",
                Some(BodyKind::Form),
            ),
            ("text/html", None),
            ("application/xml", None),
            ("multipart/form-data; boundary=x", None),
            ("application/jsonx", None),
            ("application/jso", None),
            ("json", None),
            ("text/json-comment-filtered", None),
        ];
        for (name, kind) in table {
            let lines = [Header {
                name: "content-type",
                value: name.as_bytes(),
            }];
            assert_eq!(BodyKind::of(&Headers::new(&lines)), kind, "{name}");
        }
        assert_eq!(BodyKind::of(&Headers::new(&[])), Some(BodyKind::Text));
    }

    #[test]
    fn coded_bodies_are_not_understood() {
        for (value, understood) in [("gzip", false), ("identity", true), ("identity, br", false)] {
            let lines = [Header {
                name: "Content-Encoding",
                value: value.as_bytes(),
            }];
            assert_eq!(
                BodyKind::of(&Headers::new(&lines)).is_some(),
                understood,
                "{value}"
            );
        }
    }

    #[test]
    fn plain_text_may_be_a_form() {
        assert!(BodyKind::Text.is_form(b"message=%5B%5D"));
        assert!(!BodyKind::Text.is_form(b"[]"));
        assert!(!BodyKind::Text.is_form(b" message=[]"));
        assert!(BodyKind::Form.is_form(b"[]"));
        assert!(!BodyKind::Json.is_form(b"message=[]"));
    }
}
