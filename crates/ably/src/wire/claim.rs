//! `extras.userClaim`: what the issuer of its token says of a publisher. Others trust it, so only the server sets it.

use fanfare_model::{ErrorInfo, RawValue};

use super::emit::Emit;
use super::json_in::JsonReader;
use super::json_out::Json;
use super::msgpack_in::MsgpackReader;
use super::msgpack_out::Msgpack;
use super::reader::{Reader, Token};

pub(super) const USER_CLAIM: &str = "userClaim";

/// The extras with this claim, or with none, whatever the publisher wrote there.
pub fn with_user_claim(extras: Option<RawValue>, claim: Option<&str>) -> Option<RawValue> {
    let rewritten = match &extras {
        None => None,
        Some(RawValue::Json(text)) => {
            rewrite::<_, Json>(JsonReader::new(text), claim).ok().and_then(json_value)
        }
        Some(RawValue::Msgpack(bytes)) => {
            rewrite::<_, Msgpack>(MsgpackReader::new(bytes), claim).ok().map(|b| RawValue::Msgpack(b.into()))
        }
    };
    // Extras were checked when they arrived. Should they be broken all the same, nothing is left of them.
    rewritten.or_else(|| {
        claim.and_then(|_| rewrite::<_, Json>(JsonReader::new("{}"), claim).ok().and_then(json_value))
    })
}

fn json_value(text: Vec<u8>) -> Option<RawValue> {
    String::from_utf8(text).ok().map(|text| RawValue::Json(text.into()))
}

fn rewrite<'a, R: Reader<'a>, E: Emit>(mut from: R, claim: Option<&str>) -> Result<Vec<u8>, ErrorInfo> {
    let mut out = Vec::new();
    let mut map = E::open_map(&mut out);
    if let Token::Map(mut entries) = from.token()? {
        while let Some(key) = from.next_key(&mut entries)? {
            let value = from.raw()?;
            if key != USER_CLAIM {
                E::key(&mut out, &mut map, &key);
                E::raw(&mut out, &value);
            }
        }
    }
    E::text_field(&mut out, &mut map, USER_CLAIM, claim);
    E::close_map(&mut out, map);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::wire::{Format, from_format, to_format};

    #[test]
    fn the_claim_is_the_servers_and_the_rest_stays() {
        let rows = [
            (None, None, Value::Null),
            (None, Some("c"), json!({"userClaim": "c"})),
            (Some(json!({})), Some("c\"\n"), json!({"userClaim": "c\"\n"})),
            (Some(json!({"userClaim": "forged"})), None, json!({})),
            (
                Some(json!({"a": {"userClaim": 1}, "userClaim": {}, "b": [1]})),
                Some("c"),
                json!({"a": {"userClaim": 1}, "b": [1], "userClaim": "c"}),
            ),
        ];
        for (extras, claim, expected) in rows {
            for format in [Format::Json, Format::Msgpack] {
                let raw = extras.as_ref().map(|extras| match format {
                    Format::Json => RawValue::Json(extras.to_string().into()),
                    Format::Msgpack => RawValue::Msgpack(to_format(extras, format).into()),
                });
                let value = match with_user_claim(raw, claim) {
                    None => Value::Null,
                    Some(RawValue::Json(text)) => serde_json::from_str(&text).unwrap(),
                    Some(RawValue::Msgpack(bytes)) => from_format(&bytes, Format::Msgpack).unwrap(),
                };
                assert_eq!(value, expected, "{extras:?}");
            }
        }
        let escaped = RawValue::Json(r#"{"user\u0043laim":"forged","x":1.50}"#.into());
        assert_eq!(with_user_claim(Some(escaped), None), Some(RawValue::Json(r#"{"x":1.50}"#.into())));
    }
}
