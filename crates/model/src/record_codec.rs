//! The versioned binary form of a record: what lies on disk, and goes between nodes.
//!
//! ```text
//! record  = version:u8 (1), field*, 0:u8, kind:u8, body to the end of the bytes
//! field   = tag:varint (not 0), length:varint, that many bytes
//! body    = item*                      for messages and presence; anything for other kinds
//! item    = length:u32 little-endian, field* to its length
//! ```
//!
//! Open by construction: a reader passes over tags that it does not know, keeps a body whose kind it
//! does not know as bytes, and leaves out a presence event whose action it does not know. None of these
//! is an error. What a reader passed over it cannot write again: when an older version rewrites a record
//! (it does so in one place, erasure of one client's part), fields newer than itself are lost, bodies
//! of unknown kinds are not. Fields that clients sent and nobody knew are `Message::unknown`, and
//! survive. The version byte changes only when an older reader would misread the rest.
//!
//! There is no checksum here: who stores the bytes binds them to their place, which this form does
//! not know (see `store::disk`).

use bytes::Bytes;

use crate::{
    Body, ClientId, ConnectionId, Data, MemberKey, Message, PresenceAction, PresenceEvent, RawValue, Record,
    Stamp, Timestamp,
};

mod wire;
use wire::{Fields, put_bytes, put_item, put_varint, unzigzag, varint_of, zigzag};

#[cfg(test)]
mod tests;

const VERSION: u8 = 1;
/// Ends a record's own fields; its kind and its body follow.
const END: u64 = 0;
/// Most items in one record. Well above `Limits::messages_per_publish_max`; it bounds what a decoder
/// allocates, since an empty item takes four bytes here and some two hundred in memory.
pub const ITEMS_MAX: usize = 65_536;

mod kind {
    pub(super) const MESSAGES: u8 = 1;
    pub(super) const PRESENCE: u8 = 2;
}

mod record_tag {
    pub(super) const STAMP: u64 = 1;
    /// Left out when it is the stamp's own millisecond.
    pub(super) const TIMESTAMP: u64 = 2;
    pub(super) const ID: u64 = 3;
    pub(super) const CONNECTION_ID: u64 = 4;
    pub(super) const EPHEMERAL: u64 = 5;
}

/// One numbering for messages and presence events, so that one function reads what they share.
mod item_tag {
    pub(super) const ID: u64 = 1;
    pub(super) const NAME: u64 = 2;
    pub(super) const DATA_TEXT: u64 = 3;
    pub(super) const DATA_BINARY: u64 = 4;
    pub(super) const ENCODING: u64 = 5;
    pub(super) const CLIENT_ID: u64 = 6;
    pub(super) const EXTRAS_JSON: u64 = 7;
    pub(super) const EXTRAS_MSGPACK: u64 = 8;
    /// A varint length and a name, then the value.
    pub(super) const UNKNOWN_JSON: u64 = 9;
    pub(super) const UNKNOWN_MSGPACK: u64 = 10;
    pub(super) const ACTION: u64 = 11;
    pub(super) const CONNECTION_ID: u64 = 12;
    pub(super) const TIMESTAMP: u64 = 13;
}

/// Why bytes are not a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("the record's version is {0}, newer than this program's {VERSION}")]
    Version(u8),
    #[error("the record ends too early")]
    Short,
    #[error("the record's {0} is missing or not valid")]
    Field(&'static str),
    #[error("the record has more than {ITEMS_MAX} items")]
    Items,
}

/// Appends the record's binary form to `out`.
pub fn encode(record: &Record, out: &mut Vec<u8>) {
    out.reserve(64 + record.id.len() + record.size());
    out.push(VERSION);
    put_varint_field(out, record_tag::STAMP, record.stamp.0);
    if record.timestamp != implied_timestamp(record.stamp) {
        put_varint_field(out, record_tag::TIMESTAMP, zigzag(record.timestamp.0));
    }
    put_bytes(out, record_tag::ID, record.id.as_bytes());
    if let Some(id) = &record.connection_id {
        put_bytes(out, record_tag::CONNECTION_ID, id.as_str().as_bytes());
    }
    if record.ephemeral {
        put_bytes(out, record_tag::EPHEMERAL, &[]);
    }
    put_varint(out, END);
    match &record.body {
        Body::Messages(messages) => {
            out.push(kind::MESSAGES);
            messages.iter().for_each(|m| put_item(out, |out| encode_message(m, out)));
        }
        Body::Presence(events) => {
            out.push(kind::PRESENCE);
            events.iter().for_each(|e| put_item(out, |out| encode_event(e, out)));
        }
        Body::Unknown { kind, bytes } => {
            out.push(*kind);
            out.extend_from_slice(bytes);
        }
    }
}

