//! Why a peer's bytes were refused, and with which close code to say so.

use crate::close::CloseCode;
use crate::partial::MAX_EMPTY_FRAGMENTS;

/// The peer broke the protocol or passed a limit. The connection is beyond repair: send a close frame with
/// [`WsError::close_code`] and the text of this error, then end the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WsError {
    /// A set RSV bit that nobody negotiated, or RSV1 where RFC 7692 forbids it (control, continuation).
    #[error("a reserved bit is set that no negotiated extension gives a meaning here")]
    ReservedBits,
    /// Opcodes 3-7 and 11-15.
    #[error("opcode {0} is reserved")]
    UnknownOpcode(u8),
    /// A server must refuse clear frames (RFC 6455, 5.1): the mask protects proxies from chosen bytes.
    #[error("frames from a client must be masked")]
    Unmasked,
    /// The reverse rule, for the client role.
    #[error("frames from a server must not be masked")]
    Masked,
    /// Ping, pong or close without FIN.
    #[error("control frames must not be fragmented")]
    FragmentedControl,
    /// Ping, pong or close that announces more than 125 bytes.
    #[error("control frames carry at most 125 bytes")]
    LongControl,
    /// 126 or 127 used for a length that fits in fewer bytes.
    #[error("the payload length is not in its shortest form")]
    NonMinimalLength,
    /// The top bit of a 64-bit length.
    #[error("the payload length has more than 63 bits")]
    LengthOverflow,
    /// A continuation with nothing to continue.
    #[error("a continuation frame came with no message to continue")]
    StrayContinuation,
    /// Text or binary while a fragmented message is open.
    #[error("a new message began before the last one was finished")]
    InterleavedMessage,
    /// A close payload of one byte: neither empty nor a code.
    #[error("a close frame carries no payload or a code of two bytes")]
    ShortClose,
    /// A code that must not travel (1005, 1006, 1015), is reserved, or is out of range.
    #[error("close code {0} must not be sent")]
    BadCloseCode(u16),
    /// In a text message or in a close reason.
    #[error("text is not valid UTF-8")]
    InvalidUtf8,
    /// Corrupt or truncated compressed data.
    #[error("the compressed payload is not valid DEFLATE data")]
    BadDeflate,
    /// Announced, reassembled or inflated size.
    #[error("the message is larger than {limit} bytes")]
    TooBig {
        /// The limit on a message of this connection.
        limit: usize,
    },
    /// Frames that cost work and bring nothing.
    #[error("a message has more than {MAX_EMPTY_FRAGMENTS} empty fragments")]
    TooManyEmptyFragments,
}

impl WsError {
    /// The code that RFC 6455 (7.4.1) has for this.
    #[must_use]
    pub fn close_code(&self) -> CloseCode {
        match self {
            Self::InvalidUtf8 | Self::BadDeflate => CloseCode::INVALID_PAYLOAD,
            Self::TooBig { .. } => CloseCode::TOO_BIG,
            Self::TooManyEmptyFragments => CloseCode::POLICY,
            _ => CloseCode::PROTOCOL_ERROR,
        }
    }
}
