//! What users can type.

use serde_json::value::RawValue;

use crate::cli::arguments;

/// One line, understood.
#[derive(Clone, Copy, Debug)]
pub(super) enum Command<'a> {
    Publish {
        channel: &'a str,
        data: &'a RawValue,
    },
    Say {
        text: &'a str,
    },
    Subscribe {
        channel: &'a str,
    },
    Unsubscribe {
        channel: &'a str,
    },
    Call {
        service: &'a str,
        data: &'a RawValue,
    },
    Connect,
    Disconnect,
    Help,
    Quit,
}

/// The answer to `help`.
pub(super) const HELP: &str = "\
publish CHANNEL JSON   publish a message
say TEXT               publish {\"user\":...,\"chat\":TEXT} on the channel used last
subscribe CHANNEL      show the messages of a channel or pattern
unsubscribe CHANNEL    no longer
call SERVICE JSON      ask a service and show its answer
disconnect             leave the server
connect                come back, with a new session
quit                   leave the server and the shell (also at the end of the input)";

impl<'a> Command<'a> {
    /// `None` for an empty line or a comment; otherwise what is wrong with it.
    pub(super) fn parse(line: &'a str) -> Result<Option<Self>, String> {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            return Ok(None);
        }
        let (name, rest) = word(line);
        let one = |usage: &str| match word(rest) {
            (channel, "") if !channel.is_empty() => Ok(channel),
            _ => Err(format!("usage: {usage}")),
        };
        let none = |command| match rest {
            "" => Ok(command),
            _ => Err(format!("usage: {name}")),
        };
        let two = |usage: &str| match word(rest) {
            (_, "") => Err(format!("usage: {usage}")),
            (channel, json) => Ok((channel, arguments::json(json)?)),
        };
        Ok(Some(match name {
            "publish" => {
                let (channel, data) = two("publish CHANNEL JSON")?;
                Self::Publish { channel, data }
            }
            "say" if rest.is_empty() => return Err("usage: say TEXT".into()),
            "say" => Self::Say { text: rest },
            "subscribe" => Self::Subscribe {
                channel: one("subscribe CHANNEL")?,
            },
            "unsubscribe" => Self::Unsubscribe {
                channel: one("unsubscribe CHANNEL")?,
            },
            "call" => {
                let (service, data) = two("call SERVICE JSON")?;
                Self::Call { service, data }
            }
            "connect" => none(Self::Connect)?,
            "disconnect" => none(Self::Disconnect)?,
            "help" | "?" => none(Self::Help)?,
            "quit" | "exit" => none(Self::Quit)?,
            other => return Err(format!("unknown command `{other}`; `help` lists them")),
        }))
    }
}

/// The first word, and the rest.
fn word(text: &str) -> (&str, &str) {
    match text.split_once(char::is_whitespace) {
        Some((word, rest)) => (word, rest.trim()),
        None => (text, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_command_has_its_form() {
        for (line, expected) in [
            (
                "publish /a {\"x\": 1}",
                "Publish { channel: \"/a\", data: RawValue({\"x\": 1}) }",
            ),
            ("  say  hello  there ", "Say { text: \"hello  there\" }"),
            ("subscribe\t/a/**", "Subscribe { channel: \"/a/**\" }"),
            ("unsubscribe /a", "Unsubscribe { channel: \"/a\" }"),
            (
                "call /service/x []",
                "Call { service: \"/service/x\", data: RawValue([]) }",
            ),
            ("connect", "Connect"),
            ("disconnect", "Disconnect"),
            ("?", "Help"),
            ("exit", "Quit"),
        ] {
            let command = Command::parse(line).unwrap().unwrap();
            assert_eq!(format!("{command:?}"), expected);
        }
        for nothing in ["", "  \t", "# say hello"] {
            assert!(Command::parse(nothing).unwrap().is_none());
        }
    }

    #[test]
    fn mistakes_are_explained() {
        for (line, why) in [
            ("publish", "usage: publish CHANNEL JSON"),
            ("publish /a", "usage: publish CHANNEL JSON"),
            ("publish /a {", "`{` is not JSON"),
            ("publish /a hello", "did you mean '\"hello\"'?"),
            ("say", "usage: say TEXT"),
            ("subscribe", "usage: subscribe CHANNEL"),
            ("subscribe /a /b", "usage: subscribe CHANNEL"),
            ("quit now", "usage: quit"),
            ("dance", "unknown command `dance`; `help` lists them"),
        ] {
            let said = Command::parse(line).unwrap_err();
            assert!(said.contains(why), "{said}");
        }
        for line in HELP.lines() {
            let name = line.split(' ').next().unwrap();
            let known = Command::parse(name).map_or_else(|why| !why.contains("unknown"), |_| true);
            assert!(known, "{line}");
        }
    }
}
