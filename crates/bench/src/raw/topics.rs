//! Realtime Pub/Sub's frames, cut and joined as Ably's are.

use super::splice::{Inbound, Publish, decimal_after, text_after};
use crate::{
    topics::{ACK_HEAD, ACK_TAIL},
    wire::push_decimal,
};

/// What a close frame says to a client that was too slow: 1013, and why.
pub(super) const OVERRUN: &[u8] = b"\x03\xf5messages were dropped";

/// A subscription or a publish, under the numbers that they have in Ably's protocol.
pub(super) fn inbound(frame: &[u8]) -> Option<Inbound<'_>> {
    let action = match text_after(frame, br#""type":""#)? {
        b"subscribe" => 10,
        b"publish" => 15,
        _ => return None,
    };
    Some(Inbound {
        action,
        channel: text_after(frame, br#""topic":""#)?,
        msg_serial: decimal_after(frame, br#""id":""#).unwrap_or_default(),
        data: text_after(frame, br#""payload":""#).unwrap_or_default(),
    })
}

pub(super) fn push_message(publish: &Publish<'_>, body: &mut Vec<u8>) {
    for (key, value) in [
        (br#"{"topic":""#.as_slice(), publish.inbound.channel),
        (br#"","messageType":"broadcast","data":{"client":{"connectionId":""#, publish.connection),
        (br#"","subject":""#, publish.connection),
        (br#""},"subProtocol":1,"payload":""#, publish.inbound.data),
    ] {
        body.extend_from_slice(key);
        body.extend_from_slice(value);
    }
    body.extend_from_slice(br#"","id":""#);
    push_decimal(body, publish.inbound.msg_serial);
    body.extend_from_slice(br#""}}"#);
}

/// Fills `body` with the acknowledgement of one publish.
pub(super) fn push_ack(id: u64, body: &mut Vec<u8>) {
    body.clear();
    body.extend_from_slice(ACK_HEAD);
    push_decimal(body, id);
    body.extend_from_slice(ACK_TAIL);
}

pub(super) fn welcome(connection: &[u8]) -> Vec<u8> {
    let id = String::from_utf8_lossy(connection);
    let head = r#"{"topic":"main","messageType":"welcome","data":"#;
    format!(r#"{head}{{"connection":{{"id":"{id}","appId":"bench","remoteAddress":"127.0.0.0"}}}}}}"#)
        .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        frame::Header,
        raw::splice::{PendingAck, Serial},
        topics::{self, FENCE},
        wire::{Control, Format, push_attach},
    };

    #[test]
    fn what_goes_out_is_what_a_client_reads() {
        let (mut out, mut body) = (Vec::new(), Vec::new());
        out.extend_from_slice(&frame(&welcome(b"AbCdEf")));
        let inbound = Inbound { action: 15, channel: b"c", msg_serial: 3, data: &[b'd'; 128] };
        let publish = Publish { inbound, connection: b"AbCdEf", serial: Serial::at(5).text(), now_ms: 5 };
        publish.push(Format::RealtimePubsub, &mut out, &mut body);
        let mut ack = PendingAck::default();
        ack.add(7, Serial::at(5).text());
        ack.add(8, Serial::at(6).text());
        ack.push(Format::RealtimePubsub, &mut out, &mut body);
        let seen: Vec<Control<'_>> = payloads(&out).map(|payload| topics::read(payload).unwrap()).collect();
        let seen: Vec<_> = seen.iter().map(|said| (said.action, said.msg_serial, said.count)).collect();
        assert_eq!(seen, [(4, 0, 0), (0, 0, 0), (1, 7, 1), (1, 8, 1)]);
    }

    #[test]
    fn a_subscription_and_its_fence_are_read() {
        let mut out = Vec::new();
        push_attach(&mut out, Format::RealtimePubsub, "c");
        let mut seen = Vec::new();
        let mut rest = out.as_mut_slice();
        while let Some(header) = Header::read(rest).unwrap() {
            let (whole, next) = rest.split_at_mut(header.frame_len());
            crate::frame::unmask(&mut whole[header.header_len..], header.mask.unwrap());
            let read = inbound(&whole[header.header_len..]).unwrap();
            seen.push((read.action, read.channel.to_vec(), read.msg_serial));
            rest = next;
        }
        assert_eq!(seen, [(10, b"c".to_vec(), 0), (15, b"c".to_vec(), FENCE)]);
    }

    fn frame(payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        crate::frame::push(&mut out, crate::frame::TEXT, payload);
        out
    }

    fn payloads(mut rest: &[u8]) -> impl Iterator<Item = &[u8]> {
        std::iter::from_fn(move || {
            let header = Header::read(rest).unwrap()?;
            let (whole, next) = rest.split_at(header.frame_len());
            rest = next;
            Some(&whole[header.header_len..])
        })
    }
}
