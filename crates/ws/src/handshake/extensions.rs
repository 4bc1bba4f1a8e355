//! `Sec-WebSocket-Extensions`: offers, and what we answer (RFC 6455, 9.1; RFC 7692, 7.1).

use super::{DeflateParams, WindowNamed};
use crate::deflate::WindowBits;

const EXTENSION: &str = "permessage-deflate";

/// Offers looked at in one request. A browser sends one or two.
const MAX_OFFERS: usize = 16;

/// Chooses the first permessage-deflate offer that we can keep to; `None` means no compression.
///
/// `header_values` are the values of all `Sec-WebSocket-Extensions` lines, in order. An offer is passed over when it is
/// malformed, has an unknown or repeated parameter, or asks for a server window of 8 bits, which zlib cannot write.
pub fn negotiate_deflate<'a>(
    header_values: impl Iterator<Item = &'a str>,
    enabled: bool,
) -> Option<DeflateParams> {
    if !enabled {
        return None;
    }
    header_values.flat_map(|value| split_unquoted(value, ',')).take(MAX_OFFERS).find_map(|offer| {
        let params = Params::parse(offer, Speaker::Client)?;
        let (send_window, window_named) = match params.server_max_window_bits {
            None => (WindowBits::MAX, WindowNamed::No),
            Some(bits) => (WindowBits::new(bits)?, WindowNamed::Yes),
        };
        Some(DeflateParams { send_window, window_named })
    })
}

/// The client's offer. It asks for a server without context takeover, because the decoder cannot do otherwise, and
/// leaves the client's window out, so that the server may not restrict it.
#[must_use]
pub const fn client_offer() -> &'static str {
    "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
}

/// A server's answer to [`client_offer`] that a client must fail the connection for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DeflateAnswerError {
    /// Another extension, a malformed answer, or a parameter that the offer did not allow.
    #[error("the server answered with an extension or parameter that was not offered")]
    NotOffered,
    /// RFC 7692 (7.1.1.1): a server that accepts the offer must repeat this parameter.
    #[error("the server accepted compression without server_no_context_takeover")]
    ContextTakeover,
}

/// Reads a server's answer to [`client_offer`]: the values of all its `Sec-WebSocket-Extensions` lines.
///
/// # Errors
/// When the server agreed to something that was not offered.
pub fn accept_deflate<'a>(
    header_values: impl Iterator<Item = &'a str>,
) -> Result<Option<DeflateParams>, DeflateAnswerError> {
    let mut answers = header_values.flat_map(|value| split_unquoted(value, ','));
    let Some(answer) = answers.next() else { return Ok(None) };
    let params = Params::parse(answer, Speaker::Server).ok_or(DeflateAnswerError::NotOffered)?;
    if answers.next().is_some() || params.client_max_window_bits {
        return Err(DeflateAnswerError::NotOffered);
    }
    if !params.server_no_context_takeover {
        return Err(DeflateAnswerError::ContextTakeover);
    }
    Ok(Some(DeflateParams::DEFAULT))
}

/// Whose parameters are read: the grammar differs in one point.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Speaker {
    Client,
    Server,
}

/// The parameters of one well-formed permessage-deflate element.
#[derive(Default)]
struct Params {
    server_no_context_takeover: bool,
    client_no_context_takeover: bool,
    server_max_window_bits: Option<u8>,
    /// Present. Its value binds only the client's compressor, and our inflater takes any window.
    client_max_window_bits: bool,
}

impl Params {
    /// `None` for another extension, and for anything that RFC 7692 has us decline.
    fn parse(element: &str, speaker: Speaker) -> Option<Self> {
        let mut parts = split_unquoted(element, ';');
        if !parts.next()?.trim().eq_ignore_ascii_case(EXTENSION) {
            return None;
        }
        let mut params = Self::default();
        for part in parts {
            let (name, value) = match part.split_once('=') {
                Some((name, value)) => (name.trim(), Some(unquote(value.trim())?)),
                None => (part.trim(), None),
            };
            let repeated = match (name.to_ascii_lowercase().as_str(), value) {
                ("server_no_context_takeover", None) => {
                    std::mem::replace(&mut params.server_no_context_takeover, true)
                }
                ("client_no_context_takeover", None) => {
                    std::mem::replace(&mut params.client_no_context_takeover, true)
                }
                ("server_max_window_bits", Some(bits)) => {
                    params.server_max_window_bits.replace(window_bits(bits)?).is_some()
                }
                ("client_max_window_bits", value) => {
                    match value {
                        Some(bits) => drop(window_bits(bits)?),
                        // "I can restrict my window": only an offer says that without a number.
                        None if speaker == Speaker::Server => return None,
                        None => {}
                    }
                    std::mem::replace(&mut params.client_max_window_bits, true)
                }
                _ => return None,
            };
            if repeated {
                return None;
            }
        }
        Some(params)
    }
}

/// RFC 7692 (7.1.2): a decimal integer from 8 to 15 without leading zeros.
fn window_bits(value: &str) -> Option<u8> {
    match value.as_bytes() {
        [digit @ (b'8' | b'9')] => Some(digit - b'0'),
        [b'1', digit @ b'0'..=b'5'] => Some(10 + digit - b'0'),
        _ => None,
    }
}

/// A token as it is, a quoted string without its quotes. `None` when a quote is left open, or when there are
/// escapes, which no value that we know needs.
fn unquote(value: &str) -> Option<&str> {
    match value.strip_prefix('"') {
        None => (!value.contains('"')).then_some(value),
        Some(rest) => rest.strip_suffix('"').filter(|inner| !inner.contains(['"', '\\'])),
    }
}

/// Splits at `separator` outside of quoted strings, and leaves out empty list elements of commas.
fn split_unquoted(list: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    let mut escaped = false;
    list.split(move |c: char| {
        let was_escaped = std::mem::replace(&mut escaped, false);
        match c {
            '\\' if quoted && !was_escaped => escaped = true,
            '"' if !was_escaped => quoted = !quoted,
            _ => {}
        }
        c == separator && !quoted
    })
    .filter(move |element| separator != ',' || !element.trim().is_empty())
}
