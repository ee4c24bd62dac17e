//! `bayeux shell URL`: commands from a terminal or a script, messages as they come.

mod command;
mod session;
mod terminal;

use clap::ArgMatches;

use super::arguments;
use super::output::Failure;
use command::Command;
use session::{Failed, Session};
use terminal::{Line, Terminal};

/// Executes commands until `quit` or the end of the input.
pub(super) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let timeout = arguments::timeout(matches)?;
    let mut terminal = Terminal::open().map_err(|error| Failure::unable("terminal", error))?;
    let mut session = Session::new(matches, terminal.output(), timeout);
    session.connect()?;
    let mut failed = false;
    loop {
        let line = match terminal.read() {
            Ok(Line::Text(line)) => line,
            // As shells do: the line is given up, not the session.
            Ok(Line::Interrupted) => continue,
            Ok(Line::End) => break,
            Err(error) => return Err(Failure::unable("standard input", error)),
        };
        let done = match Command::parse(&line).map_err(Failed) {
            Ok(None) => Ok(()),
            Ok(Some(Command::Quit)) => break,
            Ok(Some(command)) => session.execute(command),
            Err(wrong) => Err(wrong),
        };
        if let Err(Failed(why)) = done {
            failed = true;
            session.output().error(&why);
        }
        if session.output().is_closed() {
            break;
        }
    }
    session.disconnect();
    match failed && !terminal.is_interactive() {
        true => Err(Failure::Unable("a command failed".into())),
        false => Ok(()),
    }
}
