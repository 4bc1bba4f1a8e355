//! Realtime Pub/Sub's frames, as a client writes and reads them. What the server says is reduced to the same
//! [`Control`] as Ably's messages, so that only this file knows that there are two protocols.

use serde::Deserialize;

use crate::wire::{Control, action, leading_decimal, push_decimal};

/// The id of the publish that follows a subscription. Subscribing has no answer of its own; a frame on the same
/// topic is handled after it, and that one is acknowledged.
pub(crate) const FENCE: u64 = i64::MAX as u64;

/// What every acknowledgement begins with. The id follows, as it was sent.
pub(crate) const ACK_HEAD: &[u8] = br#"{"topic":"priv/acks","messageType":"ack","data":{"data":""#;

pub(crate) const ACK_TAIL: &[u8] = br#""}}"#;

pub(crate) fn path(app: &str, token: &str) -> String {
    format!("/apps/{app}?access_token={token}")
}

pub(crate) fn subscribe(topic: &str) -> Vec<u8> {
    format!(r#"{{"type":"subscribe","data":{{"topic":"{topic}"}}}}"#).into_bytes()
}

/// What of a publish comes before its id, and never changes. With all the fields that the clients send.
pub(crate) fn publish_head(topic: &str) -> Vec<u8> {
    let head = r#""messageType":"broadcast","compress":false,"id":""#;
    format!(r#"{{"type":"publish","data":{{"topic":"{topic}",{head}"#).into_bytes()
}

pub(crate) fn push_publish_tail(body: &mut Vec<u8>, id: u64, payload: &[u8]) {
    push_decimal(body, id);
    body.extend_from_slice(br#"","payload":""#);
    body.extend_from_slice(payload);
    body.extend_from_slice(br#""}}"#);
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Said<'a> {
    topic: &'a str,
    message_type: &'a str,
    data: Option<Data<'a>>,
}

/// Of what a message carries only an acknowledgement's id is looked at.
#[derive(Deserialize)]
#[serde(untagged)]
enum Data<'a> {
    Ack {
        #[serde(borrow)]
        data: &'a str,
    },
    Other(serde::de::IgnoredAny),
}

/// None when the frame is none of the protocol's.
pub(crate) fn read(frame: &[u8]) -> Option<Control<'static>> {
    read_ack(frame).or_else(|| {
        let said: Said<'_> = serde_json::from_slice(frame).ok()?;
        match (said.topic, said.message_type, said.data) {
            ("main", "welcome", _) => Some(Control { action: action::CONNECTED, ..Control::default() }),
            ("priv/acks", "ack", Some(Data::Ack { data })) => acknowledged(data.parse().ok()?),
            ("priv/acks", ..) => None,
            // Another client's fence, or something that the run did not ask for and that means nothing to it.
            _ => Some(Control { action: action::HEARTBEAT, ..Control::default() }),
        }
    })
}

/// The acknowledgement in the common field order, without a parser: at full speed they are many.
fn read_ack(frame: &[u8]) -> Option<Control<'static>> {
    let (id, rest) = leading_decimal(frame.strip_prefix(ACK_HEAD)?)?;
    if rest == ACK_TAIL { acknowledged(id) } else { None }
}

fn acknowledged(id: i64) -> Option<Control<'static>> {
    Some(if id == FENCE as i64 {
        Control { action: action::ATTACHED, ..Control::default() }
    } else {
        Control { action: action::ACK, msg_serial: id, count: 1, ..Control::default() }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ack_is_read_in_any_order() {
        let wanted = Control { action: action::ACK, msg_serial: 7, count: 1, ..Control::default() };
        for text in [
            r#"{"topic":"priv/acks","messageType":"ack","data":{"data":"7"}}"#,
            r#"{"data":{"data":"7"},"messageType":"ack","topic":"priv/acks"}"#,
            r#"{ "topic": "priv/acks", "messageType": "ack", "data": { "data": "7" } }"#,
        ] {
            assert_eq!(read(text.as_bytes()), Some(wanted.clone()), "{text}");
        }
    }

    #[test]
    fn an_ack_of_something_else_is_none_of_the_protocol() {
        for text in [
            r#"{"topic":"priv/acks","messageType":"ack","data":{"data":"x7"}}"#,
            r#"{"topic":"priv/acks","messageType":"ack","data":{"data":7}}"#,
            r#"{"topic":"priv/acks","messageType":"ack"}"#,
            r#"{"topic":"priv/acks","messageType":"ack","data":{"data":"7"}"#,
            r#"{"action":1,"msgSerial":7,"count":1}"#,
            "welcome",
        ] {
            assert_eq!(read(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn the_other_frames_are_told_apart() {
        let action = |text: &str| read(text.as_bytes()).unwrap().action;
        let fence = format!(r#"{{"topic":"priv/acks","messageType":"ack","data":{{"data":"{FENCE}"}}}}"#);
        assert_eq!(action(&fence), action::ATTACHED);
        let welcome =
            r#"{"topic":"main","messageType":"welcome","data":{"connection":{"id":"a","appId":"b"}}}"#;
        assert_eq!(action(welcome), action::CONNECTED);
        for nothing in [
            r#"{"topic":"main","messageType":"broadcast","data":"7"}"#,
            r#"{"topic":"t","messageType":"welcome","data":{"client":{},"subProtocol":1,"payload":""}}"#,
        ] {
            assert_eq!(action(nothing), action::HEARTBEAT, "{nothing}");
        }
    }

    #[test]
    fn what_is_written_is_json() {
        let (mut body, json) = (publish_head("a:b-7"), |bytes: &[u8]| -> serde_json::Value {
            serde_json::from_slice(bytes).unwrap()
        });
        push_publish_tail(&mut body, 12, b"abc");
        let data = json(&body)["data"].clone();
        assert_eq!(
            (&data["topic"], &data["id"], &data["payload"]),
            (&"a:b-7".into(), &"12".into(), &"abc".into())
        );
        assert_eq!(json(&subscribe("a:b-7"))["data"]["topic"], "a:b-7");
    }
}
