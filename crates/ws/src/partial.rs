//! What did not lie whole in one read: split headers, split payloads, fragmented messages.

use crate::decoder::{Event, control_event, cut, data_event, wire_limit};
use crate::deflate::Scratch;
use crate::error::WsError;
use crate::header::{
    ControlKind, DataKind, FrameKind, Header, HeaderRules, MAX_CONTROL_BYTES, MAX_HEADER_BYTES,
    PayloadCoding, Position,
};
use crate::mask::MaskKey;

/// Fragments without payload that one message may have. The message limit bounds all others.
pub const MAX_EMPTY_FRAGMENTS: u32 = 64;

/// The first allocation for a message that comes in pieces.
const FIRST_GROWTH_BYTES: usize = 256;

/// The unfinished part of a stream. Empty = the stream stands between two messages.
#[derive(Default)]
pub(crate) struct Partial {
    /// The bytes of a header that is not whole yet.
    head: HeadBytes,
    /// A frame whose header is known and whose payload is not all here.
    frame: Option<OpenFrame>,
    /// A message of which not all frames are here.
    message: Option<OpenMessage>,
    /// The payload so far of a split control frame, which may stand between the frames of a message.
    control: Vec<u8>,
}

#[derive(Default)]
struct HeadBytes {
    bytes: [u8; MAX_HEADER_BYTES],
    len: usize,
}

struct OpenFrame {
    target: Target,
    position: Position,
    /// Payload bytes still to come.
    remaining: usize,
    /// Turned to the next byte to come.
    key: Option<MaskKey>,
}

/// Where a frame's payload goes.
#[derive(Clone, Copy)]
enum Target {
    Message,
    Control(ControlKind),
}

struct OpenMessage {
    kind: DataKind,
    coding: PayloadCoding,
    /// Unmasked; still compressed if `coding` says so. Its capacity never passes the limit.
    bytes: Vec<u8>,
    /// Up to here `bytes` has been found to be UTF-8 (plain text only).
    valid_to: usize,
    empty_fragments: u32,
}

impl Partial {
    /// All of [`Self::retained_bytes`] but the message.
    pub(crate) const FIXED_BYTES: usize = size_of::<Self>() + MAX_CONTROL_BYTES;

    pub(crate) fn is_empty(&self) -> bool {
        self.head.len == 0 && self.frame.is_none() && self.message.is_none()
    }

    pub(crate) fn retained_bytes(&self) -> usize {
        let message = self.message.as_ref().map_or(0, |message| message.bytes.capacity());
        size_of::<Self>() + self.control.capacity() + message
    }

    /// Consumes `input` up to the end of the next message or control frame, or all of it.
    pub(crate) fn next<'e, 'b: 'e>(
        &mut self,
        rules: HeaderRules,
        limit: usize,
        input: &mut &'b mut [u8],
        scratch: &'e mut Scratch,
    ) -> Result<Option<Event<'e>>, WsError> {
        loop {
            let mut frame = match self.frame.take() {
                Some(frame) => frame,
                None => match self.head.read(input, rules)? {
                    Some(header) => self.open(header, limit)?,
                    None => return Ok(None),
                },
            };
            self.take_payload(&mut frame, limit, input)?;
            if frame.remaining > 0 {
                self.frame = Some(frame);
                return Ok(None);
            }
            match (frame.target, frame.position) {
                (Target::Control(kind), _) => {
                    scratch.trim();
                    scratch.message.clear();
                    scratch.message.append(&mut self.control);
                    self.control = Vec::new();
                    return control_event(kind, &scratch.message).map(Some);
                }
                (Target::Message, Position::MoreToCome) => {}
                (Target::Message, Position::Final) => {
                    let message = self.message.take().ok_or(WsError::StrayContinuation)?;
                    return message.finish(limit, scratch).map(Some);
                }
            }
        }
    }

    /// Checks a header against the message that is open, and against the limit, before any payload is kept.
    fn open(&mut self, header: Header, limit: usize) -> Result<OpenFrame, WsError> {
        let too_big = WsError::TooBig { limit };
        let target = match header.kind {
            FrameKind::Control(kind) => Target::Control(kind),
            FrameKind::Data(_) if self.message.is_some() => return Err(WsError::InterleavedMessage),
            FrameKind::Data(kind) => {
                self.message = Some(OpenMessage::new(kind, header.coding));
                Target::Message
            }
            FrameKind::Continuation => Target::Message,
        };
        if let Target::Message = target {
            let message = self.message.as_mut().ok_or(WsError::StrayContinuation)?;
            let room = wire_limit(limit, message.coding) - message.bytes.len();
            if header.payload_len > room as u64 {
                return Err(too_big);
            }
            if header.payload_len == 0 && header.position == Position::MoreToCome {
                message.empty_fragments += 1;
                if message.empty_fragments > MAX_EMPTY_FRAGMENTS {
                    return Err(WsError::TooManyEmptyFragments);
                }
            }
        }
        let remaining = usize::try_from(header.payload_len).map_err(|_| too_big)?;
        Ok(OpenFrame { target, position: header.position, remaining, key: header.key })
    }

    /// Moves as much of the frame's payload as is there to where it belongs.
    fn take_payload(
        &mut self,
        frame: &mut OpenFrame,
        limit: usize,
        input: &mut &mut [u8],
    ) -> Result<(), WsError> {
        let piece = cut(input, frame.remaining.min(input.len()));
        if let Some(key) = &mut frame.key {
            key.apply(piece);
            *key = key.advance(piece.len());
        }
        let expected = frame.remaining;
        frame.remaining -= piece.len();
        match (frame.target, &mut self.message) {
            (Target::Control(_), _) => append(&mut self.control, piece, expected),
            (Target::Message, Some(message)) => {
                let ceiling = match frame.position {
                    Position::Final => message.bytes.len() + expected,
                    Position::MoreToCome => wire_limit(limit, message.coding),
                };
                append(&mut message.bytes, piece, ceiling);
                message.check_text_so_far()?;
            }
            (Target::Message, None) => return Err(WsError::StrayContinuation),
        }
        Ok(())
    }
}

