//! The frames that a real server would send, made by cutting and joining bytes: nothing is parsed.
//!
//! It relies on what the generator sends and on nothing else: one message to a publish, no escapes, the fields
//! in any order.

use memchr::memmem;

use crate::{
    frame,
    msgpack::{self, Reader, Value},
    raw::topics,
    wire::{Format, push_decimal},
};

/// What of a client's frame matters, still the client's bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Inbound<'a> {
    pub(super) action: u64,
    pub(super) channel: &'a [u8],
    pub(super) msg_serial: u64,
    /// The payload of the one message; empty when there is none.
    pub(super) data: &'a [u8],
}

impl<'a> Inbound<'a> {
    pub(super) fn read(format: Format, frame: &'a [u8]) -> Option<Self> {
        match format {
            Format::Json => Some(Self {
                action: decimal_after(frame, br#""action":"#)?,
                channel: text_after(frame, br#""channel":""#).unwrap_or_default(),
                msg_serial: decimal_after(frame, br#""msgSerial":"#).unwrap_or_default(),
                data: text_after(frame, br#""data":""#).unwrap_or_default(),
            }),
            Format::Msgpack => Some(Self {
                action: int_after(frame, b"\xa6action")?,
                channel: str_after(frame, b"\xa7channel").unwrap_or_default(),
                msg_serial: int_after(frame, b"\xa9msgSerial").unwrap_or_default(),
                data: str_after(frame, b"\xa4data").unwrap_or_default(),
            }),
            Format::RealtimePubsub => topics::inbound(frame),
        }
    }
}

fn after<'a>(frame: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    memmem::find(frame, key).map(|at| &frame[at + key.len()..])
}

pub(super) fn decimal_after(frame: &[u8], key: &[u8]) -> Option<u64> {
    let digits = after(frame, key)?.iter().take_while(|byte| byte.is_ascii_digit());
    Some(digits.fold(0, |value, digit| value * 10 + u64::from(digit - b'0')))
}

pub(super) fn text_after<'a>(frame: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    let rest = after(frame, key)?;
    memchr::memchr(b'"', rest).map(|end| &rest[..end])
}

fn int_after(frame: &[u8], key: &[u8]) -> Option<u64> {
    match Reader::new(after(frame, key)?).next()? {
        Value::Int(value) => u64::try_from(value).ok(),
        _ => None,
    }
}

fn str_after<'a>(frame: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    match Reader::new(after(frame, key)?).next()? {
        Value::Str(text) => Some(text),
        _ => None,
    }
}

/// The position of a message: `<14 digits of ms>-<3 digits>@<series>`, as Ably's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Serial {
    ms: u64,
    counter: u64,
}

impl Serial {
    pub(super) const LEN: usize = 14 + 1 + 3 + 1 + 10;

    pub(super) fn at(ms: u64) -> Self {
        Self { ms, counter: 0 }
    }

    /// Later than this one, and no earlier than `now_ms`.
    pub(super) fn next(self, now_ms: u64) -> Self {
        match self {
            Serial { ms, .. } if ms < now_ms => Self::at(now_ms),
            Serial { ms, counter: 999 } => Self::at(ms + 1),
            Serial { ms, counter } => Self { ms, counter: counter + 1 },
        }
    }

    pub(super) fn text(self) -> [u8; Self::LEN] {
        let mut text = *b"00000000000000-000@abcdefghij";
        put_digits(&mut text[..14], self.ms);
        put_digits(&mut text[15..18], self.counter);
        text
    }
}

fn put_digits(place: &mut [u8], mut value: u64) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

/// What the frames of one publish share.
pub(super) struct Publish<'a> {
    pub(super) inbound: Inbound<'a>,
    pub(super) connection: &'a [u8],
    pub(super) serial: [u8; Serial::LEN],
    pub(super) now_ms: u64,
}

