//! How the program ends when it does not succeed.

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use super::printable;
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
/// closed one is no reason to stop. What a server said in it is not obeyed by the terminal.
pub(super) fn say(line: impl Display) {
    let _ = io::stderr().write_all(format!("{}\n", printable::lines(&line.to_string())).as_bytes());
}