/// Reads what [`encode`] of this or a compatible version wrote.
pub fn decode(bytes: &[u8]) -> Result<Record, Malformed> {
    let (&version, rest) = bytes.split_first().ok_or(Malformed::Short)?;
    if version != VERSION {
        return Err(Malformed::Version(version));
    }
    let (mut stamp, mut timestamp, mut id) = (None, None, None);
    let (mut connection_id, mut ephemeral) = (None, false);
    let mut fields = Fields::new(rest);
    while let Some((tag, value)) = fields.next_before_end()? {
        match tag {
            record_tag::STAMP => stamp = Some(Stamp(varint_of(value).ok_or(Malformed::Field("stamp"))?)),
            record_tag::TIMESTAMP => timestamp = Some(timestamp_of(value)?),
            record_tag::ID => id = Some(text(value, "id")?.into()),
            record_tag::CONNECTION_ID => {
                connection_id = Some(ConnectionId::new(text(value, "connection id")?));
            }
            record_tag::EPHEMERAL => ephemeral = true,
            _ => {}
        }
    }
    let stamp = stamp.ok_or(Malformed::Field("stamp"))?;
    let (&kind, body) = fields.rest().split_first().ok_or(Malformed::Short)?;
    let body = match kind {
        kind::MESSAGES => Body::Messages(items(body, |fields| decode_message(fields).map(Some))?),
        kind::PRESENCE => Body::Presence(items(body, decode_event)?),
        kind => Body::Unknown { kind, bytes: Bytes::copy_from_slice(body) },
    };
    Ok(Record {
        stamp,
        timestamp: timestamp.unwrap_or(implied_timestamp(stamp)),
        id: id.ok_or(Malformed::Field("id"))?,
        connection_id,
        body,
        ephemeral,
    })
}

fn implied_timestamp(stamp: Stamp) -> Timestamp {
    Timestamp(stamp.millis() as i64)
}

fn put_varint_field(out: &mut Vec<u8>, tag: u64, value: u64) {
    put_varint(out, tag);
    let length = wire::varint_len(value);
    out.push(length);
    put_varint(out, value);
}

fn encode_message(message: &Message, out: &mut Vec<u8>) {
    put_text(out, item_tag::ID, message.id.as_deref());
    put_text(out, item_tag::NAME, message.name.as_deref());
    put_data(out, &message.data);
    put_text(out, item_tag::ENCODING, message.encoding.as_deref());
    put_text(out, item_tag::CLIENT_ID, message.client_id.as_ref().map(ClientId::as_str));
    put_extras(out, message.extras.as_ref());
    for (name, value) in &message.unknown {
        let (tag, value) = match value {
            RawValue::Json(t) => (item_tag::UNKNOWN_JSON, t.as_bytes()),
            RawValue::Msgpack(b) => (item_tag::UNKNOWN_MSGPACK, &b[..]),
        };
        let name_length = usize::from(wire::varint_len(name.len() as u64));
        put_varint(out, tag);
        put_varint(out, (name_length + name.len() + value.len()) as u64);
        put_varint(out, name.len() as u64);
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(value);
    }
}

fn encode_event(event: &PresenceEvent, out: &mut Vec<u8>) {
    let action = match event.action {
        PresenceAction::Enter => 1,
        PresenceAction::Update => 2,
        PresenceAction::Leave => 3,
    };
    put_varint_field(out, item_tag::ACTION, action);
    put_bytes(out, item_tag::ID, event.id.as_bytes());
    put_bytes(out, item_tag::CONNECTION_ID, event.member.connection_id.as_str().as_bytes());
    put_bytes(out, item_tag::CLIENT_ID, event.member.client_id.as_str().as_bytes());
    put_data(out, &event.data);
    put_text(out, item_tag::ENCODING, event.encoding.as_deref());
    put_extras(out, event.extras.as_ref());
    put_varint_field(out, item_tag::TIMESTAMP, zigzag(event.timestamp.0));
}

fn put_text(out: &mut Vec<u8>, tag: u64, text: Option<&str>) {
    if let Some(text) = text {
        put_bytes(out, tag, text.as_bytes());
    }
}

fn put_data(out: &mut Vec<u8>, data: &Data) {
    match data {
        Data::None => {}
        Data::Text(t) => put_bytes(out, item_tag::DATA_TEXT, t.as_bytes()),
        Data::Binary(b) => put_bytes(out, item_tag::DATA_BINARY, b),
    }
}

fn put_extras(out: &mut Vec<u8>, extras: Option<&RawValue>) {
    match extras {
        None => {}
        Some(RawValue::Json(t)) => put_bytes(out, item_tag::EXTRAS_JSON, t.as_bytes()),
        Some(RawValue::Msgpack(b)) => put_bytes(out, item_tag::EXTRAS_MSGPACK, b),
    }
}

