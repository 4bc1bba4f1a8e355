use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;

use super::*;

fn raw() -> impl Strategy<Value = RawValue> {
    prop_oneof![
        ".{0,20}".prop_map(|s| RawValue::Json(s.into())),
        vec(any::<u8>(), 0..20).prop_map(|b| RawValue::Msgpack(b.into())),
    ]
}

fn data() -> impl Strategy<Value = Data> {
    prop_oneof![
        Just(Data::None),
        ".{0,300}".prop_map(|s| Data::Text(s.into())),
        vec(any::<u8>(), 0..300).prop_map(|b| Data::Binary(b.into())),
    ]
}

fn boxed() -> impl Strategy<Value = Option<Box<str>>> {
    of(".{0,20}".prop_map(Box::from))
}

fn client() -> impl Strategy<Value = ClientId> {
    "[a-z:/é]{1,20}".prop_map(|s| ClientId::parse(&s).unwrap())
}

fn message() -> impl Strategy<Value = Message> {
    let unknown = vec((".{0,10}".prop_map(Box::from), raw()), 0..3);
    (boxed(), boxed(), data(), boxed(), of(client()), of(raw()), unknown).prop_map(
        |(id, name, data, encoding, client_id, extras, unknown)| Message {
            id,
            name,
            data,
            encoding,
            client_id,
            extras,
            unknown,
        },
    )
}

fn event() -> impl Strategy<Value = PresenceEvent> {
    let action =
        prop_oneof![Just(PresenceAction::Enter), Just(PresenceAction::Update), Just(PresenceAction::Leave)];
    (action, ".{0,20}", "[a-z]{0,10}", client(), data(), boxed(), of(raw()), any::<i64>()).prop_map(
        |(action, id, connection, client_id, data, encoding, extras, timestamp)| PresenceEvent {
            action,
            id: id.into(),
            member: MemberKey { connection_id: ConnectionId::new(&connection), client_id },
            data,
            encoding,
            extras,
            timestamp: Timestamp(timestamp),
        },
    )
}

fn body() -> impl Strategy<Value = Body> {
    prop_oneof![
        vec(message(), 0..5).prop_map(Body::Messages),
        vec(event(), 0..5).prop_map(Body::Presence),
        (3..=255_u8, vec(any::<u8>(), 0..100))
            .prop_map(|(kind, bytes)| Body::Unknown { kind, bytes: bytes.into() }),
    ]
}

fn record() -> impl Strategy<Value = Record> {
    (any::<u64>(), of(any::<i64>()), ".{0,20}", of("[a-z]{0,10}"), body(), any::<bool>()).prop_map(
        |(stamp, timestamp, id, connection, body, ephemeral)| Record {
            stamp: Stamp(stamp),
            timestamp: timestamp.map_or(implied_timestamp(Stamp(stamp)), Timestamp),
            id: id.into(),
            connection_id: connection.map(|c| ConnectionId::new(&c)),
            body,
            ephemeral,
        },
    )
}

fn encoded(record: &Record) -> Vec<u8> {
    let mut out = Vec::new();
    encode(record, &mut out);
    out
}

/// The same record as a newer version might write it: with tags that this one does not know, before
/// the record's own fields, and in its items.
fn with_future_tags(record: &Record, tag: u64, value: &[u8]) -> Vec<u8> {
    let plain = encoded(record);
    let mut out = vec![plain[0]];
    put_bytes(&mut out, tag, value);
    let mut fields = Fields::new(&plain[1..]);
    while let Some((tag, value)) = fields.next_before_end().unwrap() {
        put_bytes(&mut out, tag, value);
    }
    put_varint(&mut out, END);
    let rest = fields.rest();
    out.push(rest[0]);
    if matches!(record.body, Body::Unknown { .. }) {
        out.extend_from_slice(&rest[1..]);
        return out;
    }
    let mut body = &rest[1..];
    while let Some((length, rest)) = body.split_first_chunk::<4>() {
        let (item, rest) = rest.split_at(u32::from_le_bytes(*length) as usize);
        put_item(&mut out, |out| {
            out.extend_from_slice(item);
            put_bytes(out, tag, value);
        });
        body = rest;
    }
    out
}

/// The bytes on the heap that a record's content takes, items' own structs included.
fn heap(record: &Record) -> usize {
    let text = |t: &Option<Box<str>>| t.as_ref().map_or(0, |t| t.len());
    let raw = |r: &Option<RawValue>| r.as_ref().map_or(0, RawValue::len);
    let id = |c: &str| c.len() + 16;
    record.id.len()
        + record.connection_id.as_ref().map_or(0, |c| id(c.as_str()))
        + match &record.body {
            Body::Unknown { bytes, .. } => bytes.len(),
            Body::Messages(m) => m
                .iter()
                .map(|m| {
                    text(&m.id)
                        + text(&m.name)
                        + m.data.len()
                        + text(&m.encoding)
                        + m.client_id.as_ref().map_or(0, |c| id(c.as_str()))
                        + raw(&m.extras)
                        + m.unknown.iter().map(|(n, v)| n.len() + v.len()).sum::<usize>()
                })
                .sum(),
            Body::Presence(p) => p
                .iter()
                .map(|p| p.id.len() + id(p.member.client_id.as_str()) + p.data.len() + raw(&p.extras))
                .sum(),
        }
}

