//! Protocol messages to clients, but for those that carry records.
//!
//! Each appends one frame to `out`. What is null, empty or a default that every SDK knows is left out.

use std::time::Duration;

use fanfare_model::{Epoch, ErrorInfo, Stamp, Timestamp};

use super::action::{Action, MessageAction};
use super::emit::Emit;
use super::text::{Digits, push_integer, push_string};
use super::{Format, in_format};

/// What CONNECTED tells a client.
#[derive(Clone, Debug)]
pub struct Connected<'a> {
    pub connection_id: &'a str,
    pub details: ConnectionDetails<'a>,
    /// Why an earlier connection could not be continued.
    pub error: Option<&'a ErrorInfo>,
}

#[derive(Clone)]
pub struct ConnectionDetails<'a> {
    /// Secret, and another one at every resume.
    pub connection_key: &'a str,
    /// A name, `*` (the client may use any), or none (anonymous).
    pub client_id: Option<&'a str>,
    pub max_message_size: usize,
    pub max_frame_size: usize,
    /// Messages a second, if there is a limit. What is faster is refused.
    pub max_inbound_rate: Option<u32>,
    pub max_outbound_rate: Option<u32>,
    pub connection_state_ttl: Duration,
    pub max_idle_interval: Duration,
    pub server_id: &'a str,
    /// LiveObjects apply their own operations by it.
    pub site_code: Option<&'a str>,
    pub objects_gc_grace_period: Option<Duration>,
}

impl std::fmt::Debug for ConnectionDetails<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConnectionDetails").field("client_id", &self.client_id).finish_non_exhaustive()
    }
}

#[derive(Clone, Debug)]
pub struct Attached<'a> {
    /// As the client asked for it, qualifiers included.
    pub channel: &'a str,
    /// From where on messages will come. Never left out.
    pub channel_serial: &'a str,
    /// See [`super::flag`].
    pub flags: u32,
    /// Those that the server understood.
    pub params: &'a [(&'a str, &'a str)],
    pub error: Option<&'a ErrorInfo>,
}

/// What an ACK says about one acknowledged protocol message.
#[derive(Clone, Copy, Debug)]
pub enum Receipt<'a> {
    /// A publish of `count` messages, and its place in the channel.
    Messages { stamp: Stamp, epoch: &'a Epoch, count: usize },
    /// Of anything else there is nothing to tell.
    Accepted,
}

/// A channel's occupancy, as a message.
#[derive(Clone, Debug)]
pub struct Occupancy<'a> {
    /// As the client attached to it.
    pub channel: &'a str,
    /// The client's place in the channel, unchanged; ably-python forgets its own if there is none.
    pub channel_serial: Option<&'a str>,
    pub id: &'a str,
    pub timestamp: Timestamp,
    /// Those that the client asked for.
    pub metrics: &'a [(&'static str, u64)],
}

fn frame<E: Emit>(out: &mut Vec<u8>, action: Action, fields: impl FnOnce(&mut Vec<u8>, &mut E::Mark)) {
    let mut map = E::open_map(out);
    E::integer_field(out, &mut map, "action", action.number());
    fields(out, &mut map);
    E::close_map(out, map);
}

fn millis(d: Duration) -> i64 {
    i64::try_from(d.as_millis()).unwrap_or(i64::MAX)
}

/// The fields of an error, as a map.
pub(super) fn error_map<E: Emit>(out: &mut Vec<u8>, error: &ErrorInfo) {
    let mut map = E::open_map(out);
    E::text_field(out, &mut map, "message", Some(&error.message));
    E::integer_field(out, &mut map, "code", error.code.into());
    E::integer_field(out, &mut map, "statusCode", error.status.into());
    E::field(out, &mut map, "href");
    E::plain(out, &[b"https://help.ably.io/error/", Digits::new(error.code.into(), 1).as_bytes()]);
    E::close_map(out, map);
}

fn error_field<E: Emit>(out: &mut Vec<u8>, map: &mut E::Mark, error: Option<&ErrorInfo>) {
    if let Some(error) = error {
        E::field(out, map, "error");
        error_map::<E>(out, error);
    }
}

