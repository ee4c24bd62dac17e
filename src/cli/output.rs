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
/// closed one is no reason to stop. What a server put in that is not for show is shown as escapes.
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

/// One line of text. What is not for show (see [`is_hidden`]) is shown as escapes.
pub(super) fn printable(text: &str) -> Cow<'_, str> {
    escaped(text, |c, out| match c {
        '\n' | '\r' | '\t' => out.extend(c.escape_default()),
        c => out.extend(c.escape_unicode()),
    })
}

/// The same with the line breaks left as they are.
pub(super) fn printable_lines(text: &str) -> Cow<'_, str> {
    escaped(text, |c, out| match c {
        '\n' => out.push(c),
        c => out.push_str(&printable(c.encode_utf8(&mut [0; 4]))),
    })
}

/// JSON in one line. It is the same JSON: white space stands between its parts only, and whatever
/// is not for show may stand as it is in its strings, or escaped.
pub(super) fn printable_json(json: &str) -> Cow<'_, str> {
    escaped(json, |c, out| match c {
        '\n' | '\r' | '\t' => out.push(' '),
        c => {
            for unit in c.encode_utf16(&mut [0; 2]) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        }
    })
}

fn escaped(text: &str, escape: impl Fn(char, &mut String)) -> Cow<'_, str> {
    if !text.contains(is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match is_hidden(c) {
            true => escape(c, &mut out),
            false => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// Whether a character is not for show but does something to what is shown: control characters,
/// those that separate lines and paragraphs, and those of format, which turn the direction of
/// writing among other things (Unicode's categories Cc, Zl, Zp and Cf).
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}'
            | '\u{890}' | '\u{891}' | '\u{8e2}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}' | '\u{110bd}' | '\u{110cd}'
            | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0001}' | '\u{e0020}'..='\u{e007f}')
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

    /// What turns the direction of writing, or makes a line of its own, says who it is.
    #[test]
    fn what_does_something_to_what_is_shown_is_escaped() {
        for c in [
            '\u{202e}', '\u{2066}', '\u{2028}', '\u{2029}', '\u{85}', '\u{200f}', '\u{feff}',
        ] {
            let text = format!("a{c}b");
            let escape = c.escape_unicode();
            assert_eq!(printable(&text), format!("a{escape}b"));
            assert_eq!(printable_lines(&text), format!("a{escape}b"));
            assert_eq!(printable_json(&text), format!("a\\u{:04x}b", u32::from(c)));
        }
        // A tag beyond the first 65536 characters.
        assert_eq!(printable_json("\u{e0041}"), "\\udb40\\udc41");
        // Letters of all kinds, accents by themselves, spaces, emoji.
        let shown = "caf\u{e9} e\u{301} \u{5e9}\u{5dc}\u{5d5}\u{5dd} \u{a0}\u{3000}\u{1f600}";
        assert_eq!(printable(shown), shown);
    }

    #[test]
    fn json_fits_a_line_and_stays_the_same() {
        assert_eq!(printable_json("{\"a\":\r\n\t1}"), "{\"a\":   1}");
        let raw = "\"\u{9b}2J\u{7f}\u{202e}\u{e0041}\"";
        let escaped = "\"\\u009b2J\\u007f\\u202e\\udb40\\udc41\"";
        assert_eq!(printable_json(raw), escaped);
        let read = |text: &str| serde_json::from_str::<String>(text).unwrap();
        assert_eq!(read(&printable_json(raw)), read(raw));
    }
}
