//! Messages for people to read.

use serde_json::{Map, Value};

use crate::cli::printable;
use crate::client::Message;

/// One line for a message. Chats read like chats; everything else shows its JSON.
pub(super) fn readable(message: &Message) -> String {
    let channel = message.channel();
    let data = printable::json(message.data_json());
    let line = if channel.starts_with("/service/") {
        let outcome = match message.successful() {
            Some(false) => "unsuccessful ",
            _ => "successful ",
        };
        let error = message.error().map(|error| error + " ").unwrap_or_default();
        format!("[{channel}] {outcome}{error}{data}")
    } else {
        let object = message.data::<Map<String, Value>>().ok();
        let talk = object.and_then(|object| talk(&object));
        talk.unwrap_or_else(|| format!("[{channel}] {data}"))
    };
    printable::line(&line).into_owned()
}

/// What the conventions of chats make of the data.
fn talk(data: &Map<String, Value>) -> Option<String> {
    let text = |name: &str| data.get(name).and_then(Value::as_str);
    let name = text("user").or(text("name")).unwrap_or("somebody");
    if let Some(chat) = text("chat") {
        return Some(format!("{name}: {chat}"));
    }
    if let Some(action) = text("action") {
        return Some(format!("{name} {action}"));
    }
    if let Some(report) = text("queueMessage") {
        let queue = text("queue").unwrap_or_default();
        return Some(format!("Queue {queue} reports \"{report}\""));
    }
    match data.get("typing")? {
        Value::Bool(false) => Some(format!("{name} has stopped typing")),
        Value::Bool(true) => Some(format!("{name} is typing")),
        _ => None,
    }
}

/// The whole message.
pub(super) fn json(message: &Message) -> String {
    printable::json(message.json()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(json: &str) -> Message {
        Message::parse(json).unwrap()
    }

    #[test]
    fn what_people_see() {
        for (json, line) in [
            (
                r#"{"channel":"/a","data":{"user":"me","chat":"hi"}}"#,
                "me: hi",
            ),
            (
                r#"{"channel":"/a","data":{"name":"me","chat":"hi"}}"#,
                "me: hi",
            ),
            (r#"{"channel":"/a","data":{"chat":"hi"}}"#, "somebody: hi"),
            (
                r#"{"channel":"/a","data":{"user":"me","action":"waves"}}"#,
                "me waves",
            ),
            (
                r#"{"channel":"/a","data":{"queue":"q","queueMessage":"full"}}"#,
                "Queue q reports \"full\"",
            ),
            (
                r#"{"channel":"/a","data":{"user":"me","typing":true}}"#,
                "me is typing",
            ),
            (
                r#"{"channel":"/a","data":{"user":"me","typing":false}}"#,
                "me has stopped typing",
            ),
            (r#"{"channel":"/a","data":{"x":1}}"#, r#"[/a] {"x":1}"#),
            ("{\"channel\":\"/a\",\"data\":[1,\n2]}", "[/a] [1, 2]"),
            (
                r#"{"channel":"/service/x","data":1}"#,
                "[/service/x] successful 1",
            ),
            (
                r#"{"channel":"/service/x","successful":false,"error":"no","data":{}}"#,
                "[/service/x] unsuccessful no {}",
            ),
        ] {
            assert_eq!(readable(&message(json)), line);
        }
    }

    #[test]
    fn terminals_are_not_commanded_by_others() {
        let evil =
            message("{\"channel\":\"/a\",\"data\":{\"user\":\"x\",\"chat\":\"\\u001b[2J\"}}");
        assert_eq!(readable(&evil), "x: \\u{1b}[2J");
        let raw = message("{\"channel\":\"/a\",\"data\":\"\u{9b}2J\u{7f}\"}");
        assert_eq!(
            json(&raw),
            "{\"channel\":\"/a\",\"data\":\"\\u009b2J\\u007f\"}"
        );
        let same = message(&json(&raw)).data::<String>().unwrap();
        assert_eq!(same, "\u{9b}2J\u{7f}");
    }
}
