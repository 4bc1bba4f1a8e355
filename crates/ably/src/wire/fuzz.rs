//! What must hold for any bytes: the bodies of the fuzz targets, and of a short run of mutations on stable.

use fanfare_model::{Body, Data, Epoch, Message, RawValue, Record, Stamp, Timestamp};

use super::{
    Format, Publish, RecordEncoder, StoredMessage, decode, decode_batch, decode_presence, decode_publish,
    from_format, is_ephemeral, messages_body, to_format,
};

pub fn json(bytes: &[u8]) {
    any(Format::Json, bytes);
}

pub fn msgpack(bytes: &[u8]) {
    any(Format::Msgpack, bytes);
}

fn any(format: Format, bytes: &[u8]) {
    if let Ok(frame) = decode(format, bytes)
        && let Ok(publish) = frame.messages
    {
        says_the_same(format, publish);
    }
    if let Ok(publish) = decode_publish(format, bytes) {
        says_the_same(format, publish);
    }
    drop(decode_presence(format, bytes));
    drop(decode_batch(format, bytes));
    if let Ok(value) = from_format(bytes, format) {
        for format in [Format::Json, Format::Msgpack] {
            assert_eq!(from_format(&to_format(&value, format), format).as_ref(), Ok(&value));
        }
    }
}

/// What was accepted can be said in both formats; read again, it is the same.
fn says_the_same(arrival: Format, publish: Publish) {
    for message in &publish.messages {
        is_ephemeral(message);
    }
    let messages = publish.messages;
    let record = record(messages.clone());
    let epoch = Epoch::parse("e").expect("a good epoch");
    for format in [Format::Json, Format::Msgpack] {
        let mut out = Vec::new();
        assert!(RecordEncoder::new(format, "c", epoch.clone()).encode(&record, &mut out));
        let frame = decode(format, &out).expect("our own frame");
        let back = frame.messages.expect("our own messages").messages;
        assert_eq!(back.len(), messages.len());
        for (ours, theirs) in back.iter().zip(&messages) {
            assert_same(ours, theirs, format == arrival);
        }
    }
    let page = (0..messages.len()).map(|index| StoredMessage { record: &record, epoch: &epoch, index });
    let body = messages_body(Format::Json, page);
    assert!(decode_publish(Format::Json, &body).is_ok());
}

pub(super) fn record(messages: Vec<Message>) -> Record {
    Record {
        stamp: Stamp(1_726_585_978_590_001),
        timestamp: Timestamp(1_726_585_978_590),
        // No client can have said this, so no id is left out as derived from it.
        id: "record \u{0} id".into(),
        connection_id: None,
        body: Body::Messages(messages),
        ephemeral: false,
    }
}

/// Equal: raw values to the byte in the format of their arrival, and in meaning in the other.
pub(super) fn assert_same(a: &Message, b: &Message, to_the_byte: bool) {
    if to_the_byte {
        assert_eq!(a, b);
        return;
    }
    assert_eq!((&a.id, &a.name, &a.client_id, &a.encoding), (&b.id, &b.name, &b.client_id, &b.encoding));
    assert_eq!(a.data, b.data);
    let meaning = |m: &Message| {
        let unknown: Vec<_> = m.unknown.iter().map(|(k, v)| (k.clone(), value(v))).collect();
        (m.extras.as_ref().map(value), unknown)
    };
    assert_eq!(meaning(a), meaning(b));
    assert!(
        !matches!(&a.data, Data::Text(_)) || !a.encoding.as_deref().unwrap_or_default().ends_with("/base64")
    );
}

/// `None` for what is too large to compare as a tree.
pub(super) fn value(raw: &RawValue) -> Option<serde_json::Value> {
    match raw {
        RawValue::Json(text) => from_format(text.as_bytes(), Format::Json).ok(),
        RawValue::Msgpack(bytes) => from_format(bytes, Format::Msgpack).ok(),
    }
}
