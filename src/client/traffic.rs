//! The log of what comes and goes: channel, id, size and outcome of each message.
//!
//! Neither data nor `ext` nor the session's id are in it: whoever reads a log must not be able to
//! act as the client, or learn what it was told.

use std::fmt::Write as _;

use log::Level::Debug;

use super::message::Message;
use super::transport::Via;
use super::wire;

/// A batch leaves.
pub(crate) fn leaves(via: Via, body: &str) {
    if log::log_enabled!(Debug) {
        for message in wire::decode(body.as_bytes()).unwrap_or_default() {
            log::debug!(">>> {} {}", via.name(), summary(&message));
        }
    }
}

/// Messages have come.
pub(crate) fn came(via: Via, messages: &[Message]) {
    if log::log_enabled!(Debug) {
        for message in messages {
            log::debug!("<<< {} {}", via.name(), summary(message));
        }
    }
}

fn summary(message: &Message) -> String {
    let mut line = message.channel().to_owned();
    if let Some(id) = message.id() {
        let _ = write!(line, " id {id}");
    }
    if message.has_data() {
        let _ = write!(line, ", {} bytes", message.data_json().len());
    }
    match (message.successful(), message.error()) {
        (Some(true), _) => line.push_str(", successful"),
        (Some(false), error) => {
            let _ = write!(line, ", failed: {}", error.unwrap_or_default());
        }
        (None, _) => {}
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_has_no_secrets() {
        for (json, line) in [
            (
                r#"{"channel":"/meta/handshake","id":"1","ext":{"password":"secret"}}"#,
                "/meta/handshake id 1",
            ),
            (
                r#"{"channel":"/meta/handshake","id":"1","clientId":"secret","successful":true}"#,
                "/meta/handshake id 1, successful",
            ),
            (
                r#"{"channel":"/a","data":"secret","clientId":"secret"}"#,
                "/a, 8 bytes",
            ),
            (
                r#"{"channel":"/a","id":7,"successful":false,"error":"403:no:publish_denied"}"#,
                "/a id 7, failed: 403:no:publish_denied",
            ),
        ] {
            assert_eq!(summary(&Message::parse(json).unwrap()), line);
        }
    }
}
