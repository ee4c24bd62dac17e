//! Masking (RFC 6455, 5.3).

/// Appends a part of a masked payload to `out`, without the mask. `at` is where in the payload the
/// part begins.
pub(super) fn append_unmasked(out: &mut Vec<u8>, part: &[u8], mask: [u8; 4], at: usize) {
    let begin = out.len();
    out.extend_from_slice(part);
    let turned = |n: usize| mask[(at + n) % 4];
    let [a, b, c, d] = [turned(0), turned(1), turned(2), turned(3)];
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let mut words = out[begin..].chunks_exact_mut(8);
    for word in &mut words {
        let bytes: &mut [u8; 8] = word.try_into().expect("because chunks have eight bytes");
        *bytes = (u64::from_ne_bytes(*bytes) ^ wide).to_ne_bytes();
    }
    for (byte, key) in words.into_remainder().iter_mut().zip([a, b, c, d, a, b, c]) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_and_every_beginning() {
        let mask = [0x12, 0x34, 0x56, 0x78];
        let payload: Vec<u8> = (0..100).collect();
        let masked: Vec<u8> = (0..100).map(|n| payload[n] ^ mask[n % 4]).collect();
        for from in 0..20 {
            for to in from..payload.len() {
                let mut out = b"before".to_vec();
                append_unmasked(&mut out, &masked[from..to], mask, from);
                assert_eq!(&out[..6], b"before");
                assert_eq!(&out[6..], &payload[from..to], "{from}..{to}");
            }
        }
    }
}
