//! Frames, appended to a `Vec<u8>`.
//!
//! The server's half never masks, so a frame is the same bytes for every receiver: build it once, share it.
//! Many frames may stand one after the other in the same vector and leave in one write.

use crate::close::CloseCode;
use crate::deflate::Deflater;
use crate::header::{FIN, LEN_16, LEN_64, MAX_CONTROL_BYTES, RSV1};
use crate::mask::MaskKey;

/// The header of a payload of 126 to 65,535 bytes, which most frames of a busy channel have: those are
/// written in place, others are moved once.
const RESERVED_HEADER_BYTES: usize = 4;

/// What a whole, unfragmented frame can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Opcode {
    /// A message of UTF-8 text. The encoder does not check that it is.
    Text = 1,
    /// A message of bytes.
    Binary = 2,
    /// See [`close_frame`].
    Close = 8,
    /// At most 125 bytes; what is longer is cut off.
    Ping = 9,
    /// The payload of the ping that it answers; at most 125 bytes.
    Pong = 10,
}

impl Opcode {
    const fn is_control(self) -> bool {
        self as u8 >= 8
    }
}

/// Where a frame that is being written began. Give it to [`end_frame`] with the same vector.
#[derive(Debug)]
#[must_use = "a frame that is not ended is garbage on the wire"]
pub struct FrameMark(usize);

/// Which form of the payload [`end_frame_deflated`] wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// As the caller wrote it.
    Plain,
    /// Compressed, with RSV1.
    Deflated,
}

/// Makes room for a header. The caller appends the payload and calls [`end_frame`].
#[inline]
pub fn begin_frame(out: &mut Vec<u8>) -> FrameMark {
    let mark = FrameMark(out.len());
    out.extend_from_slice(&[0; RESERVED_HEADER_BYTES]);
    mark
}

/// Writes the header of the frame that began at `mark`; everything appended since is its payload.
///
/// # Panics
/// When `out` is not the vector that `mark` came from, or has been cut to before the mark.
#[inline]
pub fn end_frame(out: &mut Vec<u8>, mark: FrameMark, opcode: Opcode) {
    if opcode.is_control() {
        let longest = mark.0 + RESERVED_HEADER_BYTES + MAX_CONTROL_BYTES;
        debug_assert!(out.len() <= longest, "control frames carry at most 125 bytes");
        out.truncate(longest);
    }
    patch_header(out, mark.0, FIN | opcode as u8);
}

/// As [`end_frame`], but compresses the payload if that makes it smaller. Only for receivers that negotiated
/// permessage-deflate with the deflater's window; only messages are compressed, control frames never.
///
/// # Panics
/// As [`end_frame`].
pub fn end_frame_deflated(
    out: &mut Vec<u8>,
    mark: FrameMark,
    opcode: Opcode,
    deflater: &mut Deflater,
) -> Coding {
    let body = mark.0 + RESERVED_HEADER_BYTES;
    if !opcode.is_control()
        && let Some(deflated) = deflater.deflate(&out[body..])
    {
        out[body..body + deflated.len()].copy_from_slice(deflated);
        out.truncate(body + deflated.len());
        patch_header(out, mark.0, FIN | RSV1 | opcode as u8);
        return Coding::Deflated;
    }
    end_frame(out, mark, opcode);
    Coding::Plain
}

/// Appends a whole frame whose payload exists already.
pub fn write_frame(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8]) {
    let payload = cut_control(opcode, payload);
    let (header, header_len) = header(FIN | opcode as u8, 0, payload.len());
    out.reserve(header_len + payload.len());
    out.extend_from_slice(&header[..header_len]);
    out.extend_from_slice(payload);
}

/// Appends a close frame. A reason that does not fit in 123 bytes is cut at the last whole character.
pub fn close_frame(out: &mut Vec<u8>, code: CloseCode, reason: &str) {
    let mark = begin_frame(out);
    put_close(out, code, reason);
    end_frame(out, mark, Opcode::Close);
}

