//! The one place of this crate from which random bytes come.

/// Random bytes from the cryptographic provider's generator.
pub(super) fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    // A server whose system has no randomness must not go on: all it could issue would be guessable.
    aws_lc_rs::rand::fill(&mut bytes).expect("the system's random generator works");
    bytes
}
