//! Varints and fields: the alphabet of the binary form.

use super::{END, Malformed};

pub(super) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Bytes that [`put_varint`] takes: 1 to 10.
pub(super) fn varint_len(value: u64) -> u8 {
    (64 - (value | 1).leading_zeros()).div_ceil(7) as u8
}

/// A varint and what follows it. `None` when it ends too early or does not fit 64 bits.
fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0_u64;
    for (i, byte) in bytes.iter().enumerate().take(10) {
        let bits = u64::from(byte & 0x7f);
        if i == 9 && bits > 1 {
            return None;
        }
        value |= bits << (7 * i);
        if byte & 0x80 == 0 {
            return Some((value, &bytes[i + 1..]));
        }
    }
    None
}

/// A field's value that is one varint and nothing more.
pub(super) fn varint_of(value: &[u8]) -> Option<u64> {
    varint(value).filter(|(_, rest)| rest.is_empty()).map(|(v, _)| v)
}

/// A varint length, that many bytes, and the rest.
pub(super) fn prefixed(value: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = varint(value)?;
    rest.split_at_checked(usize::try_from(length).ok()?)
}

pub(super) fn put_bytes(out: &mut Vec<u8>, tag: u64, value: &[u8]) {
    put_varint(out, tag);
    put_varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

/// An item whose length is not known before it is written: its four bytes are filled in afterwards.
pub(super) fn put_item(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    write(out);
    let length = u32::try_from(out.len() - at - 4).expect("a publish is smaller than 4 GiB: Limits");
    out[at..at + 4].copy_from_slice(&length.to_le_bytes());
}

/// Small numbers of either sign become small varints.
pub(super) fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

pub(super) fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// Walks over tagged fields without copying.
pub(super) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn rest(&self) -> &'a [u8] {
        self.0
    }

    /// The next field, to the end of the bytes.
    pub(super) fn next(&mut self) -> Result<Option<(u64, &'a [u8])>, Malformed> {
        if self.0.is_empty() { Ok(None) } else { self.next_before_end() }
    }

    /// The next field, to the end mark, which is taken too.
    pub(super) fn next_before_end(&mut self) -> Result<Option<(u64, &'a [u8])>, Malformed> {
        let (tag, rest) = varint(self.0).ok_or(Malformed::Short)?;
        if tag == END {
            self.0 = rest;
            return Ok(None);
        }
        let (value, rest) = prefixed(rest).ok_or(Malformed::Short)?;
        self.0 = rest;
        Ok(Some((tag, value)))
    }
}
