//! Records as frames: the hot half of encoding. One call makes the bytes that all subscribers of a class share.

use fanfare_model::{Body, Epoch, Message, PresenceAction, PresenceEvent, Record};

use super::action::{Action, MessageAction, presence};
use super::emit::Emit;
use super::frame_out::SerialText;
use super::message_in::is_known;
use super::text::Digits;
use super::{Format, in_format};

/// Frames of one channel's records for one class: a format, and the channel's name as the clients asked for it.
/// Keeps what all of them begin with.
#[derive(Clone, Debug)]
pub struct RecordEncoder {
    format: Format,
    epoch: Epoch,
    messages: Prefix,
    presence: Prefix,
}

/// An open frame up to the value of its channelSerial.
#[derive(Clone, Debug)]
struct Prefix(Box<[u8]>);

/// `action`, `channel`, `channelSerial`.
const PREFIX_FIELDS: u32 = 3;

impl Prefix {
    fn new<E: Emit>(action: Action, channel: &str) -> Self {
        let mut bytes = Vec::with_capacity(channel.len() + 64);
        let mut map = E::open_map(&mut bytes);
        E::integer_field(&mut bytes, &mut map, "action", action.number());
        E::text_field(&mut bytes, &mut map, "channel", Some(channel));
        E::field(&mut bytes, &mut map, "channelSerial");
        Self(bytes.into())
    }

    fn open<E: Emit>(&self, out: &mut Vec<u8>) -> E::Mark {
        let at = out.len();
        out.extend_from_slice(&self.0);
        E::copied_map(at, PREFIX_FIELDS)
    }
}

impl RecordEncoder {
    /// `channel` as the client asked for it, qualifiers included.
    pub fn new(format: Format, channel: &str, epoch: Epoch) -> Self {
        let (messages, presence) = in_format!(format, E => (
            Prefix::new::<E>(Action::Message, channel),
            Prefix::new::<E>(Action::Presence, channel)
        ));
        Self { format, epoch, messages, presence }
    }

    /// Appends the record's frame. `false`, and nothing appended, if it is of a kind that we do not know.
    pub fn encode(&self, record: &Record, out: &mut Vec<u8>) -> bool {
        self.encode_from(record, 0, out)
    }

    /// The same, without the record's first `skip` messages; those that follow keep their ids and serials.
    pub fn encode_from(&self, record: &Record, skip: usize, out: &mut Vec<u8>) -> bool {
        // What a frame has besides the user's bytes, for one message. More only costs a second growth.
        const ENVELOPE_BYTES: usize = 320;
        out.reserve(record.size() + ENVELOPE_BYTES);
        in_format!(self.format, E => match &record.body {
            Body::Messages(messages) => self.messages_frame::<E>(out, record, messages, skip),
            Body::Presence(events) => self.presence_frame::<E>(out, record, events),
            Body::Unknown { .. } => return false,
        });
        true
    }

    fn messages_frame<E: Emit>(&self, out: &mut Vec<u8>, record: &Record, messages: &[Message], skip: usize) {
        let serial = SerialText::new(record.stamp, &self.epoch);
        let mut map = self.messages.open::<E>(out);
        E::plain(out, &[serial.as_bytes()]);
        // An SDK fills in `<id of the frame>:<index>`.
        let own_id = |index: usize, m: &Message| -> bool {
            // An SDK counts from the first message that it sees.
            skip > 0 || m.id.as_ref().is_some_and(|id| !is_derived(id, &record.id, index))
        };
        let all_own = messages.iter().enumerate().all(|(i, m)| own_id(i, m));
        envelope::<E>(out, &mut map, record, !all_own);
        E::field(out, &mut map, "messages");
        let mut array = E::open_array(out);
        for (index, message) in messages.iter().enumerate().skip(skip) {
            E::item(out, &mut array);
            let mut map = E::open_map(out);
            if own_id(index, message) {
                match message.id.as_deref() {
                    Some(id) => E::text_field(out, &mut map, "id", Some(id)),
                    None => E::text_field(out, &mut map, "id", Some(&format!("{}:{index}", record.id))),
                }
            }
            said::<E>(out, &mut map, message);
            // The Java and Python SDKs do not know that a missing action is a create.
            E::integer_field(out, &mut map, "action", MessageAction::Create.number());
            // A missing version is filled in from the serial and the timestamp, by all of them.
            E::field(out, &mut map, "serial");
            serial.of_message::<E>(out, index);
            E::close_map(out, map);
        }
        E::close_array(out, array);
        E::close_map(out, map);
    }

