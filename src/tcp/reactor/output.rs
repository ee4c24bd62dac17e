//! Bytes that the kernel has not taken yet.

/// A queue of bytes. Holds no memory while it is empty.
#[derive(Debug, Default)]
pub(super) struct Output {
    bytes: Vec<u8>,
    start: usize,
}

impl Output {
    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        // Move the rest to the front when that costs less than what has gone out since.
        if self.start > self.len() {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// The first `n` bytes have gone.
    pub(super) fn consume(&mut self, n: usize) {
        assert!(n <= self.len());
        self.start += n;
        if self.start == self.bytes.len() {
            *self = Self::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_in_first_out_and_no_memory_when_empty() {
        let mut output = Output::default();
        let mut expected = Vec::new();
        for round in 0..100_u8 {
            let bytes = vec![round; usize::from(round) * 7 % 50];
            output.push(&bytes);
            expected.extend_from_slice(&bytes);
            let gone = usize::from(round) * 5 % (expected.len() + 1);
            output.consume(gone);
            expected.drain(..gone);
            assert_eq!(output.bytes(), expected);
            assert_eq!(output.is_empty(), expected.is_empty());
        }
        output.consume(output.len());
        assert_eq!(output.bytes.capacity(), 0);
    }
}
