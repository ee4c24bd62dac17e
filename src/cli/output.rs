//! What the program prints, how it ends, and how text of others is made fit for a terminal: shown
//! with escapes for what would command it.

use std::borrow::Cow;
use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use crate::config::Problem;

/// Why the program ends without success.
#[derive(Debug)]
pub(super) enum Failure {
    /// It was called or configured wrongly: one line for each fault.
    Wrong(Vec<String>),
    /// It could not do what it was asked for.
    Unable(String),
}

impl Failure {
    /// It was called wrongly.
    pub(super) fn wrong(line: String) -> Self {
        Self::Wrong(vec![line])
    }

    /// It could not be done, and why.
    pub(super) fn unable(what: impl Display, why: impl Display) -> Self {
        Self::Unable(format!("{what}: {why}"))
    }

    /// Prints it and gives the exit code.
    pub(super) fn report(self) -> ExitCode {
        match self {
            Self::Wrong(lines) => {
                for line in lines {
                    say(format_args!("error: {line}"));
                }
                ExitCode::from(2)
            }
            Self::Unable(line) => {
                say(format_args!("error: {line}"));
                ExitCode::FAILURE
            }
        }
    }
}

impl From<Vec<Problem>> for Failure {
    fn from(problems: Vec<Problem>) -> Self {
        Self::Wrong(problems.iter().map(Problem::to_string).collect())
    }
}

/// Prints what the argument parser has to say: help to standard output, faults to standard error.
pub(super) fn usage(error: &clap::Error) -> ExitCode {
    // If nobody reads it, nobody misses it.
    let _ = error.print();
    if error.use_stderr() {
        ExitCode::from(2)
    } else {
        ExitCode::SUCCESS
    }
}

/// A line on standard error, in one write, so that whoever reads along never gets a part of it. A
/// closed one is no reason to stop. Control characters that a server put in are shown as escapes.
pub(super) fn say(line: impl Display) {
    let line = format!("{}\n", printable_lines(&line.to_string()));
    let _ = io::stderr().write_all(line.as_bytes());
}

/// A result: a line on standard output, at once, as the reader may be waiting for it.
pub(super) fn print(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(format!("{line}\n").as_bytes())?;
    out.flush()
}

/// One line of text. Control characters are shown as escapes.
pub(super) fn printable(text: &str) -> Cow<'_, str> {
    escaped(text, |c, out| out.extend(c.escape_default()))
}

/// The same with the line breaks left as they are.
pub(super) fn printable_lines(text: &str) -> Cow<'_, str> {
    escaped(text, |c, out| match c {
        '\n' => out.push(c),
        c => out.extend(c.escape_default()),
    })
}

/// JSON in one line. It is the same JSON: white space stands between its parts only, and of the
/// other control characters those beyond ASCII may stand as they are in its strings, or escaped.
pub(super) fn printable_json(json: &str) -> Cow<'_, str> {
    escaped(json, |c, out| match c {
        '\n' | '\r' | '\t' => out.push(' '),
        c => out.push_str(&format!("\\u{:04x}", u32::from(c))),
    })
}

fn escaped(text: &str, escape: impl Fn(char, &mut String)) -> Cow<'_, str> {
    if !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c.is_control() {
            true => escape(c, &mut out),
            false => out.push(c),
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(printable("caf\u{e9} \"x\""), "caf\u{e9} \"x\"");
        assert_eq!(
            printable("a\u{1b}[2J\u{9b}J\r\n"),
            "a\\u{1b}[2J\\u{9b}J\\r\\n"
        );
        assert_eq!(printable_lines("a\u{1b}c\nb\u{7}"), "a\\u{1b}c\nb\\u{7}");
    }

    #[test]
    fn json_fits_a_line_and_stays_the_same() {
        assert_eq!(printable_json("{\"a\":\r\n\t1}"), "{\"a\":   1}");
        let raw = "\"\u{9b}2J\u{7f}\"";
        assert_eq!(printable_json(raw), "\"\\u009b2J\\u007f\"");
        let read = |text: &str| serde_json::from_str::<String>(text).unwrap();
        assert_eq!(read(&printable_json(raw)), read(raw));
    }
}
