//! The opening handshake (RFC 6455, 4.2).

use data_encoding::BASE64;
use sha1_smol::Sha1;

use crate::http::{Headers, is_token};

/// Why the upgrade cannot be accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unacceptable {
    /// Another version than 13, or none: status 426.
    Version,
    /// The key is not one value of 16 bytes: status 400.
    Key,
}

/// What the answer to the handshake says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Accepted<'a> {
    /// For `Sec-WebSocket-Accept`.
    key: String,
    /// The first subprotocol that is offered. Bayeux is spoken under any name, but browsers give a
    /// connection up when they have offered some and none is chosen.
    protocol: Option<&'a str>,
}

/// Checks a request that asks for the upgrade. Extensions that the client offers are declined by
/// not being mentioned.
pub(crate) fn accept<'a>(headers: &Headers<'a>) -> Result<Accepted<'a>, Unacceptable> {
    if headers.get("sec-websocket-version") != Some(b"13") {
        return Err(Unacceptable::Version);
    }
    let mut keys = headers.get_all("sec-websocket-key");
    match (keys.next(), keys.next()) {
        (Some(key), None) if is_key(key) => Ok(Accepted {
            key: accept_key(key),
            protocol: headers
                .list("sec-websocket-protocol")
                .next()
                .and_then(token),
        }),
        _ => Err(Unacceptable::Key),
    }
}

/// Appends the answer after which the connection is a WebSocket; `headers` are further lines of it.
pub(crate) fn write_accepted(out: &mut Vec<u8>, accepted: &Accepted<'_>, headers: &[u8]) {
    out.extend_from_slice(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
          Sec-WebSocket-Accept: ",
    );
    out.extend_from_slice(accepted.key.as_bytes());
    if let Some(protocol) = accepted.protocol {
        out.extend_from_slice(b"\r\nSec-WebSocket-Protocol: ");
        out.extend_from_slice(protocol.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(headers);
    out.extend_from_slice(b"\r\n");
}

fn accept_key(key: &[u8]) -> String {
    let mut hash = Sha1::from(key);
    hash.update(ACCEPT_SUFFIX.as_bytes());
    BASE64.encode(&hash.digest().bytes())
}

/// What RFC 6455, 1.3, puts behind the key.
const ACCEPT_SUFFIX: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The text, if it is the name of a subprotocol.
fn token(text: &[u8]) -> Option<&str> {
    std::str::from_utf8(text).ok().filter(|_| is_token(text))
}

/// Whether these are 16 bytes in base64.
fn is_key(key: &[u8]) -> bool {
    let letters = key.strip_suffix(b"==").unwrap_or_default();
    let is_letter = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/".contains(byte);
    letters.len() == 22 && letters.iter().all(is_letter)
}

#[cfg(test)]
mod tests {
    use super::*;
    use httparse::Header;

    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

    /// The key and the subprotocol of the answer.
    fn check(
        fields: &[(&'static str, &'static str)],
    ) -> Result<(String, Option<String>), Unacceptable> {
        let fields: Vec<Header<'_>> = fields
            .iter()
            .map(|(name, value)| Header {
                name,
                value: value.as_bytes(),
            })
            .collect();
        let accepted = accept(&Headers::new(&fields))?;
        Ok((accepted.key, accepted.protocol.map(str::to_owned)))
    }

    #[test]
    fn the_example_of_the_standard() {
        let accepted = check(&[
            ("sec-websocket-version", "13"),
            ("Sec-WebSocket-Key", KEY),
            ("Sec-WebSocket-Extensions", "permessage-deflate"),
        ]);
        let (key, protocol) = accepted.unwrap();
        assert_eq!(key, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(protocol, None);
    }

    #[test]
    fn the_first_subprotocol_is_chosen() {
        let first = |offers: &[&'static str]| {
            let offers = offers
                .iter()
                .map(|offer| ("Sec-WebSocket-Protocol", *offer));
            let fields = [("Sec-WebSocket-Version", "13"), ("Sec-WebSocket-Key", KEY)];
            let fields: Vec<_> = fields.into_iter().chain(offers).collect();
            check(&fields).unwrap().1
        };
        for (offers, chosen) in [
            (&[][..], None),
            (&[""], None),
            (&["bayeux"], Some("bayeux")),
            (&["v1.bayeux , v2.bayeux"], Some("v1.bayeux")),
            (&["a", "b"], Some("a")),
            (&["a b"], None),
            (&["\"a\""], None),
        ] {
            assert_eq!(first(offers).as_deref(), chosen, "{offers:?}");
        }
    }

    #[test]
    fn the_answer_says_what_was_agreed_on() {
        let answer = |protocol| {
            let key = "key".to_owned();
            let mut out = Vec::new();
            write_accepted(&mut out, &Accepted { key, protocol }, b"X: y\r\n");
            String::from_utf8(out).unwrap()
        };
        assert!(answer(None).ends_with("\r\nSec-WebSocket-Accept: key\r\nX: y\r\n\r\n"));
        let end = "Accept: key\r\nSec-WebSocket-Protocol: bayeux\r\nX: y\r\n\r\n";
        assert!(answer(Some("bayeux")).ends_with(end));
        assert!(!answer(Some("bayeux")).contains("Extensions"));
    }

    #[test]
    fn versions_and_keys() {
        let version = ("Sec-WebSocket-Version", "13");
        for other in ["", "12", "8", "130", "13, 8", "x"] {
            assert_eq!(
                check(&[("Sec-WebSocket-Version", other), ("Sec-WebSocket-Key", KEY)]),
                Err(Unacceptable::Version),
                "{other:?}"
            );
        }
        assert_eq!(
            check(&[("Sec-WebSocket-Key", KEY)]),
            Err(Unacceptable::Version)
        );
        assert_eq!(check(&[version]), Err(Unacceptable::Key));
        for key in [
            "",
            "short",
            "dGhlIHNhbXBsZSBub25jZQ",
            "dGhlIHNhbXBsZSBub25jZQ= ",
            "dGhlIHNhbXBsZSBub25jZ===",
            "dGhlIHNhbXBsZSBub25jZQAA",
            "dGhlIHNhbXBsZSBub25jZSEhIQ==",
            "dGhlIHNhbXBsZSBub-5jZQ==",
            "======================",
        ] {
            assert_eq!(
                check(&[version, ("Sec-WebSocket-Key", key)]),
                Err(Unacceptable::Key),
                "{key:?}"
            );
        }
        let twice = [
            version,
            ("Sec-WebSocket-Key", KEY),
            ("Sec-WebSocket-Key", KEY),
        ];
        assert_eq!(check(&twice), Err(Unacceptable::Key));
    }
}