/// The client's [`write_frame`]: appends a whole frame, masked with `key`.
pub fn write_masked_frame(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8], key: MaskKey) {
    put_masked(out, FIN | opcode as u8, cut_control(opcode, payload), key);
}

/// The client's [`end_frame_deflated`]: appends a whole frame, compressed if that makes it smaller, masked.
pub fn write_masked_frame_deflated(
    out: &mut Vec<u8>,
    opcode: Opcode,
    payload: &[u8],
    key: MaskKey,
    deflater: &mut Deflater,
) -> Coding {
    if !opcode.is_control()
        && let Some(deflated) = deflater.deflate(payload)
    {
        put_masked(out, FIN | RSV1 | opcode as u8, deflated, key);
        return Coding::Deflated;
    }
    write_masked_frame(out, opcode, payload, key);
    Coding::Plain
}

/// The client's [`close_frame`].
pub fn write_masked_close(out: &mut Vec<u8>, code: CloseCode, reason: &str, key: MaskKey) {
    let mut payload = Vec::with_capacity(MAX_CONTROL_BYTES);
    put_close(&mut payload, code, reason);
    write_masked_frame(out, Opcode::Close, &payload, key);
}

fn put_close(out: &mut Vec<u8>, code: CloseCode, reason: &str) {
    out.extend_from_slice(&code.get().to_be_bytes());
    out.extend_from_slice(&reason.as_bytes()[..reason.floor_char_boundary(MAX_CONTROL_BYTES - 2)]);
}

fn put_masked(out: &mut Vec<u8>, first: u8, payload: &[u8], key: MaskKey) {
    let (header, header_len) = header(first, 0x80, payload.len());
    out.reserve(header_len + 4 + payload.len());
    out.extend_from_slice(&header[..header_len]);
    out.extend_from_slice(&key.0);
    let body = out.len();
    out.extend_from_slice(payload);
    key.apply(&mut out[body..]);
}

fn cut_control(opcode: Opcode, payload: &[u8]) -> &[u8] {
    if !opcode.is_control() {
        return payload;
    }
    debug_assert!(payload.len() <= MAX_CONTROL_BYTES, "control frames carry at most 125 bytes");
    &payload[..payload.len().min(MAX_CONTROL_BYTES)]
}

/// Puts the header before the payload that begins after the reserved bytes at `start`.
#[inline]
fn patch_header(out: &mut Vec<u8>, start: usize, first: u8) {
    let body = start + RESERVED_HEADER_BYTES;
    let end = out.len();
    let (header, header_len) = header(first, 0, end - body);
    if header_len > RESERVED_HEADER_BYTES {
        out.resize(end + header_len - RESERVED_HEADER_BYTES, 0);
        out.copy_within(body..end, start + header_len);
    } else if header_len < RESERVED_HEADER_BYTES {
        out.copy_within(body..end, start + header_len);
        out.truncate(end - (RESERVED_HEADER_BYTES - header_len));
    }
    out[start..start + header_len].copy_from_slice(&header[..header_len]);
}

/// A header without the mask key, and its length.
#[inline]
fn header(first: u8, mask_bit: u8, payload_len: usize) -> ([u8; 10], usize) {
    let mut header = [0; 10];
    header[0] = first;
    match payload_len {
        0..=125 => {
            header[1] = mask_bit | payload_len as u8;
            (header, 2)
        }
        126..=0xffff => {
            header[1] = mask_bit | LEN_16;
            header[2..4].copy_from_slice(&(payload_len as u16).to_be_bytes());
            (header, 4)
        }
        _ => {
            header[1] = mask_bit | LEN_64;
            header[2..10].copy_from_slice(&(payload_len as u64).to_be_bytes());
            (header, 10)
        }
    }
}

#[cfg(test)]
mod tests;