    fn presence_frame<E: Emit>(&self, out: &mut Vec<u8>, record: &Record, events: &[PresenceEvent]) {
        let serial = SerialText::new(record.stamp, &self.epoch);
        let mut map = self.presence.open::<E>(out);
        E::plain(out, &[serial.as_bytes()]);
        envelope::<E>(out, &mut map, record, true);
        E::field(out, &mut map, "presence");
        let mut array = E::open_array(out);
        for (index, event) in events.iter().enumerate() {
            E::item(out, &mut array);
            let mut map = E::open_map(out);
            E::integer_field(out, &mut map, "action", action_number(event.action));
            if !is_derived(&event.id, &record.id, index) {
                E::text_field(out, &mut map, "id", Some(&event.id));
            }
            if record.connection_id.as_ref() != Some(&event.member.connection_id) {
                E::text_field(out, &mut map, "connectionId", Some(event.member.connection_id.as_str()));
            }
            if event.timestamp != record.timestamp {
                E::integer_field(out, &mut map, "timestamp", event.timestamp.0);
            }
            event_said::<E>(out, &mut map, event);
            E::close_map(out, map);
        }
        E::close_array(out, array);
        E::close_map(out, map);
    }
}

/// Whether `id` is `<base>:<index>`, which SDKs make themselves.
fn is_derived(id: &str, base: &str, index: usize) -> bool {
    let rest = id.strip_prefix(base).and_then(|rest| rest.strip_prefix(':'));
    rest.is_some_and(|rest| rest.as_bytes() == Digits::new(index as u64, 1).as_bytes())
}

/// What SDKs copy into each message that lacks it.
fn envelope<E: Emit>(out: &mut Vec<u8>, map: &mut E::Mark, record: &Record, with_id: bool) {
    if with_id {
        E::text_field(out, map, "id", Some(&record.id));
    }
    E::text_field(out, map, "connectionId", record.connection_id.as_ref().map(|c| c.as_str()));
    E::integer_field(out, map, "timestamp", record.timestamp.0);
}

/// What the publisher said.
pub(super) fn said<E: Emit>(out: &mut Vec<u8>, map: &mut E::Mark, message: &Message) {
    E::text_field(out, map, "name", message.name.as_deref());
    E::payload(out, map, &message.data, message.encoding.as_deref());
    E::text_field(out, map, "clientId", message.client_id.as_ref().map(|c| c.as_str()));
    if let Some(extras) = &message.extras {
        E::field(out, map, "extras");
        E::raw(out, extras);
    }
    for (key, value) in message.unknown.iter().filter(|(key, _)| !is_known(key)) {
        E::key(out, map, key);
        E::raw(out, value);
    }
}

/// What the member said, and who it is.
pub(super) fn event_said<E: Emit>(out: &mut Vec<u8>, map: &mut E::Mark, event: &PresenceEvent) {
    E::text_field(out, map, "clientId", Some(event.member.client_id.as_str()));
    E::payload(out, map, &event.data, event.encoding.as_deref());
    if let Some(extras) = &event.extras {
        E::field(out, map, "extras");
        E::raw(out, extras);
    }
}

/// A presence event with nothing left to fill in.
pub(super) fn whole_event<E: Emit>(out: &mut Vec<u8>, event: &PresenceEvent, action: i64) {
    let mut map = E::open_map(out);
    E::integer_field(out, &mut map, "action", action);
    E::text_field(out, &mut map, "id", Some(&event.id));
    E::text_field(out, &mut map, "connectionId", Some(event.member.connection_id.as_str()));
    E::integer_field(out, &mut map, "timestamp", event.timestamp.0);
    event_said::<E>(out, &mut map, event);
    E::close_map(out, map);
}

pub(super) fn action_number(action: PresenceAction) -> i64 {
    match action {
        PresenceAction::Enter => presence::ENTER,
        PresenceAction::Leave => presence::LEAVE,
        PresenceAction::Update => presence::UPDATE,
    }
}

/// One page of a channel's members. `sync_serial` is `<sync id>:<cursor>`, with an empty cursor on the last page; a
/// sync of one page needs none. It is no place in the channel.
pub fn sync<'a>(
    out: &mut Vec<u8>,
    format: Format,
    channel: &str,
    sync_serial: Option<&str>,
    members: impl IntoIterator<Item = &'a PresenceEvent>,
) {
    in_format!(format, E => {
        let mut map = E::open_map(out);
        E::integer_field(out, &mut map, "action", Action::Sync.number());
        E::text_field(out, &mut map, "channel", Some(channel));
        E::text_field(out, &mut map, "channelSerial", sync_serial);
        E::field(out, &mut map, "presence");
        let mut array = E::open_array(out);
        for member in members {
            E::item(out, &mut array);
            whole_event::<E>(out, member, presence::PRESENT);
        }
        E::close_array(out, array);
        E::close_map(out, map);
    });
}
