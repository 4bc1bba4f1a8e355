//! The zlib states of a core, lent to every connection for the length of one message.
//!
//! No context is taken over, so nothing of a message is left for the next one: not for the same connection
//! and, more important, not for another connection that borrows the same state.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use crate::error::WsError;

/// A scratch buffer that one large message has blown up is given back to the allocator down to this size.
pub const SCRATCH_KEEP_BYTES: usize = 64 * 1024;

/// The first guess at an inflated size; doubled as needed, up to the message limit.
const INFLATE_START_BYTES: usize = 1024;

/// What the sender strips from the end of a sync flush (RFC 7692, 7.2.1).
const FLUSH_TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// [`FLUSH_TAIL`] and an empty last block. With the last block zlib says "end of stream" if, and only if, the
/// payload stopped at a block's end; without it a truncated payload would pass for a shorter message.
const TAIL_AND_END: [u8; 6] = [0x00, 0x00, 0xff, 0xff, 0x03, 0x00];

/// A sender may end its blocks with BFINAL (RFC 7692, 7.2.3.4), once for each flush. Each restart costs a reset,
/// so a payload made of nothing but last blocks is refused.
const MAX_FINAL_BLOCKS: usize = 16;

/// What decoding borrows: a buffer for messages that did not lie whole in the caller's input, and the inflater.
/// One for each core. Starts empty; the inflater (about 40 KiB) is made when the first compressed message comes.
#[derive(Default)]
pub struct Scratch {
    /// The message that the last event lies in, if it does not lie in the caller's input.
    pub(crate) message: Vec<u8>,
    inflater: Option<Box<Decompress>>,
}

impl Scratch {
    /// Empty: allocates on first need.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives back what a large message left behind.
    pub(crate) fn trim(&mut self) {
        if self.message.capacity() > SCRATCH_KEEP_BYTES {
            self.message = Vec::new();
        }
    }

    /// Inflates the payload of one whole message into [`Self::message`]. The buffer never grows past `limit`
    /// and one byte, so a bomb costs what an honest message of that size costs.
    pub(crate) fn inflate(&mut self, deflated: &[u8], limit: usize) -> Result<&[u8], WsError> {
        self.trim();
        self.message.clear();
        // Some senders flush nothing for an empty message, where RFC 7692 (7.2.3.6) has them send one zero byte.
        if deflated.is_empty() {
            return Ok(&self.message);
        }
        let guess = deflated.len().saturating_mul(4).max(INFLATE_START_BYTES).min(limit.saturating_add(1));
        self.message.reserve_exact(guess);
        let inflater = self.inflater.get_or_insert_with(|| Box::new(Decompress::new(false)));
        inflater.reset(false);
        let mut run = InflateRun { inflater, out: &mut self.message, limit };

        let mut rest = deflated;
        let mut final_blocks = 0;
        while !rest.is_empty() {
            if run.step(&mut rest)? == Status::StreamEnd {
                if rest.is_empty() {
                    return Ok(&self.message);
                }
                final_blocks += 1;
                if final_blocks > MAX_FINAL_BLOCKS {
                    return Err(WsError::BadDeflate);
                }
                run.inflater.reset(false);
            }
        }
        let mut rest = &TAIL_AND_END[..];
        while run.step(&mut rest)? != Status::StreamEnd {}
        if rest.is_empty() { Ok(&self.message) } else { Err(WsError::BadDeflate) }
    }
}

/// One message on its way through the inflater.
struct InflateRun<'a> {
    inflater: &'a mut Decompress,
    out: &'a mut Vec<u8>,
    limit: usize,
}

