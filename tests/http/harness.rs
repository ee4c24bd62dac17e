//! A server in this process, on a connector and a port of its own, and Bayeux clients for it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bayeux::AllowedHost;
use bayeux::Config;
use bayeux::config::Connector;
use bayeux::{Server, ServerBuilder};
use serde_json::{Value, json};

use crate::common::http::{Connection, Response};
use crate::common::wait::{NEVER, until_numbers};

/// How long a connect is held, unless the test says otherwise.
pub(crate) const HOLD: Duration = Duration::from_secs(1);
/// Long enough to see that something is held.
pub(crate) const A_WHILE: Duration = Duration::from_millis(150);

/// Which connector a test runs on.
pub(crate) type On = Connector;

/// A running server.
pub(crate) struct World {
    pub(crate) server: Server,
    pub(crate) address: SocketAddr,
}

impl World {
    pub(crate) fn new(on: On) -> Self {
        Self::with(on, |_| {})
    }

    /// A server with other settings than the tests' own.
    pub(crate) fn with(on: On, change: impl FnOnce(&mut Config)) -> Self {
        Self::built(on, change, |builder| builder)
    }

    /// A server to which something was added.
    pub(crate) fn built(
        on: On,
        change: impl FnOnce(&mut Config),
        add: impl FnOnce(ServerBuilder) -> ServerBuilder,
    ) -> Self {
        let mut config = Config {
            connector: on,
            listen: vec!["127.0.0.1:0".parse().expect("an address")],
            demo: Some(false),
            workers: 4,
            ..Config::default()
        };
        // The tests name whom they like.
        config.site.allowed_hosts = vec![AllowedHost::any()];
        config.broker.timeout = HOLD;
        config.broker.max_interval = NEVER;
        config.native.header_timeout = NEVER;
        config.native.body_timeout = NEVER;
        config.native.idle_timeout = NEVER;
        config.native.write_timeout = NEVER;
        config.native.io_threads = 2;
        change(&mut config);
        let server = add(Server::builder().config(config))
            .start()
            .expect("the server starts");
        let address = server.local_addrs()[0];
        Self { server, address }
    }

    pub(crate) fn connection(&self) -> Connection {
        Connection::open(self.address)
    }

    /// Sends messages on a connection of their own.
    pub(crate) fn post(&self, messages: &Value) -> Response {
        post_on(&mut self.connection(), "", messages)
    }

    /// The one reply to one message.
    pub(crate) fn reply(&self, message: &Value) -> Value {
        let mut items = self.post(message).messages();
        assert_eq!(items.len(), 1, "one reply to {message}: {items:?}");
        items.remove(0)
    }

    pub(crate) fn client(&self) -> Client {
        self.client_with("")
    }

    /// A client whose requests all have these header lines.
    pub(crate) fn client_with(&self, headers: &str) -> Client {
        let mut connection = self.connection();
        let reply = post_on(
            &mut connection,
            headers,
            &json!({"channel": "/meta/handshake"}),
        );
        let reply = reply.messages().remove(0);
        assert_eq!(reply["successful"], true, "{reply}");
        let id = reply["clientId"].as_str().expect("a client id").to_owned();
        let mut client = Client {
            id,
            connection,
            address: self.address,
            headers: headers.into(),
        };
        let first = client.poll();
        assert_eq!(
            first.last().expect("a reply")["successful"],
            true,
            "{first:?}"
        );
        client
    }

    /// Waits for the server's numbers to become what they should be.
    pub(crate) fn until(&self, what: &str, holds: impl Fn(&bayeux::ServerStats) -> bool) {
        until_numbers(what, || self.server.stats(), holds);
    }
}

/// A Bayeux client: a session, a connection for requests, and one more for each held connect.
pub(crate) struct Client {
    pub(crate) id: String,
    connection: Connection,
    address: SocketAddr,
    headers: String,
}

/// A connect that has been sent.
pub(crate) struct Held {
    pub(crate) connection: Connection,
    since: Instant,
}

