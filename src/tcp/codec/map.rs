//! A decoder with a function behind it.

use super::{DecodeError, Decoded, Decoder, Tail};

/// See [`Decoder::map`].
#[derive(Clone, Debug)]
pub struct Map<D, F> {
    decoder: D,
    function: F,
}

impl<D, F> Map<D, F> {
    pub(super) fn new(decoder: D, function: F) -> Self {
        Self { decoder, function }
    }
}

impl<D: Decoder, T, F: FnMut(D::Item) -> T + Send> Decoder for Map<D, F> {
    type Item = T;

    fn decode(&mut self, input: &[u8]) -> Result<Decoded<T>, DecodeError> {
        let Decoded { consumed, item } = self.decoder.decode(input)?;
        Ok(Decoded {
            consumed,
            item: item.map(&mut self.function),
        })
    }

    fn decode_end(&mut self, input: &[u8]) -> Result<Decoded<T>, DecodeError> {
        let Decoded { consumed, item } = self.decoder.decode_end(input)?;
        Ok(Decoded {
            consumed,
            item: item.map(&mut self.function),
        })
    }

    fn hand_over(&mut self) -> Tail {
        self.decoder.hand_over()
    }
}
