//! What must hold for any bytes: the bodies of the fuzz targets, and of a short run of mutations on stable.

use fanfare_engine::{Delivery, Encoder};
use fanfare_model::{Body, Epoch, Record, Stamp, Timestamp};
use serde_json::Value;

use super::{Extras, Frame, TopicEncoder, ack, decode, message};
use crate::permission::{Action, Permissions};
use crate::{pattern, topic};

/// A frame that is understood can be said to others, and what they read is what was sent.
pub fn frame(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (name, said) = match decode(text) {
        Ok(Frame::Publish { topic, said }) => (topic.into_owned(), said),
        Ok(Frame::Message(said)) => (topic::INBOUND.to_owned(), said),
        _ => return,
    };
    let Ok(name) = topic::parse(&name) else { return };
    let mut message = message(&said.message_type, said.payload);
    message.extras = Extras { id: said.id, compress: said.compress, permissions: None }.to_model();
    let record = Record {
        stamp: Stamp(1),
        timestamp: Timestamp(1),
        id: "r".into(),
        connection_id: Some(topic::connection_id([7; 8])),
        body: Body::Messages(vec![message]),
        ephemeral: false,
    };
    let epoch = Epoch::parse("e").expect("a good epoch");
    let encoder = TopicEncoder::new(name.as_str());
    let mut out = Vec::new();
    encoder.encode(Delivery { epoch: &epoch, record: &record, frame: 0 }, &mut out);
    let written = std::str::from_utf8(&out).expect("frames are text");
    // Numbers and depths that this reader does not take are none of the protocol's.
    let payload = said.payload.map(|payload| serde_json::from_str::<Value>(payload.get()));
    let id = said.id.map(|id| serde_json::from_str::<Value>(id.get()));
    if payload.as_ref().is_none_or(Result::is_ok) && id.as_ref().is_none_or(Result::is_ok) {
        let frame: Value = serde_json::from_str(written).expect("our own frame");
        assert_eq!(frame["topic"], name.as_str());
        assert_eq!(frame["messageType"], *said.message_type);
        assert_eq!(frame["data"]["payload"], payload.map_or(Value::Null, Result::unwrap_or_default));
        assert_eq!(frame["data"]["id"], id.map_or(Value::Null, Result::unwrap_or_default));
    }
    if let Some(id) = said.id {
        assert!(serde_json::from_slice::<serde::de::IgnoredAny>(&ack(id)).is_ok());
    }
}

/// A pattern, a line break, a topic: the matcher agrees with the permission, and with plain facts.
pub fn grammar(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (pattern, topic) = text.split_once('\n').unwrap_or((text, ""));
    let matched = pattern::matches(pattern, topic);
    if !pattern.contains('*') {
        assert_eq!(matched, pattern == topic);
    }
    assert!(pattern::matches("*", topic));
    assert!(!matched || pattern::matches(&format!("*{pattern}*"), topic));
    let permission = format!("realtime:publisher:write:topic:{pattern}");
    let permissions = Permissions::parse([permission.as_str()]);
    assert_eq!(permissions.allow(Action::Publish(topic)), matched);
    assert!(!permissions.allow(Action::Subscribe(topic)));
    let _ = topic::parse(topic);
}
