//! A cursor over msgpack. Lengths are the sender's claims: nothing is reserved for them, and every one is held
//! against the bytes that are there.

use std::borrow::Cow;

use bytes::Bytes;
use fanfare_model::RawValue;
use fanfare_model::error::{self, ErrorInfo};
use rmp::Marker;

use super::reader::{DEPTH_MAX, Entries, Reader, Token, too_deep, utf8};
use super::transcode;

#[derive(Clone)]
pub(super) struct MsgpackReader<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// What a marker announces. Scalars are read with it; of the rest the content is still to come.
enum Head<'a> {
    Scalar(Token<'a>),
    Text(u32),
    Binary(u32),
    Ext(u32),
    Array(u32),
    Map(u32),
}

fn malformed(why: &'static str) -> ErrorInfo {
    error::bad_request(format!("malformed msgpack: {why}"))
}

impl<'a> MsgpackReader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], ErrorInfo> {
        let end = self.at.checked_add(len).filter(|&end| end <= self.bytes.len());
        let end = end.ok_or_else(|| malformed("it ends early"))?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ErrorInfo> {
        self.take(N)?.try_into().map_err(|_| malformed("it ends early"))
    }

    fn len8(&mut self) -> Result<u32, ErrorInfo> {
        Ok(self.array::<1>()?[0].into())
    }

    fn len16(&mut self) -> Result<u32, ErrorInfo> {
        Ok(u16::from_be_bytes(self.array()?).into())
    }

    fn len32(&mut self) -> Result<u32, ErrorInfo> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    fn head(&mut self) -> Result<Head<'a>, ErrorInfo> {
        let marker = Marker::from_u8(self.array::<1>()?[0]);
        let token = match marker {
            Marker::Null => Token::Null,
            Marker::True => Token::Bool(true),
            Marker::False => Token::Bool(false),
            Marker::FixPos(n) => Token::Int(n.into()),
            Marker::FixNeg(n) => Token::Int(n.into()),
            Marker::U8 => Token::Int(self.array::<1>()?[0].into()),
            Marker::U16 => Token::Int(u16::from_be_bytes(self.array()?).into()),
            Marker::U32 => Token::Int(u32::from_be_bytes(self.array()?).into()),
            Marker::U64 => {
                let n = u64::from_be_bytes(self.array()?);
                i64::try_from(n).map_or(Token::Uint(n), Token::Int)
            }
            Marker::I8 => Token::Int(i8::from_be_bytes(self.array()?).into()),
            Marker::I16 => Token::Int(i16::from_be_bytes(self.array()?).into()),
            Marker::I32 => Token::Int(i32::from_be_bytes(self.array()?).into()),
            Marker::I64 => Token::Int(i64::from_be_bytes(self.array()?)),
            Marker::F32 => Token::Float(f32::from_be_bytes(self.array()?).into()),
            Marker::F64 => Token::Float(f64::from_be_bytes(self.array()?)),
            _ => return self.container(marker),
        };
        Ok(Head::Scalar(token))
    }

    fn container(&mut self, marker: Marker) -> Result<Head<'a>, ErrorInfo> {
        Ok(match marker {
            Marker::FixStr(n) => Head::Text(n.into()),
            Marker::Str8 => Head::Text(self.len8()?),
            Marker::Str16 => Head::Text(self.len16()?),
            Marker::Str32 => Head::Text(self.len32()?),
            Marker::Bin8 => Head::Binary(self.len8()?),
            Marker::Bin16 => Head::Binary(self.len16()?),
            Marker::Bin32 => Head::Binary(self.len32()?),
            Marker::FixArray(n) => Head::Array(n.into()),
            Marker::Array16 => Head::Array(self.len16()?),
            Marker::Array32 => Head::Array(self.len32()?),
            Marker::FixMap(n) => Head::Map(n.into()),
            Marker::Map16 => Head::Map(self.len16()?),
            Marker::Map32 => Head::Map(self.len32()?),
            Marker::FixExt1 => Head::Ext(1),
            Marker::FixExt2 => Head::Ext(2),
            Marker::FixExt4 => Head::Ext(4),
            Marker::FixExt8 => Head::Ext(8),
            Marker::FixExt16 => Head::Ext(16),
            Marker::Ext8 => Head::Ext(self.len8()?),
            Marker::Ext16 => Head::Ext(self.len16()?),
            Marker::Ext32 => Head::Ext(self.len32()?),
            _ => return Err(malformed("a byte that begins nothing")),
        })
    }

    fn string(&mut self, len: u32) -> Result<&'a str, ErrorInfo> {
        utf8(self.take(len as usize)?).ok_or_else(|| malformed("a string that is not UTF-8"))
    }

    /// The content of an ext, without the byte of its type.
    fn ext(&mut self, len: u32) -> Result<&'a [u8], ErrorInfo> {
        self.take(1)?;
        self.take(len as usize)
    }

    /// Each entry has a byte at least, so a longer claim is a lie; said now, not when the bytes run out.
    fn entries(&self, count: u32, bytes_each: u64) -> Result<Entries, ErrorInfo> {
        let left = u64::from(count);
        if left * bytes_each > (self.bytes.len() - self.at) as u64 {
            return Err(malformed("it ends early"));
        }
        Ok(Entries { left, first: true })
    }
}

