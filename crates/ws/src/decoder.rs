//! Bytes received, in any pieces, to events.
//!
//! Two layers. Here: frames that lie whole in the caller's buffer are unmasked in place and handed out
//! without a copy. In [`crate::partial`]: everything else, which is kept on the heap only until it is whole.

use crate::close::{self, CloseCode};
use crate::deflate::Scratch;
use crate::error::WsError;
use crate::handshake::DeflateParams;
use crate::header::{ControlKind, DataKind, FrameKind, Header, HeaderRules, PayloadCoding, Position};
use crate::partial::Partial;

/// The receiving side of one connection. 24 bytes when idle, with nothing on the heap.
pub struct Decoder {
    limit: usize,
    /// An unfinished frame or message. Boxed because most reads end with a whole frame.
    partial: Option<Box<Partial>>,
    rules: HeaderRules,
    stage: Stage,
}

/// What a connection's decoder is told once.
#[derive(Debug, Clone, Copy)]
pub struct Config {
    /// The largest message, counted after reassembly and after inflating. Exactly this many bytes still pass.
    pub max_message_bytes: usize,
    /// Who we are: a server takes only masked frames, a client only clear ones.
    pub role: Role,
    /// What the handshake negotiated. `None`: RSV1 is an error.
    pub deflate: Option<DeflateParams>,
}

/// Which end of the connection decodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Receives from clients: frames must be masked.
    Server,
    /// Receives from a server: frames must not be masked.
    Client,
}

/// A whole message or control frame. Borrows from the caller's input or from the [`Scratch`], never from the
/// decoder, so the connection that owns the decoder is free while the event is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event<'e> {
    /// A text message, checked to be UTF-8.
    Text(&'e str),
    /// A binary message.
    Binary(&'e [u8]),
    /// To be answered with a pong of the same payload.
    Ping(&'e [u8]),
    /// An answer to our ping, or unasked.
    Pong(&'e [u8]),
    /// The peer is done; answer with a close frame. No further event follows.
    Close {
        /// `None` when the frame had no payload.
        code: Option<CloseCode>,
        /// For humans.
        reason: &'e str,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Open,
    /// A close frame or an error came. RFC 6455 (1.4): what follows is discarded.
    Over,
}

impl Decoder {
    /// A decoder for a connection whose handshake is done.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        Self {
            limit: config.max_message_bytes,
            partial: None,
            rules: HeaderRules { role: config.role, deflate: config.deflate.is_some() },
            stage: Stage::Open,
        }
    }

    /// Takes the next event from the front of `input` and shortens `input` by what it consumed.
    ///
    /// Call it until it returns `Ok(None)`: then all of `input` is consumed, and the caller's buffer is free for
    /// other connections. Payloads are unmasked where they lie, so `input` must not be read again.
    ///
    /// # Errors
    /// The first violation ends the connection; every call after it returns `Ok(None)` and discards its input.
    #[inline]
    pub fn next<'e, 'b: 'e>(
        &mut self,
        input: &mut &'b mut [u8],
        scratch: &'e mut Scratch,
    ) -> Result<Option<Event<'e>>, WsError> {
        let outcome = if self.partial.is_none() && self.stage == Stage::Open {
            self.next_whole(input, scratch)
        } else {
            self.next_pieced(input, scratch)
        };
        if matches!(outcome, Err(_) | Ok(Some(Event::Close { .. }))) {
            self.stage = Stage::Over;
            self.partial = None;
            *input = &mut [];
        }
        outcome
    }

    /// Heap bytes held now: 0 when idle, at most [`Self::max_retained_bytes`].
    #[must_use]
    pub fn retained_bytes(&self) -> usize {
        self.partial.as_ref().map_or(0, |partial| partial.retained_bytes())
    }

    /// The most that [`Self::retained_bytes`] can be: the message limit, one control frame, a fixed part of some
    /// 150 bytes and, with compression, an allowance of 1/64 for payloads that compression made longer.
    #[must_use]
    pub fn max_retained_bytes(&self) -> usize {
        let coding = if self.rules.deflate { PayloadCoding::Deflated } else { PayloadCoding::Plain };
        wire_limit(self.limit, coding).saturating_add(Partial::FIXED_BYTES)
    }

    /// No frame or message is unfinished. A peer that goes away now has not been cut off in mid-sentence.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.partial.is_none()
    }

    #[inline]
    fn next_whole<'e, 'b: 'e>(
        &mut self,
        input: &mut &'b mut [u8],
        scratch: &'e mut Scratch,
    ) -> Result<Option<Event<'e>>, WsError> {
        if input.is_empty() {
            scratch.trim();
            return Ok(None);
        }
        let Some(header) = Header::parse(input, self.rules)? else { return self.next_pieced(input, scratch) };
        let available = input.len() - header.header_len;
        if header.payload_len > available as u64
            || header.position == Position::MoreToCome
            || header.kind == FrameKind::Continuation
        {
            return self.next_pieced(input, scratch);
        }
        // It fits in `input`, so it fits in a usize.
        let payload_len = header.payload_len as usize;
        if matches!(header.kind, FrameKind::Data(_)) && payload_len > wire_limit(self.limit, header.coding) {
            return Err(WsError::TooBig { limit: self.limit });
        }
        cut(input, header.header_len);
        let payload = cut(input, payload_len);
        if let Some(key) = header.key {
            key.apply(payload);
        }
        match (header.kind, header.coding) {
            (FrameKind::Control(kind), _) => control_event(kind, payload).map(Some),
            (FrameKind::Data(kind), PayloadCoding::Plain) => data_event(kind, payload).map(Some),
            (FrameKind::Data(kind), PayloadCoding::Deflated) => {
                data_event(kind, scratch.inflate(payload, self.limit)?).map(Some)
            }
            (FrameKind::Continuation, _) => Err(WsError::StrayContinuation),
        }
    }

    /// Out of line, so that the loop over whole frames stays small.
    #[cold]
    #[inline(never)]
    fn next_pieced<'e, 'b: 'e>(
        &mut self,
        input: &mut &'b mut [u8],
        scratch: &'e mut Scratch,
    ) -> Result<Option<Event<'e>>, WsError> {
        if self.stage == Stage::Over {
            *input = &mut [];
            return Ok(None);
        }
        let mut partial = self.partial.take().unwrap_or_default();
        let event = partial.next(self.rules, self.limit, input, scratch)?;
        if !partial.is_empty() {
            self.partial = Some(partial);
        }
        Ok(event)
    }
}

