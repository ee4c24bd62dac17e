//! Figures of a node.

/// A snapshot. What is not said to be a present number is a sum since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Links at present.
    pub links: usize,
    /// Other nodes that can be reached at present.
    pub nodes: usize,
    /// Frames that came.
    pub frames_in: u64,
    /// Frames that were sent; several messages that were sent together count as one.
    pub frames_out: u64,
    /// Frames that were passed on for others.
    pub frames_forwarded: u64,
    /// Frames that were dropped: out of order, beyond what was allowed, or without a way. Messages
    /// among them are sent again by their origin.
    pub frames_dropped: u64,
    /// Posts that were accepted.
    pub posted: u64,
    /// Messages that were given to handlers.
    pub delivered: u64,
    /// Posts of this node that were accepted and are not known to have been delivered.
    pub undelivered: u64,
    /// Posts of this node that arrived and were not carried out.
    pub rejected: u64,
    /// Announcements of neighbours that were refused, since the alias was another's.
    pub refused: u64,
    /// Events that observers were too slow for.
    pub events_dropped: u64,
}
