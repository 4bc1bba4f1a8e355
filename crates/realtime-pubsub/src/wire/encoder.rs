//! Records as frames of one topic: what the fan-out calls once for each record and shares among all subscribers.

use std::borrow::Cow;
use std::rc::Rc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fanfare_engine::{ClassKey, Content, Delivery, Encoder, FrameKind};
use fanfare_model::{Body, ConnectionId, Data, Message, Record};
use serde::de::IgnoredAny;

use super::Extras;
use crate::topic;

/// Tells this protocol's classes from those of others.
const KIND: u32 = 0x0B00;

/// What a frame has besides names and payload. More only costs a second growth.
const ENVELOPE_BYTES: usize = 256;

pub(crate) struct TopicEncoder {
    topic: Rc<str>,
}

impl TopicEncoder {
    pub(crate) fn new(topic: &str) -> Self {
        Self { topic: topic.into() }
    }

    fn write(&self, record: &Record, index: usize, message: &Message, out: &mut Vec<u8>) {
        out.reserve(message.size() + ENVELOPE_BYTES);
        let named = message.name.as_deref().filter(|name| !name.is_empty()).unwrap_or(topic::BROADCAST);
        let ours = record.connection_id.as_ref().is_some_and(topic::is_ours);
        // What only the server says here may have been said by a client of another protocol.
        let kind = if !ours && topic::is_servers(&self.topic, named) { topic::BROADCAST } else { named };
        out.extend_from_slice(br#"{"topic":"#);
        string(out, &self.topic);
        out.extend_from_slice(br#","messageType":"#);
        string(out, kind);
        match &record.connection_id {
            // Published over HTTP: the data is the message itself.
            None => {
                let payload = Payload::of(message, false);
                payload.write_encoding(out);
                out.extend_from_slice(br#","data":"#);
                payload.write(out);
                out.push(b'}');
            }
            Some(connection) => self.client_data(connection, record, index, message, out),
        }
    }

    fn client_data(
        &self,
        connection: &ConnectionId,
        record: &Record,
        index: usize,
        message: &Message,
        out: &mut Vec<u8>,
    ) {
        let ours = topic::is_ours(connection);
        let extras = if ours { Extras::of(message) } else { Extras::default() };
        let payload = Payload::of(message, ours);
        out.extend_from_slice(br#","data":{"client":{"connectionId":"#);
        string(out, connection.as_str());
        out.extend_from_slice(br#","subject":"#);
        string(out, message.client_id.as_ref().map_or(connection.as_str(), |client| client.as_str()));
        // On other topics it would tell every subscriber what the client may do.
        if let Some(permissions) = extras.permissions.filter(|_| *self.topic == *topic::INBOUND) {
            out.extend_from_slice(br#","permissions":"#);
            out.extend_from_slice(permissions.get().as_bytes());
        }
        out.extend_from_slice(br#"},"subProtocol":1,"payload":"#);
        payload.write(out);
        payload.write_encoding(out);
        if let Some(id) = extras.id {
            out.extend_from_slice(br#","id":"#);
            out.extend_from_slice(id.get().as_bytes());
        } else if !ours {
            out.extend_from_slice(br#","id":"#);
            match message.id.as_deref() {
                Some(id) => string(out, id),
                None => string(out, &format!("{}:{index}", record.id)),
            }
        }
        out.extend_from_slice(b"}}");
    }
}

impl Encoder for TopicEncoder {
    fn class(&self) -> ClassKey {
        ClassKey { kind: KIND, label: self.topic.clone() }
    }

    fn kind(&self) -> FrameKind {
        FrameKind::Text
    }

    fn frames(&self, record: &Record) -> usize {
        match &record.body {
            Body::Messages(messages) => messages.len(),
            Body::Presence(_) | Body::Unknown { .. } => 0,
        }
    }

    fn encode(&self, delivery: Delivery<'_>, out: &mut Vec<u8>) {
        if let Body::Messages(messages) = &delivery.record.body
            && let Some(message) = messages.get(delivery.frame)
        {
            self.write(delivery.record, delivery.frame, message, out);
        }
    }

    /// A binary frame is the mark of a message that its sender wanted compressed; nothing else is.
    fn shape(&self, delivery: Delivery<'_>) -> (FrameKind, Content) {
        match &delivery.record.body {
            Body::Messages(messages) if messages.get(delivery.frame).is_some_and(Extras::compresses) => {
                (FrameKind::Binary, Content::Delivery)
            }
            _ => (FrameKind::Text, Content::Plain),
        }
    }
}

fn string(out: &mut Vec<u8>, text: &str) {
    // Writing to memory cannot fail, and neither can a string.
    let _ = serde_json::to_writer(out, text);
}

/// A message's data as one JSON value, and what the subscriber has to undo before it has what was published.
struct Payload<'a> {
    data: &'a Data,
    is_json: bool,
    encoding: Option<Cow<'a, str>>,
}

impl<'a> Payload<'a> {
    /// `checked`: one of our own sessions has seen that what is called JSON is JSON.
    fn of(message: &'a Message, checked: bool) -> Self {
        let said = message.encoding.as_deref();
        let is_json =
            said == Some("json") && matches!(&message.data, Data::Text(text) if checked || is_json(text));
        let encoding = match (&message.data, said) {
            (Data::Binary(_), None) => Some(Cow::Borrowed("base64")),
            (Data::Binary(_), Some(said)) => Some(Cow::Owned(format!("{said}/base64"))),
            (_, said) => said.filter(|_| !is_json).map(Cow::Borrowed),
        };
        Self { data: &message.data, is_json, encoding }
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self.data {
            Data::None => out.extend_from_slice(b"null"),
            Data::Text(text) if self.is_json => out.extend_from_slice(text.as_bytes()),
            Data::Text(text) => string(out, text),
            Data::Binary(bytes) => {
                out.push(b'"');
                out.extend_from_slice(STANDARD.encode(bytes).as_bytes());
                out.push(b'"');
            }
        }
    }

    fn write_encoding(&self, out: &mut Vec<u8>) {
        if let Some(encoding) = &self.encoding {
            out.extend_from_slice(br#","encoding":"#);
            string(out, encoding);
        }
    }
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text).is_ok()
}