impl<'a> Reader<'a> for MsgpackReader<'a> {
    fn token(&mut self) -> Result<Token<'a>, ErrorInfo> {
        Ok(match self.head()? {
            Head::Scalar(token) => token,
            Head::Text(len) => Token::Text(Cow::Borrowed(self.string(len)?)),
            Head::Binary(len) => Token::Binary(self.take(len as usize)?),
            Head::Ext(len) => Token::Ext(self.ext(len)?),
            Head::Array(len) => Token::Array(self.entries(len, 1)?),
            Head::Map(len) => Token::Map(self.entries(len, 2)?),
        })
    }

    /// Numbers are taken as keys, too: languages whose maps have such keys send them. JSON writes them as text.
    fn next_key(&mut self, map: &mut Entries) -> Result<Option<Cow<'a, str>>, ErrorInfo> {
        if map.left == 0 {
            return Ok(None);
        }
        map.left -= 1;
        match self.token()? {
            Token::Text(key) => Ok(Some(key)),
            Token::Int(n) => Ok(Some(Cow::Owned(n.to_string()))),
            Token::Uint(n) => Ok(Some(Cow::Owned(n.to_string()))),
            _ => Err(malformed("a key that is neither a string nor an integer")),
        }
    }

    fn next_item(&mut self, array: &mut Entries) -> Result<bool, ErrorInfo> {
        if array.left == 0 {
            return Ok(false);
        }
        array.left -= 1;
        Ok(true)
    }

    fn skip(&mut self) -> Result<(), ErrorInfo> {
        // For each open container: the values to come in it, keys included, and whether it is a map.
        let mut open = [(0_u64, false); DEPTH_MAX];
        let mut depth = 0;
        loop {
            // In a map, an even number to come means that a key is next.
            let key = depth > 0 && open[depth - 1].1 && open[depth - 1].0 % 2 == 0;
            if depth > 0 {
                open[depth - 1].0 -= 1;
            }
            let head = self.head()?;
            if key && !matches!(head, Head::Text(_) | Head::Scalar(Token::Int(_) | Token::Uint(_))) {
                return Err(malformed("a key that is neither a string nor an integer"));
            }
            if depth == DEPTH_MAX && matches!(head, Head::Array(_) | Head::Map(_)) {
                return Err(too_deep());
            }
            let inside = match head {
                Head::Scalar(_) => (0, false),
                Head::Text(len) => self.string(len).map(|_| (0, false))?,
                Head::Binary(len) => self.take(len as usize).map(|_| (0, false))?,
                Head::Ext(len) => self.ext(len).map(|_| (0, false))?,
                Head::Array(len) => (self.entries(len, 1)?.left, false),
                Head::Map(len) => (self.entries(len, 2)?.left * 2, true),
            };
            if inside.0 > 0 {
                open[depth] = inside;
                depth += 1;
            }
            while depth > 0 && open[depth - 1].0 == 0 {
                depth -= 1;
            }
            if depth == 0 {
                return Ok(());
            }
        }
    }

    fn pass_over(&mut self) -> Result<(), ErrorInfo> {
        // Values to come, whatever they are in. Each has a byte at least, so this ends with the input.
        let mut left = 1_u64;
        while left > 0 {
            left -= 1;
            match self.head()? {
                Head::Scalar(_) => {}
                Head::Text(len) | Head::Binary(len) => drop(self.take(len as usize)?),
                Head::Ext(len) => drop(self.ext(len)?),
                Head::Array(len) => left += self.entries(len, 1)?.left,
                Head::Map(len) => left += self.entries(len, 2)?.left * 2,
            }
        }
        Ok(())
    }

    fn since(&self, start: &Self) -> RawValue {
        RawValue::Msgpack(Bytes::copy_from_slice(&self.bytes[start.at..self.at]))
    }

    fn json_since(&self, start: &Self) -> String {
        transcode::msgpack_to_json_text(&self.bytes[start.at..self.at])
    }

    fn end(&mut self) -> Result<(), ErrorInfo> {
        if self.at == self.bytes.len() { Ok(()) } else { Err(malformed("more than one value")) }
    }
}
