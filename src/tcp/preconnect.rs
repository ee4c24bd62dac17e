//! Ready-made steps before a connection is opened: an allow-list and the PROXY protocol.
//!
//! In scope: what [`PreConnect`] promises, for two common needs. Out of scope: TLS, which has a
//! module of its own.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use crate::tcp::reactor::{Early, PreConnect, Preamble, Progress, Refuse, Step};
use crate::tcp::{Address, Network};

/// Refuses peers from elsewhere. Behind a [`ProxyProtocol`] step it looks at the address that the
/// proxy reports, before it at the proxy's. Unix sockets pass; their file has permissions.
#[derive(Clone, Debug)]
pub struct AllowList {
    networks: Vec<Network>,
}

impl AllowList {
    /// Peers from these networks pass.
    pub fn new(networks: impl IntoIterator<Item = Network>) -> Self {
        Self {
            networks: networks.into_iter().collect(),
        }
    }
}

impl PreConnect for AllowList {
    fn start(&self, connection: &mut Early<'_>) -> Result<Step, Refuse> {
        match connection.peer_addr().ip() {
            Some(ip) if !self.networks.iter().any(|network| network.contains(ip)) => Err(Refuse),
            _ => Ok(Step::Pass),
        }
    }
}

/// The PROXY protocol, versions 1 and 2 (specification of 2020/03/05): a proxy says first for whom
/// it connects.
///
/// Reads the header that trusted proxies send, and takes the address of the peer from it. From a
/// trusted peer the header is required; other peers connect directly, and a header from them would
/// be input like any other. A header that says nothing of the peer leaves the address as it is.
#[derive(Clone, Debug)]
pub struct ProxyProtocol {
    trusted: Vec<Network>,
    trust_unix: bool,
    refuse_others: bool,
}

impl ProxyProtocol {
    /// Proxies in these networks are trusted.
    pub fn new(trusted: impl IntoIterator<Item = Network>) -> Self {
        Self {
            trusted: trusted.into_iter().collect(),
            trust_unix: false,
            refuse_others: false,
        }
    }

    /// Peers on Unix sockets are trusted proxies too.
    pub fn trust_unix(self) -> Self {
        Self {
            trust_unix: true,
            ..self
        }
    }

    /// Refuses all peers that are not trusted proxies.
    pub fn refuse_others(self) -> Self {
        Self {
            refuse_others: true,
            ..self
        }
    }
}

impl PreConnect for ProxyProtocol {
    fn start(&self, connection: &mut Early<'_>) -> Result<Step, Refuse> {
        let trusted = match connection.peer_addr().ip() {
            Some(ip) => self.trusted.iter().any(|network| network.contains(ip)),
            None => self.trust_unix,
        };
        match trusted {
            true => Ok(Step::Read(Box::new(Header))),
            false if self.refuse_others => Err(Refuse),
            false => Ok(Step::Pass),
        }
    }
}

struct Header;

impl Preamble for Header {
    fn input(&mut self, connection: &mut Early<'_>, input: &[u8]) -> Result<Progress, Refuse> {
        match parse(input)? {
            None => Ok(Progress::More),
            Some((length, peer)) => {
                if let Some(peer) = peer {
                    connection.set_peer_addr(peer);
                }
                Ok(Progress::Done(length))
            }
        }
    }
}

/// The length of the header and the peer it names; `None` if more must come.
type Parsed = Option<(usize, Option<Address>)>;

fn parse(input: &[u8]) -> Result<Parsed, Refuse> {
    let begins = |with: &[u8]| {
        let n = input.len().min(with.len());
        input[..n] == with[..n]
    };
    if begins(SIGNATURE_V2) {
        parse_v2(input)
    } else if begins(SIGNATURE_V1) {
        parse_v1(input)
    } else {
        Err(Refuse)
    }
}

fn parse_v1(input: &[u8]) -> Result<Parsed, Refuse> {
    let window = &input[..input.len().min(V1_MAX)];
    let Some(end) = window.windows(2).position(|pair| pair == b"\r\n") else {
        return if input.len() < V1_MAX {
            Ok(None)
        } else {
            Err(Refuse)
        };
    };
    let line = std::str::from_utf8(&input[..end]).map_err(|_| Refuse)?;
    let mut words = line.split(' ').skip(1);
    let family = words.next();
    if family == Some("UNKNOWN") {
        return Ok(Some((end + 2, None)));
    }
    let rest: Vec<&str> = words.collect();
    let [source, destination, source_port, destination_port] = rest[..] else {
        return Err(Refuse);
    };
    let address = |ip: &str, port: &str| -> Result<SocketAddr, Refuse> {
        let ip: IpAddr = match family {
            Some("TCP4") => ip.parse::<Ipv4Addr>().map_err(|_| Refuse)?.into(),
            Some("TCP6") => ip.parse::<Ipv6Addr>().map_err(|_| Refuse)?.into(),
            _ => return Err(Refuse),
        };
        // `parse` would take a sign too.
        if !port.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Refuse);
        }
        Ok(SocketAddr::new(ip, port.parse().map_err(|_| Refuse)?))
    };
    let peer = address(source, source_port)?;
    address(destination, destination_port)?;
    Ok(Some((end + 2, Some(peer.into()))))
}

