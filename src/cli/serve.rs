//! `bayeux serve`: the server, from start to stop.

use std::fmt::Arguments;
use std::thread::Builder;

use clap::ArgMatches;

use super::logging::{self, ServerLog};
use super::memory;
use super::output::Failure;
use super::settings::settings;
use super::signals::{Signal, Signals};
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
    memory::prepare();
    let log = logging::install(&config)?;
    for warning in &loaded.warnings {
        log::warn!("{warning}");
    }
    // Before anything is served, so that a stop is never mistaken for a crash.
    let signals = Signals::catch(true);
    let mut signals = signals.map_err(|error| Failure::unable("signals", error))?;
    let deadline = config.shutdown_timeout;
    let server = Server::builder().config(config.clone()).log(log.writer());
    let server = add(server).start();
    let server = server.map_err(|error| Failure::Unable(error.to_string()))?;
    announce(&config, &server, &log);
    let look = || {
        log.tick();
        server.in_use()
    };
    let reload = || {
        log.reopen();
        server.reopen_access_log();
        reload_tls(&config, &server);
    };
    wait_for_the_end(&mut signals, look, reload)?;
    log::info!("stopping; a second signal ends the process at once");
    server.shutdown(deadline);
    log::info!("stopped");
    Ok(())
}

/// Waits for the signal to stop; reloads at those to reload, and looks around in between.
fn wait_for_the_end(
    signals: &mut Signals,
    look: impl Fn() -> u64 + Send,
    reload: impl Fn(),
) -> Result<(), Failure> {
    let (running, ended) = crossbeam_channel::bounded(0);
    std::thread::scope(|scope| {
        let watch = || memory::watch(look, &ended);
        let thread = Builder::new().name("bayeux-memory".into());
        let thread = thread.spawn_scoped(scope, watch);
        thread.map_err(|error| Failure::unable("memory", error))?;
        // Ends the thread, however this goes out.
        let _running = running;
        while let Signal::Reload = wait(signals)? {
            reload();
        }
        Ok(())
    })
}

fn wait(signals: &mut Signals) -> Result<Signal, Failure> {
    let signal = signals.wait();
    signal.map_err(|error| Failure::unable("signals", error))
}

#[cfg(feature = "tls")]
fn reload_tls(config: &Config, server: &Server) {
    if config.tls_cert.is_none() && config.link_tls_cert.is_none() {
        return;
    }
    match server.reload_tls() {
        Ok(()) => log::info!("certificate and key read again"),
        Err(error) => log::error!("certificate and key stay as they were: {error}"),
    }
}

#[cfg(not(feature = "tls"))]
fn reload_tls(_config: &Config, _server: &Server) {}

/// Tells where the server is, once it accepts connections.
fn announce(config: &Config, server: &Server, log: &ServerLog) {
    let say = |line: Arguments<'_>| log.say(line);
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
