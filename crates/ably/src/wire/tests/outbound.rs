use std::time::Duration;

use fanfare_model::{
    Body, ClientId, ConnectionId, Data, Epoch, MemberKey, Message, PresenceAction, PresenceEvent, RawValue,
    Record, Serial, Stamp, Timestamp,
};
use serde_json::json;

use super::*;
use crate::wire::text::{Digits, plain_run, push_string};

fn epoch() -> Epoch {
    Epoch::parse("abcdefghij").unwrap()
}

/// In JSON the bytes must be these; in msgpack, their meaning.
fn check(expect: &str, write: impl Fn(&mut Vec<u8>, Format)) {
    for format in BOTH {
        let mut out = b"before".to_vec();
        write(&mut out, format);
        let out = out.strip_prefix(b"before").unwrap();
        if format == Format::Json {
            assert_eq!(std::str::from_utf8(out).unwrap(), expect);
        }
        assert_eq!(
            tree(format, out),
            serde_json::from_str::<serde_json::Value>(expect).unwrap(),
            "{format:?}"
        );
    }
}

#[test]
fn control_frames() {
    let refused = ErrorInfo::new(40160, 401, "no \"way\"");
    const ERROR: &str =
        r#"{"message":"no \"way\"","code":40160,"statusCode":401,"href":"https://help.ably.io/error/40160"}"#;
    check(r#"{"action":0}"#, |o, f| heartbeat(o, f, None));
    check(r#"{"action":0,"id":"p"}"#, |o, f| heartbeat(o, f, Some("p")));
    check(r#"{"action":8}"#, closed);
    check(r#"{"action":17}"#, auth);
    check(r#"{"action":6}"#, |o, f| disconnected(o, f, None));
    check(&format!(r#"{{"action":6,"error":{ERROR}}}"#), |o, f| disconnected(o, f, Some(&refused)));
    check(&format!(r#"{{"action":9,"error":{ERROR}}}"#), |o, f| error(o, f, None, &refused));
    check(&format!(r#"{{"action":9,"channel":"","error":{ERROR}}}"#), |o, f| error(o, f, Some(""), &refused));
    check(r#"{"action":13,"channel":"c"}"#, |o, f| detached(o, f, "c", None));
    check(&format!(r#"{{"action":2,"msgSerial":0,"count":2,"error":{ERROR}}}"#), |o, f| {
        nack(o, f, 0, 2, &refused)
    });
    check(&format!(r#"{{"error":{ERROR}}}"#), |o, f| o.extend(error_body(f, &refused)));
    let a = Attached {
        channel: "é\n",
        channel_serial: "s@e",
        flags: 0,
        params: &[("delta", "vcdiff")],
        error: None,
    };
    check(
        r#"{"action":11,"channel":"é\n","channelSerial":"s@e","flags":0,"params":{"delta":"vcdiff"}}"#,
        |o, f| attached(o, f, &a),
    );
}

#[test]
fn acks() {
    let epoch = epoch();
    let published = Receipt::Messages { stamp: Stamp(1_726_585_978_590_001), epoch: &epoch, count: 2 };
    check(r#"{"action":1,"msgSerial":0,"count":1}"#, |o, f| ack(o, f, 0, &[Receipt::Accepted]));
    check(
        concat!(
            r#"{"action":1,"msgSerial":5,"count":2,"res":[{"serials":["01726585978590-001@abcdefghij:000","#,
            r#""01726585978590-001@abcdefghij:001"]},{"serials":[]}]}"#
        ),
        |o, f| ack(o, f, 5, &[published, Receipt::Accepted]),
    );
}

#[test]
fn connected_and_occupancy() {
    let details = ConnectionDetails {
        connection_key: "k",
        client_id: Some("*"),
        max_message_size: 65536,
        max_frame_size: 524288,
        max_inbound_rate: Some(50),
        max_outbound_rate: None,
        connection_state_ttl: Duration::from_secs(120),
        max_idle_interval: Duration::from_secs(15),
        server_id: "n",
        site_code: None,
        objects_gc_grace_period: None,
    };
    assert!(!format!("{details:?}").contains("\"k\""), "the key is secret");
    let c = Connected { connection_id: "i", details, error: None };
    check(
        concat!(
            r#"{"action":4,"connectionId":"i","connectionDetails":{"connectionKey":"k","clientId":"*","#,
            r#""maxMessageSize":65536,"maxFrameSize":524288,"maxInboundRate":50,"connectionStateTtl":120000,"#,
            r#""maxIdleInterval":15000,"serverId":"n"}}"#
        ),
        |o, f| connected(o, f, &c),
    );
    let o = Occupancy {
        channel: "c",
        channel_serial: Some("s"),
        id: "i",
        timestamp: Timestamp(5),
        metrics: &[("connections", 1), ("publishers", 0)],
    };
    check(
        concat!(
            r#"{"action":15,"channel":"c","channelSerial":"s","id":"i","timestamp":5,"messages":[{"name":"[meta]occupancy","#,
            r#""data":"{\"metrics\":{\"connections\":1,\"publishers\":0}}","encoding":"json","action":3}]}"#
        ),
        |out, f| occupancy(out, f, &o),
    );
}

fn record(messages: Vec<Message>) -> Record {
    Record {
        stamp: Stamp(1_726_585_978_590_001),
        timestamp: Timestamp(1_726_585_978_590),
        id: "conn:0".into(),
        connection_id: Some(ConnectionId::new("conn")),
        body: Body::Messages(messages),
        ephemeral: false,
    }
}

fn encode(format: Format, record: &Record) -> Vec<u8> {
    let mut out = Vec::new();
    assert!(RecordEncoder::new(format, "[?x=1]c\"", epoch()).encode(record, &mut out));
    out
}

#[test]
fn messages_of_a_record() {
    let whole = Message {
        id: Some("own".into()),
        name: Some("n\t".into()),
        data: Data::Text("é\u{1}\"\\/".into()),
        encoding: Some("json".into()),
        client_id: Some(ClientId::parse("c").unwrap()),
        extras: Some(RawValue::Json(r#"{"headers": {"a":[1,2.0]}}"#.into())),
        unknown: vec![
            ("new\"".into(), RawValue::Json("[]".into())),
            ("serial".into(), RawValue::Json("1".into())),
        ],
    };
    let derived = Message { id: Some("conn:0:1".into()), ..Message::default() };
    let r = record(vec![whole.clone(), derived, Message::default()]);
    let expect = concat!(
        r#"{"action":15,"channel":"[?x=1]c\"","channelSerial":"01726585978590-001@abcdefghij","id":"conn:0","#,
        r#""connectionId":"conn","timestamp":1726585978590,"messages":[{"id":"own","name":"n\t","#,
        r#""data":"é\u0001\"\\/","encoding":"json","clientId":"c","extras":{"headers": {"a":[1,2.0]}},"new\"":[],"#,
        r#""action":0,"serial":"01726585978590-001@abcdefghij:000"},{"action":0,"#,
        r#""serial":"01726585978590-001@abcdefghij:001"},{"action":0,"serial":"01726585978590-001@abcdefghij:002"}]}"#
    );
    check(expect, |out, format| out.extend(encode(format, &r)));

    let mut own = record(vec![whole]);
    own.connection_id = None;
    for format in BOTH {
        let frame = tree(format, &encode(format, &own));
        assert!(frame.get("id").is_none(), "no message needs it");
        assert!(frame.get("connectionId").is_none());
    }
    let unknown = Record { body: Body::Unknown { kind: 9, bytes: bytes::Bytes::new() }, ..own };
    let mut out = Vec::new();
    assert!(!RecordEncoder::new(Format::Json, "c", epoch()).encode(&unknown, &mut out));
    assert!(out.is_empty());
}

#[test]
fn binary_data_says_base64_in_json_only() {
    for (data, encoding, text, json_encoding) in [
        (&b"hi"[..], None, "aGk=", "base64"),
        (b"", None, "", "base64"),
        (b"\xff\0", Some("utf-8/cipher+aes-256-cbc"), "/wA=", "utf-8/cipher+aes-256-cbc/base64"),
    ] {
        let m = Message {
            data: Data::Binary(bytes::Bytes::copy_from_slice(data)),
            encoding: encoding.map(Into::into),
            ..Message::default()
        };
        let r = record(vec![m]);
        let frame = tree(Format::Json, &encode(Format::Json, &r));
        assert_eq!(
            (&frame["messages"][0]["data"], &frame["messages"][0]["encoding"]),
            (&json!(text), &json!(json_encoding))
        );
        let packed = encode(Format::Msgpack, &r);
        let bin = [b"\xa4data\xc4", &[data.len() as u8][..], data].concat();
        assert!(packed.windows(bin.len()).any(|w| w == bin), "a bin, even when empty");
        assert_eq!(
            tree(Format::Msgpack, &packed)["messages"][0].get("encoding"),
            encoding.map(|e| json!(e)).as_ref()
        );
    }
}

#[test]
fn rest_messages_say_everything() {
    let r = record(vec![Message { name: Some("n".into()), ..Message::default() }]);
    let epoch = epoch();
    let stored = StoredMessage { record: &r, epoch: &epoch, index: 0 };
    let expect = concat!(
        r#"[{"id":"conn:0:0","connectionId":"conn","timestamp":1726585978590,"name":"n","action":0,"#,
        r#""serial":"01726585978590-001@abcdefghij:000","version":{"serial":"01726585978590-001@abcdefghij:000","#,
        r#""timestamp":1726585978590}}]"#
    );
    check(expect, |out, f| out.extend(messages_body(f, [stored, StoredMessage { index: 1, ..stored }])));
    // Past 15 and past 65535 msgpack's heads have other sizes.
    for n in [0, 15, 16, 255, 256, 65_535, 65_536] {
        for format in BOTH {
            let body = messages_body(format, std::iter::repeat_n(stored, n));
            let count = match format {
                Format::Json => tree(format, &body).as_array().unwrap().len(),
                Format::Msgpack if n > 1000 => {
                    let wide = body[0] == 0xdd;
                    assert_eq!(wide, n > 65_535);
                    if wide { u32::from_be_bytes(body[1..5].try_into().unwrap()) as usize } else { n }
                }
                Format::Msgpack => tree(format, &body).as_array().unwrap().len(),
            };
            assert_eq!(count, n);
        }
    }
}

#[test]
fn presence_frames() {
    let event = |connection: &str, id: &str, action| PresenceEvent {
        action,
        id: id.into(),
        member: MemberKey {
            connection_id: ConnectionId::new(connection),
            client_id: ClientId::parse("m").unwrap(),
        },
        data: Data::Binary(bytes::Bytes::from_static(b"x")),
        encoding: None,
        extras: Some(RawValue::Msgpack(bytes::Bytes::from_static(b"\x81\xa1a\x01"))),
        timestamp: Timestamp(1_726_585_978_590),
    };
    let ours = event("conn", "conn:0:0", PresenceAction::Enter);
    let other = event("other", "server:1:0", PresenceAction::Leave);
    let mut r = record(vec![]);
    r.body = Body::Presence(vec![ours.clone(), other]);
    for format in BOTH {
        let frame = tree(format, &encode(format, &r));
        assert_eq!(
            (&frame["action"], &frame["channelSerial"]),
            (&json!(14), &json!("01726585978590-001@abcdefghij"))
        );
        let encoding = (format == Format::Json).then_some("base64");
        let mut first = json!({"action": 2, "clientId": "m", "data": "eA==", "extras": {"a": 1}});
        if let Some(e) = encoding {
            first["encoding"] = e.into();
        }
        assert_eq!(frame["presence"][0], first);
        let mut second = first.clone();
        second["action"] = 3.into();
        second["id"] = "server:1:0".into();
        second["connectionId"] = "other".into();
        assert_eq!(frame["presence"][1], second);

        let mut member = first.clone();
        member["action"] = 1.into();
        member["id"] = "conn:0:0".into();
        member["connectionId"] = "conn".into();
        member["timestamp"] = 1_726_585_978_590_i64.into();
        let mut out = Vec::new();
        sync(&mut out, format, "c", Some("1:"), [&ours]);
        let page = json!({"action": 16, "channel": "c", "channelSerial": "1:", "presence": [member]});
        assert_eq!(tree(format, &out), page);
        assert_eq!(tree(format, &presence_body(format, PresenceView::Members, [&ours])), json!([member]));
        member["action"] = 2.into();
        assert_eq!(tree(format, &presence_body(format, PresenceView::Events, [&ours])), json!([member]));
    }
}

#[test]
fn serials_are_written_as_the_model_writes_them() {
    for stamp in [0, 1, 999, 1000, 1_726_585_978_590_001, u64::MAX] {
        let serial = Serial { stamp: Stamp(stamp), epoch: epoch() };
        let mut r = record(vec![Message::default()]);
        r.stamp = serial.stamp;
        let frame = tree(Format::Json, &encode(Format::Json, &r));
        assert_eq!(frame["channelSerial"], json!(serial.to_string()));
    }
    let widest = Epoch::parse(&"x".repeat(32)).unwrap();
    let mut out = Vec::new();
    let r = Record { stamp: Stamp(u64::MAX), ..record(vec![Message::default()]) };
    assert!(RecordEncoder::new(Format::Json, "c", widest).encode(&r, &mut out));
    for (n, width) in [(0, 0), (0, 1), (7, 3), (1234, 3), (u64::MAX, 1), (u64::MAX, 99)] {
        let expect = format!("{n:0w$}", w = width.clamp(1, 20));
        assert_eq!(Digits::new(n, width).as_bytes(), expect.as_bytes());
    }
}

#[test]
fn strings_at_every_offset() {
    for special in ["\"", "\\", "\n", "\u{0}", "\u{1f}", "é", "😀", "\u{7f}"] {
        for at in 0..40 {
            let text = "a".repeat(at) + special + &"b".repeat(40 - at);
            let mut out = Vec::new();
            push_string(&mut out, &text);
            assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
            if special.as_bytes()[0] < 0x20 || special == "\"" || special == "\\" {
                assert_eq!(plain_run(text.as_bytes()), at);
            }
        }
    }
}

#[test]
fn msgpack_heads_are_the_shortest() {
    let cases: [(serde_json::Value, &[u8]); 18] = [
        (json!(0), b"\x00"),
        (json!(127), b"\x7f"),
        (json!(128), b"\xcc\x80"),
        (json!(255), b"\xcc\xff"),
        (json!(256), b"\xcd\x01\x00"),
        (json!(65536), b"\xce\x00\x01\x00\x00"),
        (json!(4294967296_u64), b"\xcf\x00\x00\x00\x01\x00\x00\x00\x00"),
        (json!(u64::MAX), b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff"),
        (json!(-1), b"\xff"),
        (json!(-32), b"\xe0"),
        (json!(-33), b"\xd0\xdf"),
        (json!(-129), b"\xd1\xff\x7f"),
        (json!(-32769), b"\xd2\xff\xff\x7f\xff"),
        (json!(i64::MIN), b"\xd3\x80\x00\x00\x00\x00\x00\x00\x00"),
        (json!(1.5), b"\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00"),
        (json!("a"), b"\xa1a"),
        (json!([null, true, false]), b"\x93\xc0\xc3\xc2"),
        (json!({"a": {}}), b"\x81\xa1a\x80"),
    ];
    for (value, expect) in cases {
        assert_eq!(to_format(&value, Format::Msgpack), expect, "{value}");
        assert_eq!(from_format(expect, Format::Msgpack).unwrap(), value);
    }
}

#[test]
fn what_json_has_no_word_for() {
    let json = |packed: &[u8]| {
        String::from_utf8({
            let mut out = Vec::new();
            crate::wire::transcode::msgpack_to_json(&mut out, packed);
            out
        })
        .unwrap()
    };
    assert_eq!(json(b"\xc4\x02hi"), r#""aGk=""#);
    assert_eq!(json(b"\xd5\x05hi"), r#""aGk=""#);
    assert_eq!(json(b"\xcb\x7f\xf0\0\0\0\0\0\0"), "null");
    assert_eq!(json(b"\xca\x3d\xcc\xcc\xcd"), "0.10000000149011612");
    assert_eq!(json(b"\x82\x01\xc0\xa1a\x93\x01\xff\xc2"), r#"{"1":null,"a":[1,-1,false]}"#);
    assert_eq!(json(b"\x92\x01"), "null", "never half a value");
    let mut out = Vec::new();
    crate::wire::transcode::json_to_msgpack(&mut out, "[18446744073709551615,18446744073709551616,-0]");
    assert_eq!(
        out,
        b"\x93\xcf\xff\xff\xff\xff\xff\xff\xff\xff\xcb\x43\xf0\0\0\0\0\0\0\xcb\x80\0\0\0\0\0\0\0"
    );
}
