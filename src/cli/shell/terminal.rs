//! Where commands come from and lines go to: a terminal with an editor, or pipes.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::Arc;

use parking_lot::Mutex;
use rustyline::error::ReadlineError;
use rustyline::{DefaultEditor, ExternalPrinter};

use crate::cli::printable;

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
                // Without a history the line is still obeyed.
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
    /// A message or an answer.
    pub(super) fn line(&self, line: &str) {
        let mut sink = self.0.lock();
        let written = match &mut *sink {
            Sink::Printer(printer) => printer.print(format!("{line}\n")).map_err(plain),
            Sink::Pipes => {
                let mut out = io::stdout().lock();
                writeln!(out, "{line}").and_then(|()| out.flush())
            }
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
                drop(printer.print(format!("{}\n", printable::lines(line))));
            }
            Sink::Pipes | Sink::Closed => crate::cli::failure::say(line),
        }
    }
}

fn plain(error: ReadlineError) -> io::Error {
    match error {
        ReadlineError::Io(error) => error,
        other => io::Error::other(other.to_string()),
    }
}
