//! From a committed record to bytes on their way out: what adapters and the gateway implement.

use std::rc::Rc;

use bytes::Bytes;
use fanfare_model::{Epoch, Record};

/// A committed record on its way to subscribers.
#[derive(Clone, Copy, Debug)]
pub struct Delivery<'a> {
    pub epoch: &'a Epoch,
    pub record: &'a Record,
    /// Which of the record's frames, for protocols that need several ([`Encoder::frames`]).
    pub frame: usize,
}

/// Which encoders write the same bytes. Subscribers of one class share one encoding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassKey {
    /// Protocol and format, as the adapter numbers them.
    pub kind: u32,
    /// What else the bytes depend on: the channel's name as the client wrote it.
    pub label: Rc<str>,
}

/// Writes records in a protocol's format.
pub trait Encoder {
    fn class(&self) -> ClassKey;

    /// Appends one message of the protocol for the record, or nothing if the protocol has none for it.
    fn encode(&self, delivery: Delivery<'_>, out: &mut Vec<u8>);

    fn kind(&self) -> FrameKind;

    /// Frames that the record needs. Most protocols put all of it into one.
    fn frames(&self, _record: &Record) -> usize {
        1
    }

    /// How the frame travels, for protocols in which that is up to the publisher.
    fn shape(&self, _delivery: Delivery<'_>) -> (FrameKind, Content) {
        (self.kind(), Content::Delivery)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameKind {
    Text,
    Binary,
}

/// Wraps what an encoder wrote for the transport. Frames are laid one after the other in one buffer.
pub trait Framing {
    /// Framings with the same number write the same bytes.
    fn class(&self) -> u8;

    /// Makes room for a header; the returned mark goes to [`Framing::end`].
    fn begin(&self, out: &mut Vec<u8>) -> usize;

    /// Closes the frame whose payload is everything since `begin`.
    fn end(&self, out: &mut Vec<u8>, mark: usize, kind: FrameKind, content: Content);
}

/// What became of bytes that were pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// Queued, and the queue was empty: it wants a flush at the end of the turn.
    First,
    Queued,
    /// The queue is full: nothing was queued. The caller announces the gap.
    Full,
}

/// A connection's bounded way out.
pub trait Outbox {
    /// Queues framed bytes of a delivery, unless that would pass the queue's limit.
    fn push(&self, framed: Bytes) -> Pushed;

    /// Queues the session's own answer. Answers are bounded by what the client may have in flight,
    /// so they are taken even when deliveries are not.
    fn answer(&self, framed: Bytes) -> Pushed;

    /// Writes what is queued, as far as the transport takes it now.
    fn flush(&self);

    /// Asks the transport to close once everything queued is written.
    fn close(&self, code: u16, reason: &str);

    /// Reading from the peer may go on: its publishes in flight are below the limit again.
    fn resume_reading(&self);
}

/// What a frame carries, for framings that compress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// A channel's records: the same for everyone of the class, and free of secrets.
    Delivery,
    /// As `Delivery`, and not to be compressed: its publisher did not ask for it.
    Plain,
    /// For one client only, and perhaps with a secret in it: never compressed, because the length of
    /// what is compressed beside a secret tells about the secret.
    Answer,
}
