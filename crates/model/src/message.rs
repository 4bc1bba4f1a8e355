//! A message: what a user published, kept as it was said.

use bytes::Bytes;

use crate::ClientId;

/// The payload. JSON objects and arrays are `Text` with `json` in the message's encoding.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Data {
    #[default]
    None,
    Text(Box<str>),
    Binary(Bytes),
}

impl Data {
    pub fn len(&self) -> usize {
        match self {
            Data::None => 0,
            Data::Text(t) => t.len(),
            Data::Binary(b) => b.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A structured value that the server need not understand (`extras`, fields of the future), in the
/// form in which it arrived; it is translated only for a subscriber who speaks the other format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RawValue {
    Json(Box<str>),
    Msgpack(Bytes),
}

impl RawValue {
    pub fn len(&self) -> usize {
        match self {
            RawValue::Json(t) => t.len(),
            RawValue::Msgpack(b) => b.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// Only when the publisher chose one; otherwise it is the record's id and the index.
    pub id: Option<Box<str>>,
    pub name: Option<Box<str>>,
    pub data: Data,
    /// The chain of encodings that the subscriber undoes from right to left (`json/utf-8`). A
    /// transport's own base64 is not in it.
    pub encoding: Option<Box<str>>,
    pub client_id: Option<ClientId>,
    pub extras: Option<RawValue>,
    /// Fields that this version does not know. They come out as they went in.
    pub unknown: Vec<(Box<str>, RawValue)>,
}

impl Message {
    /// The size that limits count: what the publisher said, without the envelope.
    pub fn size(&self) -> usize {
        let text = |t: &Option<Box<str>>| t.as_ref().map_or(0, |t| t.len());
        text(&self.name)
            + self.data.len()
            + self.client_id.as_ref().map_or(0, |c| c.as_str().len())
            + self.extras.as_ref().map_or(0, RawValue::len)
            + self.unknown.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_a_publisher_says_counts() {
        let raw = |text: &str| RawValue::Json(text.into());
        let message = Message {
            id: Some("not counted".into()),
            name: Some("ab".into()),
            data: Data::Text("cde".into()),
            encoding: Some("json".into()),
            client_id: Some(ClientId::parse("f").unwrap()),
            extras: Some(raw("{}")),
            unknown: vec![("new".into(), raw("[1]")), ("x".into(), raw("1"))],
        };
        assert_eq!(message.size(), 2 + 3 + 1 + 2 + (3 + 3) + (1 + 1));
    }
}
