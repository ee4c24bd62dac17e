//! Where commands come from and lines go to: a terminal with an editor, or pipes.

use std::io::{self, IsTerminal as _};
use std::sync::Arc;

use parking_lot::Mutex;
use rustyline::error::ReadlineError;
use rustyline::{DefaultEditor, ExternalPrinter};
use serde_json::{Map, Value};

use crate::cli::output::{self, printable, printable_json, printable_lines};
use crate::client::Message;

/// The side that is read.
pub(super) struct Terminal {
    /// `None`: standard input is no terminal, or standard output is none.
    editor: Option<DefaultEditor>,
    output: Output,
}

/// What was read.
pub(super) enum Line {
    Text(String),
    /// Control-C.
    Interrupted,
    End,
}

/// The side that is written; for any thread.
#[derive(Clone)]
pub(super) struct Output(Arc<Mutex<Sink>>);

enum Sink {
    /// Prints above the line that is being edited.
    Printer(Box<dyn ExternalPrinter + Send>),
    Pipes,
    /// Nobody reads any longer.
    Closed,
}

impl Terminal {
    pub(super) fn open() -> io::Result<Self> {
        let interactive = io::stdin().is_terminal() && io::stdout().is_terminal();
        let (editor, sink) = match interactive {
            true => {
                let mut editor = DefaultEditor::new().map_err(plain)?;
                let printer = editor.create_external_printer().map_err(plain)?;
                (Some(editor), Sink::Printer(Box::new(printer)))
            }
            false => (None, Sink::Pipes),
        };
        let output = Output(Arc::new(Mutex::new(sink)));
        Ok(Self { editor, output })
    }

    pub(super) fn output(&self) -> Output {
        self.output.clone()
    }

    pub(super) fn is_interactive(&self) -> bool {
        self.editor.is_some()
    }

    /// Blocks for the next line.
    pub(super) fn read(&mut self) -> io::Result<Line> {
        let Some(editor) = &mut self.editor else {
            let mut line = String::new();
            return Ok(match io::stdin().read_line(&mut line)? {
                0 => Line::End,
                _ => Line::Text(line),
            });
        };
        match editor.readline("> ") {
            Ok(line) => {
                // Without a history the line is still executed.
                let _ = editor.add_history_entry(&line);
                Ok(Line::Text(line))
            }
            Err(ReadlineError::Interrupted) => Ok(Line::Interrupted),
            Err(ReadlineError::Eof) => Ok(Line::End),
            Err(error) => Err(plain(error)),
        }
    }
}

impl Output {
    /// A message or an answer: its JSON, or a line for people.
    pub(super) fn message(&self, json: bool, message: &Message) {
        let line = &match json {
            true => printable_json(message.json()).into_owned(),
            false => readable(message),
        };
        let mut sink = self.0.lock();
        let written = match &mut *sink {
            Sink::Printer(printer) => printer.print(format!("{line}\n")).map_err(plain),
            Sink::Pipes => output::print(line),
            Sink::Closed => Ok(()),
        };
        if written.is_err() {
            *sink = Sink::Closed;
        }
    }

    /// What happened besides.
    pub(super) fn note(&self, line: &str) {
        self.aside(&format!("-- {line}"));
    }

    /// What went wrong.
    pub(super) fn error(&self, line: &str) {
        self.aside(&format!("error: {line}"));
    }

    /// Whether there is nobody to write for.
    pub(super) fn is_closed(&self) -> bool {
        matches!(&*self.0.lock(), Sink::Closed)
    }

    fn aside(&self, line: &str) {
        match &mut *self.0.lock() {
            // If it is gone, the next message tells.
            Sink::Printer(printer) => {
                drop(printer.print(format!("{}\n", printable_lines(line))));
            }
            Sink::Pipes | Sink::Closed => output::say(line),
        }
    }
}

fn plain(error: ReadlineError) -> io::Error {
    match error {
        ReadlineError::Io(error) => error,
        other => io::Error::other(other.to_string()),
    }
}

/// One line for a message. Chats read like chats; everything else shows its JSON.
fn readable(message: &Message) -> String {
    let channel = message.channel();
    let data = printable_json(message.data_json());
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
    printable(&line).into_owned()
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

#[cfg(test)]
mod tests {
    use super::*;

    fn message(json: &str) -> Message {
        Message::parse(json).unwrap()
    }

    #[test]
    fn messages_for_people() {
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
            printable_json(raw.json()),
            "{\"channel\":\"/a\",\"data\":\"\\u009b2J\\u007f\"}"
        );
        let same = message(&printable_json(raw.json()))
            .data::<String>()
            .unwrap();
        assert_eq!(same, "\u{9b}2J\u{7f}");
    }
}