impl HeadBytes {
    /// A whole header, taken from what was kept and the front of `input`; or `None`, and all of `input` is kept.
    fn read(&mut self, input: &mut &mut [u8], rules: HeaderRules) -> Result<Option<Header>, WsError> {
        if self.len == 0
            && let Some(header) = Header::parse(input, rules)?
        {
            cut(input, header.header_len);
            return Ok(Some(header));
        }
        while !input.is_empty() {
            self.bytes[self.len] = cut(input, 1)[0];
            self.len += 1;
            // Whole after at most MAX_HEADER_BYTES, so the index above is in bounds.
            if let Some(header) = Header::parse(&self.bytes[..self.len], rules)? {
                self.len = 0;
                return Ok(Some(header));
            }
        }
        Ok(None)
    }
}

impl OpenMessage {
    fn new(kind: DataKind, coding: PayloadCoding) -> Self {
        Self { kind, coding, bytes: Vec::new(), valid_to: 0, empty_fragments: 0 }
    }

    /// Fails as soon as the text cannot become UTF-8 any more. Compressed text is checked when it is whole:
    /// inflating piece by piece would need a zlib state for each connection.
    fn check_text_so_far(&mut self) -> Result<(), WsError> {
        if self.kind != DataKind::Text || self.coding != PayloadCoding::Plain {
            return Ok(());
        }
        match simdutf8::compat::from_utf8(&self.bytes[self.valid_to..]) {
            Ok(_) => self.valid_to = self.bytes.len(),
            // A character that may still be completed.
            Err(error) if error.error_len().is_none() => self.valid_to += error.valid_up_to(),
            Err(_) => return Err(WsError::InvalidUtf8),
        }
        Ok(())
    }

    /// Moves the whole message to the scratch, so that the decoder is idle before the caller sees the event.
    fn finish(self, limit: usize, scratch: &mut Scratch) -> Result<Event<'_>, WsError> {
        match self.coding {
            PayloadCoding::Plain => {
                scratch.message = self.bytes;
                data_event(self.kind, &scratch.message)
            }
            PayloadCoding::Deflated => data_event(self.kind, scratch.inflate(&self.bytes, limit)?),
        }
    }
}

/// Appends with doubling growth that follows what has arrived, not what was announced, and stops at `ceiling`.
fn append(bytes: &mut Vec<u8>, piece: &[u8], ceiling: usize) {
    let needed = bytes.len() + piece.len();
    if needed > bytes.capacity() {
        let wanted = (bytes.capacity() * 2).max(FIRST_GROWTH_BYTES).min(ceiling).max(needed);
        bytes.reserve_exact(wanted - bytes.len());
    }
    bytes.extend_from_slice(piece);
}
