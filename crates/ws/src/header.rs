//! The frame header: two to fourteen bytes, checked as early as each byte allows.

use crate::decoder::Role;
use crate::error::WsError;
use crate::mask::MaskKey;

/// What a ping, pong or close may carry (RFC 6455, 5.5).
pub const MAX_CONTROL_BYTES: usize = 125;

/// Two bytes, a 64-bit length, a mask key.
pub(crate) const MAX_HEADER_BYTES: usize = 14;

pub(crate) const FIN: u8 = 0x80;
pub(crate) const RSV1: u8 = 0x40;
const RSV2_AND_3: u8 = 0x30;
const MASK: u8 = 0x80;
pub(crate) const LEN_16: u8 = 126;
pub(crate) const LEN_64: u8 = 127;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FrameKind {
    Continuation,
    Data(DataKind),
    Control(ControlKind),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DataKind {
    Text,
    Binary,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ControlKind {
    Close,
    Ping,
    Pong,
}

/// Where a frame stands in its message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Position {
    Final,
    MoreToCome,
}

/// How a message's payload is coded. Decided by RSV1 of its first frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PayloadCoding {
    Plain,
    Deflated,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Header {
    pub kind: FrameKind,
    pub position: Position,
    pub coding: PayloadCoding,
    /// Bytes of the header itself.
    pub header_len: usize,
    pub payload_len: u64,
    /// `None` in the client role, where nothing is masked.
    pub key: Option<MaskKey>,
}

/// What both ends agreed that a header may say.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HeaderRules {
    pub role: Role,
    /// Whether RSV1 has a meaning on this connection.
    pub deflate: bool,
}

impl Header {
    /// `None` when `bytes` ends inside the header; what is there already has been checked.
    #[inline]
    pub(crate) fn parse(bytes: &[u8], rules: HeaderRules) -> Result<Option<Self>, WsError> {
        let Some(&first) = bytes.first() else { return Ok(None) };
        let (kind, position, coding) = parse_first(first, rules)?;
        let Some(&second) = bytes.get(1) else { return Ok(None) };
        let masked = second & MASK != 0;
        match rules.role {
            Role::Server if !masked => return Err(WsError::Unmasked),
            Role::Client if masked => return Err(WsError::Masked),
            _ => {}
        }
        let short = second & !MASK;
        if matches!(kind, FrameKind::Control(_)) && usize::from(short) > MAX_CONTROL_BYTES {
            return Err(WsError::LongControl);
        }
        let Some((payload_len, after_len)) = parse_length(short, bytes)? else { return Ok(None) };
        let (key, header_len) = if masked {
            let Some(key) = bytes.get(after_len..).and_then(<[u8]>::first_chunk::<4>) else {
                return Ok(None);
            };
            (Some(MaskKey(*key)), after_len + 4)
        } else {
            (None, after_len)
        };
        Ok(Some(Self { kind, position, coding, header_len, payload_len, key }))
    }
}

#[inline]
fn parse_first(first: u8, rules: HeaderRules) -> Result<(FrameKind, Position, PayloadCoding), WsError> {
    if first & RSV2_AND_3 != 0 {
        return Err(WsError::ReservedBits);
    }
    let kind = match first & 0x0f {
        0 => FrameKind::Continuation,
        1 => FrameKind::Data(DataKind::Text),
        2 => FrameKind::Data(DataKind::Binary),
        8 => FrameKind::Control(ControlKind::Close),
        9 => FrameKind::Control(ControlKind::Ping),
        10 => FrameKind::Control(ControlKind::Pong),
        reserved => return Err(WsError::UnknownOpcode(reserved)),
    };
    let coding = if first & RSV1 == 0 {
        PayloadCoding::Plain
    } else if rules.deflate && matches!(kind, FrameKind::Data(_)) {
        PayloadCoding::Deflated
    } else {
        return Err(WsError::ReservedBits);
    };
    let position = if first & FIN != 0 { Position::Final } else { Position::MoreToCome };
    if position == Position::MoreToCome && matches!(kind, FrameKind::Control(_)) {
        return Err(WsError::FragmentedControl);
    }
    Ok((kind, position, coding))
}

/// The payload's length and where the bytes after the length begin.
#[inline]
fn parse_length(short: u8, bytes: &[u8]) -> Result<Option<(u64, usize)>, WsError> {
    let rest = &bytes[2..];
    match short {
        LEN_16 => {
            let Some(long) = rest.first_chunk::<2>() else { return Ok(None) };
            let len = u64::from(u16::from_be_bytes(*long));
            if len < u64::from(LEN_16) { Err(WsError::NonMinimalLength) } else { Ok(Some((len, 4))) }
        }
        LEN_64 => {
            let Some(long) = rest.first_chunk::<8>() else { return Ok(None) };
            let len = u64::from_be_bytes(*long);
            if len > i64::MAX as u64 {
                Err(WsError::LengthOverflow)
            } else if len <= u64::from(u16::MAX) {
                Err(WsError::NonMinimalLength)
            } else {
                Ok(Some((len, 10)))
            }
        }
        len => Ok(Some((u64::from(len), 2))),
    }
}