/// The most payload bytes that a message may announce. A message of exactly the limit that does not compress
/// becomes a little longer by being deflated (5 bytes for each stored block), and must pass all the same.
#[inline]
pub(crate) fn wire_limit(limit: usize, coding: PayloadCoding) -> usize {
    match coding {
        PayloadCoding::Plain => limit,
        PayloadCoding::Deflated => limit.saturating_add(limit / 64).saturating_add(64),
    }
}

#[inline]
pub(crate) fn data_event(kind: DataKind, payload: &[u8]) -> Result<Event<'_>, WsError> {
    match kind {
        DataKind::Text => {
            simdutf8::basic::from_utf8(payload).map(Event::Text).map_err(|_| WsError::InvalidUtf8)
        }
        DataKind::Binary => Ok(Event::Binary(payload)),
    }
}

pub(crate) fn control_event(kind: ControlKind, payload: &[u8]) -> Result<Event<'_>, WsError> {
    Ok(match kind {
        ControlKind::Ping => Event::Ping(payload),
        ControlKind::Pong => Event::Pong(payload),
        ControlKind::Close => {
            let (code, reason) = close::parse(payload)?;
            Event::Close { code, reason }
        }
    })
}

/// Cuts `len` bytes off the front of `input`.
#[inline]
pub(crate) fn cut<'b>(input: &mut &'b mut [u8], len: usize) -> &'b mut [u8] {
    let (front, rest) = std::mem::take(input).split_at_mut(len);
    *input = rest;
    front
}
