//! The first exchange on a connection: who are you, and do you know the key? Without sockets.
//!
//! ```text
//!   connector                      listener
//!      hello  ------------------->           (both are sent at once)
//!             <-------------------   hello
//!      proof  ------------------->           checks it; only who knows the key learns more
//!             <-------------------   proof
//! ```

use std::fmt;
use std::sync::{Arc, OnceLock};

use super::error::LinkEnd;
use super::key::{Hellos, Key, Keys, Role};
use super::wire::{self, Frame, Hello};
use super::{NodeId, TlsFailure, names};
use crate::tcp::reactor::Layer;

/// Who is at the other end of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Peer {
    /// Its node.
    pub id: NodeId,
    /// The name it gave, which it has proved to be allowed to.
    pub name: String,
    /// The version that is spoken on the link.
    pub version: u16,
    /// What both ends can do beyond that.
    pub features: Vec<String>,
    /// Whether the connection was made from here.
    pub outgoing: bool,
    /// Longest frame that it takes.
    pub(crate) max_frame: usize,
}

/// This node, as it introduces itself.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) id: NodeId,
    pub(crate) name: String,
    pub(crate) max_frame: u32,
    pub(crate) features: Vec<String>,
    pub(crate) keys: Keys,
    /// What is put under every connection.
    pub(crate) security: Option<Arc<dyn Security>>,
}

/// Makes what lies under each connection of a node.
pub(crate) trait Security: fmt::Debug + Send + Sync {
    /// For a new connection. `address` is whom it has called, or who has called.
    fn begin(&self, role: Role, address: &str) -> Result<Begun, TlsFailure>;
}

/// A layer, and what the link can ask of it.
pub(crate) type Begun = (Box<dyn Layer>, Arc<Channel>);

/// What lies under one connection: something that encrypts, and knows who the peer is.
#[derive(Default)]
pub(crate) struct Channel {
    /// There when its handshake is over, and anything can be sent.
    pub(crate) session: OnceLock<Session>,
    /// Why it has ended the connection, if it has.
    pub(crate) failure: OnceLock<TlsFailure>,
}

/// What the handshake of a channel has brought.
pub(crate) struct Session {
    /// Whether the peer has proved that it may call itself that.
    pub(crate) allows: Box<dyn Fn(&str) -> bool + Send + Sync>,
    /// What only the two ends have.
    pub(crate) secret: Key,
}

/// A connection on its way to become a link.
pub(crate) struct Handshake {
    role: Role,
    own: Hello,
    /// As sent, without the length.
    own_bytes: Vec<u8>,
    keys: Keys,
    channel: Option<Arc<Channel>>,
    peer: Option<Introduced>,
}

struct Introduced {
    hello: Vec<u8>,
    peer: Peer,
}

/// What a frame of the peer has led to: bytes to be sent, and the peer when that is all, and the
/// link is there.
pub(crate) type Progress = (Vec<u8>, Option<Peer>);

impl Handshake {
    /// `nonce` must not have been used before.
    pub(crate) fn new(role: Role, own: &Identity, nonce: [u8; 32]) -> Self {
        let hello = Hello {
            protocol: wire::MAGIC.to_owned(),
            versions: wire::VERSIONS,
            node: own.id,
            name: own.name.clone(),
            nonce,
            max_frame: own.max_frame,
            features: own.features.clone(),
        };
        let own_bytes = wire::encoded(&Frame::Hello(hello.clone())).split_off(wire::PREFIX);
        Self {
            role,
            own: hello,
            own_bytes,
            keys: own.keys.clone(),
            channel: None,
            peer: None,
        }
    }

    /// What is below has its own idea of who the peer is.
    pub(crate) fn set_channel(&mut self, channel: Arc<Channel>) {
        self.channel = Some(channel);
    }

    /// The first bytes to send.
    pub(crate) fn hello(&self) -> Vec<u8> {
        wire::encoded(&Frame::Hello(self.own.clone()))
    }

    /// Takes a frame, without its length.
    pub(crate) fn frame(&mut self, bytes: &[u8]) -> Result<Progress, LinkEnd> {
        let frame = wire::decode(bytes).map_err(LinkEnd::protocol)?;
        match (frame, self.peer.take()) {
            (Frame::Hello(hello), None) => self.introduced(hello, bytes),
            (Frame::Proof(proof), Some(introduced)) => self.proved(&proof, introduced),
            (Frame::Bye { reason }, _) => Err(LinkEnd::bye(&reason)),
            _ => Err(LinkEnd::Protocol(
                "something else than a hello and a proof".into(),
            )),
        }
    }

