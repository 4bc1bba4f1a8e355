//! Msgpack, appended; every head in its shortest form.

use fanfare_model::{Data, RawValue};
use rmp::Marker;

use super::emit::Emit;
use super::transcode;

pub(super) struct Msgpack;

/// An open container: where its head is, and how many entries it has so far. The head is one byte until the
/// number is known; a container of more than 15 (rare: our own maps are smaller) is moved when it is closed.
pub(super) struct Mark {
    at: usize,
    count: u32,
}

fn open(out: &mut Vec<u8>) -> Mark {
    out.push(0);
    Mark { at: out.len() - 1, count: 0 }
}

fn close(out: &mut Vec<u8>, mark: &Mark, fix: Marker, head16: Marker, head32: Marker) {
    let Mark { at, count } = *mark;
    if count < 16 {
        out[at] = fix.to_u8() | count as u8;
    } else if let Ok(count) = u16::try_from(count) {
        out[at] = head16.to_u8();
        out.splice(at + 1..at + 1, count.to_be_bytes());
    } else {
        out[at] = head32.to_u8();
        out.splice(at + 1..at + 1, count.to_be_bytes());
    }
}

/// A head with the shortest length that fits. `short` is the marker that holds small lengths in itself.
fn head(out: &mut Vec<u8>, len: usize, short: Option<(u8, usize)>, [m8, m16, m32]: [Marker; 3]) {
    if let Some((marker, max)) = short
        && len <= max
    {
        out.push(marker | len as u8);
    } else if let Ok(len) = u8::try_from(len) {
        out.extend_from_slice(&[m8.to_u8(), len]);
    } else if let Ok(len) = u16::try_from(len) {
        let [a, b] = len.to_be_bytes();
        out.extend_from_slice(&[m16.to_u8(), a, b]);
    } else {
        // Nothing here comes near 4 GiB: frames and bodies are limited to less when they arrive.
        let [a, b, c, d] = (len as u32).to_be_bytes();
        out.extend_from_slice(&[m32.to_u8(), a, b, c, d]);
    }
}

fn text_head(out: &mut Vec<u8>, len: usize) {
    head(out, len, Some((0xa0, 31)), [Marker::Str8, Marker::Str16, Marker::Str32]);
}

impl Emit for Msgpack {
    type Mark = Mark;

    fn open_map(out: &mut Vec<u8>) -> Mark {
        open(out)
    }

    fn copied_map(at: usize, count: u32) -> Mark {
        Mark { at, count }
    }

    fn field(out: &mut Vec<u8>, map: &mut Mark, key: &'static str) {
        Self::key(out, map, key);
    }

    fn key(out: &mut Vec<u8>, map: &mut Mark, key: &str) {
        map.count += 1;
        Self::text(out, key);
    }

    fn close_map(out: &mut Vec<u8>, map: Mark) {
        close(out, &map, Marker::FixMap(0), Marker::Map16, Marker::Map32);
    }

    fn open_array(out: &mut Vec<u8>) -> Mark {
        open(out)
    }

    fn item(_: &mut Vec<u8>, array: &mut Mark) {
        array.count += 1;
    }

    fn close_array(out: &mut Vec<u8>, array: Mark) {
        close(out, &array, Marker::FixArray(0), Marker::Array16, Marker::Array32);
    }

    fn null(out: &mut Vec<u8>) {
        out.push(Marker::Null.to_u8());
    }

    fn boolean(out: &mut Vec<u8>, b: bool) {
        out.push(if b { Marker::True } else { Marker::False }.to_u8());
    }

    fn integer(out: &mut Vec<u8>, n: i64) {
        if let Ok(n) = u64::try_from(n) {
            return Self::unsigned(out, n);
        }
        let [.., c, d] = n.to_be_bytes();
        if n >= -32 {
            out.push(d);
        } else if i8::try_from(n).is_ok() {
            out.extend_from_slice(&[Marker::I8.to_u8(), d]);
        } else if i16::try_from(n).is_ok() {
            out.extend_from_slice(&[Marker::I16.to_u8(), c, d]);
        } else if let Ok(n) = i32::try_from(n) {
            out.push(Marker::I32.to_u8());
            out.extend_from_slice(&n.to_be_bytes());
        } else {
            out.push(Marker::I64.to_u8());
            out.extend_from_slice(&n.to_be_bytes());
        }
    }

    fn unsigned(out: &mut Vec<u8>, n: u64) {
        let [.., c, d] = n.to_be_bytes();
        if n < 128 {
            out.push(d);
        } else if n <= u64::from(u8::MAX) {
            out.extend_from_slice(&[Marker::U8.to_u8(), d]);
        } else if n <= u64::from(u16::MAX) {
            out.extend_from_slice(&[Marker::U16.to_u8(), c, d]);
        } else if let Ok(n) = u32::try_from(n) {
            out.push(Marker::U32.to_u8());
            out.extend_from_slice(&n.to_be_bytes());
        } else {
            out.push(Marker::U64.to_u8());
            out.extend_from_slice(&n.to_be_bytes());
        }
    }

    fn float(out: &mut Vec<u8>, f: f64) {
        out.push(Marker::F64.to_u8());
        out.extend_from_slice(&f.to_be_bytes());
    }

    fn text(out: &mut Vec<u8>, text: &str) {
        text_head(out, text.len());
        out.extend_from_slice(text.as_bytes());
    }

    fn plain(out: &mut Vec<u8>, parts: &[&[u8]]) {
        text_head(out, parts.iter().map(|p| p.len()).sum());
        for part in parts {
            out.extend_from_slice(part);
        }
    }

    fn binary(out: &mut Vec<u8>, bytes: &[u8]) {
        head(out, bytes.len(), None, [Marker::Bin8, Marker::Bin16, Marker::Bin32]);
        out.extend_from_slice(bytes);
    }

    fn raw(out: &mut Vec<u8>, value: &RawValue) {
        match value {
            RawValue::Msgpack(bytes) => out.extend_from_slice(bytes),
            RawValue::Json(text) => transcode::json_to_msgpack(out, text),
        }
    }

    fn payload(out: &mut Vec<u8>, map: &mut Mark, data: &Data, encoding: Option<&str>) {
        match data {
            Data::None => {}
            Data::Text(text) => {
                Self::field(out, map, "data");
                Self::text(out, text);
            }
            Data::Binary(bytes) => {
                Self::field(out, map, "data");
                Self::binary(out, bytes);
            }
        }
        Self::text_field(out, map, "encoding", encoding);
    }
}
