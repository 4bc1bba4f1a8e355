//! Where every frame of a publish/subscribe run lands: deliveries into the ledger, ACKs to their publisher.
//!
//! The path of a delivery is the generator's hot path: no allocation, no parser, about two cache lines of
//! the frame touched.

use memchr::memmem;

use crate::{
    client::Receiver,
    histogram::Histogram,
    ledger::{Arrival, Ledger},
    payload::{self, Stamp},
    wire::{Control, Format, action},
};

/// Fillers are compared on one message in this many (a power of two).
const CHECK_EVERY: u64 = 16;

/// Errors kept in words; the rest is only counted.
const MAX_NOTES: usize = 5;

#[derive(Clone, Debug, Default)]
pub(crate) struct Publisher {
    pub(crate) sent: u64,
    pub(crate) acked: u64,
    /// When its last burst left, for the latency of an ACK with one message in flight.
    pub(crate) sent_ns: u64,
    /// Where ACKs are in order within a channel only: the next one of each. A publisher goes round its channels,
    /// so message n is on channel n modulo their number. Empty: in order over all.
    lanes: Vec<u64>,
}

impl Publisher {
    pub(crate) fn acked_by_channel(channels: usize) -> Self {
        Self { lanes: (0..channels as u64).collect(), ..Self::default() }
    }

    pub(crate) fn in_flight(&self) -> u64 {
        self.sent - self.acked
    }

    /// The number that an ACK must begin with, given the one that it begins with.
    fn next_ack(&self, first: u64) -> u64 {
        match self.lanes.len() as u64 {
            0 => self.acked,
            lanes => self.lanes[(first % lanes) as usize],
        }
    }

    /// Takes an ACK of `count` messages. False when they are not the next ones, or were never sent.
    fn settle(&mut self, first: u64, count: u64) -> bool {
        let in_order = first == self.next_ack(first) && (1..=self.in_flight()).contains(&count);
        if !in_order || first + count > self.sent {
            return false;
        }
        self.acked += count;
        let lanes = self.lanes.len() as u64;
        if lanes > 0 {
            self.lanes[(first % lanes) as usize] += lanes;
        }
        true
    }
}

/// A subscriber that was made to stop reading: it may miss messages, but must be told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stalled {
    /// Told since its last delivery.
    told: bool,
    pub(crate) missed: u64,
    /// How many gaps were announced before the message after them.
    pub(crate) gaps_told: u64,
    /// The server ended the connection: a client that is cut off knows it.
    pub(crate) ended: bool,
}

impl Stalled {
    /// Whether the client knows that it missed something.
    pub(crate) fn knows(&self) -> bool {
        self.told || self.gaps_told > 0 || self.ended
    }
}

pub(crate) struct Desk {
    format: Format,
    payload_len: usize,
    /// Subscribers of each channel; subscriber s is on channel s / this.
    per_channel: usize,
    /// Clients below `publishers.len()` are publishers, the others subscribers.
    pub(crate) publishers: Vec<Publisher>,
    pub(crate) ledger: Ledger,
    /// Where the last frame had its payload: nearly always right for the next one.
    hint: usize,
    marker: memmem::Finder<'static>,
    /// Latencies are recorded for sequence numbers with none of these bits; None records nothing.
    pub(crate) sample: Option<u64>,
    pub(crate) latency: Histogram,
    pub(crate) ack_latency: Histogram,
    /// By subscriber; empty when none stalls, so that the hot path asks one question.
    pub(crate) stalled: Vec<Option<Stalled>>,
    pub(crate) notes: Vec<String>,
}

impl Desk {
    pub(crate) fn new(
        format: Format,
        payload_len: usize,
        publishers: usize,
        channels: usize,
        per_channel: usize,
    ) -> Self {
        Desk {
            format,
            payload_len,
            per_channel,
            publishers: vec![Publisher::default(); publishers],
            ledger: Ledger::new(channels * per_channel, publishers),
            hint: 0,
            marker: memmem::Finder::new(&payload::MARKER),
            sample: None,
            latency: Histogram::new(),
            ack_latency: Histogram::new(),
            stalled: Vec::new(),
            notes: Vec::new(),
        }
    }

    pub(crate) fn is_stalled(&self, subscriber: usize) -> bool {
        self.stalled.get(subscriber).is_some_and(Option::is_some)
    }

    /// Nothing more will come to this subscriber.
    pub(crate) fn has_ended(&self, subscriber: usize) -> bool {
        self.stalled.get(subscriber).and_then(Option::as_ref).is_some_and(|stalled| stalled.ended)
    }

