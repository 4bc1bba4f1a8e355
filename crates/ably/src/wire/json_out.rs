//! JSON, appended byte by byte.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fanfare_model::{Data, RawValue};

use super::emit::Emit;
use super::text::{Digits, push_float, push_integer, push_string};
use super::transcode;

pub(super) struct Json;

/// Nothing to remember: JSON counts nothing in advance.
pub(super) struct Open;

/// A comma, unless the container has just been opened. The byte before tells, because nothing but an opening
/// ends in a brace or bracket of that kind: strings end in their quote.
fn separate(out: &mut Vec<u8>, opening: u8) {
    if out.last() != Some(&opening) {
        out.push(b',');
    }
}

fn push_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    let start = out.len();
    // Exact: `encode_slice` wants the room to be there.
    out.resize(start + bytes.len().div_ceil(3) * 4, b'=');
    let written = STANDARD.encode_slice(bytes, &mut out[start..]);
    debug_assert_eq!(written.ok(), Some(out.len() - start));
}

impl Emit for Json {
    type Mark = Open;

    fn open_map(out: &mut Vec<u8>) -> Open {
        out.push(b'{');
        Open
    }

    fn copied_map(_: usize, _: u32) -> Open {
        Open
    }

    fn field(out: &mut Vec<u8>, _: &mut Open, key: &'static str) {
        separate(out, b'{');
        out.push(b'"');
        out.extend_from_slice(key.as_bytes());
        out.extend_from_slice(b"\":");
    }

    fn key(out: &mut Vec<u8>, _: &mut Open, key: &str) {
        separate(out, b'{');
        push_string(out, key);
        out.push(b':');
    }

    fn close_map(out: &mut Vec<u8>, _: Open) {
        out.push(b'}');
    }

    fn open_array(out: &mut Vec<u8>) -> Open {
        out.push(b'[');
        Open
    }

    fn item(out: &mut Vec<u8>, _: &mut Open) {
        separate(out, b'[');
    }

    fn close_array(out: &mut Vec<u8>, _: Open) {
        out.push(b']');
    }

    fn null(out: &mut Vec<u8>) {
        out.extend_from_slice(b"null");
    }

    fn boolean(out: &mut Vec<u8>, b: bool) {
        out.extend_from_slice(if b { b"true" } else { b"false" });
    }

    fn integer(out: &mut Vec<u8>, n: i64) {
        push_integer(out, n);
    }

    fn unsigned(out: &mut Vec<u8>, n: u64) {
        out.extend_from_slice(Digits::new(n, 1).as_bytes());
    }

    fn float(out: &mut Vec<u8>, f: f64) {
        push_float(out, f);
    }

    fn text(out: &mut Vec<u8>, text: &str) {
        push_string(out, text);
    }

    fn plain(out: &mut Vec<u8>, parts: &[&[u8]]) {
        out.push(b'"');
        for part in parts {
            out.extend_from_slice(part);
        }
        out.push(b'"');
    }

    fn binary(out: &mut Vec<u8>, bytes: &[u8]) {
        out.push(b'"');
        push_base64(out, bytes);
        out.push(b'"');
    }

    fn raw(out: &mut Vec<u8>, value: &RawValue) {
        match value {
            RawValue::Json(text) => out.extend_from_slice(text.as_bytes()),
            RawValue::Msgpack(bytes) => transcode::msgpack_to_json(out, bytes),
        }
    }

    fn payload(out: &mut Vec<u8>, map: &mut Open, data: &Data, encoding: Option<&str>) {
        match data {
            Data::None => {}
            Data::Text(text) => {
                Self::field(out, map, "data");
                push_string(out, text);
            }
            Data::Binary(bytes) => {
                Self::field(out, map, "data");
                Self::binary(out, bytes);
                Self::field(out, map, "encoding");
                match encoding {
                    Some(encoding) => {
                        push_string(out, encoding);
                        out.pop();
                        out.extend_from_slice(b"/base64\"");
                    }
                    None => out.extend_from_slice(b"\"base64\""),
                }
                return;
            }
        }
        Self::text_field(out, map, "encoding", encoding);
    }
}
