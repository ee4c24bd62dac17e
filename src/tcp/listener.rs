//! A bound, listening socket.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Socket, TcpKeepalive};

use super::address::Address;

/// Called with the socket before it is bound, to set options that are not listed.
pub type SocketHook = Arc<dyn Fn(&Socket) -> io::Result<()> + Send + Sync>;

/// How a [`Listener`] is bound, and which options its connections get.
#[derive(Clone)]
pub struct ListenOptions {
    /// Connections that the kernel completes and keeps until they are accepted. Default 4096; the
    /// system's own limit (Linux: `net.core.somaxconn`) applies too.
    pub backlog: u32,
    /// SO_REUSEADDR: bind although old connections linger on the port. Default on.
    pub reuse_address: bool,
    /// SO_REUSEPORT: several processes share the port. Default off.
    pub reuse_port: bool,
    /// Whether an IPv6 listener takes IPv6 only. Default: as the system does (Linux: both).
    pub only_v6: Option<bool>,
    /// Options of the accepted connections.
    pub stream: StreamOptions,
    /// For every other option, before binding.
    pub hook: Option<SocketHook>,
}

impl Default for ListenOptions {
    fn default() -> Self {
        Self {
            backlog: 4096,
            reuse_address: true,
            reuse_port: false,
            only_v6: None,
            stream: StreamOptions::default(),
            hook: None,
        }
    }
}

impl fmt::Debug for ListenOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ListenOptions")
            .field("backlog", &self.backlog)
            .field("reuse_address", &self.reuse_address)
            .field("reuse_port", &self.reuse_port)
            .field("only_v6", &self.only_v6)
            .field("stream", &self.stream)
            .finish_non_exhaustive()
    }
}

/// Options of a TCP connection, accepted or made from here. Unix sockets have none.
#[derive(Clone, Debug)]
pub struct StreamOptions {
    /// TCP_NODELAY. Default on: this component writes whole messages.
    pub nodelay: bool,
    /// TCP keepalive: idle time before the first probe. Default off.
    pub keepalive: Option<Duration>,
    /// TCP_NOTSENT_LOWAT: bytes that the kernel takes beyond what the peer lets it send. Otherwise
    /// it takes megabytes for a peer that does not read. Default 128 KiB, as much again as is
    /// written at a time; none: as the system does. Linux and Android only.
    pub max_unsent: Option<u32>,
}

impl Default for StreamOptions {
    fn default() -> Self {
        Self {
            nodelay: true,
            keepalive: None,
            max_unsent: Some(128 << 10),
        }
    }
}

impl StreamOptions {
    /// Sets them on a connection, or on a listener whose connections inherit them.
    pub(super) fn set(&self, socket: &Socket, address: &Address) -> io::Result<()> {
        if matches!(address, Address::Unix(_)) {
            return Ok(());
        }
        if self.nodelay {
            socket.set_tcp_nodelay(true)?;
        }
        if let Some(idle) = self.keepalive {
            socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(idle))?;
        }
        #[cfg(any(target_os = "linux", target_os = "android"))]
        if let Some(most) = self.max_unsent {
            socket.set_tcp_notsent_lowat(most)?;
        }
        Ok(())
    }
}

/// A listening socket. Dropping it closes it; the file of a Unix socket is removed with it.
#[derive(Debug)]
pub struct Listener {
    /// Dropped first: see [`SocketFile`].
    endpoint: Endpoint,
    socket: Socket,
}

/// What is known of a listener apart from its socket.
#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) address: Address,
    options: StreamOptions,
    _file: Option<SocketFile>,
}

impl Listener {
    /// Binds and listens. A stale file of a Unix socket, which nobody listens on any more, is
    /// replaced.
    pub fn bind(address: &Address, options: &ListenOptions) -> Result<Self, BindError> {
        Self::open(address, options).map_err(|source| BindError {
            address: address.clone(),
            source,
        })
    }

    /// Binds every address that the specification stands for, see [`Address::resolve`].
    pub fn bind_all(spec: &str, options: &ListenOptions) -> io::Result<Vec<Self>> {
        let addresses = Address::resolve(spec)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        addresses
            .iter()
            .map(|address| Ok(Self::bind(address, options)?))
            .collect()
    }

    /// Takes over a listening socket that somebody else has bound, for example the service manager.
    pub fn from_std(listener: std::net::TcpListener, options: &ListenOptions) -> io::Result<Self> {
        Self::adopt(listener.into(), options)
    }

