//! What every benchmark message carries: who sent it, where, which one it is, and when.
//!
//! The layout is fixed-width text, so the receiver finds it with one comparison at the place where the last
//! frame had it, reads the numbers without a parser, and needs neither JSON nor msgpack for a delivery.
//! It is text without anything that JSON escapes, so it is the same bytes in every format.

/// Opens every payload. Eight bytes, so that a receiver compares it as one word.
pub(crate) const MARKER: [u8; 8] = *b"~FfBnch~";

/// Bytes of marker and numbers; what follows up to the payload's length is filler.
pub(crate) const STAMP_LEN: usize = 48;

/// Publishers and channels are four digits each.
pub(crate) const MAX_ROUTE: usize = 10_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) publisher: usize,
    /// The channel's number, so that a delivery on the wrong channel is noticed.
    pub(crate) channel: usize,
    /// Counts up from 0 without a gap for each (publisher, channel).
    pub(crate) seq: u64,
    /// Nanoseconds on the generator's own clock.
    pub(crate) sent_ns: u64,
}

/// Appends a payload of `len` bytes (at least [`STAMP_LEN`]).
pub(crate) fn write(out: &mut Vec<u8>, stamp: Stamp, len: usize) {
    out.extend_from_slice(&MARKER);
    push_digits8(out, (stamp.publisher * MAX_ROUTE + stamp.channel) as u64);
    push_digits8(out, stamp.seq / E8);
    push_digits8(out, stamp.seq % E8);
    push_digits8(out, stamp.sent_ns / E8 % E8);
    push_digits8(out, stamp.sent_ns % E8);
    let mut at = STAMP_LEN;
    while at < len {
        let part = &FILLER[at % PERIOD..PERIOD.min(at % PERIOD + len - at)];
        out.extend_from_slice(part);
        at += part.len();
    }
}

/// Reads the stamp of a payload whose marker is at the start of `bytes`; None when it is not, or is cut short.
#[inline]
pub(crate) fn read(bytes: &[u8]) -> Option<Stamp> {
    let head: &[u8; STAMP_LEN] = bytes.get(..STAMP_LEN)?.try_into().ok()?;
    let (words, _) = head.as_chunks::<8>();
    if words[0] != MARKER {
        return None;
    }
    let route = digits8(words[1]);
    Some(Stamp {
        publisher: (route / MAX_ROUTE as u64) as usize,
        channel: (route % MAX_ROUTE as u64) as usize,
        seq: digits8(words[2]) * E8 + digits8(words[3]),
        sent_ns: digits8(words[4]) * E8 + digits8(words[5]),
    })
}

/// Whether the payload's filler arrived as it was sent. Receivers sample: it touches the rest of the payload.
pub(crate) fn filler_is_intact(payload: &[u8]) -> bool {
    let first = &payload[STAMP_LEN.min(payload.len())..PERIOD.min(payload.len())];
    first == &FILLER[STAMP_LEN.min(payload.len())..][..first.len()]
        && payload.chunks(PERIOD).skip(1).all(|part| part == &FILLER[..part.len()])
}

const E8: u64 = 100_000_000;

/// The filler repeats after this many bytes.
const PERIOD: usize = 4096;

/// Varies with the place, so that shifted bytes are noticed too.
static FILLER: [u8; PERIOD] = {
    let mut filler = [0; PERIOD];
    let mut at = 0;
    while at < PERIOD {
        filler[at] = b'a' + (at % 23) as u8;
        at += 1;
    }
    filler
};

fn push_digits8(out: &mut Vec<u8>, mut value: u64) {
    let mut text = [b'0'; 8];
    for digit in text.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
    out.extend_from_slice(&text);
}

/// Eight decimal digits at once: pairs, then fours, then eight, each step one multiplication.
#[inline]
fn digits8(text: [u8; 8]) -> u64 {
    let v = u64::from_le_bytes(text) & 0x0F0F_0F0F_0F0F_0F0F;
    let v = (v.wrapping_mul(2_561) >> 8) & 0x00FF_00FF_00FF_00FF;
    let v = (v.wrapping_mul(6_553_601) >> 16) & 0x0000_FFFF_0000_FFFF;
    v.wrapping_mul(42_949_672_960_001) >> 32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_comes_back_as_it_went() {
        for (seq, sent_ns) in [(0, 0), (99_999_999, 100_000_000), (1_234_567_890_123, 9_876_543_210_987_654)]
        {
            let stamp = Stamp { publisher: 9_999, channel: 42, seq, sent_ns };
            let mut bytes = Vec::new();
            write(&mut bytes, stamp, 128);
            assert_eq!(bytes.len(), 128);
            assert_eq!(read(&bytes), Some(stamp));
            assert!(filler_is_intact(&bytes));
            bytes[100] ^= 1;
            assert!(!filler_is_intact(&bytes));
        }
    }

    #[test]
    fn long_fillers_are_checked_to_the_end() {
        let stamp = Stamp { publisher: 0, channel: 0, seq: 0, sent_ns: 0 };
        for len in [48, 49, 4_095, 4_096, 4_097, 20_000] {
            let mut bytes = Vec::new();
            write(&mut bytes, stamp, len);
            assert_eq!(bytes.len(), len);
            assert!(filler_is_intact(&bytes));
            bytes[len - 1] ^= 1;
            assert!(len == STAMP_LEN || !filler_is_intact(&bytes));
        }
    }

    #[test]
    fn other_bytes_are_no_stamp() {
        assert_eq!(read(b"~FfBnch~1234"), None);
        assert_eq!(read(&[b'x'; 64]), None);
    }
}
