//! A written body as another shape of itself: only some of its fields, or with one level of long keys.
//!
//! Leaves stay as they were written, so that bytes stay bytes in msgpack and no number is rounded on the way.

use fanfare_model::RawValue;
use fanfare_model::error::{self, ErrorInfo};

use super::emit::Emit;
use super::json_in::JsonReader;
use super::msgpack_in::MsgpackReader;
use super::reader::{Reader, Token, too_deep};
use super::{Format, in_format};

/// Containers within containers of a body: what clients may nest, and our own around it.
const DEPTH_MAX: usize = super::DEPTH_MAX + 8;
/// Bytes of all long keys of one answer. Keys grow with the depth, so that a small body could become a huge one.
const KEYS_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Specs in one list, and parts of one spec.
const SPECS_MAX: usize = 64;

/// What is wanted of a body.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// Paths of fields; array items count for nothing in them.
    fields: Vec<Vec<Box<str>>>,
    /// A path with array items in it, and `*` for any one part.
    select: Option<Vec<Box<str>>>,
    flatten: bool,
}

impl Shape {
    pub fn new(fields: Option<&str>, select: Option<&str>, flatten: bool) -> Result<Self, ErrorInfo> {
        let fields = fields.map(|list| list.split(',').map(|spec| path("fields", spec)).collect());
        let fields: Vec<_> = fields.transpose()?.unwrap_or_default();
        if fields.len() > SPECS_MAX {
            return Err(error::invalid_parameter(format!("fields has more than {SPECS_MAX} in it")));
        }
        Ok(Self { fields, select: select.map(|spec| path("select", spec)).transpose()?, flatten })
    }

    pub fn is_plain(&self) -> bool {
        *self == Self::default()
    }

    pub fn apply(&self, format: Format, body: &[u8]) -> Result<Vec<u8>, ErrorInfo> {
        let mut node = match format {
            Format::Json => {
                let text =
                    std::str::from_utf8(body).map_err(|_| error::internal("a body that is not UTF-8"))?;
                Node::read(&mut JsonReader::new(text), DEPTH_MAX)?
            }
            Format::Msgpack => Node::read(&mut MsgpackReader::new(body), DEPTH_MAX)?,
        };
        if !self.fields.is_empty() {
            let specs: Vec<_> = self.fields.iter().map(|spec| &**spec).collect();
            node = node.only(&specs);
        }
        if let Some(pattern) = &self.select {
            node = Long::default().collect(node, Some(pattern))?;
        }
        if self.flatten && self.select.is_none() {
            node = Long::default().collect(node, None)?;
        }
        let mut out = Vec::with_capacity(body.len());
        in_format!(format, E => node.write::<E>(&mut out));
        Ok(out)
    }
}

fn path(name: &str, spec: &str) -> Result<Vec<Box<str>>, ErrorInfo> {
    let parts: Vec<Box<str>> = spec.trim().split('.').map(Into::into).collect();
    if parts.len() > SPECS_MAX || parts.iter().any(|part| part.is_empty()) {
        return Err(error::invalid_parameter(format!("{name} is made of names with dots between them")));
    }
    Ok(parts)
}

enum Node {
    Leaf(RawValue),
    Array(Vec<Node>),
    Map(Vec<(Box<str>, Node)>),
}

impl Node {
    fn read<'a, R: Reader<'a>>(from: &mut R, depth_left: usize) -> Result<Self, ErrorInfo> {
        let start = from.clone();
        let deeper = || depth_left.checked_sub(1).ok_or_else(too_deep);
        match from.token()? {
            Token::Array(mut entries) => {
                let mut items = Vec::new();
                while from.next_item(&mut entries)? {
                    items.push(Self::read(from, deeper()?)?);
                }
                Ok(Self::Array(items))
            }
            Token::Map(mut entries) => {
                let mut fields = Vec::new();
                while let Some(key) = from.next_key(&mut entries)? {
                    fields.push((Box::from(&*key), Self::read(from, deeper()?)?));
                }
                Ok(Self::Map(fields))
            }
            _ => Ok(Self::Leaf(from.since(&start))),
        }
    }

    /// Only the fields that a spec begins with, and of each what the rest of the spec names.
    fn only(self, specs: &[&[Box<str>]]) -> Self {
        match self {
            Self::Leaf(_) => self,
            Self::Array(items) => Self::Array(items.into_iter().map(|item| item.only(specs)).collect()),
            Self::Map(fields) => {
                let kept = fields.into_iter().filter_map(|(key, value)| {
                    let rest: Vec<_> = specs.iter().filter(|s| s[0] == key).map(|s| &s[1..]).collect();
                    match rest.iter().any(|rest| rest.is_empty()) {
                        _ if rest.is_empty() => None,
                        true => Some((key, value)),
                        false => Some((key, value.only(&rest))),
                    }
                });
                Self::Map(kept.collect())
            }
        }
    }

    fn write<E: Emit>(&self, out: &mut Vec<u8>) {
        match self {
            Self::Leaf(raw) => E::raw(out, raw),
            Self::Array(items) => {
                let mut array = E::open_array(out);
                for item in items {
                    E::item(out, &mut array);
                    item.write::<E>(out);
                }
                E::close_array(out, array);
            }
            Self::Map(fields) => {
                let mut map = E::open_map(out);
                for (key, value) in fields {
                    E::key(out, &mut map, key);
                    value.write::<E>(out);
                }
                E::close_map(out, map);
            }
        }
    }
}

/// One level of keys that are whole paths.
#[derive(Default)]
struct Long {
    fields: Vec<(Box<str>, Node)>,
    bytes: usize,
}