    /// The address it listens on; with port 0 asked for, the port that the system chose.
    pub fn local_addr(&self) -> &Address {
        &self.endpoint.address
    }

    pub(super) fn into_parts(self) -> (Socket, Endpoint) {
        (self.socket, self.endpoint)
    }

    fn open(address: &Address, options: &ListenOptions) -> io::Result<Self> {
        let socket = address.new_socket()?;
        if let Address::Inet(inet) = address {
            if options.reuse_address {
                socket.set_reuse_address(true)?;
            }
            #[cfg(all(unix, not(any(target_os = "solaris", target_os = "illumos"))))]
            if options.reuse_port {
                socket.set_reuse_port(true)?;
            }
            if let Some(only_v6) = options.only_v6.filter(|_| inet.is_ipv6()) {
                socket.set_only_v6(only_v6)?;
            }
        }
        if let Some(hook) = &options.hook {
            hook(&socket)?;
        }
        bind(&socket, address)?;
        let backlog = i32::try_from(options.backlog).unwrap_or(i32::MAX);
        socket.listen(backlog)?;
        Self::adopt(socket, options)
    }

    fn adopt(socket: Socket, options: &ListenOptions) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let address = Address::from_sock(&socket.local_addr()?);
        let file = match &address {
            Address::Unix(Some(path)) => Some(SocketFile(path.clone())),
            _ => None,
        };
        let endpoint = Endpoint {
            address,
            options: options.stream.clone(),
            _file: file,
        };
        if INHERITS {
            endpoint.options.set(&socket, &endpoint.address)?;
        }
        Ok(Self { socket, endpoint })
    }
}

impl Endpoint {
    /// The next connection, non-blocking already. `socket` is the listener's.
    pub(super) fn accept(&self, socket: &Socket) -> io::Result<(Socket, Address)> {
        let (connection, peer) = accept(socket)?;
        if !INHERITS {
            self.options.set(&connection, &self.address)?;
        }
        Ok((connection, peer))
    }
}

fn bind(socket: &Socket, address: &Address) -> io::Result<()> {
    let target = address.to_sock()?;
    let Err(error) = socket.bind(&target) else {
        return Ok(());
    };
    // The file of a Unix socket outlives its process. Only one that refuses is removed.
    if let (Address::Unix(Some(path)), io::ErrorKind::AddrInUse) = (address, error.kind()) {
        let probe = address.new_socket()?;
        // One that is in use may have no room for the question.
        probe.set_nonblocking(true)?;
        if probe
            .connect(&target)
            .is_err_and(|e| e.kind() == io::ErrorKind::ConnectionRefused)
        {
            std::fs::remove_file(path)?;
            return socket.bind(&target);
        }
    }
    Err(error)
}

/// Linux copies the options of the listener; elsewhere that is not promised.
const INHERITS: bool = cfg!(any(target_os = "linux", target_os = "android"));

#[cfg(any(target_os = "linux", target_os = "android"))]
fn accept(listener: &Socket) -> io::Result<(Socket, Address)> {
    use rustix::net::{SocketFlags, acceptfrom_with};
    // One system call for what takes three otherwise.
    let (socket, peer) = acceptfrom_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC)?;
    let address = peer.and_then(|peer| std::net::SocketAddr::try_from(peer).ok());
    Ok((
        Socket::from(socket),
        address.map_or(Address::Unix(None), Address::from),
    ))
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn accept(listener: &Socket) -> io::Result<(Socket, Address)> {
    let (socket, peer) = listener.accept()?;
    socket.set_nonblocking(true)?;
    Ok((socket, Address::from_sock(&peer)))
}

/// Removes the file of a Unix socket. To be dropped before the socket: between the two, a successor
/// could take the file for a stale one and replace it, and would lose its own.
#[derive(Debug)]
struct SocketFile(Arc<Path>);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Somebody else may have removed it; there is nobody to tell.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// An address could not be listened on.
#[derive(Debug)]
pub struct BindError {
    /// Which one.
    pub address: Address,
    /// What the system said.
    pub source: io::Error,
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot listen on {}: {}", self.address, self.source)
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

impl From<BindError> for io::Error {
    fn from(error: BindError) -> Self {
        Self::new(error.source.kind(), error)
    }
}
