//! WebSocket framing, as much as both ends here need: no extensions, no fragments.
//!
//! The server's own codec is not used on purpose: a generator that shares code with what it measures would
//! share its mistakes.

use anyhow::{Result, bail};

pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;

/// The largest frame that is accepted: far above anything a benchmark sends, low enough to catch lost framing.
const MAX_PAYLOAD: u64 = 16 << 20;

/// Any key is valid; one that is not zero keeps the server's unmasking honest.
const MASK: [u8; 4] = [0x5a, 0x13, 0xc7, 0x2e];

#[derive(Clone, Copy, Debug)]
pub(crate) struct Header {
    pub(crate) opcode: u8,
    pub(crate) header_len: usize,
    pub(crate) payload_len: usize,
    pub(crate) mask: Option<[u8; 4]>,
}

impl Header {
    /// Reads the header at the start of `bytes`. None: more bytes are needed.
    #[inline]
    pub(crate) fn read(bytes: &[u8]) -> Result<Option<Header>> {
        let [first, second, rest @ ..] = bytes else { return Ok(None) };
        let (payload_len, extended) = match second & 0x7f {
            126 => match rest {
                [a, b, ..] => (u64::from(u16::from_be_bytes([*a, *b])), 2),
                _ => return Ok(None),
            },
            127 => match rest.first_chunk::<8>() {
                Some(len) => (u64::from_be_bytes(*len), 8),
                None => return Ok(None),
            },
            short => (u64::from(short), 0),
        };
        if first & 0xf0 != 0x80 || payload_len > MAX_PAYLOAD {
            bail!("a frame that is fragmented, compressed or larger than 16 MiB (first byte {first:#04x})");
        }
        let mut header = Header {
            opcode: first & 0x0f,
            header_len: 2 + extended,
            payload_len: payload_len as usize,
            mask: None,
        };
        if second & 0x80 != 0 {
            let Some(mask) = rest.get(extended..).and_then(|rest| rest.first_chunk::<4>()) else {
                return Ok(None);
            };
            header.mask = Some(*mask);
            header.header_len += 4;
        }
        Ok(Some(header))
    }

    pub(crate) fn frame_len(&self) -> usize {
        self.header_len + self.payload_len
    }
}

/// Appends a server's frame.
pub(crate) fn push(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    push_header(out, opcode, payload.len(), 0);
    out.extend_from_slice(payload);
}

/// Appends a client's frame.
pub(crate) fn push_masked(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    push_header(out, opcode, payload.len(), 0x80);
    out.extend_from_slice(&MASK);
    let start = out.len();
    out.extend_from_slice(payload);
    unmask(&mut out[start..], MASK);
}

/// A close frame's code and words, for people.
pub(crate) fn close_reason(payload: &[u8]) -> String {
    match payload.split_first_chunk::<2>() {
        Some((code, words)) => {
            format!(" with {}: {}", u16::from_be_bytes(*code), String::from_utf8_lossy(words))
        }
        None => String::new(),
    }
}

/// Masks or unmasks in place: the same operation.
pub(crate) fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let word = u32::from_ne_bytes(mask);
    let (words, rest) = payload.as_chunks_mut::<4>();
    for chunk in words {
        *chunk = (u32::from_ne_bytes(*chunk) ^ word).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(mask) {
        *byte ^= key;
    }
}

fn push_header(out: &mut Vec<u8>, opcode: u8, len: usize, mask_bit: u8) {
    out.push(0x80 | opcode);
    match len {
        0..126 => out.push(mask_bit | len as u8),
        126..65_536 => {
            out.push(mask_bit | 126);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        _ => {
            out.push(mask_bit | 127);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_every_header_size_come_back() {
        for len in [0, 1, 125, 126, 65_535, 65_536] {
            let payload: Vec<u8> = (0..len).map(|at| at as u8).collect();
            for masked in [false, true] {
                let mut bytes = Vec::new();
                if masked {
                    push_masked(&mut bytes, TEXT, &payload)
                } else {
                    push(&mut bytes, TEXT, &payload)
                }
                let header = Header::read(&bytes).unwrap().unwrap();
                assert_eq!(header.frame_len(), bytes.len());
                let mut body = bytes[header.header_len..].to_vec();
                if let Some(mask) = header.mask {
                    unmask(&mut body, mask);
                }
                assert_eq!(body, payload);
                for cut in 0..header.header_len {
                    assert!(Header::read(&bytes[..cut]).unwrap().is_none());
                }
            }
        }
    }

    #[test]
    fn a_close_frame_says_why() {
        assert_eq!(close_reason(b"\x03\xf5too slow"), " with 1013: too slow");
        assert_eq!(close_reason(b""), "");
    }

    #[test]
    fn a_fragment_is_refused() {
        assert!(Header::read(&[0x01, 0x00]).is_err());
    }
}
