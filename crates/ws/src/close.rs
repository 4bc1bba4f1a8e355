//! Close codes and the close payload.

use crate::error::WsError;

/// A close code that may travel in a frame. The codes that only describe a local event (1005, 1006, 1015)
/// cannot be built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CloseCode(u16);

impl CloseCode {
    /// The purpose is fulfilled.
    pub const NORMAL: Self = Self(1000);
    /// The endpoint leaves: a draining server, a closed page.
    pub const GOING_AWAY: Self = Self(1001);
    /// The peer broke the protocol.
    pub const PROTOCOL_ERROR: Self = Self(1002);
    /// A kind of data that this endpoint does not take.
    pub const UNSUPPORTED: Self = Self(1003);
    /// Data that is not what its type promises, such as text that is not UTF-8.
    pub const INVALID_PAYLOAD: Self = Self(1007);
    /// A rule of this endpoint was broken.
    pub const POLICY: Self = Self(1008);
    /// A message larger than this endpoint takes.
    pub const TOO_BIG: Self = Self(1009);
    /// This server failed.
    pub const INTERNAL: Self = Self(1011);
    /// Registered with IANA: the service restarts, come back.
    pub const RESTART: Self = Self(1012);
    /// Registered with IANA: overloaded, come back later or elsewhere.
    pub const TRY_AGAIN: Self = Self(1013);

    /// Accepts the codes of RFC 6455 that may be sent, those registered since (1012-1014), and the ranges
    /// of libraries (3000-3999) and applications (4000-4999).
    #[must_use]
    pub const fn new(code: u16) -> Option<Self> {
        match code {
            1000..=1003 | 1007..=1014 | 3000..=4999 => Some(Self(code)),
            _ => None,
        }
    }

    /// The number on the wire.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl std::fmt::Display for CloseCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// Splits a close payload into its code and reason.
pub(crate) fn parse(payload: &[u8]) -> Result<(Option<CloseCode>, &str), WsError> {
    match payload {
        [] => Ok((None, "")),
        [_] => Err(WsError::ShortClose),
        [high, low, reason @ ..] => {
            let number = u16::from_be_bytes([*high, *low]);
            let code = CloseCode::new(number).ok_or(WsError::BadCloseCode(number))?;
            let reason = simdutf8::basic::from_utf8(reason).map_err(|_| WsError::InvalidUtf8)?;
            Ok((Some(code), reason))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_codes_that_may_travel_can_be_built() {
        let both_sides_of_each_range = [
            (0, false),
            (999, false),
            (1000, true),
            (1003, true),
            (1004, false),
            (1005, false),
            (1006, false),
            (1007, true),
            (1014, true),
            (1015, false),
            (1016, false),
            (1100, false),
            (2000, false),
            (2999, false),
            (3000, true),
            (4999, true),
            (5000, false),
            (65535, false),
        ];
        for (number, allowed) in both_sides_of_each_range {
            assert_eq!(CloseCode::new(number).map(CloseCode::get), allowed.then_some(number), "{number}");
        }
    }

    #[test]
    fn payloads() {
        assert_eq!(parse(b""), Ok((None, "")));
        assert_eq!(parse(&[3]), Err(WsError::ShortClose));
        assert_eq!(parse(&[3, 232]), Ok((Some(CloseCode::NORMAL), "")));
        assert_eq!(parse(b"\x03\xe8bye"), Ok((Some(CloseCode::NORMAL), "bye")));
        assert_eq!(parse(&[3, 237]), Err(WsError::BadCloseCode(1005)));
        assert_eq!(parse(b"\x03\xe8\xff"), Err(WsError::InvalidUtf8));
        assert_eq!(parse(b"\x03\xe8\xe2\x82"), Err(WsError::InvalidUtf8));
    }
}
