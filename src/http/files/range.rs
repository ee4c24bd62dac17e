//! The `Range` header: one range of bytes, or none that is understood.

/// What part of a file is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// All of it: there was no range, or none that this server understands.
    Whole,
    /// From the first to the last byte, both included.
    Bytes { first: u64, last: u64 },
    /// A range that has nothing in common with the file.
    Outside,
}

/// Reads the value of `Range` for a file of `size` bytes. Several ranges, other units and what is
/// malformed mean the whole file, as RFC 9110 permits.
pub(super) fn parse(value: &[u8], size: u64) -> Part {
    let Some((first, last)) = single(value) else {
        return Part::Whole;
    };
    let part = match (first, last) {
        (None, None) => return Part::Whole,
        (Some(first), Some(last)) if first > last => return Part::Whole,
        (None, Some(suffix)) => (size.saturating_sub(suffix), u64::MAX),
        (Some(first), last) => (first, last.unwrap_or(u64::MAX)),
    };
    if part.0 < size {
        Part::Bytes {
            first: part.0,
            last: part.1.min(size - 1),
        }
    } else {
        Part::Outside
    }
}

/// The two numbers of a lone range, either of which may be missing.
fn single(value: &[u8]) -> Option<(Option<u64>, Option<u64>)> {
    let text = std::str::from_utf8(value).ok()?;
    let (unit, range) = text.split_once('=')?;
    let (first, last) = range.trim_matches([' ', '\t']).split_once('-')?;
    unit.eq_ignore_ascii_case("bytes").then_some(())?;
    Some((number(first)?, number(last)?))
}

/// Digits, or nothing at all. What is too large for a file counts as the largest number.
fn number(digits: &str) -> Option<Option<u64>> {
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some((!digits.is_empty()).then(|| digits.parse().unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_a_file_of_100_bytes() {
        let bytes = |first, last| Part::Bytes { first, last };
        for (value, part) in [
            ("bytes=0-9", bytes(0, 9)),
            ("bytes=95-", bytes(95, 99)),
            ("bytes=-5", bytes(95, 99)),
            ("bytes=90-1000", bytes(90, 99)),
            ("bytes=-1000", bytes(0, 99)),
            ("bytes=0-0", bytes(0, 0)),
            ("bytes=99-99", bytes(99, 99)),
            ("Bytes= 0-9 ", bytes(0, 9)),
            ("bytes=0-99999999999999999999999", bytes(0, 99)),
            ("bytes=100-", Part::Outside),
            ("bytes=200-300", Part::Outside),
            ("bytes=-0", Part::Outside),
            ("bytes=99999999999999999999999-", Part::Outside),
            ("bytes=9-0", Part::Whole),
            ("bytes=a-b", Part::Whole),
            ("lines=0-9", Part::Whole),
            ("bytes=", Part::Whole),
            ("bytes", Part::Whole),
            ("", Part::Whole),
            ("bytes=-", Part::Whole),
            ("bytes=--5", Part::Whole),
            ("bytes=+1-5", Part::Whole),
            ("bytes=0-9,20-29", Part::Whole),
            ("bytes=0-9999999999999999999999x", Part::Whole),
        ] {
            assert_eq!(parse(value.as_bytes(), 100), part, "{value}");
        }
        assert_eq!(parse(b"\xff", 100), Part::Whole);
    }

    #[test]
    fn an_empty_file_has_no_ranges() {
        for value in ["bytes=0-", "bytes=-5", "bytes=0-0"] {
            assert_eq!(parse(value.as_bytes(), 0), Part::Outside, "{value}");
        }
    }
}
