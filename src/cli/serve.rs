//! `bayeux serve`: the server, from start to stop.

use std::thread::Builder;

use clap::ArgMatches;

use super::output::{Failure, say};
use super::settings::settings;
use super::signals::{Signal, Signals};
use super::{logging, memory};
use crate::config::Config;
use crate::server::{Server, ServerBuilder};
use crate::util::from_here;

/// Serves until a signal comes, then drains and stops.
pub(super) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    run_with(matches, |builder| builder)
}

/// As `run`, with a server to which something was added.
pub(super) fn run_with(
    matches: &ArgMatches,
    add: impl FnOnce(ServerBuilder) -> ServerBuilder,
) -> Result<(), Failure> {
    let loaded = settings(matches)?;
    let config = loaded.config;
    logging::install(&config)?;
    for warning in &loaded.warnings {
        log::warn!("{warning}");
    }
    memory::prepare();
    // Before anything is served, so that a stop is never mistaken for a crash.
    let mut signals =
        Signals::catch(reloads(&config)).map_err(|error| Failure::unable("signals", error))?;
    let deadline = config.shutdown_timeout;
    let server = add(Server::builder().config(config.clone())).start();
    let server = server.map_err(|error| Failure::Unable(error.to_string()))?;
    announce(&config, &server);
    wait_for_the_end(&mut signals, &server)?;
    log::info!("stopping; a second signal ends the process at once");
    server.shutdown(deadline);
    log::info!("stopped");
    Ok(())
}

/// Waits for the signal to stop, and reloads at those to reload.
fn wait_for_the_end(signals: &mut Signals, server: &Server) -> Result<(), Failure> {
    let (running, ended) = crossbeam_channel::bounded(0);
    std::thread::scope(|scope| {
        let watch = || memory::watch(|| server.in_use(), &ended);
        let thread = Builder::new().name("bayeux-memory".into());
        let thread = thread.spawn_scoped(scope, watch);
        thread.map_err(|error| Failure::unable("memory", error))?;
        // Ends the thread, however this goes out.
        let _running = running;
        while let Signal::Reload = wait(signals)? {
            reload(server);
        }
        Ok(())
    })
}

fn wait(signals: &mut Signals) -> Result<Signal, Failure> {
    let signal = signals.wait();
    signal.map_err(|error| Failure::unable("signals", error))
}

/// Whether there is anything to read again at SIGHUP; if not, it ends the process as ever.
#[cfg(feature = "tls")]
fn reloads(config: &Config) -> bool {
    config.tls_cert.is_some() || config.link_tls_cert.is_some()
}

#[cfg(not(feature = "tls"))]
fn reloads(_config: &Config) -> bool {
    false
}

#[cfg(feature = "tls")]
fn reload(server: &Server) {
    match server.reload_tls() {
        Ok(()) => log::info!("certificate and key read again"),
        Err(error) => log::error!("certificate and key stay as they were: {error}"),
    }
}

#[cfg(not(feature = "tls"))]
fn reload(_server: &Server) {}

/// Tells where the server is, once it accepts connections.
fn announce(config: &Config, server: &Server) {
    // Whoever reads the log later has not seen what was said to the terminal.
    let say = |line: std::fmt::Arguments<'_>| {
        say(line);
        if config.log_file.is_some() {
            log::info!("{line}");
        }
    };
    for address in server.local_addrs() {
        let scheme = server.scheme();
        say(format_args!(
            "listening on {scheme}://{address}{}",
            config.site.mount
        ));
    }
    if let Some(address) = server.link_addr() {
        say(format_args!("links on {address}"));
    }
    if let Some(address) = server.internal_addr() {
        say(format_args!("metrics on http://{address}/metrics"));
    }
    if let (true, Some(&address)) = (config.serves_demo(), server.local_addrs().first()) {
        say(format_args!(
            "open {}://{}/ in a browser for the demo pages",
            server.scheme(),
            from_here(address)
        ));
    }
}