impl Long {
    /// Leaves, and containers with nothing in them; or, with a pattern, whatever stands where it ends.
    fn collect(mut self, node: Node, pattern: Option<&[Box<str>]>) -> Result<Node, ErrorInfo> {
        self.walk(&mut String::new(), node, pattern)?;
        Ok(Node::Map(self.fields))
    }

    fn walk(&mut self, at: &mut String, node: Node, pattern: Option<&[Box<str>]>) -> Result<(), ErrorInfo> {
        let next = match pattern {
            Some([]) => return self.put(at, node),
            Some([part, rest @ ..]) => Some((part, rest)),
            None => None,
        };
        let children: Vec<(Box<str>, Node)> = match node {
            Node::Array(items) if !items.is_empty() => {
                items.into_iter().enumerate().map(|(i, item)| (i.to_string().into(), item)).collect()
            }
            Node::Map(fields) if !fields.is_empty() => fields,
            // A pattern that goes on here matches nothing.
            _ if next.is_some() => return Ok(()),
            childless => return self.put(at, childless),
        };
        let length = at.len();
        for (key, child) in children {
            if next.is_some_and(|(part, _)| **part != *"*" && **part != *key) {
                continue;
            }
            if length > 0 {
                at.push('.');
            }
            at.push_str(&key);
            self.walk(at, child, next.map(|(_, rest)| rest))?;
            at.truncate(length);
        }
        Ok(())
    }

    fn put(&mut self, at: &str, node: Node) -> Result<(), ErrorInfo> {
        self.bytes += at.len();
        if self.bytes > KEYS_BYTES_MAX {
            return Err(error::bad_request(
                "flattened, the answer would be too large: ask for less with limit",
            ));
        }
        self.fields.push((at.into(), node));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::wire::{from_format, to_format};

    fn shaped(body: &Value, fields: Option<&str>, select: Option<&str>, flatten: bool) -> Value {
        let shape = Shape::new(fields, select, flatten).unwrap();
        let [json, msgpack] = [Format::Json, Format::Msgpack].map(|format| {
            let shaped = shape.apply(format, &to_format(body, format)).unwrap();
            from_format(&shaped, format).unwrap()
        });
        assert_eq!(json, msgpack);
        json
    }

    #[test]
    fn as_documented() {
        let stats = json!([{
            "channels": { "peak": 2, "min": 1 }, "intervalId": "2015-11-20:15", "unit": "hour",
        }]);
        let fields = Some("channels.peak,intervalId");
        let only = json!([{ "channels": { "peak": 2 }, "intervalId": "2015-11-20:15" }]);
        assert_eq!(shaped(&stats, fields, None, false), only);
        let flat = json!({ "0.channels.peak": 2, "0.intervalId": "2015-11-20:15" });
        assert_eq!(shaped(&stats, fields, None, true), flat);
        let selected = json!({ "0.channels.peak": 2, "0.channels.min": 1 });
        assert_eq!(shaped(&stats, None, Some("*.channels.*"), false), selected);
    }

    #[test]
    fn shapes() {
        let body = json!({"a": {"b": [{"c": 1, "d": 2}, {"c": 3}], "e": {}}, "f": null, "g.h": []});
        assert_eq!(shaped(&body, Some("a.b.c"), None, false), json!({"a": {"b": [{"c": 1}, {"c": 3}]}}));
        assert_eq!(shaped(&body, Some("a.b.c,a"), None, false), json!({"a": body["a"]}));
        assert_eq!(shaped(&body, Some("nothing"), None, false), json!({}));
        let flat = json!({"a.b.0.c": 1, "a.b.0.d": 2, "a.b.1.c": 3, "a.e": {}, "f": null, "g.h": []});
        assert_eq!(shaped(&body, None, None, true), flat);
        assert_eq!(shaped(&body, None, Some("a.*"), false), json!({"a.b": body["a"]["b"], "a.e": {}}));
        assert_eq!(shaped(&body, None, Some("a.b.1"), true), json!({"a.b.1": {"c": 3}}));
        assert_eq!(shaped(&body, None, Some("a.b.*.c.x"), false), json!({}));
        assert_eq!(shaped(&json!([]), None, None, true), json!({"": []}));
        assert_eq!(shaped(&json!([7]), None, None, true), json!({"0": 7}));
    }

    #[test]
    fn leaves_stay_as_they_are_and_limits_hold() {
        let shape = Shape::new(None, None, true).unwrap();
        let body = br#"{"a":{"n":1.50,"big":123456789012345678901234567890}}"#;
        let flat = shape.apply(Format::Json, body).unwrap();
        assert_eq!(flat, br#"{"a.n":1.50,"a.big":123456789012345678901234567890}"#);
        let bytes = [0x81, 0xa1, b'd', 0x92, 0xc4, 2, 0xff, 0, 0xc0];
        let flat = shape.apply(Format::Msgpack, &bytes).unwrap();
        assert_eq!(flat.windows(4).filter(|w| *w == [0xc4, 2, 0xff, 0]).count(), 1);
        for bad in ["", "a..b", ".", &"a.".repeat(99)] {
            assert_eq!(Shape::new(Some(bad), None, false).unwrap_err().code, 40003, "{bad}");
            assert_eq!(Shape::new(None, Some(bad), false).unwrap_err().code, 40003, "{bad}");
        }
        assert_eq!(Shape::new(Some(&["a"; 65].join(",")), None, false).unwrap_err().code, 40003);
        let wide = json!({ "k".repeat(60_000): vec![0; 200] });
        let refusal = shape.apply(Format::Json, &to_format(&wide, Format::Json)).unwrap_err();
        assert_eq!(refusal.code, 40000);
    }
}