fn parse_v2(input: &[u8]) -> Result<Parsed, Refuse> {
    let Some((head, rest)) = input.split_at_checked(V2_HEAD) else {
        return Ok(None);
    };
    let (version, command) = (head[12] >> 4, head[12] & 0xf);
    if version != 2 || command > 1 {
        return Err(Refuse);
    }
    let length = usize::from(u16::from_be_bytes([head[14], head[15]]));
    let Some(block) = rest.get(..length) else {
        return Ok(None);
    };
    let total = V2_HEAD + length;
    // The proxy speaks for itself, for example to check that we are alive.
    if command == 0 {
        return Ok(Some((total, None)));
    }
    // Behind the addresses there may be more, which does not concern us.
    let peer = match head[13] >> 4 {
        0 => None,
        1 => Some(inet_source::<4>(block).ok_or(Refuse)?),
        2 => Some(inet_source::<16>(block).ok_or(Refuse)?),
        3 => Some(unix_source(block).ok_or(Refuse)?),
        _ => return Err(Refuse),
    };
    Ok(Some((total, peer)))
}

/// Both addresses, and then both ports.
fn inet_source<const N: usize>(block: &[u8]) -> Option<Address>
where
    IpAddr: From<[u8; N]>,
{
    let block = block.get(..2 * N + 4)?;
    let ip: [u8; N] = *block.first_chunk()?;
    let port = u16::from_be_bytes([block[2 * N], block[2 * N + 1]]);
    Some(SocketAddr::new(ip.into(), port).into())
}

fn unix_source(block: &[u8]) -> Option<Address> {
    let block: &[u8; 216] = block.first_chunk()?;
    let name = block[..108]
        .split(|byte| *byte == 0)
        .next()
        .unwrap_or_default();
    let name = std::str::from_utf8(name)
        .ok()
        .filter(|name| !name.is_empty());
    Some(Address::Unix(name.map(|name| Path::new(name).into())))
}

const SIGNATURE_V1: &[u8] = b"PROXY ";
const SIGNATURE_V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// The longest line of version 1, end included.
const V1_MAX: usize = 107;
/// Signature, version and command, family, length.
const V2_HEAD: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn v2(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
        let mut header = SIGNATURE_V2.to_vec();
        header.extend([0x20 | command, family]);
        header.extend((block.len() as u16).to_be_bytes());
        header.extend(block);
        header
    }

    /// Whole headers parse to this, all shorter beginnings ask for more.
    fn check(header: &[u8], peer: Option<&str>) {
        for cut in 0..header.len() {
            assert_eq!(parse(&header[..cut]), Ok(None), "{header:?} cut at {cut}");
        }
        let mut stream = header.to_vec();
        stream.extend_from_slice(b"rest");
        let (length, found) = parse(&stream).unwrap().unwrap();
        assert_eq!(length, header.len());
        assert_eq!(found.map(|peer| peer.to_string()).as_deref(), peer);
    }

    #[test]
    fn version_1() {
        check(
            b"PROXY TCP4 10.0.0.1 10.0.0.2 1234 80\r\n",
            Some("10.0.0.1:1234"),
        );
        check(
            b"PROXY TCP6 2001:db8::1 ::1 65535 0\r\n",
            Some("[2001:db8::1]:65535"),
        );
        check(b"PROXY UNKNOWN\r\n", None);
        check(b"PROXY UNKNOWN ff:: :: 1 2\r\n", None);
        for bad in [
            "PROXY TCP4 10.0.0.1 10.0.0.2 1234\r\n",
            "PROXY TCP4 ::1 10.0.0.2 1 2\r\n",
            "PROXY TCP4 10.0.0.1 10.0.0.2 65536 2\r\n",
            "PROXY TCP4 10.0.0.1 10.0.0.2 +1 2\r\n",
            "PROXY TCP4 10.0.0.1 10.0.0.2 1 2 3\r\n",
            "PROXY TCP4  10.0.0.1 10.0.0.2 1 2\r\n",
            "PROXY UDP4 10.0.0.1 10.0.0.2 1 2\r\n",
            "PROXY \r\n",
            "GET / HTTP/1.1\r\n",
        ] {
            assert_eq!(parse(bad.as_bytes()), Err(Refuse), "{bad}");
        }
        let endless = format!("PROXY UNKNOWN {}", "x".repeat(100));
        assert_eq!(parse(endless.as_bytes()), Err(Refuse));
    }

    #[test]
    fn version_2() {
        let v4 = [10, 0, 0, 1, 10, 0, 0, 2, 4, 210, 0, 80];
        check(&v2(1, 0x11, &v4), Some("10.0.0.1:1234"));
        let with_more = [v4.as_slice(), &[4, 0, 1, 0]].concat();
        check(&v2(1, 0x11, &with_more), Some("10.0.0.1:1234"));
        let mut v6 = [0; 36];
        v6[15] = 1;
        v6[33] = 9;
        check(&v2(1, 0x21, &v6), Some("[::1]:9"));
        let mut unix = [0; 216];
        unix[..4].copy_from_slice(b"/a/b");
        check(&v2(1, 0x31, &unix), Some("unix:/a/b"));
        check(&v2(0, 0x11, &v4), None);
        check(&v2(0, 0, &[]), None);
        check(&v2(1, 0, &[1, 2, 3]), None);
        for bad in [
            v2(2, 0x11, &v4),
            v2(1, 0x41, &v4),
            v2(1, 0x11, &v4[..11]),
            v2(1, 0x21, &v4),
        ] {
            assert_eq!(parse(&bad), Err(Refuse), "{bad:?}");
        }
    }
}
