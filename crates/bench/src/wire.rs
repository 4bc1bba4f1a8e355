//! Ably's protocol messages, as a client writes and reads them (`ably-wire.md`, sections 2, 4.1 and 5), and the
//! choice between them and Realtime Pub/Sub's frames.

use std::borrow::Cow;

use clap::ValueEnum;
use serde::Deserialize;

use crate::{
    frame,
    msgpack::{self, Reader, Value},
    topics,
};

/// What is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// Ably's protocol in JSON.
    Json,
    /// Ably's protocol in MessagePack.
    Msgpack,
    /// Realtime Pub/Sub, which is JSON.
    RealtimePubsub,
}

impl Format {
    pub(crate) const ALL: [Format; 3] = [Format::Json, Format::Msgpack, Format::RealtimePubsub];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Format::Json => "json",
            Format::Msgpack => "msgpack",
            Format::RealtimePubsub => "realtime-pubsub",
        }
    }

    /// Whether ACKs are in order within a channel only, and not over a connection.
    pub(crate) fn acks_by_channel(self) -> bool {
        self == Format::RealtimePubsub
    }

    pub(crate) fn opcode(self) -> u8 {
        match self {
            Format::Json | Format::RealtimePubsub => frame::TEXT,
            Format::Msgpack => frame::BINARY,
        }
    }
}

pub(crate) mod action {
    pub(crate) const HEARTBEAT: i64 = 0;
    pub(crate) const ACK: i64 = 1;
    pub(crate) const NACK: i64 = 2;
    pub(crate) const CONNECTED: i64 = 4;
    pub(crate) const DISCONNECTED: i64 = 6;
    pub(crate) const CLOSED: i64 = 8;
    pub(crate) const ERROR: i64 = 9;
    pub(crate) const ATTACHED: i64 = 11;
    pub(crate) const DETACHED: i64 = 13;
}

pub(crate) const FLAG_RESUMED: i64 = 1 << 2;

/// Modes: an attached subscriber needs SUBSCRIBE only, and asks for no more.
const MODE_SUBSCRIBE: u64 = 1 << 18;

/// The sample nonce of RFC 6455. A constant nonce is legal, and lets the baseline answer without SHA-1.
pub(crate) const WEBSOCKET_KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
pub(crate) const WEBSOCKET_ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// Where a client of Ably's protocol connects to, in either format.
pub(crate) fn ably_path(key: &str, format: Format) -> String {
    format!("/?v=6&format={}&key={key}&heartbeats=false&echo=true", format.name())
}

pub(crate) fn upgrade_request(host: &str, path: &str) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\n\
         Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: {WEBSOCKET_KEY}\r\n\r\n"
    )
    .into_bytes()
}

