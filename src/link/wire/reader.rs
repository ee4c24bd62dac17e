//! Takes fields off the front of a frame.

use super::WireError;
use crate::link::NodeId;

/// What is left of a frame.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn bytes(&mut self, length: usize) -> Result<&'a [u8], WireError> {
        let (head, rest) = self
            .0
            .split_at_checked(length)
            .ok_or(WireError::Truncated)?;
        self.0 = rest;
        Ok(head)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        self.bytes(N)?.try_into().map_err(|_| WireError::Truncated)
    }

    pub(super) fn u8(&mut self) -> Result<u8, WireError> {
        Ok(u8::from_be_bytes(self.array()?))
    }

    pub(super) fn u32(&mut self) -> Result<u32, WireError> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    pub(super) fn u64(&mut self) -> Result<u64, WireError> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    pub(super) fn node(&mut self) -> Result<NodeId, WireError> {
        Ok(NodeId::from_bytes(self.array()?))
    }

    /// A text behind its length in one byte.
    pub(super) fn text(&mut self) -> Result<&'a str, WireError> {
        let length = usize::from(self.u8()?);
        std::str::from_utf8(self.bytes(length)?).map_err(|_| WireError::NotText)
    }

    /// Everything that is left.
    pub(super) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }
}

/// Appends a text behind its length; names are never longer than a byte can tell.
pub(super) fn put_text(text: &str, out: &mut Vec<u8>) {
    let length = u8::try_from(text.len()).expect("because names have at most 128 bytes");
    out.push(length);
    out.extend_from_slice(text.as_bytes());
}
