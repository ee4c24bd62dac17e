//! Steps before a connection is served whose refusals are counted and told.

use std::sync::Arc;

use crate::http::Site;
use crate::refusals::Reason;
use crate::tcp::Address;
use crate::tcp::reactor::{Early, PreConnect, Preamble, Progress, Refuse, Step};

/// A step that tells when it refuses.
pub(super) struct Told {
    step: Arc<dyn PreConnect>,
    site: Arc<Site>,
}

struct ToldPreamble {
    preamble: Box<dyn Preamble>,
    site: Arc<Site>,
}

impl Told {
    pub(super) fn new(step: &Arc<dyn PreConnect>, site: &Arc<Site>) -> Self {
        Self {
            step: Arc::clone(step),
            site: Arc::clone(site),
        }
    }
}

impl PreConnect for Told {
    fn start(&self, connection: &mut Early<'_>) -> Result<Step, Refuse> {
        let step = self.step.start(connection);
        let step = step.inspect_err(|Refuse| tell(&self.site, connection.peer_addr()))?;
        Ok(match step {
            Step::Read(preamble) => Step::Read(Box::new(ToldPreamble {
                preamble,
                site: Arc::clone(&self.site),
            })),
            other @ (Step::Pass | Step::Layer(_)) => other,
        })
    }
}

impl Preamble for ToldPreamble {
    fn input(&mut self, connection: &mut Early<'_>, input: &[u8]) -> Result<Progress, Refuse> {
        let progress = self.preamble.input(connection, input);
        progress.inspect_err(|Refuse| tell(&self.site, connection.peer_addr()))
    }
}

fn tell(site: &Site, peer: &Address) {
    let seen = format_args!("a connection from {peer}, which did not begin as it should");
    site.broker().refusals().count(Reason::PreConnect, seen);
}
