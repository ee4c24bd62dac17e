//! An HTTPS and WebSocket client that speaks as much as the tests need.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use bayeux::tcp::tls::rustls::pki_types::{CertificateDer, ServerName};
use bayeux::tcp::tls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use bayeux::tcp::tls::{certificates, provider};
use serde_json::Value;
use socket2::{Domain, Socket, Type};

use super::certificates::file;
use super::wait::PATIENCE;

pub(crate) struct Https(StreamOwned<ClientConnection, TcpStream>);

impl Https {
    pub(crate) fn connect(address: &str) -> Self {
        Self::over(TcpStream::connect(address).unwrap())
    }

    pub(crate) fn connect_with_small_buffer(address: &str) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let address: SocketAddr = address.parse().unwrap();
        socket.connect(&address.into()).unwrap();
        Self::over(socket.into())
    }

    /// Begins the connection with these bytes, before TLS.
    pub(crate) fn connect_behind(address: &str, bytes: &[u8]) -> Self {
        let mut socket = TcpStream::connect(address).unwrap();
        socket.write_all(bytes).unwrap();
        Self::over(socket)
    }

    fn over(socket: TcpStream) -> Self {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_nodelay(true).unwrap();
        let mut roots = RootCertStore::empty();
        let root = certificates(&file("root.pem")).unwrap().remove(0);
        roots.add(root).unwrap();
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let tls = ClientConnection::new(Arc::new(config), name).unwrap();
        Self(StreamOwned::new(tls, socket))
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).unwrap();
        self.0.flush().unwrap();
    }

    pub(crate) fn post_only(&mut self, messages: &Value) {
        let body = messages.to_string();
        self.send(format!(
            "POST /cometd HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        ));
    }

    /// The head of the answer, and its body.
    pub(crate) fn post(&mut self, messages: &Value) -> (String, Value) {
        self.post_only(messages);
        let head = self.head();
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("Content-Length: "));
        let mut body = vec![0; length.unwrap().trim().parse().unwrap()];
        self.0.read_exact(&mut body).unwrap();
        (head, serde_json::from_slice(&body).unwrap())
    }

    pub(crate) fn head(&mut self) -> String {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            self.0.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        String::from_utf8(head).unwrap().trim_end().to_owned()
    }

    pub(crate) fn upgrade(&mut self) {
        self.send(
            "GET /cometd HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        );
        let head = self.head();
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    }

    /// Sends a text, with a mask of zeros.
    pub(crate) fn send_frame(&mut self, text: &str) {
        let long = u16::try_from(text.len()).unwrap().to_be_bytes();
        let mut frame = match text.len() {
            short @ ..126 => vec![0x81, 0x80 | short as u8],
            _ => vec![0x81, 0x80 | 126, long[0], long[1]],
        };
        frame.extend_from_slice(&[0; 4]);
        frame.extend_from_slice(text.as_bytes());
        self.send(frame);
    }

    /// The next text, as JSON.
    pub(crate) fn frame(&mut self) -> Value {
        let mut start = [0; 2];
        self.0.read_exact(&mut start).unwrap();
        assert_eq!(start[0], 0x81, "a text in one frame");
        let mut length = usize::from(start[1]);
        if length == 126 {
            self.0.read_exact(&mut start).unwrap();
            length = usize::from(u16::from_be_bytes(start));
        }
        let mut text = vec![0; length];
        self.0.read_exact(&mut text).unwrap();
        serde_json::from_slice(&text).unwrap()
    }

    /// What the two have agreed on to speak.
    pub(crate) fn protocol(&self) -> Option<&[u8]> {
        self.0.conn.alpn_protocol()
    }

    /// What the server has shown.
    pub(crate) fn certificates(&self) -> Vec<CertificateDer<'static>> {
        self.0.conn.peer_certificates().unwrap().to_vec()
    }

    /// Closes with a reset.
    pub(crate) fn reset(self) {
        let socket = Socket::from(self.0.sock);
        socket.set_linger(Some(Duration::ZERO)).unwrap();
    }
}
