//! The server's half of WebSocket, as raw frames.

use std::io::Read;

/// The answer to a request for an upgrade.
pub(crate) fn accept(head: &str, cookie: Option<&str>) -> String {
    let key = head
        .lines()
        .find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "))
        .unwrap();
    let accept = tungstenite::handshake::derive_accept_key(key.trim().as_bytes());
    let cookie = cookie.map(|cookie| format!("Set-Cookie: {cookie}\r\n"));
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n{}\r\n",
        cookie.unwrap_or_default()
    )
}

/// A frame as servers send them, not masked.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    match payload.len() {
        len @ 0..126 => out.push(len as u8),
        len @ 126..0x1_0000 => {
            out.push(126);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            out.push(127);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(payload);
    out
}

/// A frame that closes.
pub(crate) fn close(code: u16, reason: &str) -> Vec<u8> {
    frame(0x88, &[&code.to_be_bytes()[..], reason.as_bytes()].concat())
}

/// The first byte and the payload of the next frame, which is masked; `None` at the end.
pub(crate) fn read(reader: &mut impl Read) -> Option<(u8, Vec<u8>)> {
    let mut start = [0; 2];
    reader.read_exact(&mut start).ok()?;
    assert_eq!(start[1] & 0x80, 0x80, "clients mask");
    let len = match start[1] & 0x7f {
        126 => {
            let mut len = [0; 2];
            reader.read_exact(&mut len).ok()?;
            u64::from(u16::from_be_bytes(len))
        }
        127 => {
            let mut len = [0; 8];
            reader.read_exact(&mut len).ok()?;
            u64::from_be_bytes(len)
        }
        len => u64::from(len),
    };
    let mut mask = [0; 4];
    reader.read_exact(&mut mask).ok()?;
    let mut payload = vec![0; usize::try_from(len).unwrap()];
    reader.read_exact(&mut payload).ok()?;
    for (byte, mask) in payload.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
    Some((start[0], payload))
}
