//! The client as its owner sees it.

use std::ops::Deref;
use std::sync::Arc;
use std::thread::JoinHandle;

use super::builder::ClientBuilder;
use super::error::Error;
use super::handle::Handle;
use super::shared::Shared;

/// A connection to a Bayeux server, kept up by threads in the background.
///
/// All its calls are those of [`Handle`]. Dropping it disconnects: what is queued is sent and the
/// server is told, for which it takes at most the linger time.
pub struct Client {
    shared: Arc<Shared>,
    handle: Handle,
    threads: Vec<JoinHandle<()>>,
}

impl Client {
    /// Begins to describe a client of the server at `url`, such as
    /// `http://localhost:8080/cometd`.
    pub fn builder(url: &str) -> ClientBuilder {
        ClientBuilder::new(url)
    }

    /// Another way to the client, that does not keep it open.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    pub(crate) fn start(shared: Arc<Shared>) -> Result<Self, Error> {
        Ok(Self {
            threads: shared.start()?,
            handle: Handle::new(Arc::clone(&shared)),
            shared,
        })
    }
}

#[cfg(test)]
impl Client {
    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }
}

impl Deref for Client {
    type Target = Handle;

    fn deref(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.handle.disconnect(self.shared.options.linger);
        self.shared.stop(std::mem::take(&mut self.threads));
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Client({:?})", self.state())
    }
}
