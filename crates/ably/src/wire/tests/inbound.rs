use std::time::{Duration, Instant};

use fanfare_model::{Data, Message, PresenceAction, RawValue};

use super::*;

fn one(json: &str, format: Format) -> Result<Message, ErrorInfo> {
    let mut messages = decode_publish(format, &bytes(json, format))?.messages;
    assert_eq!(messages.len(), 1);
    Ok(messages.remove(0))
}

fn text(t: &str) -> Data {
    Data::Text(t.into())
}

fn binary(b: &[u8]) -> Data {
    Data::Binary(bytes::Bytes::copy_from_slice(b))
}

/// `message` in either format must come to this data and encoding.
fn check(message: &str, data: &Data, encoding: Option<&str>) {
    for format in BOTH {
        let m = one(message, format).unwrap();
        assert_eq!((&m.data, m.encoding.as_deref()), (data, encoding), "{message} {format:?}");
    }
}

#[test]
fn data_and_encoding() {
    check(r#"{"data":"hello"}"#, &text("hello"), None);
    check(r#"{"data":""}"#, &text(""), None);
    check(r#"{"data":null}"#, &Data::None, None);
    check(r#"{}"#, &Data::None, None);
    check(r#"{"encoding":"","data":"x"}"#, &text("x"), None);
    check(r#"{"encoding":null,"data":"x"}"#, &text("x"), None);
    check(r#"{"data":"{\"a\":1}","encoding":"json"}"#, &text(r#"{"a":1}"#), Some("json"));
    check(r#"{"data":"aGk=","encoding":"base64"}"#, &binary(b"hi"), None);
    check(r#"{"encoding":"base64","data":"aGk"}"#, &binary(b"hi"), None);
    check(r#"{"encoding":"base64","data":"aG\nk=\n"}"#, &binary(b"hi"), None);
    check(r#"{"encoding":"base64","data":""}"#, &binary(b""), None);
    check(r#"{"encoding":"base64"}"#, &Data::None, Some("base64"));
    check(r#"{"data":"aGk=","encoding":"utf-8/base64"}"#, &binary(b"hi"), Some("utf-8"));
    check(
        r#"{"data":"aGk=","encoding":"json/utf-8/cipher+aes-256-cbc/base64"}"#,
        &binary(b"hi"),
        Some("json/utf-8/cipher+aes-256-cbc"),
    );
    check(r#"{"data":"aGk=","encoding":"xbase64"}"#, &text("aGk="), Some("xbase64"));
    check(r#"{"data":{"a":[1,"x"]}}"#, &text(r#"{"a":[1,"x"]}"#), Some("json"));
    check(r#"{"data":[],"encoding":"json"}"#, &text("[]"), Some("json"));
    check(r#"{"data":[],"encoding":"x"}"#, &text("[]"), Some("x/json"));
    check(r#"{"data":"a","data":"b"}"#, &text("b"), None);
}

#[test]
fn binary_in_msgpack_keeps_its_encoding() {
    let m = |data: &[u8]| [b"\x81\xa4data", data].concat();
    let data = |body: &[u8]| decode_publish(Format::Msgpack, body).unwrap().messages.remove(0).data;
    assert_eq!(data(&m(b"\xc4\x02hi")), binary(b"hi"));
    assert_eq!(data(&m(b"\xc4\x00")), binary(b""));
    assert_eq!(data(&m(b"\xc0")), Data::None);
    let encoded = b"\x82\xa4data\xc4\x02hi\xa8encoding\xaacipher+aes";
    let m = decode_publish(Format::Msgpack, encoded).unwrap().messages.remove(0);
    assert_eq!((m.data, m.encoding.as_deref()), (binary(b"hi"), Some("cipher+aes")));
}

#[test]
fn refusals_of_messages() {
    let cases = [
        (r#"{"data":1}"#, 40013),
        (r#"{"data":true}"#, 40013),
        (r#"{"data":1.5}"#, 40013),
        (r#"{"data":"!","encoding":"base64"}"#, 40013),
        (r#"{"encoding":5}"#, 40013),
        (r#"{"clientId":""}"#, 40012),
        (r#"{"clientId":"*"}"#, 40012),
        (r#"{"clientId":7}"#, 40012),
        (r#"{"name":7}"#, 40016),
        (r#"{"extras":[]}"#, 40032),
        (r#"{"extras":"x"}"#, 40032),
        (r#"{"extras":{"delta":{"from":"x"}}}"#, 40032),
        (r#"{"id":1}"#, 40000),
        (r#""x""#, 40000),
        (r#"[1]"#, 40000),
        (r#"[{"connectionKey":"a"},{"connectionKey":"b"}]"#, 40006),
    ];
    for (body, code) in cases {
        for format in BOTH {
            let refused = decode_publish(format, &bytes(body, format)).unwrap_err();
            assert_eq!(refused.code, code, "{body} {format:?} {refused}");
            // In a frame, only the publish is refused: a NACK needs the serial, wherever it stands.
            let list = if body.starts_with('[') { body.to_owned() } else { format!("[{body}]") };
            let frame = bytes(&format!(r#"{{"action":15,"messages":{list},"msgSerial":7}}"#), format);
            let frame = decode(format, &frame).unwrap();
            assert_eq!((frame.messages.unwrap_err().code, frame.msg_serial), (code, Some(7)), "{body}");
        }
    }
}

#[test]
fn what_is_kept_and_what_is_not() {
    let body = r#"{"id":"i:0","name":"n","clientId":"c","extras":{"b": 1,"a":[null]},"serial":"s","version":{},"action":0,
        "timestamp":5,"connectionId":"x","size":5,"annotations":{},"createdAt":1,"connectionKey":"k",
        "new":{"x": 1.50},"gone":null,"newer":7,"newer":8}"#;
    let publish = decode_publish(Format::Json, body.as_bytes()).unwrap();
    assert_eq!((publish.connection_key.as_deref(), publish.mutation), (Some("k"), None));
    let m = &publish.messages[0];
    assert_eq!((m.id.as_deref(), m.name.as_deref()), (Some("i:0"), Some("n")));
    assert_eq!(m.client_id.as_ref().unwrap().as_str(), "c");
    assert_eq!(m.extras, Some(RawValue::Json(r#"{"b": 1,"a":[null]}"#.into())));
    let raw = |text: &str| RawValue::Json(text.into());
    assert_eq!(m.unknown, [("new".into(), raw(r#"{"x": 1.50}"#)), ("newer".into(), raw("8"))]);
    assert!(!format!("{publish:?}").contains("\"k\""), "the key is secret");
}

#[test]
fn mutations_are_seen() {
    for (action, wanted) in [
        ("0", None),
        ("null", None),
        ("1", Some(MessageAction::Update)),
        ("2.0", Some(MessageAction::Delete)),
        ("5", Some(MessageAction::Append)),
        ("99", Some(MessageAction::Unknown(99))),
    ] {
        for format in BOTH {
            let body = bytes(&format!(r#"[{{}},{{"action":{action},"serial":"s"}}]"#), format);
            assert_eq!(decode_publish(format, &body).unwrap().mutation, wanted);
        }
    }
}

#[test]
fn frames() {
    let json = r#"{"action":10,"flags":327680.0,"channel":"[?rewind=1]é\"x","channelSerial":"s@e","msgSerial":"12","id":"p",
        "count":1,"auth":{"accessToken":"t","x":[]},"params":{"rewind":1,"delta":"vcdiff","n":null,"b":true},
        "new":{"x":[{}]},"error":null,"connectionDetails":null}"#;
    for format in BOTH {
        let frame = bytes(json, format);
        let frame = decode(format, &frame).unwrap();
        assert_eq!((frame.action, frame.flags), (Action::Attach, flag::PRESENCE | flag::SUBSCRIBE));
        assert_eq!(
            (frame.channel.as_deref(), frame.channel_serial.as_deref()),
            (Some("[?rewind=1]é\"x"), Some("s@e"))
        );
        assert_eq!((frame.msg_serial, frame.id.as_deref(), frame.count), (Some(12), Some("p"), Some(1)));
        assert_eq!(frame.access_token.as_deref(), Some("t"));
        assert_eq!(
            (frame.param("rewind"), frame.param("b"), frame.param("n")),
            (Some("1"), Some("true"), None)
        );
        assert!(!format!("{frame:?}").contains("\"t\""), "the token is secret");
    }
    let action = |json: &str| decode_json(json.as_bytes()).unwrap().action;
    assert_eq!(action("{}"), Action::Heartbeat, "ably-go leaves out a zero");
    assert_eq!(action(r#"{"action":99}"#), Action::Unknown(99));
    for n in -1..30 {
        assert_eq!(Action::from_number(n).number(), n);
        assert_eq!(MessageAction::from_number(n).number(), n);
    }
    assert_eq!(action(r#"{"id":"x","msgSerial":0,"flags":0,"1":2}"#), Action::Heartbeat);
    for what in
        [r#""channel":"""#, r#""messages":[{}]"#, r#""presence":[{}]"#, r#""auth":{"accessToken":"t"}"#]
    {
        let refused = decode_json(format!("{{{what}}}").as_bytes()).unwrap_err();
        assert_eq!(refused.code, 40000, "{what}");
    }
    let empty = br#"{"action":10,"channel":""}"#;
    assert_eq!(decode_json(empty).unwrap().channel.as_deref(), Some(""));
}

#[test]
fn presence_inputs() {
    let json = r#"[{"action":2,"data":"aGk=","encoding":"base64","clientId":"c","id":"x:1:0","extras":{},"new":1},
        {"action":4},{"action":3},{"data":{"a":1}}]"#;
    for format in BOTH {
        let inputs = decode_presence(format, &bytes(json, format)).unwrap();
        let actions: Vec<_> = inputs.iter().map(|i| i.action).collect();
        use PresenceAction::*;
        assert_eq!(actions, [Enter, Update, Leave, Enter]);
        assert_eq!(inputs[0].data, binary(b"hi"));
        assert_eq!(
            (inputs[3].data.clone(), inputs[3].encoding.as_deref()),
            (text(r#"{"a":1}"#), Some("json"))
        );
        for bad in [r#"[{"action":1}]"#, r#"[{"action":"x"}]"#, "{}", "[[]]"] {
            assert_eq!(decode_presence(format, &bytes(bad, format)).unwrap_err().code, 40000, "{bad}");
        }
        let frame = bytes(&format!(r#"{{"presence":{json},"action":14}}"#), format);
        assert_eq!(decode(format, &frame).unwrap().presence.unwrap(), inputs);
    }
}

#[test]
fn batches() {
    for format in BOTH {
        let batch = |json: &str| decode_batch(format, &bytes(json, format));
        let specs = batch(r#"{"channels":"a","messages":{"name":"n"}}"#).unwrap();
        assert_eq!((specs.len(), &*specs[0].channels[0], specs[0].publish.messages.len()), (1, "a", 1));
        let specs =
            batch(r#"[{"messages":[{},{}],"channels":["a","b"]},{"channels":[],"messages":{}}]"#).unwrap();
        assert_eq!(
            (specs[0].channels.len(), specs[0].publish.messages.len(), specs[1].channels.len()),
            (2, 2, 0)
        );
        for (bad, code) in [
            (r#""x""#, 40000),
            (r#"{"channels":5}"#, 40000),
            (r#"{"channels":["a",5]}"#, 40000),
            (r#"{"channels":"a","messages":[{"data":5}]}"#, 40013),
        ] {
            assert_eq!(batch(bad).unwrap_err().code, code, "{bad}");
        }
    }
}

#[test]
fn ephemeral_is_seen_in_both_formats() {
    for (extras, wanted) in [
        (r#"{"ephemeral":true}"#, true),
        (r#"{"a":{"ephemeral":true},"ephemeral":false}"#, false),
        (r#"{"ephemeral":"true"}"#, false),
    ] {
        for format in BOTH {
            let m = one(&format!(r#"{{"extras":{extras}}}"#), format).unwrap();
            assert_eq!(is_ephemeral(&m), wanted, "{extras}");
        }
    }
}

/// Each is refused with a code, quickly.
#[test]
fn hostile_json() {
    let deep = |open: &str, close: &str| open.repeat(100_000) + "1" + &close.repeat(100_000);
    let arrays = deep("[", "]");
    let objects = deep(r#"{"a":"#, "}");
    let cases = [
        String::new(),
        "{".into(),
        "nul".into(),
        "{}{}".into(),
        "[".repeat(100_000),
        arrays.clone(),
        objects.clone(),
        format!(r#"{{"x":{arrays}}}"#),
        format!(r#"{{"params":{objects}}}"#),
        format!(r#"{{"messages":{arrays}"#),
        r#"{"x":1e999}"#.into(),
        r#"{"x":"\ud800"}"#.into(),
        r#"{"x":"\udc00\ud800"}"#.into(),
        r#"{"channel":"\ud83d"}"#.into(),
        r#"{"x":"\u12g4"}"#.into(),
        "{\"x\":\"\u{1}\"}".into(),
        r#"{"x":01}"#.into(),
        r#"{"x":1.}"#.into(),
        r#"{"x":-}"#.into(),
        r#"{"x":+1}"#.into(),
        r#"{"x":[1,]}"#.into(),
        r#"{"x":[}"#.into(),
        r#"{"a":1,}"#.into(),
        r#"{"msgSerial":1.5}"#.into(),
        r#"{"msgSerial":1e19}"#.into(),
        r#"{"channel":5}"#.into(),
    ];
    for case in &cases {
        let start = Instant::now();
        let refused = decode_json(case.as_bytes()).unwrap_err();
        assert_eq!(refused.code, 40000, "{}", &case[..case.len().min(60)]);
        assert!(start.elapsed() < Duration::from_millis(if cfg!(debug_assertions) { 50 } else { 5 }));
    }
    assert_eq!(decode_json(b"{\"x\":\"\xff\"}").unwrap_err().code, 40000);
    for field in ["extras", "data", "new"] {
        let publish = format!(r#"{{"action":15,"messages":[{{"{field}":{objects}}}],"msgSerial":3}}"#);
        let frame = decode_json(publish.as_bytes()).unwrap();
        assert_eq!(
            (frame.messages.unwrap_err().code, frame.msg_serial),
            (40000, Some(3)),
            "only the publish"
        );
    }
}

#[test]
fn hostile_msgpack() {
    let nested = |open: &[u8]| [open.repeat(100_000), vec![0xc0]].concat();
    let field = |value: &[u8]| [b"\x81\xa1x", value].concat();
    let cases = [
        vec![],
        b"\xc1".to_vec(),
        b"\x80\x80".to_vec(),
        b"\xdd\xff\xff\xff\xff".to_vec(),
        b"\xdf\xff\xff\xff\xff".to_vec(),
        nested(b"\x91"),
        nested(b"\x81\xa1a"),
        field(&nested(b"\x91")),
        field(&nested(b"\x81\xa1a")),
        field(&nested(b"\xdd\x00\x00\x00\x01")),
        field(b"\xdd\xff\xff\xff\xff"),
        field(b"\xdf\xff\xff\xff\xff\xa1a"),
        field(b"\xc9\xff\xff\xff\xff\x01"),
        field(b"\xdb\xff\xff\xff\xffx"),
        field(b"\xa1\xff"),
        field(b"\x81\xc0\x01"),
        field(b"\x81\x90\x01"),
        b"\x81\xa1\xff\x01".to_vec(),
        b"\x81\xa7channel\xa1\xff".to_vec(),
        b"\x81\xa8messages\xdd\xff\xff\xff\xff".to_vec(),
    ];
    for case in &cases {
        let start = Instant::now();
        let refused = decode_msgpack(case).unwrap_err();
        assert_eq!(refused.code, 40000, "{:x?}", &case[..case.len().min(20)]);
        assert!(start.elapsed() < Duration::from_millis(if cfg!(debug_assertions) { 50 } else { 5 }));
    }
    let deep = [
        &b"\x83\xa6action\x0f\xa8messages\x91\x81\xa6extras\x81\xa1a"[..],
        &nested(b"\x91"),
        b"\xa9msgSerial\x03",
    ]
    .concat();
    let frame = decode_msgpack(&deep).unwrap();
    assert_eq!((frame.messages.unwrap_err().code, frame.msg_serial), (40000, Some(3)), "only the publish");
}

#[test]
fn limits() {
    let extras = |depth: usize| format!(r#"{{"extras":{}1{}}}"#, r#"{"a":"#.repeat(depth), "}".repeat(depth));
    for format in BOTH {
        assert!(one(&extras(DEPTH_MAX), format).is_ok());
        assert_eq!(one(&extras(DEPTH_MAX + 2), format).unwrap_err().code, 40000);
        let body = bytes(&format!("[{}]", vec!["{}"; ITEMS_MAX].join(",")), format);
        assert_eq!(decode_publish(format, &body).unwrap().messages.len(), ITEMS_MAX);
        let body = bytes(&format!("[{}]", vec!["{}"; ITEMS_MAX + 1].join(",")), format);
        assert_eq!(decode_publish(format, &body).unwrap_err().code, 40034);
        let unknown = |n: usize| {
            format!("{{{}}}", (0..n).map(|i| format!(r#""u{i}":1"#)).collect::<Vec<_>>().join(","))
        };
        assert_eq!(one(&unknown(UNKNOWN_FIELDS_MAX), format).unwrap().unknown.len(), UNKNOWN_FIELDS_MAX);
        assert_eq!(one(&unknown(UNKNOWN_FIELDS_MAX + 1), format).unwrap_err().code, 40000);
    }
}
