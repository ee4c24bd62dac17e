//! The command line: `bayeux serve`, `publish`, `subscribe`, `call`, `shell`, `link`, `check`.
//!
//! In scope: arguments, signals, the log writer, exit codes, what is printed where. Out of scope:
//! what the settings mean (`config`) and what they do (`server`, `client`, `link`).
//!
//! Exit codes: 0 done; 1 it could not be done; 2 it was called or configured wrongly. Results go
//! to standard output, everything else to standard error.

mod arguments;
mod client;
mod link;
mod logging;
mod memory;
mod output;
mod serve;
mod settings;
mod shell;
mod signals;
mod subscribe;

use std::process::ExitCode;

use crate::server::ServerBuilder;

/// Runs the program with the arguments and the environment of the process.
pub fn main() -> ExitCode {
    let matches = match arguments::program().try_get_matches() {
        Ok(matches) => matches,
        Err(error) => return output::usage(&error),
    };
    let done = match matches.subcommand() {
        None => serve::run(&matches),
        Some(("serve", matches)) => serve::run(matches),
        Some(("publish", matches)) => client::publish(matches),
        Some(("subscribe", matches)) => subscribe::run(matches),
        Some(("call", matches)) => client::call(matches),
        Some(("shell", matches)) => shell::run(matches),
        Some(("link", matches)) => link::run(matches),
        Some(("check", matches)) => settings::check(matches),
        Some((other, _)) => unreachable!("because {other} is no subcommand of the table"),
    };
    ended(done)
}

/// Serves like `bayeux serve`, with the same settings from the arguments, the environment and the
/// file, a server to which `add` has added services, a policy and the like. For programs of their
/// own around the library.
///
/// Panics are told in the log, by a hook that is set before `add` is called.
pub fn serve(add: impl FnOnce(ServerBuilder) -> ServerBuilder) -> ExitCode {
    match arguments::server().try_get_matches() {
        Ok(matches) => ended(serve::run_with(&matches, add)),
        Err(error) => output::usage(&error),
    }
}

fn ended(done: Result<(), output::Failure>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
