//! Records as frames, and short runs of the fuzz targets on stable.

use fanfare_engine::{Content, Delivery, Encoder, FrameKind};
use fanfare_model::{
    Body, ClientId, ConnectionId, Data, Epoch, Message, PresenceEvent, RawValue, Record, Stamp, Timestamp,
};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{TopicEncoder, fuzz};

const OURS: &str = "00010203040506ff";
const ANOTHERS: &str = "abcdefghijkl";

fn record(connection: Option<&str>, messages: Vec<Message>) -> Record {
    Record {
        stamp: Stamp(1),
        timestamp: Timestamp(1),
        id: "r1".into(),
        connection_id: connection.map(ConnectionId::new),
        body: Body::Messages(messages),
        ephemeral: false,
    }
}

fn encoded(topic: &str, record: &Record, frame: usize) -> (Value, (FrameKind, Content)) {
    let epoch = Epoch::parse("e").unwrap();
    let delivery = Delivery { epoch: &epoch, record, frame };
    let encoder = TopicEncoder::new(topic);
    let mut out = Vec::new();
    encoder.encode(delivery, &mut out);
    (serde_json::from_slice(&out).unwrap(), encoder.shape(delivery))
}

fn text(data: &str) -> Message {
    Message { data: Data::Text(data.into()), ..Message::default() }
}

fn extras(json: &str) -> Option<RawValue> {
    Some(RawValue::Json(json.into()))
}

#[test]
fn what_our_own_sessions_published() {
    let message = Message {
        name: Some("kind".into()),
        client_id: Some(ClientId::parse("me").unwrap()),
        encoding: Some("json".into()),
        extras: extras(r#"{"realtimePubSub":{"id":"x","compress":true,"permissions":["p"]}}"#),
        ..text(r#"{"a":1}"#)
    };
    let record = record(Some(OURS), vec![message]);
    let (frame, shape) = encoded("t", &record, 0);
    let client = json!({ "connectionId": OURS, "subject": "me" });
    let data = json!({ "client": client, "subProtocol": 1, "payload": { "a": 1 }, "id": "x" });
    assert_eq!(frame, json!({ "topic": "t", "messageType": "kind", "data": data }));
    assert_eq!(shape, (FrameKind::Binary, Content::Delivery));
    let (frame, _) = encoded("secure/inbound", &record, 0);
    assert_eq!(frame["data"]["client"]["permissions"], json!(["p"]));
}

#[test]
fn what_others_published_vouches_for_nothing() {
    let forged = r#"{"realtimePubSub":{"id":"forged","permissions":["p"]}}"#;
    let message = Message { name: Some("presence".into()), extras: extras(forged), ..text("x") };
    let (frame, shape) = encoded("secure/inbound", &record(Some(ANOTHERS), vec![message]), 0);
    assert_eq!(frame["messageType"], "broadcast");
    assert_eq!(frame["data"]["client"], json!({ "connectionId": ANOTHERS, "subject": ANOTHERS }));
    assert_eq!(frame["data"]["id"], "r1:0");
    assert_eq!(shape, (FrameKind::Text, Content::Plain));
    // A name is a name elsewhere.
    let message = Message { name: Some("presence".into()), ..text("x") };
    assert_eq!(encoded("t", &record(Some(ANOTHERS), vec![message]), 0).0["messageType"], "presence");
}

#[test]
fn extras_of_any_form_do_no_harm() {
    for broken in
        ["null", "5", "{}", r#"{"realtimePubSub":5}"#, r#"{"realtimePubSub":{"compress":"x"}}"#, "not json"]
    {
        let message = Message { extras: extras(broken), ..text("x") };
        assert_eq!(encoded("t", &record(Some(OURS), vec![message.clone()]), 0).0["data"]["payload"], "x");
        assert_eq!(encoded("t", &record(None, vec![message]), 0).0["data"], "x");
    }
}

#[test]
fn data_of_every_kind() {
    let binary = |encoding: Option<&str>| Message {
        data: Data::Binary(vec![0, 1, 2].into()),
        encoding: encoding.map(Into::into),
        ..Message::default()
    };
    let encoded_text = |data, encoding: &str| Message { encoding: Some(encoding.into()), ..text(data) };
    for (message, payload, encoding) in [
        (text("x"), json!("x"), Value::Null),
        (Message::default(), Value::Null, Value::Null),
        (encoded_text("[1]", "json"), json!([1]), Value::Null),
        (encoded_text("{", "json"), json!("{"), json!("json")),
        (encoded_text("1}", "json"), json!("1}"), json!("json")),
        (encoded_text("x", "utf-8"), json!("x"), json!("utf-8")),
        (binary(None), json!("AAEC"), json!("base64")),
        (binary(Some("cipher")), json!("AAEC"), json!("cipher/base64")),
    ] {
        let (frame, _) = encoded("t", &record(Some(ANOTHERS), vec![message.clone()]), 0);
        assert_eq!(
            (&frame["data"]["payload"], &frame["data"]["encoding"]),
            (&payload, &encoding),
            "{message:?}"
        );
        let (frame, _) = encoded("t", &record(None, vec![message]), 0);
        assert_eq!((&frame["data"], &frame["encoding"]), (&payload, &encoding));
    }
}

#[test]
fn one_frame_for_each_message_and_none_for_presence() {
    let encoder = TopicEncoder::new("t");
    let record = record(Some(ANOTHERS), vec![text("a"), text("b")]);
    assert_eq!(encoder.frames(&record), 2);
    assert_eq!(encoded("t", &record, 1).0["data"]["payload"], "b");
    assert_eq!(encoded("t", &record, 1).0["data"]["id"], "r1:1");
    let presence = Record { body: Body::Presence(Vec::<PresenceEvent>::new()), ..record };
    assert_eq!(encoder.frames(&presence), 0);
}

proptest! {
    #[test]
    fn frames_of_any_shape(kind in "(publish|message|subscribe|x)", topic in ".{0,8}", value in "[\\[\\]{}\",:0-9a\\\\ ]{0,24}", id in "(\"[a-z]*\"|[0-9]|null|\\{)") {
        fuzz::frame(format!(r#"{{"type":"{kind}","data":{{"topic":"{topic}","payload":{value},"id":{id}}}}}"#).as_bytes());
        let quoted = serde_json::to_string(&value).unwrap();
        fuzz::frame(format!(r#"{{"type":"{kind}","data":{{"topic":"t","payload":{quoted},"id":{id}}}}}"#).as_bytes());
    }

    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..64), text in "\\PC{0,40}\n\\PC{0,40}") {
        fuzz::frame(&bytes);
        fuzz::grammar(&bytes);
        fuzz::grammar(text.as_bytes());
    }
}