/// Appends what attaches to a channel. Names are made by the generator: nothing in them is escaped.
pub(crate) fn push_attach(out: &mut Vec<u8>, format: Format, channel: &str) {
    let mut body = Vec::new();
    match format {
        Format::Json => {
            body = format!(r#"{{"action":10,"channel":"{channel}","flags":{MODE_SUBSCRIBE}}}"#).into_bytes()
        }
        Format::Msgpack => {
            body.push(0x83);
            msgpack::push_str(&mut body, b"action");
            msgpack::push_uint(&mut body, 10);
            msgpack::push_str(&mut body, b"channel");
            msgpack::push_str(&mut body, channel.as_bytes());
            msgpack::push_str(&mut body, b"flags");
            msgpack::push_uint(&mut body, MODE_SUBSCRIBE);
        }
        Format::RealtimePubsub => body = topics::subscribe(channel),
    }
    frame::push_masked(out, format.opcode(), &body);
    if format == Format::RealtimePubsub {
        PublishForm::new(format, channel).push(out, &mut body, topics::FENCE, b"");
    }
}

/// What of a publish on one channel never changes, so that a publish is three copies.
pub(crate) struct PublishForm {
    format: Format,
    head: Vec<u8>,
}

impl PublishForm {
    pub(crate) fn new(format: Format, channel: &str) -> Self {
        let mut head = Vec::new();
        match format {
            Format::Json => head
                .extend_from_slice(format!(r#"{{"action":15,"channel":"{channel}","msgSerial":"#).as_bytes()),
            Format::Msgpack => {
                head.push(0x84);
                msgpack::push_str(&mut head, b"action");
                msgpack::push_uint(&mut head, 15);
                msgpack::push_str(&mut head, b"channel");
                msgpack::push_str(&mut head, channel.as_bytes());
                msgpack::push_str(&mut head, b"msgSerial");
            }
            Format::RealtimePubsub => head = topics::publish_head(channel),
        }
        Self { format, head }
    }

    /// Appends the frame of one message. `body` is scratch room.
    pub(crate) fn push(&self, out: &mut Vec<u8>, body: &mut Vec<u8>, msg_serial: u64, payload: &[u8]) {
        body.clear();
        body.extend_from_slice(&self.head);
        match self.format {
            Format::Json => {
                push_decimal(body, msg_serial);
                body.extend_from_slice(br#","messages":[{"data":""#);
                body.extend_from_slice(payload);
                body.extend_from_slice(br#""}]}"#);
            }
            Format::Msgpack => {
                msgpack::push_uint(body, msg_serial);
                msgpack::push_str(body, b"messages");
                body.extend_from_slice(&[0x91, 0x81]);
                msgpack::push_str(body, b"data");
                msgpack::push_str(body, payload);
            }
            Format::RealtimePubsub => topics::push_publish_tail(body, msg_serial, payload),
        }
        frame::push_masked(out, self.format.opcode(), body);
    }
}

pub(crate) fn push_decimal(out: &mut Vec<u8>, mut value: u64) {
    let mut text = [0_u8; 20];
    let mut at = text.len();
    loop {
        at -= 1;
        text[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&text[at..]);
}

/// A protocol message that is no delivery, reduced to what the generator acts on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Control<'a> {
    pub(crate) action: i64,
    pub(crate) flags: i64,
    pub(crate) msg_serial: i64,
    pub(crate) count: i64,
    #[serde(borrow)]
    pub(crate) error: Option<ErrorText<'a>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct ErrorText<'a> {
    pub(crate) code: i64,
    #[serde(borrow)]
    pub(crate) message: Cow<'a, str>,
}

impl<'a> Control<'a> {
    /// None when the frame is not a protocol message.
    pub(crate) fn read(format: Format, frame: &'a [u8]) -> Option<Self> {
        match format {
            Format::Json => read_ack(frame).or_else(|| serde_json::from_slice(frame).ok()),
            Format::Msgpack => Self::read_msgpack(frame),
            Format::RealtimePubsub => topics::read(frame),
        }
    }

    /// The server lost or dropped something on this attachment, and says so (section 3, points 6 and 8).
    pub(crate) fn tells_of_a_gap(&self) -> bool {
        self.action == action::ATTACHED && self.flags & FLAG_RESUMED == 0 && self.error.is_some()
    }

    pub(crate) fn describe(&self) -> String {
        match &self.error {
            Some(error) => format!("action {} with error {}: {}", self.action, error.code, error.message),
            None => format!("action {} without an error", self.action),
        }
    }

    fn read_msgpack(frame: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(frame);
        let Value::Map(pairs) = reader.next()? else { return None };
        let mut control = Control::default();
        for _ in 0..pairs {
            let Value::Str(key) = reader.next()? else { return None };
            let field = match key {
                b"action" => &mut control.action,
                b"flags" => &mut control.flags,
                b"msgSerial" => &mut control.msg_serial,
                b"count" => &mut control.count,
                b"error" => {
                    control.error = read_msgpack_error(&mut reader)?;
                    continue;
                }
                _ => {
                    reader.skip()?;
                    continue;
                }
            };
            if let Value::Int(value) = reader.next()? {
                *field = value;
            }
        }
        Some(control)
    }
}

fn read_msgpack_error<'a>(reader: &mut Reader<'a>) -> Option<Option<ErrorText<'a>>> {
    let pairs = match reader.next()? {
        Value::Map(pairs) => pairs,
        _ => return Some(None),
    };
    let mut error = ErrorText::default();
    for _ in 0..pairs {
        let Value::Str(key) = reader.next()? else { return None };
        if !matches!(key, b"code" | b"message") {
            reader.skip()?;
            continue;
        }
        match reader.next()? {
            Value::Int(code) => error.code = code,
            Value::Str(message) => error.message = String::from_utf8_lossy(message),
            _ => {}
        }
    }
    Some(Some(error))
}

/// The common ACK in the common field order, without a parser: at full speed they are many. Anything else is
/// left to the parser.
fn read_ack(frame: &[u8]) -> Option<Control<'static>> {
    let rest = frame.strip_prefix(br#"{"action":1,"msgSerial":"#)?;
    let (msg_serial, rest) = leading_decimal(rest)?;
    let (count, _) = leading_decimal(rest.strip_prefix(br#","count":"#)?)?;
    Some(Control { action: action::ACK, msg_serial, count, ..Control::default() })
}

pub(crate) fn leading_decimal(bytes: &[u8]) -> Option<(i64, &[u8])> {
    let len = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = bytes.split_at(len);
    let value = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some((value, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ack_is_read_in_any_order_and_format() {
        let wanted = Control { action: 1, msg_serial: 7, count: 3, ..Control::default() };
        for text in [
            r#"{"action":1,"msgSerial":7,"count":3,"res":[{"serials":["a"]}]}"#,
            r#"{"count":3,"res":[{"serials":["a"]}],"msgSerial":7,"action":1}"#,
        ] {
            assert_eq!(Control::read(Format::Json, text.as_bytes()).unwrap(), wanted);
        }
        let mut packed = vec![0x84];
        msgpack::push_str(&mut packed, b"res");
        packed.extend_from_slice(&[0x91, 0x81, 0xa1, b's', 0x91, 0xa1, b'x']);
        for (key, value) in [("count", 3), ("msgSerial", 7), ("action", 1)] {
            msgpack::push_str(&mut packed, key.as_bytes());
            msgpack::push_uint(&mut packed, value);
        }
        assert_eq!(Control::read(Format::Msgpack, &packed).unwrap(), wanted);
    }

    #[test]
    fn a_gap_is_an_attached_with_an_error_and_without_resumed() {
        let told = |text: &str| Control::read(Format::Json, text.as_bytes()).unwrap().tells_of_a_gap();
        assert!(told(r#"{"action":11,"channel":"c","error":{"code":90003,"message":"lost \"some\""}}"#));
        assert!(!told(r#"{"action":11,"channel":"c","flags":4,"error":{"code":90003}}"#));
        assert!(!told(r#"{"action":11,"channel":"c"}"#));
        assert!(!told(r#"{"action":9,"channel":"c","error":{"code":90003}}"#));
    }
}
