//! The reading side of a connection: from bytes to whole requests.

use super::http1::{Body, FieldSlots, Head, Progress, Refusal, empty_lines, parse_head};
use crate::http::Caller;

/// How far the present request is.
pub(super) enum Reading {
    /// Its head is not complete. So many bytes of it were looked at before.
    Head { seen: usize },
    /// Its body is not complete.
    Body(Box<Receiving>),
    /// There will be no further request.
    Stopped,
}

/// A request of which the body is still coming.
pub(super) struct Receiving {
    /// The head, which has left the input.
    head: Box<[u8]>,
    body: Body,
    pub(super) caller: Caller,
}

impl Reading {
    pub(super) const START: Self = Self::Head { seen: 0 };

    /// Bytes that are kept here.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Body(receiving) => receiving.head.len() + receiving.body.bytes().len(),
            Self::Head { .. } | Self::Stopped => 0,
        }
    }
}

impl Receiving {
    pub(super) fn new(head: &[u8], body: Body, caller: Caller) -> Box<Self> {
        Box::new(Self {
            head: head.into(),
            body,
            caller,
        })
    }

    /// Takes what belongs to the body; see [`Body::take`].
    pub(super) fn take(&mut self, input: &[u8]) -> Result<(usize, Progress), Refusal> {
        self.body.take(input)
    }

    /// Calls `work` with the request, now that it is complete.
    pub(super) fn with<R>(&self, work: impl FnOnce(&Head<'_, '_>, &[u8]) -> R) -> R {
        let mut slots = FieldSlots::new();
        let head = parse_head(&self.head, 0, usize::MAX, &mut slots)
            .ok()
            .flatten()
            .expect("a head is kept only after it was recognised");
        work(&head, self.body.bytes())
    }
}

/// Skips empty lines and looks for a head behind them. Returns where it begins.
pub(super) fn find_head<'h, 'b>(
    input: &'b [u8],
    seen: usize,
    limit: usize,
    slots: &'h mut FieldSlots<'b>,
) -> Result<(usize, Option<Head<'h, 'b>>), Refusal> {
    let start = empty_lines(input);
    let head = parse_head(&input[start..], seen.saturating_sub(start), limit, slots)?;
    Ok((start, head))
}
