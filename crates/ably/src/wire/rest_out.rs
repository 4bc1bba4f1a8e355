//! Bodies of REST answers. Here nothing is filled in by SDKs: each message says everything.

use fanfare_model::{Body, Epoch, ErrorInfo, PresenceEvent, Record};

use super::action::{MessageAction, presence};
use super::emit::Emit;
use super::frame_out::{SerialText, error_map};
use super::record_out::{action_number, said, whole_event};
use super::{Format, in_format};

/// One message of a record.
#[derive(Clone, Copy, Debug)]
pub struct StoredMessage<'a> {
    pub record: &'a Record,
    pub epoch: &'a Epoch,
    /// Its place in the record.
    pub index: usize,
}

/// How presence events are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PresenceView {
    /// As members: all of them present.
    Members,
    /// As what happened.
    Events,
}

/// `{"error":…}`
pub fn error_body(format: Format, error: &ErrorInfo) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    in_format!(format, E => {
        let mut map = E::open_map(&mut out);
        E::field(&mut out, &mut map, "error");
        error_map::<E>(&mut out, error);
        E::close_map(&mut out, map);
    });
    out
}

/// A page of messages, in the order given. An index that the record does not have is passed over.
pub fn messages_body<'a>(format: Format, page: impl IntoIterator<Item = StoredMessage<'a>>) -> Vec<u8> {
    let mut out = Vec::new();
    in_format!(format, E => {
        let mut array = E::open_array(&mut out);
        for stored in page {
            if let Body::Messages(messages) = &stored.record.body && stored.index < messages.len() {
                E::item(&mut out, &mut array);
                whole_message::<E>(&mut out, stored);
            }
        }
        E::close_array(&mut out, array);
    });
    out
}

pub fn presence_body<'a>(
    format: Format,
    view: PresenceView,
    page: impl IntoIterator<Item = &'a PresenceEvent>,
) -> Vec<u8> {
    let mut out = Vec::new();
    in_format!(format, E => {
        let mut array = E::open_array(&mut out);
        for event in page {
            let action = match view {
                PresenceView::Members => presence::PRESENT,
                PresenceView::Events => action_number(event.action),
            };
            E::item(&mut out, &mut array);
            whole_event::<E>(&mut out, event, action);
        }
        E::close_array(&mut out, array);
    });
    out
}

fn whole_message<E: Emit>(out: &mut Vec<u8>, stored: StoredMessage<'_>) {
    let StoredMessage { record, epoch, index } = stored;
    let Body::Messages(messages) = &record.body else { return };
    let message = &messages[index];
    let serial = SerialText::new(record.stamp, epoch);
    let mut map = E::open_map(out);
    match &message.id {
        Some(id) => E::text_field(out, &mut map, "id", Some(id)),
        None => E::text_field(out, &mut map, "id", Some(&format!("{}:{index}", record.id))),
    }
    E::text_field(out, &mut map, "connectionId", record.connection_id.as_ref().map(|c| c.as_str()));
    E::integer_field(out, &mut map, "timestamp", record.timestamp.0);
    said::<E>(out, &mut map, message);
    E::integer_field(out, &mut map, "action", MessageAction::Create.number());
    E::field(out, &mut map, "serial");
    serial.of_message::<E>(out, index);
    E::field(out, &mut map, "version");
    let mut version = E::open_map(out);
    E::field(out, &mut version, "serial");
    serial.of_message::<E>(out, index);
    E::integer_field(out, &mut version, "timestamp", record.timestamp.0);
    E::close_map(out, version);
    E::close_map(out, map);
}
