//! The internal site: handlers of our own, on an address that only this machine reaches. It has a
//! connector of its own, so that it answers whatever the public site is doing.

use std::io;
use std::sync::Arc;

use super::Parts;
use super::connector::{Connector, Settings};
use super::error::StartError;
use crate::config::ListenAddress;
use crate::http::{Site, SiteConfig};
use crate::ops;

/// Serves it.
pub(super) fn start(
    address: &ListenAddress,
    public: &SiteConfig,
    parts: &Arc<Parts>,
) -> Result<Connector, StartError> {
    let refused = |source| StartError::Listen {
        address: address.to_string(),
        source,
    };
    let resolved = address.resolve().map_err(refused)?;
    if !resolved.ip().is_loopback() {
        let message = format!("{resolved} is no loopback address");
        let error = io::Error::new(io::ErrorKind::InvalidInput, message);
        return Err(refused(error));
    }
    Connector::start(
        Settings::internal(),
        &[resolved.into()],
        &site(public, parts)?,
        &parts.clock,
    )
}

/// What is served there, under the hosts of the public site.
fn site(public: &SiteConfig, parts: &Arc<Parts>) -> Result<Arc<Site>, StartError> {
    let source = Arc::clone(parts) as Arc<dyn ops::Source>;
    let handlers = vec![ops::handler(source)];
    let (broker, clock) = (parts.broker.clone(), Arc::clone(&parts.clock));
    let site = Site::internal(handlers, public, broker, clock).map_err(StartError::Site)?;
    Ok(Arc::new(site))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::time::Duration;

    use parking_lot::Mutex;

    use super::super::Server;
    use super::*;
    use crate::config::Config;
    use crate::http::{ContentRequest, Mount, Response};

    const PATIENCE: Duration = Duration::from_secs(20);

    fn loopback() -> ListenAddress {
        SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()
    }

    fn server() -> Server {
        Server::builder().config(config()).start().unwrap()
    }

    fn config() -> Config {
        Config {
            listen: vec![loopback()],
            ops_listen: Some(loopback()),
            workers: 2,
            ..Config::default()
        }
    }

    /// The same site again, by the other connector.
    fn by_tiny_http(server: &Server) -> Connector {
        let settings = Settings::TinyHttp {
            workers: 4,
            write_timeout: PATIENCE,
        };
        let site = site(&SiteConfig::default(), &server.parts).unwrap();
        let clock = &server.parts.clock;
        Connector::start(settings, &[loopback()], &site, clock).unwrap()
    }

    fn send(address: SocketAddr, request: &str) -> TcpStream {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        stream
    }

    /// The answer up to where its length says that it ends.
    fn read_answer(stream: &mut TcpStream, with_body: bool) -> String {
        let mut bytes = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            let text = String::from_utf8_lossy(&bytes);
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head.split("Content-Length: ").nth(1);
                let length = length.map_or(0, |rest| rest.lines().next().unwrap().parse().unwrap());
                if !with_body || body.len() >= length {
                    return text.into_owned();
                }
            }
            let count = stream.read(&mut buffer).unwrap();
            assert_ne!(count, 0, "closed after {text:?}");
            bytes.extend_from_slice(&buffer[..count]);
        }
    }

    fn get(address: SocketAddr, path: &str) -> String {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        read_answer(&mut send(address, &request), true)
    }

    #[test]
    fn either_connector_serves_it() {
        let server = server();
        let tiny = by_tiny_http(&server);
        for address in [server.internal_addr().unwrap(), tiny.local_addrs()[0]] {
            let answer = get(address, "/healthz");
            assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
            assert!(answer.contains("\r\nDate: "), "{answer}");
            assert!(answer.ends_with("\r\n\r\nok\n"), "{answer}");
            let request = "HEAD /readyz?x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
            let mut rest = String::new();
            send(address, request).read_to_string(&mut rest).unwrap();
            assert!(rest.contains("\r\nConnection: close\r\n"), "{rest}");
            assert!(
                rest.contains("\r\nContent-Length: 6\r\n") && rest.ends_with("\r\n\r\n"),
                "{rest}"
            );
            assert!(get(address, "/metrics").contains("# TYPE bayeux_sessions gauge\n"));
            assert!(get(address, "/cometd").starts_with("HTTP/1.1 404 "));
            let posted = "POST /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}";
            let answer = read_answer(&mut send(address, posted), true);
            assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
        }
        tiny.stop(PATIENCE);
    }

    /// A page whose name was made to point here would see the numbers.
    #[test]
    fn names_of_strangers_are_refused() {
        let server = server();
        let tiny = by_tiny_http(&server);
        for address in [server.internal_addr().unwrap(), tiny.local_addrs()[0]] {
            let ask = |host: &str| {
                let request = format!("GET /metrics HTTP/1.1\r\nHost: {host}\r\n\r\n");
                read_answer(&mut send(address, &request), true)
            };
            let refused = ask("evil.example");
            assert!(
                refused.starts_with("HTTP/1.1 421 Misdirected Request\r\n"),
                "{refused}"
            );
            assert!(!refused.contains("bayeux_sessions"));
            for host in ["127.0.0.1:9", "metrics.localhost"] {
                assert!(ask(host).starts_with("HTTP/1.1 200 "), "{host}");
            }
            let old = read_answer(&mut send(address, "GET /metrics HTTP/1.0\r\n\r\n"), true);
            assert!(old.starts_with("HTTP/1.1 200 "), "{old}");
        }
    }

    #[test]
    fn only_on_this_machine() {
        let server = server();
        let everywhere = "0.0.0.0:0".parse().unwrap();
        let error = start(&everywhere, &SiteConfig::default(), &server.parts)
            .err()
            .unwrap();
        let message = error.to_string();
        assert!(message.contains("0.0.0.0:0 is no loopback"), "{message}");
    }

    #[test]
    fn many_at_once_are_all_answered() {
        let server = server();
        let tiny = by_tiny_http(&server);
        for address in [server.internal_addr().unwrap(), tiny.local_addrs()[0]] {
            let request = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
            let mut streams: Vec<TcpStream> = (0..60).map(|_| send(address, request)).collect();
            for stream in &mut streams {
                assert!(read_answer(stream, true).ends_with("ok\n"));
            }
        }
    }

    #[test]
    fn bodies_do_no_harm() {
        let server = server();
        let address = server.internal_addr().unwrap();
        // Each keeps its connection open and never sends the body.
        let open = |head: &str| {
            let request = format!("POST /x HTTP/1.1\r\nHost: localhost\r\n{head}\r\n");
            send(address, &request)
        };
        let mut huge = open("Content-Length: 200000000000000\r\n");
        let mut waiting: Vec<TcpStream> =
            (0..3).map(|_| open("Content-Length: 5000\r\n")).collect();
        let mut expecting = open("Content-Length: 10\r\nExpect: 100-continue\r\n");
        assert!(read_answer(&mut huge, false).starts_with("HTTP/1.1 413 "));
        for stream in &mut waiting {
            assert!(read_answer(stream, false).starts_with("HTTP/1.1 413 "));
        }
        assert!(read_answer(&mut expecting, false).starts_with("HTTP/1.1 100 "));
        let mut chunked = open("Transfer-Encoding: chunked\r\n");
        chunked.write_all(b"0\r\n\r\n").unwrap();
        assert!(read_answer(&mut chunked, true).starts_with("HTTP/1.1 405 "));
        assert!(get(address, "/healthz").ends_with("ok\n"));
    }

    #[test]
    fn it_answers_while_all_workers_are_busy() {
        let (entered, busy) = channel();
        let (leave, left) = channel::<()>();
        let left = Mutex::new(left);
        let builder = Server::builder().config(config());
        let builder = builder.content("/slow", 0, move |_: &ContentRequest| {
            entered.send(()).unwrap();
            left.lock().recv().unwrap_err();
            Response::new(204)
        });
        let server = builder.start().unwrap();
        let request = "GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n";
        let public = server.local_addrs()[0];
        let _slow: Vec<TcpStream> = (0..9).map(|_| send(public, request)).collect();
        busy.recv_timeout(PATIENCE).unwrap();
        let address = server.internal_addr().unwrap();
        assert!(get(address, "/readyz").ends_with("ready\n"));
        assert!(get(address, "/metrics").contains("\nbayeux_sessions 0\n"));
        drop(leave);
    }

    #[test]
    fn a_handler_that_hangs_does_not_hold_up_the_end() {
        let server = server();
        let (entered, asked): (Sender<()>, Receiver<()>) = channel();
        let (leave, left) = channel::<()>();
        let left = Mutex::new(left);
        let stuck = Mount::new("/", 0, move |_: &ContentRequest| {
            entered.send(()).unwrap();
            left.lock().recv().unwrap_err();
            Response::new(204)
        });
        let (broker, clock) = (server.broker().clone(), Arc::clone(&server.parts.clock));
        let site = Site::internal(
            vec![stuck],
            &SiteConfig::default(),
            broker,
            Arc::clone(&clock),
        );
        let site = site.unwrap();
        let settings = Settings::internal();
        let connector = Connector::start(settings, &[loopback()], &Arc::new(site), &clock).unwrap();
        let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";
        let _asking = send(connector.local_addrs()[0], request);
        asked.recv_timeout(PATIENCE).unwrap();
        connector.stop(Duration::from_millis(1));
        drop(leave);
    }

    #[test]
    fn its_port_is_free_after_a_stop_or_a_drop() {
        for stop in [true, false] {
            let server = server();
            let address = server.internal_addr().unwrap();
            assert!(get(address, "/healthz").ends_with("ok\n"));
            match stop {
                true => server.shutdown(PATIENCE),
                false => drop(server),
            }
            TcpListener::bind(address).unwrap();
        }
    }
}
