//! Comparing and deriving with key secrets.

use std::fmt;

use aws_lc_rs::{constant_time, digest, hmac};
use secrecy::{ExposeSecret, SecretString};

/// A fingerprint of a secret, by which a live connection notices that its key has another one now.
/// Also how secrets are compared: fingerprints have one length, so not even a secret's length is told.
#[derive(Clone, Copy)]
pub(super) struct Print([u8; 32]);

impl Print {
    pub(super) fn of(secret: &SecretString) -> Self {
        let digest = digest::digest(&digest::SHA256, secret.expose_secret().as_bytes());
        Self(digest.as_ref().try_into().expect("SHA-256 has 32 bytes"))
    }
}

impl PartialEq for Print {
    fn eq(&self, other: &Self) -> bool {
        constant_time::verify_slices_are_equal(&self.0, &other.0).is_ok()
    }
}

impl fmt::Debug for Print {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Print(…)")
    }
}

/// Whether `mac` is the HMAC-SHA256 of `message`. Constant time.
pub(super) fn is_mac(secret: &SecretString, message: &[u8], mac: &[u8]) -> bool {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose_secret().as_bytes());
    hmac::verify(&key, message, mac).is_ok()
}