    #[inline]
    fn deliver(&mut self, client: usize, frame: &[u8], at: usize, stamp: Stamp, now_ns: u64) {
        let Some(subscriber) = client.checked_sub(self.publishers.len()) else {
            self.ledger.faults.misrouted += 1;
            return;
        };
        if stamp.channel != subscriber / self.per_channel || stamp.publisher >= self.publishers.len() {
            self.ledger.faults.misrouted += 1;
            return;
        }
        if stamp.seq & (CHECK_EVERY - 1) == 0 {
            let whole = frame.get(at..at + self.payload_len);
            self.ledger.faults.corrupt += u64::from(!whole.is_some_and(payload::filler_is_intact));
        }
        let arrival = self.ledger.deliver(subscriber, stamp.publisher, stamp.seq);
        if !self.stalled.is_empty() && self.is_stalled(subscriber) {
            self.account_for_stalled(subscriber, arrival);
            return;
        }
        if self.sample.is_some_and(|mask| stamp.seq & mask == 0) {
            self.latency.record(now_ns.saturating_sub(stamp.sent_ns));
        }
    }

    /// The frame has its payload elsewhere than the last one, or is no delivery.
    #[cold]
    fn search(&mut self, client: usize, frame: &[u8], from: usize, now_ns: u64) {
        let mut next = from;
        // The first payload of a frame says where to look in the next frame.
        let mut learn = from == 0;
        while let Some(found) = frame.get(next..).and_then(|rest| self.marker.find(rest)) {
            let at = next + found;
            next = at + payload::MARKER.len();
            if let Some(stamp) = payload::read(&frame[at..]) {
                if learn {
                    self.hint = at;
                    learn = false;
                }
                self.deliver(client, frame, at, stamp, now_ns);
                next = at + self.payload_len;
            }
        }
        if next == 0 {
            self.control(client, frame, now_ns);
        }
    }

    fn control(&mut self, client: usize, frame: &[u8], now_ns: u64) {
        let Some(control) = Control::read(self.format, frame) else {
            self.note(client, format!("no protocol message: {}", String::from_utf8_lossy(frame)));
            return;
        };
        match control.action {
            action::ACK if client < self.publishers.len() => {
                let publisher = &mut self.publishers[client];
                // A negative number is as wrong as one that is too large.
                let (first, count) = (control.msg_serial as u64, control.count as u64);
                if publisher.settle(first, count) {
                    if self.sample.is_some() {
                        self.ack_latency.record(now_ns.saturating_sub(publisher.sent_ns));
                    }
                } else {
                    let (serial, count) = (control.msg_serial, control.count);
                    let next = publisher.next_ack(first);
                    self.note(client, format!("ACK of {count} from {serial} where {next} was next"));
                }
            }
            action::ATTACHED if control.tells_of_a_gap() => self.told(client, &control),
            action::NACK | action::ERROR | action::DISCONNECTED | action::CLOSED | action::DETACHED => {
                self.note(client, control.describe());
            }
            _ => {}
        }
    }

    fn told(&mut self, client: usize, control: &Control<'_>) {
        let subscriber = client.wrapping_sub(self.publishers.len());
        match self.stalled.get_mut(subscriber) {
            Some(Some(stalled)) => stalled.told = true,
            _ => self.note(client, control.describe()),
        }
    }

    fn account_for_stalled(&mut self, subscriber: usize, arrival: Arrival) {
        let Some(stalled) = &mut self.stalled[subscriber] else { return };
        if let Arrival::Ahead { missed } = arrival {
            stalled.missed += missed;
            stalled.gaps_told += u64::from(stalled.told);
            self.ledger.faults.silent_gaps += u64::from(!stalled.told);
        }
        stalled.told = false;
    }

    /// Counts as a fault all that never came. `published` gives a publisher's count on a channel.
    pub(crate) fn close(&mut self, published: impl Fn(usize, usize) -> u64) {
        let publishers = self.publishers.len();
        for subscriber in 0..self.ledger.subscribers() {
            let channel = subscriber / self.per_channel;
            let missing: u64 =
                (0..publishers).map(|p| self.ledger.missing(subscriber, p, published(p, channel))).sum();
            match self.stalled.get_mut(subscriber) {
                Some(Some(stalled)) => {
                    let tail = missing - stalled.missed;
                    let known = tail == 0 || stalled.told || stalled.ended;
                    stalled.missed = missing;
                    self.ledger.faults.silent_gaps += u64::from(!known);
                }
                _ => self.ledger.faults.losses += missing,
            }
        }
    }

    #[cold]
    fn note(&mut self, client: usize, what: String) {
        self.ledger.faults.errors += 1;
        if self.notes.len() < MAX_NOTES {
            self.notes.push(format!("connection {client}: {what}"));
        }
    }
}