/// The body's items, without those that `read` leaves out.
fn items<T>(
    mut body: &[u8],
    read: impl Fn(Fields<'_>) -> Result<Option<T>, Malformed>,
) -> Result<Vec<T>, Malformed> {
    let mut items = Vec::new();
    while let Some((length, rest)) = body.split_first_chunk::<4>() {
        let length = u32::from_le_bytes(*length) as usize;
        let (item, rest) = rest.split_at_checked(length).ok_or(Malformed::Short)?;
        if items.len() == ITEMS_MAX {
            return Err(Malformed::Items);
        }
        items.extend(read(Fields::new(item))?);
        body = rest;
    }
    if body.is_empty() { Ok(items) } else { Err(Malformed::Short) }
}

/// What messages and presence events share, and the fields of either.
#[derive(Default)]
struct Item {
    message: Message,
    action: Option<u64>,
    connection_id: Option<ConnectionId>,
    timestamp: Option<Timestamp>,
}

fn decode_item(mut fields: Fields<'_>) -> Result<Item, Malformed> {
    let mut item = Item::default();
    while let Some((tag, value)) = fields.next()? {
        let m = &mut item.message;
        match tag {
            item_tag::ID => m.id = Some(text(value, "item id")?.into()),
            item_tag::NAME => m.name = Some(text(value, "name")?.into()),
            item_tag::DATA_TEXT => m.data = Data::Text(text(value, "text")?.into()),
            item_tag::DATA_BINARY => m.data = Data::Binary(Bytes::copy_from_slice(value)),
            item_tag::ENCODING => m.encoding = Some(text(value, "encoding")?.into()),
            item_tag::CLIENT_ID => {
                let id = ClientId::parse(text(value, "client id")?);
                m.client_id = Some(id.map_err(|_| Malformed::Field("client id"))?);
            }
            item_tag::EXTRAS_JSON => m.extras = Some(json(value)?),
            item_tag::EXTRAS_MSGPACK => m.extras = Some(RawValue::Msgpack(Bytes::copy_from_slice(value))),
            item_tag::UNKNOWN_JSON | item_tag::UNKNOWN_MSGPACK => {
                let (name, value) = wire::prefixed(value).ok_or(Malformed::Field("unknown field"))?;
                let value = match tag {
                    item_tag::UNKNOWN_JSON => json(value)?,
                    _ => RawValue::Msgpack(Bytes::copy_from_slice(value)),
                };
                m.unknown.push((text(name, "unknown field's name")?.into(), value));
            }
            item_tag::ACTION => item.action = Some(varint_of(value).ok_or(Malformed::Field("action"))?),
            item_tag::CONNECTION_ID => {
                item.connection_id = Some(ConnectionId::new(text(value, "member's connection id")?));
            }
            item_tag::TIMESTAMP => item.timestamp = Some(timestamp_of(value)?),
            _ => {}
        }
    }
    Ok(item)
}

fn decode_message(fields: Fields<'_>) -> Result<Message, Malformed> {
    Ok(decode_item(fields)?.message)
}

/// `None` for an action that a newer version knows.
fn decode_event(fields: Fields<'_>) -> Result<Option<PresenceEvent>, Malformed> {
    let Item { message, action, connection_id, timestamp } = decode_item(fields)?;
    let action = match action.ok_or(Malformed::Field("action"))? {
        1 => PresenceAction::Enter,
        2 => PresenceAction::Update,
        3 => PresenceAction::Leave,
        _ => return Ok(None),
    };
    Ok(Some(PresenceEvent {
        action,
        id: message.id.ok_or(Malformed::Field("event id"))?,
        member: MemberKey {
            connection_id: connection_id.ok_or(Malformed::Field("member's connection id"))?,
            client_id: message.client_id.ok_or(Malformed::Field("client id"))?,
        },
        data: message.data,
        encoding: message.encoding,
        extras: message.extras,
        timestamp: timestamp.ok_or(Malformed::Field("event timestamp"))?,
    }))
}

fn text<'a>(value: &'a [u8], what: &'static str) -> Result<&'a str, Malformed> {
    std::str::from_utf8(value).map_err(|_| Malformed::Field(what))
}

fn json(value: &[u8]) -> Result<RawValue, Malformed> {
    Ok(RawValue::Json(text(value, "JSON")?.into()))
}

fn timestamp_of(value: &[u8]) -> Result<Timestamp, Malformed> {
    Ok(Timestamp(unzigzag(varint_of(value).ok_or(Malformed::Field("timestamp"))?)))
}
