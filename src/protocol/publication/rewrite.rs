//! The same message with other data, for a receiver who is to see something else.

use std::ops::Range;
use std::sync::OnceLock;

use super::{Fit, Publication, TEXT, frame_header};

impl Publication {
    /// The same message with other `data`, which must be valid JSON, for a receiver who is to see
    /// something else. Everything around it stays as it is.
    pub fn with_data(&self, data_json: &str) -> Self {
        let (before, after) = match &self.data {
            Some(data) => (self.object.start..data.start, data.end..self.bytes.len()),
            // Behind the channel, before whatever follows.
            None => {
                let start = self.object.start + b"{\"channel\":\"\"".len();
                let end = start + self.channel.as_str().len();
                (self.object.start..end, end..self.bytes.len())
            }
        };
        let key: &[u8] = if self.data.is_some() {
            b""
        } else {
            b",\"data\":"
        };
        let tail = after.start..self.object.end;
        let object_len = before.len() + key.len() + data_json.len() + tail.len();
        let (header, header_len) = frame_header(TEXT, object_len + 2);
        let start = header_len + 1;
        let data_at = start + before.len() + key.len();
        let data_end = data_at + data_json.len();
        let mut out = Vec::with_capacity(header_len + object_len + 2 + after.len() - tail.len());
        out.extend_from_slice(&header[..header_len]);
        out.push(b'[');
        out.extend_from_slice(&self.bytes[before]);
        out.extend_from_slice(key);
        out.extend_from_slice(data_json.as_bytes());
        out.extend_from_slice(&self.bytes[after.clone()]);
        let moved = |range: &Range<usize>| {
            let at = data_end + range.start - after.start;
            at..at + range.len()
        };
        Self {
            channel: self.channel.clone(),
            publisher: self.publisher,
            bytes: out.into_boxed_slice(),
            object: start..start + object_len,
            data: Some(data_at..data_end),
            ext: self.ext.as_ref().map(moved),
            fit: self.fit.min(Fit::of([("data", data_json)])),
            booked: OnceLock::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{json, name, published};
    use super::*;

    #[test]
    fn other_data_and_nothing_else() {
        let long = format!("\"{}\"", "x".repeat(200));
        for data in ["1", "null", long.as_str()] {
            let body = r#"{"channel":"/a","id":"i","data":{"b":2},"ext":{"c":3},"d":[4]}"#;
            let original = published(body, Some("who"));
            let other = original.with_data(data);
            let text = json(&original).replace(r#"{"b":2}"#, data);
            assert_eq!(json(&other), text);
            assert_eq!(
                (other.data(), other.ext(), other.id()),
                (data, Some(r#"{"c":3}"#), Some("\"i\""))
            );
            let frame = other.frame();
            assert_eq!(
                &frame[frame.len() - text.len() - 1..frame.len() - 1],
                text.as_bytes()
            );
            let header = frame_header(TEXT, text.len() + 2);
            assert_eq!(&frame[..header.1], &header.0[..header.1]);
            let bare = Publication::with_fields(&name("/a"), &[("ext", "{}"), ("id", "7")]);
            let with = bare.with_data(data);
            let text = format!(r#"{{"channel":"/a","data":{data},"ext":{{}},"id":7}}"#);
            assert_eq!(json(&with), text);
            assert_eq!((with.ext(), with.id()), (Some("{}"), Some("7")));
        }
    }
}
