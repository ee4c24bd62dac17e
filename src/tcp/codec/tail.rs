//! What still belongs to an item that was made already.

/// Bytes that have yet to come and belong to what was decoded before: whoever reads next skips
/// them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Tail {
    /// None.
    #[default]
    None,
    /// This byte, if it is the next.
    Byte(u8),
    /// All of a line up to its end, which is LF or CRLF, with `lone_cr` also CR.
    Line {
        /// A CR alone is an end too.
        lone_cr: bool,
    },
}

impl Tail {
    /// How many bytes at the beginning of `input`, which comes next, belong to it. Called with what
    /// follows in later pieces until something is left.
    pub fn skip(&mut self, input: &[u8]) -> usize {
        let Some(first) = input.first() else {
            return 0;
        };
        match *self {
            Self::None => 0,
            Self::Byte(byte) => {
                *self = Self::None;
                usize::from(*first == byte)
            }
            Self::Line { lone_cr } => {
                let is_end = |byte: &u8| *byte == b'\n' || (*byte == b'\r' && lone_cr);
                let Some(end) = input.iter().position(is_end) else {
                    return input.len();
                };
                *self = Self::after_end(input[end]);
                end + 1 + self.skip(&input[end + 1..])
            }
        }
    }

    /// What may follow the byte that ended a line.
    pub(super) fn after_end(end: u8) -> Self {
        match end {
            b'\r' => Self::Byte(b'\n'),
            _ => Self::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is left of the input behind the tail, which must not depend on how it is cut.
    fn left(tail: Tail, input: &str) -> String {
        let skip_all = |pieces: &[&[u8]]| {
            let mut tail = tail;
            let rest = pieces.iter().flat_map(|piece| &piece[tail.skip(piece)..]);
            rest.copied().collect::<Vec<u8>>()
        };
        let whole = skip_all(&[input.as_bytes()]);
        for cut in 0..=input.len() {
            let (a, b) = input.as_bytes().split_at(cut);
            assert_eq!(skip_all(&[a, b]), whole, "{input:?} cut at {cut}");
        }
        let single: Vec<&[u8]> = input.as_bytes().chunks(1).collect();
        assert_eq!(skip_all(&single), whole, "{input:?} byte by byte");
        String::from_utf8(whole).unwrap()
    }

    #[test]
    fn however_it_comes_the_rest_is_the_same() {
        let (any, lf) = (Tail::Line { lone_cr: true }, Tail::Line { lone_cr: false });
        for (tail, input, rest) in [
            (Tail::None, "\nab", "\nab"),
            (Tail::Byte(b'\n'), "\nab", "ab"),
            (Tail::Byte(b'\n'), "\n\nab", "\nab"),
            (Tail::Byte(b'\n'), "a\nb", "a\nb"),
            (any, "of it\r\nab", "ab"),
            (any, "of it\rab\n", "ab\n"),
            (any, "\n\nab", "\nab"),
            (any, "no end", ""),
            (lf, "of\rit\r\nab", "ab"),
            (lf, "of it\n\rab", "\rab"),
        ] {
            assert_eq!(left(tail, input), rest, "{tail:?} {input:?}");
        }
    }
}
