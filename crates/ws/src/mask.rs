//! The mask: XOR with four repeating bytes.

/// The four bytes that a client XORs its payload with. They must be unpredictable to whoever chose the payload
/// (RFC 6455, 10.3), so the caller brings them from its own source of randomness.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MaskKey(pub [u8; 4]);

impl MaskKey {
    /// Masks or unmasks in place. Eight bytes at a time, in a loop that the compiler turns into vector code.
    #[inline]
    pub(crate) fn apply(self, bytes: &mut [u8]) {
        let [a, b, c, d] = self.0;
        let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
        let (words, tail) = bytes.as_chunks_mut::<8>();
        for word in words {
            *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
        }
        for (byte, key) in tail.iter_mut().zip([a, b, c, d, a, b, c]) {
            *byte ^= key;
        }
    }

    /// The key as it stands after `consumed` bytes, so that a frame that arrives in pieces is unmasked piece
    /// by piece.
    #[must_use]
    pub(crate) fn advance(mut self, consumed: usize) -> Self {
        self.0.rotate_left(consumed % 4);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_length_and_any_split_match_the_definition() {
        let key = MaskKey([0x11, 0x83, 0xf0, 0x7e]);
        for len in 0..70usize {
            let plain: Vec<u8> = (0..len as u8).collect();
            let expected: Vec<u8> = plain.iter().enumerate().map(|(i, b)| b ^ key.0[i % 4]).collect();
            for split in 0..=len {
                let mut bytes = plain.clone();
                let (head, tail) = bytes.split_at_mut(split);
                key.apply(head);
                key.advance(split).apply(tail);
                assert_eq!(bytes, expected, "length {len}, split at {split}");
            }
        }
    }
}