    fn introduced(&mut self, hello: Hello, bytes: &[u8]) -> Result<Progress, LinkEnd> {
        if hello.protocol != wire::MAGIC {
            return Err(LinkEnd::Protocol("another protocol".into()));
        }
        let (theirs, ours) = (hello.versions, self.own.versions);
        let version = theirs.1.min(ours.1);
        if version < theirs.0.max(ours.0) {
            return Err(LinkEnd::Version { theirs });
        }
        if hello.node == self.own.node || hello.nonce == self.own.nonce {
            return Err(LinkEnd::Myself);
        }
        names::check(&hello.name).map_err(LinkEnd::protocol)?;
        let session = self.channel.as_ref().map(|channel| channel.session.get());
        if session.is_some_and(|session| session.is_none_or(|of| !(of.allows)(&hello.name))) {
            return Err(LinkEnd::Denied);
        }
        let mut features = hello.features;
        features.retain(|feature| self.own.features.contains(feature));
        let peer = Peer {
            id: hello.node,
            name: hello.name,
            version,
            features,
            outgoing: self.role == Role::Connector,
            max_frame: usize::try_from(hello.max_frame).unwrap_or(usize::MAX),
        };
        let introduced = Introduced {
            hello: bytes.to_vec(),
            peer,
        };
        // The listener says nothing that depends on the key before it has been convinced.
        let answer = match self.role {
            Role::Connector => self.prove(&introduced)?,
            Role::Listener => Vec::new(),
        };
        self.peer = Some(introduced);
        Ok((answer, None))
    }

    fn proved(&self, proof: &[u8; 32], introduced: Introduced) -> Result<Progress, LinkEnd> {
        let key = self.key_for(&introduced.peer.name)?;
        let prover = self.role.other();
        if !key.verify(prover, self.hellos(&introduced.hello), proof) {
            return Err(LinkEnd::Denied);
        }
        let answer = match self.role {
            Role::Connector => Vec::new(),
            Role::Listener => self.prove(&introduced)?,
        };
        Ok((answer, Some(introduced.peer)))
    }

    fn prove(&self, introduced: &Introduced) -> Result<Vec<u8>, LinkEnd> {
        let key = self.key_for(&introduced.peer.name)?;
        let proof = key.prove(self.role, self.hellos(&introduced.hello));
        Ok(wire::encoded(&Frame::Proof(proof)))
    }

    /// A secret of the channel, which only its two ends have, does where no key is wanted.
    fn key_for(&self, name: &str) -> Result<&Key, LinkEnd> {
        let of_channel = || Some(&self.channel.as_ref()?.session.get()?.secret);
        self.keys
            .of(name)
            .or_else(of_channel)
            .ok_or(LinkEnd::Denied)
    }

