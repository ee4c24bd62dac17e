//! Bytes between a socket that others read and write, and a protocol that wants to do so itself.

use std::collections::VecDeque;
use std::io::{self, Read, Write};

/// What came and was not read, and what was written and has not left.
#[derive(Debug, Default)]
pub(super) struct Pipe {
    incoming: VecDeque<u8>,
    outgoing: Vec<u8>,
}

impl Pipe {
    /// These came.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.incoming.extend(bytes);
    }

    /// What is to leave.
    pub(super) fn drain(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.outgoing)
    }

    /// It could not leave: it comes before what is written from now on.
    pub(super) fn put_back(&mut self, bytes: Vec<u8>) {
        let later = std::mem::replace(&mut self.outgoing, bytes);
        self.outgoing.extend(later);
    }
}

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.incoming.is_empty() {
            // A large message leaves a large buffer, of which an idle connection has no use.
            self.incoming = VecDeque::new();
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.incoming.read(buffer)
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.outgoing.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_there_is_not_the_end() {
        let mut pipe = Pipe::default();
        let mut buffer = [0; 4];
        let empty = |result: io::Result<usize>| result.unwrap_err().kind();
        assert_eq!(empty(pipe.read(&mut buffer)), io::ErrorKind::WouldBlock);
        pipe.feed(b"abcde");
        assert_eq!(pipe.read(&mut buffer).unwrap(), 4);
        assert_eq!(pipe.read(&mut buffer).unwrap(), 1);
        assert_eq!(buffer[0], b'e');
        assert_eq!(empty(pipe.read(&mut buffer)), io::ErrorKind::WouldBlock);
        pipe.write_all(b"xy").unwrap();
        assert_eq!(pipe.drain(), b"xy");
        pipe.write_all(b"z").unwrap();
        pipe.put_back(b"xy".to_vec());
        assert_eq!(pipe.drain(), b"xyz");
        assert_eq!(pipe.drain(), b"");
    }
}
