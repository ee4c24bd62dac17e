//! Ready-made steps before a connection is opened: an allow-list and the PROXY protocol.
//!
//! In scope: what [`PreConnect`](super::reactor::PreConnect) promises, for two common needs. Out of
//! scope: TLS, which has a module of its own.

mod allow;
mod proxy;

pub use allow::AllowList;
pub use proxy::ProxyProtocol;