impl Publish<'_> {
    /// Appends the MESSAGE frame for subscribers. `body` is scratch room.
    pub(super) fn push(&self, format: Format, out: &mut Vec<u8>, body: &mut Vec<u8>) {
        body.clear();
        match format {
            Format::Json => self.push_json(body),
            Format::Msgpack => self.push_msgpack(body),
            Format::RealtimePubsub => topics::push_message(self, body),
        }
        frame::push(out, format.opcode(), body);
    }

    fn push_json(&self, body: &mut Vec<u8>) {
        body.extend_from_slice(br#"{"action":15,"id":""#);
        self.push_id(body);
        for (key, value) in [
            (br#"","channel":""#.as_slice(), self.inbound.channel),
            (br#"","channelSerial":""#, &self.serial),
            (br#"","connectionId":""#, self.connection),
        ] {
            body.extend_from_slice(key);
            body.extend_from_slice(value);
        }
        body.extend_from_slice(br#"","timestamp":"#);
        push_decimal(body, self.now_ms);
        body.extend_from_slice(br#","messages":[{"data":""#);
        body.extend_from_slice(self.inbound.data);
        body.extend_from_slice(br#"","serial":""#);
        body.extend_from_slice(&self.serial);
        body.extend_from_slice(br#":000"}]}"#);
    }

    fn push_msgpack(&self, body: &mut Vec<u8>) {
        let mut text = Vec::with_capacity(40);
        self.push_id(&mut text);
        body.push(0x87);
        msgpack::push_str(body, b"action");
        msgpack::push_uint(body, 15);
        for (key, value) in [
            (b"id".as_slice(), text.as_slice()),
            (b"channel", self.inbound.channel),
            (b"channelSerial", &self.serial),
            (b"connectionId", self.connection),
        ] {
            msgpack::push_str(body, key);
            msgpack::push_str(body, value);
        }
        msgpack::push_str(body, b"timestamp");
        msgpack::push_uint(body, self.now_ms);
        msgpack::push_str(body, b"messages");
        body.extend_from_slice(&[0x91, 0x82]);
        msgpack::push_str(body, b"data");
        msgpack::push_str(body, self.inbound.data);
        msgpack::push_str(body, b"serial");
        text.clear();
        text.extend_from_slice(&self.serial);
        text.extend_from_slice(b":000");
        msgpack::push_str(body, &text);
    }

    fn push_id(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.connection);
        out.push(b':');
        push_decimal(out, self.inbound.msg_serial);
    }
}

/// Publishes of one connection that one ACK will answer.
#[derive(Debug, Default)]
pub(super) struct PendingAck {
    first: u64,
    serials: Vec<[u8; Serial::LEN]>,
}

impl PendingAck {
    /// True for the first publish of the turn.
    pub(super) fn add(&mut self, msg_serial: u64, serial: [u8; Serial::LEN]) -> bool {
        let is_first = self.serials.is_empty();
        if is_first {
            self.first = msg_serial;
        }
        self.serials.push(serial);
        is_first
    }

    /// Appends the ACK frame, or one for each publish where the protocol knows no other, and is empty again.
    pub(super) fn push(&mut self, format: Format, out: &mut Vec<u8>, body: &mut Vec<u8>) {
        body.clear();
        match format {
            Format::Json => self.push_json(body),
            Format::Msgpack => self.push_msgpack(body),
            Format::RealtimePubsub => {
                for id in self.first..self.first + self.serials.len() as u64 {
                    topics::push_ack(id, body);
                    frame::push(out, format.opcode(), body);
                }
                return self.serials.clear();
            }
        }
        self.serials.clear();
        frame::push(out, format.opcode(), body);
    }

    fn push_json(&self, body: &mut Vec<u8>) {
        body.extend_from_slice(br#"{"action":1,"msgSerial":"#);
        push_decimal(body, self.first);
        body.extend_from_slice(br#","count":"#);
        push_decimal(body, self.serials.len() as u64);
        body.extend_from_slice(br#","res":["#);
        for (at, serial) in self.serials.iter().enumerate() {
            body.extend_from_slice(if at == 0 { br#"{"serials":[""# } else { br#",{"serials":[""# });
            body.extend_from_slice(serial);
            body.extend_from_slice(br#":000"]}"#);
        }
        body.extend_from_slice(b"]}");
    }

    fn push_msgpack(&self, body: &mut Vec<u8>) {
        body.push(0x84);
        for (key, value) in [("action", 1), ("msgSerial", self.first), ("count", self.serials.len() as u64)] {
            msgpack::push_str(body, key.as_bytes());
            msgpack::push_uint(body, value);
        }
        msgpack::push_str(body, b"res");
        msgpack::push_array(body, self.serials.len());
        for serial in &self.serials {
            body.push(0x81);
            msgpack::push_str(body, b"serials");
            body.push(0x91);
            let mut text = serial.to_vec();
            text.extend_from_slice(b":000");
            msgpack::push_str(body, &text);
        }
    }
}

/// Appends CONNECTED with what clients need of its details.
pub(super) fn push_connected(format: Format, connection: &[u8], out: &mut Vec<u8>) {
    let mut body = Vec::new();
    match format {
        Format::Json => {
            let id = String::from_utf8_lossy(connection);
            body = format!(
                r#"{{"action":4,"connectionId":"{id}","connectionDetails":{{"connectionKey":"{id}!raw","maxMessageSize":65536,"maxFrameSize":524288,"maxInboundRate":1000,"connectionStateTtl":120000,"maxIdleInterval":0,"serverId":"raw"}}}}"#
            )
            .into_bytes();
        }
        Format::Msgpack => {
            body.push(0x83);
            msgpack::push_str(&mut body, b"action");
            msgpack::push_uint(&mut body, 4);
            msgpack::push_str(&mut body, b"connectionId");
            msgpack::push_str(&mut body, connection);
            msgpack::push_str(&mut body, b"connectionDetails");
            body.push(0x82);
            msgpack::push_str(&mut body, b"connectionKey");
            msgpack::push_str(&mut body, connection);
            msgpack::push_str(&mut body, b"maxIdleInterval");
            msgpack::push_uint(&mut body, 0);
        }
        Format::RealtimePubsub => body = topics::welcome(connection),
    }
    frame::push(out, format.opcode(), &body);
}

/// Appends ATTACHED. `gap`: it tells of messages that were dropped, with Ably's code for it.
pub(super) fn push_attached(format: Format, channel: &[u8], serial: Serial, gap: bool, out: &mut Vec<u8>) {
    const SUBSCRIBE: u64 = 1 << 18;
    const GAP_CODE: u64 = 90_003;
    let mut body = Vec::new();
    match format {
        // Nothing tells of a subscription, and only the end of the connection of a gap.
        Format::RealtimePubsub if gap => return frame::push(out, frame::CLOSE, topics::OVERRUN),
        Format::RealtimePubsub => return,
        Format::Json => {
            let (name, serial) = (String::from_utf8_lossy(channel), serial.text());
            let serial = String::from_utf8_lossy(&serial);
            let error = if gap {
                format!(
                    r#","error":{{"code":{GAP_CODE},"statusCode":404,"message":"messages were dropped: the connection did not keep up"}}"#
                )
            } else {
                String::new()
            };
            body = format!(
                r#"{{"action":11,"channel":"{name}","channelSerial":"{serial}","flags":{SUBSCRIBE}{error}}}"#
            )
            .into_bytes();
        }
        Format::Msgpack => {
            body.push(if gap { 0x85 } else { 0x84 });
            msgpack::push_str(&mut body, b"action");
            msgpack::push_uint(&mut body, 11);
            msgpack::push_str(&mut body, b"channel");
            msgpack::push_str(&mut body, channel);
            msgpack::push_str(&mut body, b"channelSerial");
            msgpack::push_str(&mut body, &serial.text());
            msgpack::push_str(&mut body, b"flags");
            msgpack::push_uint(&mut body, SUBSCRIBE);
            if gap {
                msgpack::push_str(&mut body, b"error");
                body.push(0x81);
                msgpack::push_str(&mut body, b"code");
                msgpack::push_uint(&mut body, GAP_CODE);
            }
        }
    }
    frame::push(out, format.opcode(), &body);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        frame::Header,
        wire::{Control, PublishForm},
    };

    #[test]
    fn a_publish_is_cut_out_of_its_frame() {
        for format in Format::ALL {
            let (mut out, mut body) = (Vec::new(), Vec::new());
            PublishForm::new(format, "a:b-7").push(&mut out, &mut body, 1_234, &[b'x'; 128]);
            let inbound = Inbound::read(format, &body).unwrap();
            assert_eq!(
                (inbound.action, inbound.channel, inbound.msg_serial),
                (15, b"a:b-7".as_slice(), 1_234)
            );
            assert_eq!(inbound.data, [b'x'; 128]);
        }
    }

    #[test]
    fn what_goes_out_is_valid() {
        for format in [Format::Json, Format::Msgpack] {
            let (mut out, mut body) = (Vec::new(), Vec::new());
            let inbound = Inbound { action: 15, channel: b"c", msg_serial: 3, data: &[b'd'; 128] };
            let publish = Publish { inbound, connection: b"AbCdEf", serial: Serial::at(5).text(), now_ms: 5 };
            publish.push(format, &mut out, &mut body);
            let mut ack = PendingAck::default();
            assert!(ack.add(7, Serial::at(5).text()));
            assert!(!ack.add(8, Serial::at(5).next(5).text()));
            ack.push(format, &mut out, &mut body);
            push_connected(format, b"AbCdEf", &mut out);
            push_attached(format, b"c", Serial::at(5), true, &mut out);
            let mut seen = Vec::new();
            let mut rest = out.as_slice();
            while let Some(header) = Header::read(rest).unwrap() {
                let payload = &rest[header.header_len..header.frame_len()];
                if format == Format::Json {
                    serde_json::from_slice::<serde_json::Value>(payload).unwrap();
                } else {
                    assert_eq!(Reader::new(payload).skip(), Some(()));
                }
                let control = Control::read(format, payload).unwrap();
                seen.push((control.action, control.msg_serial, control.count, control.tells_of_a_gap()));
                rest = &rest[header.frame_len()..];
            }
            assert_eq!(seen, [(15, 0, 0, false), (1, 7, 2, false), (4, 0, 0, false), (11, 0, 0, true)]);
        }
    }

    #[test]
    fn serials_rise() {
        let mut serial = Serial::at(1_726_585_978_590);
        assert_eq!(&serial.text(), b"01726585978590-000@abcdefghij");
        for _ in 0..2_500 {
            let next = serial.next(1_726_585_978_590);
            assert!(next.text() > serial.text());
            serial = next;
        }
    }
}
