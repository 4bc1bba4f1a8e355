//! What peers ask for, and how deliveries are written.

use std::rc::Rc;

use fanfare_model::{
    Body, ChannelKey, ClientId, ConnectionId, Data, MemberKey, Message, PresenceAction, PresenceEvent,
    Record, Timestamp,
};

use super::harness::{Peer, START};
use crate::AttachmentId;
use crate::encode::{ClassKey, Content, Delivery, Encoder, FrameKind, Framing};
use crate::session::{Attach, Audience, Command, Draft, Roles, Since};

pub(super) struct Plain;

impl Framing for Plain {
    fn class(&self) -> u8 {
        0
    }

    fn begin(&self, out: &mut Vec<u8>) -> usize {
        out.len()
    }

    fn end(&self, out: &mut Vec<u8>, _: usize, _: FrameKind, _: Content) {
        out.push(b';');
    }
}

struct Labelled(Rc<str>);

impl Encoder for Labelled {
    fn class(&self) -> ClassKey {
        ClassKey { kind: 1, label: self.0.clone() }
    }

    fn encode(&self, delivery: Delivery<'_>, out: &mut Vec<u8>) {
        let text = format!("{}/{}:{}", self.0, delivery.record.stamp.0, payload(delivery.record));
        out.extend_from_slice(text.as_bytes());
    }

    fn kind(&self) -> FrameKind {
        FrameKind::Text
    }
}

/// Messages by their data; presence as `+who=data`, `~who=data`, `-who=data`.
pub(super) fn payload(record: &Record) -> String {
    let parts: Vec<String> = match &record.body {
        Body::Messages(messages) => messages.iter().map(|m| text(&m.data)).collect(),
        Body::Presence(events) => {
            let sign = |e: &PresenceEvent| match e.action {
                PresenceAction::Enter => '+',
                PresenceAction::Update => '~',
                PresenceAction::Leave => '-',
            };
            events.iter().map(|e| format!("{}{}", sign(e), member(e))).collect()
        }
        Body::Unknown { .. } => Vec::new(),
    };
    parts.join(",")
}

pub(super) fn member(event: &PresenceEvent) -> String {
    format!("{}.{}={}", event.member.connection_id, event.member.client_id, text(&event.data))
}

fn text(data: &Data) -> String {
    if let Data::Text(text) = data { text.to_string() } else { String::new() }
}

pub(super) const EVERYTHING: Audience =
    Audience { messages: true, presence: true, echo: true, occupancy: false, watches: false };

pub(super) const SUBSCRIBER: Roles =
    Roles { publisher: true, subscriber: true, presence: true, presence_subscriber: true };

/// The label of what is delivered is the attachment's number.
pub(super) fn attach(attachment: u32, channel: &ChannelKey, audience: Audience, since: Since) -> Command {
    Command::Attach(Box::new(Attach {
        attachment: AttachmentId(attachment),
        channel: channel.clone(),
        encoder: Rc::new(Labelled(attachment.to_string().into())),
        audience,
        roles: SUBSCRIBER,
        since,
        narrator: None,
    }))
}

pub(super) fn draft(connection: &ConnectionId, payload: &str, idempotent: bool) -> Draft {
    let message = |data: &str| Message { data: Data::Text(data.into()), ..Message::default() };
    Draft {
        id: payload.into(),
        idempotent,
        connection_id: Some(connection.clone()),
        messages: payload.split(',').map(message).collect(),
        uncounted: 0,
        ephemeral: false,
    }
}

pub(super) fn publish(peer: &Peer, channel: &ChannelKey, payload: &str, idempotent: bool) -> Command {
    let token = peer.log.next_token.replace(peer.log.next_token.get() + 1);
    let draft = draft(&peer.log.connection.borrow(), payload, idempotent);
    Command::Publish { channel: channel.clone(), draft: Box::new(draft), token }
}

/// An event of the client named before the `=`, with the data after it.
pub(super) fn presence(peer: &Peer, channel: &ChannelKey, event: (PresenceAction, &str)) -> Command {
    let token = peer.log.next_token.replace(peer.log.next_token.get() + 1);
    let connection_id = peer.log.connection.borrow().clone();
    let (client, data) = event.1.split_once('=').unwrap_or((event.1, ""));
    let event = PresenceEvent {
        action: event.0,
        id: format!("{connection_id}:{token}:0").into(),
        member: MemberKey { connection_id, client_id: ClientId::parse(client).expect("a good name") },
        data: if data.is_empty() { Data::None } else { Data::Text(data.into()) },
        encoding: None,
        extras: None,
        timestamp: Timestamp(START),
    };
    Command::Presence { channel: channel.clone(), events: vec![event], token }
}
