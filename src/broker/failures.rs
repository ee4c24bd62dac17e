//! Messages that fail: counted by the code of their error, and told at the log level `debug`. Those
//! that somebody or some limit refuses are told as refusals too.

use std::net::IpAddr;

use crate::counters::Counter;
use crate::protocol::{ERROR_CODES, ErrorText, ReplyTo, Shown, ShownId};
use crate::refusals::{Reason, Refusals};

/// How many messages failed with each code.
#[derive(Debug, Default)]
pub(crate) struct Failures([Counter; ERROR_CODES.len()]);

impl Failures {
    /// Counts a message that fails.
    pub(crate) fn count(&self, error: &ErrorText) {
        let at = ERROR_CODES.iter().position(|code| *code == error.code());
        self.0[at.expect("because a test looks for the code of every error")].one();
    }

    /// Every code, in rising order, and how many messages failed with it.
    pub(crate) fn snapshot(&self) -> [(u16, u64); ERROR_CODES.len()] {
        std::array::from_fn(|at| (ERROR_CODES[at], self.0[at].get()))
    }
}

/// Lines for the log about messages that fail, until no lock is held and they may be written. None
/// but of refusals while the level is off.
#[derive(Default)]
pub(crate) struct Lines {
    failed: Vec<String>,
    refused: Vec<(Reason, String)>,
}

impl Lines {
    pub(crate) fn add(&mut self, to: &ReplyTo<'_>, error: &ErrorText) {
        if log::log_enabled!(log::Level::Debug) {
            self.failed.push(format!("failed: {}", line(to, error)));
        }
    }

    /// Why the message fails that is added besides.
    pub(crate) fn refuse(&mut self, reason: Reason, to: &ReplyTo<'_>, error: &ErrorText) {
        self.refused.push((reason, line(to, error)));
    }

    /// Writes those of messages that failed; refusals wait.
    pub(crate) fn write_failed(&mut self) {
        for line in self.failed.drain(..) {
            log::debug!("{line}");
        }
    }

    /// Writes all, and counts the refusals. The messages came from this address.
    pub(crate) fn write_all(&mut self, refusals: &Refusals, ip: IpAddr) {
        self.write_failed();
        for (reason, line) in self.refused.drain(..) {
            refusals.count(reason, format_args!("{line}, at {ip}"));
        }
    }
}

/// Says what failed and why, with nothing in it that could be a credential.
fn line(to: &ReplyTo<'_>, error: &ErrorText) -> String {
    let channel = match serde_json::from_str::<String>(to.channel_raw) {
        Ok(channel) => Shown(&channel).to_string(),
        Err(_) => "a message without a channel".to_owned(),
    };
    let channel: String = channel.escape_debug().take(CHANNEL).collect();
    let from = ShownId(to.client_id);
    let (code, text) = (error.code(), error.text());
    format!("{channel} from {from}: {code} {text}")
}

/// Characters of a channel that are shown; none that is valid has more.
const CHANNEL: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::error;

    const ID: &str = "0123456789abcdefghijklmnoz";

    #[test]
    fn each_code_has_a_number_of_its_own() {
        let failures = Failures::default();
        failures.count(&error::busy("/a"));
        failures.count(&error::session_unknown());
        failures.count(&error::missing_parameter("data"));
        let counted: Vec<_> = failures
            .snapshot()
            .into_iter()
            .filter(|(_, n)| *n > 0)
            .collect();
        assert_eq!(counted, [(402, 2), (503, 1)]);
    }

    #[test]
    fn lines_hold_no_credentials() {
        for (channel_raw, client_id, shown) in [
            (r#""/a""#, Some(ID), "/a from 0123.."),
            (r#""/a""#, None, "/a from nobody"),
            (r#""/a""#, Some("secret"), "/a from what is no client id"),
            (
                "\"\\/p\\/0123456789abcdefghijklm\\u006eoz\\/x\"",
                None,
                "/p/0123../x from nobody",
            ),
            (r#""/a\n""#, None, "/a\\n from nobody"),
            ("", None, "a message without a channel from nobody"),
            ("5", None, "a message without a channel from nobody"),
        ] {
            let to = ReplyTo {
                channel_raw,
                id: None,
                client_id,
                subscription: None,
            };
            let said = line(&to, &error::publish_denied("secret"));
            assert_eq!(said, format!("{shown}: 403 publish_denied"));
        }
    }
}
