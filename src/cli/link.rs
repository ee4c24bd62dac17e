//! `bayeux link`: looks at linked processes, posts to them and calls them.

use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use clap::ArgMatches;
use crossbeam_channel::Receiver;
use serde_json::Value;
use serde_json::value::RawValue;

use super::arguments::{self, timeout, value};
use super::output::{Failure, printable, printable_json, say};
use crate::config::exposed;
use crate::link::{
    CallError, Config, Event, FaultKind, Key, KeyError, Keys, LinkEnd, Node, PostError,
};

/// How long the first link may take: somebody is waiting at a terminal.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// When nothing has been heard for so long, everything has been told.
const QUIET: Duration = Duration::from_millis(150);
/// For the last words to the peer.
const GRACE: Duration = Duration::from_secs(1);

/// Links this process with the one at the address, does one thing and leaves.
pub(super) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let Some((what, matches)) = matches.subcommand() else {
        unreachable!("because the parser asks for a subcommand");
    };
    let (node, events) = connect(matches)?;
    let done = match what {
        "aliases" => aliases(&node, &events),
        "post" => post(&node, matches),
        _ => call(&node, matches),
    };
    node.shutdown(GRACE);
    done?;
    // Observers have ended with the node: all has been told. One message was posted at most.
    match events.try_iter().find_map(rejection) {
        Some((alias, reason)) => Err(Failure::unable(&alias, reason)),
        None => Ok(()),
    }
}

/// A post has arrived, and its receiver did not carry it out.
fn rejection(event: Event) -> Option<(String, FaultKind)> {
    match event {
        Event::Rejected { alias, reason, .. } => Some((alias, reason)),
        _ => None,
    }
}

/// How the node is to be, from the arguments.
fn config(matches: &ArgMatches) -> Result<Config, Failure> {
    let given = |name: &str| matches.get_one::<String>(name).map(String::as_str);
    let key = given("key-file").map(key).transpose()?;
    // The parser asks for one of them.
    let mut config = Config::with_keys(Keys::of_all(key));
    config.name = given("name").map(str::to_owned);
    if let Some(certificate) = given("tls-cert") {
        set_tls(&mut config, certificate, matches)?;
    }
    Ok(config)
}

/// Says so if everybody on this machine can read a file with a secret.
fn look_at(file: &str) {
    if let Some(warning) = exposed(Path::new(file)) {
        say(format_args!("warning: {warning}"));
    }
}

fn key(file: &str) -> Result<Key, Failure> {
    look_at(file);
    Key::from_file(Path::new(file)).map_err(|error| match error {
        KeyError::TooShort { .. } => Failure::wrong(format!("{file}: {error}")),
        error => Failure::unable(file, error),
    })
}

#[cfg(feature = "tls")]
fn set_tls(config: &mut Config, certificate: &str, matches: &ArgMatches) -> Result<(), Failure> {
    use crate::link::Tls;
    use crate::tcp::tls::rustls::pki_types::ServerName;

    look_at(value(matches, "tls-key"));
    let file = |name| Path::new(value(matches, name));
    let tls = Tls::from_files(Path::new(certificate), file("tls-key"), file("tls-ca"));
    let mut tls = tls.map_err(|error| Failure::Unable(error.to_string()))?;
    if let Some(name) = matches.get_one::<String>("tls-server-name") {
        let parsed = ServerName::try_from(name.clone())
            .map_err(|_| Failure::wrong(format!("--tls-server-name: `{name}` is no name")))?;
        tls = tls.server_name(parsed);
    }
    config.set_tls(tls);
    Ok(())
}

#[cfg(not(feature = "tls"))]
fn set_tls(_config: &mut Config, _certificate: &str, _matches: &ArgMatches) -> Result<(), Failure> {
    let why = "this program was built without TLS; build it with the feature `tls`";
    Err(Failure::wrong(format!("--tls-cert: {why}")))
}

/// A name that cannot be one is the caller's fault; else the system gives no threads.
fn unstarted(error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::InvalidInput => Failure::wrong(format!("--name: {error}")),
        _ => Failure::unable("link", error),
    }
}

fn connect(matches: &ArgMatches) -> Result<(Node, Receiver<Event>), Failure> {
    let address = value(matches, "address");
    let node = Node::start(config(matches)?).map_err(|error| unstarted(&error))?;
    let (seen, events) = crossbeam_channel::unbounded();
    node.observe(move |event| drop(seen.send(event.clone())));
    node.connect(address)
        .map_err(|error| Failure::unable(address, error))?;
    let mut last = None;
    let until = crossbeam_channel::after(CONNECT_TIMEOUT);
    loop {
        crossbeam_channel::select! {
            recv(events) -> event => match event {
                Ok(Event::NodeUp { .. }) => return Ok((node, events)),
                Ok(Event::LinkFailed { reason, .. }) => match reason {
                    LinkEnd::Connection(_) => last = Some(reason),
                    // Trying again would bring the same.
                    reason => return Err(Failure::unable(address, reason)),
                },
                _ => {}
            },
            recv(until) -> _ => {
                let why = last.map_or_else(|| "no link in time".to_owned(), |end| end.to_string());
                return Err(Failure::unable(address, why));
            }
        }
    }
}

/// One line for each alias: its name, and the node that exports it.
fn aliases(node: &Node, events: &Receiver<Event>) -> Result<(), Failure> {
    while events.recv_timeout(QUIET).is_ok() {}
    for alias in node.aliases() {
        let (name, owner) = (printable(&alias.alias), printable(&alias.owner_name));
        print(format_args!("{name}\t{owner}\t{}", alias.owner))?;
    }
    Ok(())
}

fn post(node: &Node, matches: &ArgMatches) -> Result<(), Failure> {
    let (alias, event, args) = message(matches)?;
    let timeout = timeout(matches)?;
    find(node, alias, timeout)?;
    node.post(alias, event, args)
        .map_err(|error| failure(error.into()))?;
    if node.flush(timeout) {
        Ok(())
    } else {
        Err(Failure::Unable(format!(
            "{alias} has not confirmed it in time"
        )))
    }
}

fn call(node: &Node, matches: &ArgMatches) -> Result<(), Failure> {
    let (alias, event, args) = message(matches)?;
    let timeout = timeout(matches)?;
    find(node, alias, timeout)?;
    let value: Value = node.call(alias, event, args, timeout).map_err(failure)?;
    print(format_args!("{}", printable_json(&value.to_string())))
}

fn find(node: &Node, alias: &str, timeout: Duration) -> Result<(), Failure> {
    if node.wait_for(alias, timeout.min(CONNECT_TIMEOUT)) {
        return Ok(());
    }
    Err(Failure::unable(alias, PostError::UnknownAlias))
}

fn message(matches: &ArgMatches) -> Result<(&str, &str, &RawValue), Failure> {
    let args = arguments::json(value(matches, "json")).map_err(Failure::wrong)?;
    Ok((value(matches, "alias"), value(matches, "event"), args))
}

fn failure(error: CallError) -> Failure {
    match error {
        CallError::NotSent(PostError::Name(_) | PostError::TooLarge { .. }) => {
            Failure::Wrong(vec![error.to_string()])
        }
        error => Failure::Unable(error.to_string()),
    }
}

fn print(line: std::fmt::Arguments<'_>) -> Result<(), Failure> {
    match writeln!(io::stdout(), "{line}") {
        // Whoever closed it has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(Failure::unable("standard output", error)),
        Ok(()) => Ok(()),
    }
}