pub fn connected(out: &mut Vec<u8>, format: Format, c: &Connected<'_>) {
    in_format!(format, E => frame::<E>(out, Action::Connected, |out, map| {
        E::text_field(out, map, "connectionId", Some(c.connection_id));
        E::field(out, map, "connectionDetails");
        details::<E>(out, &c.details);
        error_field::<E>(out, map, c.error);
    }));
}

fn details<E: Emit>(out: &mut Vec<u8>, d: &ConnectionDetails<'_>) {
    let mut map = E::open_map(out);
    let map_mut = &mut map;
    E::text_field(out, map_mut, "connectionKey", Some(d.connection_key));
    E::text_field(out, map_mut, "clientId", d.client_id);
    E::integer_field(out, map_mut, "maxMessageSize", d.max_message_size as i64);
    E::integer_field(out, map_mut, "maxFrameSize", d.max_frame_size as i64);
    if let Some(rate) = d.max_inbound_rate {
        E::integer_field(out, map_mut, "maxInboundRate", rate.into());
    }
    if let Some(rate) = d.max_outbound_rate {
        E::integer_field(out, map_mut, "maxOutboundRate", rate.into());
    }
    E::integer_field(out, map_mut, "connectionStateTtl", millis(d.connection_state_ttl));
    E::integer_field(out, map_mut, "maxIdleInterval", millis(d.max_idle_interval));
    E::text_field(out, map_mut, "serverId", Some(d.server_id));
    E::text_field(out, map_mut, "siteCode", d.site_code);
    if let Some(period) = d.objects_gc_grace_period {
        E::integer_field(out, map_mut, "objectsGCGracePeriod", millis(period));
    }
    E::close_map(out, map);
}

