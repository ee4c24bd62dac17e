//! `bayeux publish URL CHANNEL JSON`.

use clap::ArgMatches;
use serde_json::value::RawValue;

use super::failure::Failure;
use super::remote;
use crate::client::Error;
use crate::protocol::ChannelName;

/// Publishes one message and waits until the server has acknowledged it.
pub(super) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let channel = remote::argument(matches, "channel");
    // Said before anybody is asked, so that a mistake costs no time.
    if ChannelName::try_from(channel).is_err() {
        return Err(remote::failure(Error::Channel(channel.to_owned())));
    }
    let data = data(remote::argument(matches, "json"))?;
    let client = remote::client(matches).connect().map_err(remote::failure)?;
    client.publish(channel, data).map_err(remote::failure)?;
    Ok(())
}

/// The data, which is sent as it was typed.
pub(super) fn data(text: &str) -> Result<&RawValue, Failure> {
    serde_json::from_str(text).map_err(|error| {
        // A shell takes the quotes away, so a word is the most frequent mistake.
        let quoted = format!("'\"{text}\"'");
        let word = text
            .chars()
            .all(|c| c.is_alphanumeric() || " .,!?-_".contains(c));
        let hint = if word {
            format!("; did you mean {quoted}?")
        } else {
            String::new()
        };
        Failure::Wrong(vec![format!("`{text}` is not JSON: {error}{hint}")])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_json_and_stays_as_it_is() {
        for good in ["null", "1.50", "\"a\\u00e9\"", "{\"b\":1, \"a\" : [ ]}"] {
            assert_eq!(data(good).unwrap().get(), good);
        }
        let wrong = |text| match data(text) {
            Err(Failure::Wrong(lines)) => lines.concat(),
            other => panic!("{other:?}"),
        };
        assert!(wrong("hello world").ends_with("did you mean '\"hello world\"'?"));
        assert!(wrong("{\"a\":}").starts_with("`{\"a\":}` is not JSON: "));
        assert!(!wrong("{\"a\":}").contains("did you mean"));
        assert!(wrong("1 2").contains("is not JSON"));
    }
}
