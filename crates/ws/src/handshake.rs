//! The few parts of the opening handshake that are not HTTP: the accept key and the compression offer.
//!
//! HTTP itself (method, `Upgrade`, `Connection`, version 13) is the gateway's.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::{Engine, engine::general_purpose::STANDARD};

use crate::deflate::WindowBits;

mod extensions;

pub use extensions::{DeflateAnswerError, accept_deflate, client_offer, negotiate_deflate};

/// RFC 6455, 1.3: proves that the server speaks WebSocket, not that it knows a secret.
const ACCEPT_GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// What both ends agreed to for permessage-deflate. That no context is taken over, in either direction, is not
/// a parameter: we agree to nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DeflateParams {
    /// The window that the sending side of this end may use: the key to the [`crate::Deflater`] to compress with.
    pub send_window: WindowBits,
    /// Whether the client asked for a server window, so that the answer must name one.
    window_named: WindowNamed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum WindowNamed {
    Yes,
    No,
}

impl DeflateParams {
    /// No wishes about windows on either side: what browsers end up with.
    pub const DEFAULT: Self = Self { send_window: WindowBits::MAX, window_named: WindowNamed::No };

    /// The server's answer, a value for `Sec-WebSocket-Extensions`.
    ///
    /// `client_max_window_bits` never appears: we inflate with the largest window, so the client may use any.
    #[must_use]
    pub fn to_header(&self) -> String {
        let mut header =
            String::from("permessage-deflate; server_no_context_takeover; client_no_context_takeover");
        if self.window_named == WindowNamed::Yes {
            header.push_str("; server_max_window_bits=");
            header.push_str(&self.send_window.get().to_string());
        }
        header
    }
}

/// The value of `Sec-WebSocket-Accept` for a request's `Sec-WebSocket-Key`.
#[must_use]
pub fn accept_key(key: impl AsRef<[u8]>) -> String {
    let mut input = Vec::with_capacity(64);
    input.extend_from_slice(key.as_ref());
    input.extend_from_slice(ACCEPT_GUID);
    STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, &input))
}

/// Whether a request's `Sec-WebSocket-Key` is what RFC 6455 (4.1) asks for: 16 bytes in base64.
#[must_use]
pub fn is_valid_key(key: impl AsRef<[u8]>) -> bool {
    STANDARD.decode(key.as_ref()).is_ok_and(|nonce| nonce.len() == 16)
}

/// The client's `Sec-WebSocket-Key`, from 16 random bytes that the caller brings.
#[must_use]
pub fn client_key(nonce: [u8; 16]) -> String {
    STANDARD.encode(nonce)
}

/// Whether a server's `Sec-WebSocket-Accept` answers the key that we sent.
#[must_use]
pub fn verify_accept(key: impl AsRef<[u8]>, accept: impl AsRef<[u8]>) -> bool {
    accept_key(key).as_bytes() == accept.as_ref().trim_ascii()
}

#[cfg(test)]
mod tests;
