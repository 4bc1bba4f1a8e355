//! One structured value from one format into the other, without a tree between. Needed only when publisher and
//! subscriber speak different formats.
//!
//! What JSON has no word for becomes: bytes, base64 text; an ext, its content as base64 text (the type is lost);
//! a float that is not finite, null; a key that is an integer, its digits. Integers past 64 bits in JSON become floats.

use fanfare_model::ErrorInfo;

use super::emit::Emit;
use super::json_in::JsonReader;
use super::json_out::Json;
use super::msgpack_in::MsgpackReader;
use super::msgpack_out::Msgpack;
use super::reader::{DEPTH_MAX, Reader, Token, too_deep};

/// Copies one value. The recursion is as deep as the nesting, and that is limited.
fn copy<'a, R: Reader<'a>, E: Emit>(
    from: &mut R,
    out: &mut Vec<u8>,
    depth_left: usize,
) -> Result<(), ErrorInfo> {
    match from.token()? {
        Token::Null => E::null(out),
        Token::Bool(b) => E::boolean(out, b),
        Token::Int(n) => E::integer(out, n),
        Token::Uint(n) => E::unsigned(out, n),
        Token::Float(f) => E::float(out, f),
        Token::Text(t) => E::text(out, &t),
        Token::Binary(b) | Token::Ext(b) => E::binary(out, b),
        Token::Array(mut entries) => {
            let depth_left = depth_left.checked_sub(1).ok_or_else(too_deep)?;
            let mut array = E::open_array(out);
            while from.next_item(&mut entries)? {
                E::item(out, &mut array);
                copy::<R, E>(from, out, depth_left)?;
            }
            E::close_array(out, array);
        }
        Token::Map(mut entries) => {
            let depth_left = depth_left.checked_sub(1).ok_or_else(too_deep)?;
            let mut map = E::open_map(out);
            while let Some(key) = from.next_key(&mut entries)? {
                E::key(out, &mut map, &key);
                copy::<R, E>(from, out, depth_left)?;
            }
            E::close_map(out, map);
        }
    }
    Ok(())
}

/// As [`copy`], but for a value that was checked when it arrived. Should it be broken all the same (a record from a
/// damaged disk), null takes its place: a frame must never be half written.
fn copy_or_null<'a, R: Reader<'a>, E: Emit>(mut from: R, out: &mut Vec<u8>) {
    let start = out.len();
    if copy::<R, E>(&mut from, out, DEPTH_MAX).is_err() {
        out.truncate(start);
        E::null(out);
    }
}

pub(super) fn msgpack_to_json(out: &mut Vec<u8>, bytes: &[u8]) {
    copy_or_null::<_, Json>(MsgpackReader::new(bytes), out);
}

pub(super) fn json_to_msgpack(out: &mut Vec<u8>, text: &str) {
    copy_or_null::<_, Msgpack>(JsonReader::new(text), out);
}

pub(super) fn msgpack_to_json_text(bytes: &[u8]) -> String {
    let mut out = Vec::with_capacity(bytes.len());
    msgpack_to_json(&mut out, bytes);
    // Ours, so UTF-8; `null` rather than a panic if that should ever be wrong.
    String::from_utf8(out).unwrap_or_else(|_| "null".into())
}