    fn hellos<'a>(&'a self, theirs: &'a [u8]) -> Hellos<'a> {
        let (connector, listener) = match self.role {
            Role::Connector => (self.own_bytes.as_slice(), theirs),
            Role::Listener => (theirs, self.own_bytes.as_slice()),
        };
        Hellos {
            connector,
            listener,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(id: u8, key: &[u8]) -> Identity {
        Identity {
            id: NodeId::from_bytes([id; 16]),
            name: format!("n{id}"),
            max_frame: 1 << 20,
            features: vec![format!("only-{id}"), "both".into()],
            keys: Keys::common(Key::new(key).unwrap()),
            security: None,
        }
    }

    const KEY: &[u8] = b"0123456789abcdef";

    /// The frames of `bytes`, without their lengths.
    fn frame(bytes: &[u8]) -> &[u8] {
        &bytes[wire::PREFIX..]
    }

    fn sent(progress: Result<Progress, LinkEnd>) -> Vec<u8> {
        match progress {
            Ok((bytes, None)) => bytes,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn both_are_convinced() {
        let mut a = Handshake::new(Role::Connector, &own(1, KEY), [1; 32]);
        let mut b = Handshake::new(Role::Listener, &own(2, KEY), [2; 32]);
        let proof = sent(a.frame(frame(&b.hello())));
        assert!(sent(b.frame(frame(&a.hello()))).is_empty());
        let Ok((answer, Some(peer))) = b.frame(frame(&proof)) else {
            panic!("the listener is convinced")
        };
        assert_eq!(
            (peer.id, &*peer.name, peer.outgoing),
            (own(1, KEY).id, "n1", false)
        );
        assert_eq!((peer.version, peer.features), (1, vec!["both".to_owned()]));
        let Ok((rest, Some(peer))) = a.frame(frame(&answer)) else {
            panic!("the connector is convinced")
        };
        assert!(rest.is_empty() && peer.outgoing && peer.name == "n2");
    }

    #[test]
    fn another_key_is_refused() {
        let mut a = Handshake::new(Role::Connector, &own(1, b"another key of 16"), [1; 32]);
        let mut b = Handshake::new(Role::Listener, &own(2, KEY), [2; 32]);
        let proof = sent(a.frame(frame(&b.hello())));
        sent(b.frame(frame(&a.hello())));
        assert_eq!(b.frame(frame(&proof)), Err(LinkEnd::Denied));
    }

    #[test]
    fn what_was_recorded_convinces_nobody_again() {
        let mut a = Handshake::new(Role::Connector, &own(1, KEY), [1; 32]);
        let b = Handshake::new(Role::Listener, &own(2, KEY), [2; 32]);
        let (hello, proof) = (a.hello(), sent(a.frame(frame(&b.hello()))));
        // The same bytes, sent to the same node, which has another nonce by now.
        let mut later = Handshake::new(Role::Listener, &own(2, KEY), [3; 32]);
        sent(later.frame(frame(&hello)));
        assert_eq!(later.frame(frame(&proof)), Err(LinkEnd::Denied));
        // Its own words, sent back to it.
        let mut mirrored = Handshake::new(Role::Connector, &own(1, KEY), [1; 32]);
        assert_eq!(mirrored.frame(frame(&hello)), Err(LinkEnd::Myself));
        let mut c = Handshake::new(Role::Listener, &own(3, KEY), [3; 32]);
        sent(c.frame(frame(&hello)));
        let own_proof = c
            .keys
            .of("n1")
            .unwrap()
            .prove(Role::Listener, c.hellos(frame(&hello)));
        let reflected = wire::encoded(&Frame::Proof(own_proof));
        assert_eq!(c.frame(frame(&reflected)), Err(LinkEnd::Denied));
    }

    #[test]
    fn nonsense_is_refused() {
        let start = || Handshake::new(Role::Listener, &own(2, KEY), [2; 32]);
        let hello = |change: fn(&mut Hello)| {
            let mut hello = Handshake::new(Role::Connector, &own(1, KEY), [1; 32]).own;
            change(&mut hello);
            wire::encoded(&Frame::Hello(hello))
        };
        let theirs = (2, 9);
        for (bytes, end) in [
            (hello(|h| h.versions = (2, 9)), LinkEnd::Version { theirs }),
            (
                hello(|h| h.protocol = "x".into()),
                LinkEnd::Protocol("another protocol".into()),
            ),
        ] {
            assert_eq!(start().frame(frame(&bytes)), Err(end));
        }
        let protocol = |end| matches!(end, Err(LinkEnd::Protocol(_)));
        assert!(protocol(
            start().frame(frame(&hello(|h| h.name = "_x".into())))
        ));
        assert!(protocol(start().frame(b"")));
        // What is told of it is short, and can be shown.
        let long = format!("{{\"\u{9b}2J{}\":1}}", "x".repeat(3000));
        let Err(LinkEnd::Protocol(why)) = start().frame(long.as_bytes()) else {
            panic!("no such frame")
        };
        assert!(why.contains("2Jxxx") && why.chars().count() <= 200, "{why}");
        assert!(!why.contains(char::is_control), "{why:?}");
        assert!(protocol(
            start().frame(frame(&wire::encoded(&Frame::Proof([0; 32]))))
        ));
        assert!(protocol(
            start().frame(frame(&wire::encoded(&Frame::Ping(1))))
        ));
        let mut twice = start();
        sent(twice.frame(frame(&hello(|_| {}))));
        assert!(protocol(twice.frame(frame(&hello(|_| {})))));
    }

    /// A layer that knows one peer.
    fn known(name: &'static str, secret: Key) -> Arc<Channel> {
        let channel = Channel::default();
        channel.session.get_or_init(|| Session {
            allows: Box::new(move |other| other == name),
            secret,
        });
        Arc::new(channel)
    }

    /// Whether two ends agree that are over channels with these secrets; the listener's channel
    /// knows that name.
    fn agree(keys: &Keys, secrets: [&[u8]; 2], name: &'static str) -> Result<(), LinkEnd> {
        let [mut a, mut b] = [(1, Role::Connector), (2, Role::Listener)].map(|(id, role)| {
            let mut own = own(id, KEY);
            own.keys = keys.clone();
            Handshake::new(role, &own, [id; 32])
        });
        let [first, second] = secrets.map(|secret| Key::new(secret).unwrap());
        a.set_channel(known("n2", first));
        b.set_channel(known(name, second));
        let proof = sent(a.frame(frame(&b.hello())));
        b.frame(frame(&a.hello()))?;
        b.frame(frame(&proof)).map(drop)
    }

    #[test]
    fn a_channel_says_who_the_peer_may_be_and_stands_in_for_a_key() {
        let (one, other) = (b"one secret of 16 bytes", b"other secret of 16 bytes");
        let none = Keys::none();
        assert_eq!(agree(&none, [one, one], "n1"), Ok(()));
        assert_eq!(agree(&none, [one, one], "x"), Err(LinkEnd::Denied));
        assert_eq!(agree(&none, [one, other], "n1"), Err(LinkEnd::Denied));
        let keys = Keys::common(Key::new(KEY).unwrap());
        assert_eq!(agree(&keys, [one, other], "n1"), Ok(()), "the key counts");
        assert_eq!(agree(&keys, [one, one], "x"), Err(LinkEnd::Denied));
    }
}
