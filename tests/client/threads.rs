//! Nothing of a client is left when it is dropped. Threads are counted, so the process is its own.

use std::fs;

use bayeux::Server;
use bayeux::client::{Client, Transport};

use crate::common::alone::alone;
use crate::common::wait::until_numbers;

const POLLING: [&str; 3] = ["bayeux-notify", "bayeux-poll", "bayeux-send"];
const SOCKET: &str = "bayeux-ws-io-0";

/// Waits until exactly these threads of clients run. The kernel may take a moment to name one, and
/// to forget one that was joined.
fn expect(expected: &[&str]) {
    until_numbers("threads", running, |names| names == expected);
}

fn running() -> Vec<String> {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    let name = |path| fs::read_to_string(path).unwrap_or_default();
    let names = tasks.map(|task| name(task.unwrap().path().join("comm")));
    let mut names: Vec<_> = names.map(|name| name.trim().to_owned()).collect();
    names.retain(|name| POLLING.contains(&name.as_str()) || name == SOCKET);
    names.sort();
    names
}

#[test]
fn threads_end_with_their_client() {
    alone(|| {
        let server = Server::builder().listen([([127, 0, 0, 1], 0).into()]);
        let server = server.start().unwrap();
        for transport in [Transport::LongPolling, Transport::WebSocket] {
            let builder = Client::builder(&server.url()).transport(transport);
            let client = builder.connect().unwrap();
            client.publish("/a", &1).unwrap();
            match transport {
                Transport::WebSocket => expect(&[&POLLING[..], &[SOCKET]].concat()),
                _ => expect(&POLLING),
            }
            let handle = client.handle();
            drop(client);
            expect(&[]);
            drop(handle);
        }
    });
}
