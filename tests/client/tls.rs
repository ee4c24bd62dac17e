//! The client over encrypted connections: every transport, and whom it does not believe.

use std::path::Path;
use std::time::Duration;

use bayeux::Config;
use bayeux::Server;
use bayeux::client::{Client, Error, Failure, Transport};

use crate::common::certificates::file;
use crate::common::wait::PATIENCE;

fn server() -> (Server, String) {
    let config = Config {
        tls_cert: Some(file("server.pem")),
        tls_key: Some(file("server.key")),
        demo: Some(false),
        ..Config::default()
    };
    let server = Server::builder()
        .config(config)
        .listen([([127, 0, 0, 1], 0).into()]);
    let server = server.start().unwrap();
    let address = server.local_addrs()[0].to_string();
    (server, address)
}

#[test]
fn every_transport_is_encrypted() {
    let (_server, address) = server();
    for (scheme, transport) in [
        ("wss", Transport::WebSocket),
        ("https", Transport::WebSocket),
        ("https", Transport::LongPolling),
    ] {
        let client = Client::builder(&format!("{scheme}://{address}/cometd"))
            .root_certificates(&file("root.pem"))
            .transport(transport)
            .connect()
            .unwrap();
        assert_eq!(client.transport(), transport);
        let subscription = client.subscribe("/a").unwrap();
        // Larger than any buffer on its way.
        let large = "x".repeat(900_000);
        for _ in 0..3 {
            client.publish("/a", &large).unwrap();
            let message = subscription.recv_timeout(PATIENCE).unwrap();
            assert_eq!(message.data::<String>().unwrap(), large);
        }
        assert_eq!(client.stats().failures, 0);
    }
}

#[test]
fn strangers_are_not_believed() {
    let (_server, address) = server();
    for (scheme, host) in [("wss", "127.0.0.1"), ("https", "127.0.0.1")] {
        let port = address.rsplit(':').next().unwrap();
        let refused = Client::builder(&format!("{scheme}://{host}:{port}/cometd"))
            .connect_timeout(Duration::from_millis(300))
            .connect();
        let Err(Error::NotConnected(Some(last))) = refused else {
            panic!("{scheme}: {refused:?}")
        };
        assert!(
            matches!(*last, Error::Failed(Failure::Connect(_))),
            "{last:?}"
        );
    }
    let missing = Client::builder("wss://a/").root_certificates(Path::new("/no/such/file"));
    assert!(matches!(missing.start(), Err(Error::Config(_))));
}
