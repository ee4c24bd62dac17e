//! `bayeux serve`: the server, from start to stop.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use clap::ArgMatches;

use super::failure::{Failure, say};
use super::logging;
use super::settings::settings;
use super::signals::Signals;
use crate::config::Config;
use crate::server::Server;

/// Serves until a signal comes, then drains and stops.
pub(super) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let loaded = settings(matches)?;
    let config = loaded.config;
    logging::install(&config)?;
    for warning in &loaded.warnings {
        log::warn!("{warning}");
    }
    // Before anything is served, so that a stop is never mistaken for a crash.
    let signals = Signals::catch().map_err(|error| Failure::unable("signals", error))?;
    let deadline = config.shutdown_timeout;
    let server = Server::builder().config(config.clone()).start();
    let server = server.map_err(|error| Failure::Unable(error.to_string()))?;
    announce(&config, &server);
    signals
        .wait()
        .map_err(|error| Failure::unable("signals", error))?;
    log::info!("stopping; a second signal ends the process at once");
    server.shutdown(deadline);
    log::info!("stopped");
    Ok(())
}

/// Tells where the server is, once it accepts connections.
fn announce(config: &Config, server: &Server) {
    for address in server.local_addrs() {
        say(format_args!("listening on http://{address}{}", config.path));
    }
    if let Some(address) = server.link_addr() {
        say(format_args!("links on {address}"));
    }
    if let Some(address) = server.ops_addr() {
        say(format_args!("metrics on http://{address}/metrics"));
    }
    if let (true, Some(&address)) = (config.serves_demo(), server.local_addrs().first()) {
        say(format_args!(
            "open http://{}/ in a browser for the demo pages",
            from_here(address)
        ));
    }
}

/// The address under which this machine reaches a listener: one that listens on all addresses is
/// reached on the loopback.
fn from_here(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reachable_addresses() {
        for (listening, reachable) in [
            ("127.0.0.1:80", "127.0.0.1:80"),
            ("10.0.0.1:80", "10.0.0.1:80"),
            ("0.0.0.0:80", "127.0.0.1:80"),
            ("[::]:80", "[::1]:80"),
        ] {
            assert_eq!(
                from_here(listening.parse().unwrap()),
                reachable.parse().unwrap()
            );
        }
    }
}
