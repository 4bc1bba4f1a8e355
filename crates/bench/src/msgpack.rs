//! Just enough msgpack: writing the few shapes that a client and the baseline send, and stepping over values.

/// Appends a string with the shortest header.
pub(crate) fn push_str(out: &mut Vec<u8>, text: &[u8]) {
    match text.len() {
        len @ 0..32 => out.push(0xa0 | len as u8),
        len @ 32..256 => out.extend_from_slice(&[0xd9, len as u8]),
        len => {
            out.push(0xda);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
    }
    out.extend_from_slice(text);
}

/// Appends an unsigned integer in its shortest form.
pub(crate) fn push_uint(out: &mut Vec<u8>, value: u64) {
    match value {
        0..128 => out.push(value as u8),
        128..256 => out.extend_from_slice(&[0xcc, value as u8]),
        256..65_536 => {
            out.push(0xcd);
            out.extend_from_slice(&(value as u16).to_be_bytes());
        }
        65_536..4_294_967_296 => {
            out.push(0xce);
            out.extend_from_slice(&(value as u32).to_be_bytes());
        }
        _ => {
            out.push(0xcf);
            out.extend_from_slice(&value.to_be_bytes());
        }
    }
}

/// Appends an array's header.
pub(crate) fn push_array(out: &mut Vec<u8>, len: usize) {
    if len < 16 {
        out.push(0x90 | len as u8);
    } else {
        out.push(0xdc);
        out.extend_from_slice(&(len as u16).to_be_bytes());
    }
}

/// One value as far as the generator looks into it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    Int(i64),
    Str(&'a [u8]),
    /// The number of pairs that follow.
    Map(usize),
    /// The number of values that follow.
    Array(usize),
    Nil,
    /// Anything else: booleans, floats, binaries, extensions.
    Other,
}

pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The next value; of a map or array only its header. None when the bytes end or are no msgpack.
    pub(crate) fn next(&mut self) -> Option<Value<'a>> {
        let first = self.take(1)?[0];
        Some(match first {
            0x00..=0x7f => Value::Int(i64::from(first)),
            0x80..=0x8f => Value::Map(usize::from(first & 0x0f)),
            0x90..=0x9f => Value::Array(usize::from(first & 0x0f)),
            0xa0..=0xbf => Value::Str(self.take(usize::from(first & 0x1f))?),
            0xc0 => Value::Nil,
            0xc2 | 0xc3 => Value::Other,
            0xc4..=0xc6 => self.skipped(1 << (first - 0xc4), 0)?,
            0xc7..=0xc9 => self.skipped(1 << (first - 0xc7), 1)?,
            0xca => self.take(4).map(|_| Value::Other)?,
            0xcb => self.take(8).map(|_| Value::Other)?,
            0xcc..=0xcf => Value::Int(self.uint(1 << (first - 0xcc))? as i64),
            0xd0 => Value::Int(i64::from(self.uint(1)? as i8)),
            0xd1 => Value::Int(i64::from(self.uint(2)? as i16)),
            0xd2 => Value::Int(i64::from(self.uint(4)? as i32)),
            0xd3 => Value::Int(self.uint(8)? as i64),
            0xd4..=0xd8 => self.take((1 << (first - 0xd4)) + 1).map(|_| Value::Other)?,
            0xd9..=0xdb => {
                let len = self.uint(1 << (first - 0xd9))?;
                Value::Str(self.take(len as usize)?)
            }
            0xdc | 0xdd => Value::Array(self.uint(2 << (first - 0xdc))? as usize),
            0xde | 0xdf => Value::Map(self.uint(2 << (first - 0xde))? as usize),
            0xc1 => return None,
            0xe0..=0xff => Value::Int(i64::from(first as i8)),
        })
    }

    /// Steps over one whole value, what is inside included.
    pub(crate) fn skip(&mut self) -> Option<()> {
        let mut open = 1_usize;
        while open > 0 {
            open -= 1;
            open += match self.next()? {
                Value::Map(pairs) => pairs.checked_mul(2)?,
                Value::Array(values) => values,
                _ => 0,
            };
        }
        Some(())
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(taken)
    }

    fn uint(&mut self, width: usize) -> Option<u64> {
        Some(self.take(width)?.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }

    fn skipped(&mut self, width: usize, extra: usize) -> Option<Value<'a>> {
        let len = self.uint(width)? as usize;
        self.take(len.checked_add(extra)?)?;
        Some(Value::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut out = vec![0x83];
        for (key, value) in [("a", 5), ("b", 70_000), ("c", 1 << 40)] {
            push_str(&mut out, key.as_bytes());
            push_uint(&mut out, value);
        }
        let mut reader = Reader::new(&out);
        assert_eq!(reader.next(), Some(Value::Map(3)));
        for (key, value) in [("a", 5), ("b", 70_000), ("c", 1 << 40)] {
            assert_eq!(reader.next(), Some(Value::Str(key.as_bytes())));
            assert_eq!(reader.next(), Some(Value::Int(value)));
        }
        assert_eq!(reader.next(), None);
        assert_eq!(Reader::new(&out).skip(), Some(()));
        assert_eq!(Reader::new(&out[..out.len() - 1]).skip(), None);
    }
}