impl Receiver for Desk {
    #[inline]
    fn frame(&mut self, client: usize, frame: &[u8], now_ns: u64) {
        let at = self.hint;
        let Some(stamp) = frame.get(at..).and_then(payload::read) else {
            self.search(client, frame, 0, now_ns);
            return;
        };
        self.deliver(client, frame, at, stamp, now_ns);
        // A frame may carry several messages; with less room left than a payload it cannot.
        let rest = at + self.payload_len;
        if frame.len() >= rest + self.payload_len {
            self.search(client, frame, rest, now_ns);
        }
    }

    fn closed(&mut self, client: usize, reason: String) {
        let subscriber = client.wrapping_sub(self.publishers.len());
        match self.stalled.get_mut(subscriber) {
            Some(Some(stalled)) => stalled.ended = true,
            _ => self.note(client, reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Faults;

    const LEN: usize = 64;

    /// A MESSAGE frame with messages of publisher 0 on channel 0, behind a head of varying length.
    fn frame(head: &str, seqs: &[u64]) -> Vec<u8> {
        let mut bytes = format!(r#"{{"action":15,"id":"{head}","messages":["#).into_bytes();
        for seq in seqs {
            bytes.extend_from_slice(br#"{"data":""#);
            payload::write(&mut bytes, Stamp { publisher: 0, channel: 0, seq: *seq, sent_ns: 1 }, LEN);
            bytes.extend_from_slice(br#""},"#);
        }
        bytes.extend_from_slice(b"]}");
        bytes
    }

    /// One publisher (client 0) and one subscriber (client 1).
    fn desk() -> Desk {
        Desk::new(Format::Json, LEN, 1, 1, 1)
    }

    #[test]
    fn every_message_of_a_frame_counts_wherever_it_stands() {
        let mut desk = desk();
        for (head, seqs) in [("a", [0].as_slice()), ("longer", &[1, 2, 3]), ("a", &[4]), ("bb", &[5, 6])] {
            desk.frame(1, &frame(head, seqs), 2);
        }
        assert_eq!(desk.ledger.deliveries(), 7);
        desk.close(|_, _| 7);
        assert_eq!(desk.ledger.faults, Faults::default());
    }

    #[test]
    fn acks_count_in_order_only() {
        let mut desk = desk();
        desk.publishers[0].sent = 3;
        desk.frame(0, br#"{"action":1,"msgSerial":0,"count":2}"#, 1);
        assert_eq!((desk.publishers[0].acked, desk.ledger.faults.errors), (2, 0));
        for wrong in [r#"{"action":1,"msgSerial":1,"count":1}"#, r#"{"action":1,"msgSerial":2,"count":2}"#] {
            desk.frame(0, wrong.as_bytes(), 1);
        }
        desk.frame(0, br#"{"action":2,"msgSerial":2,"count":1,"error":{"code":40160}}"#, 1);
        assert_eq!((desk.publishers[0].acked, desk.ledger.faults.errors), (2, 3));
    }

    #[test]
    fn acks_by_channel_count_in_order_within_each() {
        let mut desk = Desk::new(Format::RealtimePubsub, LEN, 1, 3, 1);
        desk.publishers[0] = Publisher { sent: 8, ..Publisher::acked_by_channel(3) };
        let mut ack = |id: i64| {
            let text = format!(r#"{{"topic":"priv/acks","messageType":"ack","data":{{"data":"{id}"}}}}"#);
            desk.frame(0, text.as_bytes(), 1);
            (desk.publishers[0].acked, desk.ledger.faults.errors)
        };
        for (at, id) in [1, 4, 0, 2, 7].into_iter().enumerate() {
            assert_eq!(ack(id), (at as u64 + 1, 0));
        }
        // Again, one too early, never sent, and no number of a message.
        for (at, wrong) in [7, 6, 10, -1].into_iter().enumerate() {
            assert_eq!(ack(wrong), (5, at as u64 + 1));
        }
        assert_eq!(ack(3), (6, 4));
    }

    #[test]
    fn a_stalled_subscriber_must_be_told_before_the_message_after_its_gap() {
        let told = br#"{"action":11,"channel":"c","error":{"code":90003}}"#;
        for (is_told, silent) in [(true, 0), (false, 1)] {
            let mut desk = desk();
            desk.stalled = vec![Some(Stalled::default())];
            desk.frame(1, &frame("a", &[0]), 1);
            if is_told {
                desk.frame(1, told, 1);
            }
            desk.frame(1, &frame("a", &[5]), 1);
            desk.close(|_, _| 6);
            assert_eq!(desk.ledger.faults, Faults { silent_gaps: silent, ..Faults::default() });
            assert_eq!(desk.stalled[0].as_ref().unwrap().missed, 4);
        }
    }
}
