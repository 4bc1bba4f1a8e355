//! Any value, for the parts of REST where a tree is good enough.

use fanfare_model::error::{self, ErrorInfo};
use serde_json::{Map, Number, Value};

use super::Format;
use super::emit::Emit;
use super::json_in::JsonReader;
use super::json_out::Json;
use super::msgpack_in::MsgpackReader;
use super::msgpack_out::Msgpack;
use super::reader::{DEPTH_MAX, Reader, Token, too_deep, utf8};

/// Values in one body: a tree takes far more room than the bytes it is made from.
pub const VALUES_MAX: usize = 100_000;

/// Writes a value of our own making.
pub fn to_format(value: &Value, format: Format) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    match format {
        Format::Json => write::<Json>(value, &mut out),
        Format::Msgpack => write::<Msgpack>(value, &mut out),
    }
    out
}

fn write<E: Emit>(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Null => E::null(out),
        Value::Bool(b) => E::boolean(out, *b),
        Value::Number(n) => match (n.as_i64(), n.as_u64()) {
            (Some(n), _) => E::integer(out, n),
            (_, Some(n)) => E::unsigned(out, n),
            _ => E::float(out, n.as_f64().unwrap_or_default()),
        },
        Value::String(text) => E::text(out, text),
        Value::Array(items) => {
            let mut array = E::open_array(out);
            for item in items {
                E::item(out, &mut array);
                write::<E>(item, out);
            }
            E::close_array(out, array);
        }
        Value::Object(fields) => {
            let mut map = E::open_map(out);
            for (key, value) in fields {
                E::key(out, &mut map, key);
                write::<E>(value, out);
            }
            E::close_map(out, map);
        }
    }
}

/// Reads a request's body. Bytes become base64 text, as they are in JSON.
pub fn from_format(body: &[u8], format: Format) -> Result<Value, ErrorInfo> {
    match format {
        Format::Json => {
            let text = utf8(body).ok_or_else(|| error::bad_request("malformed JSON: it is not UTF-8"))?;
            read_whole(JsonReader::new(text))
        }
        Format::Msgpack => read_whole(MsgpackReader::new(body)),
    }
}

fn read_whole<'a, R: Reader<'a>>(mut from: R) -> Result<Value, ErrorInfo> {
    let mut left = VALUES_MAX;
    let value = read(&mut from, DEPTH_MAX, &mut left)?;
    from.end()?;
    Ok(value)
}

fn read<'a, R: Reader<'a>>(from: &mut R, depth_left: usize, left: &mut usize) -> Result<Value, ErrorInfo> {
    *left = left.checked_sub(1).ok_or_else(|| error::bad_request("more than 100000 values in one body"))?;
    Ok(match from.token()? {
        Token::Null => Value::Null,
        Token::Bool(b) => Value::Bool(b),
        Token::Int(n) => n.into(),
        Token::Uint(n) => n.into(),
        Token::Float(f) => Number::from_f64(f).map_or(Value::Null, Value::Number),
        Token::Text(text) => Value::String(text.into_owned()),
        Token::Binary(bytes) | Token::Ext(bytes) => {
            use base64::Engine;
            Value::String(base64::engine::general_purpose::STANDARD.encode(bytes))
        }
        Token::Array(mut entries) => {
            let depth_left = depth_left.checked_sub(1).ok_or_else(too_deep)?;
            let mut items = Vec::new();
            while from.next_item(&mut entries)? {
                items.push(read(from, depth_left, left)?);
            }
            Value::Array(items)
        }
        Token::Map(mut entries) => {
            let depth_left = depth_left.checked_sub(1).ok_or_else(too_deep)?;
            let mut fields = Map::new();
            while let Some(key) = from.next_key(&mut entries)? {
                fields.insert(key.into_owned(), read(from, depth_left, left)?);
            }
            Value::Object(fields)
        }
    })
}
