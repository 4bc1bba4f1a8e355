//! Random names.

use fanfare_model::error::{self, ErrorInfo};

const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// Letters and digits from the cryptographic generator, just under 6 bits each.
pub(super) fn random(len: usize) -> Result<String, ErrorInfo> {
    // Bytes past the last multiple of 62 would make some letters likelier than others.
    const EVEN: u8 = 248;
    let mut text = String::with_capacity(len);
    while text.len() < len {
        let mut bytes = [0u8; 64];
        aws_lc_rs::rand::fill(&mut bytes).map_err(|_| error::internal("no randomness"))?;
        let letters = bytes.iter().filter(|b| **b < EVEN).map(|b| char::from(ALPHABET[usize::from(b % 62)]));
        text.extend(letters.take(len - text.len()));
    }
    Ok(text)
}