/// Acknowledges one protocol message for each receipt, from `msg_serial` on.
pub fn ack(out: &mut Vec<u8>, format: Format, msg_serial: i64, receipts: &[Receipt<'_>]) {
    in_format!(format, E => frame::<E>(out, Action::Ack, |out, map| {
        // Always there, zero too: without it ably-js takes the ACK for another's.
        E::integer_field(out, map, "msgSerial", msg_serial);
        E::integer_field(out, map, "count", receipts.len() as i64);
        if receipts.iter().any(|r| matches!(r, Receipt::Messages { .. })) {
            E::field(out, map, "res");
            let mut results = E::open_array(out);
            for receipt in receipts {
                E::item(out, &mut results);
                result::<E>(out, *receipt);
            }
            E::close_array(out, results);
        }
    }));
}

fn result<E: Emit>(out: &mut Vec<u8>, receipt: Receipt<'_>) {
    let mut map = E::open_map(out);
    E::field(out, &mut map, "serials");
    let mut serials = E::open_array(out);
    if let Receipt::Messages { stamp, epoch, count } = receipt {
        let serial = SerialText::new(stamp, epoch);
        for index in 0..count {
            E::item(out, &mut serials);
            serial.of_message::<E>(out, index);
        }
    }
    E::close_array(out, serials);
    E::close_map(out, map);
}

/// Refuses `count` protocol messages from `msg_serial` on.
pub fn nack(out: &mut Vec<u8>, format: Format, msg_serial: i64, count: usize, error: &ErrorInfo) {
    in_format!(format, E => frame::<E>(out, Action::Nack, |out, map| {
        E::integer_field(out, map, "msgSerial", msg_serial);
        E::integer_field(out, map, "count", count as i64);
        error_field::<E>(out, map, Some(error));
    }));
}

/// Ends the channel for this client or, without one, the connection. An empty name is a channel's, too: if it were
/// left out, the client would take the error for the connection's.
pub fn error(out: &mut Vec<u8>, format: Format, channel: Option<&str>, error: &ErrorInfo) {
    in_format!(format, E => frame::<E>(out, Action::Error, |out, map| {
        E::text_field(out, map, "channel", channel);
        error_field::<E>(out, map, Some(error));
    }));
}

pub fn attached(out: &mut Vec<u8>, format: Format, a: &Attached<'_>) {
    in_format!(format, E => frame::<E>(out, Action::Attached, |out, map| {
        E::text_field(out, map, "channel", Some(a.channel));
        E::text_field(out, map, "channelSerial", Some(a.channel_serial));
        E::integer_field(out, map, "flags", a.flags.into());
        if !a.params.is_empty() {
            E::field(out, map, "params");
            let mut params = E::open_map(out);
            for (key, value) in a.params {
                E::key(out, &mut params, key);
                E::text(out, value);
            }
            E::close_map(out, params);
        }
        error_field::<E>(out, map, a.error);
    }));
}

pub fn detached(out: &mut Vec<u8>, format: Format, channel: &str, error: Option<&ErrorInfo>) {
    in_format!(format, E => frame::<E>(out, Action::Detached, |out, map| {
        E::text_field(out, map, "channel", Some(channel));
        error_field::<E>(out, map, error);
    }));
}

/// With a ping's id it is the answer to it; without one, a sign of life.
pub fn heartbeat(out: &mut Vec<u8>, format: Format, id: Option<&str>) {
    in_format!(format, E => frame::<E>(out, Action::Heartbeat, |out, map| E::text_field(out, map, "id", id)));
}

pub fn closed(out: &mut Vec<u8>, format: Format) {
    in_format!(format, E => frame::<E>(out, Action::Closed, |_, _| {}));
}

pub fn disconnected(out: &mut Vec<u8>, format: Format, error: Option<&ErrorInfo>) {
    in_format!(format, E => frame::<E>(out, Action::Disconnected, |out, map| error_field::<E>(out, map, error)));
}

/// Asks the client for a new token.
pub fn auth(out: &mut Vec<u8>, format: Format) {
    in_format!(format, E => frame::<E>(out, Action::Auth, |_, _| {}));
}

pub fn occupancy(out: &mut Vec<u8>, format: Format, o: &Occupancy<'_>) {
    let mut data = br#"{"metrics":{"#.to_vec();
    for (name, value) in o.metrics {
        if !data.ends_with(b"{") {
            data.push(b',');
        }
        push_string(&mut data, name);
        data.push(b':');
        push_integer(&mut data, i64::try_from(*value).unwrap_or(i64::MAX));
    }
    data.extend_from_slice(b"}}");
    let data = String::from_utf8_lossy(&data);
    in_format!(format, E => frame::<E>(out, Action::Message, |out, map| {
        E::text_field(out, map, "channel", Some(o.channel));
        E::text_field(out, map, "channelSerial", o.channel_serial);
        E::text_field(out, map, "id", Some(o.id));
        E::integer_field(out, map, "timestamp", o.timestamp.0);
        E::field(out, map, "messages");
        let mut messages = E::open_array(out);
        E::item(out, &mut messages);
        let mut message = E::open_map(out);
        E::text_field(out, &mut message, "name", Some("[meta]occupancy"));
        E::text_field(out, &mut message, "data", Some(&data));
        E::text_field(out, &mut message, "encoding", Some("json"));
        E::integer_field(out, &mut message, "action", MessageAction::Meta.number());
        E::close_map(out, message);
        E::close_array(out, messages);
    }));
}

/// A record's serial, made once for all that say it.
pub(super) struct SerialText {
    bytes: [u8; Self::BYTES_MAX],
    len: usize,
}

impl SerialText {
    /// 20 digits, a hyphen, 3 digits, an at-sign, and an epoch of 32 bytes at most.
    const BYTES_MAX: usize = 57;

    /// The same text as `Serial`'s `Display`.
    pub(super) fn new(stamp: Stamp, epoch: &Epoch) -> Self {
        let mut text = Self { bytes: [0; Self::BYTES_MAX], len: 0 };
        text.push(Digits::new(stamp.millis(), 14).as_bytes());
        text.push(b"-");
        text.push(Digits::new(stamp.counter(), 3).as_bytes());
        text.push(b"@");
        text.push(epoch.as_str().as_bytes());
        text
    }

    fn push(&mut self, part: &[u8]) {
        self.bytes[self.len..self.len + part.len()].copy_from_slice(part);
        self.len += part.len();
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// The serial of the record's message `index`.
    pub(super) fn of_message<E: Emit>(&self, out: &mut Vec<u8>, index: usize) {
        E::plain(out, &[self.as_bytes(), b":", Digits::new(index as u64, 3).as_bytes()]);
    }
}