impl InflateRun<'_> {
    /// Consumes some of `rest` or produces some output; an error if it can do neither, so callers may loop.
    fn step(&mut self, rest: &mut &[u8]) -> Result<Status, WsError> {
        if self.out.len() == self.out.capacity() {
            let more = self.out.capacity().max(INFLATE_START_BYTES);
            let room = self.limit.saturating_add(1).saturating_sub(self.out.len());
            self.out.reserve_exact(more.min(room));
        }
        let (in_before, out_before) = (self.inflater.total_in(), self.out.len());
        let status = self
            .inflater
            .decompress_vec(rest, self.out, FlushDecompress::Sync)
            .map_err(|_| WsError::BadDeflate)?;
        if self.out.len() > self.limit {
            return Err(WsError::TooBig { limit: self.limit });
        }
        let consumed = (self.inflater.total_in() - in_before) as usize;
        if consumed == 0 && self.out.len() == out_before && status != Status::StreamEnd {
            return Err(WsError::BadDeflate);
        }
        *rest = &rest[consumed..];
        Ok(status)
    }
}

/// The base-2 logarithm of a DEFLATE window: 9 to 15. RFC 7692 also knows 8, which zlib cannot write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WindowBits(u8);

impl WindowBits {
    /// 32 KiB: what everybody has who asks for nothing else.
    pub const MAX: Self = Self(15);
    /// 512 bytes.
    pub const MIN: Self = Self(9);

    /// `None` for a window that we cannot compress with.
    #[must_use]
    pub const fn new(bits: u8) -> Option<Self> {
        if bits >= Self::MIN.0 && bits <= Self::MAX.0 { Some(Self(bits)) } else { None }
    }

    /// The number of bits.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }
}

/// A compressor that a core lends to one frame at a time. About 300 KiB for the largest window; make one
/// for each [`WindowBits`] that peers have negotiated, when the first of them comes.
pub struct Deflater {
    compress: Compress,
    /// Where the compressed form grows before it replaces the plain one.
    out: Vec<u8>,
    min_bytes: usize,
    /// Kept to make [`Self::compress`] anew.
    level: Compression,
    window: WindowBits,
}

impl Deflater {
    /// `level` is 1 (fast) to 9 (small), and is clamped to that. Payloads shorter than `min_bytes` stay plain:
    /// below some 100 bytes compression without a taken-over context seldom pays for its work.
    #[must_use]
    pub fn new(level: u32, window: WindowBits, min_bytes: usize) -> Self {
        let level = Compression::new(level.clamp(1, 9));
        Self { compress: fresh(level, window), out: Vec::new(), min_bytes, level, window }
    }

    /// The compressed payload, or `None` when plain is the better choice: too short, or it would not shrink.
    pub(crate) fn deflate(&mut self, payload: &[u8]) -> Option<&[u8]> {
        if payload.len() < self.min_bytes.max(1) {
            return None;
        }
        if self.out.capacity() > SCRATCH_KEEP_BYTES {
            self.out = Vec::new();
        }
        self.out.clear();
        self.out.reserve(deflate_bound(payload.len()));
        self.compress.reset();
        let outcome = self.compress.compress_vec(payload, &mut self.out, FlushCompress::Sync);
        let complete = outcome.is_ok()
            && self.out.len() < self.out.capacity()
            && self.compress.total_in() == payload.len() as u64
            && self.out.ends_with(&FLUSH_TAIL);
        if !complete {
            // Not seen since the bound is right, but a reset does not cure an abandoned compression: zlib-rs
            // 0.6.8 at level 1 then believes that a block is open, and panics or writes garbage later.
            self.compress = fresh(self.level, self.window);
            return None;
        }
        let deflated = self.out.len() - FLUSH_TAIL.len();
        (deflated < payload.len()).then(|| &self.out[..deflated])
    }
}

fn fresh(level: Compression, window: WindowBits) -> Compress {
    Compress::new_with_window_bits(level, false, window.get())
}

/// Room that every payload fits in at every level, so that no compression is abandoned half-way. The worst is level 1,
/// which knows only fixed codes: nine bits for a byte.
const fn deflate_bound(len: usize) -> usize {
    len + len / 8 + 64
}

#[cfg(test)]
mod tests;