impl Client {
    /// Sends messages, with the client's id added where there is none.
    pub(crate) fn send(&mut self, messages: &Value) -> Vec<Value> {
        let messages = self.signed(messages);
        post_on(&mut self.connection, &self.headers, &messages).messages()
    }

    pub(crate) fn signed(&self, messages: &Value) -> Value {
        let mut list = messages
            .as_array()
            .cloned()
            .unwrap_or_else(|| vec![messages.clone()]);
        for message in &mut list {
            if message.get("clientId").is_none() {
                message["clientId"] = json!(self.id);
            }
        }
        Value::Array(list)
    }

    /// The one reply to one message.
    pub(crate) fn reply(&mut self, message: &Value) -> Value {
        let mut items = self.send(message);
        assert_eq!(items.len(), 1, "one reply to {message}: {items:?}");
        items.remove(0)
    }

    pub(crate) fn subscribe(&mut self, subscription: &Value) {
        let message = json!({"channel": "/meta/subscribe", "subscription": subscription});
        let items = self.send(&message);
        assert_eq!(
            items.last().expect("a reply")["successful"],
            true,
            "{items:?}"
        );
    }

    pub(crate) fn publish(&mut self, channel: &str, data: &Value) -> Vec<Value> {
        let items = self.send(&json!({"channel": channel, "data": data}));
        assert_eq!(
            items.last().expect("a reply")["successful"],
            true,
            "{items:?}"
        );
        items
    }

    /// A connect with no time to wait.
    pub(crate) fn poll(&mut self) -> Vec<Value> {
        let advice = json!({"timeout": 0});
        self.send(
            &json!({"channel": "/meta/connect", "id": "c", "advice": advice,
            "connectionType": "long-polling"}),
        )
    }

    /// Sends a connect on a connection of its own.
    pub(crate) fn connect(&self) -> Held {
        self.connect_with(&json!({}))
    }

    /// A connect with further fields.
    pub(crate) fn connect_with(&self, more: &Value) -> Held {
        let mut message = json!({"channel": "/meta/connect", "id": "held",
            "connectionType": "long-polling"});
        for (name, value) in more.as_object().expect("fields") {
            message[name] = value.clone();
        }
        let mut connection = Connection::open(self.address);
        let body = self.signed(&message).to_string();
        connection.send(post_bytes(&self.headers, &body));
        Held {
            connection,
            since: Instant::now(),
        }
    }

    /// Sends a connect and waits until the server holds it.
    pub(crate) fn hold(&self, world: &World) -> Held {
        let before = world.server.stats().broker.held;
        let held = self.connect();
        world.until("the connect is held", |stats| {
            stats.broker.held == before + 1
        });
        held
    }
}

impl Held {
    pub(crate) fn answer(&mut self) -> Vec<Value> {
        self.connection.response().messages()
    }

    /// The answer and how long it took to come.
    pub(crate) fn timed_answer(&mut self) -> (Vec<Value>, Duration) {
        let answer = self.answer();
        (answer, self.since.elapsed())
    }

    pub(crate) fn is_held(&mut self) -> bool {
        self.connection.is_silent_for(A_WHILE)
    }
}

/// Sends messages on that connection, with those header lines.
pub(crate) fn post_on(connection: &mut Connection, headers: &str, messages: &Value) -> Response {
    connection.send(post_bytes(headers, &messages.to_string()));
    connection.response()
}

/// A request with a JSON body.
pub(crate) fn post_bytes(headers: &str, body: &str) -> Vec<u8> {
    let headers = format!("Content-Type: application/json\r\n{headers}");
    crate::common::http::request_bytes("POST", "/cometd", &headers, body.as_bytes())
}

/// The `data` of the messages among replies.
pub(crate) fn data_of(items: &[Value]) -> Vec<Value> {
    let messages = items.iter().filter(|item| item.get("successful").is_none());
    messages.map(|item| item["data"].clone()).collect()
}
