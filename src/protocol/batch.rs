//! Request bodies to messages.

use std::fmt;

use super::message::Parsed;

/// What a body may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLimits {
    /// Messages in a body.
    pub messages: usize,
    /// Arrays and objects open at once, the batch's own included.
    pub depth: usize,
}

impl Default for BatchLimits {
    fn default() -> Self {
        Self {
            messages: 1000,
            depth: 128,
        }
    }
}

/// The messages of a body, in order.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// The messages.
    pub messages: Vec<Parsed>,
    /// Bytes of the byte order mark before the JSON: 0 or 3. Spans count from the body's start.
    pub bom: usize,
}

/// The whole body is refused. `Display` is one line of plain text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BatchError {
    /// Not UTF-8.
    NotUtf8,
    /// Not JSON.
    NotJson(String),
    /// JSON, but neither an object nor an array of objects.
    NotMessages,
    /// More messages than allowed.
    TooManyMessages {
        /// The limit.
        max: usize,
    },
    /// Deeper than allowed.
    TooDeep {
        /// The limit.
        max: usize,
    },
}

/// Reads a request body: an array of message objects, or one.
pub fn parse(body: &[u8], limits: &BatchLimits) -> Result<Batch, BatchError> {
    let _ = (body, limits);
    unimplemented!()
}

impl fmt::Display for BatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotUtf8 => f.write_str("the body is not UTF-8"),
            Self::NotJson(what) => write!(f, "the body is not JSON: {what}"),
            Self::NotMessages => f.write_str("the body is not an array of message objects"),
            Self::TooManyMessages { max } => write!(f, "more than {max} messages"),
            Self::TooDeep { max } => write!(f, "JSON nested deeper than {max}"),
        }
    }
}

impl std::error::Error for BatchError {}
