//! The opening handshake (RFC 6455, 4.2).

use tungstenite::handshake::derive_accept_key;

use crate::http::Headers;

/// Why the upgrade cannot be accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::connectors::native) enum Unacceptable {
    /// Another version than 13, or none: status 426.
    Version,
    /// The key is not one value of 16 bytes: status 400.
    Key,
}

/// Judges a request that asks for the upgrade; returns what `Sec-WebSocket-Accept` is to say.
///
/// Whatever extensions and subprotocols the client offers are declined by not being mentioned.
pub(in crate::connectors::native) fn accept(headers: &Headers<'_>) -> Result<String, Unacceptable> {
    if headers.get("sec-websocket-version") != Some(b"13") {
        return Err(Unacceptable::Version);
    }
    let mut keys = headers.get_all("sec-websocket-key");
    match (keys.next(), keys.next()) {
        (Some(key), None) if is_key(key) => Ok(derive_accept_key(key)),
        _ => Err(Unacceptable::Key),
    }
}

/// Appends the answer after which the connection is a WebSocket.
pub(in crate::connectors::native) fn write_accepted(out: &mut Vec<u8>, accept: &str) {
    out.extend_from_slice(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
          Sec-WebSocket-Accept: ",
    );
    out.extend_from_slice(accept.as_bytes());
    out.extend_from_slice(b"\r\n\r\n");
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

    fn judge(fields: &[(&'static str, &'static str)]) -> Result<String, Unacceptable> {
        let fields: Vec<Header<'_>> = fields
            .iter()
            .map(|(name, value)| Header {
                name,
                value: value.as_bytes(),
            })
            .collect();
        accept(&Headers::new(&fields))
    }

    #[test]
    fn the_example_of_the_standard() {
        let accepted = judge(&[
            ("sec-websocket-version", "13"),
            ("Sec-WebSocket-Key", KEY),
            ("Sec-WebSocket-Extensions", "permessage-deflate"),
            ("Sec-WebSocket-Protocol", "chat"),
        ]);
        let accept = accepted.unwrap();
        assert_eq!(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        let mut out = Vec::new();
        write_accepted(&mut out, &accept);
        let text = String::from_utf8(out).unwrap();
        assert!(text.ends_with("Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"));
        assert!(!text.contains("Protocol:") && !text.contains("Extensions"));
    }

    #[test]
    fn versions_and_keys() {
        let version = ("Sec-WebSocket-Version", "13");
        for other in ["", "12", "8", "130", "13, 8", "x"] {
            assert_eq!(
                judge(&[("Sec-WebSocket-Version", other), ("Sec-WebSocket-Key", KEY)]),
                Err(Unacceptable::Version),
                "{other:?}"
            );
        }
        assert_eq!(
            judge(&[("Sec-WebSocket-Key", KEY)]),
            Err(Unacceptable::Version)
        );
        assert_eq!(judge(&[version]), Err(Unacceptable::Key));
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
                judge(&[version, ("Sec-WebSocket-Key", key)]),
                Err(Unacceptable::Key),
                "{key:?}"
            );
        }
        let twice = [
            version,
            ("Sec-WebSocket-Key", KEY),
            ("Sec-WebSocket-Key", KEY),
        ];
        assert_eq!(judge(&twice), Err(Unacceptable::Key));
    }
}
