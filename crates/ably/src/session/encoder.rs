//! Records as frames of one channel, as the engine's fan-out wants them.

use std::cell::RefCell;
use std::rc::Rc;

use fanfare_engine::{ClassKey, Delivery, Encoder, FrameKind};
use fanfare_model::Epoch;

use crate::wire::{Format, RecordEncoder};

/// Tells Ably's classes from those of other protocols; the format is added.
const KIND: u32 = 0x0A00;

pub(super) struct ChannelEncoder {
    format: Format,
    /// As the client wrote it.
    name: Rc<str>,
    /// Made when it is first needed: of the subscribers of a class, one's encoder writes for all.
    epoch: RefCell<Option<Box<(Epoch, RecordEncoder)>>>,
}

impl ChannelEncoder {
    pub(super) fn new(format: Format, name: Rc<str>) -> Self {
        Self { format, name, epoch: RefCell::new(None) }
    }

    /// Without the record's first `skip` messages.
    pub(super) fn encode_from(&self, delivery: Delivery<'_>, skip: usize, out: &mut Vec<u8>) {
        let mut cached = self.epoch.borrow_mut();
        if cached.as_ref().is_none_or(|cached| cached.0 != *delivery.epoch) {
            let encoder = RecordEncoder::new(self.format, &self.name, delivery.epoch.clone());
            *cached = Some(Box::new((delivery.epoch.clone(), encoder)));
        }
        if let Some(cached) = &*cached {
            cached.1.encode_from(delivery.record, skip, out);
        }
    }
}

impl Encoder for ChannelEncoder {
    fn class(&self) -> ClassKey {
        let format = match self.format {
            Format::Json => 0,
            Format::Msgpack => 1,
        };
        ClassKey { kind: KIND + format, label: self.name.clone() }
    }

    fn encode(&self, delivery: Delivery<'_>, out: &mut Vec<u8>) {
        self.encode_from(delivery, 0, out);
    }

    fn kind(&self) -> FrameKind {
        match self.format {
            Format::Json => FrameKind::Text,
            Format::Msgpack => FrameKind::Binary,
        }
    }
}