proptest! {
    #[test]
    fn every_record_comes_back(record in record()) {
        let bytes = encoded(&record);
        let back = decode(&bytes).unwrap();
        prop_assert_eq!(&back, &record);
        prop_assert_eq!(encoded(&back), bytes);
    }

    #[test]
    fn tags_of_the_future_are_passed_over(
        record in record(),
        tag in prop_oneof![14_u64..200, any::<u64>().prop_map(|t| t.max(14))],
        value in vec(any::<u8>(), 0..200),
    ) {
        prop_assert_eq!(decode(&with_future_tags(&record, tag, &value)).unwrap(), record);
    }

    #[test]
    fn arbitrary_bytes_are_a_record_or_refused(bytes in vec(any::<u8>(), 0..400), valid_start in any::<bool>()) {
        let mut bytes = bytes;
        if valid_start && !bytes.is_empty() {
            bytes[0] = VERSION;
        }
        if let Ok(record) = decode(&bytes) {
            prop_assert!(heap(&record) <= 2 * bytes.len() + 32);
        }
    }

    /// Nearer to the truth than arbitrary bytes: a real record with some bytes changed or cut off.
    #[test]
    fn damaged_records_do_not_panic(
        record in record(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = encoded(&record);
        for (at, with) in damage {
            let at = at.index(bytes.len());
            bytes[at] ^= with;
        }
        bytes.truncate(cut.index(bytes.len()) + 1);
        if let Ok(record) = decode(&bytes) {
            prop_assert!(heap(&record) <= 18 * bytes.len() + 32, "client ids cost 16 bytes each beside their text");
        }
    }

    #[test]
    fn varints(value in any::<u64>()) {
        let mut out = Vec::new();
        put_varint(&mut out, value);
        prop_assert_eq!(out.len(), usize::from(wire::varint_len(value)));
        prop_assert_eq!(varint_of(&out), Some(value));
        prop_assert_eq!(zigzag(unzigzag(value)), value);
    }
}

#[test]
fn a_kind_of_the_future_is_kept() {
    let record = Record {
        stamp: Stamp(7),
        timestamp: Timestamp(0),
        id: "r".into(),
        connection_id: None,
        body: Body::Unknown { kind: 77, bytes: Bytes::from_static(b"what a newer version knows") },
        ephemeral: false,
    };
    let bytes = encoded(&record);
    assert_eq!(decode(&bytes).unwrap(), record);
    assert_eq!(encoded(&decode(&bytes).unwrap()), bytes);
}

#[test]
fn an_action_of_the_future_is_passed_over() {
    let mut bytes = vec![VERSION, 1, 1, 7, 3, 1, b'r', 0, kind::PRESENCE];
    put_item(&mut bytes, |out| put_varint_field(out, item_tag::ACTION, 9));
    assert_eq!(decode(&bytes).unwrap().body, Body::Presence(vec![]));
}

#[test]
fn refusals_are_precise() {
    assert_eq!(decode(&[]), Err(Malformed::Short));
    assert_eq!(decode(&[2]), Err(Malformed::Version(2)));
    assert_eq!(decode(&[VERSION, 0, kind::MESSAGES]), Err(Malformed::Field("stamp")));
    let mut many = vec![VERSION, 1, 1, 7, 3, 1, b'r', 0, kind::MESSAGES];
    many.resize(many.len() + 4 * (ITEMS_MAX + 1), 0);
    assert_eq!(decode(&many), Err(Malformed::Items));
}

/// The form on disk does not change by accident: these bytes must decode for ever.
#[test]
fn golden() {
    let record = Record {
        stamp: Stamp(1_726_585_978_590_001),
        timestamp: Timestamp(1_726_585_978_590),
        id: "c:0".into(),
        connection_id: Some(ConnectionId::new("c")),
        body: Body::Messages(vec![Message {
            name: Some("n".into()),
            data: Data::Text("d".into()),
            ..Message::default()
        }]),
        ephemeral: false,
    };
    let golden = b"\x01\x01\x08\xb1\xa6\xb6\xff\xa1\xca\x88\x03\x03\x03c:0\x04\x01c\x00\x01\x06\0\0\0\x02\x01n\x03\x01d";
    assert_eq!(encoded(&record).escape_ascii().to_string(), golden.escape_ascii().to_string());
    assert_eq!(decode(golden).unwrap(), record);
}
